"""Night mode: gates that are passed while nobody is there, so that finished candidates wait in the morning.

A run says by its policy whether it may. What is decided is marked as the night mode's, with its reason, and
can be undone. The winner is never chosen: the last step's pictures wait for the operator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import structlog
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.services.generation import gates, progress, tree
from persona_tui.services.generation.gate_preview import ADVISED_PROBABILITY
from persona_tui.services.generation.picture_score import Scorer, probability_by_scores, technical_quality
from persona_tui.services.generation.progress import RunStepView
from persona_tui.services.media import MediaStore
from persona_tui.services.voting import contest

log = structlog.get_logger("persona_tui.night")

SessionScope = Callable[[], AbstractContextManager[Session]]

ACTOR = "night mode"
"""Who approved, in `approved_by` and in the audit trail."""
PATIENCE = 600.0
"""Seconds without a vote or a new picture after which nobody is taken to be voting."""


@dataclass(frozen=True)
class NightPicture:
    """An active picture at a gate that is due."""

    candidate_id: int
    elo_score: int
    media_key: str
    sha256: str


@dataclass(frozen=True)
class DueGate:
    """A gate that the night mode may pass now.

    Attributes:
        k: how many go on; no more than there are.
        probability: that the k best by votes are the best; None while no vote counts.
        pictures: by rating, the best first.
    """

    run_id: int
    run_step_id: int
    policy: str
    k: int
    probability: float | None
    pictures: tuple[NightPicture, ...]

    @property
    def is_unvoted(self) -> bool:
        """Whether some are to go on and some not, and nobody voted which."""
        return self.probability is None and self.k < len(self.pictures)


@dataclass(frozen=True)
class Decision:
    """Who goes on, the best first, and why, in a sentence."""

    candidate_ids: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class NightUndone:
    """What of the night's decisions was taken back.

    Attributes:
        steps: positions of the steps whose approval was taken back.
        rejected: pictures that had grown from them; each can be restored once its parent is approved again.
    """

    run_id: int
    steps: tuple[int, ...]
    rejected: tuple[int, ...]


class Night:
    """The night mode of the leading process."""

    def __init__(
        self,
        scope: SessionScope,
        media: MediaStore,
        *,
        score: Scorer = technical_quality,
        patience: float = PATIENCE,
    ) -> None:
        """Args:
        scope: opens a session that commits at its end.
        media: where the thumbnails are.
        score: ranks pictures where nobody votes.
        patience: seconds without vote and new picture before it does.
        """
        self._scope = scope
        self._media = media
        self._score = score
        self._patience = patience
        self._scores: dict[str, float | None] = {}

    def tick(self) -> tuple[int, ...]:
        """Pass all gates that are due. Blocks: database and pictures.

        Returns:
            Ids of the runs that go on.
        """
        with self._scope() as session:
            due = due_gates(session, patience=self._patience)
        needed = {one.sha256: one for gate in due if gate.is_unvoted for one in gate.pictures}
        self._scores = {
            sha256: self._scores[sha256] if sha256 in self._scores else self._measure(one)
            for sha256, one in needed.items()
        }
        return tuple(gate.run_id for gate in due if self._pass(gate))

    def _measure(self, picture: NightPicture) -> float | None:
        try:
            return self._score(self._media.thumbnail(picture.media_key, picture.sha256).read_bytes())
        except (PersonaError, OSError, ValueError) as problem:
            log.warning("a picture can't be scored", sha256=picture.sha256, problem=type(problem).__name__)
            return None

    def _pass(self, gate: DueGate) -> bool:
        decision = decide(gate, self._scores)
        if decision is None:
            return False
        try:
            with self._scope() as session:
                progress.lock_run(session, gate.run_id)
                if gate not in due_gates(session, patience=self._patience, run_id=gate.run_id):
                    return False  # a vote, a rejection or the operator came in between
                gates.approve_these(
                    session, gate.run_step_id, decision.candidate_ids, actor=ACTOR, reason=decision.reason
                )
        except PersonaError as problem:
            log.warning("the night mode could not pass a gate", run=gate.run_id, problem=problem.message)
            return False
        log.info("the night mode passed a gate", run=gate.run_id, reason=decision.reason)
        return True


_DUE = """
SELECT r.id, r.night FROM pipeline_runs r
WHERE r.status = 'waiting' AND (r.night = 'sure' OR r.night = 'at' AND r.night_at <= persona_now())
  AND (CAST(:run AS bigint) IS NULL OR r.id = :run)
ORDER BY r.id
"""

_PICTURES = """
SELECT id AS candidate_id, elo_score, media_key, sha256 FROM image_candidates
WHERE run_step_id = :step AND status = 'active' ORDER BY elo_score DESC, id
"""

_QUIET = """
SELECT CAST(extract(epoch FROM persona_now() - greatest(
  (SELECT max(created_at) FROM image_candidates WHERE run_step_id = :step),
  (SELECT max(created_at) FROM votes WHERE contest_id = :contest))) AS double precision)
