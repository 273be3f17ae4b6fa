"""Which version a persona's runs use: one is promoted in another's place, and that can be taken back.

What was primary before is read from the audit trail, so it is known however it came about. Content that was
made with a version stays with it: runs name the versions that they used.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import NotAllowedNow
from persona_tui.services.loras.mappings import use_lora
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
    """

    lora: LoraView
    instead_of: LoraView | None
    compared: bool


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
    return Promotion(lora, now, compared)


def promote(session: Session, persona_id: int, lora_id: int) -> LoraView:
    """Make a version the one of its type and family that the persona's further runs use.

    Raises:
        UnknownName: it is not there.
        InvalidRequest: it holds another persona's likeness.
    """
    return use_lora(session, persona_id, lora_id, {"primary": True})


def look_at_roll_back(session: Session, persona_id: int, lora_id: int) -> Promotion:
    """To which version the persona would go back, of this one's type and family.

    Raises:
        UnknownName: the LoRA is not there.
        NotAllowedNow: none is primary, or none was before it.
    """
    before_id, _, now = _before(session, persona_id, get_lora(session, lora_id))
    return Promotion(get_lora(session, before_id), now, compared=True)


def roll_back(session: Session, persona_id: int, lora_id: int) -> LoraView:
    """Go back to the version that was primary before, at the weight that it had.

    Raises:
        UnknownName: the LoRA is not there.
        NotAllowedNow: none is primary, or none was before it.
    """
    before_id, weight, now = _before(session, persona_id, get_lora(session, lora_id))
    audit.append(
        session,
        actor="operator",
        action=ROLLED_BACK,
        persona_id=persona_id,
        subject=f"lora_models:{now.id}",
        content_sha256=now.sha256,
        details={"from": now.label},
    )
    return use_lora(session, persona_id, before_id, {"primary": True, "weight": weight})


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


def _before(session: Session, persona_id: int, lora: LoraView) -> tuple[int, float, LoraView]:
    """Id and weight of what was primary before what is primary now, and that."""
    now = primary_like(session, persona_id, lora)
    if now is None:
        raise NotAllowedNow(
            f"No {lora.model_type} for {lora.family} is primary now.", hint="Promote one instead."
        )
    before = [one for one in _history(session, persona_id, now) if one[0] != now.id]
    if not before:
        raise NotAllowedNow(
            f"No other {now.model_type} for {now.family} was primary before {now.label}.",
            hint="Promote the version that you want.",
        )
    return *before[-1], now


def _history(session: Session, persona_id: int, lora: LoraView) -> list[tuple[int, float]]:
    """Id and weight of what was primary, one after the other; what was rolled back is no part of it."""
    history: list[tuple[int, float]] = []
    for row in rows_of(session, _HISTORY, _values(persona_id, lora) | {"back": ROLLED_BACK}):
        if history and history[-1][0] == row.id:
            history.pop()
        if row.action != ROLLED_BACK:
            history.append((row.id, row.weight))
    return history


def _values(persona_id: int, lora: LoraView) -> dict[str, object]:
    return {"persona": persona_id, "type": lora.model_type, "family": lora.family}


_PRIMARY = """
SELECT lora_model_id AS id FROM persona_lora_mappings
WHERE persona_id = :persona AND model_type = :type AND base_family = :family AND "primary"
"""
_HISTORY = """
SELECT e.action, l.id, (e.details ->> 'weight')::float AS weight
FROM lora_models l
JOIN audit_events e ON e.content_sha256 = l.sha256 AND e.persona_id = :persona
WHERE l.model_type = :type AND l.base_family = :family
  AND (e.action = :back OR e.action = 'lora.use' AND (e.details ->> 'primary')::boolean)
ORDER BY e.id
"""
_COMPARED = """
SELECT id FROM audit_events
WHERE action = :action AND (content_sha256 = :one AND details ->> 'with_sha256' = :other
                            OR content_sha256 = :other AND details ->> 'with_sha256' = :one)
LIMIT 1
"""
