"""What runs and gates cost before they cost it: pictures by N and K, minutes by what was timed."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.models.pipeline import PipelineRun
from persona_tui.services.generation import estimates, pipelines
from tests.database.growing import add_run, finish, grow, take


def version_of(session: Session, run_id: int) -> int:
    return session.get_one(PipelineRun, run_id).pipeline_version_id


def time_pictures(session: Session, candidates: list[int], *seconds: float) -> None:
    """Say how long these pictures took."""
    for candidate, taken in zip(candidates, seconds, strict=True):
        session.execute(
            text(
                "UPDATE image_candidates SET provenance = jsonb_build_object('seconds', :taken)"
                " WHERE id = :id"
            ),
            {"id": candidate, "taken": taken},
        )


@pytest.mark.parametrize(
    ("steps", "pictures"),
    [
        ([], ()),
        ([(4, 1)], (4,)),
        ([(3, 3), (3, 3), (3, 1)], (3, 9, 9)),
        ([(2, 5), (4, 3), (1, 1)], (2, 8, 3)),
    ],
)
def test_a_step_makes_its_n_for_each_picture_that_goes_on(
    steps: list[tuple[int, int]], pictures: tuple[int, ...]
) -> None:
    assert estimates.growth(steps) == pictures


def test_a_picture_takes_the_median_of_the_last_ones(session: Session) -> None:
    run = add_run(session)
    version = version_of(session, run.id)
    assert estimates.picture_seconds(session, version) == {1: None, 2: None}

    time_pictures(session, grow(session), 2.0, 3.0, 4.0, 60.0)

    assert estimates.picture_seconds(session, version) == {1: 3.5, 2: None}


def test_only_the_newest_pictures_tell(session: Session) -> None:
    run = add_run(session, steps={1: {"children_per_parent": 60}})
    candidates = [candidate for job in take(session, 60) for candidate in finish(session, job)]
    time_pictures(session, candidates, *[900.0] * 10, *[6.0] * estimates.RECENT)

    assert estimates.picture_seconds(session, version_of(session, run.id))[1] == 6.0


def test_a_version_that_never_ran_is_judged_by_the_one_before(session: Session) -> None:
    add_run(session)
    time_pictures(session, grow(session), 6.0, 6.0, 6.0, 6.0)
    plan = pipelines.export_pipeline(session, "two-step")
    pipelines.import_pipeline(session, plan.model_copy(update={"steps": (*plan.steps[:1], plan.steps[0])}))
    newer = add_run(session)
    assert newer.pipeline_version == 2

    assert estimates.picture_seconds(session, version_of(session, newer.id)) == {1: 6.0, 2: None}
    time_pictures(session, grow(session), 9.0, 9.0, 9.0, 9.0)
    assert estimates.picture_seconds(session, version_of(session, newer.id))[1] == 9.0


def test_a_runs_cost_is_pictures_and_minutes_and_says_what_it_does_not_know(session: Session) -> None:
    run = add_run(session)
    time_pictures(session, grow(session), 6.0, 6.0, 6.0, 6.0)

    cost = estimates.run_cost(session, version_of(session, run.id), [(10, 2), (5, 1)])

    assert [(step.pictures, step.minutes) for step in cost.steps] == [(10, 1.0), (10, None)]
    assert (cost.pictures, cost.minutes) == (20, None)
    assert estimates.cost_of({1: 10, 2: 10}, {1: 6.0, 2: 12.0}).minutes == pytest.approx(3.0)
    assert estimates.cost_of({2: 0}, {2: None}).minutes == 0
