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

from persona_tui.database.driver import rows_of
from persona_tui.services import events
from persona_tui.services.generation import budgets, spending
from persona_tui.services.generation.jobs import ATTEMPTS, Place, add_job
from persona_tui.services.generation.spending import UNLIMITED, DailyLimit
from persona_tui.services.generation.tree import LIVE

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
    held, waiting = session.execute(_UNDER_WAY_SQL, {"endpoint": endpoint, "mine": list(mine)}).one()
    room = depth - held
    if room <= 0:
        return ()
    taken = _take_waiting(session, endpoint, room, healthy, mine, lease, barred) if waiting else []
    while len(taken) < room:
        found = _next_place(session, barred, daily)
        if found is None:
            break
        taken.append(
            add_job(session, found.place, endpoint, wait=lease, reserved=found.expected, day=found.day)
        )
    return tuple(taken)


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
SELECT r.id, r.status, EXISTS (SELECT FROM run_budgets b WHERE b.run_id = r.id) AS limited
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
  FROM parents p LEFT JOIN LATERAL (
    SELECT c.elo_score, c.seed, c.output_index, c.status FROM image_candidates c
    WHERE c.id = p.parent_id LIMIT 1
  ) i ON true
)
SELECT s.id AS slot_id, d.run_step_id, d.position, s.slot_no, r.id AS run_id, r.seed AS run_seed,
       d.seed AS parent_seed, d.output_index, {ATTEMPTS} AS attempt
FROM drawn d JOIN pipeline_runs r ON r.id = :run JOIN generation_slots s ON s.id = d.slot_id
WHERE d.status = 'active'
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

_UNDER_WAY_SQL = text(_UNDER_WAY)


@dataclass(frozen=True)
class _Reserved:
    """A place that is to be worked on, and what was reserved for it."""

    place: Place
    expected: float
    day: date | None


def _next_place(session: Session, barred: Collection[int], daily: DailyLimit) -> _Reserved | None:
    """The next place; runs whose budget turns out to be spent come to rest on the way."""
    passed: list[int] = []
    while True:
        values = {"barred": list(barred), "passed": passed}
        turns = rows_of(session, TURN, values)
        if not turns:
            return None
        (turn,) = turns
        places = rows_of(session, PLACE, {"run": turn.id, "barred": list(barred)})
        if not places:  # taken by another engine between the look and the lock
            passed.append(turn.id)
            continue
        (found,) = places
        expected = _expected_seconds(session, found.run_step_id) if turn.limited or daily.exists else 0.0
        if turn.limited and not spending.reserve(session, turn.id, expected):
            budgets.pause_spent(session, turn.id)
            passed.append(turn.id)
            continue
        day = spending.reserve_today(session, daily, expected) if daily.exists else None
        if daily.exists and day is None:
            spending.give_back(session, turn.id, expected)
            return None
        if turn.status == "pending":
            _begin(session, turn.id)
        return _Reserved(Place(**found._asdict()), expected, day)


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
