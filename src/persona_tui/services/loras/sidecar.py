"""The JSON that trainers and model sites put beside a LoRA file: its name, trigger word, base model …"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persona_tui.services.loras.families import ModelType
from persona_tui.text import clean

LARGEST = 4 * 1024 * 1024
_LONGEST = 300
NAMELESS = ("adapter_model", "pytorch_lora_weights")
"""What PEFT and diffusers call every LoRA; the folder's name tells more."""
_SUFFIXES = (".json", ".metadata.json", ".civitai.info", ".safetensors.json")
_KINDS: dict[str, ModelType] = {
    "character": "character", "person": "character", "subject": "character", "identity": "character",
    "style": "style", "concept": "concept", "object": "concept", "pose": "concept", "clothing": "concept",
    "editor": "editor", "edit": "editor",
}  # fmt: skip


@dataclass(frozen=True)
class Sidecar:
    """What it says, as far as it says something that can be used.

    Attributes:
        path: the file; None where there is none.
        persona: whose likeness it holds.
        version: a whole number from 1.
        model_type: character, style, concept or editor.
        weight: 0 to 1.
        notes: sentences on what in it can't be used.
    """

    path: Path | None = None
    persona: str | None = None
    name: str | None = None
    version: int | None = None
    trigger_word: str | None = None
    base_model: str | None = None
    model_type: ModelType | None = None
    weight: float | None = None
    notes: tuple[str, ...] = field(default=())


def read_sidecar(weights: Path) -> Sidecar:
    """The JSON beside a LoRA file; an empty one where there is none. A broken one is noted, not an error."""
    candidates = (weights.with_name(weights.stem + suffix) for suffix in _SUFFIXES)
    # PEFT's own, which lies beside a file that is called the same wherever it is.
    peft = [weights.with_name("adapter_config.json")] if weights.stem in NAMELESS else []
    path = next((one for one in (*candidates, _appended(weights), *peft) if one.is_file()), None)
    if path is None:
        return Sidecar()
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        told = json.loads(path.read_text("utf-8"))
        if not isinstance(told, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError):
        return Sidecar(path, notes=(f"{path.name} can't be read as JSON and was left out.",))
    return _understood(path, told)


def _appended(weights: Path) -> Path:
    return weights.with_name(weights.name + ".json")


def _understood(path: Path, told: Mapping[str, Any]) -> Sidecar:
    notes: list[str] = []
    kind = _text(told, "model_type", "lora_type", "type", "kind", "category")
    weight = _weight(told, path, notes)
    return Sidecar(
        path=path,
        persona=_text(told, "persona", "character_name", "subject_name"),
        name=_text(told, "name", "model_name", "lora_name"),
        version=_version(told),
        trigger_word=_trigger(told),
        base_model=_text(
            told,
            "base_model",
            "baseModel",
            "base_model_family",
            "family",
            "sd version",
            "base",
            "base_model_name_or_path",
        ),
        model_type=_KINDS.get((kind or "").lower()),
        weight=weight,
        notes=tuple(notes),
    )


def _text(told: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = told.get(name)
        if isinstance(value, str) and (words := clean(value, keep_lines=False).strip()):
            return words[:_LONGEST]
    return None


def _version(told: Mapping[str, Any]) -> int | None:
    """A whole number, also out of `v3` or `char_v3`; None for the likes of `2.1-beta`."""
    value = told.get("version", told.get("lora_version"))
    if isinstance(value, str):
        match = re.fullmatch(r"(?:.*[_\- ])?v?(\d{1,6})", value.strip(), re.IGNORECASE)
        value = int(match.group(1)) if match else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= 1_000_000 else None


def _trigger(told: Mapping[str, Any]) -> str | None:
    words = _text(
        told, "trigger_word", "trigger", "trigger_phrase", "instance_token", "activation text", "token"
    )
    if words is not None:
        return words
    for name in ("trigger_words", "trainedWords", "trained_words"):
        value = told.get(name)
        if isinstance(value, list) and value and isinstance(value[0], str):
            return clean(value[0], keep_lines=False).strip()[:_LONGEST] or None
    return None


def _weight(told: Mapping[str, Any], path: Path, notes: list[str]) -> float | None:
    for name in ("weight", "recommended_weight", "preferred weight", "preferred_weight", "strength"):
        value = told.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if 0 <= value <= 1:
            return float(value)
        notes.append(f"{path.name} asks for the weight {value:g}; weights are 0 to 1, so it was left out.")
    return None
