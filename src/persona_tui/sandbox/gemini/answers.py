"""Which of our uses a schema asks for, and the answer to it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from persona_tui.sandbox.gemini.brief import read_brief
from persona_tui.sandbox.gemini.filling import fill, kind, resolved
from persona_tui.sandbox.gemini.looking import look
from persona_tui.sandbox.gemini.writer import Seen, Writer

Use = Literal["ideas", "caption", "vision", "other", "prose"]
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """What both protocols boil down to.

    Attributes:
        model: id without "models/".
        texts: all texts, system instruction first, as they were sent.
        pictures: their bytes.
        schema: of the wanted JSON; None for prose.
        longest: tokens that the answer may have.
    """

    model: str
    texts: tuple[str, ...]
    pictures: tuple[bytes, ...] = ()
    schema: Schema | None = None
    longest: int | None = None


def answer(question: Question, rng: random.Random) -> tuple[Use, str]:
    """The use that was recognised, and the answer's text.

    Raises:
        OSError: a picture can't be decoded.
    """
    writer = Writer(rng)
    brief = read_brief("\n".join(question.texts))
    seen = [Seen.of(picture) for picture in question.pictures]
    caption = writer.caption(brief, seen[0] if seen else None)
    schema = question.schema
    if schema is None:
        return "prose", str(caption["caption"])
    ideas_at = _path_to(schema, {"title", "prompt"}) or _path_to(schema, {"title", "description"})
    if ideas_at is not None and ideas_at[-1:] == ("[]",):
        known = _at(ideas_at, writer.ideas(brief, brief.count))
        return "ideas", _as_json(fill(schema, known, rng))
    if seen and (seen_at := _path_to(schema, {"objects", "aesthetic"})) is not None:
        return "vision", _as_json(fill(schema, _at(seen_at, look(question.pictures[0])), rng))
    caption_at = _path_to(schema, {"caption"})
    if caption_at is not None:
        several = [
            caption,
            *(writer.caption(brief, seen[0] if seen else None) for _ in range(brief.count - 1)),
        ]
        known = _at(caption_at, several if caption_at[-1:] == ("[]",) else caption)
        return "caption", _as_json(fill(schema, known, rng))
    spoken = dict.fromkeys(("text", "answer", "reply", "summary", "description"), caption["caption"])
    return "other", _as_json(fill(schema, spoken, rng))


def _path_to(schema: Schema, names: set[str]) -> tuple[str, ...] | None:
    """Where the schema has an object with all these properties: property names, "[]" for a list's items."""
    return next((path for path, node in _objects(schema, schema, (), 0) if names <= node.keys()), None)


def _objects(
    schema: Schema, root: Schema, path: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Every object of the schema with its path, outer ones first."""
    schema = resolved(schema, root)
    if depth > 4:
        return
    if kind(schema) == "array":
        yield from _objects(schema.get("items") or {}, root, (*path, "[]"), depth + 1)
    elif kind(schema) == "object":
        properties: Schema = schema.get("properties") or {}
        yield path, properties
        for name, part in properties.items():
            yield from _objects(part, root, (*path, name), depth + 1)


def _at(path: Sequence[str], value: Any) -> Any:
    """The value, wrapped so that it lies at that path; a list stands for the path's last "[]"."""
    names = path[:-1] if path[-1:] == ("[]",) else path
    for name in reversed(names):
        value = [value] if name == "[]" else {name: value}
    return value


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
