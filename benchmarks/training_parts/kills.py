"""kill -9 of a training, 25 times each of a tiny FLUX.1 and a tiny Qwen-Image-Edit, each a run of its own.

Ten at points of the checkpoint, five in encoding, evaluation and export, ten at a random moment after the
first step. Two more runs go on from a checkpoint with a flipped bit and from one that was cut off.
"""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import Result, pictures, result, small_recipe, small_run, write_dataset
from tests.support.training_stages import Stage, carried_out

from persona_tui.gpu.training.folder import RunFolder
from report import Figure

FAMILIES = ("flux1", "qwen-edit-2509")
STAGES: tuple[Stage, ...] = ("encode", "train", "export")
STEPS = 12
_SEED = 1


@dataclass(frozen=True)
class Kill:
    """Where a run is killed.

    Attributes:
        boundary: at its n-th time, or `seconds` after it where that is not 0.
    """

    stage: Stage
    boundary: str
    n: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Unharmed:
    """A run that nobody disturbed.

    Attributes:
        reached: boundaries of each stage, and how often.
        seconds: that training took after its first step.
    """

    folder: RunFolder
    result: Result
    reached: dict[Stage, Counter[str]]
    seconds: float


def figures(quick: bool) -> Iterable[Figure]:
    """Kills that changed nothing, and how long all of it took."""
    begun = time.monotonic()
    same = killed = mended = 0
    with tempfile.TemporaryDirectory() as place:
        for family in FAMILIES:
            unharmed = _unharmed(family, Path(place) / family)
            for number, kill in enumerate(_kills(unharmed, quick)):
                folder = _begun(unharmed, Path(place) / f"{family}-{number}", kill.stage)
                killed += 1
                same += _killed(folder, kill) and _as_unharmed(folder, unharmed)
                shutil.rmtree(folder.path)
            mended += sum(
                _mends(unharmed, Path(place) / f"{family}-{harm}", harm) for harm in ("flip", "cut")
            )
    yield Figure("killed runs that end like one never killed", same, f"of {killed}", "==", killed)
    yield Figure("broken checkpoints told and gone back from", mended, "of 4", "==", 4)
    yield Figure("all kills", (time.monotonic() - begun) / 60, "min", "<=", 40)


def _unharmed(family: str, place: Path) -> Unharmed:
    shown = pictures(6)
    edits = {f"p{number}": {"control": [shown[number - 1]]} for number in range(6)}
    dataset_hash = write_dataset(place / "set", shown, **(edits if "edit" in family else {}))
    recipe = small_recipe(
        tiny_pipeline(family, place), place / "set", dataset_hash, family=family, ema=0.9, steps=STEPS,
        accumulation=2, evaluate_every=4,
    )  # fmt: skip
    folder = small_run(place / "run", recipe)
    reached: dict[Stage, Counter[str]] = {}
    for stage in STAGES:
        ended = carried_out(stage, folder)
        if ended.code != 0:
            raise SystemExit(f"{family}: {stage} failed: {folder.manifest().get('message')}")
        reached[stage] = Counter(ended.boundaries)
    seconds = sum(told.seconds for told in folder.losses()[1:])
    return Unharmed(folder, result(folder), reached, seconds)


def _kills(unharmed: Unharmed, quick: bool) -> list[Kill]:
    draw = random.Random(_SEED)
    trained = unharmed.reached["train"]
    named = [
        Kill("train", name, draw.randint(1, trained[name]))
        for name in sorted(trained)
        if name.startswith("training:checkpoint")
    ]
    # Each point of the checkpoint once, then again until there are ten.
    named += [Kill("train", kill.boundary, draw.randint(1, trained[kill.boundary])) for kill in named]
    others = list(_in_other_stages(unharmed, draw))
    at_random = [
        Kill("train", "training:step:after", 1, draw.uniform(0, 0.7 * unharmed.seconds)) for _ in range(10)
    ]
    if quick:
        return [named[0], at_random[0]]
    return [*named[:10], *others, *at_random]


def _in_other_stages(unharmed: Unharmed, draw: random.Random) -> Iterator[Kill]:
    """Five: two in encoding, two in evaluation (drawn, not noted; noted, in no checkpoint), one in export."""
    encoded = unharmed.reached["encode"]["training:encode:before_write"]
    yield Kill("encode", "training:encode:before_write", draw.randint(1, encoded))
    yield Kill("encode", "training:encode:after_write", draw.randint(1, encoded))
    looks = unharmed.reached["train"]["training:evaluation:before_write"]
    yield Kill("train", "training:evaluation:before_write", draw.randint(1, looks))
    yield Kill("train", "training:evaluate:after", draw.randint(1, looks))
    yield Kill("export", "training:export:before_rename", 1)


def _begun(unharmed: Unharmed, path: Path, stage: Stage) -> RunFolder:
    """The same run, encoded where encoding is not what is killed."""
    folder = small_run(path, unharmed.folder.run())
    if stage != "encode":
        shutil.copytree(unharmed.folder.cache, folder.cache, dirs_exist_ok=True)
    return folder


def _killed(folder: RunFolder, kill: Kill) -> bool:
    """Carry out all stages, one of them killed; whether it was, and whether all ended well after it."""
    was = False
    for stage in STAGES:
        if stage == kill.stage:
            act = "kill later" if kill.seconds else "kill"
            ended = carried_out(
                stage, folder, act=act, boundary=kill.boundary, n=kill.n, seconds=kill.seconds
            )
            was = ended.signal == signal.SIGKILL
        if carried_out(stage, folder).code != 0:
            return False
    if not was:
        print(f"not killed: {kill}")
    return was


def _as_unharmed(folder: RunFolder, unharmed: Unharmed) -> bool:
    same = result(folder) == unharmed.result and _weights(folder) == _weights(unharmed.folder)
    if not same:
        print(f"differs: {folder.path.name}")
    return same


def _mends(unharmed: Unharmed, path: Path, harm: str) -> bool:
    """Whether a finished run whose newest checkpoint was harmed says so and ends as it did before."""
    folder = RunFolder(shutil.copytree(unharmed.folder.path, path))
    newest = max(folder.checkpoints.glob("step-*")) / "lora.safetensors"
    data = bytearray(newest.read_bytes())
    data[-9] ^= 4
    newest.write_bytes(data if harm == "flip" else data[:-64])
    ended = carried_out("train", folder)
    told = sum(event["event"] == "broken" for event in folder.events())
    return ended.code == 0 and told == 1 and result(folder) == unharmed.result


def _weights(folder: RunFolder) -> str:
    """The exported file's name, which has its content's hash; the notes in it hold dates."""
    return next(folder.export.glob("*.safetensors")).name
