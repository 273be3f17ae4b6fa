"""Recipes of ai-toolkit, as far as ours have the same: what was taken, and what was not (M14)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from persona_tui.errors import InvalidRequest

# By their `arch`; older files say is_flux instead.
_FAMILIES = {
    "flux": "flux1",
    "flux_kontext": "kontext",
    "flux2_klein_4b": "flux2-klein-4b",
    "flux2_klein_9b": "flux2-klein-9b",
    "qwen_image": "qwen-image",
    "qwen_image_edit_plus": "qwen-edit-2509",
    "qwen_image_edit_plus2": "qwen-edit-2511",
}
_QUANTISED = {"qfloat8": "int8", "int8": "int8", "nf4": "nf4", "uint4": "nf4", "uint3": "nf4"}
_AS_IT_IS = {
    "trigger_word": "trigger",
    "network.linear": "rank",
    "network.linear_alpha": "alpha",
    "save.save_every": "checkpoint_every",
    "save.max_step_saves_to_keep": "keep",
    "sample.sample_every": "evaluate_every",
    "train.steps": "steps",
    "train.batch_size": "batch",
    "train.gradient_accumulation_steps": "accumulation",
    "train.gradient_accumulation": "accumulation",
    "train.gradient_checkpointing": "checkpointing",
    "train.lr": "lr",
    "train.diff_output_preservation_class": "class_prompt",
}
# What ours do anyway, or what says where things lie on the other machine.
_NEEDLESS = {
    "type", "training_folder", "device", "network.type", "model.name_or_path", "model.arch", "model.is_flux",
    "model.quantize", "model.qtype", "model.low_vram", "train.train_unet", "train.noise_scheduler",
    "train.dtype", "train.optimizer", "train.ema_config.use_ema", "train.ema_config.ema_decay",
    "train.diff_output_preservation", "train.diff_output_preservation_multiplier", "datasets.folder_path",
    "datasets.caption_ext", "datasets.caption_dropout_rate", "datasets.resolution",
    "datasets.cache_latents_to_disk", "datasets.cache_text_embeddings", "save.push_to_hub",
    "train.cache_text_embeddings",
}  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """What another trainer's file says.

    Attributes:
        values: fields of `RunFile`.
        datasets: folders of pictures, on the machine where it was written.
        left_out: settings that ours have not, with their values: "train.lr_scheduler = cosine".
    """

    values: Mapping[str, Any]
    datasets: tuple[Path, ...]
    left_out: tuple[str, ...]


def read_ai_toolkit(path: Path) -> Imported:
    """Read a training's YAML.

    Raises:
        InvalidRequest: it can't be read, trains no LoRA, or a base model that is not known here.
    """
    try:
        told = yaml.safe_load(path.read_text("utf-8"))
        config = told["config"]
        process = config["process"][0]
    except OSError as problem:
        raise InvalidRequest(f"{path} can't be read: {problem.strerror}.", hint="Check the path.") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, IndexError, TypeError):
        raise InvalidRequest(
            f"{path.name} is no recipe of ai-toolkit.", hint="Name the YAML that ai-toolkit was started with."
        ) from None
    if not isinstance(process, dict) or _at(process, "network.type") not in (None, "lora"):
        raise InvalidRequest(f"{path.name} trains no LoRA.", hint="LoRAs are what is trained here.")
    flat = dict(_flat(process))
    values = {ours: flat[theirs] for theirs, ours in _AS_IT_IS.items() if theirs in flat}
    values |= {name: value for name, make in _MADE.items() if (value := make(flat)) is not None}
    if isinstance(config.get("name"), str):
        values["name"] = config["name"]
    values.setdefault("alpha", values.get("rank", 16))
    values["family"] = _family(flat, path)
    datasets = process.get("datasets") or []
    folders = [one["folder_path"] for one in datasets if isinstance(one, dict) and "folder_path" in one]
    unknown = [name for name in flat if name not in _AS_IT_IS and name not in _NEEDLESS]
    return Imported(
        values, tuple(map(Path, folders)), tuple(f"{name} = {flat[name]}" for name in sorted(unknown))
    )


def _flat(told: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting by its path; of several datasets, the first one's."""
    for name, value in told.items():
        inner = value[0] if name == "datasets" and isinstance(value, list) and value else value
        if isinstance(inner, dict):
            yield from _flat(inner, f"{before}{name}.")
        else:
            yield f"{before}{name}", inner


def _at(told: Mapping[str, Any], path: str) -> Any:
    return dict(_flat(told)).get(path)


def _family(flat: Mapping[str, Any], path: Path) -> str:
    arch = flat.get("model.arch") or ("flux" if flat.get("model.is_flux") else "")
    # `qwen_image:2512` names a version behind a colon.
    family = _FAMILIES.get(str(arch).partition(":")[0])
    if family is None:
        raise InvalidRequest(
            f"{path.name} trains {arch or 'a model that it does not name'}, which is not known here.",
            hint=f"Known are {', '.join(_FAMILIES)}.",
        )
    return family


def _optimizer(flat: Mapping[str, Any]) -> str | None:
    told = str(flat.get("train.optimizer", "")).lower()
    if not told:
        return None
    return "prodigy" if told.startswith("prodigy") else "adamw8bit" if "8bit" in told else "adamw"


def _buckets(flat: Mapping[str, Any]) -> tuple[int, ...] | None:
    told = flat.get("datasets.resolution")
    return None if told is None else tuple(told) if isinstance(told, list) else (told,)


def _preservation(flat: Mapping[str, Any]) -> float | None:
    if not flat.get("train.diff_output_preservation"):
        return None
    return float(flat.get("train.diff_output_preservation_multiplier", 1.0))


def _quantisation(flat: Mapping[str, Any]) -> str | None:
    if not flat.get("model.quantize"):
        return None
    return _QUANTISED.get(str(flat.get("model.qtype", "qfloat8")).partition("|")[0], "int8")


_MADE: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "optimizer": _optimizer,
    "buckets": _buckets,
    "preservation": _preservation,
    "quantisation": _quantisation,
    "caption_dropout": lambda flat: flat.get("datasets.caption_dropout_rate"),
    "ema": lambda flat: (
        flat.get("train.ema_config.ema_decay", 0.99) if flat.get("train.ema_config.use_ema") else None
    ),
}
