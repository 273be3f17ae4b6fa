"""The ComfyUI servers in words: health, version, queue, memory, and the jobs that are on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from textual.content import Content
from textual.widgets import Static

from persona_tui.widgets.marks import counted, dim, duration, say, tree
from persona_tui.widgets.progress import FULL, REST
from persona_tui.widgets.reader import TextDialog

if TYPE_CHECKING:
    from persona_tui.services.generation.health import EndpointStatus, EngineStatus, JobStatus

BAR = 10
"""Columns of a progress bar."""
GIB = 1 << 30
FULL_MEMORY = 0.92
"""Share of the memory in use from which the bar warns."""
REFRESH = 1.0
"""Seconds between two looks of the dialog."""


def host(url: str) -> str:
    """An address as it is shown: host and port."""
    return urlsplit(url).netloc.rpartition("@")[2] or url


def bar(share: float, width: int = BAR, *, style: str = "") -> Content:
    """A progress bar; the share is cut to 0 to 1.

    Args:
        style: of the full part; by default it turns green when it is complete.
    """
    full = int(min(max(share, 0.0), 1.0) * width)
    style = style or ("$success" if share >= 1 else "$title")
    return Content.assemble((FULL * full, style), (REST * (width - full), "$rule"))


def memory(endpoint: EndpointStatus, width: int = BAR, *, brief: bool = False) -> Content:
    """`VRAM ━━━─────── 7.2 of 24 GB`, or in brief `VRAM ━─── 7/24 GB`; what is not known is left out."""
    free, total = endpoint.vram_free, endpoint.vram_total
    if free is None or total is None:
        return Content.empty()
    if not total:
        return dim("without a card")
    used = max(total - free, 0)
    style = "$warning" if used / total >= FULL_MEMORY else "$title"
    filled = bar(used / total, width, style=style)
    words = f"{used / GIB:.0f}/{total / GIB:.0f} GB" if brief else f"{used / GIB:.1f} of {total / GIB:.0f} GB"
    return dim("VRAM ") + filled + dim(f" {words}")


def state(endpoint: EndpointStatus) -> Content:
    """`● gpu.lan:8188 healthy`, or `✖ gpu.lan:8188 in trouble`."""
    name = Content.styled(host(endpoint.url), "bold")
    if endpoint.healthy:
        return Content.styled("● ", "$success") + name + Content.styled(" healthy", "$success")
    return Content.styled("✖ ", "$error") + name + Content.styled(" in trouble", "$error")


def queue(endpoint: EndpointStatus, ours: int) -> str:
    """`queue 3, 2 ours, kept 2 deep`; its length is as old as the last look at it, ours are counted now."""
    length = max(endpoint.queue, ours)
    whose = "" if not ours else ", all ours" if ours == length else f", {ours} ours"
    kept = f", kept {endpoint.depth} deep" if endpoint.depth else ""
    return (f"queue {length}{whose}" if length else "queue empty") + kept


def why_none(engine: EngineStatus | None) -> Content | None:
    """Why there is no server to see; None where there is one."""
    if engine is None:
        return dim("Another process leads and makes the pictures; its servers are not seen from here.")
    if not engine.endpoints:
        return say("warn", "No ComfyUI server is set: comfyui.urls in the settings.")
    return None


def endpoint_lines(engine: EngineStatus | None) -> Iterator[Content]:
    """One line for each server; or why there are none to see."""
    none = why_none(engine)
    if none is not None:
        yield none
        return
    assert engine is not None
    yield from notices(engine)
    yield from tree([_short(one) for one in engine.endpoints], indent=0)


def notices(engine: EngineStatus) -> Iterator[Content]:
    """What holds pictures up though servers are well."""
    for sentence in engine.notices:
        yield say("warn", sentence)


def _short(endpoint: EndpointStatus) -> Content:
    line = state(endpoint)
    if not endpoint.healthy:
        return line + Content(f": {endpoint.sentence}")
    line += dim(f", {endpoint.queue} queued")
    bars = memory(endpoint, 4, brief=True)
    return line + (Content("  ") + bars if bars else "")


def block(endpoint: EndpointStatus, jobs: Sequence[JobStatus]) -> Iterator[Content]:
    """Some lines on one server: state and version, queue, memory, and what is wrong."""
    ours = [job for job in jobs if job.endpoint == endpoint.url]
    version = dim(f"  ComfyUI {endpoint.version}") if endpoint.version else Content.empty()
    yield state(endpoint) + version
    if endpoint.healthy:
        yield dim(f"  {queue(endpoint, len(ours))}")
        bars = memory(endpoint, 16)
        if bars:
            yield Content("  ") + bars
        if "can't be followed" in endpoint.sentence:
            yield Content("  ") + say("warn", endpoint.sentence)
    else:
        yield Content(f"  {endpoint.sentence}")


def panel_lines(engine: EngineStatus | None) -> Iterator[Content]:
    """The panel beside the list: a block for each server."""
    none = why_none(engine)
    if none is not None:
        yield none
        return
    assert engine is not None
    yield from notices(engine)
    for endpoint in engine.endpoints:
        yield from block(endpoint, engine.jobs)


def job_lines(jobs: Iterable[JobStatus], now: datetime, *, where: bool = True) -> Iterator[Content]:
    """Jobs that are on servers, those that run first, the others by their place in the queue.

    Args:
        where: name the server, too.
    """
    unknown = 1 << 20
    for job in sorted(
        jobs, key=lambda job: (job.queue_position or (0 if job.started else unknown), job.job_id)
    ):
        at = dim(f"  on {host(job.endpoint)}") if where and job.endpoint else Content.empty()
        if job.started is None:
            yield Content.styled("◌ ", "$dim") + Content(f"step {job.step}") + dim(f"  {_place(job)}") + at
            continue
        since = duration(max((now - job.started).total_seconds(), 0.0))
        yield (
            Content.styled("▶ ", "$title")
            + Content(f"step {job.step}  ")
            + bar(job.progress)
            + Content(f" {job.progress:4.0%}")
            + dim(f"  {since}")
            + at
        )


def _place(job: JobStatus) -> str:
    if job.queue_position is None:
        return "waits in a queue"
    if job.queue_position <= 1:
        return "is next"
    return f"{job.queue_position - 1} before it in the queue"


class ServersDialog(TextDialog):
    """Every server with all that is on it, as it changes.

    Args:
        look: what the engine tells now.
        now: the clock.
        names: run's id → its name, for the jobs.
    """

    def __init__(
        self,
        look: Callable[[], EngineStatus | None],
        now: Callable[[], datetime],
        names: Callable[[int], str],
    ) -> None:
        self._look = look
        self._now = now
        self._names = names
        super().__init__("ComfyUI servers", self._words())

    def on_mount(self) -> None:
        self.set_interval(REFRESH, self._show)

    def _show(self) -> None:
        self.query_one("#text", Static).update(self._words())

    def _words(self) -> Content:
        engine = self._look()
        none = why_none(engine)
        if none is not None:
            return none
        assert engine is not None
        lines: list[Content] = [*notices(engine)]
        for endpoint in engine.endpoints:
            lines += [*block(endpoint, engine.jobs), *self._jobs(endpoint, engine.jobs), Content("")]
        healthy = sum(endpoint.healthy for endpoint in engine.endpoints)
        of = f"{healthy} of {counted(len(engine.endpoints), 'server')} healthy"
        return Content("\n").join(
            [dim(f"{of}, {counted(len(engine.jobs), 'job')} on them"), Content(""), *lines]
        )

    def _jobs(self, endpoint: EndpointStatus, jobs: Sequence[JobStatus]) -> Iterator[Content]:
        for job in jobs:
            if job.endpoint == endpoint.url:
                (line,) = job_lines([job], self._now(), where=False)
                yield Content("  ") + line + dim(f"  {self._names(job.run_id)}")
