"""The options of `run create` and `run clone` that say which LoRAs a run uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlmodel import Session

    from persona_tui.services.generation.runs import RunDetail
    from persona_tui.services.loras.registry import LoraView

Loras = Annotated[
    list[str] | None,
    typer.Option("--lora", metavar="NAME[@VERSION][:WEIGHT]", help="In place of those the persona uses."),
]
NoLoras = Annotated[bool, typer.Option("--no-loras", help="Without any LoRA.")]


def choices(
    opened: Session, words: list[str] | None, no_loras: bool, persona_id: int | None
) -> dict[str, Any]:
    """The field `loras` of a run, if these options say something about it.

    Raises:
        InvalidRequest: both options at once, or a weight that is no number.
        UnknownName: there is no such LoRA.
    """
    from persona_tui.errors import InvalidRequest

    if words and no_loras:
        raise InvalidRequest("--lora and --no-loras contradict each other.", hint="Give one of them.")
    if no_loras:
        return {"loras": ()}
    if not words:
        return {}
    return {"loras": tuple(_choice(opened, word, persona_id) for word in words)}


def _choice(opened: Session, word: str, persona_id: int | None) -> dict[str, Any]:
    from persona_tui.services.loras.registry import find_lora

    name, weight = split_weight(word)
    lora = find_lora(opened, name)
    return {"lora_model_id": lora.id, "weight": _weight(lora, persona_id) if weight is None else weight}


def split_weight(word: str) -> tuple[str, float | None]:
    """`mira@2:0.8` as ("mira@2", 0.8).

    Raises:
        InvalidRequest: what follows the colon is no number from 0 to 1.
    """
    from persona_tui.errors import InvalidRequest

    name, colon, told = word.rpartition(":")
    if not colon:
        return word, None
    try:
        weight = float(told)
    except ValueError:
        weight = -1.0
    if not 0 <= weight <= 1:
        raise InvalidRequest(f"{told!r} is no weight.", hint="Weights are 0 to 1, for example mira@2:0.8.")
    return name, weight


def _weight(lora: LoraView, persona_id: int | None) -> float:
    mapped = [user.weight for user in lora.users if user.persona_id == persona_id]
    given = (*mapped, lora.default_weight, 1.0)
    return next(weight for weight in given if weight is not None)


def tell_warnings(opened: Session, run_id: int) -> None:
    """Say beside the result what of a new run will not go as asked."""
    from persona_tui.services.generation.warnings import warnings_of

    for warning in warnings_of(opened, run_id):
        note(f"⚠️  {warning.sentence}")


def lines(run: RunDetail) -> Iterator[str]:
    """What `run show` says of LoRAs."""
    for lora in run.loras:
        yield f"LoRA {lora.position}: {lora.label} at {lora.weight:g} ({lora.model_type}, {lora.family})"
