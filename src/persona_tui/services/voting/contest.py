"""Contests: what to show next, casting a vote, taking it back, and who leads.

Votes are append-only facts. Scores are a projection that `rebuild` makes anew from them at any time; a
posterior is a cache that is valid for one last vote and brought forward under the contest's row lock.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import text
from sqlmodel import Session, col, select

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.voting import Contest
from persona_tui.services import events
from persona_tui.services.voting import choosing, outlook, repeats
from persona_tui.services.voting.outlook import SURE
from persona_tui.services.voting.pace import VotingProgress, progress
from persona_tui.services.voting.state import Member, State, keep, keep_vote, load

__all__ = [
    "SURE",
    "Member",
    "OpenContest",
    "Showing",
    "Standings",
    "VotingProgress",
    "cast",
    "cast_and_choose",
    "contest_of_step",
    "flag_candidate",
    "import_old_elo",
    "next_showing",
    "open_contests",
    "probability_top_k",
    "progress",
    "rebuild",
    "standings",
    "undo",
]


@dataclass(frozen=True)
class Showing:
    """Two to four pictures to choose from, left to right and top to bottom, in an order drawn at random.

    Attributes:
        repeat: the same pictures were shown earlier in this sitting; handed on to `cast`, told to nobody.
    """

    contest_id: int
    members: tuple[Member, ...]
    repeat: bool = False


@dataclass(frozen=True)
class Standings:
    """A contest as it stands: active members, best first."""

    contest_id: int
    run_id: int
    run_step_id: int
    members: tuple[Member, ...]
    votes: int
    p_best: float
    p_top_k: float
    top_k: int
    regret: float = 0.0

    @property
    def sure(self) -> bool:
        """Whether the gate's question is answered well enough."""
        if self.top_k > 1:
            return self.p_top_k >= SURE
        return self.p_best >= SURE or (bool(self.members) and self.regret <= outlook.SMALL_REGRET)


@dataclass(frozen=True)
class OpenContest:
    """A contest that waits for votes."""

    contest_id: int
    run_id: int
    run_name: str
    run_step_id: int
    position: int
    pictures: int
    votes: int


def contest_of_step(session: Session, run_step_id: int) -> int:
    """The id of a run step's contest.

    Raises:
        NotAllowedNow: the step has no picture yet.
    """
    found = session.exec(select(Contest.id).where(col(Contest.run_step_id) == run_step_id)).first()
    if found is None:
        raise NotAllowedNow("This step has no pictures to vote on yet.", hint="Wait for the first pictures.")
    return found


def open_contests(session: Session, persona_id: int | None = None) -> tuple[OpenContest, ...]:
    """Contests of unapproved steps of live runs that have pictures, the fullest first."""
    undone = "SELECT undoes_vote_id FROM votes WHERE undoes_vote_id IS NOT NULL"
    rows = session.execute(
        text(
            "SELECT c.id, r.id, r.name, s.id, s.position,"
            "  (SELECT count(*) FROM image_candidates i"
            "    WHERE i.run_step_id = s.id AND i.status = 'active') AS pictures,"
            "  (SELECT count(*) FROM votes v WHERE v.contest_id = c.id AND v.undoes_vote_id IS NULL"
            f"    AND v.id NOT IN ({undone}))"
            " FROM contests c JOIN pipeline_run_steps s ON s.id = c.run_step_id"
            " JOIN pipeline_runs r ON r.id = s.run_id"
            " WHERE s.approved_at IS NULL AND r.status IN ('pending', 'running', 'waiting')"
            "  AND (CAST(:persona AS bigint) IS NULL OR r.persona_id = :persona)"
            "  AND EXISTS (SELECT FROM image_candidates i WHERE i.run_step_id = s.id AND i.status = 'active')"
            " ORDER BY pictures DESC, c.id"
        ),
        {"persona": persona_id},
    )
    return tuple(OpenContest(*row) for row in rows)


