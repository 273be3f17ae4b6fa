"""A persona's pictures, photos and candidates alike: one reading for screens, clusters and strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest
from persona_tui.services.library.picture_filters import (
    Conditions,
    Kind,
    PictureFilters,
    Stage,
    conditions_of,
)

Order = Literal["newest", "oldest", "taken", "rating", "cluster"]
"""`rating` puts photos last, `cluster` is the operator's own order and needs a cluster among the filters."""

NO_FILTERS = PictureFilters()


@dataclass(frozen=True)
class PictureRef:
    """Which picture: exactly one of the two is set."""

    photo_id: int | None = None
    candidate_id: int | None = None

    def __post_init__(self) -> None:
        if (self.photo_id is None) == (self.candidate_id is None):
            raise InvalidRequest("A picture is either a photo or a candidate.")

    def __str__(self) -> str:
        return f"photo {self.photo_id}" if self.photo_id is not None else f"candidate {self.candidate_id}"

    @property
    def columns(self) -> dict[str, int | None]:
        """As the tables name it."""
        return {"photo_id": self.photo_id, "image_candidate_id": self.candidate_id}


@dataclass(frozen=True)
class LibraryPicture:
    """A picture as it is shown.

    Attributes:
        media_key, sha256: of what is shown of it, a video's poster; for `MediaStore.thumbnail`.
        kind: a photo (`still`), a film, or made by a run.
        label: the photo's file name, or the run's name with the candidate's number.
        posted: a live post holds it.
        rating: of a candidate, 1000 being the middle; photos have none.
        stage: `accepted` ones count.
        caption: the operator's, else what the vision model said.
        taken_at: by the camera's clock.
        cluster_ids: where it lies, in the order in which it came there.
    """

    ref: PictureRef
    persona_id: int
    media_key: str
    sha256: str
    width: int
    height: int
    kind: Kind
    label: str
    posted: bool
    rating: int | None
    flagged: bool
    stage: Stage
    caption: str
    taken_at: datetime | None
    created_at: datetime
    cluster_ids: tuple[int, ...]


@dataclass(frozen=True)
class Mark:
    """Where a page ends: the last picture and what it was ordered by."""

    key: datetime | int
    ref: PictureRef


@dataclass(frozen=True)
class Page:
    """Some pictures of a listing.

    Attributes:
        end: handed in for those after them; None where there are none.
        start: handed in for those before them; None where there are none.
    """

    pictures: tuple[LibraryPicture, ...]
    end: Mark | None
    start: Mark | None = None


_KEYS: dict[str, tuple[str, str, str, str]] = {
    "newest": ("p.created_at", "c.created_at", "DESC", "timestamptz"),
    "oldest": ("p.created_at", "c.created_at", "ASC", "timestamptz"),
    "taken": ("coalesce(p.taken_at, p.created_at)", "c.created_at", "DESC", "timestamptz"),
    "rating": ("0", "c.elo_score", "DESC", "bigint"),
    "cluster": ("m.display_order", "m.display_order", "ASC", "integer"),
}
"""By order: a photo's key, a candidate's, the direction, and the key's type."""
_MEMBERS = "cluster_candidates m ON m.cluster_id = :cluster_id AND"
_TABLES = {
    "cluster": (
        f"photos p JOIN {_MEMBERS} m.photo_id = p.id",
        f"image_candidates c JOIN {_MEMBERS} m.image_candidate_id = c.id",
    )
}
"""By order: the tables that its keys are of, where these are not a picture's own."""

_BRANCH = """
(SELECT {kind} AS generated, {row}.id, CAST({key} AS {type}) AS key FROM {table}
 WHERE {row}.persona_id = :persona AND {where} {after}
 ORDER BY CAST({key} AS {type}) {way}, {row}.id {way} LIMIT :limit)
"""

_FACTS = """
SELECT page.generated, page.id, page.key, coalesce(p.persona_id, c.persona_id),
       coalesce(p.poster_key, p.media_key, c.media_key), coalesce(p.poster_sha256, p.sha256, c.sha256),
       coalesce(p.width, c.width), coalesce(p.height, c.height), coalesce(p.kind, 'generated'),
       coalesce(p.original_name, r.name || ' #' || c.id),
       EXISTS (SELECT FROM post_items h WHERE h.holds AND h.photo_id = p.id)
         OR EXISTS (SELECT FROM post_items h WHERE h.holds AND h.image_candidate_id = c.id),
       c.elo_score, coalesce(p.flagged, c.flagged),
       CASE WHEN p.deleted_at IS NOT NULL THEN 'deleted' WHEN c.status = 'active' THEN 'accepted'
            ELSE coalesce(p.stage, c.status) END,
       coalesce(nullif(p.caption, ''), a.caption, ''), p.taken_at, coalesce(p.created_at, c.created_at),
       ARRAY(SELECT m.cluster_id FROM cluster_candidates m
             WHERE m.photo_id = p.id OR m.image_candidate_id = c.id ORDER BY m.id)
FROM page
LEFT JOIN photos p ON NOT page.generated AND p.id = page.id
LEFT JOIN image_candidates c ON page.generated AND c.id = page.id
LEFT JOIN pipeline_runs r ON r.id = c.run_id
LEFT JOIN picture_analyses a ON a.photo_id = p.id OR a.image_candidate_id = c.id
WHERE coalesce(p.id, c.id) IS NOT NULL
"""

