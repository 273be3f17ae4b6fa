"""Which cards a training is put on: "0,1", or "cpu,cpu" where there is none."""

from __future__ import annotations

import os
from collections.abc import Sequence

from persona_tui.errors import InvalidRequest
from persona_tui.services.lease import CPU, Place

_FORM = "Name them by their numbers, such as 0 or 0,1."


def chosen_places(words: str, here: Sequence[Place]) -> tuple[Place, ...]:
    """The places that are meant, one for each process that trains, in the order of their ranks.

    Args:
        words: numbers of cards, or `cpu` once for each process on a machine without one.
        here: what this machine has.

    Raises:
        InvalidRequest: a card is not there or named twice, or these are no cards.
    """
    named = [word.strip().lower() for word in words.split(",")]
    if all(word == CPU for word in named):
        return _on_cpu(len(named), here)
    wrong = next((word for word in named if not word.isascii() or not word.isdecimal()), None)
    if wrong is not None:
        what = "the CPU beside cards" if wrong == CPU else f"no card: {wrong or 'nothing'}"
        raise InvalidRequest(f"{words.strip() or 'Nothing'} names {what}.", hint=_FORM)
    numbers = [int(word) for word in named]
    by_number = {place.card.index: place for place in here if place.card is not None}
    shown = f"There are: {', '.join(place.title for place in here)}."
    for number in numbers:
        if number not in by_number:
            raise InvalidRequest(f"There is no card {number}.", hint=shown)
        if numbers.count(number) > 1:
            raise InvalidRequest(f"Card {number} is named twice.", hint="Each card takes one process.")
    return tuple(by_number[number] for number in numbers)


def _on_cpu(count: int, here: Sequence[Place]) -> tuple[Place, ...]:
    if here[0].card is not None:
        shown = ", ".join(place.title for place in here)
        raise InvalidRequest(
            "A training runs on the CPU only where there is no card.", hint=f"Name one of: {shown}."
        )
    cores = os.cpu_count() or 1
    if count > cores:
        raise InvalidRequest(
            f"{count} processes are too many for {cores} cores.", hint="Name cpu at most that often."
        )
    return (here[0],) * count


def require_shared(accumulation: int, cards: int) -> None:
    """See that each card gets a part of every step.

    Raises:
        InvalidRequest: there are more cards than batches in a step.
    """
    if accumulation < cards:
        batches = "1 batch" if accumulation == 1 else f"{accumulation} batches"
        raise InvalidRequest(
            f"A step of this training has {batches}, and {cards} cards would share it.",
            hint=f"Plan it with --cards, or with --accumulation {cards}.",
        )


def shared_words(accumulation: int, cards: int) -> str:
    """How a step is shared, in a sentence."""
    even = "" if accumulation % cards == 0 else "; some cards wait for the others, since it does not divide"
    return f"{cards} cards share each step of {accumulation} batches{even}."
