"""Items 5 and 6: a training runs by itself, is taken up once when it dies, and registered at its end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from persona_tui.cli.train_lines import troubles
from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.gpu.training import pulse
from persona_tui.gpu.training.durable import DiskFull
from persona_tui.gpu.training.families import FAMILIES
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.pulse import FREE_SOME, Heartbeat
from persona_tui.gpu.training.supervisor import _step_of, forget_chances, take_chance
from persona_tui.pool import WorkPool
from persona_tui.services import lease
from persona_tui.services.loras.registry import get_lora
from persona_tui.services.loras.shelf import Shelf
from persona_tui.services.safety.consents import add_consent, withdraw_consent
from persona_tui.services.training import licences
from persona_tui.services.training.attach import attach
from persona_tui.services.training.datasets import say_subject
from persona_tui.services.training.following import RunFollower
from persona_tui.services.training.orders import change_steps, order, queue
from persona_tui.services.training.plan import plan_training
from persona_tui.services.training.recipe import PlanInput
from persona_tui.services.training.runs import TrainingView, checkpoints_of, get_training
from persona_tui.services.training.start import Export, How, Starter, start_training
from persona_tui.services.training.watch import TrainingWatch
from persona_tui.services.training.withdrawing import withdraw
from persona_tui.settings import Settings
from tests.database.test_training_3_plan import base_model
from tests.support.datasets import add_files, draw_all, make_dataset
from tests.support.training_stage import tiny_shapes


@dataclass
class Studio:
    """A dataset, a base model, and who starts and watches."""

    db: Database
    starter: Starter
    pool: WorkPool
    dataset_id: int
    base: Path

    async def plan(
        self, steps: int, *, die_at: Sequence[int] = (), full_at: Sequence[int] = (), **given: object
    ) -> int:
        """A planned run of so many steps."""
        values = PlanInput.model_validate(
            {
                "family": "qwen-image",
                "base": self.base,
                "buckets": (64,),
                "steps": steps,
                "checkpoint_every": 5,
            }
            | given
        )
        plan = await plan_training(
            self.db.session_scope, self.pool, self.starter.settings, self.dataset_id, values,
            cards=tuple, count=tiny_shapes,
        )  # fmt: skip
        assert plan.run_id is not None and plan.folder is not None
        (plan.folder / "faults.json").write_text(json.dumps({"die_at": die_at, "full_at": full_at}))
        return plan.run_id

    def view(self, run_id: int) -> TrainingView:
        with self.db.session_scope() as session:
            return get_training(session, run_id)

    async def until(self, run_id: int, done: Callable[[TrainingView], bool]) -> TrainingView:
        """Watch until it is so."""
        watch = TrainingWatch(self.starter)
        while True:
            await watch.tick()
            view = self.view(run_id)
            if done(view):
                return view
            await asyncio.sleep(0.05)


@pytest.fixture
async def studio(db: Database, settings: Settings, tmp_path: Path) -> AsyncIterator[Studio]:
    dataset = add_files(db, make_dataset(db, tmp_path), [draw_all(tmp_path / "in", 9)]).dataset
    pool = WorkPool()
    starter = Starter(
        db.session_scope, settings, lambda: {"http://127.0.0.1:9": ComfyUIClient("http://127.0.0.1:9")},
        cards=tuple, stages="tests.support.training_stage",
    )  # fmt: skip
    yield Studio(db, starter, pool, dataset.id, base_model(tmp_path / "qwen", "QwenImagePipeline"))
    await pool.aclose()


def ended(view: TrainingView) -> bool:
    return not view.is_live and (view.status != "done" or view.lora_id is not None)


async def at_step(view: TrainingView, step: int) -> Heartbeat:
    """The heartbeat of a run once it has come so far."""
    while (beat := RunFolder(view.folder).heartbeat()) is None or beat.step < step:
        await asyncio.sleep(0.05)
    return beat


def is_held(studio: Studio) -> bool:
    """Whether a process has the CPU's lock."""
    (place,) = lease.places(())
    return lease.is_locked(lease.lock_file(studio.starter.locks, place.name))


