"""What is about to be sent: a job's workflow filled, or refused with step, node, input and variable."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.services.generation import pipelines, runs
from persona_tui.services.generation.bench import Bench, Endpoint, EngineOptions
from persona_tui.services.generation.clerk import Clerk
from persona_tui.services.generation.gates import approve
from persona_tui.services.generation.selection import claim
from persona_tui.services.generation.submission import Ready, load_works, make_ready
from persona_tui.services.media import MediaStore
from tests.database.growing import grow
from tests.support.sandbox import SandboxProcess, sandbox

__all__ = ["sandbox"]

NOW = datetime(2026, 3, 14, 12, 0, 0, 123_000, tzinfo=UTC)


def step(name: str, prefix: str) -> dict[str, Any]:
    """A step that makes a plain picture under this prefix."""
    image = {"width": "{{side}}", "height": 64, "batch_size": 1, "color": "{{seed_color}}"}
    saved = {"images": ["1", 0], "filename_prefix": prefix}
    workflow = {
        "1": {"class_type": "EmptyImage", "inputs": image},
        "9": {"class_type": "SaveImage", "inputs": saved},
    }
    return {"name": name, "workflow": workflow, "children_per_parent": 1}


PIPELINE = {
    "name": "plain",
    "steps": [step("base", "x/{{timestamp}}-{{timestamp_ms}}"), step("more", "x{{parent_image_path}}")],
}


def make_bench(db: Database, sandbox: SandboxProcess) -> Bench:
    """One endpoint, its clock at NOW."""
    client = ComfyUIClient(sandbox.comfyui, sandbox.token)
    endpoint = Endpoint(sandbox.comfyui, client)
    return Bench(endpoint, Clerk(db.session_scope), MediaStore(db.settings), EngineOptions(), lambda: NOW)


def begin(db: Database) -> int:
    """A run of two steps."""
    with db.session_scope() as session:
        pipelines.import_pipeline(session, PIPELINE)
        plan = {"pipeline": "plain", "prompt": "tea", "variables": {"side": "64"}}
        return runs.create_run(session, plan).id


async def ready(db: Database, bench: Bench) -> tuple[Ready, ...]:
    """What the next places' jobs are about to send."""
    with db.session_scope() as session:
        ids = claim(session, bench.url, 4, healthy=(bench.url,), mine=(), lease=30)
        works = load_works(session, list(ids))
    assert works
    return await make_ready(bench, works)


async def test_moments_are_filled_and_the_parent_s_path_needs_no_upload(
    db: Database, sandbox: SandboxProcess
) -> None:
    run, bench = begin(db), make_bench(db, sandbox)
    (first,) = await ready(db, bench)
    prefix = first.workflow.value["9"]["inputs"]["filename_prefix"]
    assert prefix.startswith("x/1773489600-1773489600123_")
    assert first.workflow.value["1"]["inputs"]["width"] == 64

    with db.session_scope() as session:
        session.execute(text("UPDATE comfyui_jobs SET state = 'cancelled'"))
        session.execute(text("UPDATE generation_slots SET state = 'open'"))
        grow(session)
        approve(session, runs.run_detail(session, run).steps[0].id, 1, actor="operator")
        key = session.execute(text("SELECT media_key FROM image_candidates")).scalar_one()
    (second,) = await ready(db, bench)
    path = bench.media.path(key)
    assert path is not None
    prefix = second.workflow.value["9"]["inputs"]["filename_prefix"]
    assert prefix.startswith(f"x{path.absolute()}_") and Path(prefix[1:]).is_absolute()
    assert bench.uploads == {}


async def test_a_variable_that_went_missing_fails_the_job_with_its_place(
    db: Database, sandbox: SandboxProcess
) -> None:
    run, bench = begin(db), make_bench(db, sandbox)
    with db.session_scope() as session:
        session.execute(text("UPDATE pipeline_runs SET variables = '{}' WHERE id = :id"), {"id": run})

    assert await ready(db, bench) == ()

    with db.session_scope() as session:
        state, error = session.execute(text("SELECT state, error_message FROM comfyui_jobs")).one()
    assert state == "failed"
    assert error == "Step 1, base: Node 1, input width: the variable {{side}} has no value."
