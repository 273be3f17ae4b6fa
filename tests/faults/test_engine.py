"""The engine over a real server and a real database: what grows, and what happens when things go wrong."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import select
from tests.database.growing import add_persona, add_run, grow
from tests.faults.engine_child import FAST, KILLED, ONE_AT_A_TIME, Kill, World, ledger
from tests.support.sandbox import SandboxProcess

from persona_tui.database.engine import Database
from persona_tui.models.library import ClusterCandidate
from persona_tui.models.safety import AuditEvent
from persona_tui.services.generation import gates, pipelines, runs
from persona_tui.services.generation.estimates import picture_seconds
from persona_tui.services.generation.tree import list_candidates
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.voting.contest import contest_of_step, standings
from persona_tui.setting_sections import MediaSettings

SENDING = "SELECT EXISTS (SELECT FROM comfyui_jobs WHERE state = 'submitting')"
STORING = "SELECT EXISTS (SELECT FROM comfyui_jobs WHERE state = 'storing')"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """A server of this module's own, since it is killed and brought back here."""
    process = SandboxProcess(
        tmp_path_factory.mktemp("sandbox"), arguments=("--latency", "0.1", "--image-size", "64x80")
    )
    yield process
    process.stop()


@pytest.fixture
def world(db: Database, server: SandboxProcess, tmp_path: Path) -> Iterator[World]:
    settings = db.settings.model_copy(update={"media": MediaSettings(url=f"file:{tmp_path}/originals")})
    yield World(db, server, settings, len(ledger(server, "saved")))
    server.clear_faults("comfyui")


def new_run(world: World, pictures: int = 2, **values: Any) -> int:
    """A run with so many pictures in its first step."""
    with world.db.session_scope() as session:
        return add_run(session, steps={1: {"children_per_parent": pictures}}, **values).id


def view(world: World, run_id: int) -> runs.RunDetail:
    with world.db.session_scope() as session:
        return runs.run_detail(session, run_id)


@pytest.mark.long
async def test_a_run_grows_from_its_prompt_over_the_gate_to_the_winner_in_its_cluster(world: World) -> None:
    with world.db.session_scope() as session:
        persona = add_persona(session)
        cluster = create_cluster(session, persona, {"name": "Tea"}).id
        run = add_run(session, persona_id=persona, cluster_id=cluster, seed=11)
    await world.run()

    first = view(world, run.id).steps[0]
    assert (view(world, run.id).status, first.active, first.contest_ready) == ("waiting", 4, True)
    with world.db.session_scope() as session:
        assert len(standings(session, contest_of_step(session, first.id)).members) == 4
        (parent,) = gates.approve(session, first.id, 1, actor="operator").candidate_ids
    await world.run()

    with world.db.session_scope() as session:
        children = [one for one in list_candidates(session, run.id) if one.position == 2]
        gates.choose_winner(session, children[0].id, actor="operator")
        linked = session.exec(select(ClusterCandidate.image_candidate_id)).one()
        candidates = list_candidates(session, run.id)
        received = {entry["sha256"] for entry in ledger(world.server, "received")}
        passed = set(session.exec(select(AuditEvent.content_sha256).where(AuditEvent.action == "guard.pass")))
    assert [child.parent_id for child in children] == [parent, parent]
    assert (children[0].width, children[0].height) == (1080, 1350)
    assert linked == children[0].id
    assert view(world, run.id).status == "completed"
    assert sorted(one.sha256 for one in candidates) == sorted(world.saved())
    assert len({one.seed for one in candidates}) == len({one.sha256 for one in candidates}) == 6
    pictures = {entry["sha256"] for entry in ledger(world.server, "uploaded")}
    assert passed & received >= pictures


async def test_a_seed_grows_the_same_pictures_again(world: World) -> None:
    first, second = new_run(world, seed=5), new_run(world, seed=5)
    await world.run()

    pixels = {entry["sha256"]: entry["pixels"] for entry in ledger(world.server, "saved")}
    grown = [[pixels[picture] for picture in world.kept(run_id)] for run_id in (first, second)]
    assert grown[0] == grown[1]
    assert len(set(grown[0])) == 2


