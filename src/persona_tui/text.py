"""Text from outside, made safe for terminals, logs and links."""

from __future__ import annotations

import re

# CSI, OSC, DCS, APC, PM, SOS and two-character escapes, with their payloads.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f]).*?(?:\x1b\\|\x9c|\x07|\Z)"
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")

# Written out, because asking unicodedata for each character is ten times slower and its answer
# changes with the Python version. Unassigned code points outside the ranges that Unicode reserves for
# invisible characters stay: they are next year's emoji.
_HARMFUL = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 controls, but for line feed and tab
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # invisible, some of them letters
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # Arabic and Kaithi number marks
    "\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # zero width, bidi, invisible operators
    "\ud800-\uf8ff"  # surrogates, private use
    "\ufe00-\ufe0d\ufff0-\ufffb\ufffe\uffff"  # variation selectors, specials, no characters
    "\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # layout controls
    "\U000e0000-\U0010ffff"  # tags, more selectors, private planes
    "]"
)

# The joiner, and the two selectors of emoji or text style, are invisible anywhere but beside emoji.
_EMOJI = "\u2190-\u2bff\u3030\u303d\u3297\u3299\ufe0f\U0001f000-\U0001faff"
_STRAY_JOINER = re.compile(f"(?<![{_EMOJI}])\u200d|\u200d(?![{_EMOJI}])")
_STRAY_STYLE = re.compile(f"(?<![{_EMOJI}0-9#*\xa9\xae\u203c\u2049])[\ufe0e\ufe0f]|(?<=\ufe0f)\ufe0f")


def clean(text: str, *, keep_lines: bool = True) -> str:
    """Strip what could command a terminal or mislead a reader.

    Removes escape sequences with their payload, C0 and C1 controls, bidi controls, invisible
    characters (but for joiner and style selector beside emoji), private-use characters and
    surrogates. Every kind of line end becomes a line feed.

    Args:
        text: anything received from outside: a server's words, a file name, a caption.
        keep_lines: keep line feeds and tabs; with False all white space becomes single spaces.
    """
    kept = _LINE_ENDS.sub("\n", _ESCAPES.sub("", text))
    kept = _HARMFUL.sub("", kept)
    kept = _STRAY_STYLE.sub("", kept)
    kept = _STRAY_JOINER.sub("", kept)
    return kept if keep_lines else " ".join(kept.split())


def slug(words: str, otherwise: str) -> str:
    """A name for files: small letters, digits and hyphens, 60 at most; `otherwise` where none is left."""
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60].rstrip("-") or otherwise
