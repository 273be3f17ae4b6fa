"""Faces of people whom a training is not about: what a likeness to its subject is held against."""

from __future__ import annotations

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.gpu import faces

EACH, MOST = 10, 100
"""Faces of one persona, and of all together."""


def other_faces(session: Session, persona_id: int | None) -> list[list[float]]:
    """Vectors of the surest faces on pictures of the other personas, the newest of each."""
    values = {"persona": persona_id, "model": faces.MODEL, "each": EACH, "most": MOST}
    return [list(vector) for (vector,) in rows_of(session, _OTHERS, values)]


_OTHERS = """
SELECT face_vector FROM (
  SELECT a.id, a.face_vector, row_number() OVER (
    PARTITION BY coalesce(p.persona_id, c.persona_id) ORDER BY a.id DESC) AS place
  FROM picture_analyses a
  LEFT JOIN photos p ON p.id = a.photo_id AND p.stage = 'accepted' AND p.deleted_at IS NULL
  LEFT JOIN image_candidates c ON c.id = a.image_candidate_id AND c.status = 'active' AND c.winner
  WHERE a.face_vector IS NOT NULL AND a.face_model = :model
    AND coalesce(p.persona_id, c.persona_id) <> coalesce(CAST(:persona AS bigint), 0)
) AS seen WHERE place <= :each ORDER BY place, id DESC LIMIT :most
"""
