"""What an endpoint works on next.

Round robin over the runs that can progress; inside a run the earliest open step. There the parents with the
fewest pictures are served first, and which of them comes next is drawn in proportion to their ratings, seeded
by the run and the how-many-th draw it is. A place is a row: it is claimed under its run's lock, which others
skip, so that two engines can't take one place twice (R9). All gated is the usual case and costs one look at
an index of the runs that are under way (R12).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services import events
from persona_tui.services.generation import budgets, spending
from persona_tui.services.generation.jobs import add_job
from persona_tui.services.generation.spending import UNLIMITED, DailyLimit

RESTS_AFTER = 3
"""After so many failures a parent is served only when none of its step's other parents wants anything."""


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
    session.execute(
        text(
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' endpoint ' || :endpoint, 0))"
        ),
        {"endpoint": endpoint},
    )
    room = depth - _held(session, endpoint, mine)
    if room <= 0:
        return ()
    taken = _take_waiting(session, endpoint, room, healthy, mine, lease, barred)
    while len(taken) < room:
        place = _next_place(session, barred, daily)
        if place is None:
            break
        taken.append(
            add_job(session, place.slot_id, endpoint, wait=lease, reserved=place.expected, day=place.day)
        )
    return tuple(taken)


def _held(session: Session, endpoint: str, mine: Collection[int]) -> int:
    return int(
        session.execute(
            text(
                "SELECT count(*) FROM comfyui_jobs WHERE endpoint = :endpoint AND (state IN"
                " ('submitting', 'submitted', 'running') OR state = 'queued' AND id = ANY (:mine))"
            ),
            {"endpoint": endpoint, "mine": list(mine)},
        ).scalar_one()
    )


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
SELECT r.id, EXISTS (SELECT FROM run_budgets b WHERE b.run_id = r.id) AS limited
FROM pipeline_runs r
WHERE r.status IN ('pending', 'running') AND {{side}} AND NOT r.id = ANY (CAST(:passed AS bigint[]))
  AND (SELECT true FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
       WHERE s.run_id = r.id AND {_CLAIMABLE} LIMIT 1)
ORDER BY r.id LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED
"""
_SERVED_LAST = "coalesce((SELECT run_id FROM comfyui_jobs ORDER BY id DESC LIMIT 1), 0)"

TURN = f"""
SELECT * FROM ({_TURN.format(side=f"r.id > {_SERVED_LAST}")}) later
UNION ALL
SELECT * FROM ({_TURN.format(side=f"r.id <= {_SERVED_LAST}")}) earlier
LIMIT 1
"""
"""Whose turn it is: the run after the one that was served last, locked. Scalar subqueries look by key at each
run and each open place; as joins they may be planned as scans (R12). The second half runs only if the first
finds nothing."""

PLACE = f"""
WITH parents AS (
  SELECT st.id AS run_step_id, st.position, s.parent_id,
         count(*) FILTER (WHERE s.state <> 'open') AS children, sum(s.failures) AS failures,
         (array_agg(s.id ORDER BY s.slot_no) FILTER (WHERE s.state = 'open'))[1] AS slot_id
  FROM pipeline_run_steps st JOIN generation_slots s ON s.run_step_id = st.id
  WHERE st.run_id = :run AND st.approved_at IS NULL AND NOT st.id = ANY (CAST(:barred AS bigint[]))
  GROUP BY st.id, st.position, s.parent_id
), drawn AS (
  SELECT p.*, i.elo_score, i.seed, i.output_index, coalesce(i.status, 'active') AS status,
         sum(p.children + p.failures) OVER (PARTITION BY p.run_step_id) AS draw
  FROM parents p LEFT JOIN image_candidates i ON i.id = p.parent_id
)
SELECT d.slot_id, d.run_step_id FROM drawn d JOIN pipeline_runs r ON r.id = :run
WHERE d.slot_id IS NOT NULL AND d.status = 'active'
ORDER BY d.position, d.parent_id IS NOT NULL AND d.failures >= {RESTS_AFTER}, d.children,
  -ln((1 + (hashtextextended(concat_ws(' ', r.seed, d.position, d.draw, d.seed, d.output_index), 0)
            & 9007199254740991)) / 9007199254740992.0::float8) / greatest(d.elo_score, 1),
  d.slot_id
LIMIT 1
"""
"""The place to work on next in the run whose lock the caller holds; asked after the lock was taken, so that
it sees what the lock's last holder committed. -ln(u) / rating, u even in (0, 1], is least for each parent
with a probability in proportion to its rating. The parents' seeds take part, not their ids: a run cloned with
its seed draws alike."""


@dataclass(frozen=True)
class _Place:
    """A place that is to be worked on, and what was reserved for it."""

    slot_id: int
    expected: float
    day: date | None


def _next_place(session: Session, barred: Collection[int], daily: DailyLimit) -> _Place | None:
    """The next place; runs whose budget turns out to be spent come to rest on the way."""
    passed: list[int] = []
    while True:
        values = {"barred": list(barred), "passed": passed}
        turn = session.execute(text(TURN), values).one_or_none()
        if turn is None:
            return None
        found = session.execute(text(PLACE), {"run": turn.id, "barred": list(barred)}).one_or_none()
        if found is None:  # taken by another engine between the look and the lock
            passed.append(turn.id)
            continue
        expected = _expected_seconds(session, found.run_step_id) if turn.limited or daily.exists else 0.0
        if turn.limited and not spending.reserve(session, turn.id, expected):
            budgets.pause_spent(session, turn.id)
            passed.append(turn.id)
            continue
        day = spending.reserve_today(session, daily, expected) if daily.exists else None
        if daily.exists and day is None:
            spending.give_back(session, turn.id, expected)
            return None
        _begin(session, turn.id)
        return _Place(found.slot_id, expected, day)


def _expected_seconds(session: Session, run_step_id: int) -> float:
    """What the step's last picture took; 0 before its first."""
    found = session.execute(
        text(
            "SELECT j.gpu_seconds FROM generation_slots s JOIN comfyui_jobs j ON j.slot_id = s.id"
            " WHERE s.run_step_id = :step AND j.state = 'done' ORDER BY j.id DESC LIMIT 1"
        ),
        {"step": run_step_id},
    ).scalar_one_or_none()
    return float(found or 0.0)


def _begin(session: Session, run_id: int) -> None:
    begun = session.execute(
        text(
            "UPDATE pipeline_runs SET status = 'running' WHERE id = :run AND status = 'pending' RETURNING id"
        ),
        {"run": run_id},
    )
    if begun.scalar_one_or_none() is not None:
        events.emit(session, "run", run_id)
