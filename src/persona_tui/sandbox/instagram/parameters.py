"""What `POST /{ig_user_id}/media` takes for each kind of container, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from persona_tui.sandbox.instagram.errors import refused

MAX_CAPTION, MAX_TAGS, MAX_MENTIONS, MAX_ALT_TEXT = 2200, 30, 20, 1000
MAX_COLLABORATORS, MAX_USER_TAGS = 3, 20
_MENTION = re.compile(r"(?<!\w)@\w")
_TAG = re.compile(r"(?<![\w&])#\w")
_USERNAME = re.compile(r"[A-Za-z0-9._]{1,30}")

# What belongs to other kinds is an error here; Meta leaves some of it unread, which would hide a mistake.
_NOT_FOR: Mapping[str, tuple[str, ...]] = {
    "IMAGE": ("children", "share_to_feed", "thumb_offset", "cover_url", "video_url"),
    "CHILD": (
        "caption", "is_ai_generated", "location_id", "collaborators", "children", "share_to_feed",
        "thumb_offset",
    ),
    "CAROUSEL": ("alt_text", "user_tags", "image_url", "video_url", "share_to_feed", "thumb_offset"),
    "REELS": ("alt_text", "children", "image_url"),
    "STORIES": (
        "caption", "alt_text", "location_id", "collaborators", "children", "share_to_feed", "thumb_offset",
    ),
}  # fmt: skip


def kind_of(asked: Mapping[str, Any]) -> str:
    """IMAGE, CHILD, CAROUSEL, REELS or STORIES.

    Raises:
        Refused: 100/2207023, a kind that Meta does not know.
    """
    if flag(asked, "is_carousel_item"):
        return "CHILD"
    media_type = asked.get("media_type", "IMAGE")
    if media_type not in {"IMAGE", "CAROUSEL", "REELS", "STORIES"}:
        raise refused(100, 2207023)
    return str(media_type)


def check(kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse what Meta would refuse; what else of the request is kept with the container.

    Raises:
        Refused: 100 for a parameter, 36004/2207010 and 100/2207040 for the words.
    """
    stray = next((name for name in _NOT_FOR[kind] if name in asked), None)
    if stray is not None:
        raise refused(100, None, f"(#100) {stray} does not belong to media of the type {kind}")
    _check_words(text(asked, "caption") or "", text(asked, "alt_text"))
    extras: dict[str, Any] = {}
    if "user_tags" in asked:
        extras["user_tags"] = _user_tags(kind, asked)
    if "collaborators" in asked:
        extras["collaborators"] = _collaborators(asked)
    if "location_id" in asked:
        extras["location_id"] = _place(asked)
    for name in ("share_to_feed", "thumb_offset"):
        if name in asked:
            extras[name] = str(asked[name])
    return extras


def text(asked: Mapping[str, Any], name: str) -> str | None:
    """A text among the parameters."""
    value = asked.get(name)
    return value if isinstance(value, str) else None


def flag(asked: Mapping[str, Any], name: str) -> bool:
    """A truth value among the parameters."""
    return asked.get(name) in {True, "true", "True", "1"}


def id_list(named: object) -> list[str]:
    """Ids from a JSON list or a comma list."""
    listed = _json_list(named) if isinstance(named, str) and named.startswith("[") else named
    if isinstance(listed, str):
        listed = listed.split(",")
    return [str(one).strip() for one in listed] if isinstance(listed, list) else []


def _check_words(caption: str, alt_text: str | None) -> None:
    if alt_text is not None and len(alt_text) > MAX_ALT_TEXT:
        raise refused(100, None, "(#100) alt_text is longer than 1000 characters")
    if len(caption) > MAX_CAPTION or len(_TAG.findall(caption)) > MAX_TAGS:
        raise refused(36004, 2207010)
    if len(_MENTION.findall(caption)) > MAX_MENTIONS:
        raise refused(100, 2207040)


def _user_tags(kind: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    tags = _json_list(asked["user_tags"])
    if tags is None or len(tags) > MAX_USER_TAGS:
        raise refused(100, 2207040)
    for tag in tags:
        if not isinstance(tag, dict) or not _USERNAME.fullmatch(str(tag.get("username", ""))):
            raise refused(100, None, "(#100) A user tag names no account")
        places = [tag[axis] for axis in ("x", "y") if axis in tag]
        if kind == "REELS" and places:
            raise refused(100, None, "(#100) A reel's tags have no place")
        if kind in {"IMAGE", "CHILD"} and len(places) != 2:
            raise refused(100, None, "(#100) A picture's tags need x and y")
        if not all(isinstance(place, int | float) and 0 <= place <= 1 for place in places):
            raise refused(100, None, "(#100) x and y go from 0.0 to 1.0")
    return tags


def _collaborators(asked: Mapping[str, Any]) -> list[str]:
    names = _json_list(asked["collaborators"])
    if names is None or len(names) > MAX_COLLABORATORS:
        raise refused(100, None, "(#100) At most 3 collaborators")
    if not all(_USERNAME.fullmatch(str(name)) for name in names):
        raise refused(100, None, "(#100) A collaborator names no account")
    return [str(name) for name in names]


def _place(asked: Mapping[str, Any]) -> str:
    place = str(asked["location_id"])
    if not place.isdigit():
        raise refused(100, None, "(#100) INSTAGRAM_PLATFORM_API__INVALID_LOCATION_ID")
    return place


def _json_list(value: object) -> list[Any] | None:
    try:
        told = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return told if isinstance(told, list) else None