"""


def due_gates(session: Session, *, patience: float, run_id: int | None = None) -> tuple[DueGate, ...]:
    """Gates whose runs let the night mode pass them, and whose pictures are all there.

    Args:
        patience: seconds that a `sure` run without votes must have been quiet.
        run_id: only of this run.
    """
    found = []
    rows = session.execute(text(_DUE), {"run": run_id}).all()
    steps = progress.load_steps(session, [row.id for row in rows])
    for row in rows:
        step = progress.current_step(steps[row.id])
        if step.is_last or step.approved or not step.active:
            continue
        gate = _due_gate(session, row.id, row.night, step)
        hasty = gate.policy == "sure" and gate.is_unvoted
        if not hasty or _quiet_seconds(session, step) >= patience:
            found.append(gate)
    return tuple(found)


def decide(gate: DueGate, scores: Mapping[str, float | None]) -> Decision | None:
    """Who goes on through a gate; None while the policy is `sure` and it is not.

    Args:
        scores: SHA-256 → automatic score; None where a picture can't be read. Used where nobody voted.
    """
    if gate.k >= len(gate.pictures):
        ids = tuple(picture.candidate_id for picture in gate.pictures)
        return Decision(ids, f"All {len(ids)} pictures go on.")
    if gate.probability is not None:
        ranked, probability, by = gate.pictures, gate.probability, "By the votes"
    else:
        ranked, probability = _by_score(gate, scores)
        marks = ", ".join(_mark(scores.get(one.sha256)) for one in ranked[: gate.k + 1])
        by = f"Nobody voted; by technical quality ({marks})"
    if gate.policy == "sure" and probability < ADVISED_PROBABILITY:
        return None
    best = tuple(picture.candidate_id for picture in ranked[: gate.k])
    return Decision(best, f"{by} it is {probability:.0%} sure that the best {gate.k} go on.")


def undo_night(session: Session, run_id: int, *, actor: str = "operator") -> NightUndone:
    """Take back what the night mode approved, and reject what grew from it; its policy is switched off.

    Raises:
        UnknownName: there is no such run.
        NotAllowedNow: the night mode passed no gate, a later gate was passed by a person, the winner grew
            from it, or the run is completed or cancelled.
    """
    run = progress.lock_run(session, run_id)
    if run.status in ("completed", "cancelled"):
        raise NotAllowedNow(f"Run {run_id} is {run.status}.", hint="Reopen the run first.")
    steps = progress.steps_of(session, run_id)
    passed = _steps_since_night(run_id, steps)
    following = next((step for step in steps if step.position == passed[0].position + 1), None)
    rejected: list[int] = []
    for child in _active(session, following):
        rejected.extend(gates.reject(session, child, actor=actor).candidate_ids)
    for step in reversed(passed):
        now = next(one for one in progress.steps_of(session, run_id) if one.id == step.id)
        if now.approved:
            gates.unapprove(session, step.id, actor=actor, stop=True)
    tree.record_act(session, run, actor, "run.undo_night", f"pipeline_runs:{run_id}", rejected)
    return NightUndone(run_id, tuple(step.position for step in passed), tuple(rejected))


def _due_gate(session: Session, run_id: int, policy: str, step: RunStepView) -> DueGate:
    pictures = tuple(
        NightPicture(**row._mapping) for row in session.execute(text(_PICTURES), {"step": step.id})
    )
    k = min(step.top_k, len(pictures))
    probability = None if step.contest_id is None else contest.probability_top_k(session, step.contest_id, k)
    return DueGate(run_id, step.id, policy, k, probability, pictures)


def _quiet_seconds(session: Session, step: RunStepView) -> float:
    found = session.execute(text(_QUIET), {"step": step.id, "contest": step.contest_id})
    return float(found.scalar_one() or 0.0)


def _by_score(gate: DueGate, scores: Mapping[str, float | None]) -> tuple[tuple[NightPicture, ...], float]:
    """The pictures by score, unreadable ones last, and how sure that order is at the gate."""
    known = [score for picture in gate.pictures if (score := scores.get(picture.sha256)) is not None]
    least = min(known, default=0.0)
    marks = {
        picture.candidate_id: least if (score := scores.get(picture.sha256)) is None else score
        for picture in gate.pictures
    }
    ranked = sorted(
        gate.pictures,
        key=lambda one: (scores.get(one.sha256) is None, -marks[one.candidate_id], one.candidate_id),
    )
    return tuple(ranked), probability_by_scores([marks[one.candidate_id] for one in ranked], gate.k)


def _mark(score: float | None) -> str:
    return "unreadable" if score is None else f"{score:.2f}"


def _steps_since_night(run_id: int, steps: tuple[RunStepView, ...]) -> list[RunStepView]:
    """The approved steps from the first one on that the night mode approved."""
    approved = [step for step in steps if step.approved]
    first = next((at for at, step in enumerate(approved) if step.approved_by == ACTOR), None)
    if first is None:
        raise NotAllowedNow(
            f"The night mode passed no gate of run {run_id}.", hint="There is nothing to take back."
        )
    stranger = next((step for step in approved[first:] if step.approved_by != ACTOR), None)
    if stranger is not None:
        raise NotAllowedNow(
            f"Step {stranger.position}, {stranger.name}, was approved by {stranger.approved_by} since.",
            hint="Take that approval back first.",
        )
    return approved[first:]


def _active(session: Session, step: RunStepView | None) -> list[int]:
    if step is None:
        return []
    rows = session.execute(text(_PICTURES), {"step": step.id})
    return [row.candidate_id for row in rows]