def events(view: TrainingView, name: str) -> list[dict[str, object]]:
    return [event for event in RunFolder(view.folder).events() if event["event"] == name]


async def test_training_6_a_run_that_is_killed_goes_on_once_and_is_registered(studio: Studio) -> None:
    run_id = await studio.plan(12, die_at=[7])
    started = await start_training(studio.starter, run_id)
    assert (started.status, started.attempt) == ("encoding", 1)
    process = psutil.Process(int(started.holder.split(":")[2]))
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    with pytest.raises(NotAllowedNow, match="runs already"):
        await start_training(studio.starter, run_id)
    other = await studio.plan(3)
    with pytest.raises(NotAllowedNow, match=f"in use by training {run_id} since") as taken:
        await start_training(studio.starter, other)
    assert f"`persona-tui train queue {other}`" in taken.value.hint
    assert f"`persona-tui train pause {run_id}`" in taken.value.hint

    done = await studio.until(run_id, ended)
    assert (done.status, done.step, done.attempt) == ("done", 12, 1)
    assert [event["step"] for event in events(done, "died")] == [7]
    told = attach(done)
    assert [loss.step for loss in told.losses] == list(range(1, 13)) and not told.alive
    with studio.db.session_scope() as session:
        assert [(one.step, one.scores["likeness"]) for one in checkpoints_of(session, run_id)] == [
            (5, 0.05), (10, 0.1), (12, 0.12),
        ]  # fmt: skip
        lora = get_lora(session, done.lora_id or 0)
        assert lease.held_here(session) == ()
    assert (lora.name, lora.family, lora.model_type, lora.trigger_word) == (
        "Mira", "qwen-image", "character", "ohwx_mira",
    )  # fmt: skip
    # It waits for the operator's comparison, and for a server that lists it.
    assert lora.users == () and Shelf(studio.starter.settings).holds(lora.file_name)
    assert "not at every server" in done.trouble
    assert done.measured_ram is not None and done.measured_vram is None


@pytest.mark.long
async def test_training_6_a_run_that_dies_at_one_step_again_stops_and_says_so(studio: Studio) -> None:
    run_id = await studio.plan(9, die_at=[7, 7])
    await start_training(studio.starter, run_id)
    failed = await studio.until(run_id, ended)
    assert failed.status == "failed"
    assert "SIGKILL at step 7" in failed.trouble and "train resume" in failed.hint
    await start_training(studio.starter, run_id)
    assert (await studio.until(run_id, ended)).status == "done"


async def test_training_6_with_everything_killed_the_watch_takes_it_up_once(studio: Studio) -> None:
    run_id = await studio.plan(2000)
    await start_training(studio.starter, run_id)
    for attempt in (1, 2):
        view = await studio.until(run_id, lambda view: view.step > 3 and bool(attach(view).alive))
        assert view.attempt == attempt
        os.killpg(int(view.holder.split(":")[2]), signal.SIGKILL)
        while attach(view).alive:
            await asyncio.sleep(0.01)
        if attempt == 1:
            taken = await studio.until(run_id, lambda view: view.attempt == 2)
            assert taken.resumed_step is not None and taken.resumed_step >= 4
    # The second death lies at another step or the same: never twice at one.
    order(studio.db.session_scope, run_id, "stop")
    last = await studio.until(run_id, ended)
    assert last.status in ("stopped", "failed")
    assert last.attempt <= 3


@pytest.mark.long
async def test_training_6_a_stage_that_outlives_its_supervisor_is_left_alone(
    studio: Studio,
) -> None:
    run_id = await studio.plan(60)
    await start_training(studio.starter, run_id)
    view = await studio.until(run_id, lambda view: view.step > 2)
    os.kill(int(view.holder.split(":")[2]), signal.SIGKILL)
    done = await studio.until(run_id, ended)
    assert (done.status, done.attempt) == ("done", 2)
    assert [loss.step for loss in attach(done).losses] == list(range(1, 61))
    assert len(events(done, "began")) == 3


