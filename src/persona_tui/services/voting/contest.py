"""Contests: what to show next, casting a vote, taking it back, and who leads.

Votes are append-only facts. Scores are a projection that `rebuild` makes anew from them at any time; the
stored posterior is a cache that is valid for one last vote and brought forward under the contest's row lock.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, text
from sqlmodel import Session, col, select

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.pipeline import ImageCandidate, PipelineRunStep
from persona_tui.models.voting import Contest, ContestMember, Vote, VoteItem
from persona_tui.services import events
from persona_tui.services.voting import ranking

SURE = 0.9
"""P(best) from which the winner counts as sure enough."""


@dataclass(frozen=True)
class Member:
    """A picture in a contest."""

    id: int
    candidate_id: int
    media_key: str
    sha256: str
    seed: int
    parent_id: int | None
    elo_score: int
    p_best: float


@dataclass(frozen=True)
class Duel:
    """Two pictures to choose from; which stands left is drawn at random."""

    contest_id: int
    left: Member
    right: Member


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

    @property
    def sure(self) -> bool:
        """Whether the gate's question is answered well enough."""
        return self.p_top_k >= SURE


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
    found = session.exec(select(Contest.id).where(Contest.run_step_id == run_step_id)).first()
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


def next_duel(session: Session, contest_id: int, rng: np.random.Generator | None = None) -> Duel | None:
    """The most telling pair, or None when fewer than two active pictures are left."""
    rng = rng or np.random.default_rng()
    state = _load(session, _contest(session, contest_id))
    if len(state.active) < 2:
        return None
    left, right = ranking.choose_duel(state.belief, state.active, rng)
    return Duel(contest_id, state.member(left), state.member(right))


def standings(session: Session, contest_id: int) -> Standings:
    """The active pictures, best first, with how sure that order is."""
    contest = _contest(session, contest_id)
    state = _load(session, contest)
    if contest.run_step_id is None:
        raise InvalidRequest("Only contests of run steps have standings so far.")
    step = session.get_one(PipelineRunStep, contest.run_step_id)
    rng = np.random.default_rng(contest_id)
    shares = ranking.best_shares(state.belief, state.active, rng) if state.active else np.zeros(0)
    members = sorted(
        (state.member(index, float(share)) for index, share in zip(state.active, shares, strict=True)),
        key=lambda member: (-member.elo_score, member.candidate_id),
    )
    k = min(step.top_k, len(members))
    sure = ranking.top_share(state.belief, state.active, k, rng) if k else 0.0
    return Standings(
        contest_id,
        step.run_id,
        step.id,
        tuple(members),
        len(_counted_votes(session, contest_id)),
        max((member.p_best for member in members), default=0.0),
        sure,
        step.top_k,
    )


def probability_top_k(session: Session, contest_id: int, k: int) -> float | None:
    """How sure it is that the k best by their ratings really are the k best of the active pictures.

    Sampled from the posterior with a seed of the contest, so that the same votes give the same answer.

    Returns:
        0 to 1; None while no vote counts, since a rating without votes says nothing.
    """
    if not _counted_votes(session, contest_id):
        return None
    state = _load(session, _contest(session, contest_id))
    return ranking.top_share(state.belief, state.active, k, np.random.default_rng(contest_id))


def cast(
    session: Session,
    contest_id: int,
    shown: Sequence[int],
    chosen: int | None,
    *,
    sitting: uuid.UUID,
    response_ms: int | None = None,
    voter: str = "operator",
) -> int:
    """Record one vote and bring the scores forward.

    Args:
        shown: two to four member ids, left to right.
        chosen: the member id taken, None for 'not sure'.
        sitting: one sitting of one voter; `undo` takes back its last vote.

    Returns:
        The vote's id.

    Raises:
        InvalidRequest: a member is not of this contest, shown twice, or chosen without being shown.
    """
    contest = _contest(session, contest_id, lock=True)
    state = _load(session, contest)
    if not 2 <= len(shown) <= 4 or len(set(shown)) != len(shown):
        raise InvalidRequest("A vote shows two to four different pictures.")
    if any(member not in state.index for member in shown):
        raise InvalidRequest("A picture of that vote is not in this contest.")
    if chosen is not None and chosen not in shown:
        raise InvalidRequest("The chosen picture was not shown.")
    vote = Vote(contest_id=contest_id, session=sitting, response_ms=response_ms, voter=voter)
    session.add(vote)
    session.flush()
    for side, member in enumerate(shown, start=1):
        session.add(
            VoteItem(
                vote_id=vote.id,
                contest_id=contest_id,
                contest_member_id=member,
                side=side,
                chosen=member == chosen,
            )
        )
    session.flush()
    taken = None if chosen is None else state.index[chosen]
    belief = ranking.update(state.belief, tuple(state.index[member] for member in shown), taken)
    _store(session, contest, state, belief, vote.id)
    events.emit(session, "vote", contest_id)
    return vote.id


