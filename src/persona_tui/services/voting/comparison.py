"""Comparisons of two LoRAs: blind votes on pairs of one prompt and seed, and what they say of the two.

The pictures of a comparison are no candidates of a run, so they have no ratings: what counts of a vote is
whose picture was chosen.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.services import events


@dataclass(frozen=True)
class PairPicture:
    """One of two pictures; which LoRA made it is not said."""

    member_id: int
    media_key: str
    sha256: str


@dataclass(frozen=True)
class Pair:
    """Two pictures of one prompt and seed, left and right as drawn at random."""

    contest_id: int
    prompt: str
    seed: int
    left: PairPicture
    right: PairPicture


@dataclass(frozen=True)
class ComparisonState:
    """How far a comparison is.

    Attributes:
        lora_id, beside_id: the two versions.
        lora, beside: their labels.
        planned: pairs that are to be pictured.
        ready: those whose two pictures are there.
        alike: those of them whose two pictures are the same, which nobody can vote on.
        won, lost, even: votes for the first version, for the other one, and for neither.
    """

    id: int
    contest_id: int
    persona_id: int
    lora_id: int
    lora: str
    beside_id: int
    beside: str
    planned: int
    ready: int
    alike: int
    won: int
    lost: int
    even: int

    @property
    def voted(self) -> int:
        """How many pairs were voted on."""
        return self.won + self.lost + self.even

    @property
    def to_vote(self) -> int:
        """How many pairs wait for a vote now."""
        return self.ready - self.alike - self.voted

    @property
    def complete(self) -> bool:
        """Whether every pair is pictured and voted on."""
        return self.ready == self.planned and not self.to_vote


@dataclass(frozen=True)
class Verdict:
    """What all comparisons of two versions say together, as seen from the first one.

    Attributes:
        n: votes; `even` of them chose neither.
        p_better: how likely it is that the first one is chosen more often than the other; None without votes
            that chose.
    """

    lora_id: int
    lora: str
    beside_id: int
    beside: str
    won: int
    lost: int
    even: int

    @property
    def n(self) -> int:
        """How many votes there are."""
        return self.won + self.lost + self.even

    @property
    def p_better(self) -> float | None:
        """0 to 1; None while no vote chose."""
        return p_better(self.won, self.lost) if self.won + self.lost else None

    def turned(self) -> Verdict:
        """The same, as seen from the other one."""
        return Verdict(self.beside_id, self.beside, self.lora_id, self.lora, self.lost, self.won, self.even)


def p_better(won: int, lost: int) -> float:
    """How likely it is that one of two is chosen in more than half of all pairs, 0 to 1.

    The posterior Beta(won + 1, lost + 1) of a uniform prior, above one half; its distribution function at
    whole numbers is a sum of binomial probabilities (DLMF 8.17.5).
    """
    trials = won + lost + 1
    return float(sum(comb(trials, k) for k in range(won + 1)) / 2**trials)


def comparison_state(session: Session, contest_id: int) -> ComparisonState:
    """How far the comparison of this contest is.

    Raises:
        UnknownName: there is none.
    """
    found = _states(session, contest_id=contest_id)
    if not found:
        raise UnknownName(f"Contest {contest_id} is no comparison of LoRAs.")
    return found[0]


def is_comparison(session: Session, contest_id: int) -> bool:
    """Whether the contest is one of LoRAs."""
    return bool(rows_of(session, _IS_ONE, {"contest": contest_id}))


def comparisons(session: Session, lora_id: int | None = None) -> tuple[ComparisonState, ...]:
    """All comparisons, or those of one version, the newest first."""
    return _states(session, lora_id=lora_id)


def waiting_comparisons(session: Session, persona_id: int | None = None) -> tuple[int, ...]:
    """The contests of comparisons with pairs that nobody has voted on yet, the newest first.

    Args:
        persona_id: whose; None takes all.
    """
    return tuple(row.id for row in rows_of(session, _WAITING, {"persona": persona_id}))


def verdicts(session: Session) -> tuple[Verdict, ...]:
    """What the votes say of each two versions that were voted on, from either side."""
    summed: dict[tuple[int, int], Verdict] = {}
    for one in _states(session):
        seen = Verdict(one.lora_id, one.lora, one.beside_id, one.beside, one.won, one.lost, one.even)
        for side in (seen, seen.turned()):
            key = (side.lora_id, side.beside_id)
            summed[key] = _added(summed[key], side) if key in summed else side
    return tuple(verdict for verdict in summed.values() if verdict.n)


def next_pair(session: Session, contest_id: int, rng: np.random.Generator | None = None) -> Pair | None:
    """A pair that was not voted on, drawn at random, and which side each picture is on as well.

    Returns:
        None where no such pair is ready.

    Raises:
        UnknownName: the contest is no comparison of LoRAs.
    """
    rng = rng or np.random.default_rng()
    comparison_state(session, contest_id)
    waiting = [pair for pair in _pairs(session, contest_id) if not pair.voted and not pair.alike]
    if not waiting:
        return None
    found = waiting[int(rng.integers(len(waiting)))]
    pictures = [PairPicture(*one) for one in zip(found.members, found.media_keys, found.hashes, strict=True)]
    left, right = (pictures[int(place)] for place in rng.permutation(2))
    return Pair(contest_id, found.prompt, found.seed, left, right)


def cast_pair(
    session: Session,
    contest_id: int,
    shown: Sequence[int],
    chosen: int | None,
    *,
    sitting: uuid.UUID,
    response_ms: int | None = None,
    voter: str = "operator",
) -> int:
    """Record one vote on a pair.

    Args:
        shown: the two member ids, left and right.
        chosen: the member taken; None for neither.
        sitting: one sitting of one voter; `undo_pair` takes back its last vote.

    Returns:
        The vote's id.

    Raises:
        UnknownName: the contest is no comparison of LoRAs.
        InvalidRequest: the two are no pair of it, or the chosen one was not shown.
        NotAllowedNow: the pair was voted on already.
    """
    _lock(session, contest_id)
    pair = next((one for one in _pairs(session, contest_id) if set(one.members) == set(shown)), None)
    if pair is None or len(shown) != 2:
        raise InvalidRequest(
            "These two pictures are no pair of this comparison.", hint="`vote next` shows a pair."
        )
    if chosen is not None and chosen not in shown:
        raise InvalidRequest("The chosen picture was not shown.")
    if pair.voted:
        raise NotAllowedNow("This pair was voted on already.", hint="Take that vote back first.")
    values = {"contest": contest_id, "sitting": sitting, "response_ms": response_ms, "voter": voter}
    values |= {"shown": list(shown), "chosen": chosen}
    vote = rows_of(session, _VOTE, values)[0].id
    _tell(session, contest_id)
    return int(vote)


def undo_pair(
    session: Session, contest_id: int, *, sitting: uuid.UUID, voter: str = "operator"
) -> int | None:
    """Take back the sitting's last vote that counts, by a record that says so.

    Returns:
        The id of the vote that no longer counts, None when there is none.

    Raises:
        UnknownName: the contest is no comparison of LoRAs.
    """
    _lock(session, contest_id)
    record = rows_of(session, _UNDO, {"contest": contest_id, "sitting": sitting, "voter": voter})
    if not record:
        return None
    _tell(session, contest_id)
    return int(record[0].undoes_vote_id)


def _added(one: Verdict, other: Verdict) -> Verdict:
    votes = (one.won + other.won, one.lost + other.lost, one.even + other.even)
    return Verdict(one.lora_id, one.lora, one.beside_id, one.beside, *votes)


def _lock(session: Session, contest_id: int) -> None:
    """Hold the contest's row, so that votes of several windows come one after another."""
    if not rows_of(session, _LOCK, {"contest": contest_id}):
        raise UnknownName(f"Contest {contest_id} is no comparison of LoRAs.")


