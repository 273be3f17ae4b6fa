"""`benchmarks/training.py --only card` at tiny size on a CPU: all of it but CUDA; NVML is a double."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from persona_tui.gpu import faces
from persona_tui.gpu.nvml import Card, CardProcess
from persona_tui.gpu.training.folder import RunFolder

GIB = 1 << 30
ROOT = Path(__file__).parents[2]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's part, found as its script finds it."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from training_parts import card

    # Scoring of samples would be another process with libraries of its own.
    monkeypatch.setattr(faces, "is_installed", lambda: False)
    return card


@dataclass
class Fork:
    """A stage in a fork of this process, which has all imports done."""

    pid: int

    def poll(self) -> int | None:
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None


def in_a_fork(stage: str, folder: RunFolder) -> Fork:
    from training_parts import card_stages

    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = card_stages.main([stage, str(folder.path)])
        finally:
            os._exit(code)
    return Fork(child)


def one_card() -> tuple[Card, ...]:
    """Each child of this process holds 3 GiB of it."""
    children = psutil.Process().children()
    held = tuple(CardProcess(child.pid, 3 * GIB) for child in children)
    return (Card(0, "NVIDIA Double", 24 * GIB, GIB, 0, 40, "575", "GPU-0", held),)


def found(figures: Iterator[Any]) -> dict[str, Any]:
    """Figures by what is measured."""
    return {one.name.rpartition("AdamW8bit: ")[2]: one for one in figures}


def test_training_3_the_part_card_measures_in_the_small_on_a_cpu(part: ModuleType, tmp_path: Path) -> None:
    bench = part.Bench(tmp_path, True, reckon=True, size="tiny", cards=one_card, start=in_a_fork, threads=1)
    chosen = [part.SETTINGS[name] for name in ("qwen-edit-2", "flux1-other")]
    told = found(part.planned(bench, chosen))
    assert told["Qwen-Image-Edit: linear layers of its blocks that are not"].value == 0
    assert told["planned peak"].ok and told["planned memory of the host"].ok
    # What fits without computing again is planned with room to spare; at full size it is within 5.
    assert 0 < told["planned activations beside meta tensors"].value < 95
    told = found(part.measured(bench, chosen[:1]))
    peak = told["peak (NVML, the process)"]
    assert (peak.value, peak.target) == (3, 22.5)
    assert peak.baseline > 0.1 and 0.1 < told["memory of the host"].value < 32
    errors = [told[f"planner's error {when} the probe"].value for when in ("before", "after")]
    assert all(map(math.isfinite, errors))
    assert told["seconds of a step"].value > 0 and told["evaluations within it"].value == 2
    told = found(part.measured(bench, chosen[1:]))
    assert len(told) == 2 and all(0 <= one.value < 1000 for one in told.values())
    assert not list(tmp_path.glob("*/run.toml"))


@pytest.mark.long
def test_training_3_the_part_card_alternates_kills_and_resumes(part: ModuleType, tmp_path: Path) -> None:
    bench = part.Bench(tmp_path, True, size="tiny", cards=one_card, start=in_a_fork, threads=1)
    told = found(part.measured(bench, [part.SETTINGS["flux1-pace"]]))
    assert 0.1 < told["steps per second beside a bare loop"].value < 10
    told = found(part.measured(bench, [part.SETTINGS["flux1-resume"]]))
    assert told["killed by SIGKILL"].ok and told["steps in the curve of the killed run"].ok
    # On one thread of a CPU all of it is.
    for words in ("two runs never killed", "a run killed and resumed"):
        assert told[f"LoRA of {words}, SHA-256 equal"].value == 1
        assert told[f"losses of {words}, largest difference"].value == 0


def test_training_3_a_stage_that_fails_is_a_figure_and_the_rest_goes_on(
    part: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass
    class Failing:
        pid: int = os.getpid()

        def poll(self) -> int:
            return 1

    bench = part.Bench(tmp_path, True, size="tiny", cards=one_card, start=lambda *_: Failing(), threads=1)
    told = list(part.measured(bench, [part.SETTINGS[name] for name in ("flux1-all", "flux1-resume")]))
    assert [one.ok for one in told] == [False, False]
    assert "train of flux1-resume-whole: it said nothing" in capsys.readouterr().out


def test_training_3_without_a_card_the_part_says_what_it_needs(
    part: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(part, "planned", lambda bench, chosen: iter(()))
    monkeypatch.setattr(part, "read_cards", tuple)
    assert list(part.figures(True, ["flux1-all"])) == []
    assert "it needs an NVIDIA card of 24 GB or more" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"no setting flux9\. Name one of: flux1-attention, flux1-all"):
        list(part.figures(True, ["flux9"]))
