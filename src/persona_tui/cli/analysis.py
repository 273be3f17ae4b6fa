"""`persona-tui photos analyse` and `photos missing`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.frame import AsJson, PersonaName, persona_of, resources, show, table

if TYPE_CHECKING:
    from persona_tui.services.library.analyses import Overview

KindNames = Annotated[
    list[str] | None,
    typer.Option("--kind", help="measures, embedding, faces or vision; again for another; else all."),
]


def analyse(
    persona: PersonaName,
    kind: KindNames = None,
    retry: Annotated[bool, typer.Option("--retry", help="Also what failed or was unknown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have all that is missing about a persona's pictures found out, in the background."""
    from persona_tui.services.library import analyses

    kinds = tuple(analyses.kind_of(word) for word in kind or analyses.KINDS)
    with resources() as opened:
        able = analyses.abilities(opened.settings)
        with opened.database.session_scope() as session:
            persona_id = persona_of(session, persona).id
            if retry:
                analyses.retry(session, persona_id, kinds)
            else:
                for one in kinds:
                    analyses.queue_kind(session, persona_id, one)
            seen = analyses.overview(session, persona_id, able)
    waiting = sum(state.waiting for state in seen.kinds if state.kind in kinds)
    show(
        {"kinds": kinds, "waiting": waiting},
        as_json,
        lambda: [
            f"✅ {waiting:,} analyses wait; the app or `persona-tui worker` does them."
            if waiting
            else "ℹ️  Nothing is missing."
        ],
    )


def missing(persona: PersonaName, as_json: AsJson = False) -> None:
    """What is not known yet about a persona's pictures, kind by kind, and why."""
    from persona_tui.services.library import analyses

    with resources() as opened:
        able = analyses.abilities(opened.settings)
        with opened.database.session_scope() as session:
            seen = analyses.overview(session, persona_of(session, persona).id, able)
    show(seen, as_json, lambda: _lines(seen))


def _lines(seen: Overview) -> list[str]:
    rows = table(
        ["kind", "done", "failed", "unknown", "to do"],
        ([state.kind, state.done, state.failed, state.unknown, state.waiting] for state in seen.kinds),
    )
    reasons = [f"{state.kind}: {state.problem}" for state in seen.kinds if state.problem]
    return [*rows, *reasons]
