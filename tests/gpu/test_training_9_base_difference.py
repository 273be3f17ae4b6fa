"""How a LoRA that was trained on a quantised base acts on the base in 16 bits."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from persona_tui.errors import NotAllowedNow
from persona_tui.gpu.host_memory import HostMemory
from persona_tui.gpu.training import base_difference, export
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.base_difference import Response, blocks_to_wait, compared
from persona_tui.gpu.training.evaluate import SIGMAS
from persona_tui.gpu.training.folder import RunFolder
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, small_recipe, small_run, write_dataset
from tests.support.training_stages import carried_out


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on NF4 with a block that waits on the host, before its export."""
    place = tmp_path_factory.mktemp("nf4")
    sha256 = write_dataset(place / "dataset", pictures(4))
    base = tiny_pipeline("flux1", place)
    recipe = small_recipe(
        base, place / "dataset", sha256, steps=6, lr=1e-2, quantisation="nf4", swap_blocks=1
    )
    folder = small_run(place / "run", recipe)
    for stage in ("encode", "train"):
        assert carried_out(stage, folder).code == 0
    return folder


def copied(folder: RunFolder, place: Path) -> RunFolder:
    return RunFolder(shutil.copytree(folder.path, place / "run"))


def test_training_9_an_export_of_a_quantised_run_tells_what_it_does_on_the_base_in_16_bits(
    trained: RunFolder, tmp_path: Path
) -> None:
    folder = copied(trained, tmp_path)
    assert carried_out("export", folder).code == 0
    told = folder.manifest()["exported"]
    found = told["base_difference"]
    assert told["difference"] == 0
    assert (found["quantisation"], found["pictures"], found["role"]) == ("nf4", 1, "held_out")
    # NF4 rounds weights by some hundredths: the effect is another, and still the same one for the most part.
    assert 0.001 < found["difference"] < 0.5
    assert found["strength"] == pytest.approx(1, abs=0.2)
    assert len(found["by_sigma"]) == 8
    assert found["loss"] != found["loss_trained_on"]
    beside = json.loads((folder.export / told["file"]).with_suffix(".json").read_text())
    assert beside["base_difference"] == found


def test_training_9_a_file_of_a_run_on_int8_is_held_against_the_copy_cast_alike(
    trained: RunFolder, tmp_path: Path
) -> None:
    """Diffusers leaves the LoRA in fp32 on int8 weights, in the base's dtype on all others."""
    recipe = trained.run().model_copy(update={"quantisation": "int8", "dtype": "bf16", "swap_blocks": 0})
    folder = small_run(tmp_path / "run", recipe)
    for stage in ("encode", "train", "export"):
        assert carried_out(stage, folder).code == 0
    told = folder.manifest()["exported"]
    assert told["difference"] == 0 < told["effect"]
    assert 0 < told["base_difference"]["difference"] < 1


def test_training_9_a_comparison_that_fails_leaves_the_export_whole(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(trained, tmp_path)

    def out_of_memory(*_: object) -> list[Response]:
        raise torch.OutOfMemoryError(f"no room in {tmp_path}")

    monkeypatch.setattr(export, "on_plain_base", out_of_memory)
    assert carried_out("export", folder).code == 0
    told = folder.manifest()["exported"]
    assert told["base_difference"]["problem"].startswith("OutOfMemoryError")
    beside = (folder.export / told["file"]).with_suffix(".json").read_text()
    assert str(tmp_path) not in beside


def test_training_9_a_kill_while_it_is_compared_is_no_reason_to_export_again(
    trained: RunFolder, tmp_path: Path
) -> None:
    folder = copied(trained, tmp_path)
    assert carried_out("export", folder, boundary="training:export:before_comparison", n=1).signal == 9
    made = folder.manifest()["exported"]
    assert (folder.export / made["file"]).is_file()
    again = carried_out("export", folder)
    assert again.code == 0
    assert "training:export:before_trial" not in again.boundaries
    assert folder.manifest()["exported"] == made
    assert "cut off" in made["base_difference"]["problem"]


def test_training_9_a_base_that_fits_nowhere_is_told_with_what_it_takes(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_difference, "host_memory", lambda: HostMemory(1000, "/docker/4f"))
    with pytest.raises(base_difference.NoRoom, match="GiB of the machine's memory"):
        base_difference.waiting_blocks(trained, trained.run(), adapter_of("flux1"), 0)


def test_training_9_blocks_that_wait_on_the_host_change_nothing_of_what_is_said(trained: RunFolder) -> None:
    weights = load_file(trained.checkpoints / "step-00000006" / "lora.safetensors")
    told = [
        base_difference.on_plain_base(trained, trained.run(), adapter_of("flux1"), weights, waiting)
        for waiting in (0, 2)
    ]
    assert len(told[0]) == len(told[1]) == 8
    for one, other in zip(*told, strict=True):
        assert torch.equal(one.learnt, other.learnt) and torch.equal(one.plain, other.plain)
        assert not torch.equal(one.learnt, one.plain)


def test_training_9_as_few_blocks_wait_as_have_to() -> None:
    wait = partial(blocks_to_wait, [4, 4, 6, 2], 3)
    assert [wait(budget) for budget in (19, 18, 15, 11, 9, 8)] == [0, 2, 2, 3, 4, None]


def test_training_9_the_difference_is_a_share_of_the_effect_that_was_trained() -> None:
    shapes = (torch.ones(1, 2, 2), torch.ones(1, 4, 3))

    def side(scale: float) -> list[Response]:
        return [
            Response("held_out", sigma, effect * 0, effect * scale, effect)
            for effect in shapes
            for sigma in SIGMAS
        ]

    run = small_recipe(Path("base"), Path("dataset"), "0" * 64, quantisation="nf4")
    found = compared(side(1), side(0.75), run)
    assert found.difference == pytest.approx(0.25)
    assert found.strength == pytest.approx(0.75)
    assert found.pictures == 2
    assert set(found.by_sigma.values()) == {0.25}
    assert found.loss_trained_on == 0
    assert found.loss == pytest.approx(0.0625)
    with pytest.raises(NotAllowedNow, match="no effect"):
        compared(side(0), side(1), run)
