"""R6: a job exists if and only if the transaction that asked for it committed."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow, UnknownName
from persona_tui.services import jobs
from tests.support.world import make_persona


def waiting(db: Database) -> int:
    with db.session_scope() as session:
        return session.execute(
            text("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'")
        ).scalar_one()


def test_r06_a_job_commits_and_rolls_back_with_its_transaction(db: Database) -> None:
    with db.session_scope() as session:
        jobs.defer(session, "library:analyse_persona", persona_id=1)
    assert waiting(db) == 1
    with pytest.raises(RuntimeError), db.session_scope() as session:
        jobs.defer(session, "library:analyse_persona", persona_id=2)
        raise RuntimeError
    assert waiting(db) == 1


def test_r06_a_second_of_the_same_kind_spoils_nothing(db: Database) -> None:
    with db.session_scope() as session:
        assert jobs.defer(session, "library:analyse_persona", once="photo 1", persona_id=1) is not None
        assert jobs.defer(session, "library:analyse_persona", once="photo 1", persona_id=1) is None
        make_persona(session)
    assert waiting(db) == 1
    with db.session_scope() as session:
        assert session.execute(text("SELECT count(*) FROM personas")).scalar_one() == 1


async def test_r06_tasks_can_be_deferred_while_the_worker_app_is_open(db: Database) -> None:
    app = jobs.make_worker_app(db.conninfo())
    async with app.open_async():
        with db.session_scope() as session:
            jobs.defer(session, "library:analyse_persona", persona_id=1)
        assert waiting(db) == 1
        assert await jobs.rescue_stalled(app) == 0


def test_a_waiting_job_is_cancelled_and_a_failed_one_is_run_again(db: Database) -> None:
    with db.session_scope() as session:
        job = jobs.defer(session, "library:analyse_persona", persona_id=1)
        assert job is not None
    with pytest.raises(NotAllowedNow), db.session_scope() as session:
        jobs.retry_job(session, job)
    with db.session_scope() as session:
        session.execute(text("UPDATE procrastinate_jobs SET status = 'failed'"))
        jobs.retry_job(session, job)
        jobs.cancel_job(session, job)
        (view,) = jobs.list_jobs(session)
        assert (view.status, view.task) == ("cancelled", "library:analyse_persona")
    with pytest.raises(UnknownName), db.session_scope() as session:
        jobs.cancel_job(session, 10_000)


async def test_a_stalled_job_whose_like_waits_makes_room_for_it(db: Database) -> None:
    with db.session_scope() as session:
        stalled = jobs.defer(session, "library:analyse", once="faces", alone="faces")
        session.execute(text("UPDATE procrastinate_jobs SET status = 'doing'"))
        waiting_one = jobs.defer(session, "library:analyse", once="faces", alone="faces")
    app = jobs.make_worker_app(db.conninfo())
    async with app.open_async():
        assert await jobs.rescue_stalled(app, seconds=0) == 1
    with db.session_scope() as session:
        states = {view.id: view.status for view in jobs.list_jobs(session)}
    assert states == {stalled: "aborted", waiting_one: "todo"}
