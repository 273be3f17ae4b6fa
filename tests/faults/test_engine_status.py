"""What the engine tells the screens: servers with their memory, jobs with their places in the queue."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.database.growing import add_run
from tests.faults.engine_child import FAST, World, ledger
from tests.support.sandbox import SandboxProcess

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.services.generation.bench import Bench, Endpoint
from persona_tui.services.generation.clerk import Clerk
from persona_tui.services.generation.following import Follower
from persona_tui.services.generation.gauge import Gauge
from persona_tui.services.generation.jobs import LiveJob
from persona_tui.services.media import MediaStore
from persona_tui.setting_sections import MediaSettings

GIB = 1 << 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(
        tmp_path_factory.mktemp("sandbox"), arguments=("--latency", "0.3", "--image-size", "64x80")
    )
    yield process
    process.stop()


@pytest.fixture
def world(db: Database, server: SandboxProcess, tmp_path: Path) -> World:
    settings = db.settings.model_copy(update={"media": MediaSettings(url=f"file:{tmp_path}/originals")})
    return World(db, server, settings, len(ledger(server, "saved")))


async def test_servers_tell_version_and_memory_and_jobs_their_places(world: World) -> None:
    with world.db.session_scope() as session:
        add_run(session, steps={1: {"children_per_parent": 4}})
    engine, stop = world.engine(FAST), asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    seen: set[tuple[int | None, ...]] = set()
    while (0, 1) not in seen:
        seen.add(tuple(job.queue_position for job in engine.status().jobs))
        await asyncio.sleep(0.005)
    status = engine.status()
    stop.set()
    await running

    (endpoint,) = status.endpoints
    assert (endpoint.version, endpoint.depth) == ("0.8.0", 2)
    assert (endpoint.vram_free, endpoint.vram_total) == (22 * GIB, 24 * GIB)
    assert {job.endpoint for job in status.jobs} == {world.server.comfyui}


async def test_memory_is_read_again_beside_the_work_and_a_failed_reading_changes_nothing(
    server: SandboxProcess,
) -> None:
    gauge = Gauge()
    client = ComfyUIClient(server.comfyui, server.token, timeout=5.0)
    following = asyncio.create_task(gauge.follow(client, lambda: True, seconds=0.01))
    while not gauge.version:
        await asyncio.sleep(0.005)
    asked: list[bool] = []

    def answers() -> bool:
        asked.append(True)
        return True

    nobody = ComfyUIClient("http://127.0.0.1:9", timeout=0.2)
    away = asyncio.create_task(gauge.follow(nobody, answers, seconds=0.01))
    while len(asked) < 3:
        await asyncio.sleep(0.005)
    assert not away.done()
    assert gauge.vram_free == 22 * GIB
    for task in (following, away):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    gauge.forget()
    assert (gauge.version, gauge.vram_free, gauge.vram_total) == ("", None, None)


async def test_others_prompts_count_before_ours(db: Database) -> None:
    endpoint = Endpoint("http://127.0.0.1:9", ComfyUIClient("http://127.0.0.1:9"))
    bench = Bench(endpoint, Clerk(db.session_scope), MediaStore(db.settings), FAST, lambda: datetime.now(UTC))
    follower = Follower(bench, lambda: None, lambda: None)
    first, second, third = (
        LiveJob(number, uuid.uuid4(), 1, 1, number, 1, "submitted", 1, 0.0, None, False, 600, None)
        for number in (1, 2, 3)
    )
    for job in (first, second):
        follower.track(job)
    follower.mark_running(str(first.prompt_id))
    follower.note_pending(("another's", str(second.prompt_id), "one more"))
    assert [job.queue_position for job in follower.job_status()] == [0, 2]
    follower.track(third)  # sent since the last look: behind all that waited then
    assert [job.queue_position for job in follower.job_status()] == [0, 2, 4]
