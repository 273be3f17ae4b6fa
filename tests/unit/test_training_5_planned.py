"""Item 5: what a plan makes of the operator's wishes, the preset and a recipe that was read."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.training import MADE

from persona_tui.errors import InvalidRequest
from persona_tui.gpu import faces
from persona_tui.gpu.training.families import FAMILIES
from persona_tui.gpu.training.manifest import Manifest, Picture
from persona_tui.gpu.training.run_file import Phase, RunFile
from persona_tui.services.training.curriculum import phases_of
from persona_tui.services.training.recipe import PlanInput, Sources, make_recipe

SHOWN = tuple(
    Picture(file=f"{number}.png", sha256=f"{number:064x}", angle=angle, role=role)
    for number, (angle, role) in enumerate([("front", "train"), ("body", "anchor"), ("back", "held_out")])
)
MANIFEST = Manifest(
    name="v1", persona="Mira", trigger_word="mira", class_word="person", created_at=MADE, pictures=SHOWN
)


def planned(**given: object) -> RunFile:
    values = PlanInput.model_validate({"family": "flux1"} | given)
    sources = Sources(FAMILIES[values.family], Path("/base"), MANIFEST, "0" * 64, Path("/snapshot"))
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


def test_training_5_a_curriculum_is_planned_by_command_and_each_phase_has_pictures() -> None:
    phases = phases_of(["all@400", "head @ 1 = front, profile"])
    assert phases == (
        Phase(name="head", first_step=1, angles=("front", "profile")),
        Phase(name="all", first_step=400),
    )
    assert planned(phases=phases).phases == phases
    # Of the recipe that was read, unless others are named.
    told = {"phases": [{"name": "body", "first_step": 1, "angles": ["body"]}]}
    assert planned(recipe=told).phases[0].name == "body"
    assert planned(recipe=told, phases=phases).phases == phases
    for words in ("head", "@1", "head@", "head@0", "head@x=front"):
        with pytest.raises(InvalidRequest, match="is no phase"):
            phases_of([words])
    with pytest.raises(
        InvalidRequest, match="phase back has no picture to learn from: none is of back"
    ) as caught:
        planned(phases=phases_of(["all@1", "back@5=back"]))
    assert caught.value.hint == "Angles of v1: body, front."
    with pytest.raises(InvalidRequest, match="begins at step 900, after the last one, 800"):
        planned(phases=phases_of(["head@1=front", "all@900"]))
    with pytest.raises(InvalidRequest, match="phases begin at step 1"):
        planned(phases=phases_of(["all@5"]))


def test_training_5_faces_are_weighed_only_where_they_can_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "is_installed", lambda: True)
    assert planned(mask_loss=True).mask_loss
    monkeypatch.setattr(faces, "is_installed", lambda: False)
    assert not planned().mask_loss
    for given in ({"mask_loss": True}, {"recipe": {"mask_loss": True}}):
        with pytest.raises(InvalidRequest, match="extra `faces` is not installed"):
            planned(**given)


def test_training_5_a_batch_is_refused_where_the_model_takes_none() -> None:
    assert planned(family="qwen-image", batch=4).batch == 4
    assert planned(family="qwen-image-2.1", accumulation=4).batch == 1
    with pytest.raises(InvalidRequest, match="so its batch is 1") as caught:
        planned(family="qwen-image-2.1", batch=2, accumulation=3)
    assert "--batch 1 --accumulation 6" in caught.value.hint
