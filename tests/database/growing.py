"""Growing a run's tree without a server: places are claimed and filled as the engine does it."""

from __future__ import annotations

import hashlib

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.models.persona import Persona
from persona_tui.services.generation.jobs import LiveJob, find_job, live_jobs, move
from persona_tui.services.generation.keeping import Fetched, Finished, keep
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.generation.runs import RunInput, RunView, create_run, run_detail
from persona_tui.services.generation.selection import claim
from persona_tui.services.media import PictureFacts, StoredPicture

SERVER = "http://one"


def add_persona(session: Session, name: str = "Ana", **values: object) -> int:
    """A persona of age; returns its id."""
    persona = Persona(name=name, age=30, trigger_word="anaface", **values)
    session.add(persona)
    session.flush()
    return persona.id


def add_run(session: Session, **values: object) -> RunView:
    """A run of the example with two steps: 4 pictures, 1 goes on, 2 children."""
    ensure_examples(session)
    return create_run(session, RunInput.model_validate({"pipeline": "two-step", "prompt": "tea", **values}))


def take(session: Session, count: int, endpoint: str = SERVER) -> list[LiveJob]:
    """Claim up to so many places and note their jobs as sent."""
    taken = []
    depth = len(live_jobs(session, endpoint)) + count
    for job_id in claim(session, endpoint, depth, healthy=(endpoint,), mine=(), lease=30):
        job = find_job(session, job_id)
        assert job is not None
        assert move(session, job, ("queued",), "submitted")
        taken.append(job)
    return taken


def finish(session: Session, job: LiveJob, pictures: int = 1) -> tuple[int, ...]:
    """The job gave so many pictures; returns the candidates' ids."""
    fetched = []
    for index in range(pictures):
        sha256 = hashlib.sha256(f"{job.id}.{index}".encode()).hexdigest()
        fetched.append(Fetched(index, StoredPicture(f"{sha256}.png", sha256, 9, PictureFacts("PNG", 64, 80))))
    (kept,) = keep(session, [Finished(job, tuple(fetched), {"endpoint": SERVER})])
    return kept


def grow(session: Session) -> list[int]:
    """Fill every place that can be filled now; returns the candidates' ids."""
    return [candidate for job in take(session, 64) for candidate in finish(session, job)]


def rate(session: Session, scores: dict[int, int]) -> None:
    """Give candidates their rating."""
    for candidate, score in scores.items():
        update = text("UPDATE image_candidates SET elo_score = :score WHERE id = :id")
        session.execute(update, {"score": score, "id": candidate})


def status(session: Session, run_id: int) -> str:
    """The run's stored status."""
    return run_detail(session, run_id).status
