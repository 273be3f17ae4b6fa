"""A contest in memory: its pictures, the votes' posterior, and how both are read and kept.

The votes say what is so; a posterior is a cache. One is stored at every eighth vote, and brought forward from
there; the latest of a contest stays in the process (`recent`), valid while nobody else stored or voted.
Reading takes two statements then and keeping a vote one, since this is the path of every key press.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlmodel import Session
from threadpoolctl import threadpool_limits

from persona_tui.database.driver import rows_later, rows_of
from persona_tui.errors import UnknownName
from persona_tui.services import events
from persona_tui.services.voting import ranking, recent
from persona_tui.services.voting.ranking import Posterior
from persona_tui.services.voting.recent import Recent

# Matrices this small gain nothing from several threads; BLAS' idle ones spin on the cores that the database
# and the pictures need, and made a vote on a busy machine more than twice as long.
threadpool_limits(1, user_api="blas")

LATELY = 8
"""Votes after which the same pair may come again."""
STORED_EVERY = 8
"""Votes after which the posterior is stored: 20 KiB for 100 pictures, where a vote itself is one."""
NINETY_PERCENT = 1.6449
"""Standard deviations to either side of the mean that hold 90 % of a normal distribution."""


@dataclass(frozen=True)
class Member:
    """A picture in a contest.

    Attributes:
        elo_score: round(1000 + 173.72 μ).
        interval: of the rating, 90 %.
        votes: how many counted votes have shown it.
        p_best: 0 where it was not asked for.
    """

    id: int
    candidate_id: int
    media_key: str
    sha256: str
    seed: int
    parent_id: int | None
    elo_score: int
    p_best: float
    flagged: bool = False
    interval: tuple[int, int] = (0, 0)
    votes: int = 0


@dataclass(frozen=True)
class State:
    """A contest with all members, rejected ones too, in the order in which they joined.

    Attributes:
        active: indices of the members that may be shown.
        shown: how many counted votes have shown each member.
        votes: how many votes count.
        last_vote_id: the last record, an undo too.
        lately: indices that the last votes showed, as far as the process knows them.
        version: of the contest's row, another one whenever a posterior is stored.
        top_k: of the step's gate, 1 where there is none.
    """

    contest_id: int
    run_step_id: int | None
    run_id: int | None
    top_k: int
    rows: tuple[Any, ...]
    index: dict[int, int]
    active: tuple[int, ...]
    belief: Posterior
    shown: tuple[int, ...]
    votes: int
    last_vote_id: int | None
    version: str
    lately: tuple[tuple[int, ...], ...] = ()

    def member(self, index: int, p_best: float = 0.0) -> Member:
        """One member as others may see it."""
        row, mean = self.rows[index], float(self.belief.mean[index])
        reach = NINETY_PERCENT * float(self.belief.covariance[index, index]) ** 0.5
        low, rating, high = (
            round(1000 + ranking.ELO_PER_LOGIT * value) for value in (mean - reach, mean, mean + reach)
        )
        return Member(
            row.id,
            row.candidate_id,
            row.media_key,
            row.sha256,
            row.seed,
            row.parent_id,
            rating,
            p_best,
            row.flagged,
            (low, high),
            self.shown[index],
        )

    def unseen(self) -> frozenset[int]:
        """Indices that no vote has shown and of which nothing else is known."""
        hints = _hints(self.rows)
        return frozenset(place for place, hint in enumerate(hints) if not self.shown[place] and hint is None)

    def after(self, shown: tuple[int, ...], chosen: int | None) -> State:
        """The contest with one more vote, by indices."""
        counts = tuple(count + (place in shown) for place, count in enumerate(self.shown))
        belief = ranking.update(self.belief, shown, chosen)
        lately = (*self.lately, shown)[-LATELY:]
        return replace(self, belief=belief, shown=counts, votes=self.votes + 1, lately=lately)


def load(session: Session, contest_id: int, *, lock: bool = False, anew: bool = False) -> State:
    """The contest as the votes say, from the cache where that is valid.

    Args:
        lock: hold the contest's row until the transaction ends, so that votes of several windows come one
            after another.
        anew: from the votes alone.

    Raises:
        UnknownName: there is no such contest.
    """
    known = None if anew else recent.recall(session, contest_id)
    contest, rows = _read(session, contest_id, lock, known is None)
    last_vote_id = rows[0].last_vote_id if rows else None
    if known is not None and not known.fits(contest.version, last_vote_id):
        recent.forget(session, contest_id)
        return load(session, contest_id, lock=lock)
    size = len(rows)
    if known is not None:
        belief, shown, votes = known.belief, known.shown, known.votes
    elif contest.posterior is not None and not anew:
        belief, shown, votes = _thaw(contest.posterior)
    else:
        belief, shown, votes = Posterior.prior_from(_hints(rows)), (0,) * size, 0
    state = State(
        contest_id,
        contest.run_step_id,
        contest.run_id,
        contest.top_k,
        rows,
        {row.id: place for place, row in enumerate(rows)},
        tuple(place for place, row in enumerate(rows) if row.status == "active"),
        belief.extended(size),
        shown + (0,) * (size - len(shown)),
        votes,
        last_vote_id,
        contest.version,
        () if known is None else known.lately,
    )
    if known is not None:
        return state
    stored = None if anew or contest.posterior is None else contest.posterior_vote_id
    return _brought_forward(session, state, stored)


def keep_vote(
    session: Session,
    state: State,
    shown: tuple[int, ...],
    chosen: int | None,
    facts: dict[str, Any],
    meanwhile: Callable[[], None] | None = None,
) -> int:
    """Insert a vote, keep the scores and now and then the posterior after it, and tell all processes.

    The contest's row is locked: nobody else votes or stores meanwhile.

    Args:
        shown: member ids, left to right.
        facts: sitting, response_ms, voter, repeat.
        meanwhile: computes while the server writes; must not use the session.

    Returns:
        The vote's id.
    """
    values = {"contest": state.contest_id, "shown": list(shown), "chosen": chosen, **facts}
    values |= _scores(state) | {"told": events.payload("vote", state.contest_id)}
    if state.votes % STORED_EVERY:
        statement, values = _KEEP_VOTE, values | {"version": state.version}
    else:
        statement, values = _KEEP_VOTE_AND_POSTERIOR, values | {"posterior": _freeze(state)}
    with rows_later(session, statement, values) as rows:
        if meanwhile is not None:
            meanwhile()
        kept = rows()[0]
    after = Recent(kept.version, kept.id, state.belief, state.shown, state.votes, state.lately)
    recent.remember(session, state.contest_id, after)
    return int(kept.id)


def keep(session: Session, state: State, last_vote_id: int | None) -> None:
    """Keep posterior and scores, valid for this last vote."""
    values = {"contest": state.contest_id, "vote": last_vote_id, "posterior": _freeze(state)}
    rows_of(session, _KEEP, values | _scores(state))


def _read(session: Session, contest_id: int, lock: bool, with_posterior: bool) -> tuple[Any, tuple[Any, ...]]:
    """The contest's row and its members'.

    Raises:
        UnknownName: there is no such contest.
    """
    wanted = {"contest": contest_id, "wanted": with_posterior}
    found = rows_of(session, _LOCKED_CONTEST if lock else _CONTEST, wanted)
    if not found:
        raise UnknownName(f"There is no contest {contest_id}.")
    return found[0], tuple(rows_of(session, _MEMBERS, {"contest": contest_id}))


def _hints(rows: Sequence[Any]) -> list[float | None]:
    """What is known of the members before any vote: old ratings where there are any, else predictions."""
    old = [row.old_elo for row in rows]
    return old if any(rating is not None for rating in old) else [row.predicted for row in rows]


def _scores(state: State) -> dict[str, Any]:
    """The scores that differ from what is stored."""
    fresh = zip(state.rows, state.belief.elo(), strict=True)
    changed = [(row.candidate_id, score) for row, score in fresh if row.elo_score != score]
    return {
        "ids": [candidate for candidate, _ in changed],
        "scores": [score for _, score in changed],
    }


def _brought_forward(session: Session, state: State, stored: int | None) -> State:
    """The state with what was voted after a stored vote; None for all votes.

    An undo stores the posterior, so that no record after a stored vote takes back one before it.
    """
    wanted = {"contest": state.contest_id, "after": stored or 0, "last": state.last_vote_id or 0}
    for vote in rows_of(session, _VOTES, wanted):
        chosen = None if vote.chosen is None else state.index[vote.chosen]
        state = state.after(tuple(state.index[member] for member in vote.shown), chosen)
    return state


def _freeze(state: State) -> bytes:
    """The votes' count, how many members, their means, how often each was shown, half the covariances.

    Seven digits are enough for a cache, and half the bytes.
    """
    size = len(state.rows)
    half = state.belief.covariance[np.triu_indices(size)]
    numbers = np.concatenate([[state.votes, size], state.belief.mean, state.shown, half])
    return numbers.astype(np.float32).tobytes()


def _thaw(data: bytes) -> tuple[Posterior, tuple[int, ...], int]:
    numbers = np.frombuffer(data, np.float32).astype(float)
    votes, size = int(numbers[0]), int(numbers[1])
    mean, shown, half = np.split(numbers[2:], [size, 2 * size])
    covariance = np.zeros((size, size))
    covariance[np.triu_indices(size)] = half
    covariance += np.triu(covariance, 1).T
    return Posterior(mean, covariance), tuple(int(count) for count in shown), votes


_CONTEST = """
SELECT c.run_step_id, s.run_id, COALESCE(s.top_k, 1) AS top_k, c.xmin::text AS version,
  c.posterior_vote_id, CASE WHEN CAST(:wanted AS boolean) THEN c.posterior END AS posterior
