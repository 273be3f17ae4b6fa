"""Text from outside, made safe for terminals, logs and links."""

from __future__ import annotations

import re
import unicodedata

# CSI, OSC, DCS, APC, PM, SOS and two-character escapes, with their payloads.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f]).*?(?:\x1b\\|\x9c|\x07|$)"
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_KEPT_FORMAT = "\u200d"  # joins emoji
_EMOJI_JOIN = re.compile(r"(?<![\u2190-\U0010ffff])\u200d|\u200d(?![\u2190-\U0010ffff])")


def _is_harmful(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cf":
        return character != _KEPT_FORMAT
    return category in {"Cc", "Cs", "Co", "Zl", "Zp"} and character not in "\n\t"


def clean(text: str, *, keep_lines: bool = True) -> str:
    """Strip what could command a terminal or mislead a reader.

    Removes escape sequences with their payload, C0 and C1 controls, bidi controls, zero-width
    characters (but for the joiner inside emoji), private-use characters and surrogates.

    Args:
        text: anything received from outside: a server's words, a file name, a caption.
        keep_lines: keep line feeds and tabs; with False they become spaces.
    """
    without_escapes = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    kept = "".join(c for c in without_escapes if not _is_harmful(c))
    kept = _EMOJI_JOIN.sub("", kept)
    return kept if keep_lines else " ".join(kept.split())
