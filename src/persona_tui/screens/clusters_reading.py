"""What the library's screen reads: the tree with its counts, and the pictures on a shelf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persona_tui.screens.clusters_reel import CHUNK
from persona_tui.screens.clusters_tree import Branch, Catalogue

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.clusters_filter import Chips
    from persona_tui.services.library.pictures import LibraryPicture, Mark, Order, Page, PictureFilters


@dataclass(frozen=True)
class Listing:
    """Pictures by filters, page by page from the database."""

    persona_id: int
    filters: PictureFilters
    order: Order

    def page(self, session: Session, after: Mark | None, backwards: bool) -> Page:
        """The next pictures behind a mark, or those before it."""
        from persona_tui.services.library.pictures import list_pictures

        return list_pictures(
            session,
            self.persona_id,
            self.filters,
            order=self.order,
            limit=CHUNK,
            after=after,
            backwards=backwards,
        )

    def count(self, session: Session) -> int:
        """How many there are in all."""
        from persona_tui.services.library.pictures import count_pictures

        return count_pictures(session, self.persona_id, self.filters)


@dataclass(frozen=True)
class Findings:
    """A few pictures that were looked for, all at once."""

    find: Callable[[Session], Sequence[LibraryPicture]]

    def page(self, session: Session, after: Mark | None, backwards: bool) -> Page:
        """All of them."""
        from persona_tui.services.library.pictures import Page

        return Page(tuple(self.find(session)), None)


NOTHING = Findings(lambda _session: ())


def load_catalogue(session: Session, persona_id: int) -> Catalogue:
    """The persona's clusters with their stock, and its pillars."""
    from persona_tui.services.library.clusters import list_clusters
    from persona_tui.services.planning.pillars import list_pillars

    return Catalogue(list_clusters(session, persona_id), list_pillars(session, persona_id))


def load_counts(session: Session, persona_id: int) -> dict[str, int]:
    """How many pictures each shelf holds."""
    from persona_tui.services.library.pictures import PictureFilters, count_pictures

    asked = {
        "all": PictureFilters(),
        "unclustered": PictureFilters(unclustered=True),
        "staged": PictureFilters(stage="staged"),
        "rejected": PictureFilters(stage="rejected"),
        "deleted": PictureFilters(stage="deleted"),
    }
    return {name: count_pictures(session, persona_id, filters) for name, filters in asked.items()}


def source_of(persona_id: int, branch: Branch, chips: Chips) -> Listing | Findings:
    """The pictures of a shelf, a pillar or a cluster that the filters let through."""
    if branch.kind == "loose":
        return NOTHING
    base = {
        "unclustered": {"unclustered": True},
        "staged": {"stage": "staged"},
        "rejected": {"stage": "rejected"},
        "deleted": {"stage": "deleted"},
        "pillar": {"pillar_id": branch.key[1]},
        "cluster": {"cluster_id": branch.key[1]},
    }.get(branch.kind, {})
    own: Order = "cluster" if branch.kind == "cluster" else "newest"
    return Listing(persona_id, chips.filters(base), chips.order or own)
