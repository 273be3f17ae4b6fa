"""What the library's screen reads: the tree with its counts, and the pictures on a shelf."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from persona_tui.screens.clusters_reel import CHUNK
from persona_tui.screens.clusters_shelves import Findings, near, unsure
from persona_tui.screens.clusters_tree import Branch, Catalogue

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.clusters_filter import Chips
    from persona_tui.services.library.analyses import Overview
    from persona_tui.services.library.pictures import Mark, Order, Page, PictureFilters


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


NOTHING = Findings()


def load_catalogue(session: Session, persona_id: int) -> Catalogue:
    """The persona's clusters with their stock and how long it lasts, and its pillars."""
    from sqlalchemy import text

    from persona_tui.services.library.clusters import list_clusters
    from persona_tui.services.library.depletion import forecast
    from persona_tui.services.planning.pillars import list_pillars

    clusters = list_clusters(session, persona_id)
    now = session.execute(text("SELECT persona_now()")).scalar_one()
    outlooks = {one.cluster_id: one for one in forecast(session, persona_id, now, clusters)}
    return Catalogue(clusters, list_pillars(session, persona_id), forecasts=outlooks, read_at=now)


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


def count_near(session: Session, persona_id: int) -> int:
    """Photos that look like another one."""
    from persona_tui.services.library.near import near_pairs

    pairs = near_pairs(session, persona_id)
    return len({photo_id for pair in pairs for photo_id in (pair.photo_id, pair.other_id)})


def what_is_missing(session: Session, persona_id: int) -> Overview:
    """Analyses that are not done."""
    from persona_tui.services.library.analyses import overview

    return overview(session, persona_id)


def read_shelf(session: Session, persona_id: int, kind: str) -> Findings:
    """A shelf whose pictures are looked for all at once: `reviews` or `near`."""
    return (unsure if kind == "reviews" else near)(session, persona_id)


def source_of(persona_id: int, branch: Branch, chips: Chips) -> Listing | Findings:
    """The pictures of a shelf, a pillar or a cluster that the filters let through."""
    if branch.kind == "loose":
        return NOTHING
    asked: Mapping[str, Mapping[str, Any]] = {
        "unclustered": {"unclustered": True},
        "staged": {"stage": "staged"},
        "rejected": {"stage": "rejected"},
        "deleted": {"stage": "deleted"},
        "pillar": {"pillar_id": branch.key[1]},
        "cluster": {"cluster_id": branch.key[1]},
    }
    base = asked.get(branch.kind, {})
    own: Order = "cluster" if branch.kind == "cluster" else "newest"
    return Listing(persona_id, chips.filters(base), chips.order or own)
