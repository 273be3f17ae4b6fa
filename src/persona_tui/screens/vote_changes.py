"""What the vote view changes, as functions of a session; they run in threads.

Each gives what is to be seen next in the same transaction, so that a key costs one round trip.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from persona_tui.screens.vote_data import Asked, Scene, Seat, kind_of, look, originals

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.rejection import Rejection
    from persona_tui.services.media import MediaStore
    from persona_tui.services.voting.contest import Showing

ACTOR = "operator"


@dataclass(frozen=True)
class Act:
    """One thing that the operator did and can take back.

    Attributes:
        showing: what was on the screen; None where one picture stood alone.
        asks: the question it answered, if any.
        rejected: the candidate that was rejected; None for a vote.
    """

    showing: Showing | None
    asks: Asked | None = None
    rejected: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a key.

    Attributes:
        scene: what is to be seen now.
        counted: it was done.
        gone: candidates on the screen that were rejected elsewhere meanwhile, so that no vote counts.
        closed: the step was accepted elsewhere meanwhile, so that no vote is needed.
        old_words: the scene's standings and progress are those before the vote.
        along: step's name → pictures that were rejected, or came back, with the one chosen.
    """

    scene: Scene
    counted: bool = True
    gone: tuple[int, ...] = ()
    closed: bool = False
    old_words: bool = False
    along: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Accepted:
    """What accepting did.

    Attributes:
        went_on: pictures that go on.
        to_come: pictures that are made of them.
        step: name of the step that makes them.
        winner_id: the candidate that won, after the last step.
        post_id: the draft made of it.
    """

    run_id: int
    went_on: int
    to_come: int = 0
    step: str = ""
    winner_id: int | None = None
    post_id: int | None = None


def cast_and_look(
    session: Session,
    media: MediaStore,
    seat: Seat,
    scene: Scene,
    chosen: int | None,
    *,
    response_ms: int | None,
) -> Outcome:
    """Record one vote, and give what comes next: as soon as possible, so with the words that there were.

    Args:
        scene: what was judged.
        chosen: member id; None for "not sure".
        response_ms: milliseconds from the pictures' appearance to the key.
    """
    from persona_tui.services.voting.contest import cast_and_choose

    showing, onwards = scene.showing, replace(seat, showing=None, asks=None)
    assert showing is not None
    gone, closed = _changed_meanwhile(session, showing)
    closed = closed and seat.asks is None
    if gone or closed:
        return Outcome(look(session, media, onwards), False, gone, closed)
    _, following = cast_and_choose(
        session,
        showing.contest_id,
        [member.id for member in showing.members],
        chosen,
        sitting=seat.sitting,
        count=seat.count,
        response_ms=response_ms,
        repeat=showing.repeat,
    )
    if seat.asks is not None:
        following = None  # the question about a parent ends with its answer
    if following is None or any(member.id not in scene.pictures for member in following.members):
        return Outcome(look(session, media, onwards))
    assert scene.standings is not None
    counted = replace(scene.standings, votes=scene.standings.votes + 1)
    kind, files = kind_of(following), originals(media, following.members)
    next_scene = replace(scene, kind=kind, showing=following, originals=files, standings=counted)
    return Outcome(next_scene, old_words=True)


def _changed_meanwhile(session: Session, showing: Showing) -> tuple[tuple[int, ...], bool]:
    """Candidates shown that are rejected now, and whether their step is accepted."""
    from sqlmodel import col, select

    from persona_tui.models.pipeline import ImageCandidate, PipelineRunStep

    shown = [member.candidate_id for member in showing.members]
    found = session.exec(
        select(ImageCandidate.id, ImageCandidate.status, PipelineRunStep.approved_at)
        .join(PipelineRunStep, col(PipelineRunStep.id) == ImageCandidate.run_step_id)
        .where(col(ImageCandidate.id).in_(shown))
    ).all()
    gone = tuple(candidate for candidate, status, _ in found if status != "active")
    return gone, any(accepted is not None for _, _, accepted in found)


def take_back_and_look(session: Session, media: MediaStore, seat: Seat, act: Act) -> Outcome:
    """Take a vote or a rejection back, and show again what was on the screen.

    Raises:
        NotAllowedNow: the rejection can't be taken back as things stand.
    """
    from persona_tui.services.generation.rejection import unreject
    from persona_tui.services.voting.contest import undo

    before = replace(seat, showing=act.showing, asks=act.asks)
    if act.rejected is not None:
        done = unreject(session, act.rejected, actor=ACTOR)
        along = _along(session, done, act.rejected)
        return Outcome(look(session, media, before), bool(done.candidate_ids), along=along)
    assert act.showing is not None
    undone = undo(session, act.showing.contest_id, sitting=seat.sitting)
    return Outcome(look(session, media, before), undone is not None)


def reject_and_look(session: Session, media: MediaStore, seat: Seat, candidate_id: int) -> Outcome:
    """Reject a picture with all that grew from it; then ask about its parent, if it has one.

    Raises:
        NotAllowedNow: the winner is part of that branch.
    """
    from persona_tui.services.generation.rejection import reject
    from persona_tui.services.generation.tree import get_candidate

    done = reject(session, candidate_id, actor=ACTOR)
    parent = get_candidate(session, candidate_id).parent_id
    asks = Asked(candidate_id, parent) if parent is not None and done.candidate_ids else None
    scene = look(session, media, replace(seat, showing=None, asks=asks))
    if not done.candidate_ids:
        return Outcome(scene, False, (candidate_id,))
    return Outcome(scene, along=_along(session, done, candidate_id))


def _along(session: Session, done: Rejection, candidate_id: int) -> tuple[tuple[str, int], ...]:
    from persona_tui.services.generation.tree import list_candidates

    if len(done.candidate_ids) < 2:
        return ()
    others = set(done.candidate_ids) - {candidate_id}
    steps = Counter(picture.step for picture in list_candidates(session, done.run_id) if picture.id in others)
    return tuple(steps.items())


def flag_and_look(
    session: Session, media: MediaStore, seat: Seat, candidate_id: int, flagged: bool
) -> Outcome:
    """Flag a picture, or take its flag away; what is shown stays."""
    from persona_tui.services.voting.contest import flag_candidate

    flag_candidate(session, candidate_id, flagged)
    return Outcome(look(session, media, seat))


def accept(session: Session, run_id: int) -> Accepted:
    """Let the step's best pictures go on; after the last step, make the best one a winner and a draft.

    Raises:
        NotAllowedNow: there is no picture, pictures are still to come, or the run has ended.
    """
    from persona_tui.errors import NotAllowedNow
    from persona_tui.services.generation.gates import approve, choose_winner
    from persona_tui.services.generation.runs import run_detail
    from persona_tui.services.publishing.winners import draft_for_winner
    from persona_tui.services.voting.contest import standings

    run = run_detail(session, run_id)
    step = run.current
    if not step.active or step.contest_id is None:
        raise NotAllowedNow("There is no picture to accept.", hint="Wait for one, or take a rejection back.")
    if not step.is_last:
        approval = approve(session, step.id, min(step.top_k, step.active), actor=ACTOR)
        following = next(other for other in run.steps if other.position == step.position + 1)
        return Accepted(run_id, len(approval.candidate_ids), approval.opened, following.name)
    best = standings(session, step.contest_id).members[0].candidate_id
    choose_winner(session, best, actor=ACTOR)
    post_id = draft_for_winner(session, best).id if run.persona_id is not None else None
    return Accepted(run_id, 1, winner_id=best, post_id=post_id)
