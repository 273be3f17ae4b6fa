"""What is done to several pictures at once, photos and candidates alike: all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow, UnknownName
from persona_tui.services import events
from persona_tui.services.generation import rejection
from persona_tui.services.library import analyses, staging
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.planning.slots import next_slot
from persona_tui.services.planning.tasks import request_caption
from persona_tui.services.publishing.post_views import PostView
from persona_tui.services.publishing.posts import schedule
from persona_tui.services.publishing.winners import draft_for_winner
from persona_tui.services.safety import audit
from persona_tui.services.voting.contest import flag_candidate


def flag_pictures(session: Session, refs: Sequence[PictureRef], flagged: bool) -> None:
    """Mark pictures for a second look, or take the marks off.

    Raises:
        UnknownName: one of them is gone.
    """
    for ref in refs:
        if ref.candidate_id is not None:
            flag_candidate(session, ref.candidate_id, flagged)
        else:
            _flag_photo(session, ref, flagged)


def _flag_photo(session: Session, ref: PictureRef, flagged: bool) -> None:
    found = session.execute(
        text("UPDATE photos SET flagged = :flagged WHERE id = :id RETURNING id"),
        {"id": ref.photo_id, "flagged": flagged},
    ).first()
    if found is None:
        raise UnknownName(f"There is no {ref}.")
    events.emit(session, "photo", found[0])


def draft_posts(session: Session, refs: Sequence[PictureRef]) -> tuple[PostView, ...]:
    """A draft of each picture; one that is drafted already gives its draft.

    Raises:
        UnknownName, NotAllowedNow: as `draft_for_winner`.
    """
    return tuple(draft_for_winner(session, ref.candidate_id, photo_id=ref.photo_id) for ref in refs)


@dataclass(frozen=True)
class Scheduled:
    """What came of scheduling pictures.

    Attributes:
        posts: those that were planned, in the order of their times.
        taken: pictures that a live post of the account holds already.
    """

    posts: tuple[PostView, ...]
    taken: tuple[PictureRef, ...]


def schedule_posts(session: Session, refs: Sequence[PictureRef], now: datetime, gap: timedelta) -> Scheduled:
    """Draft each picture and schedule it at the persona's next free time, one after another.

    What has no words yet gets them in the background.

    Args:
        gap: least time between two posts.

    Raises:
        NotAllowedNow: all of them are in a live post; or as `draft_for_winner` and `schedule`.
        UnknownName: as `draft_for_winner`.
    """
    taken = _in_live_posts(session, refs)
    free = [ref for ref in refs if ref not in taken]
    if not free:
        raise NotAllowedNow(
            "Each of these pictures is in a live post already.", hint="Move or cancel those posts instead."
        )
    planned = []
    for post in draft_posts(session, free):
        slot = next_slot(session, post.persona_id, now, min_gap=gap)
        planned.append(schedule(session, post.id, slot.at, slot.zone))
        if not (post.caption or post.alt_text):
            request_caption(session, post.id)
    return Scheduled(tuple(planned), tuple(ref for ref in refs if ref in taken))


_LIVE = text(
    "SELECT DISTINCT i.photo_id, i.image_candidate_id FROM post_items i"
    " JOIN scheduling_posts p ON p.id = i.post_id AND p.state NOT IN ('draft', 'ready')"
    " WHERE i.holds AND (i.photo_id = ANY(:photos) OR i.image_candidate_id = ANY(:candidates))"
)


def _in_live_posts(session: Session, refs: Sequence[PictureRef]) -> set[PictureRef]:
    rows = session.execute(
        _LIVE,
        {
            "photos": [ref.photo_id for ref in refs if ref.photo_id is not None],
            "candidates": _candidates(refs),
        },
    )
    return {PictureRef(*row) for row in rows}


@dataclass(frozen=True)
class Standing:
    """What a photo counted as before an act, to take it back."""

    photo_id: int
    stage: str
    reject_reason: str


@dataclass(frozen=True)
class Turned:
    """What an act changed.

    Attributes:
        photos: as they stood before.
        candidates: those that were rejected, or that came back.
    """

    photos: tuple[Standing, ...] = ()
    candidates: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Pictures that changed."""
        return len(self.photos) + len(self.candidates)


def accept_pictures(session: Session, persona_id: int, refs: Sequence[PictureRef], actor: str) -> Turned:
    """Let photos that wait or were rejected count, and rejected candidates again.

    Raises:
        UnknownName, NotAllowedNow: as `staging.accept` and `rejection.unreject_all`.
    """
    before = _standings(session, refs)
    if before:
        staging.accept(session, persona_id, [one.photo_id for one in before], actor=actor)
        analyses.queue_persona(session, persona_id)
    back = rejection.unreject_all(session, _candidates(refs), actor=actor)
    return Turned(before, tuple(one for done in back for one in done.candidate_ids))


def reject_pictures(
    session: Session, persona_id: int, refs: Sequence[PictureRef], reason: str, actor: str
) -> Turned:
    """Take pictures out of everything that counts; a candidate goes with all that grew from it.

    Raises:
        UnknownName, NotAllowedNow, InvalidRequest: as `staging.reject` and `rejection.reject_all`.
    """
    before = _standings(session, refs)
    if before:
        staging.reject(session, persona_id, [one.photo_id for one in before], reason, actor=actor)
    gone = rejection.reject_all(session, _candidates(refs), actor=actor)
    roots = zip(sorted(_candidates(refs)), gone, strict=True)
    return Turned(before, tuple(one for one, done in roots if done.candidate_ids))


def put_back(session: Session, persona_id: int, turned: Turned, actor: str, *, rejected: bool) -> None:
    """Undo `accept_pictures` or `reject_pictures`.

    Args:
        rejected: it was a rejection.
    """
    for one in turned.photos:
        session.execute(
            text("UPDATE photos SET stage = :stage, reject_reason = :reject_reason WHERE id = :photo_id"),
            asdict(one),
        )
        events.emit(session, "photo", one.photo_id)
    audit.append_all(
        session,
        [
            audit.Happened(actor, f"photo.{one.stage}", persona_id, f"photos:{one.photo_id}")
            for one in turned.photos
        ],
    )
    undo = rejection.unreject_all if rejected else rejection.reject_all
    undo(session, turned.candidates, actor=actor)


def _standings(session: Session, refs: Sequence[PictureRef]) -> tuple[Standing, ...]:
    rows = session.execute(
        text("SELECT id, stage, reject_reason FROM photos WHERE id = ANY(:ids) ORDER BY id FOR UPDATE"),
        {"ids": [ref.photo_id for ref in refs if ref.photo_id is not None]},
    )
    return tuple(Standing(*row) for row in rows)


def _candidates(refs: Sequence[PictureRef]) -> list[int]:
    return [ref.candidate_id for ref in refs if ref.candidate_id is not None]
