"""What an exported file says of itself: kohya's ss_*, ModelSpec 1.0.1, our flen.*, and the JSON beside it.

Nothing that tells of this machine or of people: no path, no folder's name, no caption (M15).
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from importlib.metadata import version
from typing import Any

from persona_tui.gpu.training.cache import Index
from persona_tui.gpu.training.checkpoints import State
from persona_tui.gpu.training.families import Family
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.lora import as_peft_tells_it
from persona_tui.gpu.training.naming import BFL_PREFIX
from persona_tui.gpu.training.run_file import RunFile


def notes_of(
    folder: RunFolder,
    run: RunFile,
    index: Index,
    family: Family,
    state: State,
    weights: str,
    content_hash: str,
    layers: list[str],
) -> dict[str, str]:
    """All notes of the file; equal for equal runs, but for the dates.

    Args:
        state: of the checkpoint.
        weights: "ema" or "raw".
        content_hash: SHA-256 of the tensors.
        layers: that have a LoRA, by the transformer's names.
    """
    began, ended = _times(folder, state.step)
    learnt = [index.samples[place] for place in index.places(("train", "anchor"))]
    shapes = Counter(f"{one.bucket[0]}x{one.bucket[1]}" for one in learnt)
    side = max(run.buckets)
    notes = {
        "format": "pt",
        "ss_base_model_version": family.base_model_version,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(run.rank),
        # Baked into the weights, which so are those of alpha = rank.
        "ss_network_alpha": str(float(run.rank)),
        "ss_network_args": json.dumps({"targets": run.targets}),
        "ss_output_name": run.name,
        "ss_seed": str(run.seed),
        "ss_steps": str(state.step),
        "ss_max_train_steps": str(run.steps),
        "ss_num_train_images": str(len({one.picture for one in learnt})),
        "ss_learning_rate": str(run.lr),
        "ss_optimizer": state.optimizer,
        "ss_lr_scheduler": "constant_with_warmup",
        "ss_lr_warmup_steps": str(run.warmup),
        "ss_total_batch_size": str(run.batch * run.accumulation),
        "ss_resolution": f"({side}, {side})",
        "ss_bucket_info": json.dumps({"buckets": dict(sorted(shapes.items()))}),
        "ss_training_started_at": str(began.timestamp()),
        "ss_training_finished_at": str(ended.timestamp()),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": family.architecture,
        "modelspec.implementation": "diffusers",
        "modelspec.title": run.name,
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.date": ended.isoformat(timespec="seconds"),
        "modelspec.hash_sha256": f"0x{content_hash}",
        "modelspec.license": f"{family.licence.name} ({family.licence.url})",
        "modelspec.trigger_phrase": run.trigger,
        "flen.version": version("persona-tui"),
        "flen.dataset_hash": run.dataset_hash,
        "flen.config_hash": run.hash(),
        "flen.parent_hash": run.parent_hash or "",
        "flen.weights": weights,
        "flen.commercial": "yes" if family.licence.commercial else "no",
        "flen.scores": json.dumps(scores_of(folder, state.step), sort_keys=True),
    }
    if family.lora_prefix != BFL_PREFIX:
        # There the fused layers have three times the rank, which PEFT's one number can't say.
        notes["lora_adapter_metadata"] = as_peft_tells_it(layers, run.rank, family.lora_prefix)
    return notes


def scores_of(folder: RunFolder, step: int) -> dict[str, float]:
    """The numbers that the last evaluation of a step gave."""
    told: dict[str, Any] = {}
    for line in folder.evaluated():
        if line.get("step") == step:
            told = line
    return {
        name: float(value)
        for name, value in told.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }


def sidecar_of(notes: dict[str, str], run: RunFile, family: Family) -> dict[str, Any]:
    """The JSON beside the file, as `lora import` and other tools read it."""
    return {
        "name": run.name,
        "model_type": "character" if family.wheel == "character" else "editor",
        "base_model": family.title,
        "family": family.name,
        "trigger_word": run.trigger,
        "licence": notes["modelspec.license"],
        "commercial": family.licence.commercial,
        "comfyui": family.comfyui,
        "rank": run.rank,
        "steps": int(notes["ss_steps"]),
        "weights": notes["flen.weights"],
        "dataset_hash": run.dataset_hash,
        "config_hash": notes["flen.config_hash"],
        "parent_hash": run.parent_hash,
        "sha256": notes["modelspec.hash_sha256"].removeprefix("0x"),
        "scores": json.loads(notes["flen.scores"]),
    }


def _times(folder: RunFolder, step: int) -> tuple[datetime, datetime]:
    """When the run began, and when it reached the step; of a log that does not tell, when it last spoke."""
    events = list(folder.events())
    began = [event["at"] for event in events if event.get("event") == "began"]
    saved = [
        event["at"] for event in events if (event.get("event"), event.get("step")) == ("checkpoint", step)
    ]
    return datetime.fromisoformat(began[0]), datetime.fromisoformat((saved or [events[-1]["at"]])[-1])
