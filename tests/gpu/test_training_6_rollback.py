"""Bad numbers, gone back from with something changed, and not for ever; slow steps, which are only told."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pynvml
import pytest
import torch

from persona_tui.gpu.training import pace, rollback
from persona_tui.gpu.training.cache import Cache
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.loop import Training
from persona_tui.gpu.training.pace import Pace
from persona_tui.gpu.training.rollback import Diverged, Failure, Intervention
from persona_tui.gpu.training.trainee import Trainee
from persona_tui.gpu.training.worker import Worker
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, small_recipe, small_run, write_dataset
from tests.support.training_stages import carried_out


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("rollback")
    sha256 = write_dataset(place / "set", pictures(4))
    folder = small_run(
        place / "run", small_recipe(tiny_pipeline("flux1", place), place / "set", sha256, steps=8)
    )
    assert carried_out("encode", folder).code == 0
    return folder


def begun(encoded: RunFolder, path: Path) -> tuple[RunFolder, Trainee]:
    run = encoded.run()
    cache = Cache(encoded.cache)
    folder = small_run(path, run)
    return folder, Trainee(run, cache.index(run), cache)


def spoil(trainee: Trainee, *calls: int) -> list[int]:
    """Have the transformer answer with nonsense at these forwards; gives the list of all that were made."""
    made: list[int] = []

    def answer(_module: Any, _given: Any, output: Any) -> Any:
        made.append(len(made) + 1)
        return (output[0] * math.nan, *output[1:]) if made[-1] in calls or not calls else output

    trainee.transformer.register_forward_hook(answer)
    return made


def test_training_6_a_bad_number_goes_back_skips_its_step_and_draws_anew(
    encoded: RunFolder, tmp_path: Path
) -> None:
    untouched_folder, untouched = begun(encoded, tmp_path / "untouched")
    with Worker(untouched_folder) as worker:
        Training(worker, untouched, None).to_the_end()
    folder, trainee = begun(encoded, tmp_path / "run")
    spoil(trainee, 5)
    with Worker(folder) as worker:
        assert Training(worker, trainee, None).to_the_end() == "done"
    told = [event for event in folder.events() if event["event"] == "rollback"]
    assert [(event["step"], event["to"], event["action"]) for event in told] == [(5, 3, "skip")]
    assert "no number, with 00" in told[0]["message"]
    assert folder.manifest()["interventions"] == [
        {"back_to": 3, "step": 5, "action": "skip", "reason": told[0]["message"]}
    ]
    mine, theirs = ({loss.step: loss.loss for loss in one.losses()} for one in (folder, untouched_folder))
    assert [mine[step] for step in (1, 2, 3)] == [theirs[step] for step in (1, 2, 3)]
    assert 5 not in mine and mine[4] != theirs[4]
    assert all(bool(weight.isfinite().all()) for weight in trainee.lora().values())


def test_training_6_what_stays_bad_stops_the_run_and_says_so(encoded: RunFolder, tmp_path: Path) -> None:
    folder, trainee = begun(encoded, tmp_path / "run")
    made = spoil(trainee)
    with Worker(folder) as worker, pytest.raises(Diverged, match="Going back 3 times did not help"):
        Training(worker, trainee, None).to_the_end()
    assert len(made) < 20
    assert torch.equal(
        trainee.lora()[next(iter(trainee.weights))], trainee.weights[next(iter(trainee.weights))]
    )


def test_training_6_an_explosion_halves_the_rate_and_the_same_step_never_fails_twice() -> None:
    usual = [1.0] * 20
    rollback.check(8.0, 1.0, usual, ["a.png"])
    with pytest.raises(Failure, match=r"50 times its median, with a\.png") as failed:
        rollback.check(50.0, 1.0, usual, ["a.png"])
    first = rollback.decided(failed.value, 120, 100, [])
    assert first.action == "halve"
    assert [rollback.rate_factor(step, [first]) for step in (100, 101, 120, 121)] == [1, 0.5, 0.5, 1]
    assert [rollback.attempt_of(step, [first]) for step in (100, 101, 120, 121)] == [0, 1, 1, 0]
    with pytest.raises(Diverged, match="Step 120 failed twice"):
        rollback.decided(failed.value, 120, 100, [first])
    for others in ([(100, 110), (100, 111), (100, 300)], [(90, 290), (300, 310), (320, 330)]):
        before = [Intervention(back_to, step, "skip", "") for back_to, step in others]
        with pytest.raises(Diverged, match="Going back 3 times"):
            rollback.decided(failed.value, 380, 100 if others[0][0] == 100 else 350, before)
    assert rollback.decided(failed.value, 999, 900, before).step == 999


def test_training_6_a_slow_step_is_told_by_its_own_buckets_measure() -> None:
    now = [0.0]
    pace = Pace(lambda: ["The card slows down because it is hot."], lambda: now[0])
    small, large = (512, 512), (1024, 1024)
    for _ in range(8):
        assert pace.took(small, 1.0) is None
        assert pace.took(large, 4.0) is None
    assert pace.took(large, 5.0) is None
    told = pace.took(small, 3.5)
    assert told == {
        "seconds": 3.5, "usual": 1.0, "bucket": "512×512",
        "reasons": ["The card slows down because it is hot."],
    }  # fmt: skip
    assert pace.took(small, 9.0) is None
    now[0] = 61.0
    assert pace.took(small, 9.0) is not None


def test_training_6_a_slow_step_is_explained_by_swap_load_and_the_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [*(name for name, _ in pace._BRAKES)]
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetCurrentClocksEventReasons=lambda _: nvml.reasons,
        nvmlDeviceGetComputeRunningProcesses=lambda _: [SimpleNamespace(pid=pid) for pid in nvml.pids],
        nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=nvml.used, total=100),
        reasons=0,
        pids=[os.getpid()],
        used=50,
        **{name: getattr(pynvml, name) for name in names},
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    swapped, load = [1000], [0.0]
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(sin=swapped[0]))
    monkeypatch.setattr(os, "getloadavg", lambda: (load[0], 0.0, 0.0))
    seen = pace.Surroundings(0)
    assert seen.reasons() == []
    nvml.reasons = (
        pynvml.nvmlClocksEventReasonHwThermalSlowdown | pynvml.nvmlClocksEventReasonSwThermalSlowdown
    )
    nvml.pids, nvml.used, swapped[0], load[0] = [os.getpid(), 1, 7], 98, 5000, 1000.0
    assert seen.reasons() == [
        "The machine reads memory back from swap.",
        "Other processes keep the CPU busy.",
        "The card slows down because it is hot.",
        "Another process works on the card (pid 1).",
        "The card's memory is full; the driver may be moving it to the host's.",
    ]
    # In a container the driver numbers processes in another way: one is this one.
    nvml.reasons, nvml.used, load[0] = pynvml.nvmlClocksEventReasonSwPowerCap, 50, 0.0
    nvml.pids = [123456789]
    assert seen.reasons() == ["The card runs at its power limit."]
    nvml.pids = [123456789, 123456790]
    assert seen.reasons() == ["The card runs at its power limit.", "Another process works on the card."]
    # A driver that answers nothing hides none of the rest.
    nvml.nvmlInit, swapped[0] = None, 9000
    assert seen.reasons() == ["The machine reads memory back from swap."]
