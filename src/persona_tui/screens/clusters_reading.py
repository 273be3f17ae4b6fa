"""What the library's screen reads: shelves (clusters, and all photos) and the pictures on one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.widgets.data_list import Cell
from persona_tui.widgets.marks import dim, stock_dot

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.library.clusters import ClusterPicture, ClusterView
    from persona_tui.services.library.photos import PhotoView

LIMIT = 2000
ALL_PHOTOS = 0
"""Key of the shelf that holds every imported photo."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A cluster, or (without one) all photos of the persona."""

    cluster: ClusterView | None

    @property
    def key(self) -> int:
        """Identity: the cluster's id."""
        return self.cluster.id if self.cluster is not None else ALL_PHOTOS

    @property
    def name(self) -> str:
        """What it is called."""
        return self.cluster.name if self.cluster is not None else "All photos"


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture on a shelf.

    Attributes:
        key: identity on its shelf.
        posted: a live post holds it; None: not known here.
    """

    key: int
    photo_id: int | None
    candidate_id: int | None
    media_key: str
    sha256: str
    width: int
    height: int
    posted: bool | None
    label: str


def load_shelves(session: Session, persona_id: int) -> tuple[Shelf, ...]:
    """The persona's clusters by name, then all photos if there are any."""
    from persona_tui.services.library.clusters import list_clusters
    from persona_tui.services.library.photos import list_photos

    shelves = tuple(Shelf(cluster) for cluster in list_clusters(session, persona_id))
    return (*shelves, Shelf(None)) if list_photos(session, persona_id, limit=1) else shelves


def load_shots(session: Session, persona_id: int, shelf_key: int) -> tuple[Shot, ...]:
    """The pictures of a shelf in their order."""
    from persona_tui.services.library.clusters import cluster_pictures
    from persona_tui.services.library.photos import list_photos

    if shelf_key == ALL_PHOTOS:
        return tuple(_of_photo(photo) for photo in list_photos(session, persona_id, limit=LIMIT))
    return tuple(_of_picture(picture) for picture in cluster_pictures(session, shelf_key, limit=LIMIT))


def _of_picture(picture: ClusterPicture) -> Shot:
    return Shot(
        picture.membership_id,
        picture.photo_id,
        picture.candidate_id,
        picture.media_key,
        picture.sha256,
        picture.width,
        picture.height,
        picture.posted,
        picture.label,
    )


def _of_photo(photo: PhotoView) -> Shot:
    size = (photo.width, photo.height)
    name = photo.original_name
    return Shot(photo.id, photo.id, None, photo.media_key, photo.sha256, *size, None, name)


def shelf_row(shelf: Shelf) -> list[Cell]:
    """A shelf's cells: stock, name, pillar, unposted of all."""
    cluster = shelf.cluster
    if cluster is None:
        return ["📷", Content.styled(shelf.name, "italic"), "", ""]
    pillar = cluster.pillar or dim("no pillar")
    count = Content.assemble(str(cluster.unposted), (f"/{cluster.pictures}", "$dim"))
    return [stock_dot(cluster.unposted), cluster.name, pillar, count]


def shot_row(shot: Shot) -> list[Cell]:
    """A picture's cells: its name, whether it was posted, its size."""
    return [shot.label, posted_mark(shot), dim(f"{shot.width}×{shot.height}")]


def posted_mark(shot: Shot) -> Content:
    """Whether a picture was posted, in icon and word."""
    if shot.posted is None:
        return dim("photo")
    return Content.styled("✅ posted", "$success") if shot.posted else Content.styled("○ unposted", "$info")


def tile_words(shot: Shot) -> Content:
    """What stands below a thumbnail."""
    return posted_mark(shot) + Content(" ") + dim(shot.label)
