"""Budgets: reserved with the job, set right at its end, and nothing beyond them begins."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.services.generation import budgets, runs, selection, spending
from persona_tui.services.generation.budgets import Change
from persona_tui.services.generation.cancelling import cancel_all, cancel_job, list_generation_jobs
from persona_tui.services.generation.jobs import LiveJob, RetryPolicy, fail, find_job, live_jobs, lose, move
from persona_tui.services.generation.keeping import Fetched, Finished, keep
from persona_tui.services.generation.spending import DailyLimit
from persona_tui.services.media import PictureFacts, StoredPicture
from tests.database.growing import SERVER, add_run, finish, grow, status, take
from tests.database.test_rules import refused
from tests.support.world import digest

AT_ONCE = RetryPolicy(delays=(0.0,))


def counted(session: Session, run_id: int) -> tuple[int, float]:
    """What the run's row says it has spent; it must be what pictures and jobs say."""
    row = session.execute(
        text("SELECT pictures, gpu_seconds FROM run_budgets WHERE run_id = :run"), {"run": run_id}
    ).one()
    view = budgets.budget_of(session, run_id)
    assert (row.pictures, row.gpu_seconds) == (view.pictures, pytest.approx(view.gpu_minutes * 60))
    return row.pictures, row.gpu_seconds


def today(session: Session) -> tuple[int, float]:
    """What was spent today, counted afresh."""
    spending.recount_today(session, DailyLimit())
    row = session.execute(
        text("SELECT pictures, gpu_seconds FROM daily_budgets ORDER BY day DESC LIMIT 1")
    ).one()
    return row.pictures, row.gpu_seconds


def timed(session: Session, job: LiveJob, seconds: float, pictures: int = 1) -> None:
    """The job gave its pictures after so many seconds of the card."""
    assert kept(session, job, pictures, {"seconds": seconds})


def kept(session: Session, job: LiveJob, pictures: int, provenance: dict[str, Any]) -> tuple[int, ...]:
    """The job's pictures are candidates now; their ids."""
    hashes = [digest(f"{job.id}.{index}") for index in range(pictures)]
    facts = PictureFacts("PNG", 64, 80)
    stored = (StoredPicture(f"{sha}.png", sha, 9, facts) for sha in hashes)
    fetched = tuple(Fetched(index, picture) for index, picture in enumerate(stored))
    (made,) = keep(session, [Finished(job, fetched, provenance)])
    return made


def claim_daily(session: Session, limit: DailyLimit, depth: int = 9) -> list[LiveJob]:
    """What an engine under a daily limit takes, noted as sent."""
    taken = []
    for job_id in selection.claim(session, SERVER, depth, healthy=(SERVER,), mine=(), lease=30, daily=limit):
        job = find_job(session, job_id)
        assert job is not None and move(session, job, ("queued",), "submitted")
        taken.append(job)
    return taken


def test_a_run_rests_at_its_pictures_and_says_so_until_the_budget_is_raised(session: Session) -> None:
    run = add_run(session, max_pictures=2, steps={1: {"children_per_parent": 5}})

    assert len(grow(session)) == 2
    resting = runs.run_detail(session, run.id)
    assert resting.status == "paused"
    assert resting.reason == (
        f"Its budget of 2 pictures is spent; raise it with `persona-tui run budget {run.id}`."
    )
    assert counted(session, run.id) == (2, 0)
    assert runs.resume_run(session, run.id).status == "running"
    assert take(session, 1) == []
    assert status(session, run.id) == "paused"

    view = budgets.set_budget(session, run.id, max_pictures=Change(4))
    assert (view.max_pictures, view.pictures) == (4, 2)
    assert status(session, run.id) == "running"
    assert len(grow(session)) == 2
    budgets.set_budget(session, run.id, max_pictures=Change(None))
    assert len(grow(session)) == 1
    assert status(session, run.id) == "waiting"


def test_a_run_within_its_budget_waits_for_votes_as_any_other(session: Session) -> None:
    run = add_run(session, max_pictures=4)

    assert len(grow(session)) == 4
    assert status(session, run.id) == "waiting"


