"""Which LoRAs a run uses: chosen when it is created, kept as rows, so that what it made stays with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.models.pipeline import RunLora
from persona_tui.passed import Workflow
from persona_tui.services.generation.injection import fit, fits, placed_positions
from persona_tui.services.generation.lora_use import MAX_LORAS, LoraUse
from persona_tui.services.generation.model_flow import branches, loads_model
from persona_tui.services.generation.warnings import warn
from persona_tui.services.inputs import Input

StepWorkflow = tuple[str, Workflow]
"""A step's name and its workflow."""


class LoraChoice(Input):
    """A LoRA that the operator picks for a run."""

    lora_model_id: int
    weight: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class LoraPlan:
    """The LoRAs that a run will use, and what is to be said about them."""

    loras: tuple[LoraUse, ...] = ()
    warnings: tuple[str, ...] = ()


_FIELDS = """
l.id AS lora_model_id, l.name, l.version, l.model_type, l.base_family AS family, l.trigger_word,
l.file_path AS file_name, l.sha256
"""
_OF_RUNS = f"""
SELECT u.run_id, u.position, u.weight, {_FIELDS}
FROM run_loras u JOIN lora_models l ON l.id = u.lora_model_id
WHERE u.run_id = ANY (:runs) ORDER BY u.run_id, u.position
"""
_OF_PERSONA = f"""
SELECT 1 AS position, m.weight, {_FIELDS}
FROM persona_lora_mappings m JOIN lora_models l ON l.id = m.lora_model_id
WHERE m.persona_id = :persona
ORDER BY m."primary" DESC, array_position(ARRAY['character', 'style', 'concept', 'editor'], l.model_type),
         lower(l.name), l.id
"""
_PICKED = f"""
SELECT 1 AS position, 1.0 AS weight, l.persona_id, {_FIELDS} FROM lora_models l WHERE l.id = ANY (:ids)
"""
_KEY_WARNINGS = """
SELECT id, details -> 'key_warnings' AS sentences FROM lora_models
WHERE id = ANY (:ids) AND jsonb_typeof(details -> 'key_warnings') = 'array'
"""


def plan_loras(
    session: Session,
    persona_id: int | None,
    picked: Sequence[LoraChoice] | None,
    steps: Sequence[StepWorkflow],
) -> LoraPlan:
    """What a run would use.

    Args:
        picked: the operator's choice; None takes those that the persona uses, as far as the workflows' models
            are of their family.
        steps: the pipeline's, in order.

    Raises:
        UnknownName: a LoRA is not there.
        InvalidRequest: one is picked twice, there are too many, or one holds another persona's likeness.
    """
    if picked is None:
        mapped = () if persona_id is None else _of_persona(session, persona_id)
        usable = [lora for lora in mapped if _unusable(lora, steps) is None][:MAX_LORAS]
        words = _none_fits(mapped, steps) if mapped and not usable else []
    else:
        chosen = _picked(session, persona_id, picked)
        reasons = {lora.lora_model_id: _unusable(lora, steps) for lora in chosen}
        usable = [lora for lora in chosen if reasons[lora.lora_model_id] is None]
        words = [
            f"{lora.label} is not used: {reason}."
            for lora in chosen
            if (reason := reasons[lora.lora_model_id]) is not None
        ]
    loras = tuple(replace(lora, position=number) for number, lora in enumerate(usable, start=1))
    notes = (*words, *_step_notes(loras, steps), *_key_notes(session, loras))
    return LoraPlan(loras, tuple(dict.fromkeys(notes)))


def keep_plan(session: Session, run_id: int, plan: LoraPlan) -> None:
    """Note on a run what it uses, and what was skipped."""
    for lora in plan.loras:
        row = RunLora(
            run_id=run_id, lora_model_id=lora.lora_model_id, position=lora.position, weight=lora.weight
        )
        session.add(row)
    session.flush()
    for sentence in plan.warnings:
        warn(session, run_id, "lora", sentence)


