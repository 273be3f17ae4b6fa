"""From what the operator asks to a run's recipe: presets, defaults of the family, and files that it names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.gpu.training.buckets import Size, filled
from persona_tui.gpu.training.families import FAMILIES, Family
from persona_tui.gpu.training.manifest import Manifest
from persona_tui.gpu.training.masks import require_detector
from persona_tui.gpu.training.run_file import (
    AttentionBackend,
    OptimizerName,
    Phase,
    Quantisation,
    RunFile,
    Side,
    Targets,
    checked,
)
from persona_tui.services.inputs import Input, Line, Name
from persona_tui.services.training.cards import require_shared
from persona_tui.services.training.curriculum import require_pictures
from persona_tui.text import slug

Preset = Literal["likeness", "light", "style"]

PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    # Attention and feed-forward layers; people without the trigger stay as they were.
    "likeness": {"rank": 16, "targets": "mlp", "preservation": 1.0, "ema": 0.99},
    "light": {"rank": 8, "targets": "attention", "preservation": 0.0, "ema": 0.0},
    "style": {"rank": 16, "targets": "mlp", "preservation": 0.0, "ema": 0.99},
}
LOOKS = 20
"""Evaluations of a run, each with a checkpoint: where they are fewer, a run that has learnt enough ends late
(`gpu/training/choosing`); the evaluation itself keeps to its share of the time."""
_INDEX = "model_index.json"


class PlanInput(Input):
    """What the operator asks of a training; what is None comes from preset, family and dataset.

    Attributes:
        base: folder of the base model; None looks into `models.dir`.
        name: of the LoRA.
        quantisation: None lets the planner choose.
        parent: a LoRA of ours, `name@version`, that is trained on.
        compile, attention_backend: as in `RunFile`; a probe tells whether they are faster.
        recipe: entries of a run file that was read; what is given besides wins over them.
        cards: numbers of cards that train it together, as `cards.chosen_places` reads them; None takes the
            first.
        phases: of the curriculum; none: all pictures from the first step on.
    """

    family: Line
    base: Path | None = None
    name: Name | None = None
    preset: Preset = "likeness"
    steps: Annotated[int, Field(ge=1, le=100_000)] | None = None
    rank: Annotated[int, Field(ge=1, le=256)] | None = None
    targets: Targets | None = None
    lr: Annotated[float, Field(gt=0, le=10)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    buckets: tuple[Side, ...] = (512, 768, 1024)
    batch: Annotated[int, Field(ge=1, le=64)] = 1
    accumulation: Annotated[int, Field(ge=1, le=64)] = 1
    optimizer: OptimizerName = "adamw8bit"
    preservation: Annotated[float, Field(ge=0)] | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] | None = None
    mask_loss: bool = False
    checkpoint_every: Annotated[int, Field(ge=1)] | None = None
    evaluate_every: Annotated[int, Field(ge=0)] | None = None
    quantisation: Quantisation | None = None
    compile: bool = False
    attention_backend: AttentionBackend = "native"
    parent: Annotated[str, StringConstraints(max_length=100)] | None = None
    recipe: Mapping[str, Any] = {}
    cards: Line | None = None
    phases: tuple[Phase, ...] = ()


@dataclass(frozen=True)
class Sources:
    """What a recipe is made of, besides the operator's wishes.

    Attributes:
        snapshot: the dataset's folder as it is at this moment and for good.
        parent: file and hash of the LoRA that is trained on.
        cards: how many share a step.
        sizes: of all pictures, those that are held out as well; empty where nobody has looked.
    """

    family: Family
    base: Path
    manifest: Manifest
    manifest_sha256: str
    snapshot: Path
    parent: tuple[Path, str] | None = None
    cards: int = 1
    sizes: tuple[Size, ...] = ()


def family_of(name: str) -> Family:
    """A family by its name.

    Raises:
        UnknownName: there is none of that name.
        InvalidRequest: no LoRA of it can be trained here; says why.
    """
    known = ", ".join(one.name for one in FAMILIES.values() if not one.cannot)
    if name not in FAMILIES:
        raise UnknownName(f"There is no base model {name}.", hint=f"These are trained: {known}.")
    if FAMILIES[name].cannot:
        raise InvalidRequest(FAMILIES[name].cannot, hint=f"These are trained: {known}.")
    return FAMILIES[name]


def base_folder(family: Family, given: Path | None, models: Path | None) -> Path:
    """The folder of a base model: the one given, or the one that fits below `models`.

    Raises:
        InvalidRequest: there is none that fits, or more than one.
    """
    if given is not None:
        return given.expanduser().absolute()
    found = [] if models is None else [path.parent for path in sorted(models.glob(f"*/{_INDEX}"))]
    fitting = [
        path for path in found if f'"{family.pipeline}"' in (path / _INDEX).read_text("utf-8", "replace")
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        place = "models.dir is not set" if models is None else f"there is none in {models}"
        raise InvalidRequest(
            f"The weights of {family.title} are not known: {place}.",
            title="No base model",
            hint=f"Name the folder with --base; it holds {_INDEX} of a {family.pipeline}.",
        )
    names = ", ".join(path.name for path in fitting)
    raise InvalidRequest(
        f"Several folders may hold {family.title}: {names}.", hint="Name the one that is meant with --base."
    )


def lora_name(given: PlanInput, manifest: Manifest) -> str:
    """What the LoRA is called: as asked, else after its persona."""
    return given.name or (manifest.persona if manifest.wheel == "character" else f"{manifest.persona} editor")


def file_title(given: PlanInput, manifest: Manifest) -> str:
    """What the exported file calls itself; of a real person the trigger word, since their name stays here."""
    if given.name is None and manifest.subject == "real":
        return manifest.trigger_word
    return lora_name(given, manifest)


def buckets_of(given: PlanInput) -> tuple[int, ...]:
    """The sizes that a plan asks for."""
    named = "buckets" in given.model_fields_set
    return tuple(given.buckets if named else given.recipe.get("buckets", given.buckets))


def make_recipe(given: PlanInput, sources: Sources) -> RunFile:
    """The recipe, as it would be on a machine with all the memory that it wants.

    Raises:
        InvalidRequest: the dataset is for another kind of base model, or values do not go together.
    """
    family, manifest = sources.family, sources.manifest
    if family.wheel == "editor" and manifest.wheel != "editor":
        raise InvalidRequest(
            f"{family.title} edits pictures, and {manifest.name} holds pictures without sources.",
            title="Mixed families",
            hint="Choose a base model for characters, or a dataset that was made with --wheel editor.",
        )
    if manifest.wheel == "editor" and not family.control_pictures:
        raise InvalidRequest(
            f"{manifest.name} holds edits with their sources, and {family.title} takes no sources.",
            title="Mixed families",
            hint="Choose an editor such as qwen-edit-2511.",
        )
    most = max((len(picture.control) for picture in manifest.pictures), default=0)
    if most > family.control_pictures:
        raise InvalidRequest(
            f"A picture of {manifest.name} has {most} sources; {family.title} takes"
            f" {family.control_pictures}.",
            hint="Remove it, or choose an editor that takes more.",
        )
    preset = PRESETS[given.preset]
    learnt = len(manifest.of_role("train", "anchor"))
    fewest, most_steps = family.steps_range
    steps = given.steps or min(max(family.steps_per_picture * learnt, fewest), most_steps)
    every = max(1, min(250, steps // LOOKS))
    rank = _first(given.rank, preset["rank"], family.rank)
    preservation = _first(given.preservation, preset["preservation"])
    told: dict[str, Any] = {
        "name": slug(file_title(given, manifest), "lora"),
        "family": family.name,
        "base": sources.base,
        "dataset": sources.snapshot,
        "dataset_hash": sources.manifest_sha256,
        "trigger": manifest.trigger_word,
        "class_prompt": manifest.class_word,
        "seed": given.seed,
        "rank": rank,
        "alpha": rank,
        "targets": _first(given.targets, preset["targets"]),
        "optimizer": given.optimizer,
        "steps": steps,
        "batch": given.batch,
        "accumulation": given.accumulation,
        "buckets": tuple(sorted(set(given.buckets))),
        "preservation": preservation if manifest.class_word and manifest.trigger_word else 0.0,
        "mask_loss": given.mask_loss,
        "ema": _first(given.ema, preset["ema"]),
        "guidance": 1.0 if family.guidance is None else family.guidance,
        "checkpoint_every": _first(given.checkpoint_every, every),
        "evaluate_every": _first(given.evaluate_every, every),
        "threads": max(1, min(8, (os.cpu_count() or 2) // 2)),
    }
    told |= given.recipe
    told |= {name: getattr(given, name) for name in _GIVEN & given.model_fields_set}
    told["lr"] = _rate(given, family, str(told["optimizer"]))
    if "accumulation" in given.model_fields_set or "accumulation" in given.recipe:
        require_shared(told["accumulation"], sources.cards)
    else:
        told["accumulation"] = sources.cards
    if _are_sides(told["buckets"]):
        # Memory, probe and time are reckoned for the largest size: one that nobody fills would make it up.
        told["buckets"] = filled(sources.sizes, told["buckets"])
    if "rank" in given.model_fields_set or "alpha" not in given.recipe:
        told["alpha"] = told["rank"]
    if sources.parent is not None:
        told |= {"parent": sources.parent[0], "parent_hash": sources.parent[1]}
    made = checked(told, "The plan")
    require_pictures(made, manifest)
    if made.batch > 1 and not family.batches:
        raise InvalidRequest(
            f"{family.title} takes one caption at a time, so its batch is 1.",
            hint=f"Plan it with --batch 1 --accumulation {made.batch * made.accumulation}.",
        )
    if made.mask_loss:
        require_detector()
    return made


_GIVEN = frozenset({
    "steps", "rank", "targets", "seed", "buckets", "batch", "accumulation", "optimizer", "preservation",
    "ema", "mask_loss", "checkpoint_every", "evaluate_every", "compile", "attention_backend", "phases",
})  # fmt: skip
"""What a plan and a run file both call so."""


def _rate(given: PlanInput, family: Family, optimizer: str) -> object:
    """The learning rate: as asked, else the recipe's where it is of that optimizer, else the usual one."""
    if given.lr is not None:
        return given.lr
    is_prodigy = optimizer == "prodigy"
    if "lr" in given.recipe and is_prodigy == (given.recipe.get("optimizer", optimizer) == "prodigy"):
        return given.recipe["lr"]
    return _PRODIGY_RATE if is_prodigy else family.learning_rate


_PRODIGY_RATE = 1.0
"""Prodigy finds its own rate and multiplies it by this one; 1 is its authors' advice."""


def _are_sides(told: Any) -> bool:
    """Whether these can be sides of buckets; what a file says besides is refused with its other values."""
    return isinstance(told, tuple | list) and all(isinstance(side, int) and side >= 16 for side in told)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
