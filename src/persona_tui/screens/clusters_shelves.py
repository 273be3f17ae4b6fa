"""Pictures that are looked for: unsure ones, near-duplicates, and what is like a picture or like words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from persona_tui.screens.clusters_filter import Chips

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.jobs import Pool
    from persona_tui.services.library.pictures import LibraryPicture, Mark, Page, PictureRef
    from persona_tui.services.library.search import Query, SearchPage

MOST = 240
"""Pictures that one search shows."""


@dataclass(frozen=True)
class Findings:
    """A few pictures that were looked for, as a listing of one page.

    Attributes:
        notes: a word or two on each.
        reviews: of unsure ones: the review's id.
    """

    refs: tuple[PictureRef, ...] = ()
    notes: Mapping[PictureRef, str] = field(default_factory=dict)
    reviews: Mapping[PictureRef, int] = field(default_factory=dict)

    def page(self, session: Session, after: Mark | None, backwards: bool) -> Page:
        """All of them as they are now."""
        from persona_tui.services.library.pictures import Page, read_pictures

        return Page(read_pictures(session, self.refs) if self.refs else (), None)


def unsure(session: Session, persona_id: int) -> Findings:
    """Pictures that may belong to a cluster; the note says to which."""
    from persona_tui.services.library.assigning import list_reviews

    found = list_reviews(session, persona_id, limit=MOST)
    return Findings(
        tuple(one.picture.ref for one in found),
        {one.picture.ref: f"→ {one.cluster}?" for one in found},
        {one.picture.ref: one.id for one in found},
    )


def near(session: Session, persona_id: int) -> Findings:
    """Photos that look alike, those of one group side by side."""
    from persona_tui.services.library.near import near_pairs
    from persona_tui.services.library.pictures import PictureRef

    leaders: dict[int, int] = {}
    for pair in near_pairs(session, persona_id):
        one, other = (_leader(leaders, each) for each in (pair.photo_id, pair.other_id))
        leaders[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for photo_id in sorted({*leaders, *leaders.values()}):
        groups.setdefault(_leader(leaders, photo_id), []).append(photo_id)
    notes = {
        PictureRef(photo_id): f"≈ {place} of {len(members)} alike"
        for members in groups.values()
        for place, photo_id in enumerate(members, start=1)
    }
    shown = dict(list(notes.items())[:MOST])
    return Findings(tuple(shown), shown)


def _leader(leaders: Mapping[int, int], photo_id: int) -> int:
    """The lowest photo of the group in which one lies."""
    while (found := leaders.get(photo_id, photo_id)) != photo_id:
        photo_id = found
    return photo_id


async def like(screen: PersonaScreen, persona_id: int, picture: LibraryPicture, chips: Chips) -> Findings:
    """The pictures that look most like one, itself first.

    Raises:
        NotAllowedNow: it was not looked at yet.
    """
    from persona_tui.services.library.search import Query

    query = Query(like=picture.ref, filters=chips.filters({}))
    return _told(await _find(screen, persona_id, query), first=picture.ref)


async def like_the_best(screen: PersonaScreen, persona_id: int) -> Findings:
    """What was not posted yet and looks like what performed best.

    Raises:
        NotAllowedNow: nothing was published or voted on yet.
    """
    from persona_tui.services.library.pictures import PictureFilters
    from persona_tui.services.library.search import Query

    query = Query(best=True, filters=PictureFilters(posted=False))
    return _told(await _find(screen, persona_id, query))


async def shows(screen: PersonaScreen, pool: Pool, persona_id: int, words: str, chips: Chips) -> Findings:
    """The pictures that show most of what the words say.

    Raises:
        NotAllowedNow: no model that knows words is here; the hint says which file to fetch.
    """
    from persona_tui.services.library.search import Query, search

    core = screen.shell.core
    query = Query(words=words, filters=chips.filters({}))
    scope, settings = screen.shell.database.session_scope, core.resources.settings
    return _told(await search(scope, pool, settings, persona_id, query, limit=MOST))


async def _find(screen: PersonaScreen, persona_id: int, query: Query) -> SearchPage:
    from persona_tui.services.library.embeddings import current_model
    from persona_tui.services.library.search import find_pictures

    settings = screen.shell.core.resources.settings

    def find(session: Session) -> SearchPage:
        return find_pictures(session, persona_id, current_model(settings).hash, query, limit=MOST)

    return await screen.read(find)


def _told(page: SearchPage, first: PictureRef | None = None) -> Findings:
    refs: Sequence[PictureRef] = [one.picture.ref for one in page.found]
    notes = {
        one.picture.ref: f"{round(100 * one.similarity)} % alike"
        for one in page.found
        if one.similarity is not None
    }
    if first is not None:
        refs = [first, *(ref for ref in refs if ref != first)]
        notes[first] = "this one"
    return Findings(tuple(refs), notes)
