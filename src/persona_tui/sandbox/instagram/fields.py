"""How nodes of the graph look to a reader: only the fields asked for, and Meta's error for unknown ones."""

from __future__ import annotations

import base64
import string
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from persona_tui.sandbox.instagram.errors import refused
from persona_tui.sandbox.instagram.store import Media

Field = Callable[[], Any]

_SHORTCODE_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"

STATUS_TEXTS = {
    "IN_PROGRESS": "In Progress: Media is still being processed.",
    "FINISHED": "Finished: Media has been uploaded and it is ready to be published.",
    "PUBLISHED": "Published: Media has been successfully published.",
    "EXPIRED": "Expired: Media was not published within 24 hours.",
    "ERROR": "Error: Media upload has failed with error code {subcode}",
}


def pick(fields: str | None, known: Mapping[str, Field], node: str) -> dict[str, Any]:
    """The fields asked for, `id` always; a field whose value is None is left out, as Graph does.

    Args:
        fields: the comma list of the request.
        known: field → how to get its value.
        node: Meta's name of the node type, for the error.

    Raises:
        Refused: 100, for a field that the node does not have.
    """
    asked = [name.strip() for name in (fields or "id").split(",") if name.strip()]
    unknown = next((name for name in asked if name not in known), None)
    if unknown is not None:
        raise refused(
            100, None, f"(#100) Tried accessing nonexisting field ({unknown}) on node type ({node})"
        )
    values = {name: known[name]() for name in [*asked, "id"]}
    return {name: value for name, value in values.items() if value is not None}


def status_fields(container_id: str, state: str, subcode: int | None) -> dict[str, Field]:
    """A container's fields."""
    return {
        "id": lambda: container_id,
        "status_code": lambda: state,
        "status": lambda: STATUS_TEXTS[state].format(subcode=subcode or 2207053),
    }


def media_fields(
    item: Media, *, username: str, site: str, children: Callable[[], list[Media]], caption_readable: bool
) -> dict[str, Field]:
    """A published item's fields.

    Args:
        site: where permalinks lead.
        children: the items of a carousel.
        caption_readable: whether captions can be read back.
    """
    code = shortcode(item.id)
    place = {"STORY": f"stories/{username}/{item.id}", "REELS": f"reel/{code}"}.get(item.product, f"p/{code}")

    def listed_children() -> dict[str, Any] | None:
        ids = [{"id": child.id} for child in children()]
        return {"data": ids} if ids else None

    return {
        "id": lambda: item.id,
        "permalink": lambda: f"{site}/{place}/",
        "timestamp": lambda: graph_time(item.published_at),
        "media_type": lambda: item.media_type,
        "media_product_type": lambda: item.product,
        "shortcode": lambda: code,
        "username": lambda: username,
        "owner": lambda: {"id": item.ig_user_id},
        "alt_text": lambda: item.alt_text if item.alt_text_readable else None,
        "is_ai_generated": lambda: item.is_ai_generated,
        "caption": lambda: item.caption if caption_readable else None,
        "children": listed_children,
    }


def shortcode(media_id: str) -> str:
    """The short name in a permalink: the id to the base of 64."""
    number, letters = int(media_id), ""
    while number:
        number, rest = divmod(number, 64)
        letters = _SHORTCODE_LETTERS[rest] + letters
    return letters


def graph_time(moment: float) -> str:
    """A time as Graph writes it: whole seconds, `+0000`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


def cursor(media_id: str) -> str:
    """The paging cursor behind an item."""
    return base64.urlsafe_b64encode(media_id.encode()).decode()


def behind(cursor_text: str, items: list[Media]) -> list[Media]:
    """The items behind a cursor.

    Raises:
        Refused: 100, for a cursor that was never handed out.
    """
    try:
        media_id = base64.urlsafe_b64decode(cursor_text.encode()).decode()
    except ValueError:
        media_id = ""
    place = next((index for index, item in enumerate(items) if item.id == media_id), None)
    if place is None:
        raise refused(100, None, "(#100) Invalid cursor")
    return items[place + 1 :]
