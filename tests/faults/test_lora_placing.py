"""LoRAs on their way through the engine: brought to the server, found in its list, seen in the pictures."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.database.growing import add_persona
from tests.faults.engine_child import FAST, World, ledger, until_idle
from tests.support.loras import KOHYA, PEFT, SD15_KOHYA, write_lora
from tests.support.sandbox import SandboxProcess

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.services.generation import gates, runs
from persona_tui.services.generation.engine import Endpoint, Engine
from persona_tui.services.generation.lora_desk import LoraDesk
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.generation.run_loras import loras_of
from persona_tui.services.generation.tree import list_candidates
from persona_tui.services.loras import importing
from persona_tui.services.loras.importing import LoraInput, import_loras
from persona_tui.services.loras.shelf import Shelf
from persona_tui.services.media import MediaStore
from persona_tui.setting_sections import MediaSettings
from persona_tui.settings import Settings

UNREAD = {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": PEFT}
"""Today's names of diffusers, which ComfyUI ignores for Stable Diffusion."""
HALF_READ = {
    **UNREAD,
    "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k": KOHYA,
}
BARE = {"transformer_blocks.0.attn.to_q": PEFT}
"""Names that FLUX does not know and Qwen-Image does."""
FLUX, QWEN_IMAGE = {"base_model": "FLUX.1-dev"}, {"base_model": "Qwen-Image"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(
        tmp_path_factory.mktemp("sandbox"), arguments=("--latency", "0", "--image-size", "64x80")
    )
    yield process
    process.stop()


@pytest.fixture
def world(db: Database, server: SandboxProcess, tmp_path: Path) -> Iterator[World]:
    settings = db.settings.model_copy(update={"media": MediaSettings(url=f"file:{tmp_path}/originals")})
    yield World(db, server, settings, len(ledger(server, "saved")))
    server.clear_faults("comfyui")
    for file in lora_folder(server).rglob("*.safetensors"):
        file.unlink()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(Settings(data_dir=tmp_path / "data"))


def lora_folder(server: SandboxProcess) -> Path:
    return server.state / "comfyui/models/loras"


def add_lora(world: World, shelf: Shelf, folder: Path, persona: int, **values: Any) -> str:
    """An SDXL LoRA that the persona uses, with the names it came with; returns its file's name.

    Names that the import would convert stay as they are, as in files that were taken in before it did.
    """
    path = write_lora(folder, **{"layers": SD15_KOHYA, "width": 2048, **values})
    with pytest.MonkeyPatch.context() as before:
        before.setattr(importing, "conversion_of", lambda *_: None)
        (outcome,) = import_loras(world.db.session_scope, shelf, [path], LoraInput(persona_id=persona))
    assert outcome.lora is not None, outcome.sentence
    return outcome.lora.file_name


def start(world: World, persona: int, **values: Any) -> int:
    with world.db.session_scope() as session:
        ensure_examples(session)
        plan = {"pipeline": "one-step", "prompt": "tea", "seed": 5, "steps": {1: {"children_per_parent": 1}}}
        return runs.create_run(session, {**plan, "persona_id": persona, **values}).id


async def run(world: World, shelf: Shelf, folder: Path | None) -> None:
    client = ComfyUIClient(world.server.comfyui, world.server.token, timeout=5.0)
    await run_at(world, LoraDesk.over(client, shelf, folder))


def desk_over(world: World, shelf: Shelf) -> LoraDesk:
    client = ComfyUIClient(world.server.comfyui, world.server.token, timeout=5.0)
    return LoraDesk.over(client, shelf, lora_folder(world.server))


async def run_at(world: World, desk: LoraDesk) -> None:
    """An engine's life over one server's desk, which goes on to the next engine."""
    client = desk.placer.client
    endpoint = Endpoint(client.base_url, client, desk)
    engine = Engine(world.db.session_scope, MediaStore(world.settings), [endpoint], options=FAST)
    await until_idle(world.db, engine)


def view(world: World, run_id: int) -> runs.RunDetail:
    with world.db.session_scope() as session:
        return runs.run_detail(session, run_id)


def sent(world: World, run_id: int) -> dict[str, Any]:
    with world.db.session_scope() as session:
        return dict(
            session.execute(
                text("SELECT workflow FROM comfyui_jobs WHERE run_id = :run ORDER BY id DESC LIMIT 1"),
                {"run": run_id},
            ).scalar_one()
        )


async def until(world: World, run_id: int, status: str) -> None:
    while view(world, run_id).status != status:
        await asyncio.sleep(0.02)


def resume(world: World, run_id: int) -> None:
    with world.db.session_scope() as session:
        assert runs.resume_run(session, run_id).status == "running"


def states(world: World, run_id: int) -> set[str]:
    """Of a run's jobs."""
    with world.db.session_scope() as session:
        rows = session.execute(text("SELECT state FROM comfyui_jobs WHERE run_id = :run"), {"run": run_id})
        return set(rows.scalars())


def families(world: World) -> dict[str, str]:
    with world.db.session_scope() as session:
        rows = session.execute(text("SELECT file_path, base_family FROM lora_models"))
        return {row.file_path: row.base_family for row in rows}


def accused(world: World, run_id: int) -> list[str]:
    """What the server's log said of a run's LoRAs."""
    told = [warning.sentence for warning in view(world, run_id).warnings]
    return [sentence for sentence in told if world.server.comfyui in sentence]


def persona_of(world: World) -> int:
    with world.db.session_scope() as session:
        return add_persona(session)


async def test_a_lora_is_brought_to_the_server_and_shows_in_the_picture(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    mira = persona_of(world)
    name = add_lora(world, shelf, tmp_path, mira)
    with_it, without = start(world, mira), start(world, mira, loras=[])
    await run(world, shelf, lora_folder(world.server))

    assert (lora_folder(world.server) / name).read_bytes() == shelf.path(name).read_bytes()
    loaders = [one for one in sent(world, with_it).values() if "Lora" in one["class_type"]]
    assert [(one["class_type"], one["inputs"]["lora_name"]) for one in loaders] == [("LoraLoader", name)]
    assert not [one for one in sent(world, without).values() if "Lora" in one["class_type"]]
    assert world.kept(with_it) != world.kept(without)
    assert [view(world, one).status for one in (with_it, without)] == ["waiting", "waiting"]


async def test_a_file_in_a_subfolder_is_used_under_the_servers_name(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    mira = persona_of(world)
    name = add_lora(world, shelf, tmp_path, mira)
    (lora_folder(world.server) / "people").mkdir(exist_ok=True)
    (lora_folder(world.server) / "people" / name).write_bytes(shelf.path(name).read_bytes())
    run_id = start(world, mira)
    await run(world, shelf, None)

    names = [one["inputs"].get("lora_name") for one in sent(world, run_id).values()]
    assert f"people/{name}" in names
    assert view(world, run_id).status == "waiting"


@pytest.mark.parametrize("configured", [True, False])
async def test_a_run_never_goes_without_its_lora(
    world: World, shelf: Shelf, tmp_path: Path, configured: bool
) -> None:
    mira = persona_of(world)
    name = add_lora(world, shelf, tmp_path, mira)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_id = start(world, mira)
    await run(world, shelf, elsewhere if configured else None)

    ended = view(world, run_id)
    where = f"{name} lies in {elsewhere}" if configured else f"Copy {shelf.path(name)}"
    assert ended.status == "failed"
    assert f"{world.server.comfyui} does not list the LoRA mira@1. {where}" in ended.reason
    assert "models/loras" in ended.reason
    assert world.saved() == []


@pytest.mark.long
async def test_a_lora_that_is_put_there_later_is_used_when_the_run_is_resumed(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    """Resumed too early, the run fails again at once; its jobs wait all the while."""
    mira = persona_of(world)
    name = add_lora(world, shelf, tmp_path, mira)
    client = ComfyUIClient(world.server.comfyui, world.server.token, timeout=5.0)
    endpoint = Endpoint(client.base_url, client, LoraDesk.over(client, shelf))
    engine = Engine(world.db.session_scope, MediaStore(world.settings), [endpoint], options=FAST)
    run_id, stop = start(world, mira, steps={1: {"children_per_parent": 3}}), asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    for _ in range(2):
        await until(world, run_id, "failed")
        assert states(world, run_id) <= {"queued"}
        resume(world, run_id)
        engine.wake()
    await until(world, run_id, "failed")
    (lora_folder(world.server) / "people").mkdir(exist_ok=True)
    (lora_folder(world.server) / "people" / name).write_bytes(shelf.path(name).read_bytes())
    resume(world, run_id)
    engine.wake()
    await until(world, run_id, "waiting")
    stop.set()
    await running

    assert view(world, run_id).reason == ""
    assert states(world, run_id) == {"done"}
    assert sorted(world.kept(run_id)) == sorted(world.saved())
    assert len(world.saved()) == 3
    with world.db.session_scope() as session:
        gates.choose_winner(session, list_candidates(session, run_id)[0].id, actor="operator")
    assert view(world, run_id).status == "completed"


async def test_a_run_that_no_server_can_run_can_be_cancelled(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    mira = persona_of(world)
    name = add_lora(world, shelf, tmp_path, mira)
    run_id = start(world, mira)
    await run(world, shelf, None)
    assert states(world, run_id) == {"queued"}
    with world.db.session_scope() as session:
        assert runs.cancel_run(session, run_id).status == "cancelled"
    assert states(world, run_id) == {"cancelled"}
    (lora_folder(world.server) / name).write_bytes(shelf.path(name).read_bytes())
    other = start(world, mira)
    await run(world, shelf, None)
    assert states(world, run_id) == {"cancelled"}
    assert world.saved() == world.kept(other)


@pytest.mark.long
async def test_a_lora_that_comes_to_a_subfolder_opens_a_server_for_a_run_that_waits(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    away = SandboxProcess(tmp_path / "away", arguments=("--latency", "0", "--image-size", "64x80"))
    away.stop()
    mira = persona_of(world)
    name = add_lora(world, shelf, tmp_path, mira)
    clients = [ComfyUIClient(one.comfyui, one.token, timeout=5.0) for one in (world.server, away)]
    endpoints = [Endpoint(one.base_url, one, LoraDesk.over(one, shelf)) for one in clients]
    engine = Engine(world.db.session_scope, MediaStore(world.settings), endpoints, options=FAST)
    run_id, stop = start(world, mira), asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    while f"It waits for {away.comfyui}" not in view(world, run_id).reason:
        await asyncio.sleep(0.02)
    (lora_folder(world.server) / "people").mkdir(exist_ok=True)
    (lora_folder(world.server) / "people" / name).write_bytes(shelf.path(name).read_bytes())
    await until(world, run_id, "waiting")
    stop.set()
    await running
    assert world.kept(run_id) == world.saved()


async def test_a_folder_that_is_not_there_is_named(world: World, shelf: Shelf, tmp_path: Path) -> None:
    mira = persona_of(world)
    add_lora(world, shelf, tmp_path, mira)
    run_id = start(world, mira)
    await run(world, shelf, tmp_path / "nothing")
    assert f"There is no folder {tmp_path}/nothing." in view(world, run_id).reason
    assert world.saved() == []


async def test_our_own_file_that_is_gone_is_named(world: World, shelf: Shelf, tmp_path: Path) -> None:
    mira = persona_of(world)
    name = add_lora(world, shelf, tmp_path, mira)
    shelf.drop(name)
    run_id = start(world, mira)
    await run(world, shelf, lora_folder(world.server))
    assert f"{shelf.path(name)} can't be read" in view(world, run_id).reason
    assert list(lora_folder(world.server).rglob("*.safetensors")) == []


async def test_a_server_that_lacks_the_lora_leaves_the_jobs_to_one_that_has_it(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    poor = SandboxProcess(tmp_path / "poor", arguments=("--latency", "0", "--image-size", "64x80"))
    try:
        mira = persona_of(world)
        add_lora(world, shelf, tmp_path, mira)
        run_id = start(world, mira, steps={1: {"children_per_parent": 3}})
        clients = [ComfyUIClient(one.comfyui, one.token, timeout=5.0) for one in (poor, world.server)]
        folders = (None, lora_folder(world.server))
        endpoints = [
            Endpoint(client.base_url, client, LoraDesk.over(client, shelf, folder))
            for client, folder in zip(clients, folders, strict=True)
        ]
        engine = Engine(world.db.session_scope, MediaStore(world.settings), endpoints, options=FAST)
        await until_idle(world.db, engine)
        assert ledger(poor, "saved") == []
    finally:
        poor.stop()
    assert view(world, run_id).status == "waiting"
    assert sorted(world.kept(run_id)) == sorted(world.saved())


async def test_weights_that_the_server_leaves_out_are_said_on_the_run(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    mira = persona_of(world)
    add_lora(world, shelf, tmp_path, mira, name="lost.safetensors", layers=UNREAD)
    add_lora(world, shelf, tmp_path, mira, name="half.safetensors", layers=HALF_READ)
    first, again = start(world, mira), start(world, mira)
    await run(world, shelf, lora_folder(world.server))

    server = world.server.comfyui
    for run_id in (first, again):
        told = [warning.sentence for warning in view(world, run_id).warnings]
        lost = next(sentence for sentence in told if sentence.startswith("lost@1 changes nothing"))
        assert f"{server} knows none of its weights (unet.down_blocks" in lost
        assert any(sentence.startswith(f"{server} left out 2 of 4 weights of half@1") for sentence in told)


@pytest.mark.long
async def test_what_one_model_leaves_out_is_not_held_against_another_models_lora(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    mira, desk = persona_of(world), desk_over(world, shelf)
    flux = add_lora(
        world, shelf, tmp_path, mira, name="one.safetensors", layers=BARE, width=3072, metadata=FLUX
    )
    qwen = add_lora(
        world, shelf, tmp_path, mira, name="two.safetensors", layers=BARE, width=3072, metadata=QWEN_IMAGE
    )
    assert families(world) == {flux: "flux", qwen: "qwen-image"}
    lost = start(world, mira, pipeline="flux-portrait")
    await run_at(world, desk)
    fine = start(world, mira, pipeline="qwen-image")
    await run_at(world, desk)
    again = start(world, mira, pipeline="flux-portrait")
    await run_at(world, desk)

    assert [one.file_name for one in view(world, fine).loras] == [qwen]
    assert accused(world, fine) == []
    for run_id in (lost, again):
        (sentence,) = accused(world, run_id)
        assert sentence.startswith("one@1 changes nothing: ")


async def test_what_the_log_said_before_the_first_job_is_about_nobody(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    mira = persona_of(world)
    add_lora(world, shelf, tmp_path, mira, name="one.safetensors", layers=BARE, width=3072, metadata=FLUX)
    add_lora(
        world, shelf, tmp_path, mira, name="two.safetensors", layers=BARE, width=3072, metadata=QWEN_IMAGE
    )
    start(world, mira, pipeline="flux-portrait")
    await run_at(world, desk_over(world, shelf))
    fine = start(world, mira, pipeline="qwen-image")
    await run_at(world, desk_over(world, shelf))
    assert accused(world, fine) == []


@pytest.mark.long
async def test_more_lines_than_the_log_holds_are_at_least_so_many(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    mira = persona_of(world)
    many = {f"unet.down_blocks.{n}.attn2.to_k": PEFT for n in range(170)}
    add_lora(world, shelf, tmp_path, mira, layers={**many, **SD15_KOHYA})
    run_id = start(world, mira)
    await run(world, shelf, lora_folder(world.server))
    (sentence,) = accused(world, run_id)
    found = re.search(r" left out at least (\d+) of 344 weights of mira@1 \(", sentence)
    assert found
    assert 250 < int(found.group(1)) <= 300


@pytest.mark.long
async def test_a_server_that_was_started_again_is_believed_anew(
    world: World, shelf: Shelf, tmp_path: Path
) -> None:
    own = SandboxProcess(tmp_path / "own", arguments=("--latency", "0", "--image-size", "64x80"))
    try:
        mira, here = persona_of(world), replace(world, server=own)
        add_lora(world, shelf, tmp_path, mira, layers=UNREAD)
        desk = desk_over(here, shelf)
        run_id = start(world, mira)
        await run_at(here, desk)
        with world.db.session_scope() as session:
            loras = loras_of(session, run_id)
        assert await desk.log.sentences(loras) == tuple(accused(here, run_id))
        assert len(accused(here, run_id)) == 1
        own.restart()
        assert await desk.log.sentences(loras) == ()
    finally:
        own.stop()


async def test_a_server_that_shows_no_log_is_no_trouble(world: World, shelf: Shelf, tmp_path: Path) -> None:
    mira = persona_of(world)
    add_lora(world, shelf, tmp_path, mira, layers=UNREAD)
    world.server.plan("comfyui", "logs", "fail_before", status=404, times=None)
    run_id = start(world, mira)
    await run(world, shelf, lora_folder(world.server))
    ended = view(world, run_id)
    assert ended.status == "waiting"
    assert not any("changes nothing" in warning.sentence for warning in ended.warnings)
