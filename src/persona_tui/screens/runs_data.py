"""What the runs view reads and does, as functions of a session; they run in threads.

Services are imported inside them, so that opening the view loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.cancelling import GenerationJob
    from persona_tui.services.generation.deletion import DeletedRun, DeletionPreview
    from persona_tui.services.generation.gates import GatePreview, Unapproval
    from persona_tui.services.generation.night import NightUndone
    from persona_tui.services.generation.pace import Pace
    from persona_tui.services.generation.runs import RunDetail, RunView
    from persona_tui.services.generation.traces import JobFailure
    from persona_tui.services.media import MediaStore
    from persona_tui.services.voting.contest import Standings
    from persona_tui.widgets.shell import Shell

ACTOR = "operator"
BEING_MADE = ("pending", "running")
SHOWN = 200
"""The newest runs that the list holds."""


@dataclass(frozen=True)
class RunFacts:
    """A run with what is worth knowing about it.

    Attributes:
        failures: its failed jobs, the newest first.
        standings: of the contest at which it stands, if pictures are there.
        cluster: name of the cluster that gets the winner.
        picture: file of the winner, or of the best picture so far.
        caption: which one that is.
        pace: how fast its pictures come.
    """

    run: RunDetail
    failures: tuple[JobFailure, ...]
    standings: Standings | None
    cluster: str | None
    picture: Path | None
    caption: str
    pace: Pace


@dataclass(frozen=True)
class RunList:
    """What the list shows.

    Attributes:
        paces: run's id → how fast its pictures come, of those that are being made.
        tally: runs by status, also of those that are not shown.
    """

    runs: tuple[RunView, ...]
    paces: Mapping[int, Pace]
    tally: Mapping[str, int]


def read_runs(session: Session, persona_id: int | None, statuses: tuple[str, ...] | None = None) -> RunList:
    """Runs, the newest first.

    Args:
        persona_id: whose; None takes everybody's.
        statuses: only runs with one of these.
    """
    from persona_tui.services.generation.pace import paces
    from persona_tui.services.generation.runs import list_runs
    from persona_tui.services.generation.tally import tally

    runs = list_runs(session, persona_id, statuses, limit=SHOWN)
    made = [run.current.id for run in runs if run.status in BEING_MADE]
    return RunList(runs, paces(session, made) if made else {}, tally(session, persona_id))


def read_facts(session: Session, media: MediaStore, run_id: int) -> RunFacts:
    """One run with all that the panel shows.

    Raises:
        UnknownName: it is gone.
    """
    from persona_tui.services.generation.pace import paces
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.generation.traces import job_failures
    from persona_tui.services.library.clusters import get_cluster
    from persona_tui.services.voting.contest import standings

    run = run_detail(session, run_id)
    step = run.current
    judged = step.active > 1 and step.contest_id is not None and run.winner_id is None
    return RunFacts(
        run,
        job_failures(session, run_id),
        standings(session, step.contest_id) if judged and step.contest_id is not None else None,
        get_cluster(session, run.cluster_id).name if run.cluster_id is not None else None,
        *_best_picture(session, media, run_id),
        paces(session, [step.id])[run_id],
    )


def _best_picture(session: Session, media: MediaStore, run_id: int) -> tuple[Path | None, str]:
    from persona_tui.services.generation.tree import list_candidates

    found = [one for one in list_candidates(session, run_id) if one.status == "active"]
    if not found:
        return None, "no picture yet"
    best = next((one for one in found if one.winner), None)
    best = best or next(one for one in found if one.position == found[-1].position)
    words = f"picture {best.id}, the winner" if best.winner else f"picture {best.id}, the best"
    return thumbnail(media, best.media_key, best.sha256), words


def thumbnail(media: MediaStore, key: str, sha256: str) -> Path | None:
    """The thumbnail's file; None when neither it nor the original is there."""
    from persona_tui.errors import PersonaError

    try:
        return media.thumbnail(key, sha256)
    except (PersonaError, OSError):
        return None


