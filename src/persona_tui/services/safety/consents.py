"""Consents: what real people permitted, until they withdraw it. Kept as they were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, StringConstraints
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.persona import Persona
from persona_tui.models.safety import Consent
from persona_tui.services import events
from persona_tui.services.inputs import Input, Line, validated
from persona_tui.services.safety import audit

Scope = Literal["training", "publishing", "all"]
Purpose = Literal["training", "publishing"]
State = Literal["valid", "withdrawn", "expired"]


class ConsentInput(Input):
    """A consent as the operator records it.

    Attributes:
        subject: who gives it.
        scope: what for.
        evidence: where the proof is: a letter, a message, a file's name. Without one a consent counts for
            nothing in a dispute.
        evidence_sha256: of the file, where it is one.
        expires_at: until when; None: until it is withdrawn.
    """

    subject: Annotated[Line, StringConstraints(min_length=1, max_length=200)]
    scope: Scope = "training"
    evidence: Annotated[Line, StringConstraints(min_length=1)]
    evidence_sha256: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")] = ""
    expires_at: AwareDatetime | None = None


@dataclass(frozen=True)
class ConsentView:
    """A consent as it stands now."""

    id: int
    persona_id: int
    persona: str
    subject: str
    scope: Scope
    evidence: str
    evidence_sha256: str
    given_at: datetime
    expires_at: datetime | None
    withdrawn_at: datetime | None
    withdrawn_reason: str
    state: State


def add_consent(session: Session, persona_id: int, values: ConsentInput | Mapping[str, Any]) -> ConsentView:
    """Record a consent for a persona's likeness.

    Raises:
        UnknownName: no such persona.
        InvalidRequest: a value can't be used, or it has run out already.
    """
    given = values if isinstance(values, ConsentInput) else validated(ConsentInput, values)
    if session.get(Persona, persona_id) is None:
        raise UnknownName("There is no such persona.", hint="`persona-tui persona list` shows them.")
    now = session.execute(text("SELECT persona_now()")).scalar_one()
    if given.expires_at is not None and given.expires_at <= now:
        raise InvalidRequest("The consent has run out already.", hint="Give a day to come with --until.")
    row = Consent(persona_id=persona_id, given_at=now, **given.model_dump())
    session.add(row)
    session.flush()
    _note(session, row.id, persona_id, "consent.add", {"scope": given.scope, "evidence": given.evidence})
    return get_consent(session, row.id)


def list_consents(session: Session, persona_id: int | None = None) -> tuple[ConsentView, ...]:
    """All consents or a persona's, the newest first."""
    return tuple(
        ConsentView(*row) for row in rows_of(session, _CONSENTS, {"persona": persona_id, "id": None})
    )


def get_consent(session: Session, consent_id: int) -> ConsentView:
    """One consent.

    Raises:
        UnknownName: it is not there.
    """
    found = rows_of(session, _CONSENTS, {"persona": None, "id": consent_id})
    if not found:
        raise UnknownName(
            f"There is no consent {consent_id}.", hint="`persona-tui consent list` shows what there is."
        )
    return ConsentView(*found[0])


def withdraw_consent(session: Session, consent_id: int, reason: str = "") -> ConsentView:
    """End a consent for good; `services/training/withdrawing` stops what is trained under it as well.

    Raises:
        UnknownName: it is not there.
        NotAllowedNow: it is withdrawn already.
    """
    before = get_consent(session, consent_id)
    changed = rows_of(
        session, _WITHDRAW, {"id": consent_id, "reason": validated(_Reason, {"reason": reason}).reason}
    )
    if not changed:
        raise NotAllowedNow(
            f"Consent {consent_id} was withdrawn already.", hint="A new one is recorded by `consent add`."
        )
    _note(session, consent_id, before.persona_id, "consent.withdraw", {"reason": reason})
    return get_consent(session, consent_id)


def require_valid(session: Session, persona_id: int, consent_id: int, purpose: Purpose) -> ConsentView:
    """The consent, if it holds now, for this persona and purpose.

    Raises:
        UnknownName: it is not there, or another persona's.
        InvalidRequest: it was withdrawn, has run out, or is for something else.
    """
    consent = get_consent(session, consent_id)
    if consent.persona_id != persona_id:
        raise UnknownName(
            f"Consent {consent_id} is for the likeness of {consent.persona}.",
            hint="`persona-tui consent list PERSONA` shows the persona's own.",
        )
    problem = {"withdrawn": "was withdrawn", "expired": "has run out"}.get(consent.state)
    if problem is None and consent.scope not in (purpose, "all"):
        problem = f"is for {consent.scope}, not for {purpose}"
    if problem is not None:
        raise InvalidRequest(
            f"Consent {consent_id} of {consent.subject} {problem}.",
            title="No consent",
            hint="Ask for a new one and record it with `persona-tui consent add`.",
        )
    return consent


class _Reason(Input):
    reason: Line = ""


def _note(
    session: Session, consent_id: int, persona_id: int, action: str, details: Mapping[str, Any]
) -> None:
    audit.append(
        session,
        actor="operator",
        action=action,
        persona_id=persona_id,
        subject=f"consents:{consent_id}",
        details=details,
    )
    events.emit(session, "consent", consent_id)


_CONSENTS = """
SELECT c.id, c.persona_id, p.name, c.subject, c.scope, c.evidence, c.evidence_sha256, c.given_at,
       c.expires_at, c.withdrawn_at, c.withdrawn_reason,
       CASE WHEN c.withdrawn_at IS NOT NULL THEN 'withdrawn'
            WHEN c.expires_at <= persona_now() THEN 'expired' ELSE 'valid' END
FROM consents c JOIN personas p ON p.id = c.persona_id
WHERE (CAST(:persona AS bigint) IS NULL OR c.persona_id = :persona)
  AND (CAST(:id AS bigint) IS NULL OR c.id = :id)
ORDER BY c.id DESC
"""
_WITHDRAW = """
UPDATE consents SET withdrawn_at = persona_now(), withdrawn_reason = :reason
WHERE id = :id AND withdrawn_at IS NULL RETURNING id
"""
