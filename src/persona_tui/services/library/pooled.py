"""What children do for the library beside measuring and embedding; no database and no network."""

from __future__ import annotations

from collections.abc import Sequence

from persona_tui.gpu.faces import Detector, Faces, find_faces
from persona_tui.gpu.pictures import Source, Unreadable, batches


def find_faces_in(sources: Sequence[Source], detector: Detector) -> list[Faces | Unreadable]:
    """Faces of encoded pictures, in their order."""
    found: dict[int, Faces | Unreadable] = {}
    for batch in batches(sources, lambda picture: picture):
        found |= dict(batch.unreadable)
        found |= {
            place: find_faces(picture, detector)
            for place, picture in zip(batch.places, batch.prepared, strict=True)
        }
    return [found[place] for place in range(len(sources))]
