"""What a run's likeness goes by: noted when it is planned, said by doctor, asked about where a licence is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.gpu.training.families import FAMILIES
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.manifest import read_manifest
from persona_tui.pool import WorkPool
from persona_tui.services.doctor import run_checks
from persona_tui.services.training import licences
from persona_tui.services.training.dataset_acts import say_drawn
from persona_tui.services.training.datasets import create_dataset
from persona_tui.services.training.plan import plan_training
from persona_tui.services.training.recipe import PlanInput
from persona_tui.services.training.scorers import arcface_in, judges, scorer_facts
from persona_tui.setting_sections import FacesSettings, ModelsSettings
from persona_tui.settings import Settings
from tests.database.test_training_3_plan import base_model
from tests.support.datasets import add_files, draw_all, make_dataset
from tests.support.drawn import tiny_dino
from tests.support.training_stage import tiny_shapes
from tests.support.world import make_persona


@pytest.fixture
async def pool() -> AsyncIterator[WorkPool]:
    made = WorkPool()
    yield made
    await made.aclose()


def with_faces(settings: Settings, **faces: object) -> Settings:
    return settings.model_copy(update={"faces": FacesSettings.model_validate(faces)})


def test_training_8_whether_a_character_is_drawn_stands_in_the_manifest(db: Database, tmp_path: Path) -> None:
    dataset = make_dataset(db, tmp_path)
    before = dataset.manifest_sha256
    drawn = say_drawn(db.session_scope, dataset.id, True)
    assert read_manifest(drawn.folder)[0].drawn
    # Said back, it is the manifest that it was: a dataset that says nothing of it keeps its hash.
    again = say_drawn(db.session_scope, dataset.id, False)
    assert again.manifest_sha256 == before != drawn.manifest_sha256


async def test_training_8_a_plan_notes_dino_and_the_other_drawn_characters(
    db: Database, settings: Settings, pool: WorkPool, tmp_path: Path
) -> None:
    folder = tiny_dino(tmp_path / "dino")
    settings = with_faces(settings, dino=folder)
    settings = settings.model_copy(update={"models": ModelsSettings(dir=tmp_path / "models")})
    base_model(tmp_path / "models/flux")
    dataset = add_files(db, make_dataset(db, tmp_path), [draw_all(tmp_path / "in", 14)]).dataset
    say_drawn(db.session_scope, dataset.id, True)
    with db.session_scope() as session:
        olga = make_persona(session, "Olga").id
    for name, drawn in (("toon", True), ("photos", False)):
        told = {"name": name, "trigger_word": "ohwx_olga", "drawn": drawn, "subject": "fictional"}
        other = create_dataset(db.session_scope, tmp_path / "datasets", olga, told)
        add_files(db, other, [draw_all(tmp_path / name, 4, caption="a photo of ohwx_olga")])
    values = PlanInput.model_validate({"family": "flux1", "buckets": (64,)})
    plan = await plan_training(
        db.session_scope, pool, settings, dataset.id, values, cards=tuple, count=tiny_shapes
    )
    assert plan.folder is not None
    scorer = RunFolder(plan.folder).manifest()["scorer"]
    assert (scorer["drawn"], scorer["dino"]) == (True, str(folder))
    assert len(scorer["others"]) == 4
    assert all("toon" in path and Path(path).is_file() for path in scorer["others"])


def test_training_8_doctor_says_by_what_likeness_goes(settings: Settings, tmp_path: Path) -> None:
    def likeness(settings: Settings) -> tuple[str, str, str]:
        (found,) = (one for one in run_checks(settings, None, environ={}) if one.name == "likeness")
        return found.state, found.sentence, found.hint

    _, words, hint = likeness(settings)
    assert "drawn characters by" in words and "(weak)" in words and "PERSONA_FACES__DINO" in hint
    folder = tiny_dino(tmp_path / "dino")
    _, words, _ = likeness(with_faces(settings, dino=folder))
    assert f"drawn characters by DINOv2 at {folder}" in words
    (folder / "model.safetensors").unlink()
    state, words, hint = likeness(with_faces(settings, dino=folder))
    assert state == "fail" and "model.safetensors is missing" in words and "PERSONA_FACES__DINO" in hint
    assert judges(settings).drawn in judges(settings).weak


def test_training_8_a_dino_that_is_not_there_stops_a_plan_of_a_drawn_character_alone(
    settings: Settings, tmp_path: Path
) -> None:
    settings = with_faces(settings, dino=tmp_path)
    assert scorer_facts(settings, drawn=False)["dino"] is None
    with pytest.raises(InvalidRequest, match="no DINOv2 model"):
        scorer_facts(settings, drawn=True)


def test_training_8_an_arcface_model_is_asked_about_once_and_another_one_again(
    db: Database, tmp_path: Path
) -> None:
    own = tmp_path / "glintr.onnx"
    own.write_bytes(b"weights")
    free = FAMILIES["qwen-image"]
    with db.session_scope() as session:
        assert licences.unread(session, free) == ()
        (notice,) = licences.unread(session, free, own)
        assert "glintr.onnx" in notice.sentence and "research only" in notice.sentence
        assert not notice.of_base
        both = licences.unread(session, FAMILIES["flux1"], own)
        assert [one.of_base for one in both] == [True, False]
        with pytest.raises(NotAllowedNow, match="research only"):
            licences.require_acknowledged(session, free, own)
        licences.acknowledge(session, (notice,))
        licences.require_acknowledged(session, free, own)
        kept = session.execute(text("SELECT details FROM audit_events WHERE subject LIKE 'arcface:%'"))
        assert [details["model"] for details in kept.scalars()] == ["glintr.onnx"]
        own.write_bytes(b"other weights")
        assert licences.unread(session, free, own)


def test_training_8_a_run_of_a_drawn_character_asks_for_no_arcface(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert arcface_in(tmp_path) is None
    folder.note(scorer={"arcface": "/m.onnx", "drawn": False})
    assert arcface_in(tmp_path) == Path("/m.onnx")
    folder.note(scorer={"arcface": "/m.onnx", "drawn": True})
    assert arcface_in(tmp_path) is None
