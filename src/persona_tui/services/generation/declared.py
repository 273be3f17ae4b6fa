"""What a server declares of its node classes: the answer of `/object_info`, read with care."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from persona_tui.text import clean

Declared: TypeAlias = Mapping[str, Any]
"""Class → what `/object_info` says of it."""

DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
_LONGEST = 80
_NEAREST = 3


@dataclass(frozen=True)
class DeclaredInput:
    """One input of a node class.

    Attributes:
        type: its type's name; `COMBO` for both ways to declare choices.
        options: default, limits, choices and the like.
        choices: what a COMBO offers.
    """

    name: str
    type: str
    required: bool
    options: Mapping[str, Any]
    choices: Sequence[Any] = ()


def class_of(declared: Declared, kind: str) -> Mapping[str, Any] | None:
    """What the server says of a node class; None when it has none of that name."""
    found = declared.get(kind)
    return found if isinstance(found, Mapping) else None


def inputs_of(info: Mapping[str, Any]) -> Iterator[DeclaredInput]:
    """The inputs of a class in the order in which the editor shows them."""
    groups = _mapping(info.get("input"))
    orders = _mapping(info.get("input_order"))
    for group in ("required", "optional"):
        given = _mapping(groups.get(group))
        order = orders.get(group)
        first = [name for name in order if name in given] if isinstance(order, list) else []
        for name in (*first, *(name for name in given if name not in first)):
            yield declared_input(name, given[name], required=group == "required")


def declared_input(name: str, config: object, *, required: bool) -> DeclaredInput:
    """One declaration: `[type, options]`, or `[choices, options]` in the older way."""
    parts = config if isinstance(config, list | tuple) else ()
    options = _mapping(parts[1] if len(parts) > 1 else None)
    kind = parts[0] if parts else "*"
    if isinstance(kind, list | tuple):
        return DeclaredInput(name, "COMBO", required, options, tuple(kind))
    choices = options.get("options")
    return DeclaredInput(
        name, str(kind), required, options, tuple(choices) if isinstance(choices, list) else ()
    )


def chosen_inputs(one: DeclaredInput, value: object) -> Iterator[DeclaredInput]:
    """The further inputs that a dynamic choice brings with it, their names already in full."""
    for choice in one.choices:
        if isinstance(choice, Mapping) and choice.get("key") == value:
            for part in inputs_of({"input": choice.get("inputs")}):
                yield DeclaredInput(
                    f"{one.name}.{part.name}",
                    part.type,
                    part.required and one.required,
                    part.options,
                    part.choices,
                )


def outputs_of(info: Mapping[str, Any]) -> tuple[str, ...]:
    """The types of a class's outputs; a list of choices counts as COMBO."""
    found = info.get("output")
    return tuple(one if isinstance(one, str) else "COMBO" for one in found) if isinstance(found, list) else ()


def title_of(info: Mapping[str, Any], kind: str) -> str:
    """The title that the editor gives a node of the class."""
    return str(info.get("display_name") or info.get("name") or kind)


def nearest(wanted: str, names: Sequence[str]) -> str:
    """A hint with the names that are most like the one wanted; empty when there are none at all."""
    near = difflib.get_close_matches(wanted, names, _NEAREST, 0.4) or list(names[:_NEAREST])
    return f"Nearest there: {', '.join(short(name) for name in near)}." if near else ""


def short(words: object) -> str:
    """Outside words as they may stand in a sentence."""
    told = clean(str(words), keep_lines=False)
    return told if len(told) <= _LONGEST else told[: _LONGEST - 1] + "…"


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}
