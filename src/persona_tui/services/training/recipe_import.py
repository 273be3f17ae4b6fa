"""Recipes out of files: our own `run.toml`, which reproduces a run, and ai-toolkit's YAML."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.run_file import RunFile

LARGEST = 1 << 20
_OF_THIS_MACHINE = frozenset({"name", "base", "dataset", "dataset_hash", "trigger", "parent", "parent_hash"})
"""What a plan takes from the dataset and the operator, not from another run."""
_FAMILIES = (
    ("kontext", "kontext"), ("klein-9b", "flux2-klein-9b"), ("klein", "flux2-klein-4b"), ("flux", "flux1"),
    ("2511", "qwen-edit-2511"), ("edit-plus2", "qwen-edit-2511"), ("edit", "qwen-edit-2509"),
    ("qwen", "qwen-image"),
)  # fmt: skip
"""By a part of the file's `arch` or model; the first that is there counts."""
_OPTIMIZERS = {"adamw8bit": "adamw8bit", "adamw": "adamw", "prodigy": "prodigy", "prodigy8bit": "prodigy"}
_BITS = {"qfloat8": "int8", "int8": "int8", "uint8": "int8", "uint4": "nf4", "nf4": "nf4", "uint3": "nf4"}


@dataclass(frozen=True)
class ImportedRecipe:
    """A recipe that was read.

    Attributes:
        family: that it is for; None when it does not tell.
        values: entries of `RunFile`.
        unknown: entries of the file that mean nothing here, by their path.
    """

    family: str | None
    values: Mapping[str, Any]
    unknown: tuple[str, ...]


def read_recipe(path: Path) -> ImportedRecipe:
    """Read a recipe.

    Raises:
        InvalidRequest: it can't be read, or is neither of the two.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InvalidRequest(f"{path.name} is too large for a recipe.", hint="Name a run.toml or a YAML.")
        words = path.read_text("utf-8")
    except OSError as problem:
        raise InvalidRequest(
            f"The recipe {path} can't be read: {problem.strerror}.", hint="Name a run.toml or a YAML."
        ) from None
    except UnicodeDecodeError:
        raise InvalidRequest(f"{path.name} is no text.", hint="Name a run.toml or a YAML.") from None
    if path.suffix.lower() in (".yaml", ".yml"):
        return _of_ai_toolkit(_yaml(words, path.name), path.name)
    try:
        told = tomllib.loads(words)
    except tomllib.TOMLDecodeError as problem:
        raise InvalidRequest(f"{path.name} is no TOML: {problem}.", hint="Name a run.toml.") from None
    return _of_ours(told)


def _of_ours(told: Mapping[str, Any]) -> ImportedRecipe:
    known = set(RunFile.model_fields)
    values = {key: value for key, value in told.items() if key in known - _OF_THIS_MACHINE - {"family"}}
    return ImportedRecipe(told.get("family"), values, tuple(sorted(told.keys() - known)))


def _yaml(words: str, name: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(words)
    except yaml.YAMLError:
        raise InvalidRequest(f"{name} is no YAML.", hint="Name an ai-toolkit config.") from None


def _of_ai_toolkit(told: Any, name: str) -> ImportedRecipe:
    match told:
        case {"config": {"process": [{"type": str(kind)} as process, *_]}} if "train" in kind:
            pass
        case _:
            raise InvalidRequest(
                f"{name} is no ai-toolkit config of a training.",
                hint="It has config.process[0].type: sd_trainer.",
            )
    entries = dict(_flat(process))
    family = _family(entries, name)
    values: dict[str, Any] = {}
    for path, (field, how) in _MEANINGS.items():
        if path in entries and (made := how(entries[path])) is not None:
            values[field] = made
            del entries[path]
    if not entries.pop("train.ema_config.use_ema", True):
        values["ema"] = 0.0
    if not entries.pop("train.diff_output_preservation", False):
        values.pop("preservation", None)
    else:
        values.setdefault("preservation", 1.0)
    if entries.pop("model.quantize", False):
        values.setdefault("quantisation", "int8")
    else:
        values.pop("quantisation", None)
    done_anyway = {path for path, value in entries.items() if _is_implied(path, value)}
    return ImportedRecipe(family, values, tuple(sorted(entries.keys() - done_anyway)))


def _is_implied(path: str, value: Any) -> bool:
    return path in _IMPLIED or (path in _ONLY and str(value).lower() == _ONLY[path])


def _flat(told: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Entries by their path; of a list of sections the first one's, and the others as a whole."""
    if isinstance(told, dict):
        for key, value in told.items():
            yield from _flat(value, f"{path}.{key}".lstrip("."))
    elif isinstance(told, list) and told and isinstance(told[0], dict):
        yield from _flat(told[0], path)
        for number, further in enumerate(told[1:], 2):
            yield f"{path}.{number}", further
    else:
        yield path, told


