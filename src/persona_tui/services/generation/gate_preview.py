"""What an approval would do: who goes on, what it costs, and what speaks against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.models.pipeline import PipelineRun, PipelineRunStep
from persona_tui.services.generation import estimates, progress
from persona_tui.services.generation.estimates import Cost
from persona_tui.services.generation.progress import RunStepView
from persona_tui.services.voting import contest

ADVISED_VOTES = 5
"""So many votes a picture are advised while no vote says how sure the ranking is."""
ADVISED_PROBABILITY = 0.8
"""Below this probability that the right pictures go on, an approval is warned about."""


@dataclass(frozen=True)
class GateCandidate:
    """A picture that a gate would let through.

    Attributes:
        rank: 1 is the best.
        votes: that showed it and count.
    """

    candidate_id: int
    rank: int
    elo_score: int
    votes: int


@dataclass(frozen=True)
class GatePreview:
    """What an approval would do.

    Attributes:
        k: how many go on.
        available: active pictures of the step.
        members: best first.
        cost: pictures to come in the next step.
        minutes: of one card's time for them; None when the next step was never timed.
        rest_pictures: pictures to come until the run's end, those of the next step among them.
        rest_minutes: of one card's time for them; None when one of the steps was never timed.
        probability: that these members are the best, by the votes, 0 to 1; None while no vote counts.
        warnings: sentences on what speaks against it.
        is_last: no step follows, so that the best one would win.
    """

    run_id: int
    run_step_id: int
    k: int
    available: int
    members: tuple[GateCandidate, ...]
    cost: int
    warnings: tuple[str, ...]
    minutes: float | None = 0.0
    rest_pictures: int = 0
    rest_minutes: float | None = 0.0
    probability: float | None = None
    is_last: bool = False

    @property
    def candidate_ids(self) -> tuple[int, ...]:
        """The members' candidates, best first."""
        return tuple(member.candidate_id for member in self.members)


_RANKED = """
SELECT i.id AS candidate_id, row_number() OVER (ORDER BY i.elo_score DESC, i.id) AS rank, i.elo_score,
       (SELECT count(*) FROM contest_members m JOIN vote_items t ON t.contest_member_id = m.id
        JOIN votes v ON v.id = t.vote_id
        WHERE m.image_candidate_id = i.id AND v.undoes_vote_id IS NULL
          AND NOT EXISTS (SELECT FROM votes u WHERE u.undoes_vote_id = v.id)) AS votes
FROM image_candidates i
WHERE i.run_step_id = :step AND i.status = 'active'
ORDER BY rank
"""


def gate_preview(session: Session, run_step_id: int, k: int) -> GatePreview:
    """What would go on if the step were approved now.

    Args:
        k: wished for; more than there is shows all there is.

    Raises:
        UnknownName: there is no such step.
        InvalidRequest: k is under 1.
    """
    require_positive(k)
    steps, step = steps_at(session, run_of_step(session, run_step_id), run_step_id)
    ranked = ranked_candidates(session, run_step_id)
    members = ranked[:k]
    rest = _cost_of_rest(session, steps, step, len(members))
    probability = None if step.contest_id is None else contest.probability_top_k(session, step.contest_id, k)
    return GatePreview(
        run_id=step.run_id,
        run_step_id=step.id,
        k=k,
        available=len(ranked),
        members=members,
        cost=rest.steps[0].pictures if rest.steps else 0,
        minutes=rest.steps[0].minutes if rest.steps else 0.0,
        rest_pictures=rest.pictures,
        rest_minutes=rest.minutes,
        probability=probability,
        warnings=_warnings(step, ranked, k, probability),
        is_last=step.is_last,
    )


def ranked_candidates(session: Session, run_step_id: int) -> tuple[GateCandidate, ...]:
    """A step's active pictures by rating, the best first; of equal ones the older first."""
    rows = session.execute(text(_RANKED), {"step": run_step_id})
    return tuple(GateCandidate(**row._mapping) for row in rows)


def require_positive(k: int) -> None:
    """Refuse to let no picture go on."""
    if k < 1:
        raise InvalidRequest(f"{k} pictures can't go on.", hint="Choose 1 or more.")


def run_of_step(session: Session, run_step_id: int) -> int:
    """The run of a run step.

    Raises:
        UnknownName: there is no such step.
    """
    step = session.get(PipelineRunStep, run_step_id)
    if step is None:
        raise UnknownName(f"There is no run step {run_step_id}.", hint="`persona-tui run show` lists them.")
    return step.run_id


def steps_at(session: Session, run_id: int, run_step_id: int) -> tuple[tuple[RunStepView, ...], RunStepView]:
    """All steps of a run, and the one asked for."""
    steps = progress.steps_of(session, run_id)
    return steps, next(step for step in steps if step.id == run_step_id)


def following_step(steps: Sequence[RunStepView], step: RunStepView) -> RunStepView | None:
    """The step after this one; None after the last."""
    return next((other for other in steps if other.position == step.position + 1), None)


def _cost_of_rest(session: Session, steps: Sequence[RunStepView], step: RunStepView, members: int) -> Cost:
    """What all steps after this one cost when so many pictures go on."""
    later = [other for other in steps if other.position > step.position]
    plan = [(members, members), *((other.children_per_parent, other.top_k) for other in later)]
    pictures = dict(zip((other.position for other in later), estimates.growth(plan)[1:], strict=True))
    version = session.get_one(PipelineRun, step.run_id).pipeline_version_id
    return estimates.cost_of(pictures, estimates.picture_seconds(session, version) if later else {})


def _warnings(
    step: RunStepView, ranked: Sequence[GateCandidate], k: int, probability: float | None
) -> tuple[str, ...]:
    found = []
    to_come = step.open + step.in_flight
    if to_come:
        found.append(f"{to_come} of {step.wanted} pictures are still to come; they will not be made.")
    if step.failed:
        found.append(f"{step.failed} of {step.wanted} pictures could not be made.")
    if k > len(ranked):
        found.append(f"There are only {len(ranked)} pictures.")
    if k < len(ranked):
        found.extend(_doubts(ranked, k, probability, step.is_last))
    return tuple(found)


def _doubts(ranked: Sequence[GateCandidate], k: int, probability: float | None, is_last: bool) -> list[str]:
    """Why these k may not be the best ones."""
    found = []
    few = sum(1 for candidate in ranked if candidate.votes < ADVISED_VOTES)
    if probability is None and few:
        found.append(f"{few} of {len(ranked)} pictures have fewer than {ADVISED_VOTES} votes.")
    if probability is not None and probability < ADVISED_PROBABILITY:
        which = "this is the best picture" if k == 1 else f"these {k} are the best pictures"
        found.append(f"It is only {probability:.0%} sure that {which}; more votes tell.")
    if ranked[k - 1].elo_score == ranked[k].elo_score:
        older = "wins" if is_last else "goes on"
        found.append(f"Places {k} and {k + 1} have the same rating: the older picture {older}.")
    return found
