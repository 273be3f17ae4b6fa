"""Whose likeness a LoRA file holds, by what it says itself: proposed, never taken by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.text import slug

_KEYS = ("flen.persona", "persona", "character")
"""Notes of a file that name a person outright."""


@dataclass(frozen=True)
class Proposal:
    """A persona that a file seems to be of, and what speaks for it."""

    persona_id: int
    persona: str
    reason: str


def propose(
    session: Session, *, name: str, trigger_word: str, metadata: Mapping[str, str], told: str | None
) -> Proposal | None:
    """The persona that a LoRA names; None when it names none, or more than one.

    Args:
        name: of the LoRA.
        told: whom the JSON beside it names.
    """
    personas = rows_of(session, _PERSONAS, {})
    named = [words for words in (told, *(metadata.get(key) for key in _KEYS)) if words]
    for one in personas:
        if any(words.casefold() == one.name.casefold() for words in named):
            return Proposal(one.id, one.name, f"It says that it is of {one.name}.")
    by_trigger = [one for one in personas if one.trigger_word and _same(one.trigger_word, trigger_word)]
    if len(by_trigger) == 1:
        one = by_trigger[0]
        return Proposal(one.id, one.name, f"Its trigger word is {one.name}'s, {one.trigger_word}.")
    by_name = [one for one in personas if _begins(slug(name, ""), slug(one.name, "-"))]
    if len(by_name) == 1:
        return Proposal(by_name[0].id, by_name[0].name, f"Its name is that of {by_name[0].name}.")
    return None


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _begins(name: str, persona: str) -> bool:
    """`mira-vale-v2` is Mira Vale's, and `miranda` is not Mira's."""
    return name == persona or name.startswith(f"{persona}-")


_PERSONAS = "SELECT id, name, trigger_word FROM personas WHERE archived_at IS NULL ORDER BY lower(name)"
