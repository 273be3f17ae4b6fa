"""What runs and probes really took of memory, kept beside what was reckoned; later plans count it in."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from psycopg.types.json import Jsonb
from sqlmodel import Session, col, select

from persona_tui.database.driver import rows_of
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.memory import noted_peak
from persona_tui.gpu.training.planner import memory_settings
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.models.training import MemoryReading, TrainingRun

REMEMBERED = 5
"""The last readings of a kind that count."""
LEAST, MOST = 0.5, 2.0
"""Between these a plan is corrected: beyond them a reading says more of an accident than of the plan."""


@dataclass(frozen=True)
class Calibration:
    """By how much a plan is corrected.

    Attributes:
        factor: median of measured over reckoned.
        readings: that it was taken from.
        alike: they had the same settings; otherwise the same family and quantisation alone.
    """

    factor: float
    readings: int
    alike: bool

    @property
    def sentence(self) -> str:
        """For the plan."""
        whose = "these very settings" if self.alike else "this base model in this quantisation"
        by = "a reading" if self.readings == 1 else f"{self.readings} readings"
        return f"By {by} of {whose} it takes {self.factor:.2f} times what was reckoned; that is counted in."


def calibration(
    session: Session, run: RunFile, *, sources: int = 0, on_cpu: bool = False
) -> Calibration | None:
    """What earlier readings say of a recipe; None without any. Those of the same settings come first."""
    values = {
        "family": run.family,
        "quantisation": run.quantisation,
        "on_cpu": on_cpu,
        "settings": Jsonb(memory_settings(run, sources)),
        "most": REMEMBERED,
    }
    rows = rows_of(session, _READINGS, values)
    alike = [row.ratio for row in rows if row.alike]
    ratios = alike or [row.ratio for row in rows]
    if not ratios:
        return None
    factor = min(max(median(ratios), LEAST), MOST)
    last = next((row for row in rows if row.alike), None)
    if last is not None and last.outgrew:
        # No accident: this way has just run out of memory, so at least that much has to be there.
        factor = max(factor, last.ratio)
    return Calibration(factor, len(ratios), bool(alike))


def keep_probe(
    session: Session,
    run: RunFile,
    *,
    card: str,
    on_cpu: bool,
    sources: int,
    predicted: int,
    measured: int,
    outgrew: bool,
) -> None:
    """Keep what a probe has measured."""
    reading = MemoryReading(
        source="probe",
        base_family=run.family,
        quantisation=run.quantisation,
        on_cpu=on_cpu,
        settings=memory_settings(run, sources),
        card=card,
        predicted=predicted,
        measured=measured,
        outgrew=outgrew,
    )
    session.add(reading)
    session.flush()


def keep_run(session: Session, row: TrainingRun, folder: RunFolder) -> None:
    """Keep the highest peak of a run, against what was reckoned for the largest pictures that it has met.

    Of several cards the fullest one's counts: the plan is for each of them.
    """
    found = noted_peak(folder, "train")
    reckoned: dict[str, int] = row.prediction.get("by_side", {})
    if found is None or not found.side or not reckoned:
        return
    side = min(reckoned, key=lambda one: abs(int(one) - found.side))
    query = select(MemoryReading).where(col(MemoryReading.training_run_id) == row.id)
    reading = session.exec(query).one_or_none()
    if reading is None:
        reading = MemoryReading(
            training_run_id=row.id,
            source="run",
            base_family=row.base_family,
            quantisation=row.quantisation,
            predicted=1,
            measured=1,
        )
    settings: dict[str, Any] = memory_settings(
        RunFile.model_validate(row.config), int(row.prediction.get("sources", 0))
    )
    reading.on_cpu, reading.card = found.on_cpu, row.card
    reading.settings = settings | {"side": int(side)}
    reading.predicted, reading.measured = reckoned[side], max(found.bytes, reading.measured)
    session.add(reading)


_READINGS = """
(SELECT measured::float / predicted AS ratio, true AS alike, outgrew FROM memory_readings
 WHERE base_family = :family AND quantisation = :quantisation AND on_cpu = :on_cpu
   AND settings = CAST(:settings AS jsonb)
 ORDER BY id DESC LIMIT :most)
UNION ALL
(SELECT measured::float / predicted, false, outgrew FROM memory_readings
 WHERE base_family = :family AND quantisation = :quantisation AND on_cpu = :on_cpu
   AND settings <> CAST(:settings AS jsonb)
 ORDER BY id DESC LIMIT :most)
"""
