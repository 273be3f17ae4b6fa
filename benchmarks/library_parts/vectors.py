"""A library of many vectors in a database of its own: pictures around subjects, as models place them.

A model's vectors of one persona lie close together, in some hundreds of subjects, and vary in far fewer
directions than they have numbers; texts lie in a region of their own. Both matter to an index, so both are
made here. Rows go in by COPY and without the triggers of posts: they are searched, not measured.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from psycopg import Connection

from generation_parts.studio import studio
from persona_tui.database.engine import Database

Vectors = npt.NDArray[np.float32]

HASH = "b" * 64
DIMENSIONS = 512
SUBJECTS = 200
DIRECTIONS = 32
POSTED = 0.3
FLAGGED = 0.005
_CHUNK = 2_000

_PHOTOS = """
INSERT INTO photos
  (persona_id, sha256, media_key, original_name, format, width, height, byte_count, flagged)
SELECT %s, encode(sha256((%s || ' ' || n)::bytea), 'hex'), 'k' || n, 'p' || n || '.jpg', 'JPEG',
  1600, 2000, 1000, n %% %s = 0
FROM generate_series(1, %s) n ORDER BY n RETURNING id
"""
_POSTS = """
WITH posts AS (
  INSERT INTO scheduling_posts (persona_id, environment, state)
  SELECT %s, 'sandbox', 'ready' FROM generate_series(1, (%s + 9) / 10) RETURNING id
), numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS n FROM posts)
INSERT INTO post_items (post_id, persona_id, position, photo_id, sha256, holds)
SELECT p.id, %s, (t.n - 1) %% 10 + 1, f.id, f.sha256, true
FROM unnest(%s::bigint[]) WITH ORDINALITY AS t(photo, n)
JOIN numbered p ON p.n = (t.n - 1) / 10 + 1 JOIN photos f ON f.id = t.photo
"""


@dataclass(frozen=True)
class Persona:
    """What was put in for one persona.

    Attributes:
        photos: ids, in the order of the vectors.
        posted, flagged: for each whether a live post holds it, whether it is marked.
        centres: of its subjects.
    """

    id: int
    photos: npt.NDArray[np.int64]
    vectors: Vectors
    posted: npt.NDArray[np.bool_]
    flagged: npt.NDArray[np.bool_]
    centres: Vectors


@contextmanager
def library(sizes: Sequence[int]) -> Iterator[tuple[Database, tuple[Persona, ...]]]:
    """A database with a persona of each size."""
    with studio() as made:
        with made.database.connect("owner") as connection:
            connection.execute("ALTER TABLE post_items DISABLE TRIGGER USER")
            connection.execute("ALTER TABLE scheduling_posts DISABLE TRIGGER USER")
            personas = tuple(_fill(connection, number, size) for number, size in enumerate(sizes))
            connection.execute("ALTER TABLE post_items ENABLE TRIGGER USER")
            connection.execute("ALTER TABLE scheduling_posts ENABLE TRIGGER USER")
            connection.commit()
            connection.autocommit = True
            connection.execute("VACUUM ANALYZE")
        yield made.database, personas


def vectors_of(rng: np.random.Generator, count: int) -> tuple[Vectors, Vectors]:
    """Vectors of one persona, and the centres of its subjects."""
    persona = rng.normal(size=DIMENSIONS)
    centres = persona + 0.8 * rng.normal(size=(SUBJECTS, DIMENSIONS))
    ways = rng.normal(size=(DIRECTIONS, DIMENSIONS)) / np.sqrt(DIRECTIONS)
    subjects = rng.integers(0, SUBJECTS, count)
    drawn = centres[subjects] + 0.6 * rng.normal(size=(count, DIRECTIONS)) @ ways
    drawn += 0.15 * rng.normal(size=(count, DIMENSIONS))
    return unit(drawn), unit(centres)


def texts_of(rng: np.random.Generator, centres: Vectors, count: int) -> Vectors:
    """Vectors of texts: beside the pictures' region, each nearer to one subject than to others."""
    gap = unit(rng.normal(size=(1, DIMENSIONS)))
    return unit(gap + 0.35 * centres[rng.integers(0, len(centres), count)])


def unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    """At length 1."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _fill(connection: Connection, number: int, size: int) -> Persona:
    rng = np.random.default_rng(number)
    made = connection.execute(
        "INSERT INTO personas (name, age) VALUES (%s, 31) RETURNING id", (f"Persona {number}",)
    ).fetchone()
    assert made is not None
    values = (made[0], str(number), round(1 / FLAGGED), size)
    photos = np.array([row[0] for row in connection.execute(_PHOTOS, values)], dtype=np.int64)
    vectors, centres = vectors_of(rng, size)
    _copy(connection, made[0], photos, vectors)
    posted = rng.random(size) < POSTED
    connection.execute(_POSTS, (made[0], int(posted.sum()), made[0], photos[posted].tolist()))
    flagged = (np.arange(1, size + 1) % round(1 / FLAGGED)) == 0
    return Persona(made[0], photos, vectors, posted, flagged, centres)


def _copy(connection: Connection, persona_id: int, photos: npt.NDArray[np.int64], vectors: Vectors) -> None:
    """COPY in the binary form; pgvector's is the count, two bytes unused, then the numbers, big-endian."""
    statement = "COPY embeddings (persona_id, photo_id, model, model_hash, vector) FROM STDIN (FORMAT BINARY)"
    word, hashed = b"made", HASH.encode()
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0))
        for start in range(0, len(photos), _CHUNK):
            chunk = zip(photos[start : start + _CHUNK], vectors[start : start + _CHUNK], strict=True)
            copy.write(b"".join(_row(persona_id, int(photo), word, hashed, row) for photo, row in chunk))
        copy.write(struct.pack(">h", -1))


def _row(persona_id: int, photo: int, word: bytes, hashed: bytes, vector: npt.NDArray[np.float32]) -> bytes:
    sent = struct.pack(">HH", DIMENSIONS, 0) + vector.astype(">f4").tobytes()
    fields = (struct.pack(">q", persona_id), struct.pack(">q", photo), word, hashed, sent)
    return struct.pack(">h", len(fields)) + b"".join(struct.pack(">i", len(one)) + one for one in fields)
