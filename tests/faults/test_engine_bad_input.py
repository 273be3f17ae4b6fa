"""What servers, proxies and disks throw at the engine: it says what is wrong, loses nothing, and goes on."""

from __future__ import annotations

import asyncio
import copy
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.faults.engine_child import FAST, World, is_busy, ledger, make_engine, originals
from tests.faults.test_engine import new_run, server, view, world
from tests.support.comfyui_proxy import proxy_to
from tests.support.sandbox import SandboxProcess

from persona_tui.services.generation import pipelines, runs
from persona_tui.services.generation.engine import Engine

__all__ = ["server", "world"]

CHECKPOINT = "sd_xl_base_1.0.safetensors"
HTML = "<html><body><h1>Sign in</h1></body></html>"


def refused(kind: str, **extra: Any) -> dict[str, Any]:
    """The body of a refusal with one finding at node 4."""
    finding = {
        "type": kind,
        "message": "m",
        "details": "width",
        "extra_info": {"input_name": "width", **extra},
    }
    node = {"4": {"errors": [finding], "dependent_outputs": ["9"], "class_type": "EmptyLatentImage"}}
    error = {"type": "prompt_outputs_failed_validation", "message": "m", "details": "", "extra_info": {}}
    return {"error": error, "node_errors": node}


def broken(kind: str, message: str, details: str = "") -> dict[str, Any]:
    """The body of a refusal of the whole prompt."""
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return {"error": error, "node_errors": {}}