@pytest.mark.long
async def test_training_6_pause_steps_stop_and_a_folder_that_was_moved(
    studio: Studio, tmp_path: Path
) -> None:
    scope = studio.db.session_scope
    run_id = await studio.plan(2000)
    with pytest.raises(NotAllowedNow, match="nothing to pause"):
        order(scope, run_id, "pause")
    await start_training(studio.starter, run_id)
    await studio.until(run_id, lambda view: view.step > 2)
    order(scope, run_id, "pause")
    paused = await studio.until(run_id, lambda view: view.status == "paused")
    with scope() as session:
        assert lease.held_here(session) == ()
    with pytest.raises(InvalidRequest, match="is at step"):
        change_steps(scope, run_id, 1)
    assert change_steps(scope, run_id, paused.step + 2).total_steps == paused.step + 2
    moved = shutil.move(paused.folder, tmp_path / "moved")
    with pytest.raises(InvalidRequest, match=r"folder of training .* is gone"):
        await start_training(studio.starter, run_id)
    await start_training(studio.starter, run_id, how=How(folder=Path(moved)))
    done = await studio.until(run_id, ended)
    assert (done.status, done.step, done.lora) == ("done", paused.step + 2, "Mira@1")
    # More steps: the next version, from where it was.
    with pytest.raises(NotAllowedNow, match="is done"):
        await start_training(studio.starter, run_id)
    await start_training(studio.starter, run_id, how=How(steps=done.step + 3))
    again = await studio.until(run_id, lambda view: ended(view) and view.lora != done.lora)
    assert (again.lora, again.step) == ("Mira@2", done.step + 3)
    # An earlier checkpoint becomes a version of its own, without another step.
    with pytest.raises(InvalidRequest, match="no checkpoint of step 1"):
        await start_training(studio.starter, run_id, how=How(export=Export(1)))
    await start_training(studio.starter, run_id, how=How(export=Export(5, "raw")))
    early = await studio.until(run_id, lambda view: ended(view) and view.lora == "Mira@3")
    assert RunFolder(early.folder).manifest()["chosen"] == {"step": 5, "weights": "raw"}
    assert early.step == again.step
    # Trained on, the new checkpoints count: what was chosen by hand is forgotten.
    await start_training(studio.starter, run_id, how=How(steps=again.step + 2))
    later = await studio.until(run_id, lambda view: ended(view) and view.lora == "Mira@4")
    assert later.best_step == again.step + 2
    # Without a step it is the one that evaluations propose.
    RunFolder(later.folder).note(proposed={"step": 5})
    await start_training(studio.starter, run_id, how=How(export=Export()))
    proposed = await studio.until(run_id, lambda view: ended(view) and view.best_step == 5)
    assert proposed.best_step == 5


@pytest.mark.long
async def test_training_6_what_ended_while_nobody_led_is_told_and_may_be_resumed(
    studio: Studio, tmp_path: Path
) -> None:
    first, second = await studio.plan(4), await studio.plan(2000)
    await start_training(studio.starter, first)
    while RunFolder(studio.view(first).folder).status() != "done" or is_held(studio):
        await asyncio.sleep(0.05)
    assert studio.view(first).is_live  # nobody has looked yet
    command = TrainingWatch(studio.starter)
    await command.catch_up()
    assert (studio.view(first).status, studio.view(first).lora) == ("done", "Mira@1")
    # Killed with its supervisor: a command leaves that to the leader, or to whoever resumes it.
    await start_training(studio.starter, second)
    live = studio.view(second)
    beat = await at_step(live, 3)
    with pytest.raises(NotAllowedNow, match="runs already"):
        await start_training(studio.starter, second)
    for pid in (int(live.holder.split(":")[2]), beat.pid):
        os.kill(pid, signal.SIGKILL)
    while is_held(studio):
        await asyncio.sleep(0.05)
    await command.catch_up()
    assert studio.view(second).is_live and studio.view(second).attempt == 1
    change_steps(studio.db.session_scope, second, studio.view(second).step + 2000)
    await start_training(studio.starter, second)
    assert studio.view(second).attempt == 2
    order(studio.db.session_scope, second, "stop")
    await studio.until(second, ended)


