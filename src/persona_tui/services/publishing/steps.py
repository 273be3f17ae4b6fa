"""One post's way from claimed to published: each step is committed before the next one begins.

    claimed → staged → creating → container → publishable → sending → published
                                                                    ↘ unknown

A kill between any two lines leaves a row that `claims.sweep`, a later claim or the reconciler takes up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog
from sqlalchemy import func

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_errors import Verdict, container_ruling
from persona_tui.clients.instagram_facts import ContainerState, ContainerStatus
from persona_tui.clients.instagram_media import NewContainer
from persona_tui.errors import DatabaseError, PersonaError
from persona_tui.services.publishing import attempts, containers, sending
from persona_tui.services.publishing.asking import (
    ask_first,
    make_container,
    read_status,
    seen_twice,
    unfetched,
)
from persona_tui.services.publishing.children import Children
from persona_tui.services.publishing.claims import Claim, LeaseLost
from persona_tui.services.publishing.hands import Hands, RoundOver, Tools
from persona_tui.services.publishing.hosted_pictures import HostedPictures
from persona_tui.services.publishing.hosting import credit_host
from persona_tui.services.publishing.outcome import Ending, ending_of
from persona_tui.services.publishing.policy import CONTAINER_OVER, nth

log = structlog.get_logger("persona_tui.publishing")

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
        self._pictures = HostedPictures(self._hands)
        self._children = Children(self._hands, client, self._pictures)

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
        await ask_first(self._hands, self._client)
        if self.claim.kind == "carousel":
            await self._children.host_missing()
        else:
            await self._pictures.at(1)
        await self._pictures.words()
        await self._hands.advance("staged")

    async def _create(self) -> None:
        new = await (self._carousel() if self.claim.kind == "carousel" else self._lone())
        creation_id = await make_container(self._hands, self._client, new, call=attempts.CREATE)
        attempt_id = self.claim.attempt_id
        await self._hands.advance(
            "container",
            also=lambda session: containers.name_container(session, attempt_id, creation_id),
            creation_id=creation_id,
            container_created_at=func.persona_now(),
        )

    async def _lone(self) -> NewContainer:
        """A post of one picture or film."""
        hosted, words = await self._pictures.at(1), await self._pictures.words()
        (source,) = (await self._pictures.material()).sources
        await self._hands.advance("creating")
        return words.lone(hosted.url, is_film=source.is_film)

    async def _carousel(self) -> NewContainer:
        await self._hands.advance("creating")
        children, words = await self._children.ready(), await self._pictures.words()
        return words.carousel(children)

    async def _poll(self) -> None:
        if await self._container_is_over():
            await self._replace_container(_OVER)
            return
        for pause in self._tools.policy.polls:
            await self._tools.sleep(pause)
            await self._hands.renew()
            status = await read_status(self._hands, self._client, self._hands.container)
            if status is not None and await self._went_on_with(status):
                return
        await self._look_later()

    async def _went_on_with(self, status: ContainerStatus) -> bool:
        """Take the step that the container's state asks for; False: look again."""
        match status.status_code:
            case ContainerState.IN_PROGRESS:
                return False
            case ContainerState.FINISHED:
                post_id = self.claim.post_id
                await self._hands.advance("publishable", also=lambda session: credit_host(session, post_id))
                return True
            case ContainerState.PUBLISHED:
                await self._hands.end(Ending("paused", _PUBLISHED_ELSEWHERE, "published elsewhere"))
        if not await seen_twice(self._hands, self._hands.container, status.status_code):
            return False
        ruling = container_ruling(status.subcode)
        if status.status_code is ContainerState.ERROR and ruling.verdict is Verdict.FIX:
            await self._hands.end(Ending("fix_needed", ruling.sentence, "refused"))
        if ruling.verdict is Verdict.RETRY_CREATE:
            await unfetched(self._hands, ruling.sentence)
        await self._replace_container(ruling.sentence)
        return True

    async def _look_later(self) -> None:
        claim, container, policy = self.claim, self._hands.container, self._tools.policy
        looked = await self._hands.db(lambda session: containers.looks(session, claim.attempt_id, container))
        rounds = looked // len(policy.polls) - 1
        await self._hands.leave(nth(policy.later_polls, max(rounds, 0)), "Instagram is still taking it in.")

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
        self._pictures.forget(1)
        await self._hands.advance("creating")

    async def _send(self) -> None:
        if not self.claim.was_sent and await self._container_is_over():
            await self._replace_container(_OVER)
            return
        await sending.send(self._hands, self._client)


__all__ = ["Publication"]