FROM contests c LEFT JOIN pipeline_run_steps s ON s.id = c.run_step_id WHERE c.id = :contest
"""

_LOCKED_CONTEST = _CONTEST + "FOR NO KEY UPDATE OF c"
"""The last vote is read by the next statement: this one may have waited, and sees other rows as before."""

_MEMBERS = """
SELECT m.id, m.old_elo, m.predicted, i.id AS candidate_id, i.media_key, i.sha256, i.seed, i.parent_id,
  i.status, i.flagged, i.elo_score,
  (SELECT max(v.id) FROM votes v WHERE v.contest_id = :contest) AS last_vote_id
FROM contest_members m JOIN image_candidates i ON i.id = m.image_candidate_id
WHERE m.contest_id = :contest ORDER BY m.id
"""

_VOTES = """
SELECT v.id, array_agg(t.contest_member_id ORDER BY t.side) AS shown,
  max(t.contest_member_id) FILTER (WHERE t.chosen) AS chosen
FROM votes v JOIN vote_items t ON t.vote_id = v.id
WHERE v.contest_id = :contest AND v.id > CAST(:after AS bigint) AND v.id <= CAST(:last AS bigint)
  AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)
GROUP BY v.id ORDER BY v.id
"""

_SCORES = """scored AS (
  UPDATE image_candidates i SET elo_score = fresh.score
  FROM unnest(CAST(:ids AS bigint[]), CAST(:scores AS integer[])) AS fresh(id, score) WHERE i.id = fresh.id)