@pytest.mark.long
async def test_training_6_a_folder_that_is_gone_or_another_runs_is_told_as_that(
    studio: Studio, tmp_path: Path
) -> None:
    scope = studio.db.session_scope
    run_id, other = await studio.plan(4), await studio.plan(4)
    folder = studio.view(run_id).folder
    queue(scope, run_id)
    folder.rename(tmp_path / "moved")
    assert order(scope, run_id, "stop").status == "planned"  # out of the line, folder or not
    hint = f"persona-tui train resume {run_id} --folder"
    for act in (partial(change_steps, steps=7), queue):
        with pytest.raises(InvalidRequest, match=r"folder of training .* is gone") as caught:
            act(scope, run_id)
        assert hint in caught.value.hint
    with pytest.raises(InvalidRequest, match=f"is the folder of training {other}") as caught:
        await start_training(studio.starter, run_id, how=How(folder=studio.view(other).folder))
    (tmp_path / "link").symlink_to(studio.view(other).folder)
    with pytest.raises(InvalidRequest, match=f"is the folder of training {other}"):
        await start_training(studio.starter, run_id, how=How(folder=tmp_path / "link"))
    with pytest.raises(InvalidRequest, match=r"is gone from .*/nowhere"):
        await start_training(studio.starter, run_id, how=How(folder=tmp_path / "nowhere"))
    assert studio.view(run_id).folder == folder and not is_held(studio)
    # Lost while it runs, its process ends, and any command says so.
    await start_training(studio.starter, run_id, how=How(steps=2000, folder=tmp_path / "moved"))
    await at_step(studio.view(run_id), 1)
    (tmp_path / "moved").rename(tmp_path / "again")
    while is_held(studio):
        await asyncio.sleep(0.05)
    await TrainingWatch(studio.starter).catch_up()
    lost = studio.view(run_id)
    assert lost.status == "failed" and "gone from" in lost.trouble and hint in lost.hint
    # Nothing was made in its place, and from where it is now it goes on.
    assert not (tmp_path / "moved").exists()
    steps = RunFolder(tmp_path / "again").losses()[-1].step + 5
    await start_training(studio.starter, run_id, how=How(steps=steps, folder=tmp_path / "again"))
    done = await studio.until(run_id, ended)
    assert (done.status, done.step, done.folder) == ("done", steps, tmp_path / "again")


@pytest.mark.long
async def test_training_6_a_full_disk_is_told_in_the_list_and_what_a_pause_then_loses(studio: Studio) -> None:
    scope = studio.db.session_scope
    run_id = await studio.plan(2000, full_at=[18])
    await start_training(studio.starter, run_id)
    waits = await studio.until(run_id, lambda view: bool(view.trouble))
    assert waits.status == "training" and str(waits.folder) in waits.trouble and waits.hint == FREE_SOME
    told = attach(waits)
    assert (told.doing, told.seconds_left, told.step) == ("waiting for space", None, 18)
    assert RunFollower(waits.folder).look().seconds_left is None
    assert [words for words, _ in troubles(waits, told)] == [waits.trouble]
    order(scope, run_id, "pause")
    paused = await studio.until(run_id, lambda view: view.status == "paused")
    said = "It is paused at step 18; its last checkpoint is of step 15, from where it goes on."
    assert (paused.step, paused.trouble) == (18, said) and f"train resume {run_id}" in paused.hint
    await start_training(studio.starter, run_id, how=How(steps=25))
    assert not studio.view(run_id).trouble
    done = await studio.until(run_id, ended)
    assert (done.status, done.step) == ("done", 25)
    assert [told["step"] for told in events(done, "step")] == [*range(1, 19), *range(16, 26)]


