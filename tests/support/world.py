"""Rows that many tests stand on, made by the services where they exist and by plain SQL elsewhere."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.planning.personas import PersonaView, create_persona
from persona_tui.services.planning.pillars import create_pillar


def make_persona(session: Session, name: str = "Mira", **fields: Any) -> PersonaView:
    """An adult ceramicist."""
    return create_persona(session, {"name": name, "age": 31, "description": "A ceramicist.", **fields})


@dataclass(frozen=True)
class Planned:
    """A persona with a pillar and a cluster that serves it."""

    persona_id: int
    pillar_id: int
    cluster_id: int


def make_plan(session: Session, name: str = "Mira", weight: int = 40) -> Planned:
    """A persona, one pillar, one cluster."""
    persona = make_persona(session, name)
    pillar = create_pillar(session, persona.id, {"name": "Studio", "weight": weight})
    cluster = create_cluster(session, persona.id, {"name": "Wheel"}, pillar_id=pillar.id)
    return Planned(persona.id, pillar.id, cluster.id)


def digest(word: str) -> str:
    """Some SHA-256."""
    return hashlib.sha256(word.encode()).hexdigest()


def insert(session: Session, table: str, **values: Any) -> int:
    """Insert one row by plain SQL and return its id."""
    columns = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join(f":{name}" for name in values)
    statement = text(f"INSERT INTO {table} ({columns}) VALUES ({marks}) RETURNING id")
    return int(session.execute(statement, values).scalar_one())


@dataclass(frozen=True)
class Grown:
    """A run's step with its candidates and their contest."""

    run_id: int
    run_step_id: int
    contest_id: int
    candidates: tuple[int, ...]
    members: tuple[int, ...]


def grow_run(session: Session, plan: Planned | None, pictures: int = 4) -> Grown:
    """A run of a one-step pipeline with so many candidates, as an engine would have left it."""
    tag = uuid.uuid4().hex[:8]
    pipeline = insert(session, "pipelines", name=f"pipeline {tag}")
    version = insert(session, "pipeline_versions", pipeline_id=pipeline, number=1)
    step = insert(session, "pipeline_steps", pipeline_version_id=version, position=1, name="base")
    run = insert(
        session,
        "pipeline_runs",
        pipeline_version_id=version,
        persona_id=plan.persona_id if plan else None,
        cluster_id=plan.cluster_id if plan else None,
        pillar_id=plan.pillar_id if plan else None,
        name=f"run {tag}",
        prompt="a bowl",
        seed=1,
        status="running",
    )
    run_step = insert(
        session,
        "pipeline_run_steps",
        run_id=run,
        pipeline_version_id=version,
        pipeline_step_id=step,
        position=1,
        children_per_parent=pictures,
        top_k=1,
    )
    contest = insert(session, "contests", kind="run_step", run_step_id=run_step)
    candidates = tuple(
        make_candidate(session, run, run_step, plan.persona_id if plan else None, number)
        for number in range(1, pictures + 1)
    )
    members = tuple(
        insert(session, "contest_members", contest_id=contest, image_candidate_id=candidate)
        for candidate in candidates
    )
    return Grown(run, run_step, contest, candidates, members)


def make_candidate(session: Session, run: int, run_step: int, persona_id: int | None, number: int) -> int:
    """One stored candidate of a run's step."""
    slot = insert(
        session, "generation_slots", run_id=run, run_step_id=run_step, slot_no=number, state="filled"
    )
    job = insert(
        session,
        "comfyui_jobs",
        prompt_id=uuid.uuid4(),
        run_id=run,
        run_step_id=run_step,
        slot_id=slot,
        endpoint="http://127.0.0.1:1",
        state="done",
        seed=number,
    )
    return insert(
        session,
        "image_candidates",
        run_id=run,
        run_step_id=run_step,
        persona_id=persona_id,
        slot_id=slot,
        job_id=job,
        media_key=f"{run}-{number}.png",
        sha256=digest(f"{run}-{number}"),
        width=64,
        height=80,
        seed=number,
    )


def make_account(session: Session, persona_id: int, ig_user_id: str = "1784") -> int:
    """A sandbox account; its token opens nothing."""
    return insert(
        session,
        "instagram_accounts",
        persona_id=persona_id,
        environment="sandbox",
        ig_user_id=ig_user_id,
        token_ciphertext=b"-",
        token_key_id="none",
    )


def make_post(
    session: Session, plan: Planned, candidate: int | None, account: int | None, **fields: Any
) -> int:
    """A draft post of one candidate."""
    post = insert(
        session,
        "scheduling_posts",
        persona_id=plan.persona_id,
        environment="sandbox",
        account_id=account,
        pillar_id=plan.pillar_id,
        **fields,
    )
    if candidate is not None:
        insert(
            session,
            "post_items",
            post_id=post,
            persona_id=plan.persona_id,
            image_candidate_id=candidate,
            sha256=digest(f"candidate {candidate}"),
        )
    return post


TOMORROW = timedelta(days=1)