def next_showing(
    session: Session,
    contest_id: int,
    count: int = 2,
    *,
    sitting: uuid.UUID | None = None,
    rng: np.random.Generator | None = None,
    beside: int | None = None,
) -> Showing | None:
    """The pictures whose vote tells most about the best one, or about the top K where the gate takes more.

    Args:
        count: 2 for a duel, up to 4 for a grid; fewer are shown where fewer are left.
        sitting: of the voter; with it, one showing in twenty repeats an earlier one of that sitting.
        beside: id of an active candidate of this contest that must be among them.

    Returns:
        None when fewer than two active pictures are left.

    Raises:
        InvalidRequest: another count, or `beside` does not take part.
    """
    state, rng = load(session, contest_id), rng or np.random.default_rng()
    return _showing(session, state, count, sitting, rng, beside)


def _showing(
    session: Session,
    state: State,
    count: int,
    sitting: uuid.UUID | None,
    rng: np.random.Generator,
    beside: int | None = None,
) -> Showing | None:
    repeated = beside is None and repeats.is_to_repeat(sitting, rng)
    again = _repeated(session, state, count, sitting, rng) if repeated else None
    return again or _chosen(state, count, rng, beside)


def _repeated(
    session: Session, state: State, count: int, sitting: uuid.UUID | None, rng: np.random.Generator
) -> Showing | None:
    if sitting is None or len(state.active) < 2:
        return None
    again = repeats.earlier_showing(session, state, count, sitting, rng)
    if again is None:
        return None
    return Showing(state.contest_id, tuple(state.member(place) for place in again), repeat=True)


def _chosen(state: State, count: int, rng: np.random.Generator, beside: int | None = None) -> Showing | None:
    if not 2 <= count <= 4:
        raise InvalidRequest("A vote shows two to four different pictures.")
    if len(state.active) < 2:
        return None
    wanted = None if beside is None else _place_of_candidate(state, beside)
    places = choosing.choose(
        state.belief,
        state.active,
        rng,
        count=count,
        k=state.top_k,
        unseen=state.unseen() if count > 2 else (),
        beside=wanted,
        lately=state.lately,
    )
    return Showing(state.contest_id, tuple(state.member(place) for place in places))


def standings(session: Session, contest_id: int) -> Standings:
    """The active pictures, best first, with how sure that order is."""
    state = load(session, contest_id)
    if state.run_step_id is None or state.run_id is None:
        raise InvalidRequest("Only contests of run steps have standings so far.")
    seen = outlook.look(state.belief, state.active, state.top_k, np.random.default_rng(contest_id))
    members = sorted(
        (state.member(place, float(p)) for place, p in zip(state.active, seen.p_best, strict=True)),
        key=lambda member: (-member.elo_score, member.candidate_id),
    )
    return Standings(
        contest_id,
        state.run_id,
        state.run_step_id,
        tuple(members),
        state.votes,
        seen.best,
        seen.top_k,
        state.top_k,
        seen.regret,
    )


def probability_top_k(session: Session, contest_id: int, k: int) -> float | None:
    """How sure it is that the k best by their ratings really are the k best of the active pictures.

    Sampled from the posterior with a seed of the contest, so that the same votes give the same answer.

    Returns:
        0 to 1; None while no vote counts, since a rating without votes says nothing.
    """
    state = load(session, contest_id)
    if not state.votes:
        return None
    if not state.active:
        return 1.0
    return outlook.look(state.belief, state.active, k, np.random.default_rng(contest_id)).top_k


def cast(
    session: Session,
    contest_id: int,
    shown: Sequence[int],
    chosen: int | None,
    *,
    sitting: uuid.UUID,
    response_ms: int | None = None,
    voter: str = "operator",
    repeat: bool = False,
) -> int:
    """Record one vote and bring the scores forward.

    Args:
        shown: two to four member ids, left to right.
        chosen: the member id taken, None for 'not sure'.
        sitting: one sitting of one voter; `undo` takes back its last vote.
        repeat: as the showing said.

    Returns:
        The vote's id.

    Raises:
        InvalidRequest: a member is not of this contest, shown twice, or chosen without being shown.
    """
    facts = {"sitting": sitting, "response_ms": response_ms, "voter": voter, "repeat": repeat}
    after = _voted(load(session, contest_id, lock=True), shown, chosen)
    return keep_vote(session, after, tuple(shown), chosen, facts)


