"""A persona's taste on a real database: learnt from votes, and a start for the next contest."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.services import jobs
from persona_tui.services.voting import contest, predictions
from persona_tui.services.voting.state import load
from persona_tui.services.voting.taste import learn
from persona_tui.settings import Settings
from tests.support.library import Workshop
from tests.support.world import Grown, Planned, grow_run, insert, make_plan

MODEL = "sha256:test"
PICTURES = 24


def vector_of(liking: float, rng: np.random.Generator) -> str:
    """A unit vector of which one direction is what the voter likes."""
    vector = rng.normal(size=512)
    vector[7] = 12 * liking
    return "[" + ",".join(f"{value:.5f}" for value in vector / np.linalg.norm(vector)) + "]"


def grow(session: Session, plan: Planned, likings: np.ndarray, rng: np.random.Generator) -> Grown:
    """A run of the persona whose pictures have embeddings."""
    run = grow_run(session, plan, pictures=len(likings))
    for candidate, liking in zip(run.candidates, likings, strict=True):
        insert(
            session,
            "embeddings",
            persona_id=plan.persona_id,
            image_candidate_id=candidate,
            model="test",
            model_hash=MODEL,
            vector=vector_of(float(liking), rng),
        )
    return run


def test_library_6_a_taste_learnt_from_votes_starts_the_next_contest(session: Session) -> None:
    rng, plan = np.random.default_rng(5), make_plan(session)
    persona = plan.persona_id
    likings = rng.normal(size=PICTURES)
    run = grow(session, plan, likings, rng)
    assert predictions.material(session, persona, MODEL) is None
    sitting = uuid.uuid4()
    for _ in range(predictions.LEAST_VOTES + 30):
        left, right = rng.choice(PICTURES, 2, replace=False).tolist()
        better = left if likings[left] > likings[right] else right
        shown = (run.members[left], run.members[right])
        contest.cast(session, run.contest_id, shown, run.members[better], sitting=sitting)
    found = predictions.material(session, persona, MODEL)
    assert found is not None and found.vectors.shape == (PICTURES, 512) and len(found.chosen) == 60
    predictions.keep(session, persona, MODEL, found, learn(found.vectors, found.shown, found.chosen))
    assert predictions.material(session, persona, MODEL) is None, "nothing new was voted"

    fresh = rng.normal(size=PICTURES)
    other = grow(session, plan, fresh, rng)
    assert predictions.predict(session, persona, MODEL) == 1, "the voted contest is left alone"
    means = load(session, other.contest_id).belief.mean
    assert np.corrcoef(means, fresh)[0, 1] > 0.6
    stored = session.execute(
        text("SELECT elo_score FROM image_candidates WHERE id = ANY(:ids) ORDER BY id"),
        {"ids": list(other.candidates)},
    ).scalars()
    assert list(stored) == [round(1000 + 173.72 * mean) for mean in means]
    assert load(session, other.contest_id).unseen() == frozenset()
    assert predictions.predict(session, persona, MODEL) == 0, "nothing changes twice"
    told = predictions.tastes(session, persona)
    assert [(one.votes, one.predicted) for one in told] == [(60, 1)]


def test_library_6_a_job_learns_and_predicts(db: Database, settings: Settings) -> None:
    rng, workshop = np.random.default_rng(8), Workshop()
    with db.session_scope() as session:
        plan = make_plan(session)
        likings = rng.normal(size=PICTURES)
        run = grow(session, plan, likings, rng)
        for _ in range(predictions.LEAST_VOTES):
            left, right = rng.choice(PICTURES, 2, replace=False).tolist()
            better = left if likings[left] > likings[right] else right
            shown = (run.members[left], run.members[right])
            contest.cast(session, run.contest_id, shown, run.members[better], sitting=uuid.uuid4())
        grow(session, plan, likings, rng)
        jobs.defer(session, "voting:predict", persona_id=plan.persona_id, model_hash=MODEL)
    workshop.work(db, settings)
    workshop.close()
    with db.session_scope() as session:
        told = predictions.tastes(session, plan.persona_id)
        assert [(one.votes, one.predicted) for one in told] == [(predictions.LEAST_VOTES, 1)]
        assert session.execute(text("SELECT count(predicted) FROM contest_members")).scalar_one() == PICTURES


def test_library_6_an_embedding_of_another_model_is_never_asked(session: Session) -> None:
    rng, plan = np.random.default_rng(6), make_plan(session)
    grow(session, plan, rng.normal(size=4), rng)
    assert predictions.predict(session, plan.persona_id, "sha256:other") == 0
    assert session.execute(text("SELECT count(predicted) FROM contest_members")).scalar_one() == 0


def test_library_6_weights_follow_the_choices_and_shrink_without_any() -> None:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(40, 8)).astype(np.float32)
    shown = np.array([[*rng.choice(40, 3, replace=False), -1] for _ in range(200)])
    chosen = np.array([int(np.argmax(vectors[row[:3], 2])) for row in shown])
    weights = learn(vectors, shown, chosen)
    assert weights.argmax() == 2 and weights[2] > 3 * np.abs(np.delete(weights, 2)).max()
    assert learn(vectors, shown[:0], chosen[:0]) == pytest.approx(np.zeros(8))