def test_seconds_of_the_card_are_reserved_by_the_last_picture_and_booked_as_measured(
    session: Session,
) -> None:
    run = add_run(session, max_gpu_minutes=1, steps={1: {"children_per_parent": 9}})
    (first,) = take(session, 1)
    assert counted(session, run.id) == (1, 0)
    timed(session, first, 25.0)
    assert counted(session, run.id) == (1, 25)
    (second,) = take(session, 1)
    assert counted(session, run.id) == (2, 50)
    assert take(session, 1) == []
    assert status(session, run.id) == "paused"
    assert "1 GPU minutes" in runs.run_detail(session, run.id).reason
    timed(session, second, 10.0)
    assert counted(session, run.id) == (2, 35)
    assert runs.resume_run(session, run.id).status == "running"
    assert len(take(session, 1)) == 1


def test_a_picture_of_which_nobody_knows_how_long_it_took_costs_what_was_reserved(session: Session) -> None:
    run = add_run(session, max_gpu_minutes=5, steps={1: {"children_per_parent": 9}})
    (unmeasured,) = take(session, 1)
    assert kept(session, unmeasured, 1, {})
    (first,) = take(session, 1)
    assert counted(session, run.id) == (2, 0)
    timed(session, first, 25.0)
    (second,) = take(session, 1)
    session.execute(
        text("UPDATE comfyui_jobs SET started_at = persona_now() - interval '85 s' WHERE id = :id"),
        {"id": second.id},
    )
    assert kept(session, second, 1, {})
    assert counted(session, run.id) == (3, 50)
    take(session, 1)
    assert counted(session, run.id) == (4, 75)


def test_what_ends_without_a_picture_gives_its_reservation_back(session: Session) -> None:
    run = add_run(session, max_pictures=3, steps={1: {"children_per_parent": 3}})
    first, second, third = take(session, 3)
    assert counted(session, run.id) == (3, 0)

    fail(session, first, "Out of memory.", AT_ONCE, seconds=7)
    assert counted(session, run.id) == (3, 7)
    lose(session, second, AT_ONCE)
    assert counted(session, run.id) == (3, 7)
    cancel_job(session, third.id)
    assert counted(session, run.id) == (2, 7)
    for _ in range(3):
        for job in take(session, 1):
            if job.slot_id == first.slot_id:
                fail(session, job, "Out of memory.", AT_ONCE, seconds=1)
            else:
                finish(session, job)
    assert counted(session, run.id) == (1, 10)


def test_further_pictures_of_one_job_count_too(session: Session) -> None:
    run = add_run(session, max_pictures=9)
    (job,) = take(session, 1)
    timed(session, job, 4.0, pictures=3)

    assert counted(session, run.id) == (3, 4)


def test_a_limit_that_is_set_later_starts_from_what_there_is(session: Session) -> None:
    run = add_run(session, steps={1: {"children_per_parent": 6}})
    for job in take(session, 2):
        timed(session, job, 3.0)
    take(session, 1)

    view = budgets.set_budget(session, run.id, max_pictures=Change(4), max_gpu_minutes=Change(2))

    assert (view.pictures, view.gpu_minutes) == (3, pytest.approx(0.1))
    assert counted(session, run.id) == (3, 6)
    assert len(take(session, 5)) == 1


@pytest.mark.parametrize(
    "change", [{"max_pictures": Change(0)}, {"max_gpu_minutes": Change(-1)}, {"max_pictures": Change(10**9)}]
)
def test_a_limit_that_makes_no_sense_is_refused(session: Session, change: dict[str, Change]) -> None:
    run = add_run(session)

    with pytest.raises(InvalidRequest):
        budgets.set_budget(session, run.id, **change)
    runs.cancel_run(session, run.id)
    with pytest.raises(NotAllowedNow):
        budgets.set_budget(session, run.id, max_pictures=Change(3))


def test_the_day_has_a_budget_for_all_runs_together_and_goes_on_tomorrow(session: Session) -> None:
    ids = [add_run(session).id for _ in range(3)]
    limit = DailyLimit(max_pictures=5, zone="UTC")

    jobs = claim_daily(session, limit)
    assert len(jobs) == 5
    assert claim_daily(session, limit) == []
    assert {status(session, run_id) for run_id in ids} == {"running"}
    sentence = spending.today_sentence(session, limit)
    assert sentence is not None
    assert sentence.startswith("Today's budget of 5 pictures is spent; it goes on tomorrow")
    for job in jobs:
        finish(session, job)
    assert today(session) == (5, 0)
    session.execute(text("UPDATE installation SET clock_offset = '1 day'"))
    assert spending.today_sentence(session, limit) is None
    assert len(claim_daily(session, limit)) == 5


