"""What a run says of its places: made, on a server, or waiting; and what of its budget is only reserved."""

from __future__ import annotations

from sqlalchemy import event
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.services.generation import budgets, runs, selection
from persona_tui.services.generation.barring import hand_over, stop_runs
from persona_tui.services.generation.jobs import find_job
from tests.database.growing import SERVER, add_run, finish, take


def test_jobs_that_no_server_was_sent_are_queued_and_not_under_way(session: Session) -> None:
    run = add_run(session)
    first, second = take(session, 2)
    step = runs.run_detail(session, run.id).current
    assert (step.in_flight, step.queued, step.sent) == (2, 0, 2)
    finish(session, first)
    selection.claim(session, SERVER, 2, healthy=(SERVER,), mine=(), lease=30)
    step = runs.run_detail(session, run.id).current
    assert (step.active, step.in_flight, step.queued, step.sent) == (1, 2, 1, 1)
    finish(session, second)
    step = runs.run_detail(session, run.id).current
    assert (step.active, step.in_flight, step.queued, step.sent) == (2, 1, 1, 0)


def test_a_run_that_no_server_can_do_has_nothing_under_way(session: Session) -> None:
    run = add_run(session)
    for job_id in selection.claim(session, SERVER, 2, healthy=(SERVER,), mine=(), lease=30):
        job = find_job(session, job_id)
        assert job is not None
        hand_over(session, job)
    stop_runs(session, {run.current.id: "No server has the model."})
    ended = runs.run_detail(session, run.id)
    assert (ended.status, ended.current.in_flight, ended.current.sent) == ("failed", 2, 0)


def test_what_is_reserved_is_told_apart_from_what_is_made(session: Session) -> None:
    run = add_run(session, max_pictures=5)
    first, _second = take(session, 2)
    spent = budgets.budget_of(session, run.id)
    assert (spent.pictures, spent.made, spent.reserved) == (2, 0, 2)
    finish(session, first)
    spent = budgets.budget_of(session, run.id)
    assert (spent.pictures, spent.made, spent.reserved) == (2, 1, 1)


def test_a_run_does_not_wait_for_votes_beside_counts_of_before(db: Database) -> None:
    with db.session_scope() as session:
        run = add_run(session, steps={1: {"children_per_parent": 2}})
        first, second = take(session, 2)
        finish(session, first)
    left = [second]

    def finish_the_other(*_: object) -> None:
        if left:
            with db.session_scope() as beside:
                finish(beside, left.pop())

    with db.session_scope() as session:
        event.listen(session.connection(), "after_cursor_execute", finish_the_other)
        seen = runs.run_detail(session, run.id)

    assert not left
    assert (seen.status, seen.current.active) in {("running", 1), ("waiting", 2)}
