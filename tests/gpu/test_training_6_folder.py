"""A run's folder under kills, full disks and strangers."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from persona_tui.errors import NotAllowedNow, StorageError
from persona_tui.gpu.training.adapters.folders import BadBase, reading
from persona_tui.gpu.training.durable import DiskFull, append_line, make_folder, write_durably, written
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.pulse import Pulse, started_at
from persona_tui.gpu.training.worker import Worker, explained, run_stage
from persona_tui.services.training.following import RunFollower


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_training_6_the_log_goes_on_after_a_line_that_was_cut_off(folder: RunFolder) -> None:
    folder.log("step", step=1, loss=0.5, seconds=0.1)
    with folder.log_file.open("a") as file:
        file.write('{"event": "step", "st')
    folder.log("step", step=2, loss=0.25, seconds=0.1)
    folder.log("step", step=1, loss=0.75, seconds=0.1)
    assert [(told.step, told.loss) for told in folder.losses()] == [(1, 0.75), (2, 0.25)]


def test_training_6_what_was_rolled_back_is_no_part_of_the_curve(folder: RunFolder) -> None:
    for step in (1, 2, 3):
        folder.log("step", step=step, loss=float(step), seconds=0.1)
    folder.log("rollback", to=1)
    assert [told.step for told in folder.losses()] == [1]


def test_training_6_what_was_seen_of_steps_that_were_gone_back_from_is_forgotten(folder: RunFolder) -> None:
    def seen(step: int, likeness: float, **facts: list[int]) -> None:
        line = {"step": step, "loss": {"0.5": 1.0}, "likeness": likeness, "each": {"a": likeness}, **facts}
        append_line(folder.evaluation_file, json.dumps(line))

    def found() -> list[tuple[int, float | None]]:
        return [(told["step"], told["likeness"]) for told in folder.looks()]

    seen(20, 0.2, went_back_to=[])
    seen(40, 0.4, went_back_to=[])
    assert found() == [(20, 0.2), (40, 0.4)]
    # Step 45 failed: from 30 on the steps are others.
    folder.note(interventions=[{"back_to": 30, "step": 45, "action": "skip", "reason": "."}])
    assert found() == [(20, 0.2)] and folder.likeness_of_each() == {20: {"a": 0.2}}
    seen(40, 0.3, went_back_to=[30])
    assert found() == [(20, 0.2), (40, 0.3)]
    # A step that failed later takes those after its checkpoint along, and no others.
    folder.note(interventions=[*folder.manifest()["interventions"], {"back_to": 60, "step": 70}])
    assert found() == [(20, 0.2), (40, 0.3)]
    # Lines of earlier versions say nothing of it and stay.
    seen(80, 0.8)
    assert found()[-1] == (80, 0.8)


def test_training_6_orders_that_make_no_sense_are_no_orders(folder: RunFolder) -> None:
    folder.order("pause", steps=40)
    assert folder.order("run") == folder.control()
    assert folder.control().steps == 40
    folder.control_file.write_text('{"want": "explode", "steps": true}')
    assert (folder.control().want, folder.control().steps) == ("run", None)


def test_training_6_of_two_orders_at_one_moment_none_is_lost(folder: RunFolder) -> None:
    """The operator's pause beside the trainer's own end."""
    folder.order("run", steps=1)
    barrier = threading.Barrier(2)
    lost: list[str] = []

    def steps() -> None:
        barrier.wait(10)
        for number in range(2, 60):
            if RunFolder(folder.path).order(steps=number).steps != number or folder.control().steps != number:
                lost.append(f"steps {number}")

    other = threading.Thread(target=steps)
    other.start()
    barrier.wait(10)
    for number in range(60):
        want = ("pause", "run")[number % 2]
        folder.order(want)  # type: ignore[arg-type]
        if folder.control().want != want:
            lost.append(want)
    other.join(30)
    assert lost == []
    assert (folder.control().want, folder.control().steps) == ("run", 59)


def test_training_6_one_process_works_in_a_folder_and_others_see_it(folder: RunFolder) -> None:
    assert not folder.is_locked()
    with folder.locked():
        assert folder.is_locked()
        with pytest.raises(NotAllowedNow), folder.locked():
            pass
    assert not folder.is_locked()


def test_training_6_a_heartbeat_tells_whose_it_is_and_takes_no_new_room(folder: RunFolder) -> None:
    pulse = Pulse(folder.heartbeat_file)
    size = folder.heartbeat_file.stat().st_size
    pulse.moved(12345, "training")
    pulse.beat()
    told = folder.heartbeat()
    assert told is not None
    assert (told.pid, told.started, told.step) == (os.getpid(), started_at(os.getpid()), 12345)
    assert folder.heartbeat_file.stat().st_size == size
    pulse.close()


def test_training_6_a_full_disk_changes_nothing(folder: RunFolder) -> None:
    folder.note(status="training")
    with pytest.raises(DiskFull):
        append_line(Path("/dev/full"), "more")
    with pytest.raises(DiskFull), written(folder.path):
        write_whole_disk()
    write_durably(folder.path / "more", b"x")
    assert folder.status() == "training"
    assert not list(folder.path.glob(".*.part"))


def write_whole_disk() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"x")


@pytest.mark.parametrize("leap", [86_400.0 * 365, -86_400.0 * 365])
def test_training_6_a_clock_that_is_set_makes_no_run_look_dead_or_alive(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, leap: float
) -> None:
    folder.note(status="training")
    pulse, follower = Pulse(folder.heartbeat_file), RunFollower(folder.path)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + leap)
    pulse.beat()
    assert follower.look().sign == "alive"
    told = json.loads(folder.heartbeat_file.read_text())
    folder.heartbeat_file.write_text(json.dumps({**told, "beat": told["beat"] - 60}))
    assert follower.look().sign == "silent"
    pulse.close()


def test_training_6_memory_that_has_ended_is_told_as_that() -> None:
    import torch

    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 50)
    for problem in (refused.value, MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory")):
        told = explained(problem)
        assert (told.title, told.exit_code) == ("Out of RAM", 1) and "resume" in told.hint
    assert explained(RuntimeError("shapes differ")).title != "Out of RAM"
    # Nor is a base model called damaged for it.
    with pytest.raises(RuntimeError) as caught, reading(Path("base"), "weights"):
        raise RuntimeError("Failed to import FluxPipeline") from MemoryError()
    assert explained(caught.value).title == "Out of RAM"
    with pytest.raises(BadBase), reading(Path("base"), "weights"):
        raise RuntimeError("shapes differ")


def test_training_6_nothing_is_made_where_a_run_was_that_was_moved_while_it_trains(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.run_file.write_text("")
    samples = folder.samples / "step-00000020"
    tried: list[str] = []

    def moved(worker: Worker) -> Status:
        worker.insist(lambda: make_folder(samples, within=folder.path))
        folder.path.rename(tmp_path / "elsewhere")
        with pytest.raises(StorageError):  # as it is met with between a look and its write
            make_folder(samples, within=folder.path)
        tried.append("make")
        worker.log("step", step=1)
        return "done"

    assert run_stage(folder, "training", moved) == 1
    assert tried and not folder.path.exists()
    assert "is gone from" in (said := capfd.readouterr().err) and "train resume ID --folder FOLDER" in said
    elsewhere = RunFolder(tmp_path / "elsewhere")
    assert elsewhere.status() == "training" and (elsewhere.samples / samples.name).is_dir()
    # A folder of that name that holds no run is not written either.
    folder.path.mkdir()
    assert run_stage(folder, "training", moved) == 1
    assert list(folder.path.iterdir()) == []
