"""Putting pictures together by their vectors: pure, runs in the child pool.

All distances are cosine distances between vectors of length 1, 0 to 2. The same vectors in the same order
give the same groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Method = Literal["density", "means"]
Vectors = npt.NDArray[np.float32]
Short = npt.NDArray[np.float16]

APART = -1
"""The label of a picture that belongs to no group."""
SMALLEST = 5
"""Pictures that make a group."""
WHOLE = 10_000
"""Up to so many pictures all distances are held at once: 1.6 GB for 10,000, growing with the square
(scikit-learn's `auto` takes 29 times as long); above it they are reduced to 50 dimensions and searched by a
tree, in 100 MB."""
REDUCED = 30_000
"""Above so many, evenly drawn ones make the groups and the others are assigned to them."""
DIMENSIONS = 50
FEWEST, MOST = 2, 30
"""Bounds of k, whose silhouette decides."""
JUDGED = 2_000
"""Pictures by which a silhouette is judged."""
_SEED = 20261128

MARGIN = 0.7
"""A picture is sure to belong to the nearest centre when the next one is so much farther: d1 ≤ 0.7 · d2."""
STRETCH = 1.3
"""A group reaches beyond its farthest picture: what is still to come is spread wider than what is there."""
PRIOR = 10
"""A group's own reach counts as much as that of all groups together once it has so many pictures."""
WIDEST = 1.5
"""No group reaches farther than so many times the usual: a loose one would swallow its neighbours."""


@dataclass(frozen=True)
class Grouping:
    """What belongs together.

    Attributes:
        labels: for each picture its group, 0 being the largest, or `APART`.
        facts: method, k, silhouette, what was reduced; kept with the clusters.
    """

    labels: tuple[int, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Centres:
    """Groups that are there.

    Attributes:
        ids: of the clusters.
        centres: a vector for each, of any length above 0.
        counts: pictures of each.
        spreads: distance from the centre to its farthest picture, single odd ones left out (`spread`).
    """

    ids: tuple[int, ...]
    centres: Vectors
    counts: tuple[int, ...]
    spreads: tuple[float, ...]


@dataclass(frozen=True)
class Placing:
    """Where a picture stands among the groups.

    Attributes:
        sure: it belongs to `nearest`; otherwise that is a guess.
        near: it lies within the reach of `nearest`, so that it is worth a look when it is not sure.
        next_nearest: None where there is one group only.
    """

    nearest: int
    distance: float
    next_nearest: int | None
    next_distance: float | None
    sure: bool
    near: bool


@dataclass(frozen=True)
class Placings:
    """Where many pictures stand, in columns: thousands of values of their own would hold up who reads them.

    Attributes:
        nearest, next_nearest: ids; the next is the nearest itself where there is one group only.
        distances, next_distances: to them.
    """

    nearest: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]
    next_nearest: npt.NDArray[np.int64]
    next_distances: npt.NDArray[np.float64]
    sure: npt.NDArray[np.bool_]
    near: npt.NDArray[np.bool_]

    def each(self) -> Iterator[Placing]:
        """One after the other."""
        columns = (self.nearest, self.distances, self.next_nearest, self.next_distances, self.sure, self.near)
        for near, far, second, beyond, sure, close in zip(*map(np.ndarray.tolist, columns), strict=True):
            alone = second == near
            yield Placing(near, far, None if alone else second, None if alone else beyond, sure, close)


def group_pictures(vectors: Vectors | Short, method: Method = "density") -> Grouping:
    """Find groups among pictures, with those that fit nowhere kept apart.

    Args:
        vectors: a row each, of length 1; half precision will do.
        method: `density` (HDBSCAN, then assignment of what it left out by distance and margin), or `means`
            (k-means, k by the silhouette).
    """
    if len(vectors) < SMALLEST:
        return Grouping((APART,) * len(vectors), {"method": method})
    vectors = vectors.astype(np.float32)
    labels, facts = _by_density(vectors) if method == "density" else _by_means(vectors)
    return Grouping(tuple(_largest_first(labels).tolist()), {"method": method, **facts})


def place_pictures(vectors: Vectors | Short, known: Centres) -> Placings:
    """Say for each picture to which group it belongs, if to any; there is at least one group."""
    centres = known.centres / np.linalg.norm(known.centres, axis=1, keepdims=True)
    distances = np.clip(1 - vectors.astype(np.float32) @ centres.T, 0, 2).astype(np.float64)
    order = np.argsort(distances, axis=1, kind="stable")
    first, second = order[:, 0], order[:, min(1, len(known.ids) - 1)]
    rows, ids = np.arange(len(vectors)), np.asarray(known.ids, dtype=np.int64)
    nearest, beyond = distances[rows, first], distances[rows, second]
    near = nearest <= reaches(known.counts, known.spreads)[first]
    sure = near & ((nearest <= MARGIN * beyond) | (len(known.ids) == 1))
    return Placings(ids[first], nearest, ids[second], beyond, sure, near)


def reaches(counts: Sequence[int], spreads: Sequence[float]) -> npt.NDArray[np.float64]:
    """How far from its centre a group still takes pictures.

    A small group's own spread says little, so it is drawn to the median of all.
    """
    own, count = np.asarray(spreads, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    usual = float(np.median(own))
    drawn = (count * own + PRIOR * usual) / (count + PRIOR)
    return STRETCH * np.minimum(drawn, WIDEST * usual)


def spread(distances: npt.NDArray[np.floating]) -> float:
    """The farthest of a group's distances from its centre, but at most 1.5 times the ninth decile."""
    return float(min(distances.max(), 1.5 * np.quantile(distances, 0.9)))


def _by_density(vectors: Vectors) -> tuple[npt.NDArray[np.intp], dict[str, Any]]:
    from sklearn.cluster import HDBSCAN

    count = len(vectors)
    drawn = np.arange(count)
    if count > REDUCED:
        drawn = np.linspace(0, count - 1, REDUCED).astype(int)
    space = np.asarray(vectors[drawn], dtype=np.float64)
    algorithm = "brute"
    if count > WHOLE:
        algorithm, space = "kd_tree", _reduced(space)
    found = HDBSCAN(min_cluster_size=SMALLEST, algorithm=algorithm, copy=True).fit(space).labels_
    labels = np.full(count, APART, dtype=np.intp)
    labels[drawn] = np.where(found < 0, APART, found)
    facts = {"pictures": count, "judged": len(drawn), "dimensions": space.shape[1]}
    return _with_the_near(vectors, labels), facts


def _reduced(space: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    from sklearn.decomposition import PCA

    made: npt.NDArray[np.float64] = PCA(
        min(DIMENSIONS, *space.shape), svd_solver="randomized", random_state=_SEED
    ).fit_transform(space)
    return made


def _with_the_near(vectors: Vectors, labels: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """What was left out joins the nearest group where there is no doubt about it."""
    left_out = np.flatnonzero(labels == APART)
    if labels.max() < 0 or not len(left_out):
        return labels
    placed = place_pictures(vectors[left_out], centres_of(vectors, labels))
    joined = labels.copy()
    joined[left_out] = np.where(placed.sure, placed.nearest, APART)
    return joined


def centres_of(vectors: Vectors, labels: npt.NDArray[np.intp]) -> Centres:
    """The groups that the labels say: 0 and up, none without a picture."""
    parts = [vectors[labels == label] for label in range(int(labels.max()) + 1)]
    centres = np.stack([part.mean(axis=0) for part in parts])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    spreads = tuple(spread(1 - part @ centre) for part, centre in zip(parts, centres, strict=True))
    return Centres(tuple(range(len(parts))), centres, tuple(map(len, parts)), spreads)


def _by_means(vectors: Vectors) -> tuple[npt.NDArray[np.intp], dict[str, Any]]:
    from sklearn.cluster import KMeans

    best: tuple[float, int, npt.NDArray[np.intp]] | None = None
    for k in _numbers(len(vectors)):
        labels = KMeans(k, n_init=4, random_state=_SEED).fit(vectors).labels_
        silhouette = _silhouette(vectors, labels)
        if best is None or silhouette > best[0]:
            best = (silhouette, k, labels.astype(np.intp))
    assert best is not None
    silhouette, k, labels = best
    placed = place_pictures(vectors, centres_of(vectors, labels))
    kept = np.where(placed.sure, labels, APART)
    return kept, {"pictures": len(vectors), "k": k, "silhouette": round(silhouette, 4)}


def _numbers(count: int) -> list[int]:
    """Numbers of groups that are tried: each has `SMALLEST` pictures at least on average."""
    return list(range(FEWEST, max(FEWEST, min(MOST, count // SMALLEST)) + 1))


def _silhouette(vectors: Vectors, labels: npt.NDArray[np.intp]) -> float:
    from sklearn.metrics import silhouette_score

    sample = JUDGED if len(vectors) > JUDGED else None
    if len(set(labels.tolist())) < 2:
        return -1.0
    return float(silhouette_score(vectors, labels, metric="cosine", sample_size=sample, random_state=_SEED))


def _largest_first(labels: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Labels numbered by the groups' sizes, of equal ones by their first picture; too small ones apart."""
    numbers, firsts, counts = np.unique(labels[labels != APART], return_index=True, return_counts=True)
    kept = [(-count, first, number) for number, first, count in zip(numbers, firsts, counts, strict=True)]
    names = {number: place for place, (size, _, number) in enumerate(sorted(kept)) if -size >= SMALLEST}
    return np.array([names.get(label, APART) for label in labels.tolist()], dtype=np.intp)
