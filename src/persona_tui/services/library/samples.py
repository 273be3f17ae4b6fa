"""Some of a cluster's pictures as files in a folder, to be looked at or shown elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, StorageError
from persona_tui.services.library.clusters import get_cluster
from persona_tui.services.library.diversity import farthest_first
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.library.space import vectors_of
from persona_tui.services.media import MediaStore

How = Literal["copy", "link"]

_FILES = """
SELECT m.photo_id, m.image_candidate_id, coalesce(f.media_key, i.media_key), f.poster_key
FROM cluster_candidates m
LEFT JOIN photos f ON f.id = m.photo_id
LEFT JOIN image_candidates i ON i.id = m.image_candidate_id
WHERE m.cluster_id = :cluster AND coalesce(f.stage, 'accepted') = 'accepted' AND f.deleted_at IS NULL
  AND coalesce(i.status, 'active') = 'active'
ORDER BY m.display_order, m.id
"""


@dataclass(frozen=True)
class Sample:
    """A picture to be exported.

    Attributes:
        poster_key: of a film.
    """

    ref: PictureRef
    media_key: str
    poster_key: str | None


def choose_samples(session: Session, cluster_id: int, model_hash: str, count: int) -> tuple[Sample, ...]:
    """Pictures that show the breadth of a cluster: the first one, then each as different as can be.

    Those that are not embedded come last.

    Raises:
        UnknownName: no such cluster.
        InvalidRequest: none wanted, or the cluster is empty.
    """
    cluster = get_cluster(session, cluster_id)
    if count < 1 or not cluster.pictures:
        raise InvalidRequest(f"{cluster.name} has no pictures to export.", hint="Ask for one or more.")
    rows = session.execute(text(_FILES), {"cluster": cluster_id}).all()
    samples = {PictureRef(row[0], row[1]): Sample(PictureRef(row[0], row[1]), row[2], row[3]) for row in rows}
    space = vectors_of(session, list(samples), model_hash)
    chosen = [space.refs[row] for row in farthest_first(space.vectors, count)]
    chosen += [ref for ref in samples if ref not in set(chosen)]
    return tuple(samples[ref] for ref in chosen[:count])


def export_samples(
    samples: tuple[Sample, ...], media: MediaStore, folder: Path, how: How = "copy"
) -> tuple[Path, ...]:
    """Write samples into a folder, which is made; a film comes with its poster.

    A file that is there already is kept: names hold the picture's number.

    Args:
        how: `link` points to the stored files instead of copying them, where they lie on this machine.

    Raises:
        StorageError: the folder can't be written, or a picture is gone.
    """
    made = []
    for place, sample in enumerate(samples, start=1):
        for key, suffix in ((sample.media_key, ""), (sample.poster_key, " poster")):
            if key is not None:
                name = f"{place:03} {sample.ref}{suffix}{PurePosixPath(key).suffix}"
                made.append(_written(media, key, folder / name, how))
    return tuple(made)


def _written(media: MediaStore, key: str, path: Path, how: How) -> Path:
    local = media.path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return path
        if how == "link" and local is not None:
            path.symlink_to(local.resolve())
        else:
            path.write_bytes(media.get(key))
    except OSError as problem:
        raise StorageError(f"{path.parent} can't be written: {problem.strerror}.") from None
    return path
