"""Key names: which exist, how they are written in settings and how they are shown."""

from __future__ import annotations

from textual.keys import Keys, format_key, key_to_character
from textual.keys import _character_to_key as character_to_key

MODIFIERS = frozenset({"ctrl", "alt", "shift", "super"})

NAMED = frozenset(key.value for key in Keys if not key.value.startswith("<"))
"""Keys that a terminal can send and that are no character: f1, ctrl+p, pagedown …"""

SHOWN = {
    "enter": "Enter",
    "escape": "Esc",
    "space": "Space",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
    "tab": "Tab",
    "backspace": "Backspace",
    "delete": "Del",
    "insert": "Ins",
}


def normal(key: str) -> str:
    """The one spelling of a key that Textual uses: `?` becomes `question_mark`."""
    key = key if key == " " else key.strip()
    return character_to_key(key) if len(key) == 1 else key


def split(keys: str) -> tuple[str, ...]:
    """The keys of a comma-separated list, each in its normal spelling."""
    return tuple(normal(key) for key in keys.split(",")) if keys != "," else (normal(","),)


def is_key(key: str) -> bool:
    """Whether a terminal can send this key (in normal spelling)."""
    *modifiers, base = key.split("+")
    if len(set(modifiers)) != len(modifiers) or not MODIFIERS.issuperset(modifiers):
        return False
    if key in NAMED or base in NAMED:
        return True
    character = _character(base)
    named_sign = character is not None and character.isascii()
    return character is not None and character.isprintable() and (len(base) == 1 or named_sign)


def is_typed(key: str) -> bool:
    """Whether a text field would take this key as a letter."""
    character = _character(key)
    return character is not None and character.isprintable()


def _character(key: str) -> str | None:
    """What a key types. Textual shortens some names that it does not find again itself."""
    return {"plus": "+", "minus": "-", "slash": "/"}.get(key) or key_to_character(key)


def label(key: str) -> str:
    """How a key is shown: `F1`, `Ctrl+P`, `?`, `a`, `←`."""
    *modifiers, base = key.split("+")
    if base in SHOWN:
        shown = SHOWN[base]
    elif base[:1] == "f" and base[1:].isdigit():
        shown = base.upper()
    else:
        shown = format_key(base)
        if modifiers and len(shown) == 1:
            shown = shown.upper()
    return "+".join([*(modifier.capitalize() for modifier in modifiers), shown])
