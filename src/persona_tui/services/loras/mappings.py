"""Which persona uses which LoRA, at which weight; one of each type and family is its primary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.models.lora import PersonaLoraMapping
from persona_tui.services import events
from persona_tui.services.inputs import Input, validated
from persona_tui.services.loras.registry import LoraView, get_lora
from persona_tui.services.safety import audit

Weight = Annotated[float, Field(ge=0, le=1)]


class UseInput(Input):
    """How a persona uses a LoRA.

    Attributes:
        weight: None keeps the one it has, or takes the LoRA's own, or 1.
        primary: None keeps it; the first one of its type and family is primary by itself.
    """

    weight: Weight | None = None
    primary: bool | None = None


@dataclass(frozen=True)
class Use:
    """That a persona uses a LoRA, at a weight from 0 to 1."""

    lora_id: int
    weight: float
    primary: bool


def uses_like(session: Session, persona_id: int, lora: LoraView) -> tuple[Use, ...]:
    """What the persona uses of a LoRA's type and family, the primary one first."""
    values = {"persona": persona_id, "type": lora.model_type, "family": lora.family}
    return tuple(Use(row.lora_id, row.weight, row.primary) for row in rows_of(session, _USES, values))


def use_lora(
    session: Session, persona_id: int, lora_id: int, values: UseInput | Mapping[str, Any]
) -> LoraView:
    """Let a persona's runs use a LoRA, or change how; another version of the same name gives way to it.

    Raises:
        UnknownName: the LoRA is not there.
        InvalidRequest: it holds another persona's likeness, or the weight is not 0 to 1.
    """
    given = values if isinstance(values, UseInput) else validated(UseInput, values)
    lora = get_lora(session, lora_id)
    if lora.persona_id not in (None, persona_id):
        raise InvalidRequest(
            f"{lora.label} holds the likeness of {lora.persona}.", hint="It serves that persona alone."
        )
    session.execute(text("SELECT id FROM personas WHERE id = :id FOR NO KEY UPDATE"), {"id": persona_id})
    others = uses_like(session, persona_id, lora)
    before = _take_out(session, persona_id, lora)
    weight = _first(given.weight, before.get("weight"), lora.default_weight, 1.0)
    primary = _first(given.primary, before.get("primary"), not _has_primary(session, persona_id, lora))
    if primary:
        _clear_primary(session, persona_id, lora)
    session.add(
        PersonaLoraMapping(
            persona_id=persona_id,
            lora_model_id=lora.id,
            model_type=lora.model_type,
            base_family=lora.family,
            weight=weight,
            primary=primary,
        )
    )
    session.flush()
    details: dict[str, Any] = {"lora": lora.label, "weight": weight, "primary": primary}
    if primary:
        # Rolling back restores it.
        details["before"] = [asdict(one) for one in others]
    _note(session, "lora.use", persona_id, lora, details)
    return get_lora(session, lora_id)


def use_words(session: Session, persona_id: int, lora: LoraView, before: Sequence[Use]) -> str:
    """`Mira uses it at 1, primary in place of mira@1 beside ink@2`: how a persona uses a LoRA now.

    Args:
        before: what it used of the LoRA's type and family until then.
    """
    now = uses_like(session, persona_id, lora)
    use = next(one for one in now if one.lora_id == lora.id)
    persona = next(one.persona for one in lora.users if one.persona_id == persona_id)
    gone = {one.lora_id for one in before} - {one.lora_id for one in now}
    words = f"{persona} {'still uses' if use in before else 'uses'} it at {use.weight:g}"
    if use.primary:
        words += ", primary"
    if gone:
        words += f" in place of {_labels(session, sorted(gone))}"
    if len(now) > 1:
        words += f" beside {_labels(session, [one.lora_id for one in now if one.lora_id != lora.id])}"
    return words


def _labels(session: Session, ids: Sequence[int]) -> str:
    return ", ".join(get_lora(session, one).label for one in ids)


def unuse_lora(session: Session, persona_id: int, lora_id: int) -> LoraView:
    """Keep a LoRA from a persona's further runs; those that are there keep it.

    Raises:
        UnknownName: the LoRA is not there.
        NotAllowedNow: the persona does not use it.
    """
    lora = get_lora(session, lora_id)
    gone = session.execute(
        text(
            "DELETE FROM persona_lora_mappings"
            " WHERE persona_id = :persona AND lora_model_id = :lora RETURNING id"
        ),
        {"persona": persona_id, "lora": lora_id},
    ).scalar_one_or_none()
    if gone is None:
        raise NotAllowedNow(
            f"The persona does not use {lora.label}.", hint="`persona-tui lora list` shows who uses what."
        )
    _note(session, "lora.unuse", persona_id, lora, {"lora": lora.label})
    return get_lora(session, lora_id)


def _take_out(session: Session, persona_id: int, lora: LoraView) -> dict[str, Any]:
    """Remove the persona's mapping of this name, whichever version; what it said, if there was one."""
    rows = session.execute(
        text(
            "DELETE FROM persona_lora_mappings m USING lora_models l"
            " WHERE l.id = m.lora_model_id AND m.persona_id = :persona AND lower(l.name) = lower(:name)"
            ' RETURNING m.weight, m."primary", m.model_type, m.base_family'
        ),
        {"persona": persona_id, "name": lora.name},
    ).all()
    if not rows:
        return {}
    same = all((row.model_type, row.base_family) == (lora.model_type, lora.family) for row in rows)
    kept: dict[str, Any] = {"weight": rows[0].weight}
    return kept | ({"primary": any(row.primary for row in rows)} if same else {})


def _has_primary(session: Session, persona_id: int, lora: LoraView) -> bool:
    found = session.execute(
        text(
            "SELECT EXISTS (SELECT FROM persona_lora_mappings WHERE persona_id = :persona"
            ' AND model_type = :type AND base_family = :family AND "primary")'
        ),
        {"persona": persona_id, "type": lora.model_type, "family": lora.family},
    )
    return bool(found.scalar_one())


def _clear_primary(session: Session, persona_id: int, lora: LoraView) -> None:
    session.execute(
        text(
            'UPDATE persona_lora_mappings SET "primary" = false WHERE persona_id = :persona'
            ' AND model_type = :type AND base_family = :family AND "primary"'
        ),
        {"persona": persona_id, "type": lora.model_type, "family": lora.family},
    )


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _note(session: Session, action: str, persona_id: int, lora: LoraView, details: Mapping[str, Any]) -> None:
    audit.append(
        session,
        actor="operator",
        action=action,
        persona_id=persona_id,
        subject=f"lora_models:{lora.id}",
        content_sha256=lora.sha256,
        details=details,
    )
    events.emit(session, "lora", lora.id)
    events.emit(session, "persona", persona_id)


_USES = """
SELECT lora_model_id AS lora_id, weight, "primary" FROM persona_lora_mappings
WHERE persona_id = :persona AND model_type = :type AND base_family = :family ORDER BY "primary" DESC, id
"""
