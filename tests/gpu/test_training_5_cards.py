"""Two processes that train one run, as on two cards."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from persona_tui.gpu.training import loop
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.memory import noted_peak
from persona_tui.gpu.training.worker import run_stage
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, small_recipe, small_run, write_dataset
from tests.support.training_stages import carried_out


def train_on_two(folder: RunFolder) -> list[int]:
    """Exit codes of two processes that were started as `accelerate launch` starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [os.fork() or _carry_out(folder, rank, port) for rank in (0, 1)]
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in processes]


def _carry_out(folder: RunFolder, rank: int, port: int) -> int:
    """Never returns."""
    code = 99
    try:
        told = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": 2,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        os.environ |= {name: str(value) for name, value in told.items()}
        code = run_stage(folder, "training", loop.train) if rank == 0 else loop.follow(folder)
    finally:
        os._exit(code)


@pytest.mark.long
def test_training_5_two_processes_train_like_one_with_two_batches(tmp_path: Path) -> None:
    sha256 = write_dataset(tmp_path / "set", pictures(4))
    base = tiny_pipeline("flux1", tmp_path)
    recipe = small_recipe(base, tmp_path / "set", sha256, steps=4, accumulation=2, checkpoint_every=2)
    alone, together = (small_run(tmp_path / name, recipe) for name in ("alone", "together"))
    for folder in (alone, together):
        assert carried_out("encode", folder).code == 0
    assert carried_out("train", alone).code == 0
    together.order(steps=2)
    assert train_on_two(together) == [0, 0]
    together.order(steps=4)
    assert train_on_two(together) == [0, 0]
    peak = noted_peak(together, "train")
    # Each has torch and the model of its own; the largest is what the plan is held against.
    assert peak is not None and len(peak.each) == 2 and min(peak.each) > 100 << 20
    assert peak.bytes == max(peak.each) and peak.side > 0
    assert [loss.loss for loss in together.losses()] == pytest.approx([loss.loss for loss in alone.losses()])
    one, two = (
        load_file(folder.checkpoints / "step-00000004" / "lora.safetensors") for folder in (alone, together)
    )
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-5
    assert any(
        not torch.equal(weight, torch.zeros_like(weight)) for name, weight in two.items() if "lora_B" in name
    )
