"""`persona-tui pillar` and `persona-tui gaps`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    group,
    note,
    persona_of,
    resources,
    session,
    show,
    table,
)

commands = group("Content pillars: themes, weights, dates.")

PillarName = Annotated[str, typer.Argument(metavar="PILLAR", help="The pillar's name.")]


@commands.command("add")
def add(
    persona: PersonaName,
    name: PillarName,
    weight: Annotated[float, typer.Option(help="Share of the posts in percent.")] = 0.0,
    description: Annotated[str, typer.Option(help="What belongs into it.")] = "",
    priority: Annotated[int, typer.Option(help="1 to 5; 5 is the highest.")] = 3,
    start: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD.")] = None,
    end: Annotated[str | None, typer.Option(help="Last day, YYYY-MM-DD.")] = None,
    per_week: Annotated[int | None, typer.Option(help="Posts a week; overrides the weight.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a pillar to a persona."""
    from persona_tui.services.planning.pillars import create_pillar

    with session() as opened:
        made = create_pillar(
            opened,
            persona_of(opened, persona).id,
            {
                "name": name,
                "weight": weight,
                "description": description,
                "priority": priority,
                "start_date": start,
                "end_date": end,
                "target_posts_per_week": per_week,
            },
        )
    show(made, as_json, lambda: [f"✅ {made.name} has {made.weight:g} % of {persona}'s posts."])


@commands.command("set")
def change(
    persona: PersonaName,
    name: PillarName,
    field: Annotated[str, typer.Argument(help="name, weight, description, priority, active, start_date …")],
    value: Annotated[str, typer.Argument(help="The new value; `none` empties it.")],
    as_json: AsJson = False,
) -> None:
    """Change one field of a pillar."""
    from persona_tui.services.planning.pillars import find_pillar, update_pillar

    new: Any = None if value == "none" else value
    with session() as opened:
        pillar = find_pillar(opened, persona_of(opened, persona).id, name)
        changed = update_pillar(opened, pillar.id, {field: new})
    show(changed, as_json, lambda: [f"✅ {changed.name}: {field} is changed."])


@commands.command("list")
def list_(persona: PersonaName, as_json: AsJson = False) -> None:
    """A persona's pillars, the highest priority first."""
    from persona_tui.services.planning.pillars import list_pillars

    with session() as opened:
        pillars = list_pillars(opened, persona_of(opened, persona).id)
    show(
        pillars,
        as_json,
        lambda: table(
            ["name", "weight %", "priority", "active", "from", "to", "posts/week"],
            (
                [p.name, p.weight, p.priority, p.active, p.start_date, p.end_date, p.target_posts_per_week]
                for p in pillars
            ),
        ),
    )


@commands.command("delete")
def delete(
    persona: PersonaName,
    name: PillarName,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Remove a pillar that no idea or post refers to; its clusters stay."""
    from persona_tui.services.planning.pillars import delete_pillar, find_pillar

    if not yes:
        typer.confirm(f"Delete the pillar {name}?", abort=True)
    with session() as opened:
        delete_pillar(opened, find_pillar(opened, persona_of(opened, persona).id, name).id)
    note(f"✅ {name} is gone.")


ICONS = {"exhausted": "🚫", "critical": "🔴", "low": "⚠️ ", "ready": "✅", "minimal": "➖"}


def gaps(
    persona: PersonaName,
    days: Annotated[int, typer.Option(help="Days ahead, 1 to 366.")] = 30,
    as_json: AsJson = False,
) -> None:
    """What each pillar needs in the coming days, and what it has."""
    from persona_tui.services.planning.gaps import analyse

    with resources() as opened:
        now: datetime = opened.now().astimezone(UTC)
        with opened.database.session_scope() as opened_session:
            found = analyse(opened_session, persona_of(opened_session, persona).id, now, days)
    show(
        found,
        as_json,
        lambda: table(
            ["pillar", "need", "scheduled", "stock", "gap", "status", "urgency"],
            (
                [
                    g.name,
                    g.needed,
                    g.scheduled,
                    g.available,
                    g.gap,
                    f"{ICONS[g.status]} {g.status}",
                    g.urgency,
                ]
                for g in found
            ),
        ),
    )
