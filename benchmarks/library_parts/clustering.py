"""How well pictures are put together, and that the app stays quick meanwhile.

* quality, on the hard set with the stand-in's real weights: adjusted Rand index over all 704 pictures, and
  how many of the 16 that stand alone are kept apart; k-means by silhouette, and the predecessor's way
  (k = min(20, n) on vectors of any length) beside it;
* growth: a quarter is built, the rest comes in tens in 5 random orders, then what lies apart is built;
  adjusted Rand index to the full build, the worst order;
* pause: 10,000 vectors are read, built in the child and stored while a loop asks for its turn every 5 ms.
  Baseline: the same loop while a child groups as many vectors of its own and nothing is read or stored.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import adjusted_rand_score

from library_parts.hard_set import hard_set
from library_parts.vectors import HASH, library, vectors_of
from persona_tui.database.engine import Database
from persona_tui.gpu.stand_in import StandInEncoder, weights_file
from persona_tui.pool import WorkPool
from persona_tui.services.library.building import (
    APART,
    Method,
    Vectors,
    centres_of,
    group_pictures,
    place_pictures,
)
from persona_tui.services.library.builds import build_clusters
from report import Figure

ORDERS = 5
ARI, KEPT_APART, GROWN = 0.93, 14, 0.95
PAUSE_MS = 50.0
TURN_SECONDS = 0.005
BATCH = 32
Labels = npt.NDArray[np.intp]


def figures(quick: bool) -> Iterator[Figure]:
    """Quality, growth, pause."""
    features, truth = _embedded()
    vectors = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    yield from _quality(vectors, features, truth)
    yield from _growth(vectors)
    yield from _pause(2_000 if quick else 10_000)


def _embedded() -> tuple[Vectors, Labels]:
    """The stand-in's features of the hard set, as it makes them of files."""
    encoder = StandInEncoder(weights_file())
    features, labels, waiting = [], [], []
    for picture in hard_set():
        waiting.append(encoder.prepare(picture.image))
        labels.append(picture.label)
        if len(waiting) == BATCH:
            features.append(encoder.encode(waiting))
            waiting = []
    if waiting:
        features.append(encoder.encode(waiting))
    return np.concatenate(features), np.array(labels)


def _quality(vectors: Vectors, features: Vectors, truth: Labels) -> Iterator[Figure]:
    old = KMeans(min(20, len(features)), n_init=1, random_state=42).fit(features).labels_
    plain = HDBSCAN(min_cluster_size=5, algorithm="brute", copy=True).fit(vectors).labels_
    ours = _labels(vectors, "density")
    yield Figure("ari_density", _ari(truth, ours), "", ">=", ARI, _ari(truth, old))
    yield Figure("ari_plain_hdbscan", _ari(truth, plain), "")
    yield Figure("ari_means", _ari(truth, _labels(vectors, "means")), "", baseline=_ari(truth, old))
    alone = truth == APART
    yield Figure("kept_apart_of_16", float((ours[alone] == APART).sum()), "", ">=", KEPT_APART, 0.0)


def _growth(vectors: Vectors) -> Iterator[Figure]:
    whole = _labels(vectors, "density")
    grown = [
        _ari(whole, _grown(vectors, np.random.default_rng(order).permutation(len(vectors))))
        for order in range(ORDERS)
    ]
    yield Figure("ari_of_growth_to_full_build, worst of 5 orders", min(grown), "", ">=", GROWN)
    yield Figure("ari_of_growth_to_full_build, mean", float(np.mean(grown)), "")


def _grown(vectors: Vectors, order: Labels) -> Labels:
    """Labels after a build of the first quarter, assignments of tens, and a build of what is left."""
    labels = np.full(len(vectors), APART)
    first, rest = np.split(order, [len(order) // 4])
    labels[first] = _labels(vectors[first], "density")
    for batch in np.array_split(rest, len(rest) // 10):
        labels[batch] = _placed(vectors, labels, first, batch)
        first = np.concatenate([first, batch])
    left = np.flatnonzero(labels == APART)
    labels[left] = _placed(vectors, labels, order, left)
    left = np.flatnonzero(labels == APART)
    made = _labels(vectors[left], "density")
    labels[left] = np.where(made == APART, APART, made + labels.max() + 1)
    return labels


def _placed(vectors: Vectors, labels: Labels, seen: Labels, news: Labels) -> Labels:
    placed = place_pictures(vectors[news], centres_of(vectors[seen], labels[seen]))
    return np.where(placed.sure, placed.nearest, APART)


def _labels(vectors: Vectors, method: Method) -> Labels:
    return np.array(group_pictures(vectors, method).labels)


def _ari(one: Labels, other: Labels) -> float:
    return float(adjusted_rand_score(one, other))


def _pause(count: int) -> Iterator[Figure]:
    with library((count,)) as (database, (persona,)):
        gc.freeze()  # as the app does once its core has started: what is loaded is collected no more
        beside = asyncio.run(_with_a_loop(_group_alone(count)))
        built = asyncio.run(_with_a_loop(_build(database, persona.id)))
    yield Figure(
        f"longest_pause_ms, {count:,} vectors built",
        built.longest_ms,
        "ms",
        "<=",
        PAUSE_MS,
        beside.longest_ms,
    )
    yield Figure(
        f"longest_pause_ms, {count:,} vectors built, our own", built.own_ms, "ms", baseline=beside.own_ms
    )
    yield Figure(f"build_s, {count:,} vectors", built.seconds, "s", baseline=beside.seconds)


async def _build(database: Database, persona_id: int) -> None:
    async with aclosing(WorkPool()) as pool:
        built = await build_clusters(database.session_scope, pool, persona_id, HASH)
    assert built.made


async def _group_alone(count: int) -> None:
    async with aclosing(WorkPool()) as pool:
        await pool.run(group_made_up, count)


def group_made_up(count: int) -> None:
    """Group so many vectors, made here."""
    group_pictures(vectors_of(np.random.default_rng(0), count)[0], "density")


@dataclass(frozen=True)
class Turns:
    """How a loop fared beside some work.

    Attributes:
        longest_ms: the longest time that it waited beyond its turn.
        own_ms: the longest that this process can have made it wait: no longer than its threads computed
            meanwhile, and without the time in which other processes had the loop's processor.
        seconds: that the work took.
    """

    longest_ms: float
    own_ms: float
    seconds: float


async def _with_a_loop(work: Coroutine[Any, Any, None]) -> Turns:
    began = time.perf_counter()
    task = asyncio.create_task(work)
    longest = own = 0.0
    while not task.done():
        before, queued, computed = time.perf_counter(), _queued(), time.process_time()
        await asyncio.sleep(TURN_SECONDS)
        pause = time.perf_counter() - before - TURN_SECONDS
        longest = max(longest, pause)
        own = max(own, min(pause - (_queued() - queued), time.process_time() - computed))
    await task
    return Turns(longest * 1000, own * 1000, time.perf_counter() - began)


def _queued() -> float:
    """Seconds that this thread was ready to run and had to wait for a processor, so far."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
