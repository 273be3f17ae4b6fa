"""`persona-tui post overdue`, `pause-all`, `resume-all`: the plan as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from persona_tui.cli.frame import AsJson, persona_of, resources, session, show, table

if TYPE_CHECKING:
    from persona_tui.services.publishing.late import Outcome


def register(commands: typer.Typer) -> None:
    """Add the commands to the group `post`."""
    commands.command("overdue")(overdue)
    commands.command("pause-all")(pause_all)
    commands.command("resume-all")(resume_all)


def overdue(
    persona: Annotated[str | None, typer.Option(help="Of this persona alone.")] = None,
    act: Annotated[
        Literal["now", "reslot", "drop"] | None,
        typer.Option(help="Do this with them: publish now, move to the next free slots, or give up."),
    ] = None,
    post: Annotated[
        list[int] | None, typer.Option(help="With --act: only this post; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Posts that should be out already, and what is to be done with them."""
    from datetime import timedelta
    from functools import partial

    from persona_tui.services.planning.slots import next_slot
    from persona_tui.services.publishing.late import carry_out, overdue_posts

    with resources() as opened:
        now, gap = opened.now(), timedelta(minutes=opened.settings.instagram.min_gap_minutes)
        with opened.database.session_scope() as opened_session:
            persona_id = persona_of(opened_session, persona).id if persona else None
            found = overdue_posts(opened_session, persona_id)
            if act is not None:
                ids = post or [one.id for one in found]
                find = partial(next_slot, min_gap=gap)
                outcomes = carry_out(opened_session, act, ids, now, find)
    if act is None:
        show(
            found,
            as_json,
            lambda: table(
                ["post", "persona", "state", "was due", "zone", "caption", "why"],
                ([p.id, p.persona, p.state, p.wall_time, p.zone, p.caption, p.reason] for p in found),
            ),
        )
        return
    show(outcomes, as_json, lambda: [_line(outcome) for outcome in outcomes] or ["🎉 Nothing is overdue."])
    if not all(outcome.done for outcome in outcomes):
        raise typer.Exit(1)


def _line(outcome: Outcome) -> str:
    return f"{'✅' if outcome.done else '❌'} Post {outcome.post_id}: {outcome.sentence}"


def pause_all(as_json: AsJson = False) -> None:
    """Let nothing of any persona go out until `resume-all`."""
    from persona_tui.services.publishing import pausing

    with session() as opened:
        pausing.pause_all(opened)
    show(
        {"paused": True}, as_json, lambda: ["✅ All publishing is paused. Next: persona-tui post resume-all"]
    )


def resume_all(as_json: AsJson = False) -> None:
    """Let posts go out again."""
    from persona_tui.services.publishing import pausing

    with session() as opened:
        pausing.resume_all(opened)
    show({"paused": False}, as_json, lambda: ["✅ Posts go out again."])
