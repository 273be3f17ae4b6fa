"""`persona-tui audit`: is the trail whole?"""

from __future__ import annotations

import typer

from persona_tui.cli.frame import AsJson, group, session, show

commands = group("The append-only audit trail.")


@commands.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Check that no event was changed, removed or slipped in."""
    from sqlalchemy import func
    from sqlmodel import select

    from persona_tui.models.safety import AuditEvent
    from persona_tui.services.safety.audit import first_break

    with session() as opened:
        broken = first_break(opened)
        events = opened.exec(select(func.count()).select_from(AuditEvent)).one()
    whole = broken is None
    words = "its end is missing" if broken == 0 else f"it breaks at event {broken}"
    show(
        {"events": events, "whole": whole, "first_break": broken},
        as_json,
        lambda: [f"✅ {events} events, the chain is whole." if whole else f"❌ {events} events, {words}."],
    )
    if not whole:
        raise typer.Exit(1)


@commands.callback()
def _group() -> None:
    """Keep `verify` a command of its own while it is the only one."""
