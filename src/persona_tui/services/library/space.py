"""The embedding space of a persona: vectors and centres as arrays, read in the database's binary form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services.library.building import Centres, Vectors
from persona_tui.services.library.picture_filters import PictureFilters, conditions_of
from persona_tui.services.library.pictures import PictureRef

DIMENSIONS = 512
_PART = 500  # rows that are copied at a time, so that other threads go on between
_HEADER = 4  # bytes before the numbers in the binary form of a vector: their count, and two unused


@dataclass(frozen=True)
class Space:
    """Pictures with their vectors, row by row, of length 1."""

    refs: tuple[PictureRef, ...]
    vectors: Vectors

    def short(self) -> npt.NDArray[np.float16]:
        """In half as many bytes, for the way to a child: all threads wait while that is packed."""
        return self.vectors.astype(np.float16)


_VECTORS = """
SELECT e.photo_id, e.image_candidate_id, vector_send(e.vector) AS vector
FROM embeddings e JOIN {table} {row} ON {row}.id = e.{column}
WHERE e.persona_id = :persona AND e.model_hash = :hash AND {where}
"""
_CENTRES = """
WITH member AS MATERIALIZED (
  SELECT m.cluster_id, e.vector FROM cluster_candidates m
  JOIN clusters k ON k.id = m.cluster_id AND k.status = 'active'
  JOIN embeddings e ON e.photo_id = m.photo_id AND e.model_hash = :hash
  JOIN photos p ON p.id = m.photo_id AND {photo}
  WHERE m.persona_id = :persona
  UNION ALL
  SELECT m.cluster_id, e.vector FROM cluster_candidates m
  JOIN clusters k ON k.id = m.cluster_id AND k.status = 'active'
  JOIN embeddings e ON e.image_candidate_id = m.image_candidate_id AND e.model_hash = :hash
  JOIN image_candidates c ON c.id = m.image_candidate_id AND {candidate}
  WHERE m.persona_id = :persona
), centre AS MATERIALIZED (
  SELECT cluster_id, avg(vector) AS vector, count(*) AS pictures FROM member GROUP BY cluster_id
), spread AS (
  SELECT c.cluster_id, max(c.vector <=> m.vector) AS farthest,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY c.vector <=> m.vector) AS decile
  FROM centre c JOIN member m ON m.cluster_id = c.cluster_id GROUP BY c.cluster_id
)
SELECT c.cluster_id, vector_send(c.vector) AS vector, c.pictures, least(s.farthest, 1.5 * s.decile) AS spread
FROM centre c JOIN spread s ON s.cluster_id = c.cluster_id ORDER BY c.cluster_id
"""
_OF_PICTURES = """
SELECT e.photo_id, e.image_candidate_id, vector_send(e.vector) AS vector
FROM unnest(CAST(:photos AS bigint[]), CAST(:candidates AS bigint[]))
  WITH ORDINALITY AS g(photo, candidate, place)
JOIN embeddings e ON e.model_hash = :hash AND (e.photo_id = g.photo OR e.image_candidate_id = g.candidate)
ORDER BY g.place
"""


def read_space(session: Session, persona_id: int, model_hash: str, filters: PictureFilters) -> Space:
    """The vectors of the pictures that the filters let through, photos before candidates, by id.

    Args:
        model_hash: of the model whose vectors are meant; others are never compared with them.
    """
    conditions = conditions_of(filters)
    branches = [
        _VECTORS.format(table=table, row=row, column=column, where=where)
        for table, row, column, where in (
            ("photos", "p", "photo_id", conditions.photo),
            ("image_candidates", "c", "image_candidate_id", conditions.candidate),
        )
    ]
    statement = f"{' UNION ALL '.join(branches)} ORDER BY photo_id, image_candidate_id"
    values = {"persona": persona_id, "hash": model_hash, **conditions.values}
    rows = rows_of(session, statement, values, prepare=False, binary=True)
    refs = tuple(PictureRef(row.photo_id, row.image_candidate_id) for row in rows)
    return Space(refs, numbers([row.vector for row in rows]))


def read_centres(session: Session, persona_id: int, model_hash: str) -> Centres:
    """The centres of a persona's usable clusters, of those with embedded pictures that count."""
    conditions = conditions_of(PictureFilters())
    statement = _CENTRES.format(photo=conditions.photo, candidate=conditions.candidate)
    values = {"persona": persona_id, "hash": model_hash}
    rows = rows_of(session, statement, values, binary=True)
    return Centres(
        tuple(row.cluster_id for row in rows),
        numbers([row.vector for row in rows]),
        tuple(row.pictures for row in rows),
        tuple(float(row.spread) for row in rows),
    )


def numbers(sent: Sequence[bytes]) -> Vectors:
    """Vectors in PostgreSQL's binary form as rows of an array."""
    width = _HEADER + 4 * DIMENSIONS
    made = np.empty((len(sent), DIMENSIONS), dtype=np.float32)
    for start in range(0, len(sent), _PART):
        part = sent[start : start + _PART]
        packed = np.frombuffer(b"".join(part), dtype=np.uint8).reshape(len(part), width)
        made[start : start + len(part)] = np.ascontiguousarray(packed[:, _HEADER:]).view(">f4")
    return made


def vectors_of(session: Session, refs: Sequence[PictureRef], model_hash: str) -> Space:
    """The vectors of these pictures, in their order; those that have none are left out."""
    values = {
        "photos": [ref.photo_id for ref in refs],
        "candidates": [ref.candidate_id for ref in refs],
        "hash": model_hash,
    }
    rows = rows_of(session, _OF_PICTURES, values, binary=True)
    found = tuple(PictureRef(row.photo_id, row.image_candidate_id) for row in rows)
    return Space(found, numbers([row.vector for row in rows]))
