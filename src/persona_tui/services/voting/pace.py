"""How a sitting goes: votes and pace, how sure the answer is, what is to come, the voter's consistency."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services.voting import forecast, outlook, ways
from persona_tui.services.voting.state import load
from persona_tui.services.voting.ways import SHOWN, Habit, Way

RECENT = 400
"""The voter's last votes, of all contests, from which pace and consistency are taken."""
PAUSE_MS = 30_000
"""Longer than this nobody looks at two pictures: the voter was away."""


@dataclass(frozen=True)
class VotingProgress:
    """The progress line of a sitting.

    Attributes:
        votes: that count in the contest, of all voters.
        per_minute: of this sitting, pauses left out; None before its first timed votes.
        median_ms: from the pictures' appearance to the key, in this sitting.
        p_best: P(the leader is the best).
        p_top_k: P(the K highest ratings are the K best).
        regret: expected, in logits.
        votes_to_go: until sure; None before any vote.
        minutes_to_go: None while unknown.
        consistency: share of hidden repeats answered as before, of the voter's recent votes in the way of
            this sitting's last vote.
        repeats: how many those were.
        sure: the gate's question is answered well enough.
        faster: which way finds the winner sooner at this voter's pace and consistency; None while one of
            them is unknown.
    """

    votes: int
    per_minute: float | None
    median_ms: int | None
    p_best: float
    p_top_k: float
    regret: float
    votes_to_go: int | None
    minutes_to_go: float | None
    consistency: float | None
    repeats: int
    sure: bool
    faster: Way | None


def progress(
    session: Session, contest_id: int, sitting: uuid.UUID, *, voter: str = "operator"
) -> VotingProgress:
    """How far the contest is and how this sitting goes.

    Raises:
        UnknownName: there is no such contest.
    """
    state = load(session, contest_id)
    recent = rows_of(session, _RECENT, {"voter": voter, "sitting": sitting, "limit": RECENT})
    own = [row for row in recent if row.session == sitting]
    times = [row.response_ms for row in own if _timed(row)]
    habits = {way: _habit(recent, shown) for way, shown in SHOWN.items()}
    seen = outlook.look(state.belief, state.active, state.top_k, np.random.default_rng(contest_id))
    count = own[0].shown if own else 2
    mine = habits["duel" if count == SHOWN["duel"] else "grid"]
    to_go = forecast.votes_to_go(seen, len(state.active), state.top_k, count) if state.votes else None
    per_minute = 60_000 * len(times) / sum(times) if times and sum(times) else None
    return VotingProgress(
        state.votes,
        per_minute,
        round(median(times)) if times else None,
        seen.best,
        seen.top_k,
        seen.regret,
        to_go,
        to_go / per_minute if to_go is not None and per_minute else None,
        mine.consistency,
        mine.repeats,
        bool(state.votes) and seen.sure(state.top_k),
        ways.faster(habits["duel"], habits["grid"]),
    )


def _timed(row: Any) -> bool:
    return row.response_ms is not None and row.response_ms <= PAUSE_MS


def _habit(recent: list[Any], shown: int) -> Habit:
    return Habit.of(
        [(row.response_ms if _timed(row) else None, row.same) for row in recent if row.shown == shown]
    )


_RECENT = """
WITH recent AS (
  SELECT v.id, v.contest_id, v.session, v.response_ms, v.repeat FROM votes v
  WHERE (v.voter = :voter OR v.session = :sitting) AND v.undoes_vote_id IS NULL
    AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)
  ORDER BY v.id DESC LIMIT CAST(:limit AS integer)),
told AS (
  SELECT r.*, array_agg(t.contest_member_id ORDER BY t.contest_member_id) AS members,
    max(t.contest_member_id) FILTER (WHERE t.chosen) AS chosen
  FROM recent r JOIN vote_items t ON t.vote_id = r.id
  GROUP BY r.id, r.contest_id, r.session, r.response_ms, r.repeat)
SELECT n.session, n.response_ms, cardinality(n.members) AS shown,
  (SELECT o.chosen IS NOT DISTINCT FROM n.chosen FROM told o
   WHERE n.repeat AND o.session = n.session AND o.members = n.members AND o.id < n.id
   ORDER BY o.id DESC LIMIT 1) AS same
FROM told n ORDER BY n.id DESC
"""
