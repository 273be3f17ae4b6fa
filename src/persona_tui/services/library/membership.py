"""Which pictures lie in which clusters, and in what order; each act says how to take it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.models.library import Cluster
from persona_tui.services import events
from persona_tui.services.library.pictures import PictureRef


@dataclass(frozen=True)
class Membership:
    """A picture's place in a cluster."""

    ref: PictureRef
    cluster_id: int
    display_order: int


@dataclass(frozen=True)
class Change:
    """What an act did; `undo` takes it back."""

    added: tuple[Membership, ...] = ()
    taken_out: tuple[Membership, ...] = ()


_ASKED = """
WITH asked AS (
  SELECT photo_id, image_candidate_id, place
  FROM unnest(CAST(:photos AS bigint[]), CAST(:candidates AS bigint[]))
    WITH ORDINALITY AS g(photo_id, image_candidate_id, place)
)
"""
_SAME = "(m.photo_id = a.photo_id OR m.image_candidate_id = a.image_candidate_id)"
_STRANGE = f"""
{_ASKED} SELECT count(*) FROM asked a
LEFT JOIN photos p ON p.id = a.photo_id AND p.persona_id = :persona
LEFT JOIN image_candidates c ON c.id = a.image_candidate_id AND c.persona_id = :persona
WHERE p.id IS NULL AND c.id IS NULL
"""
_ADD = f"""
{_ASKED}, added AS (
  INSERT INTO cluster_candidates AS m
    (persona_id, cluster_id, photo_id, image_candidate_id, display_order, details)
  SELECT :persona, :cluster, a.photo_id, a.image_candidate_id,
    a.place + (SELECT coalesce(max(l.display_order), 0)
               FROM cluster_candidates l WHERE l.cluster_id = :cluster),
    jsonb_build_object('by', CAST(:by AS text))
  FROM asked a ORDER BY a.place
  ON CONFLICT DO NOTHING
  RETURNING m.photo_id, m.image_candidate_id, m.cluster_id, m.display_order
), decided AS (
  UPDATE cluster_reviews w SET state = CASE WHEN w.cluster_id = :cluster THEN 'taken' ELSE 'dismissed' END
  FROM added a WHERE w.state = 'open'
    AND (w.photo_id = a.photo_id OR w.image_candidate_id = a.image_candidate_id)
)
SELECT * FROM added ORDER BY display_order
"""
_TAKE_OUT = f"""
{_ASKED}, gone AS (
  DELETE FROM cluster_candidates m USING asked a
  WHERE {_SAME} AND m.persona_id = :persona AND m.cluster_id = ANY(CAST(:clusters AS bigint[]))
  RETURNING m.photo_id, m.image_candidate_id, m.cluster_id, m.display_order
), refused AS (
  INSERT INTO cluster_reviews (persona_id, photo_id, image_candidate_id, cluster_id, distance, state)
  SELECT :persona, photo_id, image_candidate_id, cluster_id, 0, 'dismissed' FROM gone
) SELECT * FROM gone ORDER BY cluster_id, display_order
"""
"""What the operator took out is not put back by itself: it is noted as a review that was dismissed."""
_PUT_BACK = """
INSERT INTO cluster_candidates (persona_id, cluster_id, photo_id, image_candidate_id, display_order)
SELECT c.persona_id, c.id, :photo_id, :image_candidate_id, :display_order
FROM clusters c WHERE c.id = :cluster
ON CONFLICT DO NOTHING
"""
_FORGET = """
DELETE FROM cluster_reviews WHERE cluster_id = :cluster AND state = 'dismissed'
AND (photo_id = :photo_id OR image_candidate_id = :image_candidate_id)
"""
_ORDER = f"""
{_ASKED}, ranked AS (
  SELECT m.id, row_number() OVER (
    ORDER BY CASE WHEN a.place IS NULL THEN m.display_order ELSE :before END, a.place, m.display_order, m.id
  ) AS place
  FROM cluster_candidates m LEFT JOIN asked a ON {_SAME} WHERE m.cluster_id = :cluster
)
UPDATE cluster_candidates m SET display_order = r.place FROM ranked r
WHERE r.id = m.id AND m.display_order <> r.place
"""
_LAST = 2**31 - 1


