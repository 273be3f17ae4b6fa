"""Moments that can be photographed, by the part of life that they belong to; the words are in moments.txt."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple


class Moment(NamedTuple):
    """Something that can be photographed.

    Attributes:
        name: two or three words.
        action: what the persona does, in the third person, without a pronoun.
        place: where, with its preposition.
        detail: one small thing that makes it real.
    """

    name: str
    action: str
    place: str
    detail: str


class Domain(NamedTuple):
    """A part of life: the beginnings of words that call for it, tags that people follow, and its moments."""

    called_by: tuple[str, ...]
    tags: tuple[str, ...]
    moments: tuple[Moment, ...]


@cache
def domains() -> tuple[Domain, ...]:
    """All parts of life; the last one suits everybody."""
    text = files(__package__).joinpath("moments.txt").read_text("utf-8")
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("[")]
    return tuple(
        Domain(
            called_by=tuple(head.strip("[]").split()),
            tags=tuple(tags.removeprefix("tags: ").split()),
            moments=tuple(Moment(*line.split(" | ")) for line in lines),
        )
        for head, tags, *lines in blocks
    )


def moments_about(topic: str) -> tuple[Moment, ...]:
    """Moments made from a word of the persona's own."""
    about_any = (
        (
            f"{topic} on the table",
            f"lays out what belongs to {topic}",
            "at a table by the window",
            "a roll of string",
        ),
        (
            f"{topic}, up close",
            f"bends over a detail of {topic}",
            "in a corner with good light",
            "a loupe on a cord",
        ),
    )
    about_doing = (
        (
            f"An hour of {topic}",
            f"loses the time over {topic}",
            "in a room with the door ajar",
            "a cup gone cold",
        ),
        (
            f"Before {topic}",
            f"gets ready for {topic}",
            "in a hallway with the bag packed",
            "a list with one line crossed out",
        ),
        (f"After {topic}", f"rests after {topic}", "on the front steps", "sleeves still rolled up"),
    )
    return tuple(
        Moment(*parts) for parts in (about_any + about_doing if topic.endswith("ing") else about_any)
    )
