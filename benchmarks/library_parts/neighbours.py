"""The 20 nearest pictures of a persona that were not posted yet, among 100,000 vectors.

Once five personas of 20,000 each, once one of 100,000 (`--quick`: two of 10,000, one of 20,000). Through
`nearest`, as a search asks it, each in a session of its own; the choice between index and scan counts.

* own region: neighbours of a picture, by the persona's HNSW index;
* foreign region: neighbours of a text's vector, by looking at all;
* rare filter: neighbours of a picture among one in 200.

Baseline of the times: the same question over the column `vector`, which PostgreSQL keeps beside the row.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import text

from library_parts.vectors import HASH, Persona, Vectors, library, texts_of
from persona_tui.database.engine import Database
from persona_tui.services.library.neighbours import as_text, build_index, has_index, nearest
from persona_tui.services.library.pictures import PictureFilters
from report import Figure

TOP = 20
OWN_MS, SCAN_MS, BUILD_S = 15.0, 250.0, 180.0
OWN_RECALL, SCAN_RECALL = 0.95, 0.99
PLAIN = """
SELECT e.photo_id FROM embeddings e WHERE e.persona_id = :persona AND e.model_hash = :hash AND NOT EXISTS
  (SELECT FROM post_items h WHERE h.holds AND h.photo_id = e.photo_id)
ORDER BY (e.vector <=> CAST(:vector AS vector)) + 0 LIMIT 20
"""


@dataclass(frozen=True)
class Asked:
    """One kind of question about one persona."""

    name: str
    queries: Vectors
    filters: PictureFilters
    allowed: npt.NDArray[np.bool_]
    among: bool
    target_ms: float
    target_recall: float


def figures(quick: bool) -> Iterator[Figure]:
    """Times, recall and building, for both libraries."""
    for name, sizes in _LIBRARIES[quick].items():
        with library(sizes) as (database, personas):
            yield from _of_library(name, database, personas, 60 if quick else 200)


_LIBRARIES = {
    False: {"5 × 20,000": (20_000,) * 5, "1 × 100,000": (100_000,)},
    True: {"2 × 10,000": (10_000,) * 2, "1 × 20,000": (20_000,)},
}


def _of_library(name: str, database: Database, personas: tuple[Persona, ...], times: int) -> Iterator[Figure]:
    persona = personas[-1]
    began = time.perf_counter()
    build_index(lambda: database.connect("owner", autocommit=True), persona.id, HASH)
    yield Figure(f"index_build_s, {name}", time.perf_counter() - began, "s", "<=", BUILD_S)
    for other in personas[:-1]:
        build_index(lambda: database.connect("owner", autocommit=True), other.id, HASH)
    with database.session_scope() as session:
        assert has_index(session, persona.id, HASH)
    for asked in _questions(persona, times):
        spent, recall = _ask(database, persona, asked)
        plain = statistics.median(_timed(database, asked.queries[:5], _plainly(persona.id)))
        yield Figure(f"knn_ms_p95, {asked.name}, {name}", _p95(spent), "ms", "<=", asked.target_ms, plain)
        yield Figure(f"knn_ms_median, {asked.name}, {name}", statistics.median(spent), "ms")
        yield Figure(f"recall_at_20, {asked.name}, {name}", recall, "", ">=", asked.target_recall)


def _questions(persona: Persona, times: int) -> Iterator[Asked]:
    rng = np.random.default_rng(7)
    own = persona.vectors[rng.choice(len(persona.vectors), times, replace=False)]
    unposted, rare = PictureFilters(posted=False), PictureFilters(posted=False, flagged=True)
    free = ~persona.posted
    few = max(20, times // 4)
    texts = texts_of(rng, persona.centres, few)
    yield Asked("own region", own, unposted, free, True, OWN_MS, OWN_RECALL)
    yield Asked("foreign region", texts, unposted, free, False, SCAN_MS, SCAN_RECALL)
    yield Asked("rare filter", own[:few], rare, free & persona.flagged, True, SCAN_MS, SCAN_RECALL)


def _ask(database: Database, persona: Persona, asked: Asked) -> tuple[list[float], float]:
    """Milliseconds of each question, and the share of the true 20 that was found."""
    found: list[set[int]] = []

    def ask(database: Database, query: npt.NDArray[np.float32]) -> None:
        with database.session_scope() as session:
            near = nearest(
                session, persona.id, HASH, query.tolist(), asked.filters, limit=TOP, among=asked.among
            )
        found.append({one.ref.photo_id or 0 for one in near})

    spent = _timed(database, asked.queries, ask)
    photos, vectors = persona.photos[asked.allowed], persona.vectors[asked.allowed]
    shares = []
    for query, got in zip(asked.queries, found[-len(asked.queries) :], strict=True):
        truth = photos[np.argsort(-(vectors @ query), kind="stable")[:TOP]]
        shares.append(len(got & set(truth.tolist())) / len(truth))
    return spent, float(np.mean(shares))


def _plainly(persona_id: int) -> Callable[[Database, npt.NDArray[np.float32]], None]:
    def ask(database: Database, query: npt.NDArray[np.float32]) -> None:
        values = {"persona": persona_id, "hash": HASH, "vector": as_text(query.tolist())}
        with database.session_scope() as session:
            session.execute(text(PLAIN), values).all()

    return ask


def _timed(
    database: Database, queries: Vectors, ask: Callable[[Database, npt.NDArray[np.float32]], None]
) -> list[float]:
    """Milliseconds of each; the first ones, which fill the caches, are asked before and not counted."""
    for query in queries[:3]:
        ask(database, query)
    spent = []
    for query in queries:
        began = time.perf_counter()
        ask(database, query)
        spent.append((time.perf_counter() - began) * 1000)
    return spent


def _p95(spent: list[float]) -> float:
    return statistics.quantiles(spent, n=20)[-1]
