"""What Instagram's answers say, as values; and how it is read out of JSON that may hold anything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import httpx

from persona_tui.errors import ServiceGarbled
from persona_tui.text import clean


class ContainerState(StrEnum):
    """`status_code` of a media container."""

    IN_PROGRESS = "IN_PROGRESS"
    FINISHED = "FINISHED"
    PUBLISHED = "PUBLISHED"
    ERROR = "ERROR"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """Whose token it is."""

    ig_user_id: str
    username: str


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """A container's state; `status` is Meta's text and `subcode` the error named in it."""

    status_code: ContainerState
    status: str
    subcode: int | None = None


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """A published item as far as it can be read; what the API leaves out is None.

    Attributes:
        media_type: IMAGE, VIDEO or CAROUSEL_ALBUM; '' where it is not told.
        media_product_type: FEED, REELS, STORY or AD; likewise.
        children: ids of a carousel's items, in order.
    """

    id: str
    permalink: str | None
    timestamp: datetime | None
    media_type: str
    caption: str | None
    alt_text: str | None
    is_ai_generated: bool | None
    media_product_type: str = ""
    children: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class CommentFacts:
    """A comment below an item; what the API leaves out is None."""

    id: str
    text: str | None
    username: str | None
    timestamp: datetime | None


@dataclass(frozen=True, slots=True)
class PublishingLimit:
    """Posts used and allowed in a moving window of `quota_duration`."""

    quota_usage: int
    quota_total: int
    quota_duration: timedelta


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of the call budget is used, in percent, and how long Instagram asks to wait.

    Each figure is the highest of all that were sent.
    """

    call_count: int
    total_time: int
    total_cputime: int
    regain_after: timedelta | None = None

    @property
    def highest(self) -> int:
        """The figure nearest to the throttle, in percent."""
        return max(self.call_count, self.total_time, self.total_cputime)


_ID = re.compile(r"[0-9]{1,32}(_[0-9]{1,32})?")
_LONGEST_WINDOW = 31 * 24 * 3600
_SUBCODE = re.compile(r"\b(2207[0-9]{3})\b")


def is_id(value: object) -> bool:
    """Whether this is an id of Graph: digits, for some kinds with one underscore."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def id_in(answer: Mapping[str, Any], field: str) -> str:
    """The id in an answer.

    Raises:
        ServiceGarbled: there is none.
    """
    value = answer.get(field)
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and is_id(text):
        return text
    raise ServiceGarbled("Instagram answered without a usable id.", status=200)


def container_status_in(answer: Mapping[str, Any], status: str) -> ContainerStatus:
    """A container's status; `status` is its text, already cleaned."""
    try:
        state = ContainerState(str(answer.get("status_code")))
    except ValueError:
        raise ServiceGarbled("Instagram named a container state that is not known here.") from None
    found = _SUBCODE.search(status) if state is ContainerState.ERROR else None
    return ContainerStatus(state, status, int(found.group(1)) if found else None)


def media_in(item: Mapping[str, Any]) -> MediaFacts:
    """A published item; fields that the API left out, or that hold something else, are None."""
    labelled = item.get("is_ai_generated")
    return MediaFacts(
        id=id_in(item, "id"),
        permalink=_link(item.get("permalink")),
        timestamp=_moment(item.get("timestamp")),
        media_type=_text_or_none(item.get("media_type")) or "",
        caption=_text_or_none(item.get("caption")),
        alt_text=_text_or_none(item.get("alt_text")),
        is_ai_generated=labelled if isinstance(labelled, bool) else None,
        media_product_type=_text_or_none(item.get("media_product_type")) or "",
        children=_children(item.get("children")),
    )


def _children(edge: object) -> tuple[str, ...] | None:
    listed = edge.get("data") if isinstance(edge, dict) else None
    if not isinstance(listed, list):
        return None
    return tuple(str(one["id"]) for one in listed if isinstance(one, dict) and is_id(one.get("id")))


def comment_in(item: Mapping[str, Any]) -> CommentFacts:
    """A comment; fields that the API left out, or that hold something else, are None."""
    return CommentFacts(
        id=id_in(item, "id"),
        text=_text_or_none(item.get("text")),
        username=_text_or_none(item.get("username")),
        timestamp=_moment(item.get("timestamp")),
    )


def publishing_limit_in(answer: Mapping[str, Any]) -> PublishingLimit:
    """The account's posts used and allowed.

    Raises:
        ServiceGarbled: a figure is missing.
    """
    first = next(iter(list_in(answer, "data")), {})
    config = first.get("config")
    config = config if isinstance(config, dict) else {}
    usage, total = whole_number(first.get("quota_usage")), whole_number(config.get("quota_total"))
    duration = whole_number(config.get("quota_duration"))
    if usage is None or total is None or duration is None or not 0 < duration <= _LONGEST_WINDOW:
        raise ServiceGarbled("Instagram did not say how many posts are allowed.")
    return PublishingLimit(usage, total, timedelta(seconds=duration))


def list_in(answer: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """The list of objects in an answer.

    Raises:
        ServiceGarbled: there is none.
    """
    listed = answer.get(field)
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ServiceGarbled("Instagram answered without the list that was asked for.")
    return listed


def next_cursor(answer: Mapping[str, Any]) -> str | None:
    """The cursor of the next page, or None on the last."""
    paging = answer.get("paging")
    if not isinstance(paging, dict) or "next" not in paging:
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    return after if isinstance(after, str) and after else None


def whole_number(value: object) -> int | None:
    """A JSON number or digits as an int; anything else is None."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def _text_or_none(value: object) -> str | None:
    return clean(value) if isinstance(value, str) else None


def _link(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    link = clean(value, keep_lines=False).partition("?")[0]
    return link if link.startswith(("https://", "http://127.0.0.1:")) else None


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def usage_in(headers: httpx.Headers) -> Usage | None:
    """The highest figures of X-App-Usage and X-Business-Use-Case-Usage."""
    figures = [*_figures(headers.get("x-app-usage")), *_figures(headers.get("x-business-use-case-usage"))]
    if not figures:
        return None

    def highest(name: str) -> int:
        return max(max(whole_number(figure.get(name)) or 0, 0) for figure in figures)

    minutes = min(highest("estimated_time_to_regain_access"), 24 * 60)
    regain = timedelta(minutes=minutes) if minutes else None
    return Usage(highest("call_count"), highest("total_time"), highest("total_cputime"), regain)


def _figures(header: str | None) -> list[dict[str, Any]]:
    """The objects in a usage header: one, or lists of them under each business's id."""
    try:
        told = json.loads(header) if header else None
    except (ValueError, RecursionError):
        return []
    if not isinstance(told, dict):
        return []
    nested = [item for value in told.values() if isinstance(value, list) for item in value]
    return [item for item in nested if isinstance(item, dict)] or [told]
