"""What the work pool's children run: imports pictures and films alone, no database and no network."""

from __future__ import annotations

from pathlib import Path

from persona_tui.services.publishing.film_rules import clean_film
from persona_tui.services.publishing.framing import FaceBox, Fit
from persona_tui.services.publishing.prepare import (
    PreparedPicture,
    prepare_feed_picture,
    prepare_story_picture,
)
from persona_tui.services.safety.disclosure import Provenance


def prepare(
    source: bytes,
    provenance: Provenance,
    aspect: float | None = None,
    fit: Fit = "crop",
    faces: tuple[FaceBox, ...] = (),
) -> PreparedPicture:
    """`prepare_feed_picture`, whose arguments the pool passes by place."""
    return prepare_feed_picture(source, provenance=provenance, aspect=aspect, fit=fit, faces=faces)


def prepare_story(
    source: bytes, provenance: Provenance, fit: Fit = "crop", faces: tuple[FaceBox, ...] = ()
) -> PreparedPicture:
    """`prepare_story_picture`, likewise."""
    return prepare_story_picture(source, provenance=provenance, fit=fit, faces=faces)


def prepare_film(source: Path, target: Path, story: bool, cover_ms: int | None) -> None:
    """`clean_film`, likewise: films go from file to file, never through the pool's pipe."""
    clean_film(source, target, story=story, cover_ms=cover_ms)
