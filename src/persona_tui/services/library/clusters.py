"""Clusters: batches of pictures, their stock, and the pillars they serve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from persona_tui.errors import DuplicateName, InvalidRequest, UnknownName
from persona_tui.models.library import Cluster, ClusterCandidate, PillarClusterAssignment
from persona_tui.models.persona import ContentPillar
from persona_tui.services import events
from persona_tui.services.inputs import Input, Name, Prose, told, validated


class ClusterInput(Input):
    """A cluster as the operator describes it."""

    name: Name
    ai_prompt: Prose = ""


@dataclass(frozen=True)
class ClusterView:
    """A cluster with its stock.

    Attributes:
        pictures: pictures that count: accepted photos and active candidates.
        unposted: those that no live post holds.
        pillar_id: its primary pillar.
        status: pictures of an `unusable` one are not offered for posts, and none are added by themselves.
        origin: put together by the `operator`, or `built`.
        proposed_name: found for it; empty where there is none, or the operator took or dismissed it.
        to_review: pictures that may belong to it.
    """

    id: int
    persona_id: int
    name: str
    status: str
    ai_prompt: str
    pillar_id: int | None
    pillar: str | None
    pictures: int
    unposted: int
    origin: str
    proposed_name: str
    to_review: int


@dataclass(frozen=True)
class ClusterPicture:
    """A picture of a cluster: a photo or a generated candidate."""

    membership_id: int
    photo_id: int | None
    candidate_id: int | None
    media_key: str
    sha256: str
    width: int
    height: int
    posted: bool
    label: str


_CLUSTERS = """
SELECT c.id, c.persona_id, c.name, c.status, c.ai_prompt, p.id, p.name,
       coalesce(s.pictures, 0), coalesce(s.unposted, 0), c.origin, c.proposed_name,
       (SELECT count(*) FROM cluster_reviews w WHERE w.cluster_id = c.id AND w.state = 'open')
FROM clusters c
LEFT JOIN pillar_cluster_assignments a ON a.cluster_id = c.id AND a."primary"
LEFT JOIN content_pillars p ON p.id = a.pillar_id
LEFT JOIN (
  SELECT m.cluster_id, count(*) AS pictures,
         count(*) FILTER (WHERE h.photo_id IS NULL AND g.image_candidate_id IS NULL) AS unposted
  FROM cluster_candidates m
  LEFT JOIN (SELECT DISTINCT photo_id FROM post_items WHERE holds) h ON h.photo_id = m.photo_id
  LEFT JOIN (SELECT DISTINCT image_candidate_id FROM post_items WHERE holds) g
    ON g.image_candidate_id = m.image_candidate_id
  WHERE m.persona_id = :persona
    AND NOT EXISTS (SELECT FROM image_candidates i WHERE i.id = m.image_candidate_id AND i.status <> 'active')
    AND NOT EXISTS (SELECT FROM photos f WHERE f.id = m.photo_id
                    AND (f.stage <> 'accepted' OR f.deleted_at IS NOT NULL))
  GROUP BY m.cluster_id
) s ON s.cluster_id = c.id
WHERE c.persona_id = :persona AND (CAST(:cluster AS bigint) IS NULL OR c.id = :cluster)
ORDER BY lower(c.name)
"""

_PICTURES = """
SELECT m.id, m.photo_id, m.image_candidate_id, coalesce(f.media_key, i.media_key),
       coalesce(f.sha256, i.sha256), coalesce(f.width, i.width), coalesce(f.height, i.height),
       EXISTS (SELECT FROM post_items h WHERE h.holds
               AND (h.photo_id = m.photo_id OR h.image_candidate_id = m.image_candidate_id)),
       coalesce(f.original_name, 'candidate ' || i.id || ', rating ' || i.elo_score)
FROM cluster_candidates m
LEFT JOIN photos f ON f.id = m.photo_id
LEFT JOIN image_candidates i ON i.id = m.image_candidate_id
WHERE m.cluster_id = :cluster
  AND coalesce(f.stage, 'accepted') = 'accepted' AND f.deleted_at IS NULL
  AND coalesce(i.status, 'active') = 'active'
