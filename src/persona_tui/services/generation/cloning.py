"""The same run once more, with changes."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from persona_tui.services.generation.pipelines import get_pipeline
from persona_tui.services.generation.runs import RunDetail, RunView, create_run, run_detail

_system_random = random.SystemRandom()


def clone_run(
    session: Session, run_id: int, changes: Mapping[str, Any], *, rng: random.Random = _system_random
) -> RunView:
    """Start a run like another one, on the newest version of its pipeline.

    Args:
        changes: fields of `RunInput` that differ; `variables` and `steps` are laid over the old ones, and a
            step of which only N is given keeps its K. Without `seed` other pictures come; with the old
            seed and an unchanged pipeline the same. Another `pipeline` brings its own N and K.
        rng: draws the seed.

    Raises:
        UnknownName: there is no such run.
        InvalidRequest, GuardRefused: as `create_run`.
    """
    old = run_detail(session, run_id)
    pipeline = get_pipeline(session, changes.get("pipeline") or old.pipeline)
    keeps = pipeline.name == old.pipeline
    steps = {position: dict(plan) for position, plan in _plans(old).items() if keeps}
    steps = {position: plan for position, plan in steps.items() if position <= len(pipeline.steps)}
    inherited = {
        position
        for position, plan in steps.items()
        if changes.get("steps", {}).get(position, {}).get("top_k") in (None, plan["top_k"])
    }
    for position, plan in changes.get("steps", {}).items():
        steps[position] = {**steps.get(position, {}), **plan}
    values = {
        "persona_id": old.persona_id,
        "prompt": old.prompt,
        "negative": old.negative,
        "cluster_id": old.cluster_id,
        "pillar_id": old.pillar_id,
        "loras": _choices(old) if keeps or old.loras else None,
        "max_pictures": old.budget.max_pictures,
        "max_gpu_minutes": old.budget.max_gpu_minutes,
        **changes,
        "pipeline": pipeline.id,
        "variables": {**old.variables, **changes.get("variables", {})},
        "steps": steps,
    }
    return create_run(session, values, inherited=inherited, rng=rng)


def _choices(run: RunDetail) -> list[dict[str, Any]]:
    """The old run's LoRAs at their weights; none stays none."""
    return [{"lora_model_id": lora.lora_model_id, "weight": lora.weight} for lora in run.loras]


def _plans(run: RunDetail) -> dict[int, dict[str, int]]:
    return {
        step.position: {"children_per_parent": step.children_per_parent, "top_k": step.top_k}
        for step in run.steps
    }
