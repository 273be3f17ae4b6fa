"""kill -9 of the server in the middle of a run: the engine finishes it, and nothing is lost or doubled.

The stand-in always; a real one where PERSONA_TEST_COMFYUI_START says how to start one that may be killed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.faults.engine_child import FAST, KILLED, make_engine
from tests.support import comfyui_loras, comfyui_models
from tests.support.comfyui import (
    Graph,
    Server,
    ended,
    long_graph,
    new_id,
    node,
    painting,
    passed,
    run,
    small_graph,
)
from tests.support.comfyui_loras import FORMATS
from tests.support.comfyui_process import START, ComfyProcess
from tests.support.sandbox import SandboxProcess

from persona_tui.clients.comfyui import Status
from persona_tui.database.engine import Database
from persona_tui.errors import ServiceUnreachable
from persona_tui.services.generation import gates, pipelines, runs
from persona_tui.services.generation.engine import Engine
from persona_tui.services.media import MediaStore
from persona_tui.setting_sections import MediaSettings
from persona_tui.settings import Settings

LORA = "persona-test-run.safetensors"
PATIENT = replace(FAST, timeout=5.0, give_up=600.0, previews=True)
PICTURES = """
SELECT st.position, s.state, array_agg(c.sha256) FILTER (WHERE c.id IS NOT NULL) AS kept
FROM generation_slots s JOIN pipeline_run_steps st ON st.id = s.run_step_id
LEFT JOIN image_candidates c ON c.slot_id = s.id
WHERE s.run_id = :run GROUP BY st.position, s.id ORDER BY st.position, s.id
"""


@pytest.fixture(params=["sandbox", "real"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SandboxProcess | ComfyProcess]:
    """A server that can be killed, with the tiny checkpoint and a LoRA for it."""
    if request.param == "real" and START not in os.environ:
        pytest.skip(f"{START} is not set")
    process: SandboxProcess | ComfyProcess
    if request.param == "real":
        process = ComfyProcess(tmp_path, "sd15")
        models = process.folder / "models"
    else:
        process = SandboxProcess(tmp_path, arguments=("--latency", "0.2", "--image-size", "64x64"))
        models = tmp_path / "comfyui/models"
        model = comfyui_models.CHECKPOINT
        comfyui_models.skeleton(model, models / model.folder / model.name)
    comfyui_loras.write(FORMATS[0], models / "loras" / LORA)
    yield process
    process.stop()


def base() -> Graph:
    """Text to picture with a LoRA on model and texts."""
    graph = painting("{{prompt}}")
    graph["4"]["inputs"]["ckpt_name"] = comfyui_models.CHECKPOINT.name
    graph["20"] = node(
        "LoraLoader", model=["4", 0], clip=["4", 1], lora_name=LORA, strength_model=0.8, strength_clip=0.8
    )
    graph["3"]["inputs"] |= {"seed": "{{seed}}", "model": ["20", 0], "steps": 2}
    graph["6"]["inputs"]["clip"] = graph["7"]["inputs"]["clip"] = ["20", 1]
    graph["9"]["inputs"]["filename_prefix"] = "kills/{{job_id}}"
    return graph


def child() -> Graph:
    """The parent's picture, painted over."""
    graph = base()
    graph["30"] = node("LoadImage", image="{{parent_image}}")
    graph["31"] = node("VAEEncode", pixels=["30", 0], vae=["4", 2])
    graph["3"]["inputs"] |= {"latent_image": ["31", 0], "denoise": 0.6}
    return graph


def three_steps(db: Database) -> int:
    """A run of three steps, three pictures to a parent and three parents to a step."""
    steps = [
        {"name": name, "workflow": workflow, "children_per_parent": 3, "top_k": 3, "timeout": 600}
        for name, workflow in (("base", base()), ("again", child()), ("once more", child()))
    ]
    with db.session_scope() as session:
        pipelines.import_pipeline(session, {"name": "three", "steps": steps})
        made = runs.create_run(session, runs.RunInput.model_validate({"pipeline": "three", "prompt": "tea"}))
        return made.id


def settings_of(db: Database, folder: Path) -> Settings:
    return db.settings.model_copy(update={"media": MediaSettings(url=f"file:{folder}/originals")})


