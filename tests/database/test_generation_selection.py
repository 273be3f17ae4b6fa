"""What an endpoint works on next: whose turn it is, no place twice, and cheap when nothing can run."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.services.generation import gates, raffle, runs, selection
from persona_tui.services.generation.jobs import (
    RetryPolicy,
    fail,
    find_job,
    live_jobs,
    lose,
    move,
    requeue,
    unwanted_prompts,
)
from tests.database.growing import SERVER, add_run, finish, grow, take

OTHER = "http://other"


def claim(
    session: Session, endpoint: str = SERVER, depth: int = 2, healthy: tuple[str, ...] = (SERVER,)
) -> list[int]:
    return list(selection.claim(session, endpoint, depth, healthy=healthy, mine=(), lease=30))


def test_runs_take_turns_and_step_one_fills_without_a_gate(session: Session) -> None:
    ids = [add_run(session).id for _ in range(3)]

    served = [job.run_id for job in take(session, 7)]

    assert served == [*ids, *ids, ids[0]]


def test_a_turn_survives_a_restart_since_the_jobs_tell_whose_it_was(session: Session) -> None:
    first, second = add_run(session).id, add_run(session).id
    served = [job.run_id for _ in range(4) for job in take(session, 1)]

    assert served == [first, second, first, second]


def test_every_parent_gets_one_picture_before_any_gets_two(session: Session) -> None:
    run = add_run(session, steps={1: {"children_per_parent": 3}})
    grow(session)
    members = gates.approve(session, run.steps[0].id, 3, actor="operator").candidate_ids

    order = session.execute(
        text(
            "SELECT s.parent_id FROM comfyui_jobs j JOIN generation_slots s ON s.id = j.slot_id"
            " WHERE j.id = ANY (:ids) ORDER BY j.id"
        ),
        {"ids": [job.id for job in take(session, 6)]},
    )
    served = list(order.scalars())
    assert sorted(served[:3]) == sorted(served[3:]) == sorted(members)


def test_a_queue_is_filled_to_its_depth_and_no_further(session: Session) -> None:
    add_run(session)

    assert len(claim(session, depth=2)) == 2
    for job in live_jobs(session, SERVER):
        move(session, job, ("queued",), "submitted")
    assert claim(session, depth=2) == []
    finish(session, live_jobs(session, SERVER)[0])
    assert len(claim(session, depth=2)) == 1


def test_what_one_took_nobody_else_takes_until_its_lease_is_over(session: Session) -> None:
    add_run(session, steps={1: {"children_per_parent": 1}})
    (job_id,) = selection.claim(session, SERVER, 2, healthy=(SERVER,), mine=(), lease=30)

    assert claim(session) == []
    session.execute(text("UPDATE comfyui_jobs SET not_before = persona_now() - interval '1 second'"))
    before = find_job(session, job_id)
    assert claim(session) == [job_id]
    after = find_job(session, job_id)
    assert before is not None and after is not None
    assert before.prompt_id != after.prompt_id
    assert not move(session, before, ("queued",), "submitting")


def test_a_waiting_job_moves_to_another_endpoint_only_when_its_own_is_away(session: Session) -> None:
    add_run(session, steps={1: {"children_per_parent": 1}})
    (job,) = take(session, 1)
    assert requeue(session, job)

    assert claim(session, OTHER, healthy=(SERVER, OTHER)) == []
    assert claim(session, OTHER, healthy=(OTHER,)) == [job.id]
    assert [one.id for one in live_jobs(session, OTHER)] == [job.id]


def test_a_lost_job_is_written_down_and_its_place_gets_another_with_the_same_seed(session: Session) -> None:
    add_run(session, steps={1: {"children_per_parent": 1}})
    (job,) = take(session, 1)
    row = text("SELECT state, seed, slot_id, error_message FROM comfyui_jobs WHERE id = :id")

    assert lose(session, job, RetryPolicy())

    lost = session.execute(row, {"id": job.id}).one()
    (again,) = live_jobs(session, SERVER)
    fresh = session.execute(row, {"id": again.id}).one()
    assert (lost.state, lost.error_message) == ("lost", "The server forgot it.")
    assert (fresh.state, fresh.seed, fresh.slot_id) == ("queued", lost.seed, lost.slot_id)
    assert again.prompt_id != job.prompt_id
    assert unwanted_prompts(session, SERVER, [str(job.prompt_id)]) == (str(job.prompt_id),)
    assert not lose(session, job, RetryPolicy())
    assert finish(session, job) == ()


def test_a_job_that_ends_the_server_each_time_is_given_up_after_four_tries(session: Session) -> None:
    run = add_run(session, steps={1: {"children_per_parent": 1}})
    policy = RetryPolicy(delays=(0.0,))
    for _ in range(4):
        (job,) = take(session, 1)
        move(session, job, ("submitted",), "running")
        (running,) = live_jobs(session, SERVER)
        assert lose(session, running, policy)

    ended = runs.run_detail(session, run.id)
    assert ended.status == "failed"
    assert ended.reason == "Step 1: The server ended each time while it made this picture."


def test_a_retry_waits_a_little_longer_each_time(session: Session) -> None:
    add_run(session, steps={1: {"children_per_parent": 1}})
    policy = RetryPolicy(failures=9)
    waits = []
    for _ in range(5):
        (job,) = take(session, 1)
        fail(session, job, "Out of memory.", policy)
        assert claim(session) == []
        wait = "SELECT round(extract(epoch FROM not_before - persona_now())) FROM comfyui_jobs"
        waits.append(int(session.execute(text(f"{wait} WHERE state = 'queued'")).scalar_one()))
        session.execute(text("UPDATE comfyui_jobs SET not_before = NULL WHERE state = 'queued'"))

    assert waits == [1, 4, 15, 60, 60]


def test_r09_many_engines_at_once_never_take_a_place_twice_nor_overfill_a_queue(db: Database) -> None:
    with db.session_scope() as session:
        ids = [add_run(session, steps={1: {"children_per_parent": 5}}).id for _ in range(4)]
    start = threading.Barrier(4)
    depths: list[int] = []

    def engine(number: int) -> list[int]:
        endpoint = f"http://server-{number % 2}"
        taken: list[int] = []
        start.wait()
        while True:
            with db.session_scope() as session:
                claimed = selection.claim(session, endpoint, 3, healthy=(endpoint,), mine=(), lease=30)
                for job_id in claimed:
                    job = find_job(session, job_id)
                    assert job is not None
                    move(session, job, ("queued",), "submitted")
                depths.append(len(live_jobs(session, endpoint)))
            if not claimed:
                return taken
            taken += claimed
            with db.session_scope() as session:
                for job in live_jobs(session, endpoint):
                    finish(session, job)

    with ThreadPoolExecutor(4) as pool:
        taken = [job_id for one in pool.map(engine, range(4)) for job_id in one]

    assert len(taken) == len(set(taken)) == 20
    assert max(depths) <= 3
    with db.session_scope() as session:
        counts = {run_id: runs.run_detail(session, run_id).steps[0].active for run_id in ids}
        states = session.execute(text("SELECT state FROM comfyui_jobs")).scalars()
        assert Counter(states) == {"done": 20}
    assert set(counts.values()) == {5}


@pytest.mark.long
def test_r12_selection_with_500_gated_runs_scans_neither_candidates_nor_places(db: Database) -> None:
    with db.session_scope() as session:
        gated = add_run(session).id
        grow(session)
        _multiply(session, gated, 499)
    with db.connect("owner", autocommit=True) as owner:
        owner.execute("ANALYZE")

    with db.session_scope() as session:
        plans = [
            "\n".join(session.execute(text(f"EXPLAIN {statement}"), values).scalars())
            for statement, values in (
                (selection.TURNS, {"passed": [], "barred": [], "count": 8}),
                (raffle.FAMILIES, {"runs": [gated], "barred": [], "most": 8}),
            )
        ]
        waiting = runs.list_runs(session, states=["waiting"], limit=1000)
        claimed = claim(session)

    assert (len(waiting), claimed) == (500, [])
    for plan in plans:
        for table in ("image_candidates", "generation_slots", "comfyui_jobs", "pipeline_runs"):
            assert f"Seq Scan on {table}" not in plan


def _multiply(session: Session, run_id: int, copies: int) -> None:
    """Copy a run with its steps, places and pictures so many times."""
    for number in range(copies):
        new = session.execute(
            text(
                "INSERT INTO pipeline_runs (pipeline_version_id, name, prompt, seed, status)"
                " SELECT pipeline_version_id, :name, prompt, seed, status FROM pipeline_runs WHERE id = :run"
                " RETURNING id"
            ),
            {"run": run_id, "name": f"copy {number}"},
        ).scalar_one()
        session.execute(
            text(
                "WITH step AS (INSERT INTO pipeline_run_steps (run_id, pipeline_version_id, pipeline_step_id,"
                "  position, children_per_parent, top_k) SELECT :new, pipeline_version_id, pipeline_step_id,"
                "  position, children_per_parent, top_k FROM pipeline_run_steps WHERE run_id = :run"
                "  RETURNING id, position)"
                " INSERT INTO generation_slots (run_id, run_step_id, slot_no, state)"
                " SELECT :new, step.id, n, 'filled' FROM step, generate_series(1, 4) n"
                " WHERE step.position = 1"
            ),
            {"run": run_id, "new": new},
        )
    session.execute(
        text(
            "WITH job AS (INSERT INTO comfyui_jobs"
            "  (prompt_id, run_id, run_step_id, slot_id, endpoint, state, seed)"
            "  SELECT gen_random_uuid(), run_id, run_step_id, id, 'x', 'done', 1 FROM generation_slots s"
            "  WHERE NOT EXISTS (SELECT FROM comfyui_jobs j WHERE j.slot_id = s.id)"
            "  RETURNING id, run_id, run_step_id, slot_id)"
            " INSERT INTO image_candidates"
            "  (run_id, run_step_id, slot_id, job_id, media_key, sha256, width, height, seed)"
            " SELECT run_id, run_step_id, slot_id, id, 'k', repeat('0', 64), 1, 1, 1 FROM job"
        )
    )
