"""kill -9 on the way: afterwards the weights and the loss curve are those of a run that was never killed.

Fifty kills, each of a run of its own: `benchmarks/training.py`.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_tui.gpu.training import checkpoints
from persona_tui.gpu.training.evaluate import evaluations
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.worker import EXIT_PAUSED, EXIT_STOPPED
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, result, small_recipe, small_run, write_dataset
from tests.support.training_stages import carried_out


@pytest.fixture(scope="module")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nobody disturbed."""
    place = tmp_path_factory.mktemp("training")
    dataset_hash = write_dataset(place / "set", pictures(6))
    recipe = small_recipe(tiny_pipeline("flux1", place), place / "set", dataset_hash, ema=0.9, accumulation=2)
    folder = small_run(place / "unharmed", recipe)
    assert carried_out("encode", folder).code == 0
    assert carried_out("train", folder).code == 0
    return folder


def begun(unharmed: RunFolder, path: Path) -> RunFolder:
    """The same run, encoded and not begun."""
    folder = small_run(path, unharmed.run())
    shutil.copytree(unharmed.cache, folder.cache, dirs_exist_ok=True)
    return folder


def copied(unharmed: RunFolder, path: Path) -> RunFolder:
    """The same run, finished."""
    return RunFolder(shutil.copytree(unharmed.path, path))


def test_training_6_a_run_killed_again_and_again_ends_like_one_that_never_was(
    unharmed: RunFolder, tmp_path: Path
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
        ended = carried_out(stage, folder, boundary=boundary, n=n)
        assert ended.signal == (signal.SIGKILL if n else 0), (boundary, ended)
    assert folder.status() == "training" and not folder.is_locked()
    assert carried_out("train", folder).code == 0
    assert result(folder) == result(unharmed)
    assert (folder.status(), unharmed.status()) == ("done", "done")


def test_training_6_a_run_killed_in_an_evaluation_ends_like_one_that_was_never_looked_at(
    unharmed: RunFolder, tmp_path: Path
) -> None:
    folder = small_run(tmp_path / "run", unharmed.run().model_copy(update={"evaluate_every": 5}))
    shutil.copytree(unharmed.cache, folder.cache, dirs_exist_ok=True)
    for boundary, n in [
        ("training:evaluate:before", 1),  # of step 0, before anything was drawn
        ("training:evaluation:before_write", 2),  # of step 5: drawn, not noted
        ("training:evaluate:after", 1),  # of step 5: noted, and no checkpoint knows it
        ("training:evaluation:before_write", 2),  # of step 10, its last
    ]:
        ended = carried_out("train", folder, boundary=boundary, n=n)
        assert ended.signal == signal.SIGKILL, (boundary, ended)
    assert carried_out("train", folder).code == 0
    assert result(folder) == result(unharmed)
    assert [one.step for one in evaluations(folder)] == [0, 5, 10]


def _cut(data: bytes) -> bytes:
    return data[:-100]


def _flip_weights(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _flip_recipe(data: bytes) -> bytes:
    """In the manifest's hash of the recipe, which then reads as another one."""
    at = data.index(b"learning_hash") + len(b'learning_hash": "') + 5
    return data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("optimizer.pt", _cut), ("lora.safetensors", _flip_weights), ("manifest.json", _flip_recipe)],
)
def test_training_6_a_broken_checkpoint_is_told_and_the_one_before_it_taken(
    unharmed: RunFolder, tmp_path: Path, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    folder = copied(unharmed, tmp_path / "run")
    newest = max(folder.checkpoints.glob("step-*")) / name
    newest.write_bytes(spoil(newest.read_bytes()))
    assert carried_out("train", folder).code == 0
    assert [told["message"] for told in folder.events() if told["event"] == "broken"] == [
        f"The checkpoint of step 10 is broken ({name} is not what was written); the one before it is taken."
    ]
    assert result(folder) == result(unharmed)


def test_training_6_the_best_are_kept_of_those_that_are_there(tmp_path: Path) -> None:
    for step in (3, 6, 9, 12, 15, 18):
        checkpoints.path_of(tmp_path, step).mkdir()
    # 1 and 2 are thought the best by now, and gone.
    scores = {1: 0.9, 2: 0.8, 3: 0.2, 6: 0.5, 9: 0.4, 12: 0.3}
    checkpoints.prune(tmp_path, scores, 2)
    assert checkpoints.steps_in(tmp_path) == [6, 9, 15, 18]
    checkpoints.prune(tmp_path, scores, 0)
    assert checkpoints.steps_in(tmp_path) == [15, 18]


def test_training_6_pause_stop_and_another_number_of_steps_change_no_step(
    unharmed: RunFolder, tmp_path: Path
) -> None:
    folder = begun(unharmed, tmp_path / "run")
    assert carried_out("train", folder, act="pause", boundary="training:step:after", n=2).code == EXIT_PAUSED
    assert (folder.status(), len(folder.losses())) == ("paused", 2)
    folder.order("run", steps=4)
    assert carried_out("train", folder, act="term", boundary="training:step:after", n=1).code == EXIT_STOPPED
    assert (folder.status(), len(folder.losses())) == ("stopped", 3)
    assert carried_out("train", folder).code == 0
    assert (folder.status(), len(folder.losses())) == ("done", 4)
    folder.order(steps=10)
    assert carried_out("train", folder).code == 0
    assert result(folder) == result(unharmed)


def test_training_6_steps_that_come_at_the_last_one_are_trained(unharmed: RunFolder, tmp_path: Path) -> None:
    folder = begun(unharmed, tmp_path / "run")
    folder.order(steps=4)
    last = carried_out("train", folder, act="more", boundary="training:checkpoint:after_fsync", n=3)
    assert (last.code, folder.status(), len(folder.losses())) == (0, "done", 10)
    assert result(folder) == result(unharmed)


def test_training_6_a_stop_at_the_last_step_keeps_the_file_from_being_made(
    unharmed: RunFolder, tmp_path: Path
) -> None:
    folder = begun(unharmed, tmp_path / "run")
    assert carried_out("train", folder, act="term", boundary="training:step:after", n=10).code == EXIT_STOPPED
    assert (folder.status(), len(folder.losses())) == ("stopped", 10)
    assert carried_out("train", folder).code == 0
    folder.order("stop")
    assert carried_out("export", folder).code == EXIT_STOPPED
    assert not list(folder.export.glob("*.safetensors")) and folder.status() == "stopped"
    folder.order("run")
    assert carried_out("export", folder).code == 0
    assert len(list(folder.export.glob("*.safetensors"))) == 1


def test_training_6_a_full_disk_is_waited_out(unharmed: RunFolder, tmp_path: Path) -> None:
    folder = begun(unharmed, tmp_path / "run")
    assert carried_out("train", folder, act="fill", boundary="training:step:after", n=2).code == 0
    assert [told["event"] for told in folder.events()].count("space") == 1
    assert result(folder) == result(unharmed)


def test_training_6_what_is_in_another_state_than_planned_is_refused(
    unharmed: RunFolder, tmp_path: Path
) -> None:
    folder = copied(unharmed, tmp_path / "run")
    with folder.locked():
        assert carried_out("train", folder).code == 1
    folder.run_file.write_text(folder.run_file.read_text().replace("rank = 4", "rank = 8"))
    assert carried_out("train", folder).code == 2
    assert folder.status() == "failed"
    assert "another recipe" in folder.manifest()["message"]