def kept(db: Database, run_id: int) -> dict[int, list[str]]:
    """Position → the pictures of a step; each place that is filled has exactly one."""
    found: dict[int, list[str]] = {}
    with db.session_scope() as session:
        for position, state, pictures in session.execute(text(PICTURES), {"run": run_id}):
            if state == "filled":
                (picture,) = pictures
                found.setdefault(position, []).append(picture)
    return found


async def waiting(db: Database, run_id: int) -> runs.RunDetail:
    """The run once it waits for votes."""
    while True:
        detail = await asyncio.to_thread(_detail, db, run_id)
        assert detail.status in {"pending", "running", "waiting"}, detail.reason
        if detail.status == "waiting":
            return detail
        await asyncio.sleep(0.1)


def _detail(db: Database, run_id: int) -> runs.RunDetail:
    with db.session_scope() as session:
        return runs.run_detail(session, run_id)


async def until_kept(db: Database, run_id: int, count: int) -> None:
    """Wait for so many pictures in all steps together."""
    while sum(map(len, (await asyncio.to_thread(kept, db, run_id)).values())) < count:
        await asyncio.sleep(0.05)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_run_of_three_steps_survives_a_server_killed_in_each_of_them(
    db: Database, server: SandboxProcess | ComfyProcess, tmp_path: Path
) -> None:
    run_id, settings = three_steps(db), settings_of(db, tmp_path)
    engine: Engine = make_engine(settings, db, {server.comfyui: server.token}, PATIENT)
    stop = asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    for position, (first, whole) in enumerate(((1, 3), (4, 12), (13, 21)), 1):
        await until_kept(db, run_id, first)
        assert await asyncio.to_thread(server.kill) == KILLED
        await asyncio.to_thread(server.restart)
        await until_kept(db, run_id, whole)
        detail = await waiting(db, run_id)
        if position < 3:
            with db.session_scope() as session:
                gates.approve(session, detail.steps[position - 1].id, 3, actor="operator")
            engine.wake()
    stop.set()
    await running

    pictures = kept(db, run_id)
    every = [picture for step in pictures.values() for picture in step]
    assert [len(pictures[position]) for position in (1, 2, 3)] == [3, 9, 9]
    assert len(set(every)) == len(every)
    store = MediaStore(settings)
    with db.session_scope() as session:
        rows = session.execute(text("SELECT sha256, media_key FROM image_candidates")).all()
        stored = {row.sha256: row.media_key for row in rows}
        states = session.execute(text("SELECT state, error_message FROM comfyui_jobs")).all()
    assert sorted(stored) == sorted(every)
    assert all(hashlib.sha256(store.get(key)).hexdigest() == sha256 for sha256, key in stored.items())
    assert {row.state for row in states} <= {"done", "lost"}, states
    assert [row.state for row in states].count("done") == 21


@pytest.mark.timeout(900)
async def test_a_kill_loses_queue_and_history_but_no_file(server: SandboxProcess | ComfyProcess) -> None:
    async with Server(server.comfyui, server.token).client() as client:
        done, waiting_one = new_id(), new_id()
        first = await run(client, small_graph(), prompt_id=done)
        await client.submit(passed(long_graph(60)), prompt_id=new_id(), client_id="tests")
        await client.submit(passed(small_graph()), prompt_id=waiting_one, client_id="tests")
        events = client.events("me")
        assert isinstance(await anext(events), Status)
        assert await asyncio.to_thread(server.kill) == KILLED
        with pytest.raises(ServiceUnreachable):
            async for _ in events:
                pass
        async with Server(server.comfyui, server.token).client() as anew:
            with pytest.raises(ServiceUnreachable) as caught:
                await anew.queue()
        assert not caught.value.sent
        await asyncio.to_thread(server.restart)
    async with Server(server.comfyui, server.token).client() as client:
        assert await client.history(done) is None
        assert await client.history(waiting_one) is None
        assert (await client.queue()).running == ()
        again = await client.submit(passed(small_graph()), prompt_id=waiting_one, client_id="tests")
        assert again.number == 0
        assert await client.view(first.files[0])
        second = await ended(client, waiting_one)
    assert second.files[0].filename > first.files[0].filename
