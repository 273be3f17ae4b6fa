"""Clusters out of pictures that lie in none, and a big cluster in parts."""

from __future__ import annotations

from asyncio import to_thread
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.models.library import Cluster
from persona_tui.services import events, jobs
from persona_tui.services.jobs import Pool, SessionScope
from persona_tui.services.library.assigning import (
    UNCLUSTERED,
    assign_new,
    lock_clusters,
    still_unclustered,
)
from persona_tui.services.library.building import Grouping, Method, group_pictures
from persona_tui.services.library.clusters import ClusterView, get_cluster, spoken_name
from persona_tui.services.library.membership import add_pictures, move_pictures
from persona_tui.services.library.picture_filters import PictureFilters
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.library.space import Space, read_space

METHODS: tuple[Method, ...] = ("density", "means")
_NOT_TRIED = """
  AND NOT EXISTS (SELECT FROM embeddings e WHERE e.{column} = {row}.id AND e.model_hash = :model)
  AND NOT EXISTS (SELECT FROM analysis_outcomes o WHERE o.{column} = {row}.id AND o.kind = 'embedding'
                  AND o.version = :model AND o.state <> 'done')
"""
_WITHOUT_VECTOR = f"""
SELECT (SELECT count(*) FROM photos p WHERE p.persona_id = :persona AND p.stage = 'accepted'
          AND p.deleted_at IS NULL {_NOT_TRIED.format(column="photo_id", row="p")})
     + (SELECT count(*) FROM image_candidates c WHERE c.persona_id = :persona AND c.status = 'active'
          {_NOT_TRIED.format(column="image_candidate_id", row="c")})
"""


@dataclass(frozen=True)
class Built:
    """What a build did.

    Attributes:
        made: new clusters, the largest first.
        joined: pictures that went into clusters that were there.
        to_review: pictures that may belong to a cluster.
        apart: pictures that are like no others.
        waiting: pictures without a vector yet, which no build can place.
    """

    made: tuple[ClusterView, ...]
    joined: int
    to_review: int
    apart: int
    waiting: int


def request_build(
    session: Session,
    persona_id: int,
    method: str = "density",
    *,
    wait: int = 0,
    missing: int | None = None,
    looks: int = 0,
) -> int | None:
    """Queue a build in the background.

    Args:
        wait: seconds until it may begin.
        missing: the fewest pictures without a vector that it has seen while it waited for them.
        looks: how often it has looked since there were as few.

    Returns:
        The job's id; None where one waits already.

    Raises:
        InvalidRequest: no such method.
    """
    return jobs.defer(
        session,
        "library:build_clusters",
        once=f"build_clusters {persona_id}",
        wait=wait,
        persona_id=persona_id,
        method=_known(method),
        missing=missing,
        looks=looks,
    )


async def build_clusters(
    scope: SessionScope, pool: Pool, persona_id: int, model_hash: str, method: str = "density"
) -> Built:
    """Put pictures that lie in no cluster into those that are there, and the rest into new ones.

    Clusters that are there keep all their pictures and their names. What is like nothing
    else stays without a cluster. The same pictures give the same clusters.

    Raises:
        InvalidRequest: no such method.
    """
    first = await assign_new(scope, pool, persona_id, model_hash)

    def read() -> Space:
        with scope() as session:
            return read_space(session, persona_id, model_hash, UNCLUSTERED)

    space = await to_thread(read)
    grouping: Grouping = await pool.run(group_pictures, await to_thread(space.short), _known(method))

    def store() -> tuple[tuple[ClusterView, ...], int]:
        with scope() as session:
            made = _store(session, persona_id, space.refs, grouping, model_hash)
            waiting = without_vector(session, persona_id, model_hash)
            return tuple(get_cluster(session, one) for one in made), waiting

    made, waiting = await to_thread(store)
    last = await assign_new(scope, pool, persona_id, model_hash)
    joined, to_review = first.joined + last.joined, first.to_review + last.to_review
    return Built(made, joined, to_review, last.apart, waiting)