async def test_what_the_server_refuses_fails_the_run_with_the_servers_words(world: World) -> None:
    with world.db.session_scope() as session:
        pipelines.ensure_examples(session)
        broken = copy.deepcopy(pipelines.export_pipeline(session, "one-step").model_dump())
        broken["steps"][0]["workflow"]["4"]["inputs"]["width"] = 0
        pipelines.import_pipeline(session, {**broken, "name": "broken"})
    run_id = new_run(world, pipeline="broken")
    await world.run()

    ended = view(world, run_id)
    assert ended.status == "failed"
    assert ended.reason == "Step 1: Node 4 (EmptyLatentImage): input width is 0, below the least, 16."
    assert ended.steps[0].failed >= 1


@pytest.mark.long
async def test_a_picture_that_can_not_be_made_is_tried_four_times_with_other_seeds(world: World) -> None:
    with world.db.session_scope() as session:
        pipelines.ensure_examples(session)
        broken = copy.deepcopy(pipelines.export_pipeline(session, "one-step").model_dump())
        broken["steps"][0]["workflow"]["9"]["inputs"]["filename_prefix"] = "../{{job_id}}"
        pipelines.import_pipeline(session, {**broken, "name": "outside"})
    run_id = new_run(world, pictures=1, pipeline="outside")
    await world.run()

    ended = view(world, run_id)
    assert ended.status == "failed"
    assert "outside the output folder" in ended.reason
    with world.db.session_scope() as session:
        jobs = session.execute(text("SELECT state, seed FROM comfyui_jobs ORDER BY id")).all()
    assert [job.state for job in jobs] == ["failed"] * 4
    assert len({job.seed for job in jobs}) == 4


@pytest.mark.long(but=["effect_then_drop"])
@pytest.mark.parametrize("kind", ["effect_then_error", "effect_then_drop", "garbage"])
async def test_a_post_whose_answer_is_lost_loses_and_doubles_nothing(world: World, kind: str) -> None:
    run_id = new_run(world)
    world.server.plan("comfyui", "prompt", kind)
    await world.run()

    assert len(world.saved()) == 2
    assert sorted(world.kept(run_id)) == sorted(world.saved())


async def test_answers_that_are_lost_or_garbage_lose_and_double_nothing(world: World) -> None:
    run_id = new_run(world, pictures=3)
    struck = len(ledger(world.server, "fault"))
    for call in ("queue", "history", "view"):
        world.server.plan("comfyui", call, "garbage")
        # Twice: a read whose connection turns out to be closed is sent again by the client itself.
        world.server.plan("comfyui", call, "drop_before", times=2)
    await world.run()

    assert len(ledger(world.server, "fault")) == struck + 9
    assert len(world.saved()) == 3
    assert sorted(world.kept(run_id)) == sorted(world.saved())


@pytest.mark.long
async def test_without_events_the_history_is_polled(world: World) -> None:
    world.server.plan("comfyui", "ws", "fail_before", times=None, status=403)
    run_id = new_run(world)
    await world.run()

    assert sorted(world.kept(run_id)) == sorted(world.saved())


async def test_a_cached_result_without_its_file_is_made_once_more(world: World) -> None:
    run_id = new_run(world, pictures=1)
    world.server.plan("comfyui", "view", "fail_before", status=404, body="")
    await world.run()

    assert world.kept(run_id) == world.saved()[-1:]
    assert len(ledger(world.server, "queued")) >= 2
    with world.db.session_scope() as session:
        assert session.execute(text("SELECT attempts FROM comfyui_jobs")).scalar_one() == 2


