"""New pictures join the cluster that they belong to; where that is not sure, the operator looks at them."""

from __future__ import annotations

from asyncio import to_thread
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import NotAllowedNow, UnknownName
from persona_tui.services import events, jobs
from persona_tui.services.jobs import Pool, SessionScope
from persona_tui.services.library.building import Centres, Placing, Placings, place_pictures
from persona_tui.services.library.membership import Change, add_pictures
from persona_tui.services.library.picture_filters import PictureFilters
from persona_tui.services.library.pictures import LibraryPicture, PictureRef, read_pictures
from persona_tui.services.library.space import Space, read_centres, read_space

UNCLUSTERED = PictureFilters(unclustered=True)


@dataclass(frozen=True)
class Assigned:
    """How pictures without a cluster fared.

    Attributes:
        joined: they belong to a cluster beyond doubt.
        to_review: they may; a review is open.
        apart: they are like no cluster.
    """

    joined: int
    to_review: int
    apart: int


@dataclass(frozen=True)
class ReviewView:
    """A picture that may belong to a cluster.

    Attributes:
        distance: to the cluster's centre, cosine, 0 to 2.
        other_id, other, other_distance: the next nearest cluster; None where there is none.
    """

    id: int
    picture: LibraryPicture
    cluster_id: int
    cluster: str
    distance: float
    other_id: int | None
    other: str | None
    other_distance: float | None


_FREE = """
SELECT p.id AS photo_id, CAST(NULL AS bigint) AS image_candidate_id FROM photos p
WHERE p.persona_id = :persona AND NOT EXISTS (SELECT FROM cluster_candidates m WHERE m.photo_id = p.id)
UNION ALL
SELECT NULL, c.id FROM image_candidates c
WHERE c.persona_id = :persona AND NOT EXISTS
  (SELECT FROM cluster_candidates m WHERE m.image_candidate_id = c.id)
"""
_DECIDED = """
SELECT photo_id, image_candidate_id, cluster_id, state FROM cluster_reviews
WHERE persona_id = :persona AND state IN ('open', 'dismissed')
"""
_REVIEW = """
INSERT INTO cluster_reviews (persona_id, photo_id, image_candidate_id, cluster_id, distance, runner_up)
VALUES (:persona, :photo_id, :image_candidate_id, :cluster, :distance,
        CASE WHEN CAST(:other AS bigint) IS NULL THEN '{}'::jsonb
        ELSE jsonb_build_object('cluster_id', CAST(:other AS bigint), 'distance', CAST(:beyond AS float8))
        END)
ON CONFLICT DO NOTHING
"""
_REVIEWS = """
SELECT w.id, w.photo_id, w.image_candidate_id, w.cluster_id, k.name, w.distance, o.id, o.name,
       CAST(w.runner_up ->> 'distance' AS float8)
FROM cluster_reviews w JOIN clusters k ON k.id = w.cluster_id
LEFT JOIN clusters o ON o.id = CAST(w.runner_up ->> 'cluster_id' AS bigint)
WHERE w.persona_id = :persona AND w.state = 'open'
  AND (CAST(:cluster AS bigint) IS NULL OR w.cluster_id = :cluster) AND w.id > :after
ORDER BY w.id LIMIT :limit
"""


def request_assignment(session: Session, persona_id: int) -> int | None:
    """Queue an assignment of new pictures in the background.

    Returns:
        The job's id; None where one waits already.
    """
    once = f"assign_clusters {persona_id}"
    return jobs.defer(session, "library:assign_clusters", once=once, persona_id=persona_id)


async def assign_new(scope: SessionScope, pool: Pool, persona_id: int, model_hash: str) -> Assigned:
    """Assign a persona's pictures that lie in no cluster, by their distance to the clusters' centres.

    Run again it changes nothing. What the operator took out of a cluster, or dismissed for it, is not put
    there. Clusters that are marked unusable take none.

    Args:
        model_hash: of the vectors that count.
    """

    def read() -> tuple[Space, Centres]:
        with scope() as session:
            return read_space(session, persona_id, model_hash, UNCLUSTERED), read_centres(
                session, persona_id, model_hash
            )

    space, known = await to_thread(read)
    if not space.refs or not known.ids:
        return Assigned(0, 0, len(space.refs))
    placed: Placings = await pool.run(place_pictures, await to_thread(space.short), known)

    def store() -> Assigned:
        with scope() as session:
            return _store(session, persona_id, list(zip(space.refs, placed.each(), strict=True)))

    return await to_thread(store)


