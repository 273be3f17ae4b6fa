"""What a version says of its training: its weights, what likeness was measured by, its effect in 16 bits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from persona_tui.cli.lora import _learnt
from persona_tui.database.engine import Database
from persona_tui.gpu.training.manifest import Manifest
from persona_tui.screens.loras_lines import Row, likeness, lines
from persona_tui.screens.loras_reading import make_rows
from persona_tui.screens.loras_versions import comparable_with
from persona_tui.services.loras.importing import LoraInput, import_loras
from persona_tui.services.loras.notes import is_non_commercial
from persona_tui.services.loras.registry import LoraView, list_loras
from persona_tui.services.loras.shelf import Shelf
from persona_tui.services.training.recipe import PlanInput, file_title
from persona_tui.settings import Settings
from tests.support.loras import write_lora
from tests.support.training import MADE
from tests.support.world import make_persona

FOUND = {"quantisation": "nf4", "difference": 0.06, "strength": 0.98, "loss": 0.41, "loss_trained_on": 0.42}
WEAK = "clip 1a2b3c4d, masked subject (weak)"


def taken_in(db: Database, settings: Settings, path: Path, given: LoraInput) -> LoraView:
    (outcome,) = import_loras(db.session_scope, Shelf(settings), [path], given)
    assert outcome.lora is not None, outcome.sentence
    return outcome.lora


def words(lora: LoraView) -> str:
    return "\n".join(line.plain for line in lines(Row(lora, None, True, {}), "c"))


def test_training_9_a_version_tells_what_its_training_found_and_by_what(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    facts = {
        "training_run": 3,
        "weights": "ema",
        "base_difference": {**FOUND, "role": "held_out"},
        "scores": {"likeness": 0.61, "scorer": WEAK, "weak": True},
    }
    lora = taken_in(db, settings, write_lora(tmp_path, "mira.safetensors"), LoraInput(facts=facts))
    assert (lora.weights, lora.scorer, lora.weak) == ("ema", WEAK, True)
    told = words(lora)
    assert "training 3, the average of its weights: likeness 0.61 (weak)" in told
    assert f"Likeness by: {WEAK}" in told
    assert "its effect differs by 6.0% from that on nf4, 0.98 as strong" in told
    assert likeness(lora).plain == "0.61 weak"


def test_training_10_a_version_tells_which_step_of_its_training_it_is(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    facts = {"training_run": 2, "step": 200, "weights": "raw"}
    lora = taken_in(db, settings, write_lora(tmp_path, "mira.safetensors"), LoraInput(facts=facts))
    assert "Learnt: training 2, step 200, its weights as they were" in words(lora)
    assert "made by: training 2, step 200, its weights as they were" in list(_learnt(lora))
    path = write_lora(tmp_path, "kohya.safetensors", fill=2, metadata={"ss_steps": "1600"})
    lora = taken_in(db, settings, path, LoraInput())
    assert "Learnt: step 1600" in words(lora) and list(_learnt(lora)) == ["trained: step 1600"]
    path = write_lora(tmp_path, "odd.safetensors", fill=3, metadata={"ss_steps": "-1"})
    lora = taken_in(db, settings, path, LoraInput())
    assert lora.step is None and "Learnt" not in words(lora)


def test_training_11_a_comparison_begins_with_another_version_of_the_same_lora(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    with db.session_scope() as session:
        mira = make_persona(session, "Mira").id
    for fill, name in enumerate(("aside", "mira_v1", "mira_v2", "mira_v3"), start=1):
        path = write_lora(tmp_path, f"{name}.safetensors", fill=fill)
        taken_in(db, settings, path, LoraInput(persona_id=mira, use=name == "aside"))
    with db.session_scope() as session:
        rows = make_rows(list_loras(session), mira, Shelf(settings), {})
    assert rows[0].lora.label == "aside@1"  # the primary one
    row = next(one for one in rows if one.lora.label == "mira@2")
    assert [one.lora.label for one in comparable_with(row, rows)] == ["mira@3", "mira@1", "aside@1"]


def test_training_9_a_file_of_another_installation_keeps_its_labels(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    notes = {
        "flen.weights": "raw",
        "flen.scores": json.dumps({"likeness": 0.5}),
        "flen.scorer": WEAK,
        "flen.commercial": "no",
    }
    path = write_lora(tmp_path, "mira.safetensors", metadata=notes)
    lora = taken_in(db, settings, path, LoraInput())
    assert (lora.weights, lora.weak, lora.commercial, lora.measured) == (
        "raw", True, False, "likeness 0.5 (weak)",
    )  # fmt: skip
    broken = write_lora(
        tmp_path,
        "olga.safetensors",
        fill=2,
        metadata={"flen.scores": "[1", "flen.weights": "x"},
    )
    lora = taken_in(db, settings, broken, LoraInput())
    assert (lora.weights, lora.scores, lora.scorer) == ("", {}, "")


def test_training_9_a_real_persons_name_does_not_become_the_files() -> None:
    told = {"name": "v1", "persona": "Ana Reis", "trigger_word": "ohwx_mira", "created_at": MADE}
    real, fictional = (Manifest.model_validate({**told, "subject": who}) for who in ("real", "fictional"))
    given = PlanInput.model_validate({"family": "flux1"})
    assert file_title(given, real) == "ohwx_mira"
    assert file_title(given, fictional) == "Ana Reis"
    assert file_title(given.model_copy(update={"name": "Mira"}), real) == "Mira"


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ({}, None),
        ({"modelspec.license": "Apache-2.0"}, None),
        ({"modelspec.license": "FLUX.1 [dev] Non-Commercial License (https://…)"}, True),
        ({"modelspec.license": "CC-BY-NC-4.0"}, True),
        ({"flen.commercial": "yes", "modelspec.license": "Non-Commercial"}, False),
        ({"flen.commercial": "no"}, True),
    ],
)
def test_training_9_a_licence_against_commercial_use_is_read_from_files_of_any_trainer(
    notes: dict[str, str], said: bool | None
) -> None:
    assert is_non_commercial(notes) is said
