"""A carousel's items: a container for each picture, kept by name so that a resumed post makes none again.

They are made while the post is `creating`. One that Instagram could not make ready is made anew, alone. The
carousel itself is made once all are ready.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_errors import Verdict, container_ruling
from persona_tui.clients.instagram_facts import ContainerState, ContainerStatus
from persona_tui.services.publishing import attempts, containers
from persona_tui.services.publishing.asking import make_container, read_status, seen_twice, unfetched
from persona_tui.services.publishing.hands import Hands
from persona_tui.services.publishing.hosted_pictures import HostedPictures
from persona_tui.services.publishing.outcome import Ending
from persona_tui.services.publishing.policy import nth

WAITING = "waiting"
"""Outcome of an attempt that waited for Instagram longer than one round."""
_READY = frozenset({ContainerState.FINISHED, ContainerState.PUBLISHED})


class Children:
    """The items of one carousel.

    Raises from its calls: `RoundOver` (it ends here for now), `LeaseLost`, and what `HostedPictures` raises.
    """

    def __init__(self, hands: Hands, client: InstagramClient, pictures: HostedPictures) -> None:
        self._hands = hands
        self._client = client
        self._pictures = pictures
        self._ids: list[str] = []

    async def host_missing(self) -> None:
        """Host the pictures that no container was made of yet."""
        for position in await self._missing():
            await self._pictures.at(position)

    async def ready(self) -> tuple[str, ...]:
        """The items' containers in order, each ready for the carousel."""
        for position in await self._missing():
            await self._make(position)
        waiting = set(range(1, len(self._ids) + 1))
        for pause in self._hands.policy.polls:
            await self._hands.tools.sleep(pause)
            await self._hands.renew()
            for position in sorted(waiting):
                if await self._is_ready(position):
                    waiting.discard(position)
            if not waiting:
                return tuple(self._ids)
        wait = nth(self._hands.policy.later_polls, 0)
        return await self._hands.end(
            Ending("deferred", "Instagram is still taking the pictures in.", WAITING, wait=wait)
        )

    async def _missing(self) -> list[int]:
        """Positions without a container; what an earlier round made counts."""
        if not self._ids:
            post_id, count = self._hands.claim.post_id, len((await self._pictures.material()).sources)
            kept = await self._hands.db(lambda session: _kept(session, post_id))
            self._ids = kept if len(kept) == count else [""] * count
        return [position for position, made in enumerate(self._ids, 1) if not made]

    async def _make(self, position: int) -> None:
        words, hosted = await self._pictures.words(), await self._pictures.at(position)
        self._ids[position - 1] = await make_container(
            self._hands,
            self._client,
            words.item(position, hosted.url),
            call=attempts.CREATE_CHILD,
            position=position,
        )
        await self._hands.advance("creating", child_creation_ids=list(self._ids))

    async def _is_ready(self, position: int) -> bool:
        container = self._ids[position - 1]
        status = await read_status(self._hands, self._client, container)
        if status is None or status.status_code is ContainerState.IN_PROGRESS:
            return False
        if status.status_code in _READY:
            return True
        if await seen_twice(self._hands, container, status.status_code):
            await self._replace(position, status)
        return False

    async def _replace(self, position: int, status: ContainerStatus) -> None:
        ruling = container_ruling(status.subcode)
        sentence = f"Picture {position}: {ruling.sentence}"
        if status.status_code is ContainerState.ERROR and ruling.verdict is Verdict.FIX:
            await self._hands.end(Ending("fix_needed", sentence, "refused"))
        attempt_id = self._hands.claim.attempt_id
        made = await self._hands.db(lambda session: containers.children_made(session, attempt_id, position))
        if made >= self._hands.policy.container_tries:
            await self._hands.end(Ending("failed", f"Instagram can't make it ready. {sentence}", "failed"))
        if ruling.verdict is Verdict.RETRY_CREATE:
            await unfetched(self._hands, ruling.sentence, position)
        self._pictures.forget(position)
        await self._make(position)


def _kept(session: Session, post_id: int) -> list[str]:
    kept: list[str] = session.execute(
        text("SELECT child_creation_ids FROM scheduling_posts WHERE id = :post"), {"post": post_id}
    ).scalar_one()
    return list(kept)


__all__ = ["Children"]
