"""Trainings for the screens: rows with run folders, written as the trainer writes them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from sqlmodel import Session

from persona_tui.gpu.training.families import FAMILIES
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.planner import Prediction
from persona_tui.screens.training_start import PlanDialog
from persona_tui.services.lease import places
from persona_tui.services.training.datasets import DatasetView
from persona_tui.services.training.plan import Plan
from tests.support.training import small_recipe, small_run
from tests.support.world import digest, insert

BEGUN = datetime(2026, 11, 29, 1, 0, tzinfo=UTC)
SECONDS = 1.5


def add_training(session: Session, persona_id: int, path: Path, **fields: Any) -> tuple[int, RunFolder]:
    """A training of 1,000 steps with its folder; what `fields` say goes into its row."""
    told = {"persona_id": persona_id, "name": path.name, "subject": "fictional"}
    dataset = insert(session, "datasets", folder=f"{path}-dataset", **told)
    recipe = small_recipe(path / "base", path / "dataset", digest("dataset"), steps=1000, name="mira")
    folder = small_run(path, recipe)
    row = {
        "persona_id": persona_id, "dataset_id": dataset, "name": "mira", "base_family": "flux1",
        "folder": str(path), "status": "training", "total_steps": 1000,
    }  # fmt: skip
    return insert(session, "training_runs", **{**row, **fields}), folder


def write_steps(folder: RunFolder, first: int, last: int) -> None:
    """The log of these steps: a loss that falls under noise, 1.5 s a step."""
    with folder.log_file.open("a") as file:
        for step in range(first, last + 1):
            loss = 0.2 + 0.6 * math.exp(-step / 120) + 0.15 * abs(math.sin(step * 12.9898))
            at = BEGUN + timedelta(seconds=SECONDS * step)
            told = {"at": at.isoformat(), "event": "step", "step": step, "loss": loss, "seconds": SECONDS}
            file.write(json.dumps(told) + "\n")


def evaluate(
    folder: RunFolder, step: int, likeness: float, subjects: tuple[str, ...] = ("portrait",)
) -> None:
    """An evaluation with its sample pictures."""
    told = {"step": step, "likeness": likeness, "validation_loss": 0.5 - likeness / 4}
    told |= {"threshold": 0.4, "calibrated_on": 36, "passed": float(likeness >= 0.4)}
    with folder.evaluation_file.open("a") as file:
        file.write(json.dumps(told) + "\n")
    for place, subject in enumerate(subjects):
        path = folder.samples / f"step-{step}" / f"{subject}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 80), (step * 31 % 256, 60 + 80 * place % 190, int(250 * likeness))).save(path)


def plan_dialog(choices: tuple[str, ...] = ()) -> PlanDialog:
    """The plan of a training on a CPU, of a dataset with nobody real in it."""
    recipe = small_recipe(Path("/base"), Path("/set"), digest("dataset"))
    prediction = Prediction({"weights": 1 << 30}, 0, 2 << 30)
    family = FAMILIES["qwen-image"]
    plan = Plan(None, None, recipe, family, places(())[0], prediction, choices, (), unread=())
    dataset = DatasetView(
        1, 1, "Mira", "v1", "character", "fictional", None, "ohwx", "person", Path("/set"),
        digest("dataset"), {"train": 20, "held_out": 4}, 0, BEGUN,
    )  # fmt: skip
    return PlanDialog(plan, dataset)
