"""Two clusters become one, or one becomes two; and which ones call for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest
from persona_tui.services import events
from persona_tui.services.library.clusters import ClusterView, create_cluster, get_cluster, list_clusters
from persona_tui.services.library.membership import Change, move_pictures
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.library.space import read_centres
from persona_tui.services.safety import audit

FEW, MANY = 5, 50
"""Below and above so many pictures a cluster is called too small or too big; 10 to 30 are ideal."""
NEARLY_ONE = 0.5
"""Two clusters are nearly one when their centres are nearer than half of what both spread."""

_FOLLOW = (
    "UPDATE pipelines SET cluster_id = :into WHERE cluster_id = :gone",
    "UPDATE pipeline_runs SET cluster_id = :into WHERE cluster_id = :gone",
    "UPDATE content_suggestions SET cluster_id = :into WHERE cluster_id = :gone",
    "UPDATE content_strategy_histories SET cluster_id = :into WHERE cluster_id = :gone",
    "UPDATE scheduling_posts SET cluster_id = :into WHERE cluster_id = :gone",
    "UPDATE photo_imports SET cluster_id = :into WHERE cluster_id = :gone",
    "UPDATE contests SET cluster_id = :into WHERE cluster_id = :gone AND NOT EXISTS"
    " (SELECT FROM contests c WHERE c.cluster_id = :into)",
    "UPDATE contests SET kind = 'comparison', cluster_id = NULL WHERE cluster_id = :gone",
    "UPDATE cluster_reviews SET cluster_id = :into WHERE cluster_id = :gone",
    'INSERT INTO pillar_cluster_assignments (persona_id, pillar_id, cluster_id, "primary", notes)'
    ' SELECT a.persona_id, a.pillar_id, :into, a."primary" AND NOT EXISTS (SELECT'
    ' FROM pillar_cluster_assignments p WHERE p.cluster_id = :into AND p."primary"), a.notes'
    " FROM pillar_cluster_assignments a WHERE a.cluster_id = :gone"
    " ON CONFLICT (pillar_id, cluster_id) DO NOTHING",
)
"""What pointed to the cluster that goes points to the one that stays."""

Why = Literal["too small", "too big", "nearly one"]


@dataclass(frozen=True)
class Suggestion:
    """What could be done about a cluster.

    Attributes:
        other_id: of `nearly one`: the cluster that it could be merged with.
    """

    cluster_id: int
    name: str
    why: Why
    sentence: str
    other_id: int | None = None


def merge_clusters(session: Session, into: int, others: Sequence[int]) -> ClusterView:
    """Put all pictures of other clusters into one, and remove those; posts, runs and pillars follow.

    Raises:
        InvalidRequest: none named, a cluster with itself, or clusters of two personas.
        UnknownName: no such cluster.
    """
    kept = get_cluster(session, into)
    gone = [get_cluster(session, other) for other in others]
    if not gone or into in others or {one.persona_id for one in gone} != {kept.persona_id}:
        raise InvalidRequest(
            "Only different clusters of one persona can be merged.", hint="Choose another one to merge with."
        )
    for cluster in gone:
        refs = member_refs(session, cluster.id)
        move_pictures(session, refs, into=into, out_of=[cluster.id])
        for statement in _FOLLOW:
            session.execute(text(statement), {"into": into, "gone": cluster.id})
        session.execute(text("DELETE FROM clusters WHERE id = :gone"), {"gone": cluster.id})
        events.emit(session, "cluster", cluster.id)
    audit.append(
        session,
        actor="operator",
        action="cluster.merge",
        persona_id=kept.persona_id,
        subject=f"cluster {into}",
        details={"merged": [cluster.name for cluster in gone]},
    )
    session.expire_all()
    return get_cluster(session, into)


def split_off(
    session: Session, cluster_id: int, refs: Sequence[PictureRef], name: str
) -> tuple[ClusterView, Change]:
    """Put some pictures of a cluster into a new one with the same primary pillar.

    Raises:
        InvalidRequest: no pictures named, or all of them.
        DuplicateName: the persona has a cluster of that name.
    """
    whole = get_cluster(session, cluster_id)
    members = member_refs(session, cluster_id)
    if not set(refs) & set(members) or not set(members) - set(refs):
        raise InvalidRequest("A cluster is split into two parts with pictures in both.")
    part = create_cluster(session, whole.persona_id, {"name": name}, pillar_id=whole.pillar_id)
    chosen = [ref for ref in members if ref in set(refs)]
    change = move_pictures(session, chosen, into=part.id, out_of=[cluster_id])
    return get_cluster(session, part.id), change


def member_refs(session: Session, cluster_id: int) -> tuple[PictureRef, ...]:
    """All pictures of a cluster in its order, those that don't count among them."""
    rows = session.execute(
        text(
            "SELECT photo_id, image_candidate_id FROM cluster_candidates WHERE cluster_id = :cluster"
            " ORDER BY display_order, id"
        ),
        {"cluster": cluster_id},
    )
    return tuple(PictureRef(*row) for row in rows)


def suggestions(session: Session, persona_id: int, model_hash: str) -> tuple[Suggestion, ...]:
    """Clusters that are too small, too big, or nearly one with another.

    Args:
        model_hash: of the vectors by which clusters are compared.
    """
    clusters = {one.id: one for one in list_clusters(session, persona_id) if one.status == "active"}
    found = [_of_size(cluster) for cluster in clusters.values()]
    return (
        *(one for one in found if one is not None),
        *_nearly_one(session, persona_id, model_hash, clusters),
    )


def _of_size(cluster: ClusterView) -> Suggestion | None:
    if cluster.pictures < FEW:
        words = f"{cluster.name} has {cluster.pictures} of at least {FEW} pictures: add some or merge it."
        return Suggestion(cluster.id, cluster.name, "too small", words)
    if cluster.pictures > MANY:
        words = f"{cluster.name} has {cluster.pictures} pictures, more than {MANY}: split it."
        return Suggestion(cluster.id, cluster.name, "too big", words)
    return None


def _nearly_one(
    session: Session, persona_id: int, model_hash: str, clusters: dict[int, ClusterView]
) -> list[Suggestion]:
    import numpy as np

    known = read_centres(session, persona_id, model_hash)
    if len(known.ids) < 2:
        return []
    units = known.centres / np.linalg.norm(known.centres, axis=1, keepdims=True)
    distances = 1 - units @ units.T
    spreads = np.asarray(known.spreads)
    near = distances <= NEARLY_ONE * (spreads[:, None] + spreads[None, :]) / 2
    pairs = [(known.ids[a], known.ids[b]) for a, b in zip(*np.where(np.triu(near, 1)), strict=True)]
    return [
        Suggestion(
            one,
            clusters[one].name,
            "nearly one",
            f"{clusters[one].name} and {clusters[other].name} are nearly one: merge them.",
            other,
        )
        for one, other in pairs
        if one in clusters and other in clusters
    ]
