"""What the operator decides on photos: whether they count, what they say, and that they go.

A deleted photo keeps its row, its clusters and its files, so that it can come back, until `remove_deleted`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import NotAllowedNow, UnknownName
from persona_tui.services import events
from persona_tui.services.inputs import Input, Line, Prose, validated
from persona_tui.services.library import analyses
from persona_tui.services.safety import audit


class _Reason(Input):
    reason: Line


class _Caption(Input):
    caption: Prose


def staged_ids(session: Session, persona_id: int) -> tuple[int, ...]:
    """Photos that wait for a look, the oldest first."""
    return tuple(row.id for row in rows_of(session, _STAGED, {"persona": persona_id}))


def accept(session: Session, persona_id: int, photo_ids: Sequence[int], *, actor: str) -> int:
    """Let photos count, whether they waited or were rejected; returns how many did not before.

    Raises:
        UnknownName: one of them is not this persona's, or is deleted.
    """
    _lock(session, persona_id, photo_ids)
    analyses.queue_persona(session, persona_id)
    return _change(session, _ACCEPT, persona_id, photo_ids, actor, "photo.accept")


def reject(session: Session, persona_id: int, photo_ids: Sequence[int], reason: str, *, actor: str) -> int:
    """Take photos out of everything that counts, with a reason; returns how many.

    Raises:
        UnknownName: as `accept`.
        NotAllowedNow: a post that is not cancelled uses one of them.
        InvalidRequest: the reason is longer than 300 characters.
    """
    words = validated(_Reason, {"reason": reason}).reason
    _lock(session, persona_id, photo_ids)
    _require_unused(session, photo_ids)
    return _change(session, _REJECT, persona_id, photo_ids, actor, "photo.reject", reason=words)


def write_caption(session: Session, persona_id: int, photo_id: int, caption: str, *, actor: str) -> str:
    """Give a photo a caption, an empty one removes it; returns it as it is kept.

    Raises:
        UnknownName: as `accept`.
        InvalidRequest: longer than 20,000 characters.
    """
    words = validated(_Caption, {"caption": caption.strip()}).caption
    _lock(session, persona_id, [photo_id])
    _change(session, _CAPTION, persona_id, [photo_id], actor, "photo.caption", caption=words)
    return words


def delete(session: Session, persona_id: int, photo_ids: Sequence[int], *, actor: str) -> int:
    """Delete photos so that they can come back; returns how many.

    Raises:
        UnknownName: as `accept`.
        NotAllowedNow: a post that is not cancelled uses one of them.
    """
    _lock(session, persona_id, photo_ids)
    _require_unused(session, photo_ids)
    return _change(session, _DELETE, persona_id, photo_ids, actor, "photo.delete")


def restore(session: Session, persona_id: int, photo_ids: Sequence[int], *, actor: str) -> int:
    """Undo `delete`; returns how many came back.

    Raises:
        UnknownName: one of them is not this persona's, or its files are removed already.
    """
    _lock(session, persona_id, photo_ids, deleted=True)
    analyses.queue_persona(session, persona_id)
    return _change(session, _RESTORE, persona_id, photo_ids, actor, "photo.restore")


def remove_deleted(session: Session, days: float) -> int:
    """Remove the rows of photos deleted longer ago; their files go with `removals.remove_files` afterwards.

    What a post or a training set still names stays.

    Returns:
        How many were removed.
    """
    gone = rows_of(session, _GONE, {"days": days})
    if gone:
        ids = [row.id for row in gone]
        rows_of(session, _NOTE_FILES, {"photos": ids})
        rows_of(session, _LEAVE_POSTS, {"photos": ids})
        rows_of(session, _REMOVE, {"photos": ids})
        audit.append_all(
            session,
            [
                audit.Happened("system", "photo.remove", row.persona_id, f"photos:{row.id}", row.sha256)
                for row in gone
            ],
        )
    return len(gone)


def _lock(session: Session, persona_id: int, photo_ids: Sequence[int], *, deleted: bool = False) -> None:
    values = {"persona": persona_id, "photos": list(photo_ids), "deleted": deleted}
    found = {row.id for row in rows_of(session, _LOCK, values)}
    missing = [str(photo_id) for photo_id in photo_ids if photo_id not in found]
    if missing:
        numbers = ", ".join(missing[:5])
        raise UnknownName(
            f"There is no {'deleted ' * deleted}photo {numbers} of this persona.",
            hint="`persona-tui photos list PERSONA` shows them.",
        )


def _require_unused(session: Session, photo_ids: Sequence[int]) -> None:
    rows = rows_of(session, _USED, {"photos": list(photo_ids)})
    if rows:
        photos = ", ".join(str(row.photo_id) for row in rows[:5])
        raise NotAllowedNow(
            f"Posts use photo {photos}.",
            hint="Cancel those that are not out; what was published keeps its picture.",
        )


def _change(
    session: Session,
    statement: str,
    persona_id: int,
    photo_ids: Sequence[int],
    actor: str,
    action: str,
    **words: str,
) -> int:
    changed = [row.id for row in rows_of(session, statement, {"photos": list(photo_ids), **words})]
    audit.append_all(
        session,
        [audit.Happened(actor, action, persona_id, f"photos:{each}", details=words) for each in changed],
    )
    events.emit_all(session, [("photo", each) for each in changed])
    return len(changed)


_THESE = "id = ANY (CAST(:photos AS bigint[]))"
_STAGED = (
    "SELECT id FROM photos WHERE persona_id = :persona AND stage = 'staged'"
    " AND deleted_at IS NULL ORDER BY id"
)
_LOCK = (
    f"SELECT id FROM photos WHERE persona_id = :persona AND {_THESE}"
    " AND (deleted_at IS NOT NULL) = :deleted ORDER BY id FOR UPDATE"
)
_IN_POSTS = "FROM post_items i JOIN scheduling_posts o ON o.id = i.post_id WHERE o.state <> 'cancelled' AND"
_USED = f"SELECT DISTINCT i.photo_id {_IN_POSTS} i.photo_id = ANY (CAST(:photos AS bigint[])) ORDER BY 1"
_ACCEPT = (
    f"UPDATE photos SET stage = 'accepted', reject_reason = '' WHERE {_THESE} AND stage <> 'accepted'"
    " RETURNING id"
)
_REJECT = f"UPDATE photos SET stage = 'rejected', reject_reason = :reason WHERE {_THESE} RETURNING id"
_CAPTION = f"UPDATE photos SET caption = :caption WHERE {_THESE} RETURNING id"
_DELETE = f"UPDATE photos SET deleted_at = persona_now() WHERE {_THESE} RETURNING id"
_RESTORE = f"UPDATE photos SET deleted_at = NULL WHERE {_THESE} RETURNING id"
_GONE = f"""
SELECT id, persona_id, sha256 FROM photos p
WHERE deleted_at < persona_now() - make_interval(secs => :days * 86400)
  AND NOT EXISTS (SELECT {_IN_POSTS} i.photo_id = p.id)
  AND NOT EXISTS (SELECT FROM dataset_images t WHERE t.photo_id = p.id)
ORDER BY id LIMIT 200 FOR UPDATE SKIP LOCKED
"""
_NOTE_FILES = f"""
INSERT INTO media_removals (media_key, sha256)
SELECT DISTINCT ON (media_key) media_key, sha256 FROM (
  SELECT media_key, sha256 FROM photos WHERE {_THESE}
  UNION ALL SELECT poster_key, poster_sha256 FROM photos WHERE {_THESE} AND poster_key IS NOT NULL) AS gone
ON CONFLICT (media_key) DO UPDATE SET created_at = persona_now()
"""
_LEAVE_POSTS = "DELETE FROM post_items WHERE photo_id = ANY (CAST(:photos AS bigint[]))"
_REMOVE = f"DELETE FROM photos WHERE {_THESE}"
