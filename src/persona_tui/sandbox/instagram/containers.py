"""Making containers and telling their state: creation, processing, expiry."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from persona_tui.sandbox.control import SandboxContext
from persona_tui.sandbox.instagram import pictures
from persona_tui.sandbox.instagram.errors import Refused, refused
from persona_tui.sandbox.instagram.fields import pick, status_fields
from persona_tui.sandbox.instagram.store import Container, Store

LIFE_SECONDS = 24 * 3600.0
MAX_CAPTION, MAX_TAGS, MAX_MENTIONS, MAX_ALT_TEXT = 2200, 30, 20, 1000
_MENTION = re.compile(r"(?<!\w)@\w")
_TAG = re.compile(r"(?<![\w&])#\w")


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
        kind = _kind(asked)
        caption, alt_text = _text(asked, "caption"), _text(asked, "alt_text")
        _check_texts(kind, caption, alt_text, asked)
        for text in (caption, alt_text):
            if text is not None:
                self.context.received.note("create_container", "text", text)
        children = self._children(ig_user_id, asked) if kind == "CAROUSEL" else ()
        sha256, trouble = (None, None) if kind == "CAROUSEL" else await self._picture(asked)
        if trouble is not None and not behaviour.refuse_late:
            raise trouble
        container = Container(
            id=self.store.next_container_id(),
            ig_user_id=ig_user_id,
            kind=kind,
            caption=caption,
            alt_text=alt_text,
            is_ai_generated=_flag(asked, "is_ai_generated"),
            picture_sha256=sha256,
            children=children,
            created_at=now,
            ready_at=now + behaviour.container_seconds,
            error_subcode=trouble.error.subcode if trouble else None,
        )
        self.store.add_container(container)
        self.context.ledger.append(
            "container_created", container_id=container.id, ig_user_id=ig_user_id, kind=kind
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
        ids = _id_list(named)
        if not 2 <= len(ids) <= 10:
            raise refused(100, 2207028)
        for container_id in ids:
            child = self.store.container(container_id)
            if child is None or child.ig_user_id != ig_user_id or child.kind != "CHILD":
                raise refused(100, None, "(#100) A child is no carousel item of this account")
            if self.state(child) != "FINISHED":
                raise refused(9007, 2207027)
        return tuple(ids)

    async def _picture(self, asked: Mapping[str, Any]) -> tuple[str | None, Refused | None]:
        """The picture's hash, and why it is refused, if it is."""
        url = asked.get("image_url")
        if not isinstance(url, str) or not url:
            raise refused(100, None, "(#100) The parameter image_url is required")
        try:
            content = await pictures.fetch(self.fetcher, url, seconds=self.store.behaviour().fetch_seconds)
            self.context.received.note("create_container", "picture", content)
            await asyncio.to_thread(pictures.judge, content)
        except Refused as problem:
            return None, problem
        return hashlib.sha256(content).hexdigest(), None


def _kind(asked: Mapping[str, Any]) -> str:
    if _flag(asked, "is_carousel_item"):
        return "CHILD"
    media_type = asked.get("media_type", "IMAGE")
    if media_type not in {"IMAGE", "CAROUSEL"}:
        raise refused(100, 2207023)
    return str(media_type)


def _check_texts(kind: str, caption: str | None, alt_text: str | None, asked: Mapping[str, Any]) -> None:
    if kind == "CHILD" and (caption is not None or "is_ai_generated" in asked):
        raise refused(100, None, "(#100) caption and is_ai_generated belong to the carousel, not its items")
    if kind == "CAROUSEL" and alt_text is not None:
        raise refused(100, None, "(#100) alt_text belongs to a carousel's items")
    if alt_text is not None and len(alt_text) > MAX_ALT_TEXT:
        raise refused(100, None, "(#100) alt_text is longer than 1000 characters")
    words = caption or ""
    if len(words) > MAX_CAPTION or len(_TAG.findall(words)) > MAX_TAGS:
        raise refused(36004, 2207010)
    if len(_MENTION.findall(words)) > MAX_MENTIONS:
        raise refused(100, 2207040)


def _text(asked: Mapping[str, Any], name: str) -> str | None:
    value = asked.get(name)
    return value if isinstance(value, str) else None


def _flag(asked: Mapping[str, Any], name: str) -> bool:
    return asked.get(name) in {True, "true", "True", "1"}


def _id_list(named: object) -> list[str]:
    if isinstance(named, str):
        try:
            named = json.loads(named) if named.startswith("[") else named.split(",")
        except ValueError:
            return []
    return [str(one).strip() for one in named] if isinstance(named, list) else []