def _tell(session: Session, contest_id: int) -> None:
    events.emit_all(session, (("vote", contest_id), ("lora", 0)))


def _pairs(session: Session, contest_id: int) -> list[Any]:
    return list(rows_of(session, _PAIRS, {"contest": contest_id}))


def _states(
    session: Session, *, contest_id: int | None = None, lora_id: int | None = None
) -> tuple[ComparisonState, ...]:
    rows = rows_of(session, _STATES, {"contest": contest_id, "lora": lora_id})
    return tuple(ComparisonState(*row) for row in rows)


_COUNTED = """
  v.undoes_vote_id IS NULL AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)
"""

_IS_ONE = "SELECT id FROM contests WHERE id = :contest AND comparison_id IS NOT NULL"
_LOCK = f"{_IS_ONE} FOR NO KEY UPDATE"

_PAIRS = f"""
SELECT array_agg(m.id ORDER BY m.id) AS members, array_agg(p.media_key ORDER BY m.id) AS media_keys,
  array_agg(p.sha256 ORDER BY m.id) AS hashes, max(c.prompts ->> p.prompt_index) AS prompt, p.seed,
  min(p.sha256) = max(p.sha256) AS alike,
  bool_or(m.id IN (SELECT t.contest_member_id FROM vote_items t JOIN votes v ON v.id = t.vote_id
                   WHERE t.contest_id = :contest AND {_COUNTED})) AS voted
FROM contest_members m
JOIN lora_comparison_pictures p ON p.id = m.comparison_picture_id
JOIN lora_comparisons c ON c.id = p.comparison_id
WHERE m.contest_id = :contest
GROUP BY p.prompt_index, p.seed HAVING count(*) = 2 ORDER BY p.prompt_index, p.seed
"""