def loras_of(session: Session, run_id: int) -> tuple[LoraUse, ...]:
    """The LoRAs that a run uses, the first one first."""
    return loras_by_run(session, [run_id]).get(run_id, ())


def loras_by_run(session: Session, run_ids: Collection[int]) -> dict[int, tuple[LoraUse, ...]]:
    """The LoRAs of several runs; runs without any are left out."""
    found: dict[int, tuple[LoraUse, ...]] = {}
    if not run_ids:
        return found
    for row in session.execute(text(_OF_RUNS), {"runs": list(run_ids)}):
        facts = {**row._mapping}
        run_id = facts.pop("run_id")
        found[run_id] = (*found.get(run_id, ()), LoraUse(**facts))
    return found


def _of_persona(session: Session, persona_id: int) -> tuple[LoraUse, ...]:
    rows = session.execute(text(_OF_PERSONA), {"persona": persona_id})
    return tuple(LoraUse(**row._mapping) for row in rows)


def _picked(session: Session, persona_id: int | None, picked: Sequence[LoraChoice]) -> list[LoraUse]:
    if len(picked) > MAX_LORAS:
        raise InvalidRequest(f"A run takes at most {MAX_LORAS} LoRAs.", hint="Leave some out.")
    ids = [choice.lora_model_id for choice in picked]
    rows = {row.lora_model_id: row for row in session.execute(text(_PICKED), {"ids": ids})}
    uses = []
    for choice in picked:
        row = rows.pop(choice.lora_model_id, None)
        if row is None:
            raise _not_there(choice.lora_model_id, ids)
        facts: dict[str, Any] = {**row._mapping}
        owner = facts.pop("persona_id")
        use = replace(LoraUse(**facts), weight=choice.weight)
        if owner not in (None, persona_id):
            raise InvalidRequest(
                f"{use.label} holds another persona's likeness.", hint="It serves that persona alone."
            )
        uses.append(use)
    return uses


def _not_there(lora_id: int, ids: Sequence[int]) -> InvalidRequest:
    if ids.count(lora_id) > 1:
        return InvalidRequest("A LoRA is picked twice.", hint="Name it once, with the weight that you want.")
    return UnknownName(f"There is no LoRA {lora_id}.", hint="`persona-tui lora list` shows what there is.")


def _unusable(lora: LoraUse, steps: Sequence[StepWorkflow]) -> str | None:
    """Why no step uses a LoRA; None when one does."""
    reasons = []
    for _, workflow in steps:
        ways = branches(workflow)
        if not ways and placed_positions(workflow):
            return None  # the workflow loads it in a way of its own
        found = fit(lora, ways)
        if found.is_used:
            return None
        reasons.append((bool(ways), found.reason))
    return max(reasons, default=(False, "there is no step"))[1]


def _none_fits(mapped: Sequence[LoraUse], steps: Sequence[StepWorkflow]) -> list[str]:
    if not any(loads_model(workflow) for _, workflow in steps):
        return []
    return [f"None of the persona's LoRAs is used: {_unusable(mapped[0], steps)}."]


def _step_notes(loras: Sequence[LoraUse], steps: Sequence[StepWorkflow]) -> list[str]:
    """What the single steps leave out or are not sure of; a step without a model has nothing to say."""
    notes = []
    for number, (name, workflow) in enumerate(steps, start=1):
        if not loads_model(workflow):
            continue
        for found in fits(workflow, loras):
            if found.reason:
                verb = "is used, but" if found.is_used else "is not used:"
                notes.append(f"Step {number}, {name}: {found.lora.label} {verb} {found.reason}.")
    return notes


def _key_notes(session: Session, loras: Sequence[LoraUse]) -> list[str]:
    labels: Mapping[int, str] = {lora.lora_model_id: lora.label for lora in loras}
    rows = session.execute(text(_KEY_WARNINGS), {"ids": list(labels)})
    return [f"{labels[row.id]}: {sentence}" for row in rows for sentence in row.sentences]
