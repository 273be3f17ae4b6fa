"""What a training made: taken into the registry as the next version, and brought to the servers."""

from __future__ import annotations

from typing import Any

import structlog
from sqlmodel import select

from persona_tui.gpu.training.folder import RunFolder
from persona_tui.models.training import Checkpoint, TrainingRun
from persona_tui.services import events
from persona_tui.services.generation.lora_placing import LoraPlacer
from persona_tui.services.loras.importing import LoraInput, import_loras
from persona_tui.services.loras.registry import get_lora
from persona_tui.services.loras.shelf import Shelf
from persona_tui.services.training.recipe import family_of
from persona_tui.services.training.runs import get_training
from persona_tui.services.training.start import Starter

log = structlog.get_logger("persona_tui.training")


def register(starter: Starter, run_id: int) -> bool:
    """Take a finished training's file into the registry; a second time changes nothing.

    The persona does not use it by that: the operator promotes it, after a comparison.

    Returns:
        Whether it is there; where not, the run says why.
    """
    with starter.scope() as session:
        view = get_training(session, run_id)
    manifest = RunFolder(view.folder).manifest()
    exported: dict[str, Any] = manifest.get("exported") or {}
    path = view.folder / "export" / str(exported.get("file", ""))
    family = family_of(view.family)
    given = LoraInput(
        persona_id=view.persona_id,
        name=view.name,
        model_type="editor" if view.wheel == "editor" else "character",
        family=family.lora_family,
        trigger_word=str(view.config.get("trigger", "")),
        use=False,
        facts={
            "training_run": run_id,
            "step": exported.get("step"),
            "weights": exported.get("weights"),
            "base_difference": exported.get("base_difference"),
            "base_model": family.title,
            "dataset_sha256": view.dataset_hash,
            "config_sha256": view.config_hash,
            "scores": _scores(starter, run_id, exported.get("step")),
            "non_commercial": not family.licence.commercial,
            "licence": family.licence.name,
        },
    )
    for outcome in import_loras(starter.scope, Shelf(starter.settings), [path], given):
        if outcome.lora is None:
            _tell(starter, run_id, f"Its file could not be registered: {outcome.sentence}", outcome.hint)
            return False
        with starter.scope() as session:
            row = session.get_one(TrainingRun, run_id)
            row.lora_model_id, row.best_step = outcome.lora.id, exported.get("step")
            session.add(row)
            events.emit(session, "training", run_id)
    return True


async def place_everywhere(starter: Starter, run_id: int) -> None:
    """Copy a training's LoRA into every server's folder, and say which server does not list it."""
    with starter.scope() as session:
        view = get_training(session, run_id)
        if view.lora_id is None:
            return
        lora = get_lora(session, view.lora_id)
    missing = []
    for url, client in starter.clients().items():
        async with client:
            folder = starter.settings.comfyui.lora_dir_of(url)
            placer = LoraPlacer(client, Shelf(starter.settings), folder)
            placement = await placer.placement(lora.file_name, bring=True)
        if placement.listed is None:
            missing.append(placement.sentence or f"{url} does not list it.")
    if missing:
        words = f"{lora.label} is not at every server: {missing[0]}"
        _tell(starter, run_id, words, f"`persona-tui lora show {lora.label!r} --servers` asks again.")


def _scores(starter: Starter, run_id: int, step: object) -> dict[str, Any]:
    with starter.scope() as session:
        query = select(Checkpoint).where(Checkpoint.training_run_id == run_id, Checkpoint.step == step)
        checkpoint = session.exec(query).one_or_none()
        return {} if checkpoint is None else dict(checkpoint.scores)


def _tell(starter: Starter, run_id: int, words: str, hint: str) -> None:
    log.warning("a training's file", training=run_id, problem=words)
    with starter.scope() as session:
        row = session.get_one(TrainingRun, run_id)
        row.trouble, row.hint = words, hint
        session.add(row)
        events.emit(session, "training", run_id)
