"""`persona-tui vote`: the same votes as on the screen, for scripts; pictures by their paths."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli import vote_comparison
from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    group,
    note,
    persona_of,
    plain,
    resources,
    session,
    show,
    table,
)

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.services.voting.contest import Member, Showing, VotingProgress

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


def _showing(opened: Resources, found: Showing | None) -> dict[str, Any]:
    members = () if found is None else found.members
    return {
        "members": [_member(opened, member) for member in members],
        "repeat": found is not None and found.repeat,
    }


def _showing_lines(showing: dict[str, Any]) -> list[str]:
    lines = [f"{one['member']}  {one['path']}" for one in showing["members"]]
    return lines or ["ℹ️  Nothing to compare."]


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """Contests that wait for votes: of runs' steps, and between two LoRAs."""
    from persona_tui.services.voting.comparison import comparisons
    from persona_tui.services.voting.contest import open_contests

    with session() as opened:
        contests = open_contests(opened)
        between = [one for one in comparisons(opened) if one.to_vote]
    show(
        [*(plain(one) for one in contests), *(plain(one) | {"to_vote": one.to_vote} for one in between)],
        as_json,
        lambda: table(
            ["contest", "run", "step", "pictures", "votes"],
            [
                *([c.contest_id, c.run_name, c.position, c.pictures, c.votes] for c in contests),
                *([c.contest_id, f"{c.lora} : {c.beside}", "", 2 * c.ready, c.voted] for c in between),
            ],
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
    """The pictures whose vote tells most; hand `repeat` on to `vote cast`. Of two LoRAs always a pair."""
    from persona_tui.services.voting.comparison import is_comparison, next_pair
    from persona_tui.services.voting.contest import next_showing

    count = shown or (4 if grid else 2)
    with resources() as opened, opened.database.session_scope() as opened_session:
        if is_comparison(opened_session, contest):
            showing = vote_comparison.pair_facts(opened.media, next_pair(opened_session, contest))
        else:
            found = next_showing(opened_session, contest, count, sitting=SITTING, beside=beside)
            showing = _showing(opened, found)
    show({"contest": contest, **showing}, as_json, lambda: _showing_lines(showing))


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
    """Cast a vote on two to four pictures; the answer also says what to compare next, as many."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.voting import contest as voting
    from persona_tui.services.voting.comparison import is_comparison

    if best != "none" and not best.isdecimal():
        raise InvalidRequest(f"--best can't be {best!r}.", hint="Use the number of a shown member, or none.")
    with resources() as tools:
        with tools.database.session_scope() as opened:
            if is_comparison(opened, contest):
                told = _cast_pair(opened, tools, contest, shown, best, response_ms)
                show(told, as_json, lambda: [f"✅ Vote {told['vote']}.", *_showing_lines(told["next"])])
                return
            vote, found = voting.cast_and_choose(
                opened,
                contest,
                shown,
                None if best == "none" else int(best),
                sitting=SITTING,
                count=min(max(len(shown), 2), 4),
                response_ms=response_ms,
                voter=VOTER,
                repeat=repeat,
            )
            table_now = voting.standings(opened, contest)
        following = _showing(tools, found)
    leader = table_now.members[0].candidate_id if table_now.members else None
    told = {"vote": vote, "votes": table_now.votes, "leader": leader, "sure": table_now.sure}
    show(
        told | {"next": following},
        as_json,
        lambda: [f"✅ {table_now.votes} votes; candidate {leader} leads.", *_showing_lines(following)],
    )


def _cast_pair(
    session: Session, opened: Resources, contest: int, shown: list[int], best: str, response_ms: int | None
) -> dict[str, Any]:
    """A vote between two LoRAs; who made which picture is not said."""
    from persona_tui.services.voting.comparison import cast_pair, next_pair

    chosen = None if best == "none" else int(best)
    vote = cast_pair(session, contest, shown, chosen, sitting=SITTING, response_ms=response_ms, voter=VOTER)
    following = vote_comparison.pair_facts(opened.media, next_pair(session, contest))
    return {"vote": vote, "next": following}


@commands.command("undo")
def undo(contest: ContestId, as_json: AsJson = False) -> None:
    """Take back the last vote cast from the command line."""
    from persona_tui.services.voting import contest as voting
    from persona_tui.services.voting.comparison import is_comparison, undo_pair

    with session() as opened:
        undo = undo_pair if is_comparison(opened, contest) else voting.undo
        undone = undo(opened, contest, sitting=SITTING, voter=VOTER)
    show(
        {"undone": undone},
        as_json,
        lambda: [f"✅ Vote {undone} no longer counts." if undone else "ℹ️  There is no vote to take back."],
    )


@commands.command("stats")
def stats(contest: ContestId, as_json: AsJson = False) -> None:
    """Ratings, the best first, how sure they are, and how the votes from the command line go.

    Between two LoRAs: how likely the first one is the better.
    """
    from persona_tui.services.voting.comparison import is_comparison
    from persona_tui.services.voting.contest import progress, standings

    with session() as opened:
        if is_comparison(opened, contest):
            told = vote_comparison.comparison_facts(opened, contest)
            show(told, as_json, lambda: [*vote_comparison.comparison_lines(told)])
            return
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


@commands.command("import-ratings")
def import_ratings(
    contest: ContestId,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV of picture,rating or a JSON object; pictures by number, file name or SHA-256."
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be taken.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin a contest with old Elo ratings; how much they are worth is learnt from the votes."""
    from persona_tui.services.voting.contest import import_old_elo
    from persona_tui.services.voting.old_ratings import ratings_by_candidate, read_ratings

    read = read_ratings(file)
    with session() as opened:
        ratings = ratings_by_candidate(opened, contest, read, file.parent)
        if not dry_run:
            import_old_elo(opened, contest, ratings)
    word = "would be taken" if dry_run else "taken"
    show(
        {"contest": contest, "ratings": ratings, "imported": not dry_run},
        as_json,
        lambda: [f"✅ {len(ratings)} old ratings {word}."],
    )


@commands.command("taste")
def taste(persona: PersonaName, as_json: AsJson = False) -> None:
    """What was learnt of a persona's taste from its votes, and how many contests begin with it."""
    from persona_tui.services.voting.predictions import tastes

    with session() as opened:
        found = tastes(opened, persona_of(opened, persona).id)
    show(
        found,
        as_json,
        lambda: table(
            ["embeddings", "votes", "learnt", "open contests that begin with it"],
            ([one.model_hash[:19], one.votes, one.learnt_at, one.predicted] for one in found),
        ),
    )


@commands.command("rebuild")
def rebuild(contest: ContestId) -> None:
    """Make the ratings anew from the votes alone."""
    from persona_tui.services.voting import contest as voting

    with session() as opened:
        voting.rebuild(opened, contest)
    note("✅ The ratings are what the votes say.")
