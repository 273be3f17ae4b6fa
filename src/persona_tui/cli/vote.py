"""`persona-tui vote`: the same votes as on the screen, for scripts; pictures by their paths."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, group, note, resources, session, show, table

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.voting.contest import Member, VotingProgress

commands = group("Votes on generated pictures.")

ContestId = Annotated[
    int, typer.Argument(metavar="CONTEST", help="The contest's number, as `vote list` shows.")
]
SITTING = uuid.uuid5(uuid.NAMESPACE_URL, "persona-tui:command line")
"""Votes from the command line are one sitting, so that `vote undo` finds the last one."""
VOTER = "command line"


def _member(opened: Resources, member: Member) -> dict[str, Any]:
    path = opened.media.path(member.media_key)
    return {
        "member": member.id,
        "candidate": member.candidate_id,
        "path": str(path) if path else None,
        "seed": member.seed,
        "parent": member.parent_id,
        "rating": member.elo_score,
        "interval": member.interval,
        "votes": member.votes,
        "flagged": member.flagged,
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
def next_(
    contest: ContestId,
    grid: Annotated[bool, typer.Option("--grid", help="Four pictures instead of two.")] = False,
    shown: Annotated[int | None, typer.Option("--show", min=2, max=4, help="How many pictures.")] = None,
    beside: Annotated[int | None, typer.Option(help="A candidate that must be among them.")] = None,
    as_json: AsJson = False,
) -> None:
    """The pictures whose vote tells most; hand `repeat` on to `vote cast`."""
    from persona_tui.services.voting.contest import next_showing

    count = shown or (4 if grid else 2)
    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            found = next_showing(opened_session, contest, count, sitting=SITTING, beside=beside)
        members = [] if found is None else [_member(opened, member) for member in found.members]
    show(
        {"contest": contest, "members": members, "repeat": found is not None and found.repeat},
        as_json,
        lambda: [f"{one['member']}  {one['path']}" for one in members] or ["ℹ️  Nothing to compare."],
    )


@commands.command("cast")
def cast(
    contest: ContestId,
    shown: Annotated[
        list[int], typer.Argument(metavar="MEMBER...", help="Two to four shown, left to right.")
    ],
    best: Annotated[str, typer.Option(help="The chosen member's number, or none for not sure.")],
    response_ms: Annotated[
        int | None, typer.Option("--ms", min=0, help="Milliseconds that the choice took.")
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="As `vote next` said.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cast a vote on two to four pictures."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.voting import contest as voting

    if best != "none" and not best.isdecimal():
        raise InvalidRequest(f"--best can't be {best!r}.", hint="Use the number of a shown member, or none.")
    with session() as opened:
        vote = voting.cast(
            opened,
            contest,
            shown,
            None if best == "none" else int(best),
            sitting=SITTING,
            response_ms=response_ms,
            voter=VOTER,
            repeat=repeat,
        )
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
        undone = voting.undo(opened, contest, sitting=SITTING, voter=VOTER)
    show(
        {"undone": undone},
        as_json,
        lambda: [f"✅ Vote {undone} no longer counts." if undone else "ℹ️  There is no vote to take back."],
    )


@commands.command("stats")
def stats(contest: ContestId, as_json: AsJson = False) -> None:
    """Ratings, the best first, how sure they are, and how the votes from the command line go."""
    from persona_tui.services.voting.contest import progress, standings

    with session() as opened:
        found = standings(opened, contest)
        gone = progress(opened, contest, SITTING, voter=VOTER)
    show(
        {**asdict(found), "sure": found.sure, "progress": asdict(gone)},
        as_json,
        lambda: [
            *table(
                ["rank", "candidate", "rating", "90 %", "votes", "P(best)"],
                (
                    [
                        rank,
                        m.candidate_id,
                        m.elo_score,
                        f"{m.interval[0]}–{m.interval[1]}",
                        m.votes,
                        round(m.p_best, 2),
                    ]
                    for rank, m in enumerate(found.members, start=1)
                ),
            ),
            _progress_line(gone, found.top_k),
        ],
    )


def _progress_line(gone: VotingProgress, top_k: int) -> str:
    sure = f"P(top {top_k}) {gone.p_top_k:.2f}" if top_k > 1 else f"P(best) {gone.p_best:.2f}"
    parts = [f"ℹ️  {gone.votes} votes", sure, f"regret {gone.regret:.2f}"]
    if gone.votes_to_go is not None:
        parts.append("sure enough" if gone.sure else f"about {gone.votes_to_go} votes to go")
    if gone.consistency is not None:
        parts.append(f"{gone.consistency:.0%} of {gone.repeats} repeats as before")
    return " · ".join(parts)


@commands.command("rebuild")
def rebuild(contest: ContestId) -> None:
    """Make the ratings anew from the votes alone."""
    from persona_tui.services.voting import contest as voting

    with session() as opened:
        voting.rebuild(opened, contest)
    note("✅ The ratings are what the votes say.")