def _family(entries: dict[str, Any], name: str) -> str | None:
    """What is trained, taken out of the entries; None where only the operator can tell.

    Raises:
        InvalidRequest: it is a base model that is not known here.
    """
    told, is_flux = str(entries.pop("model.arch", "")), entries.pop("model.is_flux", False)
    model, arch = str(entries.pop("model.name_or_path", "")), told or ("flux" if is_flux else "")
    words = (arch or model).lower().replace("_", "-")
    found = next((family for part, family in _FAMILIES if part in words), None)
    if found is None and arch:
        known = ", ".join(dict.fromkeys(family for _, family in _FAMILIES))
        raise InvalidRequest(f"{name} trains {arch}, which is not known here.", hint=f"Known are {known}.")
    return found


def _sides(value: Any) -> tuple[int, ...] | None:
    found = [value] if isinstance(value, int) else value
    if not isinstance(found, list):
        return None
    return tuple(side for side in found if isinstance(side, int)) or None


def _kept(value: Any) -> Any:
    return value


def _at_least_one(value: Any) -> int | None:
    return value if isinstance(value, int) and value >= 1 else None


_MEANINGS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "network.linear": ("rank", _at_least_one),
    "network.linear_alpha": ("alpha", _kept),
    "train.steps": ("steps", _at_least_one),
    "train.lr": ("lr", _kept),
    "train.batch_size": ("batch", _at_least_one),
    "train.gradient_accumulation_steps": ("accumulation", _at_least_one),
    "train.gradient_accumulation": ("accumulation", _at_least_one),
    "train.gradient_checkpointing": ("checkpointing", bool),
    "train.optimizer": ("optimizer", lambda name: _OPTIMIZERS.get(str(name).lower())),
    "train.ema_config.ema_decay": ("ema", _kept),
    "train.diff_output_preservation_multiplier": ("preservation", _kept),
    "train.diff_output_preservation_class": ("class_prompt", _kept),
    "datasets.resolution": ("buckets", _sides),
    "datasets.caption_dropout_rate": ("caption_dropout", _kept),
    "save.save_every": ("checkpoint_every", _at_least_one),
    "save.max_step_saves_to_keep": ("keep", _kept),
    "sample.sample_every": ("evaluate_every", _at_least_one),
    "sample.seed": ("seed", _kept),
    "model.compile": ("compile", bool),
    "model.qtype": ("quantisation", lambda kind: _BITS.get(str(kind).split("|")[0].lower())),
}
_IMPLIED = frozenset({
    "type", "device", "training_folder", "trigger_word", "train.dtype", "save.dtype", "datasets.folder_path",
    "datasets.caption_ext", "datasets.cache_latents_to_disk", "datasets.cache_text_embeddings",
    "train.cache_text_embeddings", "model.low_vram",
})  # fmt: skip
"""Entries that say what is done here anyway, or where things lie on another machine."""
_ONLY: Mapping[str, str] = {
    "network.type": "lora",
    "train.train_unet": "true",
    "train.train_text_encoder": "false",
    "train.noise_scheduler": "flowmatch",
    "datasets.shuffle_tokens": "false",
    "save.push_to_hub": "false",
}
"""Entries that say what is done here anyway with one value alone; with another they are told."""