REFUSALS = {
    "missing input": (refused("required_input_missing"), "its input width is missing"),
    "bad type": (
        refused("invalid_input_type", received_value="abc", input_config=["INT", {}]),
        "input width is 'abc', which is no INT",
    ),
    "too small": (
        refused("value_smaller_than_min", received_value=0, input_config=["INT", {"min": 16}]),
        "input width is 0, below the least, 16",
    ),
    "too big": (
        refused("value_bigger_than_max", received_value=99, input_config=["INT", {"max": 9}]),
        "input width is 99, above the most, 9",
    ),
    "type mismatch": (
        refused("return_type_mismatch", received_type="MODEL", input_config=["CLIP", {}]),
        "takes CLIP but is linked to MODEL",
    ),
    "lost link": (
        refused("exception_during_validation", exception_type="KeyError"),
        "is linked to node width, which is not there",
    ),
    "invalid file": (refused("custom_validation_failed"), "m: width"),
    "no class_type": (
        broken("invalid_prompt", "Cannot execute because a node is missing the class_type property.",
               "Node ID '#nodes'"),
        "entry nodes is no node",
    ),
    "no outputs": (broken("prompt_no_outputs", "Prompt has no outputs"), "has no output node"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
async def test_each_refusal_ends_the_run_at_once_with_readable_words(world: World, name: str) -> None:
    body, words = REFUSALS[name]
    run_id = new_run(world, pictures=3)
    world.server.plan("comfyui", "prompt", "fail_before", times=None, status=400, body=body)
    await world.run()

    ended = view(world, run_id)
    assert ended.status == "failed"
    assert ended.reason.startswith("Step 1: ")
    assert words in ended.reason
    assert world.saved() == []


async def run_and_listen(world: World, engine: Engine | None = None) -> set[str]:
    """Run an engine until no run can progress; all that its endpoints' sentences said."""
    engine, stop, heard = engine or world.engine(), asyncio.Event(), set()
    running = asyncio.create_task(engine.run(stop))
    while await asyncio.to_thread(is_busy, world.db):
        for _ in range(10):
            heard |= {endpoint.sentence for endpoint in engine.status().endpoints}
            await asyncio.sleep(0.004)
    stop.set()
    await running
    return heard


@pytest.mark.long(but=["queue-fault0-refused the key (401)", "prompt-fault4-500"])
@pytest.mark.parametrize(
    ("call", "fault", "words"),
    [
        ("queue", {"kind": "fail_before", "status": 401, "body": HTML}, "refused the key (401)"),
        ("prompt", {"kind": "fail_before", "status": 403, "body": ""}, "refused the key (403)"),
        ("queue", {"kind": "fail_before", "status": 200, "body": HTML}, "answers with a web page"),
        ("queue", {"kind": "fail_before", "status": 502, "body": HTML}, "answered 502"),
        ("prompt", {"kind": "fail_before", "status": 500, "body": "Server got itself in trouble"}, "500"),
        ("queue", {"kind": "slow", "seconds": 1.5}, "did not answer in time"),
    ],
)
async def test_a_proxy_in_the_way_is_named_and_outlasted(
    world: World, call: str, fault: dict[str, Any], words: str
) -> None:
    run_id = new_run(world)
    world.server.plan("comfyui", call, times=3, **fault)
    heard = await run_and_listen(world, hasty(world))

    assert any(words in sentence for sentence in heard), heard
    assert sorted(world.kept(run_id)) == sorted(world.saved())


def hasty(world: World) -> Engine:
    """An engine whose calls wait for a second."""
    addresses = {world.server.comfyui: world.server.token}
    return make_engine(world.settings, world.db, addresses, FAST, timeout=1.0)


async def test_a_prompt_that_is_too_large_is_not_sent_again(world: World) -> None:
    run_id = new_run(world, pictures=2)
    body = "Maximum request body size 104857600 exceeded."
    world.server.plan("comfyui", "prompt", "fail_before", times=None, status=413, body=body)
    await world.run()

    ended = view(world, run_id)
    assert ended.status == "failed"
    assert "takes no upload of that size" in ended.reason
    assert "Traceback" not in ended.reason


@pytest.mark.long
async def test_a_half_open_event_stream_does_not_hold_a_picture_up(world: World) -> None:
    async with proxy_to(world.server.comfyui) as proxy:
        proxy.mute_events = True
        run_id = new_run(world, pictures=3)
        engine = make_engine(world.settings, world.db, {proxy.url: world.server.token}, FAST)
        await world.run(engine)

    assert proxy.mute_streams
    assert sorted(world.kept(run_id)) == sorted(world.saved())


@pytest.mark.long
async def test_what_is_no_picture_is_fetched_again_and_then_made_again(world: World) -> None:
    run_id = new_run(world, pictures=1)
    for body in (HTML, "\x89PNG but not really"):
        world.server.plan("comfyui", "view", "garbage", times=1, body=body)
    await world.run()

    assert world.kept(run_id) == world.saved()[-1:]
    assert [path.suffix for path in originals(world.settings).rglob("*") if path.is_file()] == [".png"]


@contextmanager
def tiny_disk(folder: Path) -> Iterator[Path]:
    """A file system of 2 MB, full to the brim, mounted at the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    if not mounted:
        pytest.skip("a small file system can't be mounted here")
    ballast = folder / "ballast"
    try:
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(4 << 20))
        yield ballast
    finally:
        subprocess.check_call(["umount", "-l", str(folder)])


async def test_a_full_disk_is_said_nothing_more_is_asked_for_and_all_is_kept_when_there_is_room(
    world: World,
) -> None:
    with tiny_disk(originals(world.settings)) as ballast:
        run_id = new_run(world, pictures=5)
        engine, stop = world.engine(replace(FAST, ahead=0)), asyncio.Event()
        running = asyncio.create_task(engine.run(stop))
        while "No space left" not in engine.status().endpoints[0].sentence:
            await asyncio.sleep(0.01)
        for _ in range(20):  # rounds in which more could be asked for
            await asyncio.sleep(0.05)
        made = len(world.saved())
        with world.db.session_scope() as session:
            states = session.execute(text("SELECT DISTINCT state FROM comfyui_jobs")).scalars().all()
        ballast.unlink()
        while view(world, run_id).status != "waiting":
            await asyncio.sleep(0.02)
        stop.set()
        await running

        assert made < 5
        assert "storing" in states and "failed" not in states
        assert sorted(world.kept(run_id)) == sorted(world.saved())


def edited(world: World, name: str, change: Any) -> str:
    """The example of one step, its workflow changed."""
    with world.db.session_scope() as session:
        pipelines.ensure_examples(session)
        made = copy.deepcopy(pipelines.export_pipeline(session, "one-step").model_dump())
        change(made["steps"][0]["workflow"])
        pipelines.import_pipeline(session, {**made, "name": name})
    return name


@pytest.mark.long
async def test_a_workflow_of_two_thousand_nodes_runs(world: World) -> None:
    def grow(workflow: dict[str, Any]) -> None:
        for number in range(100, 2100):
            workflow[str(number)] = {
                "class_type": "CLIPTextEncode",
                "inputs": {"text": f"word {number}", "clip": ["4", 1]},
            }

    run_id = new_run(world, pictures=1, pipeline=edited(world, "huge", grow))
    await world.run()

    assert world.kept(run_id) == world.saved()


@pytest.mark.parametrize(
    ("node", "value", "words"),
    [
        ("ckpt_name", "no-such.safetensors", "it does not have 'no-such.safetensors' for ckpt_name"),
        ("class_type", "NoSuchNode", "it has no node class NoSuchNode"),
    ],
)
async def test_what_no_server_has_ends_the_run_before_anything_is_sent(
    world: World, node: str, value: str, words: str
) -> None:
    def spoil(workflow: dict[str, Any]) -> None:
        loader = next(e for e in workflow.values() if e["class_type"] == "CheckpointLoaderSimple")
        (loader if node == "class_type" else loader["inputs"])[node] = value

    sent = len(ledger(world.server, "queued"))
    run_id = new_run(world, pipeline=edited(world, "elsewhere", spoil))
    await world.run()

    ended = view(world, run_id)
    assert ended.status == "failed"
    assert ended.reason.startswith("Step 1: The server can't run it: ")
    assert words in ended.reason
    assert len(ledger(world.server, "queued")) == sent


@contextmanager
def without_checkpoint(process: SandboxProcess) -> Iterator[Path]:
    """The server's model is gone for a while."""
    (path,) = process.state.rglob(CHECKPOINT)
    path.rename(path.with_suffix(".away"))
    try:
        yield path
    finally:
        if not path.exists():
            path.with_suffix(".away").rename(path)


@pytest.mark.long
async def test_a_job_goes_only_to_the_server_that_has_its_model(world: World, tmp_path: Path) -> None:
    bare = SandboxProcess(tmp_path / "bare", arguments=("--latency", "0", "--image-size", "64x80"))
    try:
        with without_checkpoint(bare):
            run_id = new_run(world, pictures=4)
            await world.run(world.engine(FAST, bare))
            assert ledger(bare, "queued") == []
    finally:
        bare.stop()

    assert len(world.kept(run_id)) == 4
    assert view(world, run_id).reason == ""


@pytest.mark.long
async def test_a_model_that_is_copied_later_is_found_when_the_run_is_resumed(world: World) -> None:
    engine, stop = world.engine(), asyncio.Event()
    with without_checkpoint(world.server) as path:
        run_id = new_run(world)
        running = asyncio.create_task(engine.run(stop))
        while view(world, run_id).status != "failed":
            await asyncio.sleep(0.02)
        path.with_suffix(".away").rename(path)
        with world.db.session_scope() as session:
            runs.resume_run(session, run_id)
        engine.wake()
        while view(world, run_id).status != "waiting":
            await asyncio.sleep(0.02)
    stop.set()
    await running

    assert len(world.kept(run_id)) == 2


def taken_by_the_server(world: World) -> bool:
    """Whether there are jobs on the server, and none of which it is open whether it took them."""
    with world.db.session_scope() as session:
        states = session.execute(text("SELECT DISTINCT state FROM comfyui_jobs")).scalars().all()
    return "submitting" not in states and not {"submitted", "running"}.isdisjoint(states)


async def test_r11_what_a_server_forgot_is_lost_at_once_when_it_comes_back(world: World) -> None:
    patient = replace(FAST, timeout=600.0)
    run_id = new_run(world, pictures=3)
    world.server.plan("comfyui", "execute", "slow", seconds=60.0, times=3)
    engine, stop = world.engine(patient), asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    while not await asyncio.to_thread(taken_by_the_server, world):
        await asyncio.sleep(0.05)
    world.server.kill()
    world.server.restart()
    while view(world, run_id).status != "waiting":
        await asyncio.sleep(0.02)
    stop.set()
    await running

    with world.db.session_scope() as session:
        states = session.execute(text("SELECT state FROM comfyui_jobs")).scalars().all()
        boot = session.execute(text("SELECT boot FROM comfyui_endpoints")).scalar_one()
    assert set(states) == {"lost", "done"}
    assert boot == 2
    assert len(set(world.kept(run_id))) == 3