def without_vector(session: Session, persona_id: int, model_hash: str) -> int:
    """How many pictures are still to be embedded by this model; those that can't be don't count."""
    values = {"persona": persona_id, "model": model_hash}
    return int(session.execute(text(_WITHOUT_VECTOR), values).scalar_one())


async def split_cluster(
    scope: SessionScope, pool: Pool, cluster_id: int, model_hash: str
) -> tuple[ClusterView, ...]:
    """Split a cluster into the parts that its pictures form; the largest stays, with what fits none.

    Returns:
        The cluster and its new parts.

    Raises:
        NotAllowedNow: its pictures form no parts, or are not embedded yet.
    """

    def read() -> tuple[ClusterView, str | None, Space]:
        with scope() as session:
            whole = get_cluster(session, cluster_id)
            said = spoken_name(session.get_one(Cluster, cluster_id))
            inside = PictureFilters(cluster_id=cluster_id)
            return whole, said, read_space(session, whole.persona_id, model_hash, inside)

    whole, said, space = await to_thread(read)
    grouping: Grouping = await pool.run(group_pictures, space.vectors, "means")
    parts = _groups(space.refs, grouping)
    if len(parts) < 2:
        raise NotAllowedNow(
            f"The pictures of {whole.name} form no parts.",
            hint="Choose the pictures that go into a new cluster yourself.",
        )

    def store() -> tuple[ClusterView, ...]:
        with scope() as session:
            lock_clusters(session, whole.persona_id)
            names = _free_names(session, whole.persona_id, whole.name, 2)
            made = [cluster_id]
            for part in parts[1:]:
                facts = {**grouping.facts, "said": said}
                made.append(_make(session, whole.persona_id, next(names), facts, model_hash))
                move_pictures(session, part, into=made[-1], out_of=[cluster_id])
            return tuple(get_cluster(session, one) for one in made)

    return await to_thread(store)


def _known(method: str) -> Method:
    for known in METHODS:
        if method == known:
            return known
    raise InvalidRequest(f"Clusters are not built by {method!r}.", hint=f"Use {' or '.join(METHODS)}.")


def _store(
    session: Session,
    persona_id: int,
    refs: Sequence[PictureRef],
    grouping: Grouping,
    model_hash: str,
) -> list[int]:
    lock_clusters(session, persona_id)
    free = still_unclustered(session, persona_id)
    names = _free_names(session, persona_id, "Group")
    facts = {**grouping.facts, "said": None}
    made = []
    for group in _groups(refs, grouping):
        still = [ref for ref in group if ref in free]
        if still:
            made.append(_make(session, persona_id, next(names), facts, model_hash))
            add_pictures(session, made[-1], still, by="built")
    return made


def _groups(refs: Sequence[PictureRef], grouping: Grouping) -> list[list[PictureRef]]:
    """Pictures by group, the largest first, without those that are apart."""
    found: dict[int, list[PictureRef]] = defaultdict(list)
    for ref, label in zip(refs, grouping.labels, strict=True):
        if label >= 0:
            found[label].append(ref)
    return [found[label] for label in sorted(found)]


def _make(session: Session, persona_id: int, name: str, facts: dict[str, Any], model_hash: str) -> int:
    """A cluster with a name that was counted; `spoken_name` says what of it is for the public."""
    details = {**facts, "given": name, "model_hash": model_hash}
    made = Cluster(persona_id=persona_id, name=name, origin="built", details=details)
    session.add(made)
    session.flush()
    events.emit(session, "cluster", made.id)
    return made.id


def _free_names(session: Session, persona_id: int, stem: str, number: int = 1) -> Iterator[str]:
    """Names that no cluster of the persona has: the stem with numbers, counted from `number`."""
    rows = session.execute(
        text("SELECT lower(name) FROM clusters WHERE persona_id = :persona"), {"persona": persona_id}
    )
    taken = set(rows.scalars())
    while True:
        name = f"{stem} {number}"
        if name.lower() not in taken:
            yield name
        number += 1
