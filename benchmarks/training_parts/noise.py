"""How much an evaluation's figures wander by chance: one checkpoint looked at again with other draws.

Likeness goes by the stand-in for CLIP here, since a tiny model draws no faces; the words of prompts are known
to no model that is at hand, so that prompt following is taken to wander as diversity's vectors do.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import pictures, small_recipe, small_run, write_dataset

from persona_tui.gpu.stand_in import weights_file
from persona_tui.gpu.training import checkpoints, encode, loop
from persona_tui.gpu.training.cache import Cache
from persona_tui.gpu.training.checkpoints import State
from persona_tui.gpu.training.evaluate import Evaluator, evaluations
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.scoring import scored
from persona_tui.gpu.training.trainee import Trainee
from persona_tui.gpu.training.worker import Worker, run_stage
from report import Figure

KEPT_IN = Path(__file__).with_name("evaluation_noise.json")
_REPEATS, _STEPS, _PICTURES, _SIDE = 24, 60, 16, 32


def measured() -> dict[str, list[float]]:
    """Each figure of the repeated evaluations of one trained tiny model."""
    with tempfile.TemporaryDirectory() as place:
        folder = _trained(Path(place))
        run = folder.run()
        kept = checkpoints.newest(folder.checkpoints, run, print)
        assert kept is not None
        with Worker(folder) as worker:
            for number in range(_REPEATS):
                drawn_anew = run.model_copy(update={"seed": 1000 + number})
                cache = Cache(folder.cache)
                trainee = Trainee(drawn_anew, cache.index(run), cache)
                trainee.restore(kept)
                seeds = (2 * number, 2 * number + 1)
                Evaluator(worker, share=1.0, score=scored, seeds=seeds)(trainee, State(step=number + 1))
        found = evaluations(folder)
    return {
        "loss": [one.mean_loss or 0.0 for one in found],
        "likeness": [one.likeness or 0.0 for one in found],
        "training_likeness": [one.training_likeness or 0.0 for one in found],
        "prompt": [1 - (one.diversity or 0.0) for one in found],
    }


def _trained(place: Path) -> RunFolder:
    dataset_hash = write_dataset(place / "set", pictures(_PICTURES))
    base = tiny_pipeline("flux1", place)
    changed = {"buckets": [_SIDE], "steps": _STEPS, "checkpoint_every": _STEPS}
    folder = small_run(place / "run", small_recipe(base, place / "set", dataset_hash, **changed))
    folder.note(scorer={"whole": ["stand-in", str(weights_file())], "drawn": True})
    assert run_stage(folder, "encoding", encode.encode) == 0
    assert run_stage(folder, "training", loop.train) == 0
    return folder


def figures(_quick: bool) -> Iterable[Figure]:
    """The relative deviation of each figure; kept for the simulation of choices."""
    found = measured()
    relative = {name: stdev(values) / abs(fmean(values)) for name, values in found.items()}
    told = {"repeats": _REPEATS, "relative": relative, "figures": found}
    KEPT_IN.write_text(json.dumps(told, indent=1) + "\n")
    for name, value in relative.items():
        yield Figure(f"deviation of {name} over {_REPEATS} evaluations", value, "of its mean")
