"""`persona-tui vote`: the same votes as on the screen, for scripts; pictures by their paths."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, group, note, resources, session, show, table

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.voting.contest import Member

commands = group("Votes on generated pictures.")

ContestId = Annotated[
    int, typer.Argument(metavar="CONTEST", help="The contest's number, as `vote list` shows.")
]
SITTING = uuid.uuid5(uuid.NAMESPACE_URL, "persona-tui:command line")
"""Votes from the command line are one sitting, so that `vote undo` finds the last one."""


def _member(opened: Resources, member: Member) -> dict[str, Any]:
    path = opened.media.path(member.media_key)
    return {
        "member": member.id,
        "candidate": member.candidate_id,
        "path": str(path) if path else None,
        "seed": member.seed,
        "rating": member.elo_score,
        "p_best": member.p_best,
    }


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """Contests that wait for votes."""
    from persona_tui.services.voting.contest import open_contests

    with session() as opened:
        contests = open_contests(opened)
    show(
        contests,
        as_json,
        lambda: table(
            ["contest", "run", "step", "pictures", "votes"],
            ([c.contest_id, c.run_name, c.position, c.pictures, c.votes] for c in contests),
        ),
    )


@commands.command("next")
def next_(contest: ContestId, as_json: AsJson = False) -> None:
    """The pair whose vote tells most."""
    from persona_tui.services.voting.contest import next_duel

    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            duel = next_duel(opened_session, contest)
        pair = None if duel is None else [_member(opened, duel.left), _member(opened, duel.right)]
    show(
        {"contest": contest, "pair": pair},
        as_json,
        lambda: [f"{one['member']}  {one['path']}" for one in pair or []] or ["ℹ️  Nothing to compare."],
    )


@commands.command("cast")
def cast(
    contest: ContestId,
    left: Annotated[int, typer.Argument(help="Member shown left.")],
    right: Annotated[int, typer.Argument(help="Member shown right.")],
    best: Annotated[str, typer.Option(help="left, right, or none for not sure.")],
    as_json: AsJson = False,
) -> None:
    """Cast a vote."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.voting import contest as voting

    sides = {"left": left, "right": right, "none": None}
    if best not in sides:
        raise InvalidRequest(f"--best can't be {best!r}.", hint="Use left, right or none.")
    with session() as opened:
        vote = voting.cast(opened, contest, (left, right), sides[best], sitting=SITTING, voter="command line")
        table_now = voting.standings(opened, contest)
    leader = table_now.members[0].candidate_id if table_now.members else None
    show(
        {"vote": vote, "votes": table_now.votes, "leader": leader, "sure": table_now.sure},
        as_json,
        lambda: [f"✅ {table_now.votes} votes; candidate {leader} leads."],
    )


@commands.command("undo")
def undo(contest: ContestId, as_json: AsJson = False) -> None:
    """Take back the last vote cast from the command line."""
    from persona_tui.services.voting import contest as voting

    with session() as opened:
        undone = voting.undo(opened, contest, sitting=SITTING, voter="command line")
    show(
        {"undone": undone},
        as_json,
        lambda: [f"✅ Vote {undone} no longer counts." if undone else "ℹ️  There is no vote to take back."],
    )


@commands.command("stats")
def stats(contest: ContestId, as_json: AsJson = False) -> None:
    """Ratings, the best first, and how sure they are."""
    from persona_tui.services.voting.contest import standings

    with session() as opened:
        found = standings(opened, contest)
    show(
        found,
        as_json,
        lambda: table(
            ["rank", "candidate", "rating", "P(best)"],
            (
                [rank, m.candidate_id, m.elo_score, round(m.p_best, 2)]
                for rank, m in enumerate(found.members, start=1)
            ),
        ),
    )


@commands.command("rebuild")
def rebuild(contest: ContestId) -> None:
    """Make the ratings anew from the votes alone."""
    from persona_tui.services.voting import contest as voting

    with session() as opened:
        voting.rebuild(opened, contest)
    note("✅ The ratings are what the votes say.")
