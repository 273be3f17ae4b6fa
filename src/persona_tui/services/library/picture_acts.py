"""What is done to several pictures at once, photos and candidates alike: all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import UnknownName
from persona_tui.services import events
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.planning.slots import next_slot
from persona_tui.services.publishing.post_views import PostView
from persona_tui.services.publishing.posts import schedule
from persona_tui.services.publishing.winners import draft_for_winner
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


def schedule_posts(
    session: Session, refs: Sequence[PictureRef], now: datetime, gap: timedelta
) -> tuple[PostView, ...]:
    """Draft each picture and schedule it at the persona's next free time, one after another.

    Args:
        gap: least time between two posts.

    Raises:
        UnknownName, NotAllowedNow: as `draft_for_winner` and `schedule`.
    """
    planned = []
    for post in draft_posts(session, refs):
        slot = next_slot(session, post.persona_id, now, min_gap=gap)
        planned.append(schedule(session, post.id, slot.at, slot.zone))
    return tuple(planned)
