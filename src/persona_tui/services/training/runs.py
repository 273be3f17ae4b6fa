"""Trainings as they are shown: what the database knows of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import UnknownName

LIVE = ("encoding", "training", "exporting")
"""Statuses in which a process is at work, or should be."""


@dataclass(frozen=True)
class CheckpointView:
    """A saved state of a training; its scores by name."""

    step: int
    best: bool
    kept: bool
    scores: Mapping[str, Any]


@dataclass(frozen=True)
class TrainingView:
    """A training as the database has it; `attach` reads the rest from its folder.

    Attributes:
        name: of the LoRA that it makes.
        attempt: how often a process was started for it.
        predicted_vram, measured_vram: bytes at the peak; None on a CPU or before the first reading.
        card: 'host:GPU uuid' or 'host:cpu'; of several the first.
        further_cards: the others.
        holder: 'host:boot id:pid:start' of its supervisor; empty before the first start.
        best_step: of the checkpoint that the LoRA was made of, proposed or chosen by hand; None before that.
        lora: `name@version` of what came out; None before that.
        trouble, hint: what is wrong, and what to do; empty when all is well.
    """

    id: int
    persona_id: int
    persona: str
    dataset_id: int
    dataset: str
    name: str
    wheel: str
    family: str
    status: str
    step: int
    total_steps: int
    attempt: int
    resumed_step: int | None
    seed: int
    quantisation: str
    config: Mapping[str, Any]
    config_hash: str
    dataset_hash: str
    predicted_vram: int | None
    measured_vram: int | None
    predicted_ram: int | None
    measured_ram: int | None
    prediction: Mapping[str, Any]
    card: str
    further_cards: tuple[str, ...]
    holder: str
    folder: Path
    trouble: str
    hint: str
    best_step: int | None
    lora_id: int | None
    lora: str | None
    created_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None

    @property
    def cards(self) -> tuple[str, ...]:
        """All that it trains on, one for each process; the first one's writes and decides."""
        return (self.card, *self.further_cards)

    @property
    def is_live(self) -> bool:
        """Whether a process is at work on it, or should be."""
        return self.status in LIVE


def list_trainings(
    session: Session, persona_id: int | None = None, *, live: bool = False
) -> tuple[TrainingView, ...]:
    """All trainings or a persona's, the newest first.

    Args:
        live: only those that a process is at work on, or should be.
    """
    return _views(session, persona=persona_id, live=live)


def get_training(session: Session, run_id: int) -> TrainingView:
    """One training.

    Raises:
        UnknownName: it is not there.
    """
    found = _views(session, run=run_id)
    if not found:
        raise UnknownName(
            f"There is no training {run_id}.", hint="`persona-tui train status` shows what there is."
        )
    return found[0]


def checkpoints_of(session: Session, run_id: int) -> tuple[CheckpointView, ...]:
    """A training's checkpoints by step, those that were pruned included."""
    return tuple(CheckpointView(*row) for row in rows_of(session, _CHECKPOINTS, {"run": run_id}))


def _views(
    session: Session, *, persona: int | None = None, run: int | None = None, live: bool = False
) -> tuple[TrainingView, ...]:
    values = {"persona": persona, "run": run, "live": list(LIVE) if live else None}
    return tuple(_view(row) for row in rows_of(session, _TRAININGS, values))


def _view(row: Any) -> TrainingView:
    told = row._asdict()
    further = tuple(told["further_cards"])
    return TrainingView(**{**told, "folder": Path(told["folder"]), "further_cards": further})


_TRAININGS = """
SELECT r.id, r.persona_id, p.name AS persona, r.dataset_id, d.name AS dataset, r.name, r.wheel,
  r.base_family AS family, r.status, r.step, r.total_steps, r.attempt, r.resumed_step, r.seed, r.quantisation,
  r.config, r.config_hash, r.dataset_hash, r.predicted_vram, r.measured_vram, r.predicted_ram, r.measured_ram,
  r.prediction, r.card, r.further_cards,
  CASE WHEN r.pid IS NULL THEN ''
       ELSE concat_ws(':', split_part(r.card, ':', 1), r.boot_id, r.pid, r.pid_started) END AS holder,
  r.folder, r.trouble, r.hint, r.best_step, r.lora_model_id AS lora_id, l.name || '@' || l.version AS lora,
  r.created_at, r.started_at, r.heartbeat_at, r.finished_at
FROM training_runs r JOIN personas p ON p.id = r.persona_id JOIN datasets d ON d.id = r.dataset_id
LEFT JOIN lora_models l ON l.id = r.lora_model_id
WHERE (CAST(:persona AS bigint) IS NULL OR r.persona_id = :persona)
  AND (CAST(:run AS bigint) IS NULL OR r.id = :run)
  AND (CAST(:live AS text[]) IS NULL OR r.status = ANY (:live))
ORDER BY r.id DESC
"""
_CHECKPOINTS = "SELECT step, best, kept, scores FROM checkpoints WHERE training_run_id = :run ORDER BY step"