async def test_progress_is_shown_and_a_cancelled_run_leaves_the_server(world: World) -> None:
    run_id = new_run(world, pictures=4)
    engine, stop = world.engine(replace(FAST, previews=True)), asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    while not (previews := [seen for job in engine.status().jobs if (seen := engine.preview(job.job_id))]):
        await asyncio.sleep(0.005)
    status = engine.status()
    with world.db.session_scope() as session:
        runs.cancel_run(session, run_id)
    engine.wake()
    while engine.status().jobs or world.server_queue():
        await asyncio.sleep(0.02)
    stop.set()
    await running

    assert previews[0].startswith(b"\xff\xd8")
    assert any(job.started for job in status.jobs)
    assert status.endpoints[0].healthy
    assert status.endpoints[0].sentence.startswith("ComfyUI 0.8.0")
    assert {job.run_id for job in status.jobs} == {run_id}
    assert all(0 <= job.progress <= 1 for job in status.jobs)
    assert view(world, run_id).status == "cancelled"
    assert len(world.saved()) < 4


@pytest.mark.long
async def test_a_slow_picture_is_stopped_and_an_absent_servers_jobs_go_to_another(
    world: World, tmp_path: Path
) -> None:
    with world.db.session_scope() as session:
        pipelines.ensure_examples(session)
        hasty = copy.deepcopy(pipelines.export_pipeline(session, "one-step").model_dump())
        for name, seconds in (("hasty", 1), ("patient", 6)):
            hasty["steps"][0]["timeout"] = seconds
            pipelines.import_pipeline(session, {**hasty, "name": name})
    slow = SandboxProcess(tmp_path / "slow", arguments=("--latency", "60", "--image-size", "64x80"))
    late = new_run(world, pictures=1, pipeline="hasty")
    once = replace(FAST, retry=replace(FAST.retry, failures=1))
    await world.run(World(world.db, slow, world.settings, 0).engine(once))
    ended = view(world, late)
    assert ended.reason == "Step 1: It took longer than 1 s."
    assert ended.budget.gpu_minutes > 0.5 / 60  # the start is written down a moment after it was seen
    while world.server_queue(slow):
        await asyncio.sleep(0.02)

    run_id = new_run(world, pictures=4, pipeline="patient")
    running = asyncio.create_task(world.run(world.engine(ONE_AT_A_TIME, slow)))
    while not world.server_queue(slow):
        await asyncio.sleep(0.02)
    slow.kill()
    await running

    assert len(world.kept(run_id)) == 4
    assert sorted(world.kept(run_id)) == sorted(world.saved())


async def test_r09_two_engines_at_once_never_overfill(world: World) -> None:
    run_id = new_run(world, pictures=6)
    await world.run(world.engine(), world.engine())

    assert len(world.kept(run_id)) == 6
    assert sorted(world.kept(run_id)) == sorted(world.saved())


async def test_r22_a_server_killed_in_the_middle_is_waited_for_and_loses_and_doubles_nothing(
    world: World,
) -> None:
    run_id = new_run(world, pictures=4)
    engine, stop = world.engine(), asyncio.Event()
    running = asyncio.create_task(engine.run(stop))
    while not world.saved():
        await asyncio.sleep(0.01)
    assert world.server.kill() == KILLED
    while engine.status().endpoints[0].healthy:
        await asyncio.sleep(0.01)
    away = engine.status().endpoints[0]
    world.server.restart()
    while view(world, run_id).status != "waiting":
        await asyncio.sleep(0.02)
    stop.set()
    await running

    assert "can't be reached" in away.sentence
    assert len(set(world.kept(run_id))) == 4
    assert set(world.kept(run_id)) <= set(world.saved())


@pytest.mark.long
def test_r22_killed_after_the_prompt_ids_commit_before_the_post(world: World) -> None:
    run_id = new_run(world)

    assert world.run_child(Kill("commit:after", SENDING), ONE_AT_A_TIME) == KILLED
    assert world.saved() == []
    assert world.run_child() == 0

    assert sorted(world.kept(run_id)) == sorted(world.saved())
    assert len(world.saved()) == 2


def test_r22_killed_after_the_post_before_its_answer_is_written_down(world: World) -> None:
    run_id = new_run(world)
    before = len(ledger(world.server, "queued"))

    assert world.run_child(Kill("http:after_reply", SENDING), ONE_AT_A_TIME) == KILLED
    assert len(ledger(world.server, "queued")) == before + 1
    assert world.run_child() == 0

    assert sorted(world.kept(run_id)) == sorted(world.saved())
    assert len(world.saved()) == 2


