"""One endpoint's work: look, finish what has ended, fill the queue, rest."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

import structlog

from persona_tui.clients.comfyui import OutputFile
from persona_tui.errors import PersonaError, StorageError
from persona_tui.services import lease
from persona_tui.services.generation import barring, jobs, recovery, spending
from persona_tui.services.generation.bench import Bench
from persona_tui.services.generation.collection import collect, wanted_files
from persona_tui.services.generation.depth import Depth
from persona_tui.services.generation.feeding import Feeder
from persona_tui.services.generation.following import Follower, Shown
from persona_tui.services.generation.gauge import Gauge
from persona_tui.services.generation.health import EndpointStatus, Fleet, JobStatus, sentence_of
from persona_tui.services.generation.jobs import LiveJob
from persona_tui.services.generation.recovery import Found
from persona_tui.services.generation.submission import forget_prompt
from persona_tui.services.generation.warnings import warn

log = structlog.get_logger("persona_tui.generation")

SHORTEST_POLL = 0.05
IDLE_SECONDS = 1.0
LOOK_SECONDS = 0.5
"""Between two looks at what is still wanted, while nobody says that something changed."""
HISTORY_TRIES = 20
SETTLE_SECONDS = 8.0
HANDS = 16
"""Jobs whose pictures are fetched and stored at the same time."""


class EndpointWorker:
    """Keeps one endpoint busy. All state that matters is in the database; what is here is for speed."""

    def __init__(self, bench: Bench, fleet: Fleet) -> None:
        """Args:
        bench: the endpoint and the tools.
        fleet: how all endpoints are.
        """
        self.url = bench.url
        self.health = fleet.health[bench.url]
        self._bench = bench
        self._fleet = fleet
        self._depth = Depth(bench.options.depth, bench.options.ahead, bench.options.deepest)
        self._follower = Follower(bench, self._stir, self._check_now)
        self._feeder = Feeder(
            bench, fleet, self._follower, self._depth, in_hand=self._in_hand, on_change=self._stir
        )
        self._woken = asyncio.Event()
        self._returned = asyncio.Event()
        self._check_at = 0.0
        self._look_at = 0.0
        self._queue = 0
        self._gauge = Gauge()
        self._hands = asyncio.Semaphore(HANDS)
        self._finishing: dict[int, asyncio.Task[None]] = {}
        self._stumbles = 0
        self._stumble: str | None = None
        self._kept_out: str | None = None
        self._cut_off = False
        """The connection was cut since the last look: the server may have been started again."""
        self._store_is_full = False
        """No new picture is asked for while those that are there can't be kept."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; no error leaves this."""
        beside = (
            asyncio.create_task(self._follower.run(), name=f"events of {self.url}"),
            asyncio.create_task(
                self._gauge.follow(self._bench.client, self._is_well), name=f"gauge of {self.url}"
            ),
            asyncio.create_task(self._end_with(stop), name=f"end of {self.url}"),
        )
        try:
            while not stop.is_set():
                await self._rest(await self._attempt())
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await self._settle()
            await self._bench.client.aclose()

    def wake(self) -> None:
        """Look at what is wanted now, unless the endpoint is away."""
        self._look_at = 0.0
        self._stir()

    def status(self) -> EndpointStatus:
        """How the endpoint is."""
        return EndpointStatus(
            self.url,
            self.health.healthy,
            self._queue,
            self.health.sentence,
            self._gauge.version,
            self._gauge.vram_free,
            self._gauge.vram_total,
            self._depth.target,
        )

    @property
    def stumble(self) -> str | None:
        """What kept it from bringing a picture home: a full disk, for one."""
        return self._stumble

    def job_status(self) -> tuple[JobStatus, ...]:
        """The jobs that are on it."""
        return self._follower.job_status()

    def preview(self, job_id: int) -> bytes | None:
        """The newest preview of one of them."""
        shown = (shown for shown in self._follower.shown.values() if shown.job.id == job_id)
        return next((one.preview for one in shown), None)

    def _is_well(self) -> bool:
        return self.health.healthy

    def _check_now(self) -> None:
        self._check_at = 0.0
        self._cut_off = True
        self._bench.capabilities.forget()
        self._bench.uploads.clear()
        self._returned.set()
        self.wake()

    def _stir(self) -> None:
        """Begin the next round now, unless the endpoint is away."""
        self._woken.set()

    async def _end_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()
        self._returned.set()

    async def _attempt(self) -> float:
        """One round; seconds to rest after it."""
        loop = asyncio.get_running_loop()
        try:
            await self._round(loop.time())
        except Exception as problem:
            self._log(problem)
            self.health.trouble(problem, loop.time())
            self._gauge.forget()
            return self._bench.options.retry.delay(self.health.failures)
        self.health.well(self._sentence())
        return min(IDLE_SECONDS, max(SHORTEST_POLL, self._check_at - loop.time()))

    async def _rest(self, seconds: float) -> None:
        """Until the time is over, there is work, or the end has come; away, only until it is back."""
        signal = self._woken if self.health.healthy else self._returned
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await signal.wait()
        self._woken.clear()
        self._returned.clear()

    async def _round(self, now: float) -> None:
        self._take_news()
        if self._bench.doubts.is_set():
            self._bench.doubts.clear()
            self._check_at = 0.0
        if now >= min(self._look_at, self._check_at):
            await self._look(now)
        await self._drop_overdue(now)
        self._feeder.begin(room=not self._store_is_full)

    def _take_news(self) -> None:
        for job in self._follower.take_started():
            self._feeder.note(job, "running")
        for job in self._follower.take_ended():
            self._feeder.note(job, "storing")
            self._begin(job, self._conclude_ended(job))

    def _in_hand(self) -> int:
        """Jobs on the server that have not ended there."""
        shown = self._follower.shown.values()
        return sum(1 for one in shown if one.ended_at is None and one.job.id not in self._finishing)

    async def _look(self, now: float) -> None:
        """What is wanted, by the database; now and then, what the server says to that."""
        before = set(self._follower.shown)
        if self._cut_off:  # whether the server had taken a job decides whether it is doubted
            await self._feeder.write_notes()
        self._kept_out = await self._bench.transact(lease.kept_out, self.url)
        live = await self._bench.transact(jobs.live_jobs, self.url)
        wanted = {str(job.prompt_id) for job in live}
        for prompt_id in before - wanted:
            await self._drop_unwanted(prompt_id)
        self._feeder.look_again()
        self._look_at = now + LOOK_SECONDS
        if now >= self._check_at:
            await self._check(live, now)

    async def _drop_unwanted(self, prompt_id: str) -> None:
        shown = self._follower.shown.get(prompt_id)
        if shown is not None and shown.job.id not in self._finishing:
            self._forget(prompt_id)
            await forget_prompt(self._bench, prompt_id)

    async def _drop_overdue(self, now: float) -> None:
        for prompt_id, shown in list(self._follower.shown.items()):
            if _overdue(shown, now) and shown.job.id not in self._finishing:
                self._forget(prompt_id)
                await forget_prompt(self._bench, prompt_id)
                words = f"It took longer than {shown.job.timeout} s."
                await self._bench.transact(jobs.fail, shown.job, words, self._bench.options.retry)

    async def _check(self, live: Sequence[LiveJob], now: float) -> None:
        busy = self._finishing.keys() | self._feeder.sending
        mine = [job for job in live if job.id not in busy]
        for job in mine:
            if job.state != "queued":
                self._follower.track(job)
        survey = await self._survey(mine, bool(busy))
        if not self._gauge.version:
            self._gauge.note(await self._bench.client.system_stats())
        self._queue = len(survey.queue.running) + len(survey.queue.pending)
        self.health.answered(self._sentence())
        self._follower.note_pending(survey.queue.pending)
        for prompt_id in survey.queue.running:
            self._follower.mark_running(prompt_id)
        for found in survey.found:
            # What was brought home while the server was asked is no longer shown.
            if str(found.job.prompt_id) in self._follower.shown:
                self._begin(found.job, self._conclude(found))
        away = self._fleet.away(now, self._bench.options.give_up)
        retry = self._bench.options.retry
        await self._bench.transact(recovery.rescue_stranded, self._fleet.urls, away, retry)
        await barring.review(self._bench)
        self._fleet.notices = await self._notices()
        self._check_at = now + (self._bench.options.poll if self._cut_off else self._interval(mine))

    async def _survey(self, mine: Sequence[LiveJob], incomplete: bool) -> recovery.Survey:
        """Look at the server; a connection that is cut meanwhile, or jobs left out, want another look."""
        doubt, self._cut_off = self._cut_off, False
        seen = False
        try:
            survey = await recovery.survey(self._bench, mine, doubt=doubt)
            seen = not incomplete
        finally:
            self._cut_off = self._cut_off or (doubt and not seen)
        return survey

    async def _notices(self) -> tuple[str, ...]:
        daily = self._bench.options.daily
        if not daily.exists:
            return ()
        await self._bench.transact(spending.recount_today, daily)
        spent = await self._bench.transact(spending.today_sentence, daily)
        return () if spent is None else (spent,)

    def _interval(self, live: Sequence[LiveJob]) -> float:
        sent = [job for job in live if job.state != "queued"]
        followed = self._follower.connected and all(str(job.prompt_id) in self._feeder.sent for job in sent)
        options = self._bench.options
        return options.check if followed or not sent else max(SHORTEST_POLL, options.poll)

    def _begin(self, job: LiveJob, work: Coroutine[Any, Any, None]) -> None:
        if job.id in self._finishing:
            work.close()
            return
        self._finishing[job.id] = asyncio.create_task(self._finish(job, work), name=f"job {job.id}")

    async def _finish(self, job: LiveJob, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with self._hands:
                await work
            self._stumbles, self._stumble, self._store_is_full = 0, None, False
        except Exception as problem:
            self._log(problem)
            self._stumbles, self._stumble = self._stumbles + 1, sentence_of(problem)
            self._store_is_full = isinstance(problem, StorageError)
            now = asyncio.get_running_loop().time()
            self._check_at = now + self._bench.options.retry.delay(self._stumbles)
        finally:
            del self._finishing[job.id]
            self._stir()

    async def _conclude_ended(self, job: LiveJob) -> None:
        """Where the events did not tell all, the history does, maybe a moment later; then leave it."""
        shown = self._follower.shown.get(str(job.prompt_id))
        if shown is not None and shown.entry is not None:
            await self._conclude(Found(job, shown.entry))
            return
        for _ in range(HISTORY_TRIES):
            entry = await self._bench.client.history(str(job.prompt_id))
            if entry is not None and entry.status != "running":
                await self._conclude(Found(job, entry))
                return
            await asyncio.sleep(SHORTEST_POLL)
        self._check_at = 0.0

    async def _conclude(self, found: Found) -> None:
        job, entry = found.job, found.entry
        kept: tuple[int, ...] = ()
        if entry is None:
            kept = await self._collect(job, found.files, None)
        elif entry.status == "success":
            kept = await self._collect(job, wanted_files(entry, job.output_node), entry.seconds)
        else:
            words = entry.message or "The server gave no reason."
            await self._bench.transact(
                jobs.fail, job, words, self._bench.options.retry, seconds=entry.seconds
            )
        if not kept:
            self._feeder.look_again()
        await self._look_after_loras(job)
        self._forget(str(job.prompt_id))

    async def _collect(
        self, job: LiveJob, files: Sequence[OutputFile], seconds: float | None
    ) -> tuple[int, ...]:
        provenance = self._provenance(job, seconds)
        linger = self._depth.linger if self._in_hand() else 0.0  # the last ones have nobody to wait for
        kept = await collect(self._bench, job, files, provenance, linger=linger)
        self._feeder.unnote(job)
        return kept

    async def _look_after_loras(self, job: LiveJob) -> None:
        desk = self._bench.endpoint.desk
        for sentence in () if desk is None else await desk.look_after(job):
            await self._bench.transact(warn, job.run_id, "lora", sentence)

    def _provenance(self, job: LiveJob, seconds: float | None = None) -> dict[str, Any]:
        """Where a picture comes from; how long it took also says how deep the queue is to be.

        Nobody knows how long where its end was not heard and the server does not tell: it may have been away,
        or we, and what we saw last is no measure.

        Args:
            seconds: by the server's own clock; None counts by ours.
        """
        shown = self._follower.shown.get(str(job.prompt_id))
        heard = None if shown is None else shown.seconds
        deep = seconds if heard is None else heard
        if deep is not None:
            self._depth.note(deep)
        taken = heard if seconds is None else seconds
        provenance: dict[str, Any] = {"endpoint": self.url, "server_version": self._gauge.version}
        return provenance if taken is None else {**provenance, "seconds": round(taken, 3)}

    def _forget(self, prompt_id: str) -> None:
        self._follower.forget(prompt_id)
        self._feeder.sent.discard(prompt_id)

    def _log(self, problem: Exception) -> None:
        if isinstance(problem, PersonaError):
            log.warning("generation is in trouble", endpoint=self.url, problem=problem.message)
        else:
            log.error("generation tripped", endpoint=self.url, exc_info=problem)

    def _sentence(self) -> str:
        held_up = self._stumble or self._kept_out
        if held_up is not None:
            return held_up
        version = f"ComfyUI {self._gauge.version}".strip()
        if not self._follower.connected:
            return f"{version}; its events can't be followed, so it is asked now and then."
        return f"{version}, {self._queue} in the queue."

    async def _settle(self) -> None:
        """Let what is on its way, there or home, arrive."""
        await self._feeder.settle(SETTLE_SECONDS)
        running = list(self._finishing.values())
        if running:
            _, late = await asyncio.wait(running, timeout=SETTLE_SECONDS)
            for task in late:
                task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*running, return_exceptions=True)


def _overdue(shown: Shown, now: float) -> bool:
    return shown.running_since is not None and now - shown.running_since > shown.job.timeout
