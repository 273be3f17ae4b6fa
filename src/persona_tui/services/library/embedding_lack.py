"""Why a picture has no vector to be compared by, and what comes of it."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow
from persona_tui.services.library.pictures import LibraryPicture

_TRIED = """
SELECT problem FROM analysis_outcomes
WHERE (photo_id = :photo_id OR image_candidate_id = :image_candidate_id)
  AND kind = 'embedding' AND version = :version AND state <> 'done'
"""
_UNDER_WAY = """
SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')
               AND task_name IN ('library:analyse_persona', 'library:analyse')
               AND args @> jsonb_build_object('persona_id', CAST(:persona AS bigint))
               AND coalesce(args ->> 'kind', 'embedding') = 'embedding')
"""


def not_comparable(session: Session, picture: LibraryPicture, version: str) -> NotAllowedNow:
    """The refusal to compare a picture that the model of this version gave no vector.

    It tells apart a picture that does not count, one that could not be embedded, one whose turn comes by
    itself, and one that nothing was queued for.
    """
    name = str(picture.ref).capitalize()
    if picture.stage != "accepted":
        return NotAllowedNow(
            f"{name} is {picture.stage}: only accepted pictures are compared.", hint="Accept it first."
        )
    values = {**picture.ref.columns, "version": version, "persona": picture.persona_id}
    problem = session.execute(text(_TRIED), values).scalar_one_or_none()
    if problem is not None:
        return NotAllowedNow(
            f"{name} can't be compared with others: {problem or 'its vector could not be made.'}",
            hint="`photos analyse --retry` tries once more.",
        )
    if session.execute(text(_UNDER_WAY), values).scalar_one():
        return NotAllowedNow(
            f"{name} can't be compared yet: its vector is queued or being made.",
            hint="The app or `persona-tui worker` goes on by itself; search again in a moment.",
        )
    return NotAllowedNow(
        f"{name} has no vector yet, so nothing can be compared with it.", hint="Run `photos analyse` first."
    )