_WAITING = f"""
SELECT k.id FROM lora_comparisons c JOIN contests k ON k.comparison_id = c.id
WHERE (CAST(:persona AS bigint) IS NULL OR c.persona_id = :persona) AND EXISTS (
  SELECT FROM lora_comparison_pictures p JOIN contest_members m ON m.comparison_picture_id = p.id
  WHERE p.comparison_id = c.id AND NOT EXISTS (
    SELECT FROM vote_items t JOIN votes v ON v.id = t.vote_id WHERE t.contest_member_id = m.id AND {_COUNTED})
  GROUP BY p.prompt_index, p.seed HAVING count(*) = 2 AND min(p.sha256) <> max(p.sha256))
ORDER BY k.id DESC
"""

_STATES = f"""
WITH wanted AS (
  SELECT c.*, k.id AS contest_id FROM lora_comparisons c JOIN contests k ON k.comparison_id = c.id
  WHERE (CAST(:contest AS bigint) IS NULL OR k.id = :contest)
    AND (CAST(:lora AS bigint) IS NULL OR CAST(:lora AS bigint) IN (c.lora_model_id, c.beside_id))),
pairs AS (
  SELECT p.comparison_id, min(p.sha256) = max(p.sha256) AS alike
  FROM lora_comparison_pictures p WHERE p.comparison_id IN (SELECT id FROM wanted)
  GROUP BY p.comparison_id, p.prompt_index, p.seed HAVING count(*) = 2),
made AS (
  SELECT comparison_id, count(*) AS ready, count(*) FILTER (WHERE alike) AS alike
  FROM pairs GROUP BY comparison_id),
chosen AS (
  SELECT v.id, v.contest_id, max(p.lora_model_id) FILTER (WHERE t.chosen) AS lora
  FROM votes v JOIN vote_items t ON t.vote_id = v.id
  JOIN contest_members m ON m.id = t.contest_member_id
  JOIN lora_comparison_pictures p ON p.id = m.comparison_picture_id
  WHERE v.contest_id IN (SELECT contest_id FROM wanted) AND {_COUNTED}
  GROUP BY v.id, v.contest_id),
counted AS (
  SELECT w.id, count(c.lora) FILTER (WHERE c.lora = w.lora_model_id) AS won,
    count(c.lora) FILTER (WHERE c.lora = w.beside_id) AS lost,
    count(c.id) FILTER (WHERE c.lora IS NULL) AS even
  FROM wanted w LEFT JOIN chosen c ON c.contest_id = w.contest_id GROUP BY w.id)
SELECT w.id, w.contest_id, w.persona_id, w.lora_model_id, a.name || '@' || a.version AS lora, w.beside_id,
  b.name || '@' || b.version AS beside,
  jsonb_array_length(w.prompts) * jsonb_array_length(w.seeds) AS planned,
  coalesce(m.ready, 0) AS ready, coalesce(m.alike, 0) AS alike, v.won, v.lost, v.even
FROM wanted w JOIN lora_models a ON a.id = w.lora_model_id JOIN lora_models b ON b.id = w.beside_id
JOIN counted v ON v.id = w.id LEFT JOIN made m ON m.comparison_id = w.id
ORDER BY w.id DESC
"""

_VOTE = """
WITH vote AS (
  INSERT INTO votes (contest_id, session, response_ms, voter)
  VALUES (:contest, :sitting, :response_ms, :voter) RETURNING id),
items AS (
  INSERT INTO vote_items (vote_id, contest_id, contest_member_id, side, chosen)
  SELECT vote.id, CAST(:contest AS bigint), s.member, s.side,
    s.member IS NOT DISTINCT FROM CAST(:chosen AS bigint)
  FROM vote, unnest(CAST(:shown AS bigint[])) WITH ORDINALITY AS s(member, side))
SELECT id FROM vote
"""

_UNDO = """
INSERT INTO votes (contest_id, session, voter, undoes_vote_id)
SELECT contest_id, session, :voter, id FROM votes v
WHERE v.contest_id = :contest AND v.session = :sitting AND v.undoes_vote_id IS NULL
  AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)
ORDER BY v.id DESC LIMIT 1 RETURNING id, undoes_vote_id
"""
