"""Search: by words, by a picture, by what performed best, by filters, and all of these together."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.services.jobs import Pool, SessionScope
from persona_tui.services.library import embeddings
from persona_tui.services.library.building import Vectors
from persona_tui.services.library.diversity import farthest_first
from persona_tui.services.library.embedding_lack import not_comparable
from persona_tui.services.library.neighbours import Neighbour, nearest
from persona_tui.services.library.pictures import (
    NO_FILTERS,
    LibraryPicture,
    Order,
    PictureFilters,
    PictureRef,
    list_pictures,
    read_pictures,
)
from persona_tui.services.library.space import vectors_of
from persona_tui.settings import Settings

FARTHEST = 1_000
"""Pictures that can be paged through; who looks further narrows the search."""
DRAWN = 500
"""Nearest pictures that a diverse order is chosen from."""
BEST = 5
"""Pictures that performed best, whose likes are looked for."""


@dataclass(frozen=True)
class Query:
    """What is looked for; the parts that are set hold together.

    Attributes:
        words: what is to be seen, in the language of the embedding model; needs one that knows words.
        like: a picture to resemble.
        best: resemble what performed best.
        diverse: each picture as different as can be from those before it.
        order: of a search by filters alone.
    """

    words: str = ""
    like: PictureRef | None = None
    best: bool = False
    filters: PictureFilters = NO_FILTERS
    diverse: bool = False
    order: Order = "newest"


@dataclass(frozen=True)
class Found:
    """A picture that was found.

    Attributes:
        similarity: cosine, 1 for the same picture; None where nothing was compared.
        resembles: of a search for what performed best: which of those it is like.
    """

    picture: LibraryPicture
    similarity: float | None = None
    resembles: PictureRef | None = None


@dataclass(frozen=True)
class SearchPage:
    """Some of what was found.

    Attributes:
        next_offset: where the next page begins; None after the last one.
        basis: of a search for what performed best: `insights` or `ratings`.
    """

    found: tuple[Found, ...]
    next_offset: int | None
    basis: str = ""


_BY_INSIGHTS = """
WITH latest AS (
  SELECT DISTINCT ON (i.post_id, i.metric) i.post_id, i.metric, i.value
  FROM post_insights i JOIN scheduling_posts p ON p.id = i.post_id
  WHERE p.persona_id = :persona AND p.state = 'published' ORDER BY i.post_id, i.metric, i.read_at DESC
), worth AS (
  SELECT post_id, sum(value * CASE metric WHEN 'saved' THEN 4 WHEN 'saves' THEN 4 WHEN 'shares' THEN 3
                                          WHEN 'comments' THEN 2 WHEN 'likes' THEN 1 ELSE 0 END) AS worth
  FROM latest GROUP BY post_id
)
SELECT i.photo_id, i.image_candidate_id FROM worth w JOIN post_items i ON i.post_id = w.post_id
WHERE w.worth > 0 AND i.position = 1 ORDER BY w.worth DESC, i.post_id LIMIT :limit
"""
"""Saves count most, then shares, comments and likes; the first picture stands for a post."""
_BY_RATINGS = """
SELECT NULL, c.id FROM image_candidates c
WHERE c.persona_id = :persona AND c.status = 'active' AND (c.elo_score > 1000 OR c.winner)
ORDER BY c.elo_score DESC, c.winner DESC, c.id LIMIT :limit
"""


async def search(
    scope: SessionScope,
    pool: Pool,
    settings: Settings,
    persona_id: int,
    query: Query,
    *,
    limit: int = 50,
    offset: int = 0,
) -> SearchPage:
    """Find a persona's pictures.

    Args:
        pool: the child that holds the embedding model; used for words only.
        limit, offset: which of them, the first 1,000 at most.

    Raises:
        NotAllowedNow: words without a model that knows them, a picture without a vector, or nothing that
            performed yet.
        InvalidRequest: a page beyond the first 1,000.
    """
    if limit < 1 or offset < 0 or offset + limit > FARTHEST:
        raise InvalidRequest(
            f"Only the first {FARTHEST:,} pictures can be paged through.", hint="Narrow the search."
        )
    words = query.words.strip()
    said = await embeddings.text_vector(pool, settings, words) if words else None
    model = await to_thread(embeddings.current_model, settings)

    def find() -> SearchPage:
        with scope() as session:
            return find_pictures(session, persona_id, model.hash, query, said, limit=limit, offset=offset)

    return await to_thread(find)


def find_pictures(
    session: Session,
    persona_id: int,
    model_hash: str,
    query: Query,
    said: Sequence[float] | Vectors | None = None,
    *,
    limit: int,
    offset: int = 0,
) -> SearchPage:
    """As `search`, with the words as a vector already."""
    wanted = offset + limit + 1
    drawn = max(wanted, DRAWN) if query.diverse else wanted
    basis = ""
    resembles: dict[PictureRef, PictureRef] = {}
    if query.best:
        best, basis = best_pictures(session, persona_id)
        near, resembles = _like_any(session, persona_id, model_hash, query, best, drawn)
    elif said is not None or query.like is not None:
        near = _like_one(session, persona_id, model_hash, query, said, drawn)
    else:
        page = list_pictures(session, persona_id, query.filters, order=query.order, limit=min(drawn, 1000))
        near = [Neighbour(picture.ref, 0.0) for picture in page.pictures]
    if query.diverse:
        near = _diverse(session, near, model_hash, wanted)
    compared = query.best or said is not None or query.like is not None
    shown = near[offset : offset + limit]
    pictures = {one.ref: one for one in read_pictures(session, [one.ref for one in shown])}
    found = tuple(
        Found(pictures[one.ref], 1 - one.distance if compared else None, resembles.get(one.ref))
        for one in shown
        if one.ref in pictures
    )
    more = len(near) > offset + limit and offset + limit < FARTHEST
    return SearchPage(found, offset + limit if more else None, basis)


def best_pictures(session: Session, persona_id: int) -> tuple[tuple[PictureRef, ...], str]:
    """The pictures that performed best: by insights of published posts, else by votes.

    Returns:
        The pictures, the best first, and `insights` or `ratings`.

    Raises:
        NotAllowedNow: nothing was published or voted on yet.
    """
    for basis, statement in (("insights", _BY_INSIGHTS), ("ratings", _BY_RATINGS)):
        rows = session.execute(text(statement), {"persona": persona_id, "limit": BEST}).all()
        if rows:
            return tuple(PictureRef(*row) for row in rows), basis
    raise NotAllowedNow(
        "Nothing has performed yet: no post has insights and no picture was voted on.",
        hint="Vote on some pictures first.",
    )


def _like_one(
    session: Session,
    persona_id: int,
    model_hash: str,
    query: Query,
    said: Sequence[float] | Vectors | None,
    count: int,
) -> list[Neighbour]:
    parts = [] if said is None else [np.asarray(said, dtype=np.float32)]
    if query.like is not None:
        parts.append(_vector_of(session, query.like, model_hash))
    vector = np.sum(parts, axis=0)
    vector /= max(float(np.linalg.norm(vector)), 1e-12)
    found = nearest(
        session,
        persona_id,
        model_hash,
        vector.tolist(),
        query.filters,
        limit=count + (query.like is not None),
        among=said is None,
    )
    return [one for one in found if one.ref != query.like][:count]


def _like_any(
    session: Session,
    persona_id: int,
    model_hash: str,
    query: Query,
    best: Sequence[PictureRef],
    count: int,
) -> tuple[list[Neighbour], dict[PictureRef, PictureRef]]:
    """Pictures by their distance to the nearest of the best ones, without these."""
    space = vectors_of(session, best, model_hash)
    if not space.refs:
        raise not_comparable(session, read_pictures(session, best[:1])[0], model_hash)
    closest: dict[PictureRef, tuple[float, PictureRef]] = {}
    for ref, vector in zip(space.refs, space.vectors, strict=True):
        found = nearest(
            session, persona_id, model_hash, vector.tolist(), query.filters, limit=count + len(best)
        )
        for one in found:
            if one.ref not in best and one.distance < closest.get(one.ref, (3.0, ref))[0]:
                closest[one.ref] = (one.distance, ref)
    ordered = sorted(closest.items(), key=lambda item: item[1][0])[:count]
    return [Neighbour(ref, far) for ref, (far, _) in ordered], {ref: seed for ref, (_, seed) in ordered}


def _diverse(session: Session, near: list[Neighbour], model_hash: str, count: int) -> list[Neighbour]:
    space = vectors_of(session, [one.ref for one in near], model_hash)
    by_ref = {one.ref: one for one in near}
    return [by_ref[space.refs[row]] for row in farthest_first(space.vectors, count)]


def _vector_of(session: Session, ref: PictureRef, model_hash: str) -> Vectors:
    space = vectors_of(session, [ref], model_hash)
    if not space.refs:
        known = read_pictures(session, [ref])
        if not known:
            raise UnknownName(f"There is no {ref}.")
        raise not_comparable(session, known[0], model_hash)
    vector: Vectors = space.vectors[0]
    return vector
