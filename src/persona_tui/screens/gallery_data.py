"""What the gallery reads and does, as functions of a session; they run in threads.

Services are imported inside them, so that opening the view loads nothing heavy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from persona_tui.screens import gallery_order, runs_acts, runs_data

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.gates import GatePreview
    from persona_tui.services.generation.places import PlaceView
    from persona_tui.services.generation.runs import RunDetail, RunView
    from persona_tui.services.generation.traces import Trace
    from persona_tui.services.generation.tree import CandidateView

ACTOR = "operator"
RUNS_LISTED = 200


@dataclass(frozen=True, slots=True)
class Leaf:
    """A picture of a run.

    Attributes:
        place: by rating among the active pictures of its step, from 1; None when it is rejected.
        children: pictures made from it.
        secret: its step is still voted on, so that its rating is told only when it is asked for.
        interval: of the rating, lowest and highest, 90 %; None where it takes part in no contest.
        may_win: no step follows its own.
    """

    picture: CandidateView
    trace: Trace
    place: int | None
    children: int
    secret: bool
    interval: tuple[int, int] | None = None
    may_win: bool = False

    @property
    def flagged(self) -> bool:
        """The operator set a flag."""
        return self.picture.flagged

    @property
    def id(self) -> int:
        """Of the candidate."""
        return self.picture.id

    @property
    def media_key(self) -> str:
        """Of the original."""
        return self.picture.media_key

    @property
    def sha256(self) -> str:
        """Of the original."""
        return self.picture.sha256

    @property
    def label(self) -> str:
        """What it is."""
        return f"picture {self.id}"


@dataclass(frozen=True)
class Album:
    """A run with its pictures.

    Attributes:
        run: None when the persona has no run.
        leaves: step by step, the best first, rejected ones last.
        places: those without a picture: being made, waiting or given up.
        gate: what an approval would do now; None where no step waits for one.
    """

    run: RunDetail | None
    leaves: tuple[Leaf, ...] = ()
    places: tuple[PlaceView, ...] = ()
    gate: GatePreview | None = None

    def arranged(self, revealed: bool) -> tuple[Leaf, ...]:
        """The leaves; where ratings are secret, their order does not tell them either."""
        return gallery_order.arranged(self.leaves, revealed)

    def lineage(self, leaf: Leaf) -> tuple[Leaf, ...]:
        """The pictures that led to one, the first step's first, itself last."""
        from persona_tui.services.generation.lineage import lineage_of

        known = {one.id: one for one in self.leaves}
        way = lineage_of([one.picture for one in self.leaves], leaf.id)
        return tuple(known[candidate.id] for candidate in way)


def read_album(
    session: Session, persona_id: int | None, run_id: int | None, tried: Mapping[int, int] | None = None
) -> Album:
    """A run's pictures.

    Args:
        run_id: which run; None, or one that is gone, takes the newest that has pictures.
        tried: run step's id → how many pictures its gate is to let through in the preview; otherwise as
            many as the run says.
    """
    from persona_tui.services.generation.places import unfilled_places
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.generation.traces import traces
    from persona_tui.services.generation.tree import list_candidates

    chosen = run_id if run_id is not None and _exists(session, run_id) else _newest(session, persona_id)
    if chosen is None:
        return Album(None)
    run = run_detail(session, chosen)
    pictures = list_candidates(session, chosen)
    known = traces(session, chosen)
    children = Counter(picture.parent_id for picture in pictures)
    places = _places(pictures)
    voted_on = {step.id for step in run.steps if not step.approved} if _is_voted_on(run) else set()
    intervals = _intervals(session, run)
    last = {step.id for step in run.steps if step.is_last}
    leaves = tuple(
        Leaf(
            one,
            known[one.id],
            places.get(one.id),
            children[one.id],
            one.run_step_id in voted_on,
            intervals.get(one.id),
            one.run_step_id in last,
        )
        for one in pictures
    )
    return Album(run, leaves, unfilled_places(session, chosen), _gate(session, run, tried or {}))


