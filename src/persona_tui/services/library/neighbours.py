"""Nearest neighbours among a persona's pictures: by an index of their own, or by looking at all of them.

HNSW finds neighbours of a vector that lies among the persona's pictures. For one from elsewhere, such as a
text's, its walk ends among pictures that are far from nearest, so all vectors are looked at, in the short
form that lies in the row itself: first those, then whether the nearest of them are let through. Where few are
let through, those come first and their vectors after them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of, rows_of_each
from persona_tui.services import jobs
from persona_tui.services.library.picture_filters import Conditions, PictureFilters, conditions_of
from persona_tui.services.library.pictures import PictureRef

ENOUGH = 5_000
"""Vectors of one persona and model from which on an index is made; fewer are looked at in 15 ms."""
DEEPEST = 200
"""Neighbours that the index is asked for at most; pages beyond it look at all vectors."""
BEAM = 100
"""hnsw.ef_search: pictures that the walk keeps at a time."""
SCANNED = 20_000
"""hnsw.max_scan_tuples: where the walk gives up, and all vectors are looked at instead."""
ENLARGED = 3
"""So many times the nearest that should do are looked at: those let through may lie elsewhere."""
RAREST = 0.02
"""Share of the pictures below which the filters' own pictures are looked at instead of the nearest ones."""
_BUILD_MEMORY = "512MB"
"""Holds the graph of 250,000 vectors; one that does not fit is built many times more slowly."""

OwnerConnection = Callable[[], AbstractContextManager["psycopg.Connection[Any]"]]


@dataclass(frozen=True)
class Neighbour:
    """A picture and its cosine distance, 0 to 2."""

    ref: PictureRef
    distance: float


_BY_INDEX = """
SELECT e.photo_id, e.image_candidate_id, e.compact <=> CAST(:vector AS halfvec(512)) AS distance
FROM embeddings e
LEFT JOIN photos p ON p.id = e.photo_id
LEFT JOIN image_candidates c ON c.id = e.image_candidate_id
WHERE e.persona_id = {persona} AND e.model_hash = '{hash}'
  AND (p.id IS NOT NULL AND {photo} OR c.id IS NOT NULL AND {candidate})
ORDER BY e.compact <=> CAST(:vector AS halfvec(512)) LIMIT :limit
"""
_BY_SCAN = """
SELECT e.photo_id, e.image_candidate_id, e.distance
FROM (
  SELECT photo_id, image_candidate_id, id, (compact <=> CAST(:vector AS halfvec(512))) + 0 AS distance
  FROM embeddings WHERE persona_id = {persona} AND model_hash = '{hash}' ORDER BY 4 LIMIT :wide
) e
LEFT JOIN photos p ON p.id = e.photo_id
LEFT JOIN image_candidates c ON c.id = e.image_candidate_id
WHERE p.id IS NOT NULL AND {photo} OR c.id IS NOT NULL AND {candidate}
ORDER BY e.distance, e.id LIMIT :limit
"""
_BY_FILTER = """
(SELECT e.photo_id, e.image_candidate_id, (e.compact <=> CAST(:vector AS halfvec(512))) + 0 AS distance
 FROM embeddings e JOIN {table} {row} ON {row}.id = e.{column} AND {row}.persona_id = {persona}
 WHERE e.persona_id = {persona} AND e.model_hash = '{hash}' AND {where}
 ORDER BY 3, e.id LIMIT :limit)
"""
_ESTIMATE = """
EXPLAIN (FORMAT JSON)
SELECT FROM photos p WHERE p.persona_id = :persona AND {photo}
UNION ALL SELECT FROM image_candidates c WHERE c.persona_id = :persona AND {candidate}
UNION ALL SELECT FROM embeddings e WHERE e.persona_id = :persona AND e.model_hash = :hash
"""
_SET = "SELECT set_config(name, {value}, true) FROM (VALUES {pairs}) AS s(name, value)"
_PLANS = ("enable_seqscan", "enable_bitmapscan", "enable_sort")
# Little memory keeps the planner from hashing all posted pictures before the walk asks about some thirty.
_WALK = {
    "work_mem": "64kB",
    "hnsw.scan_mem_multiplier": "128",
    "hnsw.ef_search": str(BEAM),
    "hnsw.iterative_scan": "strict_order",
    "hnsw.max_scan_tuples": str(SCANNED),
} | dict.fromkeys(_PLANS, "off")
_PAIRS = ", ".join(f"('{name}', '{value}')" for name, value in _WALK.items())
_BEGIN_WALK = _SET.format(value="value", pairs=_PAIRS)
_END_WALK = _SET.format(value="NULL", pairs=_PAIRS)  # as they were when the connection began
_IS_THERE = """
SELECT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
  WHERE i.indrelid = 'embeddings'::regclass AND c.relname = :name AND i.indisvalid)
"""
_HOW_MANY = """
SELECT count(*) FROM embeddings WHERE persona_id = :persona AND model_hash = :hash
"""


def nearest(
    session: Session,
    persona_id: int,
    model_hash: str,
    vector: Sequence[float],
    filters: PictureFilters,
    *,
    limit: int,
    among: bool = True,
) -> tuple[Neighbour, ...]:
    """The pictures whose vectors are nearest, the nearest first.

    Args:
        vector: of the same model, of length 1.
        among: it is a picture's, or a mean of pictures'; False for a text's.
    """
    conditions = conditions_of(filters)
    values = {"vector": as_text(vector), "limit": limit, **conditions.values}
    share, indexed = _facts(session, persona_id, model_hash, conditions)
    found: tuple[Neighbour, ...] = ()
    if share >= RAREST and among and limit <= DEEPEST and indexed:
        found = _by_index(session, persona_id, model_hash, conditions, values)
    elif share >= RAREST:
        wide = {"wide": round(ENLARGED * limit / share)}
        found = _neighbours(session, _filled(_BY_SCAN, persona_id, model_hash, conditions), values | wide)
    if len(found) == limit:
        return found
    return _by_filter(session, persona_id, model_hash, conditions, values)