"""

_VOTED = f"""
WITH vote AS (
  INSERT INTO votes (contest_id, session, response_ms, voter, repeat)
  VALUES (:contest, :sitting, :response_ms, :voter, :repeat) RETURNING id),
items AS (
  INSERT INTO vote_items (vote_id, contest_id, contest_member_id, side, chosen)
  SELECT vote.id, CAST(:contest AS bigint), s.member, s.side,
    s.member IS NOT DISTINCT FROM CAST(:chosen AS bigint)
  FROM vote, unnest(CAST(:shown AS bigint[])) WITH ORDINALITY AS s(member, side)),
{_SCORES}
"""

_KEEP_VOTE = f"""
{_VOTED} SELECT id, CAST(:version AS text) AS version, pg_notify({events.CHANNEL}, :told) FROM vote
"""

_KEEP_VOTE_AND_POSTERIOR = f"""
{_VOTED}, kept AS (
  UPDATE contests c SET posterior = :posterior, posterior_vote_id = vote.id
  FROM vote WHERE c.id = :contest RETURNING c.xmin::text AS version)
SELECT vote.id, kept.version, pg_notify({events.CHANNEL}, :told) FROM vote, kept
"""

_KEEP = f"""
WITH {_SCORES}
UPDATE contests SET posterior = :posterior, posterior_vote_id = :vote WHERE id = :contest
"""