def add_pictures(
    session: Session, cluster_id: int, refs: Sequence[PictureRef], *, by: str = "operator"
) -> Change:
    """Put pictures at a cluster's end; those that lie there already stay where they are.

    What was to be reviewed about them is decided by it.

    Args:
        by: who put them there, kept with the membership.

    Raises:
        UnknownName: no such cluster.
        InvalidRequest: a picture is gone or another persona's.
    """
    cluster = _cluster(session, cluster_id)
    strange = session.execute(text(_STRANGE), {"persona": cluster.persona_id, **_arrays(refs)}).scalar_one()
    if strange:
        raise InvalidRequest(
            f"{strange} of {len(refs)} pictures: gone, or another persona's. Nothing was changed.",
            hint="`persona-tui photos search PERSONA` shows the pictures there are.",
        )
    values = {"persona": cluster.persona_id, "cluster": cluster_id, "by": by, **_arrays(refs)}
    added = _memberships(session, _ADD, values)
    events.emit(session, "cluster", cluster_id)
    return Change(added=added)


def move_pictures(
    session: Session, refs: Sequence[PictureRef], *, into: int, out_of: Sequence[int] | None = None
) -> Change:
    """Put pictures into one cluster and take them out of others.

    Args:
        out_of: clusters that they leave; None for all others in which they lie.

    Raises:
        UnknownName, InvalidRequest: as `add_pictures`.
    """
    added = add_pictures(session, into, refs).added
    persona_id = _cluster(session, into).persona_id
    if out_of is None:
        found = session.execute(text("SELECT id FROM clusters WHERE persona_id = :id"), {"id": persona_id})
        out_of = list(found.scalars())
    return Change(added, _take_out(session, persona_id, refs, [one for one in out_of if one != into]))


def remove_pictures(session: Session, cluster_id: int, refs: Sequence[PictureRef]) -> Change:
    """Take pictures out of a cluster; they stay in the library.

    Raises:
        UnknownName: no such cluster.
    """
    persona_id = _cluster(session, cluster_id).persona_id
    return Change(taken_out=_take_out(session, persona_id, refs, [cluster_id]))


def place_before(
    session: Session, cluster_id: int, refs: Sequence[PictureRef], before: PictureRef | None = None
) -> None:
    """Put pictures of a cluster, in the order given, before another one of it, or at its end.

    Raises:
        InvalidRequest: `before` is none of the cluster's, or one of those that are to be placed.
    """
    place: int | None = _LAST
    if before is not None:
        place = session.execute(
            text(
                "SELECT m.display_order FROM cluster_candidates m WHERE m.cluster_id = :cluster"
                " AND (m.photo_id = :photo_id OR m.image_candidate_id = :image_candidate_id)"
            ),
            {"cluster": cluster_id, **before.columns},
        ).scalar_one_or_none()
    if place is None or before in refs:
        raise InvalidRequest("That place is not in this cluster.", hint="Choose another picture of it.")
    session.execute(text(_ORDER), {"cluster": cluster_id, "before": place, **_arrays(refs)})
    events.emit(session, "cluster", cluster_id)


def undo(session: Session, change: Change) -> None:
    """Take back what an act did; a cluster that is gone since is left out."""
    for member in change.added:
        session.execute(
            text(
                "DELETE FROM cluster_candidates m WHERE m.cluster_id = :cluster"
                " AND (m.photo_id = :photo_id OR m.image_candidate_id = :image_candidate_id)"
            ),
            {"cluster": member.cluster_id, **member.ref.columns},
        )
    for member in change.taken_out:
        where = {"cluster": member.cluster_id, **member.ref.columns}
        session.execute(text(_PUT_BACK), {"display_order": member.display_order, **where})
        session.execute(text(_FORGET), where)
    _tell(session, {member.cluster_id for member in (*change.added, *change.taken_out)})


def _take_out(
    session: Session, persona_id: int, refs: Sequence[PictureRef], clusters: Sequence[int]
) -> tuple[Membership, ...]:
    values = {"persona": persona_id, "clusters": list(clusters), **_arrays(refs)}
    gone = _memberships(session, _TAKE_OUT, values)
    _tell(session, {member.cluster_id for member in gone})
    return gone


def _memberships(session: Session, statement: str, values: dict[str, Any]) -> tuple[Membership, ...]:
    rows = session.execute(text(statement), values)
    return tuple(Membership(PictureRef(row[0], row[1]), row[2], row[3]) for row in rows)


def _tell(session: Session, clusters: set[int]) -> None:
    events.emit_all(session, [("cluster", cluster) for cluster in sorted(clusters)])


def _arrays(refs: Sequence[PictureRef]) -> dict[str, list[int | None]]:
    return {"photos": [ref.photo_id for ref in refs], "candidates": [ref.candidate_id for ref in refs]}


def _cluster(session: Session, cluster_id: int) -> Cluster:
    cluster = session.get(Cluster, cluster_id)
    if cluster is None:
        raise UnknownName(f"There is no cluster {cluster_id}.")
    return cluster