def undo(session: Session, contest_id: int, *, sitting: uuid.UUID, voter: str = "operator") -> int | None:
    """Take back the sitting's last vote that counts, by a record that says so.

    Returns:
        The id of the vote that no longer counts, None when there is none.
    """
    contest = _contest(session, contest_id, lock=True)
    last = next(
        (vote for vote in reversed(_counted_votes(session, contest_id)) if vote.session == sitting), None
    )
    if last is None:
        return None
    record = Vote(contest_id=contest_id, session=sitting, voter=voter, undoes_vote_id=last.id)
    session.add(record)
    session.flush()
    _replay(session, contest, record.id)
    events.emit(session, "vote", contest_id)
    return last.id


def rebuild(session: Session, contest_id: int) -> None:
    """Make the scores anew from the votes alone."""
    contest = _contest(session, contest_id, lock=True)
    last = session.exec(select(func.max(Vote.id)).where(Vote.contest_id == contest_id)).one()
    _replay(session, contest, last)
    events.emit(session, "vote", contest_id)


@dataclass(frozen=True)
class _State:
    members: tuple[tuple[ContestMember, ImageCandidate], ...]
    index: dict[int, int]
    active: tuple[int, ...]
    belief: ranking.Posterior

    def member(self, index: int, p_best: float = 0.0) -> Member:
        row, candidate = self.members[index]
        return Member(
            row.id,
            candidate.id,
            candidate.media_key,
            candidate.sha256,
            candidate.seed,
            candidate.parent_id,
            ranking.Posterior(self.belief.mean[[index]], self.belief.covariance[:1, :1]).elo()[0],
            p_best,
        )


def _contest(session: Session, contest_id: int, *, lock: bool = False) -> Contest:
    query = select(Contest).where(Contest.id == contest_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    contest = session.exec(query).first()
    if contest is None:
        raise UnknownName(f"There is no contest {contest_id}.")
    return contest


def _load(session: Session, contest: Contest) -> _State:
    """Members in the order they joined, with the cached belief brought up to date."""
    members = tuple(
        session.exec(
            select(ContestMember, ImageCandidate)
            .join(ImageCandidate, col(ImageCandidate.id) == ContestMember.image_candidate_id)
            .where(ContestMember.contest_id == contest.id)
            .order_by(col(ContestMember.id))
        )
    )
    index = {member.id: position for position, (member, _) in enumerate(members)}
    active = tuple(
        position for position, (_, candidate) in enumerate(members) if candidate.status == "active"
    )
    last = session.exec(select(func.max(Vote.id)).where(Vote.contest_id == contest.id)).one()
    if contest.posterior is not None and contest.posterior_vote_id == last:
        belief = _thaw(contest.posterior).extended(len(members))
    else:
        belief = _replayed(session, contest.id, index)
    return _State(members, index, active, belief)


def _counted_votes(session: Session, contest_id: int) -> list[Vote]:
    votes = session.exec(select(Vote).where(Vote.contest_id == contest_id).order_by(col(Vote.id))).all()
    undone = {vote.undoes_vote_id for vote in votes}
    return [vote for vote in votes if vote.undoes_vote_id is None and vote.id not in undone]


def _replayed(session: Session, contest_id: int, index: dict[int, int]) -> ranking.Posterior:
    belief = ranking.Posterior.prior(len(index))
    shown: dict[int, list[VoteItem]] = {}
    items = session.exec(
        select(VoteItem).where(VoteItem.contest_id == contest_id).order_by(col(VoteItem.side))
    )
    for item in items:
        shown.setdefault(item.vote_id, []).append(item)
    for vote in _counted_votes(session, contest_id):
        places = tuple(index[item.contest_member_id] for item in shown[vote.id])
        taken = next((index[item.contest_member_id] for item in shown[vote.id] if item.chosen), None)
        belief = ranking.update(belief, places, taken)
    return belief


def _replay(session: Session, contest: Contest, last_vote_id: int | None) -> None:
    contest.posterior = None
    state = _load(session, contest)
    _store(session, contest, state, state.belief, last_vote_id)


def _store(
    session: Session, contest: Contest, state: _State, belief: ranking.Posterior, vote_id: int | None
) -> None:
    contest.posterior = _freeze(belief)
    contest.posterior_vote_id = vote_id
    session.add(contest)
    scores = belief.elo()
    session.execute(
        text(
            "UPDATE image_candidates SET elo_score = fresh.score FROM "
            "unnest(CAST(:ids AS bigint[]), CAST(:scores AS integer[])) AS fresh(id, score) "
            "WHERE image_candidates.id = fresh.id AND elo_score <> fresh.score"
        ),
        {"ids": [candidate.id for _, candidate in state.members], "scores": scores},
    )
    session.flush()


def _freeze(belief: ranking.Posterior) -> bytes:
    out = io.BytesIO()
    np.savez(out, mean=belief.mean, covariance=belief.covariance)
    return out.getvalue()


def _thaw(data: bytes) -> ranking.Posterior:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return ranking.Posterior(arrays["mean"], arrays["covariance"])
