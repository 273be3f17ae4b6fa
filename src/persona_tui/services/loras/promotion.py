"""Which version a persona's runs use: one is promoted in another's place, and that can be taken back.

A replaced version is out of use by that, whatever its name: two of one likeness in a chain would act twice.
What was in use before is read from the audit trail, so it is known however it came about. Content that was
made with a version stays with it: runs name the versions that they used.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import NotAllowedNow
from persona_tui.services.loras.mappings import Use, unuse_lora, use_lora, uses_like
from persona_tui.services.loras.registry import LoraView, get_lora
from persona_tui.services.safety import audit

COMPARED, ROLLED_BACK = "lora.compare", "lora.roll-back"


@dataclass(frozen=True)
class Promotion:
    """What a promotion means.

    Attributes:
        lora: the version that becomes primary.
        instead_of: the one that is primary for its type and family now; None where there is none.
        compared: whether both were pictured side by side.
        beside: what else of that type and family the persona uses afterwards, each with its weight.
    """

    lora: LoraView
    instead_of: LoraView | None
    compared: bool
    beside: tuple[tuple[LoraView, float], ...] = ()

    @property
    def consequence(self) -> str:
        """What becomes of the replaced one and of others; runs chain all that is in use."""
        stay = {other.id: f"{other.label} at {weight:g}" for other, weight in self.beside}
        said = []
        if self.instead_of is not None and self.instead_of.id not in stay:
            said.append(f"{self.instead_of.label} is taken out of use.")
        if stay:
            said.append(f"{', '.join(stay.values())} in use beside {self.lora.label}.")
        return " ".join(said)


@dataclass(frozen=True)
class _Primary:
    """What was primary once, at which weight, and what was in use before it."""

    lora_id: int
    weight: float
    before: tuple[Use, ...]


def look_at_promotion(session: Session, persona_id: int, lora_id: int) -> Promotion:
    """What promoting this version would change.

    Raises:
        UnknownName: it is not there.
        NotAllowedNow: it is primary already.
    """
    lora = get_lora(session, lora_id)
    now = primary_like(session, persona_id, lora)
    if now is not None and now.id == lora.id:
        raise NotAllowedNow(
            f"{lora.label} is the primary {lora.model_type} for {lora.family} already.",
            hint="Promote another version, or roll back to the one before.",
        )
    compared = now is not None and were_compared(session, lora, now)
    gone = {lora.id} if now is None else {lora.id, now.id}
    stay = (one for one in uses_like(session, persona_id, lora) if one.lora_id not in gone)
    return Promotion(lora, now, compared, _beside(session, lora, stay))


def promote(session: Session, persona_id: int, lora_id: int) -> LoraView:
    """Make a version the primary one of its type and family; the one that it replaces is out of use.

    Raises:
        UnknownName: it is not there.
        InvalidRequest: it holds another persona's likeness.
    """
    replaced = primary_like(session, persona_id, get_lora(session, lora_id))
    use_lora(session, persona_id, lora_id, {"primary": True})
    if replaced is not None and replaced.id != lora_id:
        _end_use(session, persona_id, replaced)
    return get_lora(session, lora_id)


def look_at_roll_back(session: Session, persona_id: int, lora_id: int) -> Promotion:
    """To which version the persona would go back, of this one's type and family.

    Raises:
        UnknownName: the LoRA is not there.
        NotAllowedNow: none is primary, or none was before it.
    """
    now, since, back_to = _before(session, persona_id, get_lora(session, lora_id))
    lora = get_lora(session, back_to.lora_id)
    restored = {one.lora_id: one for one in since.before}
    added = [one for one in uses_like(session, persona_id, now) if one.lora_id not in {now.id, *restored}]
    stay = (one for one in (*restored.values(), *added) if one.lora_id != lora.id)
    return Promotion(lora, now, True, _beside(session, lora, stay))


def roll_back(session: Session, persona_id: int, lora_id: int) -> LoraView:
    """Go back to what was in use before the present primary became so, each at the weight that it had.

    What came into use since then beside it stays.

    Raises:
        UnknownName: the LoRA is not there.
        NotAllowedNow: none is primary, or none was before it.
    """
    now, since, back_to = _before(session, persona_id, get_lora(session, lora_id))
    audit.append(
        session,
        actor="operator",
        action=ROLLED_BACK,
        persona_id=persona_id,
        subject=f"lora_models:{now.id}",
        content_sha256=now.sha256,
        details={"from": now.label},
    )
    beside = [one for one in since.before if one.lora_id != back_to.lora_id]
    for one in _still_there(session, beside):
        use_lora(session, persona_id, one.lora_id, {"primary": False, "weight": one.weight})
    use_lora(session, persona_id, back_to.lora_id, {"primary": True, "weight": back_to.weight})
    if now.id not in {one.lora_id for one in beside}:
        _end_use(session, persona_id, now)
    return get_lora(session, back_to.lora_id)


def primary_like(session: Session, persona_id: int, lora: LoraView) -> LoraView | None:
    """The persona's primary of this one's type and family."""
    found = rows_of(session, _PRIMARY, _values(persona_id, lora))
    return get_lora(session, found[0].id) if found else None


def note_compared(session: Session, persona_id: int, lora: LoraView, other: LoraView, seed: int) -> None:
    """Keep in the audit trail that two versions were pictured side by side."""
    audit.append(
        session,
        actor="operator",
        action=COMPARED,
        persona_id=persona_id,
        subject=f"lora_models:{lora.id}",
        content_sha256=lora.sha256,
        details={"lora": lora.label, "with": other.label, "with_sha256": other.sha256, "seed": seed},
    )


def were_compared(session: Session, lora: LoraView, other: LoraView) -> bool:
    """Whether two versions were ever pictured side by side."""
    return bool(rows_of(session, _COMPARED, {"one": lora.sha256, "other": other.sha256, "action": COMPARED}))


def _end_use(session: Session, persona_id: int, lora: LoraView) -> None:
    """Take it out of use, unless another version of its name took its place already."""
    if any(one.lora_id == lora.id for one in uses_like(session, persona_id, lora)):
        unuse_lora(session, persona_id, lora.id)


def _beside(session: Session, lora: LoraView, uses: Iterable[Use]) -> tuple[tuple[LoraView, float], ...]:
    """What is in use beside a LoRA; another version of its name gives way to it."""
    found = [(get_lora(session, one.lora_id), one.weight) for one in _still_there(session, uses)]
    return tuple((other, weight) for other, weight in found if other.name.lower() != lora.name.lower())


def _still_there(session: Session, uses: Iterable[Use]) -> list[Use]:
    wanted = list(uses)
    rows = rows_of(session, _THERE, {"ids": [one.lora_id for one in wanted]})
    there = {row.id for row in rows}
    return [one for one in wanted if one.lora_id in there]


def _before(session: Session, persona_id: int, lora: LoraView) -> tuple[LoraView, _Primary, _Primary]:
    """What is primary now, since when, and what was so before it."""
    now = primary_like(session, persona_id, lora)
    if now is None:
        raise NotAllowedNow(
            f"No {lora.model_type} for {lora.family} is primary now.", hint="Promote one instead."
        )
    history = _history(session, persona_id, now)
    before = [one for one in history if one.lora_id != now.id]
    if not before:
        raise NotAllowedNow(
            f"No other {now.model_type} for {now.family} was primary before {now.label}.",
            hint="Promote the version that you want.",
        )
    return now, history[-1], before[-1]


def _history(session: Session, persona_id: int, lora: LoraView) -> list[_Primary]:
    """What was primary, one after the other; what was rolled back is no part of it."""
    history: list[_Primary] = []
    for row in rows_of(session, _HISTORY, _values(persona_id, lora) | {"back": ROLLED_BACK}):
        before = _uses(row.before)
        if history and history[-1].lora_id == row.id:
            # Its weight alone changed since it became primary.
            before = history.pop().before
        if row.action != ROLLED_BACK:
            history.append(_Primary(row.id, row.weight, before))
    return history


def _uses(told: Any) -> tuple[Use, ...]:
    """What an event says was in use; nothing in those of earlier versions of this program."""
    return tuple(Use(one["lora_id"], one["weight"], one["primary"]) for one in told or ())


def _values(persona_id: int, lora: LoraView) -> dict[str, object]:
    return {"persona": persona_id, "type": lora.model_type, "family": lora.family}


_PRIMARY = """
SELECT lora_model_id AS id FROM persona_lora_mappings
WHERE persona_id = :persona AND model_type = :type AND base_family = :family AND "primary"
"""
_HISTORY = """
SELECT e.action, l.id, (e.details ->> 'weight')::float AS weight, e.details -> 'before' AS before
FROM lora_models l
JOIN audit_events e ON e.content_sha256 = l.sha256 AND e.persona_id = :persona
WHERE l.model_type = :type AND l.base_family = :family
  AND (e.action = :back OR e.action = 'lora.use' AND (e.details ->> 'primary')::boolean)
ORDER BY e.id
"""
_THERE = "SELECT id FROM lora_models WHERE id = ANY (:ids)"
_COMPARED = """
SELECT id FROM audit_events
WHERE action = :action AND (content_sha256 = :one AND details ->> 'with_sha256' = :other
                            OR content_sha256 = :other AND details ->> 'with_sha256' = :one)
LIMIT 1
"""
