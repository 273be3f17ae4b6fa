"""Captions of training pictures: the trigger word exactly once, and what else the picture shows."""

from __future__ import annotations

import re
from pathlib import Path

from persona_tui.text import clean

LONGEST = 2_000
_SUFFIXES = (".txt", ".caption")
"""Where other trainers keep a picture's caption: beside it, under its name."""


def trigger_count(caption: str, trigger: str) -> int:
    """How often a caption holds the trigger word, as a word of its own; 0 where it is spelled otherwise."""
    found = _pattern(trigger).findall(caption) if trigger else []
    return 0 if found and trigger not in found else len(found)


def mended(caption: str, trigger: str, class_word: str) -> str:
    """The caption with the trigger word exactly once.

    A missing one is put in front, with the class; of several the first stays; no caption at all becomes
    `photo of <trigger> <class>`.
    """
    words = caption.strip()
    if not trigger:
        return words
    subject = f"{trigger} {class_word}".strip()
    if not words:
        return f"photo of {subject}"
    first = _pattern(trigger).search(words)
    if first is None:
        return f"{subject}, {words}"
    rest = _pattern(trigger).sub("", words[first.end() :])
    return words[: first.start()] + trigger + re.sub(r"[ \t]{2,}", " ", rest).rstrip()


def caption_beside(picture: Path) -> str:
    """The caption that lies beside a picture; empty where there is none that can be read."""
    for suffix in _SUFFIXES:
        try:
            with picture.with_suffix(suffix).open(encoding="utf-8", errors="replace") as file:
                return clean(file.read(4 * LONGEST), keep_lines=False)[:LONGEST]
        except OSError:
            continue
    return ""


def _pattern(trigger: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w)", re.IGNORECASE)
