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
        kept_for_posts: posts that use the replaced picture, which therefore stays in the cluster as well.
        given_to_posts: posts that waited for the picture and have it now.
    """

    run_id: int
    candidate_id: int
    cluster_id: int | None
    replaced_id: int | None
    kept_for_posts: tuple[int, ...] = ()
    given_to_posts: tuple[int, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What else came of the choice, in sentences."""
        found = []
        if self.kept_for_posts:
            found.append(_kept(self.replaced_id, self.kept_for_posts))
        if self.given_to_posts:
            found.append(
                f"{_posts(self.given_to_posts)} waited for it and {_has(self.given_to_posts)} it now."
            )
        return tuple(found)


@dataclass(frozen=True)
class Unchosen:
    """A run that has no winner any more.

    Attributes:
        kept_for_posts: posts that use the picture, which therefore stays in the cluster.
    """

    run_id: int
    candidate_id: int
    kept_for_posts: tuple[int, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What stayed as it was, in sentences."""
        return (_kept(self.candidate_id, self.kept_for_posts),) if self.kept_for_posts else ()


def _kept(candidate_id: int | None, posts: tuple[int, ...]) -> str:
    return f"Picture {candidate_id} stays in the cluster: {_posts(posts)} {_has(posts)} it."


def _posts(posts: tuple[int, ...]) -> str:
    return f"post{'s' if len(posts) > 1 else ''} {', '.join(map(str, posts))}"


def _has(posts: tuple[int, ...]) -> str:
    return "have" if len(posts) > 1 else "has"


def choose_winner(session: Session, candidate_id: int, *, actor: str) -> WinnerView:
    """Make a picture of the last step the run's one winner; the run is completed.

    The winner before loses its title, and its place in the cluster unless a post uses it. Posts that wait
    for the run's picture, or for the idea's, receive it, also when the run was completed before.

    Raises:
        UnknownName: there is no such candidate.
        NotAllowedNow: it is rejected, or not of the last step.
    """
    run = progress.lock_run(session, tree.get_candidate(session, candidate_id).run_id)
    candidate = tree.get_candidate(session, candidate_id)
    _require_eligible(session, candidate)
    current = _current(session, run.id)
    replaced = current if current is not None and current.id != candidate_id else None
    kept: tuple[int, ...] = ()
    if replaced is not None:
        kept = _dethrone(session, run, replaced)
    if current is None or replaced is not None:
        _crown(session, candidate)
        _link(session, run, candidate)
    _complete(session, run)
    given = _attach_to_posts(session, run, candidate_id)
    tree.record_act(session, run, actor, "run.winner", f"image_candidates:{candidate_id}", [candidate_id])
    return WinnerView(
        run.id, candidate_id, run.cluster_id, replaced.id if replaced is not None else None, kept, given
    )


def unchoose_winner(session: Session, run_id: int, *, actor: str) -> Unchosen:
    """Take a run's winner back: the run waits again, the picture leaves the cluster unless a post uses it.

    Raises:
        UnknownName: there is no such run.
        NotAllowedNow: the run has no winner.
    """
    run = progress.lock_run(session, run_id)
    winner = _current(session, run_id)
    if winner is None:
        raise NotAllowedNow(f"Run {run_id} has no winner.", hint="There is nothing to take back.")
    kept = _dethrone(session, run, winner)
    if run.status == "completed":
        run.status, run.finished_at = "running", None
        session.add(run)
    tree.settle_slots(session, run_id)
    progress.refresh_run(session, run)
    tree.record_act(session, run, actor, "run.unchoose", f"image_candidates:{winner.id}", [winner.id])
    return Unchosen(run_id, winner.id, kept)


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


def _dethrone(session: Session, run: PipelineRun, old: ImageCandidate) -> tuple[int, ...]:
    """Take a picture's title, and the link that came with it; returns the posts for which the link stays."""
    old.winner, old.winner_at = False, None
    session.add(old)
    session.flush()
    posts = session.execute(
        text(
            "SELECT DISTINCT p.id FROM post_items t JOIN scheduling_posts p ON p.id = t.post_id"
            " WHERE t.image_candidate_id = :candidate AND p.state NOT IN ('failed', 'cancelled')"
            " ORDER BY p.id"
        ),
        {"candidate": old.id},
    )
    kept = tuple(posts.scalars())
    events.emit(session, "candidate", old.id)
    if run.cluster_id is None:
        return ()
    if not kept:
        _unlink(session, run.id, run.cluster_id, old.id)
    return kept


def _unlink(session: Session, run_id: int, cluster_id: int, candidate_id: int) -> None:
    """Remove the link that the title brought; one that the operator made by hand says no run and stays."""
    session.execute(
        text(
            "DELETE FROM cluster_candidates WHERE cluster_id = :cluster AND image_candidate_id = :candidate"
            " AND details ->> 'run' = CAST(:run AS text)"
        ),
        {"cluster": cluster_id, "candidate": candidate_id, "run": run_id},
    )
    events.emit(session, "cluster", cluster_id)


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


def _attach_to_posts(session: Session, run: PipelineRun, candidate_id: int) -> tuple[int, ...]:
    from persona_tui.services.publishing.winners import attach_winner

    if run.persona_id is None:
        return ()
    return tuple(post.id for post in attach_winner(session, run.id, candidate_id))
