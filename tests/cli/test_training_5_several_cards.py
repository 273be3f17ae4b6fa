"""Item 5: `train start --cards` has one process for each card; here two on the CPU, by gloo."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from persona_tui.services import lease
from persona_tui.services.training.watch import TrainingWatch
from tests.cli.conftest import Shell
from tests.support.datasets import draw_all
from tests.support.tiny_pipelines import tiny_pipeline


def followers(folder: str) -> list[psutil.Process]:
    """The processes beside the first one that train in that folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        told = process.info
        if folder in (told["cmdline"] or ()) and (told["environ"] or {}).get("RANK") == "1":
            found.append(process)
    return found


@pytest.mark.long
@pytest.mark.timeout(600)
def test_training_5_two_processes_train_one_run_are_killed_and_resumed(
    peopled: Shell, inside: Callable[[], Any], tmp_path: Path
) -> None:
    shell, base = peopled, tiny_pipeline("qwen-image", tmp_path)
    source = draw_all(tmp_path / "in", 9, side=600)
    assert shell("dataset", "create", "Mira", "v1", "--trigger", "ohwx_mira", "--fictional").code == 0
    assert shell("dataset", "add", "Mira", "v1", str(source)).code == 0
    plan = ("train", "plan", "Mira", "v1", "--family", "qwen-image", "--base", str(base), "--size", "64")
    plan += ("--steps", "50000", "--rank", "4", "--optimizer", "adamw", "--json")
    alone = str(shell(*plan).json["run_id"])
    said = shell("train", "start", alone, "--cards", "cpu,cpu")
    assert said.code == 2 and "has 1 batch, and 2 cards would share it" in said.err
    for words, why in (("0,0", "There is no card 0."), ("cpu,0", "the CPU beside cards")):
        said = shell("train", "start", alone, "--cards", words)
        assert said.code == 2 and why in said.err
    told = shell(*plan, "--cards", "cpu,cpu").json
    run_id = str(told["run_id"])
    assert told["recipe"]["accumulation"] == 2 and len(told["further_cards"]) == 1
    assert any("2 cards share each step of 2 batches." in words for words in told["choices"])

    assert shell("train", "start", run_id).code == 0
    try:
        _kill_pause_and_resume(shell, inside, run_id)
    finally:
        shell("train", "stop", run_id)


def _kill_pause_and_resume(shell: Shell, inside: Callable[[], Any], run_id: str) -> None:
    def now() -> dict[str, Any]:
        with inside() as resources:
            asyncio.run(TrainingWatch(resources.trainings).tick())
        found: dict[str, Any] = shell("train", "status", run_id, "--json").json
        return found

    def until(done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while not done(told := now()):
            assert told["training"]["status"] not in ("failed", "stopped"), told
            time.sleep(0.2)
        return told

    told = until(lambda told: told["training"]["step"] >= 2)
    folder = told["training"]["folder"]
    (other,) = followers(folder)
    with inside() as resources, resources.database.session_scope() as session:
        (held,) = lease.of_run(session, int(run_id))
        assert held.card.endswith(":cpu")
    # The one that only follows is killed: the whole is taken up again from the last checkpoint.
    os.kill(other.pid, signal.SIGKILL)
    until(lambda told: any(event["event"] == "died" for event in told["now"]["events"]))
    told = until(lambda told: told["now"]["alive"] and bool(followers(folder)))
    assert shell("train", "pause", run_id).code == 0
    told = until(lambda told: told["training"]["status"] == "paused")
    assert followers(folder) == []
    with inside() as resources, resources.database.session_scope() as session:
        assert lease.of_run(session, int(run_id)) == ()
    checkpoint = max((Path(folder) / "checkpoints").glob("step-*"))
    assert json.loads((checkpoint / "manifest.json").read_text())["made_with"]["cards"] == 2
    # One process goes on with it, which is said.
    last = str(told["training"]["step"] + 5)
    assert shell("train", "resume", run_id, "--cards", "cpu", "--steps", last).code == 0
    told = until(lambda told: told["training"]["status"] == "done" and told["training"]["lora"] is not None)
    assert str(told["training"]["step"]) == last and told["training"]["further_cards"] == []
    events = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    resumed = [event["different"] for event in events if event["event"] == "resumed"]
    assert resumed[-1]["cards"] == [2, 1]
