"""Licences of base models: shown before first use, and acknowledged where they forbid commercial use."""

from __future__ import annotations

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import NotAllowedNow
from persona_tui.gpu.training.families import Family
from persona_tui.services.safety import audit

ACTION = "licence.acknowledge"


def is_acknowledged(session: Session, family: Family) -> bool:
    """Whether the licence allows commercial use, or somebody acknowledged that it does not."""
    if family.licence.commercial:
        return True
    return bool(rows_of(session, _FIND, {"subject": _subject(family)}))


def acknowledge(session: Session, family: Family, actor: str = "operator") -> None:
    """Write into the audit trail that the licence was read; a second time changes nothing."""
    if is_acknowledged(session, family):
        return
    audit.append(
        session,
        actor=actor,
        action=ACTION,
        subject=_subject(family),
        details={"licence": family.licence.name, "url": family.licence.url, "model": family.title},
    )


def require_acknowledged(session: Session, family: Family) -> None:
    """See that the licence of a non-commercial model was acknowledged.

    Raises:
        NotAllowedNow: it was not.
    """
    if not is_acknowledged(session, family):
        raise NotAllowedNow(
            f"{family.title} may not be used commercially ({family.licence.name}, {family.licence.url}).",
            title="Licence not acknowledged",
            hint="Read it, then start with --accept-licence; that is kept in the audit trail.",
        )


def _subject(family: Family) -> str:
    return f"base_family:{family.name}"


_FIND = "SELECT id FROM audit_events WHERE action = 'licence.acknowledge' AND subject = :subject LIMIT 1"
