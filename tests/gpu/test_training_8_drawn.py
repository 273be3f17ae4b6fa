"""Drawn characters: told apart by DINOv2 or, weakly, by CLIP, without their background."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from persona_tui.errors import InvalidRequest
from persona_tui.gpu import dino, embedding
from persona_tui.gpu.likeness import Choice, cosine, vectors_of
from persona_tui.gpu.stand_in import weights_file
from persona_tui.gpu.subject import cut_out, subject_mask
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.scoring import SAMPLES, place_of, scored
from tests.support.drawn import figure, other_figure, silhouette, tiny_dino
from tests.support.training import small_recipe, small_run, write_dataset

WHITE, GREEN, SAND = (255, 255, 255), (30, 120, 60), (250, 220, 120)
STAND_IN = embedding.Weights("stand-in", weights_file())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_dino(tmp_path_factory.mktemp("dino") / "dinov2-tiny")


def overlap(mask: np.ndarray) -> float:
    """Intersection over union with the figure's silhouette."""
    shown = Image.fromarray((mask * 255).astype(np.uint8)).resize((300, 400), Image.Resampling.NEAREST)
    found, told = np.asarray(shown) > 127, silhouette()
    return float((found & told).sum() / (found | told).sum())


def test_training_8_the_subject_is_parted_from_its_background() -> None:
    noise = np.random.default_rng(1).normal(0, 8, (400, 300, 3))
    grainy = Image.fromarray(np.clip(np.asarray(figure(SAND)) + noise, 0, 255).astype(np.uint8))
    for picture in (figure(WHITE), figure(GREEN), grainy):
        assert overlap(subject_mask(picture)) > 0.9
    # Before a background that can't be parted, the middle is taken.
    busy = Image.fromarray(np.random.default_rng(2).integers(0, 255, (120, 100, 3), np.uint8))
    mask = subject_mask(busy)
    assert mask[60, 50] and not mask[0].any() and not mask[:, 0].any()
    assert 0.3 < mask.mean() < 0.6
    one, other = (np.asarray(cut_out(figure(ground)), float) for ground in (WHITE, GREEN))
    assert one.shape == other.shape
    assert np.abs(one - other).mean() < 3


def test_training_8_a_drawn_character_is_told_by_dino_whatever_is_behind_it(model: Path) -> None:
    scorer = Choice(whole=STAND_IN, dino=model, drawn=True).scorer
    assert scorer is not None and not scorer.weak and scorer.name.startswith("DINOv2 ")
    white, green, other = (
        scorer.see(one).vector for one in (figure(WHITE), figure(GREEN), other_figure(GREEN))
    )
    assert white is not None and green is not None and other is not None
    assert scorer.likeness(white, green) > 0.99 > scorer.likeness(green, other)


def test_training_8_a_photographed_person_is_never_told_by_dino(model: Path) -> None:
    scorer = Choice(whole=STAND_IN, dino=model).scorer
    assert scorer is not None and "DINO" not in scorer.name


def test_training_8_without_dino_clip_looks_at_the_subject_alone_and_is_called_weak() -> None:
    scorer = Choice(whole=STAND_IN, drawn=True).scorer
    assert scorer is not None and scorer.weak and scorer.name.endswith("masked subject (weak)")
    shown = [figure(WHITE), figure(GREEN)]
    alone = [scorer.see(one).vector for one in shown]
    assert alone[0] is not None and alone[1] is not None
    assert scorer.likeness(alone[0], alone[1]) > cosine(*vectors_of(STAND_IN, shown)) + 0.05


def test_training_8_other_weights_are_another_scorer(model: Path, tmp_path: Path) -> None:
    other = tiny_dino(tmp_path / "dinov2-tiny", seed=2)
    names = {Choice(dino=folder, drawn=True).scorer.name for folder in (model, other)}  # type: ignore[union-attr]
    assert len(names) == 2


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [("config.json", "can't be read"), ("model.safetensors", "is missing"), ("kind", "a vit")],
)
def test_training_8_a_folder_without_a_dino_is_refused_in_a_sentence(
    model: Path, tmp_path: Path, spoilt: str, why: str
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "copy"))
    if spoilt == "kind":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "vit"}))
    else:
        (folder / spoilt).unlink()
    with pytest.raises(InvalidRequest, match=why):
        _ = Choice(dino=folder, drawn=True).scorer


