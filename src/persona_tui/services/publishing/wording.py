"""The words of a post: cleaned, within Instagram's limits, and put together as they are sent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from persona_tui.errors import InvalidRequest
from persona_tui.text import clean

MAX_CAPTION = 2200
MAX_ALT_TEXT = 1000
MAX_MENTIONS = 20
MAX_COMMENT = 2200

_HASHTAG = re.compile(r"(?<![\w&])#\w+")
_MENTION = re.compile(r"(?<!\w)@[\w.]+")
_NOT_IN_TAG = re.compile(r"[^\w]")


class WordsRefused(InvalidRequest):
    """Instagram would not take these words."""

    title = "Words don't fit"
    hint = "Shorten the caption or take some hashtags away."


@dataclass(frozen=True)
class PostWords:
    """Words that fit: the caption without its hashtags, the hashtags without #, the alternative text."""

    caption: str
    hashtags: tuple[str, ...]
    alt_text: str


def checked_words(
    caption: str, hashtags: Sequence[str] = (), alt_text: str = "", *, max_hashtags: int
) -> PostWords:
    """Clean a post's words and hold them against Instagram's limits.

    Lengths are counted in UTF-16 units, the stricter of the two ways in which Instagram may count.

    Args:
        hashtags: with or without #; doubles are dropped, whatever their case.
        max_hashtags: most hashtags, those inside the caption included.

    Raises:
        WordsRefused: too long, too many hashtags, or over 20 accounts named.
    """
    words = PostWords(clean(caption).strip(), _tags(hashtags), clean(alt_text, keep_lines=False))
    full = full_caption(words.caption, words.hashtags)
    if (length := utf16_length(full)) > MAX_CAPTION:
        raise WordsRefused(
            f"The caption with its hashtags has {length:,} characters, {MAX_CAPTION:,} are allowed."
        )
    if (length := utf16_length(words.alt_text)) > MAX_ALT_TEXT:
        raise WordsRefused(
            f"The alternative text has {length:,} characters, {MAX_ALT_TEXT:,} are allowed.",
            hint="Shorten the alternative text.",
        )
    if (count := len(_HASHTAG.findall(full))) > max_hashtags:
        raise WordsRefused(f"The post has {count} hashtags, {max_hashtags} are allowed.")
    if (count := len(_MENTION.findall(full))) > MAX_MENTIONS:
        raise WordsRefused(
            f"The caption names {count} accounts, {MAX_MENTIONS} are allowed.", hint="Name fewer accounts."
        )
    return words


def checked_comment(comment: str, *, max_hashtags: int) -> str:
    """Clean a first comment and hold it against Instagram's limits; '' stays ''.

    Raises:
        WordsRefused: too long, too many hashtags, or over 20 accounts named.
    """
    words = clean(comment).strip()
    hint = "Shorten the first comment."
    if (length := utf16_length(words)) > MAX_COMMENT:
        raise WordsRefused(
            f"The first comment has {length:,} characters, {MAX_COMMENT:,} are allowed.", hint=hint
        )
    if (count := len(_HASHTAG.findall(words))) > max_hashtags:
        raise WordsRefused(f"The first comment has {count} hashtags, {max_hashtags} are allowed.", hint=hint)
    if (count := len(_MENTION.findall(words))) > MAX_MENTIONS:
        raise WordsRefused(
            f"The first comment names {count} accounts, {MAX_MENTIONS} are allowed.", hint=hint
        )
    return words


def full_caption(caption: str, hashtags: Sequence[str]) -> str:
    """What is sent: the caption, an empty line, the hashtags."""
    tags = " ".join(f"#{tag}" for tag in hashtags)
    return "\n\n".join(part for part in (caption, tags) if part)


def _tags(hashtags: Sequence[str]) -> tuple[str, ...]:
    cleaned = (_NOT_IN_TAG.sub("", clean(tag, keep_lines=False).lstrip("#")) for tag in hashtags)
    return tuple({tag.casefold(): tag for tag in reversed([*cleaned]) if tag}.values())[::-1]


def utf16_length(text: str) -> int:
    """Characters as Instagram may count them: those beyond the basic plane twice."""
    return len(text.encode("utf-16-le")) // 2


__all__ = [
    "MAX_ALT_TEXT",
    "MAX_CAPTION",
    "MAX_MENTIONS",
    "PostWords",
    "WordsRefused",
    "checked_comment",
    "checked_words",
    "full_caption",
    "utf16_length",
]
