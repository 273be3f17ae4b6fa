"""What the work pool's children run: imports pictures alone, no database and no network."""

from __future__ import annotations

from persona_tui.services.publishing.prepare import PreparedPicture, prepare_feed_picture
from persona_tui.services.safety.disclosure import Provenance


def prepare(source: bytes, provenance: Provenance) -> PreparedPicture:
    """`prepare_feed_picture`, whose arguments the pool passes by place."""
    return prepare_feed_picture(source, provenance=provenance)
