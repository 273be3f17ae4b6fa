"""Hashtags: cleaned, without doubles or banned ones, capped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_NOT_TAG = re.compile(r"[^\w]", re.UNICODE)
_HARMFUL = frozenset({"reels", "explore", "viral", "instagood", "followforfollow", "f4f", "like4like", "l4l"})
"""Instagram itself calls generic tags such as #reels and #explore harmful (December 2025)."""


def clean_tag(raw: str) -> str | None:
    """A tag without its #, letters, digits and underscore only; None when nothing is left."""
    tag = _NOT_TAG.sub("", raw.strip().lstrip("#"))
    return tag if tag and not tag.isdigit() else None


def choose(proposed: Iterable[str], taste: Mapping[str, Any], *, most: int) -> tuple[str, ...]:
    """The post's tags: the persona's own first, then what was proposed, without avoided and harmful ones.

    Args:
        taste: the persona's `hashtag_strategy`: lists `own` and `avoid`.
        most: cap on the number.
    """
    avoided = {tag.lower() for raw in taste.get("avoid", ()) if (tag := clean_tag(raw))} | _HARMFUL
    chosen: dict[str, str] = {}
    own = list(taste.get("own", ()))[: max(1, most // 2)]
    for raw in [*own, *proposed]:
        tag = clean_tag(raw)
        if tag and tag.lower() not in avoided:
            chosen.setdefault(tag.lower(), tag)
    return tuple(chosen.values())[:most]
