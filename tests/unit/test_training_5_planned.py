"""Item 5: what a plan makes of the operator's wishes, the preset and a recipe that was read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.training import MADE

from persona_tui.gpu.training.families import FAMILIES
from persona_tui.gpu.training.manifest import Manifest
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.services.training.recipe import PlanInput, Sources, make_recipe

MANIFEST = Manifest(name="v1", persona="Mira", trigger_word="mira", class_word="person", created_at=MADE)


def planned(**given: object) -> RunFile:
    values = PlanInput.model_validate({"family": "flux1"} | given)
    sources = Sources(FAMILIES["flux1"], Path("/base"), MANIFEST, "0" * 64, Path("/snapshot"))
    return make_recipe(values, sources)


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        ({}, 1e-4),
        ({"optimizer": "prodigy"}, 1.0),
        ({"optimizer": "prodigy", "lr": 0.5}, 0.5),
        ({"recipe": {"optimizer": "prodigy"}}, 1.0),
        ({"recipe": {"optimizer": "prodigy", "lr": 0.7}}, 0.7),
        # A rate says nothing of another kind of optimizer.
        ({"optimizer": "prodigy", "recipe": {"optimizer": "adamw", "lr": 2e-4}}, 1.0),
        ({"optimizer": "adamw", "recipe": {"optimizer": "prodigy", "lr": 1.0}}, 1e-4),
        ({"optimizer": "adamw8bit", "recipe": {"optimizer": "adamw", "lr": 2e-4}}, 2e-4),
    ],
)
def test_training_5_a_rate_is_the_optimizers_own(given: dict[str, object], rate: float) -> None:
    assert planned(**given).lr == rate
