"""What an endpoint works on next.

Round robin over the runs that can progress; inside a run the earliest open step. There the parents with the
fewest pictures are served first, and which of them comes next is drawn in proportion to their ratings, seeded
by the run and the how-many-th draw it is. A place is a row: it is claimed under its run's lock, which others
skip, so that two engines can't take one place twice (R9). All gated is the usual case and costs one look at
an index of the runs that are under way (R12).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services import events
from persona_tui.services.generation import budgets, raffle, spending
from persona_tui.services.generation.making import Place, Reserved, add_jobs
from persona_tui.services.generation.raffle import RESTS_AFTER
from persona_tui.services.generation.spending import UNLIMITED, DailyLimit
from persona_tui.services.generation.tree import LIVE


def claim(
    session: Session,
    endpoint: str,
    depth: int,
    *,
    healthy: Sequence[str],
    mine: Collection[int],
    lease: float,
    barred: Collection[int] = (),
    daily: DailyLimit = UNLIMITED,
) -> tuple[int, ...]:
    """Take what fills an endpoint's queue: jobs that wait to be sent again, then new ones.

    Args:
        depth: jobs that the endpoint is to hold.
        healthy: endpoints that answer; what waits for another one is taken over.
        mine: jobs that the caller is about to send.
        lease: seconds in which nobody else takes what is returned.
        barred: run steps that this endpoint can't run.
        daily: what all runs together may spend today.

    Returns:
        Ids of jobs, now in the state queued, with a prompt id that is the caller's.
    """
    rows_of(session, _ENTER, {"endpoint": endpoint})
    ((held, waiting),) = rows_of(session, _UNDER_WAY, {"endpoint": endpoint, "mine": list(mine)})
    room = depth - held
    if room <= 0:
        return ()
    taken = _take_waiting(session, endpoint, room, healthy, mine, lease, barred) if waiting else []
    return (*taken, *_Round(session, endpoint, lease, barred, daily).take(room - len(taken)))


_ENTER = """
SELECT pg_advisory_xact_lock(
         hashtextextended(current_schema() || ' endpoint ' || CAST(:endpoint AS text), 0)),
       set_config('plan_cache_mode', 'force_generic_plan', true)
"""
"""One engine at a time takes jobs for an endpoint. By itself the database plans each statement with arrays
anew, which takes longer than the statement does; until the transaction ends, it keeps its plans."""

_UNDER_WAY = f"""
SELECT count(*) FILTER (WHERE endpoint = :endpoint AND (state IN ('submitting', 'submitted', 'running')
                                                        OR state = 'queued' AND id = ANY (:mine))) AS held,
       coalesce(bool_or(state = 'queued' AND (not_before IS NULL OR not_before <= persona_now())
                        AND NOT id = ANY (:mine)), false) AS waiting
FROM comfyui_jobs WHERE state IN {LIVE}
"""
"""How many jobs the endpoint holds, and whether any is due to be sent again, wherever it was."""

_RESTS = f"""
s.parent_id IS NOT NULL
AND (SELECT sum(f.failures) FROM generation_slots f
     WHERE f.run_step_id = s.run_step_id AND f.parent_id = s.parent_id) >= {RESTS_AFTER}
AND EXISTS (SELECT FROM generation_slots o JOIN image_candidates p ON p.id = o.parent_id
            WHERE o.run_step_id = s.run_step_id AND o.state = 'open' AND p.status = 'active'
              AND (SELECT sum(f.failures) FROM generation_slots f
                   WHERE f.run_step_id = o.run_step_id AND f.parent_id = o.parent_id) < {RESTS_AFTER})
"""
"""Whether a place belongs to a parent that failed too often while others still want something."""


def _take_waiting(
    session: Session,
    endpoint: str,
    room: int,
    healthy: Sequence[str],
    mine: Collection[int],
    lease: float,
    barred: Collection[int],
) -> list[int]:
    rows = session.execute(
        text(
            "WITH due AS MATERIALIZED ("
            "  SELECT j.id FROM comfyui_jobs j JOIN pipeline_runs r ON r.id = j.run_id"
            "  JOIN generation_slots s ON s.id = j.slot_id"
            "  WHERE j.state = 'queued' AND r.status IN ('pending', 'running')"
            "  AND (j.endpoint = :endpoint OR NOT j.endpoint = ANY (:healthy))"
            "  AND (j.not_before IS NULL OR j.not_before <= persona_now()) AND NOT j.id = ANY (:mine)"
            f"  AND NOT j.run_step_id = ANY (CAST(:barred AS bigint[])) AND NOT ({_RESTS})"
            "  ORDER BY j.id LIMIT :room FOR NO KEY UPDATE OF j SKIP LOCKED)"
            " UPDATE comfyui_jobs j SET endpoint = :endpoint, prompt_id = gen_random_uuid(),"
            " not_before = persona_now() + make_interval(secs => :lease)"
            " FROM due WHERE j.id = due.id RETURNING j.id"
        ),
        {
            "endpoint": endpoint,
            "healthy": list(healthy),
            "mine": list(mine),
            "room": room,
            "lease": lease,
            "barred": list(barred),
        },
    )
    return sorted(rows.scalars())


_CLAIMABLE = """
s.state = 'open' AND st.approved_at IS NULL AND NOT st.id = ANY (CAST(:barred AS bigint[]))
AND coalesce((SELECT p.status FROM image_candidates p WHERE p.id = s.parent_id), 'active') = 'active'
"""

_TURN = f"""
SELECT r.id, r.status, r.seed, EXISTS (SELECT FROM run_budgets b WHERE b.run_id = r.id) AS limited
FROM pipeline_runs r
WHERE r.status IN ('pending', 'running') AND {{side}} AND NOT r.id = ANY (CAST(:passed AS bigint[]))
  AND (SELECT true FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
       WHERE s.run_id = r.id AND {_CLAIMABLE} LIMIT 1)