_READ = f"""
WITH page AS (
  SELECT g.candidate IS NOT NULL AS generated, coalesce(g.photo, g.candidate) AS id, g.place AS key
  FROM unnest(CAST(:photos AS bigint[]), CAST(:candidates AS bigint[]))
    WITH ORDINALITY AS g(photo, candidate, place)
) {_FACTS} ORDER BY page.key
"""


def list_pictures(
    session: Session,
    persona_id: int,
    filters: PictureFilters = NO_FILTERS,
    *,
    order: Order = "newest",
    limit: int = 100,
    after: Mark | None = None,
    backwards: bool = False,
) -> Page:
    """One page of a persona's pictures.

    A later page costs no more than the first. What is added meanwhile shifts nothing.

    Args:
        limit: pictures at most, 1 to 1,000.
        after: the `end` of the page before, of the same filters and order; None begins at the first.
        backwards: the page before, and then `after` is the `start` of the page behind it; None begins at
            the last. The pictures come in the order's own direction all the same.

    Raises:
        InvalidRequest: an order that there is not, or `cluster` without a cluster; a limit out of range.
    """
    if order not in _KEYS or (order == "cluster" and filters.cluster_id is None):
        raise InvalidRequest(f"Pictures can't be ordered by {order!r} here.", hint="Use newest or rating.")
    if not 1 <= limit <= 1000:
        raise InvalidRequest(f"{limit} pictures are no page.", hint="Ask for 1 to 1,000.")
    values: dict[str, Any] = {"persona": persona_id, "limit": limit + 1}
    if order == "cluster":  # its tables are the cluster's own; asked for twice, the planner may scan them all
        values["cluster_id"], filters = filters.cluster_id, replace(filters, cluster_id=None)
    conditions = conditions_of(filters)
    values |= conditions.values
    if after is not None:
        values |= {"key": after.key, "id": after.ref.photo_id or after.ref.candidate_id}
    rows = session.execute(text(_page(conditions, order, after, backwards)), values).all()
    pictures = tuple(_picture(row) for row in rows[:limit])
    beyond = Mark(rows[limit - 1][2], pictures[-1].ref) if len(rows) > limit else None
    behind = Mark(rows[0][2], pictures[0].ref) if rows and after is not None else None
    return Page(pictures[::-1], behind, beyond) if backwards else Page(pictures, beyond, behind)


def count_pictures(session: Session, persona_id: int, filters: PictureFilters = NO_FILTERS) -> int:
    """How many pictures the filters let through."""
    conditions = conditions_of(filters)
    statement = (
        f"SELECT (SELECT count(*) FROM photos p WHERE p.persona_id = :persona AND {conditions.photo})"
        f" + (SELECT count(*) FROM image_candidates c"
        f" WHERE c.persona_id = :persona AND {conditions.candidate})"
    )
    found = session.execute(text(statement), {"persona": persona_id, **conditions.values}).scalar_one()
    return int(found)


def read_pictures(session: Session, refs: Sequence[PictureRef]) -> tuple[LibraryPicture, ...]:
    """These pictures in this order, whatever their stage; those that are gone are left out."""
    values = {"photos": [ref.photo_id for ref in refs], "candidates": [ref.candidate_id for ref in refs]}
    return tuple(_picture(row) for row in session.execute(text(_READ), values))


def _page(conditions: Conditions, order: Order, after: Mark | None, backwards: bool) -> str:
    photo_key, candidate_key, way, kind = _KEYS[order]
    tables = _TABLES.get(order, ("photos p", "image_candidates c"))
    if backwards:
        way = "ASC" if way == "DESC" else "DESC"
    second = "DESC" if backwards else "ASC"
    branches = [
        _BRANCH.format(
            kind=generated,
            row=row,
            table=table,
            key=key,
            type=kind,
            way=way,
            where=where,
            after=_after(after, f"CAST({key} AS {kind})", row, generated, way, backwards),
        )
        for generated, row, table, key, where in (
            (False, "p", tables[0], photo_key, conditions.photo),
            (True, "c", tables[1], candidate_key, conditions.candidate),
        )
    ]
    # Photos come before candidates of the same key; within one kind the id decides, in the key's direction.
    ordered = f"key {way}, generated {second}, id {way}"
    union = f"{branches[0]} UNION ALL {branches[1]} ORDER BY {ordered} LIMIT :limit"
    return f"WITH page AS ({union}) {_FACTS} ORDER BY page.key {way}, page.generated {second}, page.id {way}"


def _after(after: Mark | None, key: str, row: str, generated: bool, way: str, backwards: bool) -> str:
    if after is None:
        return ""
    beyond = "<" if way == "DESC" else ">"
    marked = after.ref.candidate_id is not None
    if generated == marked:
        return f"AND ({key}, {row}.id) {beyond} (:key, :id)"
    return f"AND {key} {beyond}{'=' if generated is not backwards else ''} :key"


def _picture(row: Any) -> LibraryPicture:
    generated, identifier = row[0], row[1]
    ref = PictureRef(candidate_id=identifier) if generated else PictureRef(photo_id=identifier)
    facts: list[Any] = [*row[3:17], tuple(row[17])]
    return LibraryPicture(ref, *facts)


__all__ = [
    "Kind",
    "LibraryPicture",
    "Mark",
    "Order",
    "Page",
    "PictureFilters",
    "PictureRef",
    "Stage",
    "count_pictures",
    "list_pictures",
    "read_pictures",
]