@pytest.mark.long
async def test_training_6_a_full_disk_that_has_room_again_is_told_no_more(studio: Studio) -> None:
    run_id = await studio.plan(2000, full_at=[6])
    await start_training(studio.starter, run_id)
    waits = await studio.until(run_id, lambda view: bool(view.trouble))
    (waits.folder / "room").touch()
    goes_on = await studio.until(run_id, lambda view: not view.trouble)
    assert (goes_on.status, goes_on.hint) == ("training", "")
    order(studio.db.session_scope, run_id, "stop")
    assert not (await studio.until(run_id, ended)).trouble


async def test_training_6_steps_that_come_while_it_exports_are_refused(studio: Studio) -> None:
    run_id = await studio.plan(20)
    await start_training(studio.starter, run_id)
    view = await studio.until(run_id, lambda view: view.step > 0)
    await at_step(view, 20)
    while RunFolder(view.folder).status() != "done":
        await asyncio.sleep(0.01)
    with pytest.raises(NotAllowedNow, match="is being exported") as caught:
        change_steps(studio.db.session_scope, run_id, 60)
    assert f"train resume {run_id} --steps 60" in caught.value.hint
    done = await studio.until(run_id, ended)
    assert (done.status, done.step, done.total_steps) == ("done", 20, 20)


@pytest.mark.long
async def test_training_6_queued_trainings_run_one_after_the_other(studio: Studio) -> None:
    scope = studio.db.session_scope
    first, second = await studio.plan(3), await studio.plan(4)
    assert queue(scope, first).status == queue(scope, second).status == "queued"
    third = queue(scope, await studio.plan(5))
    assert order(scope, third.id, "stop").status == "planned"
    watch = TrainingWatch(studio.starter)
    while studio.view(second).lora is None:
        await watch.tick()
        await asyncio.sleep(0.05)
    ends, begins = (
        [str(event["at"]) for event in events(studio.view(one), name)]
        for one, name in ((first, "done"), (second, "began"))
    )
    assert max(ends) < min(begins)
    await watch.aclose()


async def test_training_3_no_run_begins_against_a_licence_or_a_consent(studio: Studio) -> None:
    scope = studio.db.session_scope
    run_id = await studio.plan(3, family="flux1", base=base_model(studio.base.parent / "flux"))
    with pytest.raises(NotAllowedNow, match="may not be used commercially"):
        await start_training(studio.starter, run_id)
    with scope() as session:
        for _ in range(2):
            licences.acknowledge(session, licences.unread(session, FAMILIES["flux1"]))
        persona = get_training(session, run_id).persona_id
        told = session.execute(text("SELECT details FROM audit_events WHERE action = 'licence.acknowledge'"))
        assert [details["model"] for details in told.scalars()] == ["FLUX.1-dev"]
        consent = add_consent(session, persona, {"subject": "Ana", "evidence": "letter"})
        withdrawn = add_consent(session, persona, {"subject": "Ana", "evidence": "letter"})
        withdraw_consent(session, withdrawn.id)
    say_subject(scope, studio.dataset_id, "real", consent.id)
    with scope() as session:
        withdraw_consent(session, consent.id)
    with pytest.raises(InvalidRequest, match="was withdrawn"):
        await start_training(studio.starter, run_id)
    with scope() as session:
        assert lease.held_here(session) == ()


@pytest.mark.long
async def test_training_3_a_consent_that_is_withdrawn_stops_what_runs(studio: Studio) -> None:
    scope = studio.db.session_scope
    run_id = await studio.plan(2000)
    with scope() as session:
        persona = get_training(session, run_id).persona_id
        consent = add_consent(session, persona, {"subject": "Ana", "evidence": "letter"})
    say_subject(scope, studio.dataset_id, "real", consent.id)
    await start_training(studio.starter, run_id)
    await studio.until(run_id, lambda view: view.step > 2)
    with scope() as session:
        withdraw_consent(session, consent.id)
    stopped = await studio.until(run_id, ended)
    assert stopped.status == "stopped" and "was withdrawn" in stopped.trouble


