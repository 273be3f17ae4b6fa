"""A post's pictures on their way: prepared, past the guard, and where Instagram can fetch them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from persona_tui.clients.media_host import HostedPicture
from persona_tui.services.publishing import staging
from persona_tui.services.publishing.hands import Hands
from persona_tui.services.publishing.hosting import host_picture
from persona_tui.services.publishing.preparing import Preparer
from persona_tui.services.publishing.staging import Material, PassedWords, Source

R = TypeVar("R")


class HostedPictures:
    """What was read, prepared and hosted in this round; nothing is done twice.

    Raises from its calls: `PersonaError` (the picture, the guard, the media host), `LeaseLost`.
    """

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._material: Material | None = None
        self._words: PassedWords | None = None
        self._preparer: Preparer | None = None
        self._hosted: dict[int, HostedPicture] = {}

    async def material(self) -> Material:
        """What the post is made of."""
        if self._material is None:
            post_id = self._hands.claim.post_id
            self._material = await self._hands.db(lambda session: staging.read_material(session, post_id))
        return self._material

    async def words(self) -> PassedWords:
        """The post's words, past the guard."""
        if self._words is None:
            material, persona_id = await self.material(), self._hands.claim.persona_id
            self._words = await self._hands.db(
                lambda session: staging.pass_words(session, material, persona_id=persona_id)
            )
        return self._words

    async def at(self, position: int) -> HostedPicture:
        """The picture or film at that place, where Instagram can fetch it; counted from 1."""
        if position not in self._hosted:
            source = (await self.material()).sources[position - 1]
            self._hosted[position] = await (self._film(source) if source.is_film else self._picture(source))
        return self._hosted[position]

    def forget(self, position: int) -> None:
        """Instagram made nothing of this copy: the next try gets another, at another address."""
        self._hosted.pop(position, None)

    async def _picture(self, source: Source) -> HostedPicture:
        claim = self._hands.claim
        jpeg = (await self._kept((await self._prepares()).picture(source))).jpeg
        passed = await self._hands.db(
            lambda session: staging.pass_picture(
                session, jpeg, persona_id=claim.persona_id, post_id=claim.post_id
            )
        )
        return await self._kept(host_picture(self._hands, passed, source.position))

    async def _film(self, source: Source) -> HostedPicture:
        """From file to file to the media host: a film may be larger than what the memory should hold."""
        claim = self._hands.claim
        with self._hands.tools.media.workspace() as folder:
            film = await self._kept((await self._prepares()).film(source, folder))
            passed = await self._hands.db(
                lambda session: staging.pass_film(
                    session, film, persona_id=claim.persona_id, post_id=claim.post_id
                )
            )
            return await self._kept(host_picture(self._hands, passed, source.position, "mp4"))

    async def _prepares(self) -> Preparer:
        if self._preparer is None:
            tools = self._hands.tools
            self._preparer = Preparer(tools.media, tools.pool, await self.material())
        return self._preparer

    async def _kept(self, work: Awaitable[R]) -> R:
        """Wait for something that may take longer than the lease, and renew it meanwhile and afterwards."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait({task}, timeout=self._hands.policy.lease.total_seconds() / 3))[0]:
                await self._hands.renew()
        finally:
            task.cancel()  # only where the lease was lost; it is done otherwise
        await self._hands.renew()
        return await task


__all__ = ["HostedPictures"]
