"""Making containers and telling their state: creation, processing, expiry."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from persona_tui.sandbox.control import SandboxContext
from persona_tui.sandbox.instagram import films, pictures
from persona_tui.sandbox.instagram.errors import Refused, refused
from persona_tui.sandbox.instagram.fields import pick, status_fields
from persona_tui.sandbox.instagram.parameters import check, flag, id_list, kind_of, text
from persona_tui.sandbox.instagram.store import Container, Store

LIFE_SECONDS = 24 * 3600.0


def state_of(container: Container, now: float, *, published: bool) -> str:
    """The container's `status_code` at `now`: a function of its facts and the clock, nothing else is kept."""
    if published:
        return "PUBLISHED"
    if now < container.ready_at:
        return "IN_PROGRESS"
    if container.error_subcode is not None:
        return "ERROR"
    if now >= container.created_at + LIFE_SECONDS:
        return "EXPIRED"
    return "FINISHED"


@dataclass(frozen=True)
class Containers:
    """The calls about containers."""

    context: SandboxContext
    store: Store
    fetcher: httpx.AsyncClient

    async def create(self, ig_user_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`POST /{ig_user_id}/media`.

        Raises:
            Refused: as Meta would.
        """
        now, behaviour = self._now(), self.store.behaviour()
        if self.store.containers_since(ig_user_id, now - LIFE_SECONDS) >= behaviour.container_limit:
            raise refused(4)
        kind = kind_of(asked)
        extras = check(kind, asked)
        for name in ("caption", "alt_text", "user_tags", "collaborators"):
            words = text(asked, name)
            if words is not None:
                self.context.received.note("create_container", "text", words)
        children = self._children(ig_user_id, asked) if kind == "CAROUSEL" else ()
        seen, trouble = ({}, None) if kind == "CAROUSEL" else await self._take_in(kind, asked)
        if trouble is not None and not behaviour.refuse_late:
            raise trouble
        container = Container(
            id=self.store.next_container_id(),
            ig_user_id=ig_user_id,
            kind=kind,
            caption=text(asked, "caption"),
            alt_text=text(asked, "alt_text"),
            is_ai_generated=flag(asked, "is_ai_generated"),
            picture_sha256=seen.pop("sha256", None),
            children=children,
            created_at=now,
            ready_at=now + behaviour.container_seconds,
            error_subcode=trouble.error.subcode if trouble else None,
            extras=extras | seen,
        )
        self.store.add_container(container)
        self.context.ledger.append(
            "container_created",
            container_id=container.id,
            ig_user_id=ig_user_id,
            kind=kind,
            shape=container.extras.get("shape"),
        )
        return {"id": container.id}

    def node(self, container: Container, fields: str | None) -> dict[str, Any]:
        """`GET /{container_id}`."""
        state = self.state(container)
        if self.context.rng.random() < self.store.behaviour().stale_status:
            state = {"FINISHED": "IN_PROGRESS", "PUBLISHED": "FINISHED"}.get(state, state)
        return pick(
            fields, status_fields(container.id, state, container.error_subcode), "ShadowIGMediaBuilder"
        )

    def state(self, container: Container) -> str:
        """The true state at this moment."""
        published = bool(self.store.media_of_container(container.id))
        return state_of(container, self._now(), published=published)

    def _now(self) -> float:
        return self.context.clock.now().timestamp()

    def _children(self, ig_user_id: str, asked: Mapping[str, Any]) -> tuple[str, ...]:
        named = asked.get("children")
        ids = id_list(named)
        if not 2 <= len(ids) <= 10:
            raise refused(100, 2207028)
        for container_id in ids:
            child = self.store.container(container_id)
            if child is None or child.ig_user_id != ig_user_id or child.kind != "CHILD":
                raise refused(100, None, "(#100) A child is no carousel item of this account")
            if self.state(child) != "FINISHED":
                raise refused(9007, 2207027)
        return tuple(ids)

    async def _take_in(self, kind: str, asked: Mapping[str, Any]) -> tuple[dict[str, Any], Refused | None]:
        """What the crawler saw of the picture or film, and why it is refused, if it is."""
        is_film = kind == "REELS" or "video_url" in asked
        name = "video_url" if is_film else "image_url"
        url = asked.get(name)
        if not isinstance(url, str) or not url:
            raise refused(100, None, f"(#100) The parameter {name} is required")
        seconds = self.store.behaviour().fetch_seconds
        try:
            content = await pictures.fetch(self.fetcher, url, seconds=seconds, film=is_film)
            self.context.received.note("create_container", "picture", content)
            story = kind == "STORIES"
            if is_film:
                await asyncio.to_thread(films.judge, content, story=story)
                shape = None
            else:
                shape = await asyncio.to_thread(pictures.judge, content, story=story)
        except Refused as problem:
            return {}, problem
        return {"sha256": hashlib.sha256(content).hexdigest(), "film": is_film, "shape": shape}, None