def test_the_days_seconds_count_and_failures_give_back(session: Session) -> None:
    add_run(session)
    limit = DailyLimit(max_gpu_seconds=30)
    (first,) = claim_daily(session, limit, depth=1)
    timed(session, first, 20.0)
    assert today(session) == (1, 20)
    assert claim_daily(session, limit) == []  # one more would take 20 s, as the last one did
    roomier = DailyLimit(max_gpu_seconds=45)
    (second,) = claim_daily(session, roomier)
    assert today(session) == (2, 40)
    fail(session, second, "Out of memory.", RetryPolicy(failures=1), seconds=2)
    assert today(session) == (1, 22)
    assert len(claim_daily(session, roomier)) == 1


def test_a_day_is_recounted_from_what_there_is(session: Session) -> None:
    add_run(session, steps={1: {"children_per_parent": 6}})
    for job in take(session, 2):
        timed(session, job, 3.0)
    take(session, 1)
    limit = DailyLimit(max_pictures=4)

    spending.adopt_today(session, limit)

    assert today(session) == (3, 6)
    assert len(claim_daily(session, limit)) == 1


def test_many_engines_never_go_beyond_a_budget(db: Database) -> None:
    with db.session_scope() as session:
        ids = [add_run(session, max_pictures=3, steps={1: {"children_per_parent": 8}}).id for _ in range(3)]
    limit = DailyLimit(max_pictures=7)
    start = threading.Barrier(4)

    def engine(number: int) -> int:
        endpoint, made = f"http://server-{number}", 0
        start.wait()
        for _ in range(6):
            with db.session_scope() as session:
                for job_id in selection.claim(
                    session, endpoint, 2, healthy=(endpoint,), mine=(), lease=30, daily=limit
                ):
                    job = find_job(session, job_id)
                    assert job is not None and move(session, job, ("queued",), "submitted")
            with db.session_scope() as session:
                mine = live_jobs(session, endpoint)
            for job in mine:
                with db.session_scope() as session:
                    made += len(finish(session, job))
        return made

    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(engine, range(4)))

    assert made == 7
    with db.session_scope() as session:
        made_by_run = [counted(session, run_id)[0] for run_id in ids]
        assert (sum(made_by_run), max(made_by_run)) == (7, 3)
        assert today(session)[0] == 7


def test_a_cancelled_job_is_given_up_and_resume_makes_its_picture(session: Session) -> None:
    run = add_run(session, steps={1: {"children_per_parent": 2}})
    first, second = take(session, 2)
    ended = cancel_job(session, first.id)
    finish(session, second)

    assert (ended.state, ended.run_id) == ("cancelled", run.id)
    assert status(session, run.id) == "waiting"
    assert runs.run_detail(session, run.id).steps[0].failed == 1
    with pytest.raises(NotAllowedNow, match="is cancelled"):
        cancel_job(session, first.id)
    with pytest.raises(NotAllowedNow, match="is done"):
        cancel_job(session, second.id)
    runs.resume_run(session, run.id)
    assert len(grow(session)) == 1


def test_everything_is_cancelled_at_once(session: Session) -> None:
    ids = [add_run(session, max_pictures=9).id for _ in range(3)]
    runs.pause_run(session, ids[0])
    take(session, 3)

    assert cancel_all(session) == tuple(ids)

    assert {status(session, run_id) for run_id in ids} == {"cancelled"}
    assert list_generation_jobs(session, live=True) == ()
    assert {job.state for job in list_generation_jobs(session)} == {"cancelled"}
    assert [counted(session, run_id)[0] for run_id in ids] == [0, 0, 0]
    assert cancel_all(session) == ()


def test_the_database_holds_budgets_above_zero(session: Session) -> None:
    run = add_run(session, max_pictures=2)
    for column in ("max_pictures", "max_gpu_seconds"):
        refused(session, f"UPDATE run_budgets SET {column} = 0", f"ck_run_budgets_{column}_range")
    refused(session, "UPDATE run_budgets SET pictures = -1", "ck_run_budgets_spent_range")
    session.execute(text("INSERT INTO daily_budgets (day) VALUES ('2026-01-01')"))
    refused(session, "UPDATE daily_budgets SET pictures = -1", "ck_daily_budgets_spent_range")
    take(session, 1)
    refused(session, "UPDATE comfyui_jobs SET gpu_seconds = -1", "ck_comfyui_jobs_gpu_seconds_range")
    refused(
        session,
        "INSERT INTO comfyui_endpoints (url, boot, queue_number) VALUES ('http://x', 0, 1)",
        "ck_comfyui_endpoints_boot_range",
    )
    assert run.id