@pytest.mark.long
def test_r22_killed_after_the_picture_came_before_its_candidates_commit(world: World) -> None:
    run_id = new_run(world)

    assert world.run_child(Kill("commit:before", STORING, stored=True), ONE_AT_A_TIME) == KILLED
    assert len(world.saved()) == 1
    assert world.run_child() == 0

    assert sorted(world.kept(run_id)) == sorted(world.saved())
    assert len(world.saved()) == 2


@pytest.mark.long
def test_r22_engine_and_server_both_killed_find_the_picture_on_the_disk(world: World) -> None:
    run_id = new_run(world, pictures=1)
    assert world.run_child(Kill("http:after_reply", SENDING), ONE_AT_A_TIME) == KILLED
    while not world.saved():
        time.sleep(0.01)
    assert world.server.kill() == KILLED
    world.server.restart()

    assert world.run_child() == 0

    assert world.kept(run_id) == world.saved()
    assert len(world.saved()) == 1


# The moment of the kill is rare since commits are shared: on a quick machine it may never come.
@pytest.mark.long
def test_how_long_a_picture_took_that_is_found_on_the_disk_is_not_known(world: World) -> None:
    """The time that nobody was there is no time of the card: what was reserved is what it costs."""
    run_id = new_run(world, pictures=3, max_gpu_minutes=10)
    third = f"{SENDING} AND (SELECT count(*) = 2 FROM comfyui_jobs WHERE state = 'done')"
    assert world.run_child(Kill("http:after_reply", third), ONE_AT_A_TIME) == KILLED
    while len(world.saved()) < 3:
        time.sleep(0.01)
    assert world.server.kill() == KILLED
    world.server.restart()
    with world.db.session_scope() as session:
        session.execute(
            text(
                "UPDATE comfyui_jobs SET state = 'running', started_at = persona_now() - interval '85 s'"
                " WHERE state = 'submitting'"
            )
        )

    assert world.run_child() == 0

    assert world.kept(run_id) == world.saved()
    with world.db.session_scope() as session:
        *measured, found = session.execute(
            text(
                "SELECT j.gpu_seconds, CAST(i.provenance ->> 'seconds' AS float8) AS seconds"
                " FROM comfyui_jobs j JOIN image_candidates i ON i.job_id = j.id ORDER BY j.id"
            )
        ).all()
        version = session.execute(text("SELECT pipeline_version_id FROM pipeline_runs")).scalar_one()
        usual = picture_seconds(session, version)[1]
        spent = session.execute(text("SELECT gpu_seconds FROM run_budgets")).scalar_one()
    taken = [one.seconds for one in measured]
    assert 0 < min(taken) <= max(taken) < 30
    assert [one.gpu_seconds for one in measured] == taken
    assert found.seconds is None
    assert found.gpu_seconds in taken
    assert usual == pytest.approx(sum(taken) / 2)
    assert spent == pytest.approx(sum(taken) + found.gpu_seconds)


@pytest.mark.long(but=["commit:before-0"])
@pytest.mark.parametrize(("boundary", "winners"), [("commit:before", 0), ("commit:after", 1)])
def test_r22_killed_at_the_winners_commit_there_is_all_of_it_or_nothing(
    world: World, boundary: str, winners: int
) -> None:
    with world.db.session_scope() as session:
        persona = add_persona(session)
        cluster = create_cluster(session, persona, {"name": "Tea"}).id
        run_id = add_run(session, pipeline="one-step", persona_id=persona, cluster_id=cluster).id
        candidate = grow(session)[0]

    assert world.choose_in_child(candidate, Kill(boundary)) == KILLED
    with world.db.session_scope() as session:
        assert len(session.exec(select(ClusterCandidate)).all()) == winners
        assert (runs.run_detail(session, run_id).winner_id is not None) == bool(winners)
    assert world.choose_in_child(candidate) == 0

    with world.db.session_scope() as session:
        assert session.exec(select(ClusterCandidate)).one().image_candidate_id == candidate
        assert runs.run_detail(session, run_id).status == "completed"
