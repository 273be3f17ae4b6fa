"""A run that is looked at: what is found, and that it changes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from persona_tui.gpu.stand_in import weights_file
from persona_tui.gpu.training.folder import RunFolder
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, result, small_recipe, small_run, write_dataset

STEPS = 4


def trained(folder: RunFolder, *, looked_at: bool, share: float = 1.0) -> int:
    """Encode and train in this process; gives the exit code."""
    from persona_tui.gpu.training import encode, loop
    from persona_tui.gpu.training.evaluate import Evaluator
    from persona_tui.gpu.training.scoring import scored
    from persona_tui.gpu.training.worker import run_stage

    assert run_stage(folder, "encoding", encode.encode) == 0
    return run_stage(
        folder,
        "training",
        lambda worker: loop.train(
            worker, Evaluator(worker, share=share, score=scored) if looked_at else None
        ),
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, RunFolder]:
    """A run that nobody looked at, and the same one looked at every other step."""
    place = tmp_path_factory.mktemp("evaluating")
    dataset_hash = write_dataset(place / "set", pictures(6))
    changed = {"ema": 0.9, "steps": STEPS, "checkpoint_every": 2, "evaluate_every": 2, "keep": 1}
    recipe = small_recipe(tiny_pipeline("flux1", place), place / "set", dataset_hash, **changed)
    plain, seen = small_run(place / "plain", recipe), small_run(place / "seen", recipe)
    # The subject is a cat or a cup as often as a face: all of it is gone by.
    seen.note(scorer={"whole": ["stand-in", str(weights_file())], "drawn": True})
    assert trained(plain, looked_at=False) == 0
    assert trained(seen, looked_at=True) == 0
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
    shown = {step: sorted((seen.samples / f"step-{step}").glob("*.png")) for step in (0, 4)}
    names = [[path.name for path in shown[step]] for step in (0, 4)]
    assert names[0] == names[1] and len(names[0]) == 5
    # Nothing is learnt at step 0, so that no strength differs; afterwards each does.
    alike = {
        step: len(
            {
                np.asarray(Image.open(path)).tobytes()
                for path in shown[step]
                if "seed1-at" in path.name and path.name.startswith("trigger")
            }
        )
        for step in (0, 4)
    }
    assert alike == {0: 1, 4: 3}


def test_training_7_a_checkpoint_is_proposed_that_is_kept(runs: tuple[RunFolder, RunFolder]) -> None:
    _, seen = runs
    proposal = seen.manifest()["proposed"]
    kept = [int(path.name.removeprefix("step-")) for path in seen.checkpoints.glob("step-*")]
    assert proposal["step"] in kept and proposal["by"] == "likeness"
    assert [one["step"] for one in seen.events() if one["event"] == "proposed"][-1] == proposal["step"]
    # Under eight pictures it never ends by itself.
    assert not [one for one in seen.events() if one["event"] == "enough"]
