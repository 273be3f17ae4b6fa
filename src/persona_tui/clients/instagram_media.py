"""What a media container is made of: the fields of `POST /{ig_id}/media` for each kind of media.

Source: Meta's reference of `/{ig-user-id}/media`, v26.0. Which field belongs to which kind stands in a table;
a field in the wrong place is refused here, because Meta answers some of these with an error and leaves
others unread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import cast

from persona_tui.clients.instagram_facts import is_id
from persona_tui.errors import InvalidRequest
from persona_tui.passed import Passed, require_passed


class ContainerKind(StrEnum):
    """What becomes of a container; the value is what people call it."""

    IMAGE = "picture"
    CHILD = "carousel item"
    CAROUSEL = "carousel"
    REEL = "reel"
    STORY = "story"


@dataclass(frozen=True, slots=True)
class NewContainer:
    """A container to be made; what is None is not sent.

    Attributes:
        image_url, video_url: where Instagram fetches the picture or film; plain ASCII.
        user_tags: accounts named in it, as Meta's JSON list of {username, x, y}.
        collaborators: accounts invited to share the post, as a JSON list of names.
        location_id: of a Facebook Page that has a place.
        children: containers of a carousel's items, in order.
        is_ai_generated: the AI label; a carousel carries it as a whole.
        share_to_feed: a reel shows in the feed too.
        cover_ms: the moment of a reel that is its cover, in milliseconds.
    """

    kind: ContainerKind = ContainerKind.IMAGE
    image_url: str | None = None
    video_url: str | None = None
    caption: Passed[str] | None = None
    alt_text: Passed[str] | None = None
    user_tags: Passed[str] | None = None
    collaborators: Passed[str] | None = None
    location_id: str | None = None
    children: tuple[str, ...] | None = None
    is_ai_generated: bool | None = None
    share_to_feed: bool | None = None
    cover_ms: int | None = None

    def form(self) -> dict[str, str]:
        """The form that is posted.

        Raises:
            InvalidRequest: a field does not belong to this kind, or is malformed.
            TypeError: a text has not passed the guard.
        """
        given = {
            field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None
        }
        del given["kind"]
        stray = next((name for name in given if name not in _TAKES[self.kind]), None)
        if stray is not None:
            raise InvalidRequest(f"A {self.kind} takes no {stray.replace('_', ' ')}.")
        if len({"image_url", "video_url", "children"} & given.keys()) != 1:
            raise InvalidRequest(f"A {self.kind} is made of one picture, one film, or its items.")
        if self.kind is not ContainerKind.CHILD and self.is_ai_generated is None:
            raise InvalidRequest(f"A {self.kind} must say whether it carries the AI label.")
        form = dict(_FIXED[self.kind])
        for name, value in given.items():
            form[_NAMES.get(name, name)] = _written(name, value)
        return form


_TAKES: Mapping[ContainerKind, frozenset[str]] = {
    ContainerKind.IMAGE: frozenset(
        {"image_url", "caption", "alt_text", "user_tags", "collaborators", "location_id", "is_ai_generated"}
    ),
    ContainerKind.CHILD: frozenset({"image_url", "alt_text", "user_tags"}),
    ContainerKind.CAROUSEL: frozenset(
        {"children", "caption", "collaborators", "location_id", "is_ai_generated"}
    ),
    ContainerKind.REEL: frozenset(
        {"video_url", "caption", "user_tags", "collaborators", "location_id", "is_ai_generated"}
        | {"share_to_feed", "cover_ms"}
    ),
    ContainerKind.STORY: frozenset({"image_url", "video_url", "user_tags", "is_ai_generated"}),
}
_FIXED: Mapping[ContainerKind, Mapping[str, str]] = {
    ContainerKind.IMAGE: {},
    ContainerKind.CHILD: {"is_carousel_item": "true"},
    ContainerKind.CAROUSEL: {"media_type": "CAROUSEL"},
    ContainerKind.REEL: {"media_type": "REELS"},
    ContainerKind.STORY: {"media_type": "STORIES"},
}
_WORDS = frozenset({"caption", "alt_text", "user_tags", "collaborators"})
_NAMES = {"cover_ms": "thumb_offset"}


def _written(name: str, value: object) -> str:
    """A field's value as the form holds it."""
    if name in _WORDS:
        return _let_through(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(_checked_id(one) for one in value)
    if name.endswith("_url"):
        return fetchable(str(value))
    return _checked_id(str(value)) if name.endswith("_id") else str(value)


def _let_through(value: object) -> str:
    require_passed(cast("Passed[str]", value))
    return cast("Passed[str]", value).value


def _checked_id(value: object) -> str:
    if not is_id(value):
        raise InvalidRequest("An Instagram id consists of digits.")
    return str(value)


def fetchable(url: str) -> str:
    """An address that Instagram's crawler takes.

    Raises:
        InvalidRequest: it is none.
    """
    if not url.isascii() or not url.startswith(("https://", "http://")):
        raise InvalidRequest("Instagram fetches pictures from plain ASCII http(s) addresses only.")
    return url


__all__ = ["ContainerKind", "NewContainer", "fetchable"]