def _gate(session: Session, run: RunDetail, tried: Mapping[int, int]) -> GatePreview | None:
    """What an approval of the step that waits would do."""
    step = run.current
    if not runs_acts.may_approve(run):
        return None
    k = 1 if step.is_last else min(tried.get(step.id, step.top_k), step.active)
    return runs_data.preview(session, step.id, k)


def _intervals(session: Session, run: RunDetail) -> dict[int, tuple[int, int]]:
    """Candidate's id → the interval of its rating, of all steps that were voted on."""
    from persona_tui.services.voting.state import load

    contests = [load(session, step.contest_id) for step in run.steps if step.contest_id is not None]
    return {
        row.candidate_id: state.member(place).interval
        for state in contests
        for place, row in enumerate(state.rows)
    }


def _is_voted_on(run: RunDetail) -> bool:
    return run.winner_id is None and run.status not in ("completed", "cancelled", "failed")


def _exists(session: Session, run_id: int) -> bool:
    from persona_tui.errors import UnknownName
    from persona_tui.services.generation.runs import run_detail

    try:
        run_detail(session, run_id)
    except UnknownName:
        return False
    return True


def _newest(session: Session, persona_id: int | None) -> int | None:
    runs = read_runs(session, persona_id)
    made = (run for run in runs if any(step.active or step.rejected for step in run.steps))
    newest = next(made, None) or next(iter(runs), None)
    return newest.id if newest is not None else None


def read_runs(session: Session, persona_id: int | None) -> tuple[RunView, ...]:
    """The persona's runs, the newest first."""
    from persona_tui.services.generation.runs import list_runs

    return list_runs(session, persona_id, limit=RUNS_LISTED)


def _places(pictures: tuple[CandidateView, ...]) -> dict[int, int]:
    """Rank within the step of each active picture; they come step by step, the best first."""
    seen: dict[int, int] = {}
    places = {}
    for picture in pictures:
        if picture.status == "active":
            seen[picture.run_step_id] = places[picture.id] = seen.get(picture.run_step_id, 0) + 1
    return places


def reject_branches(session: Session, candidate_ids: Sequence[int]) -> int:
    """Reject pictures with all that grew from them, in one transaction: all of them or none.

    Returns:
        How many went in all.

    Raises:
        NotAllowedNow: the winner is among them.
    """
    from persona_tui.services.generation.rejection import reject_all

    done = reject_all(session, candidate_ids, actor=ACTOR)
    return sum(len(rejection.candidate_ids) for rejection in done)


def take_back(session: Session, candidate_ids: Sequence[int]) -> tuple[int, ...]:
    """Take rejections back.

    Returns:
        The pictures that are there again.

    Raises:
        NotAllowedNow: one went together with a picture that it grew from.
    """
    from persona_tui.services.generation.rejection import unreject_all

    done = unreject_all(session, candidate_ids, actor=ACTOR)
    return tuple(one for rejection in done for one in rejection.candidate_ids)


def flag(session: Session, candidate_ids: Sequence[int], flagged: bool) -> None:
    """Flag pictures, to come back to them, or take their flags away."""
    from persona_tui.services.voting.contest import flag_candidate

    for candidate_id in candidate_ids:
        flag_candidate(session, candidate_id, flagged)


def take_old_ratings(session: Session, contest_id: int, file: Path) -> int:
    """Let a contest begin with the ratings of a file.

    Returns:
        How many there were.
    """
    from persona_tui.services.voting.contest import import_old_elo
    from persona_tui.services.voting.old_ratings import ratings_by_candidate, read_ratings

    ratings = ratings_by_candidate(session, contest_id, read_ratings(file), file.parent)
    import_old_elo(session, contest_id, ratings)
    return len(ratings)


def make_winner(session: Session, candidate_id: int) -> int | None:
    """Make a picture of the last step the run's winner, and a draft of it.

    Returns:
        The draft post's id; None where the run belongs to no persona.

    Raises:
        NotAllowedNow: it is rejected, or not of the last step.
    """
    from persona_tui.services.generation.gates import choose_winner
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.publishing.winners import draft_for_winner

    done = choose_winner(session, candidate_id, actor=ACTOR)
    if run_detail(session, done.run_id).persona_id is None:
        return None
    return draft_for_winner(session, candidate_id).id