ORDER BY m.display_order, m.id LIMIT :limit OFFSET :offset
"""


def create_cluster(
    session: Session,
    persona_id: int,
    values: ClusterInput | Mapping[str, Any],
    *,
    pillar_id: int | None = None,
) -> ClusterView:
    """Add a cluster, with its primary pillar when one is given.

    Raises:
        InvalidRequest: a field can't be used.
        DuplicateName: the persona has a cluster of that name.
        UnknownName: the pillar is not this persona's.
    """
    data = values if isinstance(values, ClusterInput) else validated(ClusterInput, values)
    cluster = Cluster(persona_id=persona_id, name=data.name, ai_prompt=data.ai_prompt)
    session.add(cluster)
    with told(session, {"uq_clusters_persona_id_name": _taken(data.name)}):
        pass
    if pillar_id is not None:
        assign_pillar(session, cluster.id, pillar_id)
    events.emit(session, "cluster", cluster.id)
    return get_cluster(session, cluster.id)


def rename_cluster(session: Session, cluster_id: int, name: str) -> ClusterView:
    """Give a cluster another name.

    Raises:
        DuplicateName, UnknownName, InvalidRequest: as `create_cluster`.
    """
    cluster = _row(session, cluster_id)
    cluster.name = validated(ClusterInput, {"name": name}).name
    session.add(cluster)
    with told(session, {"uq_clusters_persona_id_name": _taken(name)}):
        pass
    events.emit(session, "cluster", cluster_id)
    return get_cluster(session, cluster_id)


def set_usable(session: Session, cluster_id: int, usable: bool) -> ClusterView:
    """Mark a cluster unusable, so that none of its pictures is offered for a post, or usable again."""
    cluster = _row(session, cluster_id)
    cluster.status = "active" if usable else "unusable"
    session.add(cluster)
    session.flush()
    events.emit(session, "cluster", cluster_id)
    return get_cluster(session, cluster_id)


def assign_pillar(session: Session, cluster_id: int, pillar_id: int) -> None:
    """Make a pillar the cluster's primary one; further links stay.

    Raises:
        UnknownName: the pillar belongs to another persona.
    """
    cluster = _row(session, cluster_id)
    pillar = session.get(ContentPillar, pillar_id)
    if pillar is None or pillar.persona_id != cluster.persona_id:
        raise UnknownName("That pillar is not one of this persona.")
    links = session.exec(
        select(PillarClusterAssignment)
        .where(PillarClusterAssignment.cluster_id == cluster_id)
        .with_for_update()
    ).all()
    for link in links:
        link.primary = False
        session.add(link)
    session.flush()
    mine = next((link for link in links if link.pillar_id == pillar_id), None)
    mine = mine or PillarClusterAssignment(
        persona_id=cluster.persona_id, pillar_id=pillar_id, cluster_id=cluster_id
    )
    mine.primary = True
    session.add(mine)
    session.flush()
    events.emit(session, "cluster", cluster_id)


def add_picture(
    session: Session,
    cluster_id: int,
    *,
    photo_id: int | None = None,
    candidate_id: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """Put a photo or a candidate at the cluster's end.

    Returns:
        The membership's id.

    Raises:
        InvalidRequest: neither or both pictures given.
    """
    if (photo_id is None) == (candidate_id is None):
        raise InvalidRequest("A cluster takes either a photo or a candidate.")
    cluster = _row(session, cluster_id)
    last = session.execute(
        text("SELECT coalesce(max(display_order), 0) FROM cluster_candidates WHERE cluster_id = :cluster"),
        {"cluster": cluster_id},
    ).scalar_one()
    member = ClusterCandidate(
        persona_id=cluster.persona_id,
        cluster_id=cluster_id,
        photo_id=photo_id,
        image_candidate_id=candidate_id,
        display_order=last + 1,
        details=dict(details or {}),
    )
    session.add(member)
    session.flush()
    events.emit(session, "cluster", cluster_id)
    return member.id


def list_clusters(session: Session, persona_id: int) -> tuple[ClusterView, ...]:
    """A persona's clusters by name, Group 2 before Group 10, with their stock; one statement."""
    rows = session.execute(text(_CLUSTERS), {"persona": persona_id, "cluster": None})
    return tuple(sorted((ClusterView(*row) for row in rows), key=lambda one: _by_number(one.name)))


def _by_number(name: str) -> list[str | int]:
    """Words and numbers in turn, so that numbers in names count as such."""
    parts = re.split(r"(\d+)", name.casefold())
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def get_cluster(session: Session, cluster_id: int) -> ClusterView:
    """One cluster by id."""
    cluster = _row(session, cluster_id)
    row = session.execute(text(_CLUSTERS), {"persona": cluster.persona_id, "cluster": cluster_id}).one()
    return ClusterView(*row)


def find_cluster(session: Session, persona_id: int, name: str) -> ClusterView:
    """One cluster of a persona by name.

    Raises:
        UnknownName: there is none of that name.
    """
    found = session.exec(
        select(Cluster.id).where(
            Cluster.persona_id == persona_id, col(Cluster.name).ilike(name.strip().replace("%", r"\%"))
        )
    ).first()
    if found is None:
        raise UnknownName(
            f"There is no cluster called {name!r}.", hint="`persona-tui cluster list PERSONA` shows them."
        )
    return get_cluster(session, found)


def cluster_pictures(
    session: Session, cluster_id: int, *, limit: int = 200, offset: int = 0
) -> tuple[ClusterPicture, ...]:
    """A cluster's pictures in their order."""
    rows = session.execute(text(_PICTURES), {"cluster": cluster_id, "limit": limit, "offset": offset})
    return tuple(ClusterPicture(*row) for row in rows)


def spoken_name(cluster: Cluster) -> str | None:
    """What may be said of a cluster to the public: its name, without the number that a build gave it.

    Returns:
        None while it has only the name of a build, `Group 3`.
    """
    if cluster.name != cluster.details.get("given"):
        return cluster.name
    said: str | None = cluster.details["said"]
    return said


def _taken(name: str) -> DuplicateName:
    return DuplicateName(f"There is a cluster called {name!r} already.")


def _row(session: Session, cluster_id: int) -> Cluster:
    cluster = session.get(Cluster, cluster_id)
    if cluster is None:
        raise UnknownName(f"There is no cluster {cluster_id}.")
    return cluster
