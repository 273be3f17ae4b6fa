"""M14: compiled blocks and other kernels for attention: off unless asked for, timed, and no loss changes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.memory import Speed, noted_peak, noted_speeds
from persona_tui.gpu.training.run_file import RunFile, checked
from persona_tui.gpu.training.speed import options_explained
from persona_tui.services.training.probing import Probe, options, way
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, small_recipe, small_run, write_dataset
from tests.support.training_stages import carried_out

GIB = 1 << 30


def test_training_5_options_that_are_off_leave_the_hashes_of_older_runs() -> None:
    run = small_recipe(Path("/base"), Path("/set"), "0" * 64)
    told = run.model_dump(mode="json", exclude={"base", "dataset", "parent", "compile", "attention_backend"})
    before = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    assert run.hash() == before
    changed = [run.model_copy(update=one) for one in ({"compile": True}, {"attention_backend": "math"})]
    assert len({run.learning_hash(), *(one.learning_hash() for one in changed)}) == 3
    with pytest.raises(InvalidRequest, match="compile needs all blocks on the card"):
        checked(run.model_dump() | {"compile": True, "swap_blocks": 1, "checkpointing": True}, "run.toml")


def test_training_5_an_option_that_fails_is_told_from_other_failures() -> None:
    run = small_recipe(Path("/base"), Path("/set"), "0" * 64)
    with pytest.raises(RuntimeError, match="other"), options_explained(run):
        raise RuntimeError("other")
    flash = run.model_copy(update={"attention_backend": "flash"})
    with pytest.raises(InvalidRequest, match="by flash here: no mask") as refused, options_explained(flash):
        raise ValueError("no mask\nand more")
    assert "--attention native" in refused.value.hint
    with pytest.raises(RuntimeError), options_explained(run.model_copy(update={"compile": True})):
        raise RuntimeError("not of the compiler")


def test_training_5_the_faster_way_is_proposed_where_it_is_worth_it() -> None:
    def probe(*speeds: Speed) -> Probe:
        run = small_recipe(Path("/base"), Path("/set"), "0" * 64)
        return Probe(run, True, GIB, GIB, GIB, GIB, None, None, 2 * GIB, False, (1.0, 0.5), speeds)

    plain, slightly = Speed(False, "native", 1.0), Speed(False, "math", 0.97)
    refused = Speed(False, "flash", None, "Attention can't be computed by flash here: mask")
    both = Speed(True, "efficient", 0.5)
    assert probe().speed_sentences == () and probe().faster is None
    assert probe(plain, slightly, refused).faster is None
    assert probe(plain, slightly, refused).speed_sentences[-1] == "Nothing of it is worth taking."
    found = probe(plain, slightly, refused, both)
    assert found.faster == both
    assert found.speed_sentences == (
        "Without options: 1 steps/s.",
        "Attention by math: 1.03 steps/s.",
        "Attention by flash: Attention can't be computed by flash here: mask",
        "Compiled blocks and attention by efficient: 2 steps/s.",
        "Compiled blocks and attention by efficient is proposed: --compile --attention efficient.",
    )
    assert (way(plain), options(plain)) == ("Without options", "")


def stage(name: str, folder: RunFolder) -> int:
    """A stage's process, as the supervisor starts it."""
    command = [sys.executable, "-m", "persona_tui.gpu.training", name, str(folder.path)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, timeout=280).returncode


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("g++") is None, reason="blocks are compiled for the CPU by a C++ compiler")
def test_training_5_ways_are_timed_and_learn_alike(tmp_path: Path) -> None:
    sha256 = write_dataset(tmp_path / "set", pictures(4))
    recipe = small_recipe(tiny_pipeline("flux1", tmp_path), tmp_path / "set", sha256, steps=3)
    folder = small_run(tmp_path / "compared", recipe)
    assert carried_out("encode", folder).code == 0
    assert stage("compare", folder) == 0, folder.manifest()
    found = {(one.attention_backend, one.compiled): one for one in noted_speeds(folder)}
    assert {name for name, compiled in found if not compiled} == {"native", "math", "flash", "efficient"}
    assert all((one.seconds is None) == bool(one.problem) for one in found.values())
    assert found["native", False].seconds and found["math", False].seconds
    (compiled,) = [one for one in found.values() if one.compiled]
    assert compiled.seconds, compiled.problem

    def losses(name: str, run: RunFile) -> list[float]:
        made = small_run(tmp_path / name, run)
        shutil.rmtree(made.cache)
        shutil.copytree(folder.cache, made.cache)
        assert stage("train", made) == 0, made.manifest()
        peak = noted_peak(made, "train")
        assert peak is not None and peak.on_cpu and peak.side > 0 and peak.bytes > 100 << 20
        return [told.loss for told in made.losses()]

    plain = losses("plain", recipe)
    options_on = {"compile": True, "attention_backend": "math"}
    assert losses("faster", recipe.model_copy(update=options_on)) == pytest.approx(plain, rel=1e-3)
