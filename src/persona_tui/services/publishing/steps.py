"""One post's way from claimed to published: each step is committed before the next one begins.

    claimed → staged → creating → container → publishable → sending → published
                                                                    ↘ unknown

A kill between any two lines leaves a row that `claims.sweep`, a later claim or the reconciler takes up.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Awaitable, Callable, Mapping

import structlog
from sqlalchemy import func

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_errors import Step, Verdict, classify, container_ruling
from persona_tui.clients.instagram_facts import ContainerState, ContainerStatus
from persona_tui.errors import ClientError, DatabaseError, PersonaError
from persona_tui.services.publishing import attempts, containers, pooled, sending, staging
from persona_tui.services.publishing.claims import Claim, LeaseLost
from persona_tui.services.publishing.hands import Hands, RoundOver, Tools
from persona_tui.services.publishing.outcome import Ending, WrongAccount, ending_of
from persona_tui.services.publishing.policy import CONTAINER_OVER, nth
from persona_tui.services.publishing.staging import Staged

log = structlog.get_logger("persona_tui.publishing")

PREPARE_SECONDS = 90.0
_OVER = "It is older than 25 hours."
_PUBLISHED_ELSEWHERE = (
    "Instagram says that this post is published, though it was never sent from here."
    " Look at the account, then adopt the item or cancel the post."
)


class Publication:
    """A claimed post on its way."""

    def __init__(self, tools: Tools, claim: Claim, client: InstagramClient) -> None:
        self._tools = tools
        self._client = client
        self._hands = Hands(tools, claim)
        self._staged: Staged | None = None

    @property
    def claim(self) -> Claim:
        """The post as it was last written."""
        return self._hands.claim

    async def run(self) -> str:
        """Go as far as it goes in this round.

        Returns:
            The state in which the post was left.
        """
        try:
            await self._resume_container()
            while True:
                await self._steps()[self.claim.state]()
        except RoundOver:
            pass
        except LeaseLost as lost:
            log.info("post changed hands", post=self.claim.post_id, reason=lost.message)
        except PersonaError as problem:
            await self._give_up(problem)
        return self.claim.state

    def _steps(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {
            "claimed": self._stage,
            "staged": self._create,
            "creating": self._create,
            "container": self._poll,
            "publishable": self._send,
        }

    async def _give_up(self, problem: PersonaError) -> None:
        """Something outside of Instagram's calls failed: the picture, the guard, the media host, the disk."""
        claim = self.claim
        log.warning("publishing stopped", post=claim.post_id, step=claim.state, problem=problem.message)
        if claim.state == "sending":
            return  # in doubt: its lease runs out, then it is reconciled
        try:
            if claim.was_sent:
                await self._hands.leave(nth(self._tools.policy.backoff, 0), problem.message)
            await self._hands.end(ending_of(problem, self._tools.policy))
        except (RoundOver, LeaseLost, DatabaseError):
            pass  # a row that can't be written now is taken up when its lease has run out

    async def _resume_container(self) -> None:
        """Use a container again that an earlier try made and never sent (R13)."""
        claim, age = self.claim, self.claim.container_age
        usable = claim.creation_id is not None and age is not None and age < CONTAINER_OVER
        if claim.state == "claimed" and usable:
            await self._hands.advance("container")

    async def _stage(self) -> None:
        self._staged = await self._host_picture()
        hosted, post_id = self._staged.hosted, self.claim.post_id
        await self._hands.advance(
            "staged", also=lambda session: staging.note_hosted(session, post_id, hosted)
        )

    async def _host_picture(self) -> Staged:
        """Prepare the picture, let it through the guard, put it where Instagram can fetch it, and look."""
        tools, claim, hands = self._tools, self.claim, self._hands
        material = await hands.db(lambda session: staging.read_material(session, claim.post_id))
        source = await to_thread(tools.media.get, material.media_key)
        picture = await tools.pool.run(pooled.prepare, source, material.provenance, timeout=PREPARE_SECONDS)
        passed = await hands.db(
            lambda session: staging.pass_material(
                session, material, picture.jpeg, persona_id=claim.persona_id, post_id=claim.post_id
            )
        )
        host = await to_thread(tools.host)
        hosted = await host.put(passed.picture)
        await hands.renew()
        await host.check(hosted)
        return Staged(hosted, passed)

    async def _create(self) -> None:
        if self._staged is None:  # the second container of a post whose first one failed or expired
            self._staged = await self._host_picture()
            hosted, post_id = self._staged.hosted, self.claim.post_id
            await self._hands.db(lambda session: staging.note_hosted(session, post_id, hosted))
        await self._hands.advance("creating")
        material = self._staged.material
        try:
            creation_id = await self._client.create_container(
                image_url=self._staged.hosted.url,
                caption=material.caption,
                alt_text=material.alt_text,
                is_ai_generated=material.is_ai_generated,
            )
        except ClientError as problem:
            await self._hands.note(attempts.CREATE, ok=False, error=problem)
            await self._end_by(problem, Step.CREATE)
            return
        await self._hands.note(attempts.CREATE, ok=True, body={"creation_id": creation_id})
        attempt_id = self.claim.attempt_id
        await self._hands.advance(
            "container",
            also=lambda session: containers.name_container(session, attempt_id, creation_id),
            creation_id=creation_id,
            container_created_at=func.persona_now(),
        )

    async def _poll(self) -> None:
        if await self._container_is_over():
            await self._replace_container(_OVER)
            return
        for pause in self._tools.policy.polls:
            await self._tools.sleep(pause)
            await self._hands.renew()
            status = await self._read_status()
            if status is not None and await self._went_on_with(status):
                return
        await self._look_later()

    async def _went_on_with(self, status: ContainerStatus) -> bool:
        """Take the step that the container's state asks for; False: look again."""
        match status.status_code:
            case ContainerState.IN_PROGRESS:
                return False
            case ContainerState.FINISHED:
                await self._hands.advance("publishable")
                return True
            case ContainerState.PUBLISHED:
                await self._hands.end(Ending("paused", _PUBLISHED_ELSEWHERE, "published elsewhere"))
        claim, container = self.claim, self._hands.container
        seen = await self._hands.db(
            lambda session: containers.times_seen(session, claim.attempt_id, container, status.status_code)
        )
        if seen < 2:
            return False
        ruling = container_ruling(status.subcode)
        if status.status_code is ContainerState.ERROR and ruling.verdict is Verdict.FIX:
            await self._hands.end(Ending("fix_needed", ruling.sentence, "refused"))
        await self._replace_container(ruling.sentence)
        return True

    async def _read_status(self) -> ContainerStatus | None:
        """The container's state; None when it can't be read now, which says nothing about it."""
        container = self._hands.container
        try:
            status = await self._client.container_status(container)
        except ClientError as problem:
            # Meta's one answer for a container that expired and for one that never was.
            gone = (problem.code, problem.subcode) == (24, 2207008)
            said = {"status_code": str(ContainerState.EXPIRED)} if gone else {}
            await self._hands.note(
                attempts.STATUS, ok=False, error=problem, body={"creation_id": container, **said}
            )
            if classify(problem, Step.STATUS).verdict in {Verdict.PAUSE_TOKEN, Verdict.STOP, Verdict.WAIT}:
                await self._end_by(problem, Step.STATUS)
            return ContainerStatus(ContainerState.EXPIRED, "") if gone else None
        body = {"creation_id": container, "status_code": str(status.status_code), "subcode": status.subcode}
        await self._hands.note(attempts.STATUS, ok=True, body=body)
        return status

    async def _look_later(self) -> None:
        claim, container, policy = self.claim, self._hands.container, self._tools.policy
        looked = await self._hands.db(lambda session: containers.looks(session, claim.attempt_id, container))
        rounds = looked // len(policy.polls) - 1
        await self._hands.leave(
            nth(policy.later_polls, max(rounds, 0)), "Instagram is still taking the picture in."
        )

    async def _container_is_over(self) -> bool:
        post_id = self.claim.post_id
        return await self._hands.db(lambda session: containers.container_is_over(session, post_id))

    async def _replace_container(self, reason: str) -> None:
        """Make another container: only for one that was never sent (R13)."""
        attempt_id = self.claim.attempt_id
        made = await self._hands.db(lambda session: containers.containers_made(session, attempt_id))
        if made >= self._tools.policy.container_tries:
            await self._hands.end(
                Ending("failed", f"Instagram can't make the picture ready. {reason}", "failed")
            )
        self._staged = None
        await self._hands.advance("creating")

    async def _send(self) -> None:
        if not self.claim.was_sent and await self._container_is_over():
            await self._replace_container(_OVER)
            return
        await sending.send(self._hands, self._client)

    async def _end_by(self, problem: ClientError, step: Step) -> None:
        """End the round as the error asks for, once it is clear whether the token is at fault."""
        told: PersonaError = problem
        if classify(problem, step).verdict is Verdict.CHECK_ACCESS:
            told = await self._access_problem() or problem
        await self._hands.end(ending_of(told, self._tools.policy, step=step))

    async def _access_problem(self) -> PersonaError | None:
        """Ask whose token it is; the error when it is dead or another account's."""
        try:
            facts = await self._client.me()
        except ClientError as problem:
            return problem if classify(problem, Step.READ).verdict is Verdict.PAUSE_TOKEN else None
        if facts.ig_user_id != self._client.ig_user_id:
            return WrongAccount(f"The token is of another account ({facts.username or facts.ig_user_id}).")
        return None


__all__ = ["Publication"]
