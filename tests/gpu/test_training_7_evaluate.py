"""A run that is looked at: what is found, and that it changes nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

from persona_tui.gpu import likeness
from persona_tui.gpu.embedding import Weights
from persona_tui.gpu.stand_in import weights_file
from persona_tui.gpu.training.durable import append_line
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.others import keep_others
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.gpu.training.scoring import Scores, samples_at, scored, scored_apart
from persona_tui.services.training.attach import beside_proposed
from persona_tui.services.training.samples import samples_in
from tests.support.full_disk import no_room_at_first
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, result, small_recipe, small_run, write_dataset

if TYPE_CHECKING:
    from persona_tui.gpu.training.worker import Worker

pytestmark = pytest.mark.long
STEPS = 4


def trained(folder: RunFolder, *, score: Callable[[RunFolder, int], Scores] | None = None) -> int:
    """Encode and train in this process, looked at where something scores; gives the exit code."""
    from persona_tui.gpu.training import encode, loop
    from persona_tui.gpu.training.evaluate import Evaluator
    from persona_tui.gpu.training.worker import run_stage

    assert run_stage(folder, "encoding", encode.encode) == 0

    def train(worker: Worker) -> Status:
        return loop.train(worker, None if score is None else Evaluator(worker, share=1.0, score=score))

    return run_stage(folder, "training", train)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> RunFile:
    """Of nine pictures that are learnt from and two that are held out."""
    place = tmp_path_factory.mktemp("evaluating")
    dataset_hash = write_dataset(place / "set", pictures(11))
    changed = {"ema": 0.9, "steps": STEPS, "checkpoint_every": 2, "evaluate_every": 2, "keep": 1}
    return small_recipe(tiny_pipeline("flux1", place), place / "set", dataset_hash, **changed)


@pytest.fixture(scope="module")
def runs(recipe: RunFile, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """A run that nobody looked at, and the same one looked at every other step."""
    place = tmp_path_factory.mktemp("runs")
    plain, seen = small_run(place / "plain", recipe), small_run(place / "seen", recipe)
    # The subject is a cat or a cup as often as a face: all of it is gone by.
    seen.note(scorer={"whole": ["stand-in", str(weights_file())], "drawn": True})
    assert trained(plain) == 0
    assert trained(seen, score=scored) == 0
    return plain, seen


def test_training_7_a_run_learns_the_same_to_the_bit_whether_it_is_looked_at_or_not(
    runs: tuple[RunFolder, RunFolder],
) -> None:
    plain, seen = runs
    assert result(seen) == result(plain)
    assert not plain.evaluation_file.exists()


def test_training_7_each_look_keeps_losses_by_noise_level_pictures_and_scores(
    runs: tuple[RunFolder, RunFolder],
) -> None:
    from persona_tui.gpu.training.evaluate import SIGMAS, evaluations

    _, seen = runs
    found = evaluations(seen)
    assert [one.step for one in found] == [0, 2, 4]
    assert all(set(one.loss) == set(SIGMAS) and min(one.loss.values()) > 0 for one in found)
    assert len({one.mean_loss for one in found}) == 3
    assert all(one.likeness is not None and one.gap is not None and one.leakage is not None for one in found)
    assert all(one.diversity is not None and one.diversity > 0 and one.prompt is None for one in found)
    lines = [json.loads(line) for line in seen.evaluation_file.read_text().splitlines()]
    assert all(line["weak"] and set(line["by_strength"]) == {"0.6", "0.8"} for line in lines)
    words = {one.words for one in samples_in(seen.samples)}
    assert all(
        re.fullmatch(r"(no trigger word: )?picture [0-9a-f]{4}, seed \d+(, × 0\.\d+)?", one) for one in words
    ), words
    shown = {step: sorted((seen.samples / f"step-{step}").glob("*.png")) for step in (0, 4)}
    names = [[path.name for path in shown[step]] for step in (0, 4)]
    assert names[0] == names[1] and len(names[0]) == 8
    assert [name[:6] for name in names[0]].count("class-") == 2
    # Nothing is learnt at step 0, so that no strength differs; afterwards each does.
    for step, different in ((0, 1), (4, 3)):
        told = samples_at(seen, step)
        weaker = next(one for one in told if one.strength < 1)
        same = [one for one in told if (one.picture, one.seed, one.kind) == (weaker.picture, 1, "trigger")]
        assert [one.strength for one in same] == [1.0, 0.6, 0.8]
        assert len({(seen.samples / f"step-{step}" / one.file).read_bytes() for one in same}) == different


def test_training_8_samples_are_judged_by_the_datasets_own_threshold(
    runs: tuple[RunFolder, RunFolder],
) -> None:
    _, seen = runs
    without = scored(seen, 4)
    scorer = without.scorer
    assert scorer.endswith(", masked subject (weak)")
    # Nobody says what is usual for whole figures.
    assert (without.threshold, without.calibrated_on, without.passed) == (None, 0, None)
    others = np.random.default_rng(1).standard_normal((4, 512))
    keep_others(seen, scorer, others.tolist())
    found = scored(seen, 4)
    references = sum(vector is not None for vector in json.loads(references_of(seen))[scorer].values())
    assert found.calibrated_on == references * (references - 1) // 2 + 4 * references
    assert found.threshold is not None and 0 < found.threshold < 1
    assert found.passed is not None and 0 <= found.passed <= 1
    keep_others(seen, scorer, [])


def references_of(folder: RunFolder) -> str:
    return (folder.cache / "references.json").read_text("utf-8")


def test_training_7_a_checkpoint_is_proposed_that_is_kept(runs: tuple[RunFolder, RunFolder]) -> None:
    _, seen = runs
    proposal = seen.manifest()["proposed"]
    kept = [int(path.name.removeprefix("step-")) for path in seen.checkpoints.glob("step-*")]
    assert proposal["step"] in kept and proposal["by"] == "likeness"
    assert [one["step"] for one in seen.events() if one["event"] == "proposed"][-1] == proposal["step"]
    assert not [one for one in seen.events() if one["event"] == "enough"]
    told = beside_proposed(seen)
    assert set(told) == {0, 2, 4} - {proposal["step"]}
    assert all(one.pairs == 4 and one.low <= one.difference <= one.high for one in told.values())
    assert set(proposal["alike"]) <= set(kept) - {proposal["step"]}


def test_training_7_a_run_that_has_learnt_enough_ends_once_and_goes_on_where_that_is_wanted(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_tui.gpu.training import evaluate

    monkeypatch.setattr(evaluate, "_STEPS", 1)
    plain, _ = runs
    recipe = plain.run().model_copy(update={"steps": 20, "evaluate_every": 8, "checkpoint_every": 20})
    folder = small_run(tmp_path / "run", recipe)
    shutil.copytree(plain.cache, folder.cache, dirs_exist_ok=True)

    def flat(_folder: RunFolder, _step: int) -> Scores:
        return Scores({"likeness": 0.5, "gap": 0.1})

    # Earlier looks, without the time they take.
    for step in range(1, 8):
        append_line(
            folder.evaluation_file, json.dumps({"step": step, "loss": {}, "likeness": 0.5, "gap": 0.1})
        )
    assert trained(folder, score=flat) == 0
    assert (folder.status(), len(folder.losses())) == ("done", 8)
    said = [one for one in folder.events() if one["event"] == "enough"]
    assert [one["message"] for one in said] == ["Likeness to the held-out pictures no longer rises."]
    assert folder.manifest()["proposed"]["step"] == 8 and (folder.checkpoints / "step-00000008").is_dir()
    folder.order(steps=16)
    assert trained(folder, score=flat) == 0
    assert len(folder.losses()) == 16


def test_training_7_looks_space_themselves_to_their_share_of_the_time(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    from persona_tui.gpu.training.evaluate import Evaluator
    from persona_tui.gpu.training.worker import Worker

    plain, _ = runs
    folder = small_run(tmp_path / "run", plain.run())
    with Worker(folder) as worker:
        looks = Evaluator(worker)
        found = []
        for step in range(1, 201):
            folder.log("step", step=step, loss=1.0, seconds=1.0)
            if step % 10 == 0 and looks.has_time():
                append_line(folder.evaluation_file, json.dumps({"step": step, "loss": {}, "seconds": 5.0}))
                found.append(step)
    # Two to tell how long one takes, then each as soon as it fits beside the last: 5 s to 45 s of training.
    assert found == [10, 20, 180]


def test_training_6_a_disk_that_is_full_where_samples_go_is_waited_out(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_tui.gpu.training import evaluate

    monkeypatch.setattr(evaluate, "_STEPS", 1)
    plain, _ = runs
    folder = small_run(tmp_path / "run", plain.run().model_copy(update={"steps": 1, "evaluate_every": 1}))
    shutil.copytree(plain.cache, folder.cache, dirs_exist_ok=True)
    refused = no_room_at_first(monkeypatch, "step-1")
    assert trained(folder, score=lambda _folder, _step: Scores({"likeness": 0.5})) == 0
    assert refused == ["step-1"]
    assert [event["event"] for event in folder.events()].count("space") == 1
    assert [one.step for one in evaluate.evaluations(folder)] == [0, 1]


def test_training_7_the_last_step_is_looked_at_and_proposed_though_time_is_short(
    runs: tuple[RunFolder, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from persona_tui.gpu.training import evaluate

    monkeypatch.setattr(evaluate, "_STEPS", 1)
    monkeypatch.setattr(evaluate.Evaluator, "has_time", lambda self: False)
    plain, _ = runs
    recipe = plain.run().model_copy(update={"steps": 5, "evaluate_every": 2, "checkpoint_every": 2})
    folder = small_run(tmp_path / "run", recipe)
    shutil.copytree(plain.cache, folder.cache, dirs_exist_ok=True)

    def better(_folder: RunFolder, step: int) -> Scores:
        return Scores({"likeness": step / 10, "gap": 0.1})

    assert trained(folder, score=better) == 0
    assert [one.step for one in evaluate.evaluations(folder)] == [5]
    assert folder.manifest()["proposed"]["step"] == 5
    # Killed before that was noted: what was seen is not looked at again, and the proposal is made up for.
    folder.note(proposed=None)
    assert trained(folder, score=better) == 0
    assert folder.manifest()["proposed"]["step"] == 5
    assert len(folder.evaluation_file.read_text().splitlines()) == 1


def test_training_7_samples_are_decoded_in_pieces_that_training_has_room_for() -> None:
    from diffusers import AutoencoderKL

    from persona_tui.gpu.training.evaluate import _tile

    # FLUX.1's says 1024, which is a whole picture of the largest bucket.
    vae = AutoencoderKL(
        block_out_channels=(4, 4),
        sample_size=1024,
        norm_num_groups=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    _tile(vae)
    assert vae.use_tiling and (vae.tile_sample_min_size, vae.tile_latent_min_size) == (512, 256)


def test_training_7_scoring_that_can_not_begin_is_told_and_never_ends_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_run(tmp_path / "run", small_recipe(tmp_path / "base", tmp_path / "set", "0" * 64))
    folder.note(scorer={"arcface": None, "detector": "hog", "whole": ["stand-in", str(weights_file())]})
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert scored_apart(folder, 0).problem == "Scoring could not begin: No such file or directory."


def test_training_8_a_drawn_character_is_seen_weakly_as_a_whole() -> None:
    # Here and not with the faces: torch is imported once.
    drawn = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(drawn).ellipse((30, 20, 100, 110), fill="orange")
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8))
    scorer = likeness.Choice(drawn=True, whole=Weights("stand-in", weights_file())).scorer
    assert scorer is not None and scorer.weak and "weak" in scorer.name
    one, same, other = (scorer.see(shown).vector for shown in (drawn, drawn.resize((96, 96)), noise))
    assert one is not None and same is not None and other is not None
    assert scorer.likeness(one, same) > scorer.likeness(one, other) + 0.1
    assert likeness.Choice(drawn=True).scorer is None
