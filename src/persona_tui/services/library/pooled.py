"""What children do for the library beside measuring and embedding; no database and no network."""

from __future__ import annotations

from persona_tui.gpu.faces import Detector, Faces, find_faces
from persona_tui.gpu.pictures import Source
from persona_tui.services.decoding import decode

LONGEST_SIDE = 4096
"""Larger originals are made smaller before faces are looked for."""


def find_faces_in(source: Source, detector: Detector) -> Faces:
    """Faces of an encoded picture.

    Raises:
        Unreadable: it can't be decoded.
        OSError: it is gone.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    return find_faces(decode(data, LONGEST_SIDE)[1], detector)