def index_name(persona_id: int, model_hash: str) -> str:
    """What the index of a persona's vectors of one model is called."""
    return f"hnsw_embeddings_{int(persona_id)}_{_hex(model_hash)[:16]}"


def has_index(session: Session, persona_id: int, model_hash: str) -> bool:
    """Whether the persona's own index is there and whole."""
    return bool(session.execute(text(_IS_THERE), _named(persona_id, model_hash)).scalar_one())


def request_index(session: Session, persona_id: int, model_hash: str) -> int | None:
    """Queue the making of an index, where there are enough vectors and none is there.

    Returns:
        The job's id; None where none is needed or one waits already.
    """
    if has_index(session, persona_id, model_hash):
        return None
    count = session.execute(text(_HOW_MANY), {"persona": persona_id, "hash": model_hash}).scalar_one()
    if count < ENOUGH:
        return None
    name = index_name(persona_id, model_hash)
    return jobs.defer(session, "library:build_index", once=name, persona_id=persona_id, model_hash=model_hash)


def build_index(owner: OwnerConnection, persona_id: int, model_hash: str) -> None:
    """Make the index while the table is written on; what a killed build left behind is removed first.

    Args:
        owner: opens a connection of the role that owns the tables, outside of any transaction.
    """
    name = sql.Identifier(index_name(persona_id, model_hash))
    with owner() as connection:
        connection.execute("SELECT set_config('maintenance_work_mem', %s, false)", (_BUILD_MEMORY,))
        found = connection.execute(
            "SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass(%s)",
            (index_name(persona_id, model_hash),),
        ).fetchone()
        if found == (True,):
            return
        if found is not None:
            connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(name))
        connection.execute(
            sql.SQL(
                "CREATE INDEX CONCURRENTLY {} ON embeddings USING hnsw (compact halfvec_cosine_ops)"
                " WITH (m = 16, ef_construction = 64) WHERE persona_id = {} AND model_hash = {}"
            ).format(name, sql.Literal(int(persona_id)), sql.Literal(_hex(model_hash)))
        )


def as_text(vector: Sequence[float]) -> str:
    """A vector as pgvector reads it, with as many digits as single precision has."""
    return "[" + ",".join(f"{number:.9g}" for number in vector) + "]"


def _facts(session: Session, persona_id: int, model_hash: str, conditions: Conditions) -> tuple[float, bool]:
    """What share of the persona's vectors the filters let through, as the planner's statistics have it; and
    whether the index is there.
    """
    statement = _ESTIMATE.format(photo=conditions.photo, candidate=conditions.candidate)
    values = {"persona": persona_id, "hash": model_hash, **conditions.values}
    ((plan,),), ((indexed,),) = rows_of_each(
        session, [(statement, values), (_IS_THERE, _named(persona_id, model_hash))]
    )
    parts = plan[0]["Plan"].get("Plans", [])
    every = parts[-1]["Plan Rows"] if parts else 0
    return float(sum(part["Plan Rows"] for part in parts[:-1]) / max(every, 1)), bool(indexed)


def _by_index(
    session: Session, persona_id: int, model_hash: str, conditions: Conditions, values: dict[str, Any]
) -> tuple[Neighbour, ...]:
    asked = (_filled(_BY_INDEX, persona_id, model_hash, conditions), values)
    _, rows, _ = rows_of_each(session, [(_BEGIN_WALK, {}), asked, (_END_WALK, {})])
    # The index keeps vectors at length 1, rounded once more, so its order is off where two are as near.
    return tuple(sorted(map(_neighbour, rows), key=lambda one: one.distance))


def _by_filter(
    session: Session, persona_id: int, model_hash: str, conditions: Conditions, values: dict[str, Any]
) -> tuple[Neighbour, ...]:
    branches = [
        _BY_FILTER.format(
            table=table, row=row, column=column, where=where, persona=int(persona_id), hash=_hex(model_hash)
        )
        for table, row, column, where in (
            ("photos", "p", "photo_id", conditions.photo),
            ("image_candidates", "c", "image_candidate_id", conditions.candidate),
        )
    ]
    return _neighbours(session, f"{' UNION ALL '.join(branches)} ORDER BY 3 LIMIT :limit", values)


def _filled(statement: str, persona_id: int, model_hash: str, conditions: Conditions) -> str:
    return statement.format(
        persona=int(persona_id),
        hash=_hex(model_hash),
        photo=conditions.photo,
        candidate=conditions.candidate,
    )


def _neighbours(session: Session, statement: str, values: dict[str, Any]) -> tuple[Neighbour, ...]:
    return tuple(map(_neighbour, rows_of(session, statement, values, prepare=False)))


def _neighbour(row: Any) -> Neighbour:
    return Neighbour(PictureRef(row[0], row[1]), float(row[2]))


def _named(persona_id: int, model_hash: str) -> dict[str, str]:
    return {"name": index_name(persona_id, model_hash)}


def _hex(model_hash: str) -> str:
    """The hash, since it stands in a statement as it is: a partial index is found by constants alone."""
    assert re.fullmatch(r"[0-9a-f]{8,128}", model_hash), "a model's hash is hexadecimal"
    return model_hash
