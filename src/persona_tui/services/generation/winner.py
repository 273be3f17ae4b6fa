"""Choosing a run's winner: one per run, linked to the run's cluster, handed to the posts that wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session, col, select

from persona_tui.errors import NotAllowedNow
from persona_tui.models.library import ClusterCandidate
from persona_tui.models.pipeline import ImageCandidate, Pipeline, PipelineRun, PipelineVersion
from persona_tui.services import events
from persona_tui.services.generation import progress, tree
from persona_tui.services.library import clusters


@dataclass(frozen=True)
class WinnerView:
    """A run's winner.

    Attributes:
        cluster_id: the cluster that it was linked to; None when the run has none.
        replaced_id: the candidate that had won before.
    """

    run_id: int
    candidate_id: int
    cluster_id: int | None
    replaced_id: int | None


def choose_winner(session: Session, candidate_id: int, *, actor: str) -> WinnerView:
    """Make a picture of the last step the run's one winner; the run is completed.

    The winner before loses its title, and its place in the cluster unless a live post shows it.

    Raises:
        UnknownName: there is no such candidate.
        NotAllowedNow: it is rejected, or not of the last step.
    """
    run = progress.lock_run(session, tree.get_candidate(session, candidate_id).run_id)
    candidate = tree.get_candidate(session, candidate_id)
    _require_eligible(session, candidate)
    replaced = _current(session, run.id)
    if replaced is None or replaced.id != candidate_id:
        if replaced is not None:
            _dethrone(session, run, replaced)
        _crown(session, candidate)
        _link(session, run, candidate)
    _complete(session, run)
    _attach_to_posts(session, run.id, candidate_id)
    tree.record_act(session, run, actor, "run.winner", f"image_candidates:{candidate_id}", [candidate_id])
    replaced_id = replaced.id if replaced is not None and replaced.id != candidate_id else None
    return WinnerView(run.id, candidate_id, run.cluster_id, replaced_id)


def _require_eligible(session: Session, candidate: ImageCandidate) -> None:
    if candidate.status != "active":
        raise NotAllowedNow("A rejected picture can't win.", hint="Take its rejection back first.")
    last = progress.steps_of(session, candidate.run_id)[-1]
    if candidate.run_step_id != last.id:
        raise NotAllowedNow(
            f"Only a picture of the last step, {last.name}, can win.",
            hint="Approve this step to go on with it.",
        )


def _current(session: Session, run_id: int) -> ImageCandidate | None:
    query = select(ImageCandidate).where(ImageCandidate.run_id == run_id, col(ImageCandidate.winner))
    return session.exec(query.execution_options(populate_existing=True)).first()


def _dethrone(session: Session, run: PipelineRun, old: ImageCandidate) -> None:
    old.winner, old.winner_at = False, None
    session.add(old)
    session.flush()
    session.execute(
        text(
            "DELETE FROM cluster_candidates m"
            " WHERE m.cluster_id = :cluster AND m.image_candidate_id = :candidate AND NOT EXISTS ("
            "  SELECT FROM post_items p WHERE p.image_candidate_id = :candidate AND p.holds)"
        ),
        {"cluster": run.cluster_id, "candidate": old.id},
    )
    events.emit(session, "candidate", old.id)


def _crown(session: Session, candidate: ImageCandidate) -> None:
    now = session.execute(text("SELECT persona_now()")).scalar_one()
    candidate.winner, candidate.winner_at = True, now
    session.add(candidate)
    session.flush()
    events.emit(session, "candidate", candidate.id)


def _link(session: Session, run: PipelineRun, candidate: ImageCandidate) -> None:
    if run.cluster_id is None or run.persona_id is None:
        return
    known = select(ClusterCandidate.id).where(
        ClusterCandidate.cluster_id == run.cluster_id, ClusterCandidate.image_candidate_id == candidate.id
    )
    if session.exec(known).first() is not None:
        events.emit(session, "cluster", run.cluster_id)
        return
    version = session.get_one(PipelineVersion, run.pipeline_version_id)
    pipeline = session.get_one(Pipeline, version.pipeline_id)
    details = {"rating": candidate.elo_score, "pipeline": pipeline.name, "run": run.id}
    clusters.add_picture(session, run.cluster_id, candidate_id=candidate.id, details=details)


def _complete(session: Session, run: PipelineRun) -> None:
    tree.cancel_jobs(session, run.id)
    if run.status != "completed":
        now = session.execute(text("SELECT persona_now()")).scalar_one()
        run.status, run.reason, run.finished_at = "completed", "", now
        session.add(run)
    progress.refresh_run(session, run)


def _attach_to_posts(session: Session, run_id: int, candidate_id: int) -> None:
    from persona_tui.services.publishing.posts import attach_winner

    attach_winner(session, run_id, candidate_id)