def test_training_8_weights_that_the_hubs_cache_has_are_found_without_the_hub(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert dino.cached_folder() is None
    kept = tmp_path / "models--facebook--dinov2-base"
    shutil.copytree(model, kept / "snapshots/abc")
    (kept / "refs").mkdir()
    (kept / "refs/main").write_text("abc")
    assert dino.cached_folder() == kept / "snapshots/abc"


def drawn_run(place: Path, **scorer: object) -> RunFolder:
    """A run whose samples at step 1 are the character itself, before new backgrounds."""
    grounds = [WHITE, GREEN, SAND, (120, 90, 200), (20, 20, 20), (200, 230, 250)]
    shown = [figure(ground) for ground in grounds]
    sha256 = write_dataset(place / "dataset", shown)
    folder = small_run(place / "run", small_recipe(place / "base", place / "dataset", sha256))
    folder.note(scorer={"whole": ["stand-in", str(weights_file())], "drawn": True, **scorer})
    samples = place_of(folder, 1)
    samples.mkdir(parents=True)
    told = []
    for number, ground in enumerate([(90, 10, 10), (10, 90, 90)]):
        figure(ground).save(samples / f"{number}.png")
        told.append({"file": f"{number}.png", "kind": "trigger", "picture": "0" * 64, "seed": number})
    (samples / SAMPLES).write_text(json.dumps(told))
    return folder


def test_training_8_a_drawn_likeness_is_held_against_other_drawn_characters(
    model: Path, tmp_path: Path
) -> None:
    others = []
    for number, ground in enumerate([WHITE, GREEN, SAND]):
        others.append(str(tmp_path / f"other-{number}.png"))
        other_figure(ground).save(others[-1])
    folder = drawn_run(tmp_path, dino=str(model), others=[*others, str(tmp_path / "gone.png")])
    found = scored(folder, 1)
    assert found.scorer.startswith("DINOv2 ") and not found.weak
    # 6 references of the character, 15 pairs of these, and 18 with the three others.
    assert found.calibrated_on == 15 + 18
    assert found.threshold is not None and found.passed == 1
    assert found.figures["likeness"] > found.threshold
    assert scored(folder, 1) == found


def test_training_8_without_others_a_drawn_likeness_has_no_threshold(tmp_path: Path) -> None:
    found = scored(drawn_run(tmp_path), 1)
    assert found.weak and "likeness" in found.figures
    assert (found.threshold, found.passed, found.problem) == (None, None, "")


def test_training_8_a_dataset_without_faces_is_told_of_drawn_characters(tmp_path: Path) -> None:
    from persona_tui.gpu import faces

    if not faces.is_installed():
        pytest.skip("the extra faces is not installed")
    found = scored(drawn_run(tmp_path, drawn=False), 1)
    assert "likeness" not in found.figures
    assert "--drawn" in found.problem


def test_training_8_likeness_of_two_scorers_is_never_mixed(tmp_path: Path) -> None:
    from persona_tui.gpu.training.evaluate import evaluations
    from persona_tui.services.training.run_log import RunLog

    folder = RunFolder(tmp_path)
    lines = [
        {"step": 0, "scorer": "clip", "likeness": 0.9, "passed": 1, "each": {"a": 0.9}, "diversity": 0.2},
        {"step": 5, "scorer": "", "diversity": 0.3},
        {"step": 10, "scorer": "dlib", "likeness": 0.4, "passed": 0.5, "each": {"a": 0.4}, "weak": False},
    ]
    text = "".join(json.dumps({"loss": {}, **line}) + "\n" for line in lines)
    folder.evaluation_file.write_text(text)
    assert [one.likeness for one in evaluations(folder)] == [None, None, 0.4]
    assert [one.diversity for one in evaluations(folder)] == [0.2, 0.3, None]
    assert folder.likeness_of_each() == {10: {"a": 0.4}}
    log = RunLog(folder.log_file, folder.evaluation_file)
    log.read_new()
    assert [(one.step, one.value) for one in log.scores("likeness")] == [(10, 0.4)]
    assert [one.step for one in log.scores("diversity")] == [0, 5]
    assert (log.scorer, log.weak) == ("dlib", False)