ORDER BY r.id LIMIT :count FOR NO KEY UPDATE OF r SKIP LOCKED
"""
_SERVED_LAST = "coalesce((SELECT run_id FROM comfyui_jobs ORDER BY id DESC LIMIT 1), 0)"

TURNS = f"""
SELECT * FROM ({_TURN.format(side=f"r.id > {_SERVED_LAST}")}) later
UNION ALL
SELECT * FROM ({_TURN.format(side=f"r.id <= {_SERVED_LAST}")}) earlier
LIMIT :count
"""
"""Whose turn it is: the runs after the one that was served last, locked. Scalar subqueries look by key at
each run and each open place; as joins they may be planned as scans (R12). The second half runs only if the
first does not find enough."""


class _Round:
    """Serves runs in turn, a place each, until enough is found or nothing is left."""

    def __init__(
        self, session: Session, endpoint: str, lease: float, barred: Collection[int], daily: DailyLimit
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._lease = lease
        self._barred = list(barred)
        self._daily = daily
        self._found: list[Reserved] = []
        self._made: list[int] = []
        self._begun: set[int] = set()
        self._expected: dict[int, float] = {}
        self._day_is_spent = False

    def take(self, count: int) -> tuple[int, ...]:
        """Jobs for so many places, fewer if there are no more; their runs are locked, budgets reserved."""
        passed: list[int] = []
        while (left := count - self._taken) > 0 and not self._day_is_spent:
            turns = rows_of(self._session, TURNS, {"barred": self._barred, "passed": passed, "count": left})
            if not turns:
                break
            self._serve(turns, count)
            passed += [turn.id for turn in turns]
        self._make()
        return tuple(self._made)

    @property
    def _taken(self) -> int:
        return len(self._found) + len(self._made)

    def _serve(self, turns: Sequence[Any], count: int) -> None:
        """Take places of these runs, round robin; a run whose budget turns out to be spent comes to rest."""
        seeds = {turn.id: turn.seed for turn in turns}
        places = raffle.free_places(self._session, seeds, self._barred, count - self._taken)
        going = deque(turns)
        while going and self._taken < count and not self._day_is_spent:
            turn = going.popleft()
            place = next(places[turn.id], None)
            reserved = None if place is None else self._reserve(turn, place)
            if reserved is None:
                continue
            if turn.status == "pending" and turn.id not in self._begun:
                self._begun.add(turn.id)
                _begin(self._session, turn.id)
            self._found.append(reserved)
            if turn.limited or self._daily.exists:  # what is spent is counted by the jobs that there are
                self._make()
            going.append(turn)

    def _make(self) -> None:
        if self._found:
            self._made += add_jobs(self._session, self._found, self._endpoint, wait=self._lease)
            self._found = []

    def _reserve(self, turn: Any, place: Place) -> Reserved | None:
        if not turn.limited and not self._daily.exists:
            return Reserved(place)
        expected = self._seconds(place.run_step_id)
        if turn.limited and not spending.reserve(self._session, turn.id, expected):
            budgets.pause_spent(self._session, turn.id)
            return None
        if not self._daily.exists:
            return Reserved(place, expected)
        day = spending.reserve_today(self._session, self._daily, expected)
        if day is None:
            self._day_is_spent = True
            spending.give_back(self._session, turn.id, expected)
            return None
        return Reserved(place, expected, day)

    def _seconds(self, run_step_id: int) -> float:
        if run_step_id not in self._expected:
            self._expected[run_step_id] = _expected_seconds(self._session, run_step_id)
        return self._expected[run_step_id]


def _expected_seconds(session: Session, run_step_id: int) -> float:
    """What the step's last picture that was measured took; 0 before its first."""
    found = session.execute(
        text(
            "SELECT j.gpu_seconds FROM generation_slots s JOIN comfyui_jobs j ON j.slot_id = s.id"
            " WHERE s.run_step_id = :step AND j.state = 'done' AND j.gpu_seconds > 0"
            " ORDER BY j.id DESC LIMIT 1"
        ),
        {"step": run_step_id},
    ).scalar_one_or_none()
    return float(found or 0.0)


def _begin(session: Session, run_id: int) -> None:
    session.execute(text("UPDATE pipeline_runs SET status = 'running' WHERE id = :run"), {"run": run_id})
    events.emit(session, "run", run_id)
