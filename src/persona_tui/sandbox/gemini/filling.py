"""Answers any JSON schema with something that satisfies it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from math import ceil, floor
from typing import Any

_DEEPEST = 12
_WORDS = (
    "calm",
    "window",
    "paper",
    "river",
    "linen",
    "lamp",
    "garden",
    "copper",
    "cedar",
    "harbour",
    "slate",
    "plum",
)
_FORMATS = {
    "date": "2026-05-17",
    "date-time": "2026-05-17T09:30:00Z",
    "time": "09:30:00Z",
    "email": "someone@example.org",
    "uri": "https://example.org/",
    "uuid": "6f0c5a52-3f6d-4d0e-9a37-1a0f4a6d2b11",
}


def option(schema: Mapping[str, Any], name: str, default: Any = None) -> Any:
    """A schema's keyword, spelt like `maxItems` or like `max_items`."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return schema.get(name, schema.get(snake, default))


def resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind `$ref`, or the first choice of `anyOf` that is not null."""
    for _ in range(_DEEPEST):
        reference = schema.get("$ref") or schema.get("ref")
        choices = option(schema, "anyOf") or option(schema, "oneOf") or option(schema, "allOf")
        if reference:
            target: Any = root
            for part in str(reference).removeprefix("#/").split("/"):
                target = target.get(part, {}) if isinstance(target, Mapping) else {}
            schema = target
        elif choices:
            schema = next((choice for choice in choices if kind(choice) != "null"), choices[0])
        else:
            break
    return schema


def kind(schema: Mapping[str, Any]) -> str:
    """The schema's type in lower case, guessed where it is left out."""
    named = schema.get("type")
    if isinstance(named, list):
        named = next((one for one in named if one != "null"), "null")
    if named:
        return str(named).lower()
    if "properties" in schema:
        return "object"
    return "array" if "items" in schema else "string"


def fill(
    schema: Mapping[str, Any],
    known: Any,
    rng: random.Random,
    root: Mapping[str, Any] | None = None,
    depth: int = 0,
) -> Any:
    """A value that satisfies the schema, taken from `known` where that has one of the right kind."""
    root = schema if root is None else root
    schema = resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return known if known in schema["enum"] else rng.choice(list(schema["enum"]))
    match kind(schema):
        case "object":
            return _fill_object(schema, known, rng, root, depth)
        case "array":
            return _fill_array(schema, known, rng, root, depth)
        case "integer" | "number" as name:
            return _fill_number(schema, known, rng, whole=name == "integer")
        case "boolean":
            return known if isinstance(known, bool) else rng.random() < 0.5
        case "null":
            return None
        case _:
            return _fill_string(schema, known, rng)


def _fill_object(
    schema: Mapping[str, Any], known: Any, rng: random.Random, root: Mapping[str, Any], depth: int
) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    told = known if isinstance(known, Mapping) else {}
    return {
        name: fill(part, told.get(name), rng, root, depth + 1)
        for name, part in properties.items()
        if depth < _DEEPEST or (name in required and depth < 2 * _DEEPEST)
    }


def _fill_array(
    schema: Mapping[str, Any], known: Any, rng: random.Random, root: Mapping[str, Any], depth: int
) -> list[Any]:
    least = int(option(schema, "minItems", 0) or 0)
    most = int(option(schema, "maxItems", 0) or max(least, 3, len(known) if isinstance(known, list) else 0))
    items = schema.get("items") or {}
    told = (
        list(known)[:most] if isinstance(known, list) else [None] * (min(2, most) if depth < _DEEPEST else 0)
    )
    told += [None] * (least - len(told))
    return [fill(items, value, rng, root, depth + 1) for value in told]


def _fill_number(schema: Mapping[str, Any], known: Any, rng: random.Random, *, whole: bool) -> int | float:
    step = 1.0 if whole else 0.001
    above, below = option(schema, "exclusiveMinimum"), option(schema, "exclusiveMaximum")
    low = schema.get("minimum", None if above is None else above + step)
    high = schema.get("maximum", None if below is None else below - step)
    low = float(low if low is not None else (0 if high is None else float(high) - 10))
    high = float(high if high is not None else low + 10)
    if isinstance(known, int | float) and not isinstance(known, bool) and low <= known <= high:
        return known
    value = low + (high - low) * (0.25 + 0.5 * rng.random())
    return max(ceil(low), min(floor(high), round(value))) if whole else max(low, min(high, round(value, 3)))


def _fill_string(schema: Mapping[str, Any], known: Any, rng: random.Random) -> str:
    text = known if isinstance(known, str) else _FORMATS.get(str(schema.get("format", "")))
    if text is None:
        text = " ".join(rng.sample(_WORDS, 3))
    least, most = int(option(schema, "minLength", 0) or 0), int(option(schema, "maxLength", 0) or 0)
    while len(text) < least:
        text = f"{text} {rng.choice(_WORDS)}"
    return text[:most] if most else text
