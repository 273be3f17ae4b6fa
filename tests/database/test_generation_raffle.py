"""Which parent is served next: breadth first, then a draw in proportion to the ratings; failed ones rest."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.generation import gates
from persona_tui.services.generation.jobs import LiveJob, RetryPolicy, fail, find_job, live_jobs, move
from persona_tui.services.generation.rejection import reject
from persona_tui.services.generation.selection import claim
from tests.database.growing import SERVER, add_run, finish, grow, rate, take

AT_ONCE = RetryPolicy(delays=(0.0,), failures=9)


def approved(session: Session, *scores: int, seed: int = 1, children: int = 3) -> tuple[int, dict[int, int]]:
    """A run whose first step let pictures with these ratings through; its id, and rating → candidate."""
    steps = {1: {"children_per_parent": len(scores)}, 2: {"children_per_parent": children}}
    run = add_run(session, seed=seed, steps=steps)
    candidates = grow(session)
    rate(session, dict(zip(candidates, scores, strict=True)))
    gates.approve(session, run.steps[0].id, len(scores), actor="operator")
    return run.id, dict(zip(scores, candidates, strict=True))


def parent_of(session: Session, job: LiveJob) -> int:
    query = text("SELECT parent_id FROM generation_slots WHERE id = :id")
    return int(session.execute(query, {"id": job.slot_id}).scalar_one())


@pytest.mark.long
def test_the_first_draw_falls_in_proportion_to_the_ratings(session: Session) -> None:
    run_id, by_score = approved(session, 1200, 800)
    drawn: Counter[int] = Counter()
    for seed in range(400):
        values = {"run": run_id, "seed": seed}
        session.execute(text("UPDATE pipeline_runs SET seed = :seed WHERE id = :run"), values)
        with session.begin_nested() as draw:
            drawn[parent_of(session, take(session, 1)[0])] += 1
            draw.rollback()

    # 60 % of 400 is 240; five standard deviations are 49. The seeds are fixed: it is the same each time.
    assert 191 <= drawn[by_score[1200]] <= 289
    assert sum(drawn.values()) == 400


def test_the_same_seed_draws_alike_and_another_does_not(session: Session) -> None:
    orders = []
    for seed in (5, 5, 6, 7, 8):
        _, by_score = approved(session, 1010, 1005, 1000, 995, seed=seed)
        ranks = {candidate: rank for rank, candidate in enumerate(by_score.values())}
        orders.append([ranks[parent_of(session, job)] for job in take(session, 12)])
        for job in live_jobs(session, SERVER):
            finish(session, job)

    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) > 2
    for order in orders:
        assert [sorted(order[start : start + 4]) for start in (0, 4, 8)] == [[0, 1, 2, 3]] * 3


def test_those_with_the_fewest_pictures_come_first_whatever_place_is_free(session: Session) -> None:
    _, by_score = approved(session, 1100, 900)
    first = {parent_of(session, job): finish(session, job) for job in take(session, 4)}
    strong, weak = by_score[1100], by_score[900]
    reject(session, first[strong][0])
    reject(session, first[weak][0])
    (job,) = take(session, 1)
    served = parent_of(session, job)
    finish(session, job)

    assert parent_of(session, take(session, 1)[0]) == ({strong, weak} - {served}).pop()


def test_a_rating_of_nothing_or_below_still_takes_part(session: Session) -> None:
    _, by_score = approved(session, 0, -50, children=1)

    assert {parent_of(session, job) for job in take(session, 2)} == set(by_score.values())


def one(session: Session) -> LiveJob:
    """The one job that comes next."""
    held = sum(job.state != "queued" for job in live_jobs(session, SERVER))
    (job_id,) = claim(session, SERVER, held + 1, healthy=(SERVER,), mine=(), lease=30)
    job = find_job(session, job_id)
    assert job is not None and move(session, job, ("queued",), "submitted")
    return job


def test_a_parent_that_failed_three_times_rests_while_others_want_something(session: Session) -> None:
    _, by_score = approved(session, 5000, 1, children=2)
    strong, weak = by_score[5000], by_score[1]
    for _ in range(3):
        job = one(session)
        assert parent_of(session, job) == strong, "the draw of this seed begins with the strong one"
        fail(session, job, "Out of memory.", AT_ONCE)

    served = [parent_of(session, one(session)) for _ in range(4)]

    assert served == [weak, weak, strong, strong]


def test_a_lonely_parent_that_failed_is_tried_again(session: Session) -> None:
    _, by_score = approved(session, 1000, children=1)
    for _ in range(5):
        job = one(session)
        assert parent_of(session, job) == by_score[1000]
        fail(session, job, "Out of memory.", AT_ONCE)

    assert parent_of(session, one(session)) == by_score[1000]