def read_failures(session: Session, run_id: int | None, persona_id: int | None) -> tuple[JobFailure, ...]:
    """The failed jobs of a run, or of all of the persona's, the newest first."""
    from persona_tui.services.generation.traces import job_failures, recent_failures

    if run_id is not None:
        return job_failures(session, run_id, limit=SHOWN)
    return recent_failures(session, persona_id, limit=SHOWN)


def preview(session: Session, run_step_id: int, k: int) -> GatePreview:
    """What approving the step with K would do."""
    from persona_tui.services.generation.gates import gate_preview

    return gate_preview(session, run_step_id, k)


def approve(session: Session, run_step_id: int, k: int) -> int:
    """Let the K best go on.

    Returns:
        How many pictures are made of them.

    Raises:
        PersonaError: it can't be approved now.
    """
    from persona_tui.services.generation.gates import approve as approve_step

    return approve_step(session, run_step_id, k, actor="operator").opened


def pause(session: Session, run_id: int) -> RunView:
    """Let no further job begin."""
    from persona_tui.services.generation.runs import pause_run

    return pause_run(session, run_id)


def resume(session: Session, run_id: int) -> RunView:
    """Go on, and try again what was given up."""
    from persona_tui.services.generation.runs import resume_run

    return resume_run(session, run_id)


def cancel(session: Session, run_id: int) -> RunView:
    """End a run without a winner."""
    from persona_tui.services.generation.runs import cancel_run

    return cancel_run(session, run_id)


def live_jobs(session: Session, run_id: int) -> tuple[GenerationJob, ...]:
    """A run's jobs that are under way, the newest first."""
    from persona_tui.services.generation.cancelling import list_generation_jobs

    return list_generation_jobs(session, run_id, live=True)


def cancel_job(session: Session, job_id: int) -> GenerationJob:
    """Stop one job and give its picture up."""
    from persona_tui.services.generation import cancelling

    return cancelling.cancel_job(session, job_id, actor=ACTOR)


def unapprove(session: Session, run_step_id: int) -> Unapproval:
    """Shut a gate again; what a server makes of it is stopped."""
    from persona_tui.services.generation import gates

    return gates.unapprove(session, run_step_id, actor=ACTOR, stop=True)


def undo_night(session: Session, run_id: int) -> NightUndone:
    """Take back what the night mode approved."""
    from persona_tui.services.generation import night

    return night.undo_night(session, run_id, actor=ACTOR)


def set_night(session: Session, run_id: int, policy: str, at: datetime | None) -> RunView:
    """Say who passes its gates while nobody is there."""
    from persona_tui.services.generation import run_acts

    return run_acts.set_night(session, run_id, policy, at, actor=ACTOR)


def reopen(session: Session, run_id: int) -> RunView:
    """Go on with a run that has ended."""
    from persona_tui.services.generation import run_acts

    return run_acts.reopen_run(session, run_id, actor=ACTOR)


def deletion_preview(session: Session, run_id: int) -> DeletionPreview:
    """What deleting it would take."""
    from persona_tui.services.generation import deletion

    return deletion.deletion_preview(session, run_id)


def delete(session: Session, run_id: int) -> DeletedRun:
    """Delete it, also where drafts or clusters use it: the operator was told."""
    from persona_tui.services.generation import deletion

    return deletion.delete_run(session, run_id, actor=ACTOR, even_used=True)


def remove_files(scope: Callable[[], AbstractContextManager[Session]], media: MediaStore) -> int:
    """Remove the files of deleted pictures; after the commit."""
    from persona_tui.services.generation import deletion

    return deletion.remove_files(scope, media)


def wake_engine(shell: Shell) -> None:
    """Have the engine, if it runs in this process, look for work now."""
    engine = shell.core.engine
    if engine is not None:
        engine.wake()
