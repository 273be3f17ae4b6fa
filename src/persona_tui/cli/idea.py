"""`persona-tui idea`: generate, list, accept, reject."""

from __future__ import annotations

import asyncio
from typing import Annotated

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

commands = group("Ideas for a pillar's gap.")

IdeaId = Annotated[int, typer.Argument(metavar="IDEA", help="The idea's number.")]


@commands.command("generate")
def generate(
    persona: PersonaName,
    pillar: Annotated[str, typer.Argument(help="The pillar's name.")],
    count: Annotated[int, typer.Option(help="1 to 10.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Ask the language model for ideas."""
    from persona_tui.services.planning.ideas import propose_ideas
    from persona_tui.services.planning.pillars import find_pillar

    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            persona_id = persona_of(opened_session, persona).id
            pillar_id = find_pillar(opened_session, persona_id, pillar).id
        made = asyncio.run(
            propose_ideas(
                opened.database.session_scope,
                opened.writers,
                persona_id,
                pillar_id,
                count=count,
                now=opened.now(),
            )
        )
    if made and made[0].written_by == "template":
        note("⚠️  No language model answered: these are templates. `persona-tui doctor` says why.")
    show(made, as_json, lambda: [f"{idea.id}  {idea.title}\n    {idea.prompt}" for idea in made])


@commands.command("list")
def list_(
    persona: PersonaName,
    every: Annotated[bool, typer.Option("--all", help="Used and rejected ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ideas that wait or are accepted."""
    from persona_tui.services.planning.ideas import list_ideas

    statuses = ("pending", "accepted", "used", "rejected") if every else ("pending", "accepted")
    with session() as opened:
        ideas = list_ideas(opened, persona_of(opened, persona).id, statuses=statuses)
    show(
        ideas,
        as_json,
        lambda: table(
            ["idea", "status", "pillar", "title", "by"],
            ([idea.id, idea.status, idea.pillar, idea.title, idea.written_by] for idea in ideas),
        ),
    )


@commands.command("accept")
def accept(idea: IdeaId, as_json: AsJson = False) -> None:
    """Accept an idea: it gets a cluster."""
    from persona_tui.services.planning.ideas import accept_idea

    with session() as opened:
        accepted = accept_idea(opened, idea)
    show(accepted, as_json, lambda: [f"✅ Next: persona-tui run create --idea {accepted.id}"])


@commands.command("reject")
def reject(
    idea: IdeaId,
    reason: Annotated[str, typer.Option(help="Why; the next ideas learn from it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Reject an idea."""
    from persona_tui.services.planning.ideas import reject_idea

    with session() as opened:
        rejected = reject_idea(opened, idea, reason)
    show(rejected, as_json, lambda: [f"✅ {rejected.title} is rejected."])
