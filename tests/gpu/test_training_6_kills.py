"""kill -9 on the way: afterwards the weights and the loss curve are those of a run that was never killed.

Fifty kills, each of a run of its own: `benchmarks/training.py`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.worker import EXIT_PAUSED, EXIT_STOPPED
from tests.support.training import pictures, small_recipe, small_run, write_dataset

Order = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def children() -> Iterator[Order]:
    """Carries out a stage of a run in a child that acts as ordered; returns how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.training_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    to_child, from_child = process.stdin, process.stdout

    def carry_out(stage: str, folder: Path, **order: Any) -> dict[str, Any]:
        to_child.write(json.dumps({"stage": stage, "folder": str(folder), **order}) + "\n")
        to_child.flush()
        answer: dict[str, Any] = json.loads(from_child.readline())
        return answer

    yield carry_out
    to_child.close()
    assert process.wait(10) == 0
    from_child.close()


@pytest.fixture(scope="module")
def unharmed(children: Order, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nobody disturbed."""
    place = tmp_path_factory.mktemp("training")
    assert children("base", place / "bases", family="flux1")["exit"] == 0
    dataset_hash = write_dataset(place / "set", pictures(6))
    recipe = small_recipe(place / "bases" / "flux1", place / "set", dataset_hash, ema=0.9, accumulation=2)
    folder = small_run(place / "unharmed", recipe)
    assert children("encode", folder.path)["exit"] == 0
    assert children("train", folder.path)["exit"] == 0
    return folder


def result(folder: RunFolder) -> tuple[str, str, list[tuple[int, float]]]:
    """Hashes of the last weights and of their average, and the loss curve."""
    last = max(folder.checkpoints.glob("step-*"))
    hashes = [
        hashlib.sha256((last / name).read_bytes()).hexdigest()
        for name in ("lora.safetensors", "ema.safetensors")
    ]
    return hashes[0], hashes[1], [(told.step, told.loss) for told in folder.losses()]


def begun(unharmed: RunFolder, path: Path) -> RunFolder:
    """The same run, encoded and not begun."""
    folder = small_run(path, unharmed.run())
    shutil.copytree(unharmed.cache, folder.cache, dirs_exist_ok=True)
    return folder


def copied(unharmed: RunFolder, path: Path) -> RunFolder:
    """The same run, finished."""
    return RunFolder(shutil.copytree(unharmed.path, path))


def test_training_6_a_run_killed_again_and_again_ends_like_one_that_never_was(
    unharmed: RunFolder, children: Order, tmp_path: Path
) -> None:
    folder = small_run(tmp_path / "run", unharmed.run())
    for stage, boundary, n in [
        ("encode", "training:encode:before_write", 3),
        ("encode", "training:encode:after_write", 4),
        ("encode", None, 0),
        ("train", "training:checkpoint:before_fsync", 1),
        ("train", "training:checkpoint:before_manifest", 1),
        ("train", "training:checkpoint:after_rename", 1),
        ("train", "training:step:before_update", 2),
        ("train", "training:checkpoint:before_rename", 1),
        ("train", "training:step:after_update", 5),
        ("train", "training:checkpoint:before_prune", 1),
        ("train", "training:checkpoint:after_fsync", 1),
    ]:
        ended = children(stage, folder.path, boundary=boundary, n=n)
        assert ended["signal"] == (signal.SIGKILL if n else 0), (boundary, ended)
    assert folder.status() == "training" and not folder.is_locked()
    assert children("train", folder.path)["exit"] == 0
    assert result(folder) == result(unharmed)
    assert (folder.status(), unharmed.status()) == ("done", "done")


def test_training_6_a_cut_off_checkpoint_is_told_and_the_one_before_it_taken(
    unharmed: RunFolder, children: Order, tmp_path: Path
) -> None:
    folder = copied(unharmed, tmp_path / "run")
    newest = max(folder.checkpoints.glob("step-*")) / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    assert children("train", folder.path)["exit"] == 0
    assert [told["message"] for told in folder.events() if told["event"] == "broken"] == [
        "The checkpoint of step 10 is broken (optimizer.pt is not what was written); the one before it is taken."
    ]
    assert result(folder) == result(unharmed)


def test_training_6_pause_stop_and_another_number_of_steps_change_no_step(
    unharmed: RunFolder, children: Order, tmp_path: Path
) -> None:
    folder = begun(unharmed, tmp_path / "run")
    assert (
        children("train", folder.path, act="pause", boundary="training:step:after", n=2)["exit"]
        == EXIT_PAUSED
    )
    assert (folder.status(), len(folder.losses())) == ("paused", 2)
    folder.order("run", steps=4)
    assert (
        children("train", folder.path, act="term", boundary="training:step:after", n=1)["exit"]
        == EXIT_STOPPED
    )
    assert (folder.status(), len(folder.losses())) == ("stopped", 3)
    assert children("train", folder.path)["exit"] == 0
    assert (folder.status(), len(folder.losses())) == ("done", 4)
    folder.order(steps=10)
    assert children("train", folder.path)["exit"] == 0
    assert result(folder) == result(unharmed)


def test_training_6_what_is_in_another_state_than_planned_is_refused(
    unharmed: RunFolder, children: Order, tmp_path: Path
) -> None:
    folder = copied(unharmed, tmp_path / "run")
    with folder.locked():
        assert children("train", folder.path)["exit"] == 1
    folder.run_file.write_text(folder.run_file.read_text().replace("rank = 4", "rank = 8"))
    assert children("train", folder.path)["exit"] == 2
    assert folder.status() == "failed"
    assert "another recipe" in folder.manifest()["message"]