def cast_and_choose(
    session: Session,
    contest_id: int,
    shown: Sequence[int],
    chosen: int | None,
    *,
    sitting: uuid.UUID,
    count: int,
    response_ms: int | None = None,
    voter: str = "operator",
    repeat: bool = False,
    rng: np.random.Generator | None = None,
) -> tuple[int, Showing | None]:
    """`cast`, and what `next_showing` would give after it, with the contest read once.

    Returns:
        The vote's id and the next showing.

    Raises:
        InvalidRequest: as both do.
    """
    facts = {"sitting": sitting, "response_ms": response_ms, "voter": voter, "repeat": repeat}
    rng = rng or np.random.default_rng()
    after = _voted(load(session, contest_id, lock=True), shown, chosen)
    repeated = repeats.is_to_repeat(sitting, rng)
    found: list[Showing | None] = []
    choose = None if repeated else lambda: found.append(_chosen(after, count, rng))
    vote = keep_vote(session, after, tuple(shown), chosen, facts, choose)
    if repeated:
        found.append(_repeated(session, after, count, sitting, rng) or _chosen(after, count, rng))
    return vote, found[0]


def _voted(state: State, shown: Sequence[int], chosen: int | None) -> State:
    if not 2 <= len(shown) <= 4 or len(set(shown)) != len(shown):
        raise InvalidRequest("A vote shows two to four different pictures.")
    if any(member not in state.index for member in shown):
        raise InvalidRequest("A picture of that vote is not in this contest.")
    if chosen is not None and chosen not in shown:
        raise InvalidRequest("The chosen picture was not shown.")
    taken = None if chosen is None else state.index[chosen]
    return state.after(tuple(state.index[member] for member in shown), taken)


def undo(session: Session, contest_id: int, *, sitting: uuid.UUID, voter: str = "operator") -> int | None:
    """Take back the sitting's last vote that counts, by a record that says so.

    Returns:
        The id of the vote that no longer counts, None when there is none.
    """
    load(session, contest_id, lock=True)
    record = rows_of(session, _UNDO, {"contest": contest_id, "sitting": sitting, "voter": voter})
    if not record:
        return None
    keep(session, load(session, contest_id, anew=True), record[0].id)
    events.emit(session, "vote", contest_id)
    return int(record[0].undoes_vote_id)


def rebuild(session: Session, contest_id: int) -> None:
    """Make the scores anew from the votes alone."""
    state = load(session, contest_id, lock=True, anew=True)
    keep(session, state, state.last_vote_id)
    events.emit(session, "vote", contest_id)


def import_old_elo(session: Session, contest_id: int, ratings: Mapping[int, int]) -> None:
    """Take old Elo ratings, by candidate, as what is believed before any vote; how much they say is learnt.

    Raises:
        InvalidRequest: a candidate does not take part in the contest.
    """
    load(session, contest_id, lock=True)
    wanted = {"contest": contest_id, "ids": list(ratings), "ratings": list(ratings.values())}
    if len(rows_of(session, _OLD_ELO, wanted)) != len(ratings):
        raise InvalidRequest("A rated picture is not in this contest.")
    rebuild(session, contest_id)


def flag_candidate(session: Session, candidate_id: int, flagged: bool) -> None:
    """Mark a picture for a second look, or take the mark off.

    Raises:
        UnknownName: there is no such picture.
    """
    found = rows_of(session, _FLAG, {"id": candidate_id, "flagged": flagged})
    if not found:
        raise UnknownName(f"There is no candidate {candidate_id}.")
    events.emit(session, "candidate", candidate_id)


def _place_of_candidate(state: State, candidate_id: int) -> int:
    for place in state.active:
        if state.rows[place].candidate_id == candidate_id:
            return place
    raise InvalidRequest(f"Candidate {candidate_id} does not take part in this contest.")


_UNDO = """
INSERT INTO votes (contest_id, session, voter, undoes_vote_id)
SELECT contest_id, session, :voter, id FROM votes v
WHERE v.contest_id = :contest AND v.session = :sitting AND v.undoes_vote_id IS NULL
  AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)
ORDER BY v.id DESC LIMIT 1 RETURNING id, undoes_vote_id
"""

_OLD_ELO = """
UPDATE contest_members m SET old_elo = fresh.rating
FROM unnest(CAST(:ids AS bigint[]), CAST(:ratings AS integer[])) AS fresh(id, rating)
WHERE m.contest_id = :contest AND m.image_candidate_id = fresh.id RETURNING m.id
"""

_FLAG = "UPDATE image_candidates SET flagged = :flagged WHERE id = :id RETURNING id"
