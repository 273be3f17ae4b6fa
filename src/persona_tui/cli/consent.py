"""`persona-tui consent`: add, list, withdraw."""

from __future__ import annotations

import hashlib
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import typer

from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    group,
    note,
    persona_of,
    require_consent,
    resources,
    session,
    show,
    table,
)

commands = group("Consents: what real people permitted, until they withdraw it.")


@commands.command("add")
def add(
    persona: PersonaName,
    who: Annotated[str, typer.Option(help="Who gives it.")],
    evidence: Annotated[str, typer.Option(help="Where the proof is: a file, a letter, a message.")],
    scope: Annotated[str, typer.Option(help="training, publishing or all.")] = "training",
    until: Annotated[str | None, typer.Option(help="Last day, YYYY-MM-DD.")] = None,
    as_json: AsJson = False,
) -> None:
    """Record a real person's consent. A file named as evidence is remembered by its hash."""
    from persona_tui.services.safety.consents import add_consent

    values: dict[str, Any] = {"subject": who, "scope": scope, "evidence": evidence}
    with session() as opened:
        owner = persona_of(opened, persona)
        values["expires_at"] = _end_of(until, owner.zone)
        values["evidence_sha256"] = _hash_of(Path(evidence).expanduser())
        consent = add_consent(opened, owner.id, values)
    show(
        consent,
        as_json,
        lambda: [f"✅ Consent {consent.id} of {consent.subject} for {consent.persona}: {consent.scope}."],
    )


def _hash_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # evidence need not be a file
        return ""


def _end_of(day: str | None, zone: str) -> datetime | None:
    from zoneinfo import ZoneInfo

    from persona_tui.errors import InvalidRequest

    if day is None:
        return None
    try:
        return datetime.combine(date.fromisoformat(day), time(23, 59, 59), ZoneInfo(zone))
    except ValueError:
        raise InvalidRequest(f"{day!r} is no day.", hint="Write it as 2027-12-31.") from None


@commands.command("list")
def list_(
    persona: Annotated[str | None, typer.Argument(help="Only this persona's.")] = None,
    as_json: AsJson = False,
) -> None:
    """All consents, the newest first."""
    from persona_tui.services.safety.consents import list_consents

    with session() as opened:
        consents = list_consents(opened, persona_of(opened, persona).id if persona else None)
    if not consents and not as_json:
        note("There is no consent. A dataset of somebody real needs one: `persona-tui consent add`.")
    show(
        consents,
        as_json,
        lambda: table(
            ["id", "persona", "who", "for", "given", "until", "state", "evidence"],
            (
                [
                    one.id,
                    one.persona,
                    one.subject,
                    one.scope,
                    one.given_at,
                    one.expires_at,
                    one.state,
                    one.evidence,
                ]
                for one in consents
            ),
        ),
    )


@commands.command("withdraw")
def withdraw(
    consent_id: Annotated[int, typer.Argument(metavar="ID", help="The consent's id.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """End a consent for good: what is being trained under it stops."""
    from persona_tui.services.safety.consents import get_consent
    from persona_tui.services.training.withdrawing import withdraw as end

    with resources() as opened:
        with opened.database.session_scope() as reading:
            found = get_consent(reading, consent_id)
        question = f"Withdraw consent {found.id} of {found.subject}? Trainings under it stop."
        require_consent(yes, question, refusal=f"Consent {found.id} was not withdrawn")
        gone = end(opened.database.session_scope, consent_id, reason)
    show(
        gone.consent,
        as_json,
        lambda: [
            f"✅ Consent {found.id} of {found.subject} is withdrawn.",
            *(f"   Training {run_id} stops at its next step." for run_id in gone.stopping),
        ],
    )