def list_reviews(
    session: Session, persona_id: int, *, cluster_id: int | None = None, limit: int = 50, after: int = 0
) -> tuple[ReviewView, ...]:
    """Reviews that are open, the oldest first.

    Args:
        cluster_id: those for one cluster only.
        after: the id of the last one seen.
    """
    values = {"persona": persona_id, "cluster": cluster_id, "limit": limit, "after": after}
    rows = session.execute(text(_REVIEWS), values).all()
    pictures = {one.ref: one for one in read_pictures(session, [PictureRef(row[1], row[2]) for row in rows])}
    return tuple(ReviewView(row[0], pictures[PictureRef(row[1], row[2])], *row[3:]) for row in rows)


def take_review(session: Session, review_id: int, *, into: int | None = None) -> Change:
    """Put the picture into the cluster that was proposed, or into another one.

    Raises:
        UnknownName: no such review or cluster.
        NotAllowedNow: it was decided already.
    """
    review = _open(session, review_id)
    return add_pictures(
        session, into or review.cluster_id, [PictureRef(review.photo_id, review.image_candidate_id)]
    )


def persona_of_review(session: Session, review_id: int) -> int:
    """Whose review it is.

    Raises:
        UnknownName, NotAllowedNow: as `take_review`.
    """
    return int(_open(session, review_id).persona_id)


def dismiss_review(session: Session, review_id: int) -> None:
    """Say that the picture does not belong to the cluster; it is not proposed for it again.

    Raises:
        UnknownName, NotAllowedNow: as `take_review`.
    """
    review = _open(session, review_id)
    session.execute(text("UPDATE cluster_reviews SET state = 'dismissed' WHERE id = :id"), {"id": review_id})
    events.emit(session, "cluster", review.cluster_id)


def lock_clusters(session: Session, persona_id: int) -> None:
    """Let builds and assignments of one persona store one after the other; until the transaction ends."""
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' clusters of ' || :id, 0))"),
        {"id": str(persona_id)},
    )


def still_unclustered(session: Session, persona_id: int) -> set[PictureRef]:
    """Pictures that count and lie in no cluster."""
    return {PictureRef(*row) for row in rows_of(session, _FREE, {"persona": persona_id}, binary=True)}


def _store(session: Session, persona_id: int, placed: Sequence[tuple[PictureRef, Placing]]) -> Assigned:
    lock_clusters(session, persona_id)
    free = still_unclustered(session, persona_id)
    decided = rows_of(session, _DECIDED, {"persona": persona_id})
    refused = {(PictureRef(row[0], row[1]), row[2]) for row in decided if row[3] == "dismissed"}
    asked = {PictureRef(row[0], row[1]) for row in decided if row[3] == "open"}
    joining: dict[int, list[PictureRef]] = defaultdict(list)
    reviews = []
    for ref, placing in placed:
        if ref not in free or (ref, placing.nearest) in refused:
            continue
        if placing.sure:
            joining[placing.nearest].append(ref)
        elif placing.near and ref not in asked:
            reviews.append(_review(persona_id, ref, placing))
    for cluster_id, refs in joining.items():
        add_pictures(session, cluster_id, refs, by="assigned")
    if reviews:
        session.execute(text(_REVIEW), reviews)
        events.emit_all(session, [("cluster", cluster) for cluster in {row["cluster"] for row in reviews}])
    joined = sum(map(len, joining.values()))
    return Assigned(joined, len(reviews), len(placed) - joined - len(reviews))


def _review(persona_id: int, ref: PictureRef, placing: Placing) -> dict[str, Any]:
    return {
        "persona": persona_id,
        **ref.columns,
        "cluster": placing.nearest,
        "distance": placing.distance,
        "other": placing.next_nearest,
        "beyond": placing.next_distance,
    }


def _open(session: Session, review_id: int) -> Any:
    row = session.execute(
        text(
            "SELECT persona_id, photo_id, image_candidate_id, cluster_id, state FROM cluster_reviews"
            " WHERE id = :id FOR UPDATE"
        ),
        {"id": review_id},
    ).one_or_none()
    if row is None:
        raise UnknownName(
            f"There is no review {review_id}.", hint="`persona-tui cluster review PERSONA` shows them."
        )
    if row.state != "open":
        raise NotAllowedNow(f"That review was {row.state} already.", hint="Move the picture by hand.")
    return row
