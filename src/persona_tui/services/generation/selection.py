"""What an endpoint works on next.

Round robin over the runs that can progress; inside a run the earliest open step, and there one picture for
each parent before a second one for any. A place is a row: it is claimed under its run's lock, which others
skip, so that two engines can't take one place twice (R9). All gated is the usual case and costs one look at
an index of the runs that are under way (R12).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services import events
from persona_tui.services.generation.jobs import add_job


def claim(
    session: Session,
    endpoint: str,
    depth: int,
    *,
    healthy: Sequence[str],
    mine: Collection[int],
    lease: float,
) -> tuple[int, ...]:
    """Take what fills an endpoint's queue: jobs that wait to be sent again, then new ones.

    Args:
        depth: jobs that the endpoint is to hold.
        healthy: endpoints that answer; what waits for another one is taken over.
        mine: jobs that the caller is about to send.
        lease: seconds in which nobody else takes what is returned.

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
    taken = _take_waiting(session, endpoint, room, healthy, mine, lease)
    cursor = None
    while len(taken) < room and (found := _next_slot(session, cursor)) is not None:
        cursor, slot_id = found
        taken.append(add_job(session, slot_id, endpoint, wait=lease))
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


def _take_waiting(
    session: Session, endpoint: str, room: int, healthy: Sequence[str], mine: Collection[int], lease: float
) -> list[int]:
    rows = session.execute(
        text(
            "WITH due AS MATERIALIZED ("
            "  SELECT j.id FROM comfyui_jobs j JOIN pipeline_runs r ON r.id = j.run_id"
            "  WHERE j.state = 'queued' AND r.status IN ('pending', 'running')"
            "  AND (j.endpoint = :endpoint OR NOT j.endpoint = ANY (:healthy))"
            "  AND (j.not_before IS NULL OR j.not_before <= persona_now()) AND NOT j.id = ANY (:mine)"
            "  ORDER BY j.id LIMIT :room FOR NO KEY UPDATE OF j SKIP LOCKED)"
            " UPDATE comfyui_jobs j SET endpoint = :endpoint, prompt_id = gen_random_uuid(),"
            " not_before = persona_now() + make_interval(secs => :lease)"
            " FROM due WHERE j.id = due.id RETURNING j.id"
        ),
        {"endpoint": endpoint, "healthy": list(healthy), "mine": list(mine), "room": room, "lease": lease},
    )
    return sorted(rows.scalars())


_CLAIMABLE = """
s.state = 'open' AND st.approved_at IS NULL
AND coalesce((SELECT p.status FROM image_candidates p WHERE p.id = s.parent_id), 'active') = 'active'
"""
"""A scalar subquery is looked up by key for each open place; an anti-join may be planned as a scan (R12)."""

RUN = f"""
SELECT r.id, r.status FROM pipeline_runs r
WHERE r.status IN ('pending', 'running') AND r.id > :after AND r.id <= :upto
  AND EXISTS (SELECT FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
              WHERE s.run_id = r.id AND {_CLAIMABLE})
ORDER BY r.id LIMIT 1 FOR NO KEY UPDATE OF r SKIP LOCKED
"""

SLOT = f"""
SELECT s.id FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
WHERE s.run_id = :run AND {_CLAIMABLE}
ORDER BY st.position, s.slot_no, s.id LIMIT 1 FOR NO KEY UPDATE OF s SKIP LOCKED
"""

_LAST_RUN = "SELECT coalesce((SELECT run_id FROM comfyui_jobs ORDER BY id DESC LIMIT 1), 0)"
_ENDLESS = (1 << 63) - 1


def _next_slot(session: Session, cursor: int | None) -> tuple[int, int] | None:
    """The next place to work on, locked, and its run, which comes after the one that was served last."""
    if cursor is None:
        cursor = int(session.execute(text(_LAST_RUN)).scalar_one())
    for after, upto in ((cursor, _ENDLESS), (0, cursor)):
        for run in rows_of(session, RUN, {"after": after, "upto": upto}):
            for slot in rows_of(session, SLOT, {"run": run.id}):
                if run.status == "pending":
                    _begin(session, run.id)
                return run.id, slot.id
    return None


def _begin(session: Session, run_id: int) -> None:
    session.execute(text("UPDATE pipeline_runs SET status = 'running' WHERE id = :run"), {"run": run_id})
    events.emit(session, "run", run_id)