async def test_training_6_a_run_that_was_to_rest_is_not_taken_up_when_it_dies(studio: Studio) -> None:
    run_id = await studio.plan(2000)
    await start_training(studio.starter, run_id)
    live = studio.view(run_id)
    await at_step(live, 3)
    os.killpg(int(live.holder.split(":")[2]), signal.SIGKILL)
    while attach(live).alive:
        await asyncio.sleep(0.01)
    # It was killed, or the disk was full, before it could say so itself.
    RunFolder(live.folder).order("pause")
    await TrainingWatch(studio.starter).catch_up(take_up=True)
    rests = studio.view(run_id)
    assert (rests.status, rests.attempt, rests.trouble) == ("paused", 1, "")
    assert not is_held(studio)


@pytest.mark.long
async def test_training_6_a_run_that_lives_and_does_not_get_on_is_told(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await studio.plan(2000)
    await start_training(studio.starter, run_id)
    beat = await at_step(studio.view(run_id), 3)
    watch = TrainingWatch(studio.starter)
    await watch.catch_up()
    assert studio.view(run_id).trouble == ""
    os.kill(beat.pid, signal.SIGSTOP)
    try:
        now = pulse.since_boot
        monkeypatch.setattr(pulse, "since_boot", lambda: now() + 1500)
        await watch.catch_up()
        still = studio.view(run_id)
        assert still.status == "training" and "does not get on for 25 minutes, at step" in still.trouble
        assert f"end process {beat.pid}" in still.hint
        monkeypatch.setattr(pulse, "since_boot", now)
    finally:
        os.kill(beat.pid, signal.SIGCONT)
    await studio.until(run_id, lambda view: view.step > still.step + 3)
    assert studio.view(run_id).trouble == ""
    order(studio.db.session_scope, run_id, "stop")
    await studio.until(run_id, ended)


async def real(studio: Studio, run_id: int) -> int:
    """Say that somebody real is in the dataset; the id of the consent."""
    with studio.db.session_scope() as session:
        persona = get_training(session, run_id).persona_id
        consent = add_consent(session, persona, {"subject": "Ana", "evidence": "letter"})
    say_subject(studio.db.session_scope, studio.dataset_id, "real", consent.id)
    return consent.id


async def test_training_3_a_withdrawn_consent_stops_what_nobody_watches(studio: Studio) -> None:
    run_id = await studio.plan(2000)
    consent = await real(studio, run_id)
    await start_training(studio.starter, run_id)
    live = studio.view(run_id)
    await at_step(live, 3)
    assert withdraw(studio.db.session_scope, consent).stopping == (run_id,)
    told = RunFolder(live.folder)
    while is_held(studio):
        await asyncio.sleep(0.05)
    assert told.status() == "stopped" and told.losses()[-1].step < 2000
    assert not told.manifest().get("exported")
    await TrainingWatch(studio.starter).catch_up()
    assert studio.view(run_id).status == "stopped" and "was withdrawn" in studio.view(run_id).trouble


async def test_training_3_a_consent_that_runs_out_stops_what_nobody_watches(studio: Studio) -> None:
    run_id = await studio.plan(5000)
    ends = datetime.now(UTC) + timedelta(hours=1)
    with studio.db.session_scope() as session:
        persona = get_training(session, run_id).persona_id
        values = {"subject": "Ana", "evidence": "letter", "expires_at": ends}
        consent = add_consent(session, persona, values)
    say_subject(studio.db.session_scope, studio.dataset_id, "real", consent.id)
    await start_training(studio.starter, run_id)
    folder = RunFolder(studio.view(run_id).folder)
    await at_step(studio.view(run_id), 3)
    assert folder.control().until == ends.timestamp()
    folder.permit(datetime.now(UTC).timestamp())  # the hour is over
    while is_held(studio):
        await asyncio.sleep(0.05)
    assert folder.status() == "stopped" and folder.losses()[-1].step < 5000
    await TrainingWatch(studio.starter).catch_up()
    # Without an end, the next start forgets this one.
    await real(studio, run_id)
    await start_training(studio.starter, run_id)
    assert folder.control().until is None
    order(studio.db.session_scope, run_id, "stop")
    await studio.until(run_id, ended)


@pytest.mark.long
async def test_training_3_a_withdrawn_consent_reaches_a_run_whose_folder_can_not_be_written(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await studio.plan(2000)
    consent = await real(studio, run_id)
    await start_training(studio.starter, run_id)
    await at_step(studio.view(run_id), 3)

    def full(*_: object) -> None:
        raise DiskFull("There is no room left.")

    monkeypatch.setattr(RunFolder, "order", full)
    withdraw(studio.db.session_scope, consent)
    while is_held(studio):
        await asyncio.sleep(0.05)
    assert RunFolder(studio.view(run_id).folder).status() == "stopped"


async def test_training_3_a_recipe_of_another_dataset_or_model_is_no_way_round_consent_and_licence(
    studio: Studio,
) -> None:
    run_id = await studio.plan(3)
    folder = RunFolder(studio.view(run_id).folder)
    own = folder.run_file.read_text()
    for was, now in (
        (studio.view(run_id).dataset_hash, "0" * 64),
        ('family = "qwen-image"', 'family = "flux1"'),
    ):
        folder.run_file.write_text(own.replace(was, now))
        with pytest.raises(InvalidRequest, match="another dataset or base model"):
            await start_training(studio.starter, run_id)
    with studio.db.session_scope() as session:
        assert lease.held_here(session) == ()
    folder.run_file.write_text(own.replace("seed = 1", "seed = 2"))
    assert (await start_training(studio.starter, run_id)).seed == 2
    order(studio.db.session_scope, run_id, "stop")
    await studio.until(run_id, ended)


async def test_training_3_what_was_learnt_is_not_registered_once_its_consent_is_withdrawn(
    studio: Studio,
) -> None:
    run_id = await studio.plan(4)
    consent = await real(studio, run_id)
    await start_training(studio.starter, run_id)
    while RunFolder(studio.view(run_id).folder).status() != "done" or is_held(studio):
        await asyncio.sleep(0.05)
    withdraw(studio.db.session_scope, consent)
    watch = TrainingWatch(studio.starter)
    for _ in range(2):
        await watch.catch_up()
    after = studio.view(run_id)
    assert (after.status, after.lora) == ("done", None) and "was withdrawn" in after.trouble
    # A new consent, and the operator asks for the file again.
    await real(studio, run_id)
    await start_training(studio.starter, run_id, how=How(export=Export()))
    assert (await studio.until(run_id, ended)).lora == "Mira@1"


def test_training_6_a_stage_is_taken_up_once_at_a_step_and_thrice_without_progress(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert take_chance(folder, "encode", 0)
    assert not take_chance(folder, "encode", 0)
    assert [take_chance(folder, "train", step) for step in (9, 9, 7, 8, 6)] == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert take_chance(folder, "train", 10)
    forget_chances(folder)
    assert take_chance(folder, "train", 10)


def test_training_6_a_stage_that_dies_while_it_loads_was_as_far_as_its_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert _step_of(folder) == 0
    (folder.checkpoints / "step-00000450").mkdir(parents=True)
    (folder.checkpoints / "broken-step-00000500").mkdir()
    begins = pulse.Pulse(folder.heartbeat_file)
    assert _step_of(folder) == 450
    # Taken up at other steps before, and once at this one.
    for step in (100, 200, 300):
        assert take_chance(folder, "train", step)
    assert take_chance(folder, "train", _step_of(folder))
    assert not take_chance(folder, "train", _step_of(folder))
    begins.moved(460, "training")
    begins.beat()
    assert _step_of(folder) == 460
    begins.close()
