"""Items 3, 5 and 6 by commands: plan, start, watch, kill, compare; with a real tiny base model."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persona_tui.cli.train import _say
from persona_tui.cli.train_compare import _scores
from persona_tui.cli.train_lines import event_line, follow_line, likeness, made
from persona_tui.gpu.training.folder import Loss
from persona_tui.gpu.training.pulse import FREE_SOME
from persona_tui.services.training.attach import Attached
from persona_tui.services.training.runs import CheckpointView
from tests.cli.conftest import Shell
from tests.support.datasets import draw_all


@pytest.fixture(scope="module")
def peopled_dataset(peopled: Shell, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """An installation with a persona whose dataset is fit for training."""
    source = draw_all(tmp_path_factory.mktemp("in"), 9, side=600)
    made = ("Mira", "v1", "--trigger", "ohwx_mira", "--fictional")
    assert peopled("dataset", "create", *made).code == 0
    assert peopled("dataset", "add", "Mira", "v1", str(source)).code == 0
    return peopled


def test_training_8_status_says_how_many_samples_are_likeness_enough() -> None:
    told = {"step": 20, "likeness": 0.512, "threshold": 0.437, "calibrated_on": 64, "passed": 0.75}
    now = Attached(
        found=True, alive=True, step=20, total_steps=40, doing="training", heartbeat_age=1.0, losses=(),
        seconds_per_step=None, seconds_left=None, events=(), samples=(), exported=None,
        evaluations=({"step": 0, "likeness": None}, {**told, "outcomes": {"seen": 6, "no face": 2}}),
    )  # fmt: skip
    assert list(likeness(now)) == [
        "likeness 0.51 at step 20; 75% of the samples reach 0.44, found from its references; no face: 2"
    ]
    usual = {**told, "calibrated_on": 0}
    assert "0.44, a usual one" in next(likeness(replace(now, evaluations=(usual,))))
    assert list(likeness(replace(now, evaluations=()))) == []
    weak = {**told, "weak": True, "scorer": "clip 1a2b, masked subject (weak)"}
    said = next(likeness(replace(now, evaluations=(weak,))))
    assert said.startswith("likeness 0.51 (weak) at step 20, by clip 1a2b, masked subject (weak); 75%")


def test_training_6_a_full_disk_is_told_where_one_watches() -> None:
    now = Attached(
        found=True, alive=True, step=30, total_steps=300, doing="waiting for space", heartbeat_age=1.0,
        losses=(Loss(30, 0.5, 1.0),), seconds_per_step=1.0, seconds_left=None, evaluations=(), samples=(),
        exported=None, events=(),
    )  # fmt: skip
    known = {"status": "training", "is_live": True, "folder": Path("/run"), "trouble": "", "hint": ""}
    told = "There is no room left on the disk of /run. Free some: it goes on by itself."
    waits = f"training: step 30 of 300, waiting for space, loss 0.5000. {told}"
    noted = {"trouble": "There is no room left on the disk of /run.", "hint": FREE_SOME}
    # Told once, whether the database knows of it already or not.
    assert follow_line(cast(Any, SimpleNamespace(**known)), now) == waits
    assert follow_line(cast(Any, SimpleNamespace(**known | noted)), now) == waits
    going = replace(now, doing="training", step=31, seconds_left=600.0)
    line = follow_line(cast(Any, SimpleNamespace(**known)), going)
    assert line == "training: step 31 of 300, loss 0.5000, 1.00 s a step, 10 min left"
    starts = replace(going, doing="starting")
    assert follow_line(cast(Any, SimpleNamespace(**known)), starts) == line


def test_training_6_a_training_that_is_followed_says_no_line_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    starts = Attached(
        found=True, alive=True, step=0, total_steps=60, doing="starting", heartbeat_age=1.0, losses=(),
        seconds_per_step=None, seconds_left=None, evaluations=(), samples=(), exported=None, events=(),
    )  # fmt: skip
    view = cast(Any, SimpleNamespace(status="training", is_live=True, trouble="", hint="", folder=Path("/")))
    before = ""
    for doing in ("starting", "training", "evaluating"):
        before = _say(view, replace(starts, doing=doing), False, before)
    assert capsys.readouterr().out.splitlines() == [
        "training: step 0 of 60",
        "training: step 0 of 60, evaluating",
    ]


def test_training_6_the_log_names_the_step_of_a_checkpoint() -> None:
    at = "2026-11-29T10:44:35.123+00:00"
    assert event_line({"at": at, "event": "checkpoint", "step": 15}) == f"{at[:19]} checkpoint step 15"
    assert event_line({"at": at, "event": "began", "stage": "training"}) == f"{at[:19]} began training"
    assert event_line({"at": at, "event": "done"}) == f"{at[:19]} done"


def test_training_6_checkpoints_are_compared_under_words() -> None:
    scores = {"likeness": 0.5, "validation_loss": 1.5, "seconds": 24.0, "passed": 0.75, "threshold": 0.4375}
    found = CheckpointView(20, False, True, {**scores, "calibrated_on": 64, "scorer": "arcface"})
    usual = CheckpointView(40, False, True, {**scores, "calibrated_on": 0, "scorer": "arcface"})
    head, *rows = _scores(cast(Any, SimpleNamespace(best_step=None)), (found, usual), 40, {})
    words = ("step", "likeness", "recognised", "seconds to look", "threshold", "held-out loss", "likeness by")
    assert re.split(r"\s{2,}", head.strip()) == list(words)
    assert "0.4375 (of 64 pairs)" in rows[0] and "0.4375 (a usual one)" in rows[1]


def test_training_9_status_says_what_the_file_holds_and_does_in_16_bits() -> None:
    exported = {"weights": "ema", "base_difference": {"problem": "The comparison was cut off."}}
    now = Attached(
        found=True, alive=False, step=9, total_steps=9, doing="done", heartbeat_age=None, losses=(),
        seconds_per_step=None, seconds_left=None, evaluations=(), events=(), samples=(), exported=exported,
    )  # fmt: skip
    view = cast(Any, SimpleNamespace(lora="Mira@4", best_step=9))
    assert list(made(view, now)) == [
        "made: Mira@4, of step 9, the average of its weights",
        "   Not compared with the base in 16 bits. The comparison was cut off.",
    ]
    assert list(made(cast(Any, SimpleNamespace(lora=None)), replace(now, exported=None))) == []


def test_training_6_what_can_not_be_trained_is_refused_in_a_sentence(
    peopled_dataset: Shell, tmp_path: Path
) -> None:
    shell = peopled_dataset
    said = shell("train", "plan", "Mira", "v1", "--family", "flux9")
    assert said.code == 2 and "no base model flux9" in said.err and "qwen-image" in said.err
    said = shell("train", "plan", "Mira", "v1")
    assert said.code == 2 and "No base model was named." in said.err and "qwen-image" in said.err
    said = shell("train", "plan", "Mira", "v1", "--family", "flux1")
    assert said.code == 2 and "models.dir is not set" in said.err
    said = shell("train", "plan", "Mira", "v1", "--family", "flux1", "--rank", "0")
    assert said.code == 2 and "Rank" in said.err
    for command in ("start", "pause", "stop", "resume", "status", "compare"):
        said = shell("train", command, "7")
        assert said.code == 2 and "There is no training 7." in said.err
    assert shell("train", "status", "--json").json == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_training_6_a_training_by_commands_is_killed_and_comes_out(
    peopled_dataset: Shell, tmp_path: Path
) -> None:
    from tests.support.tiny_pipelines import tiny_pipeline

    shell, base = peopled_dataset, tiny_pipeline("flux1", tmp_path)
    plan = ("train", "plan", "Mira", "v1", "--family", "flux1", "--base", str(base), "--size", "64")
    said = shell(*plan, "--steps", "60", "--rank", "4", "--optimizer", "adamw", "--json")
    assert said.code == 0, said.err
    assert said.json["licence"]["to_be_acknowledged"] is True and said.json["recipe"]["dtype"] == "fp32"
    run_id = str(said.json["run_id"])
    said = shell("train", "start", run_id)
    assert said.code == 1 and "may not be used commercially" in said.err
    assert shell("train", "start", run_id, "--accept-licence").code == 0

    def now() -> dict[str, Any]:
        # Nobody leads: the supervisor takes the killed stage up, and the command registers what came of it.
        told: dict[str, Any] = shell("train", "status", run_id, "--json").json
        return told

    def until(done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not done(told := now()):
            assert told["training"]["status"] not in ("failed", "stopped"), told
            time.sleep(0.2)
        return told

    told = until(lambda told: told["now"]["step"] >= 3)
    beat = json.loads((Path(told["training"]["folder"]) / "heartbeat.json").read_text())
    os.kill(beat["pid"], signal.SIGKILL)
    told = until(lambda told: told["training"]["status"] == "done" and told["training"]["lora"] is not None)
    assert told["training"]["step"] == 60 and told["training"]["attempt"] == 1
    assert [event["event"] for event in told["now"]["events"]].count("died") == 1
    checkpoints = shell("train", "compare", run_id, "--json").json["checkpoints"]
    silent = sum(not one["kept"] and not one["scores"] for one in checkpoints)
    compared = shell("train", "compare", run_id).out
    assert silent > 0 and f"{silent} more were removed before they were looked at." in compared
    # Evaluated at eight noise levels, and told for each.
    _, _, levels = compared.partition("Loss on held-out pictures by noise level:\n")
    assert levels.split()[:9] == ["step", "0.06", "0.19", "0.31", "0.44", "0.56", "0.69", "0.81", "0.94"]
    assert "held out, loss by noise: 0.06 " in shell("train", "status", run_id).out
    (lora,) = shell("lora", "list", "--json").json
    assert (lora["name"], lora["family"], lora["file"]) == ("Mira", "flux", "there")
    assert told["now"]["encoded"] == [9, 9]
    assert "made: Mira@1, of step" in shell("train", "status", run_id).out
    said = shell.real("train", "status", run_id, "--follow", "--json")
    assert said.code == 0 and json.loads(said.out.splitlines()[-1])["status"] == "done"
