"""Pictures with places in an embedding space, as imports and analyses leave them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.library.pictures import PictureRef
from tests.support.world import digest, insert

MODEL, MODEL_HASH = "stand-in", "a" * 64


def make_photo(session: Session, persona_id: int, name: str, **fields: Any) -> PictureRef:
    """An accepted photo whose file nobody reads."""
    known = {
        "sha256": digest(f"{persona_id} {name}"),
        "media_key": f"{name}.jpg",
        "original_name": f"{name}.jpg",
    }
    size = {"format": "JPEG", "width": 640, "height": 480, "byte_count": 1000}
    return PictureRef(insert(session, "photos", persona_id=persona_id, **known | size | fields))


def embed(
    session: Session,
    persona_id: int,
    ref: PictureRef,
    vector: Sequence[float] | np.ndarray,
    model_hash: str = MODEL_HASH,
) -> None:
    """Put a picture into the space, at length 1."""
    unit = np.asarray(vector, dtype=float)
    unit = np.pad(unit, (0, 512 - len(unit)))
    unit /= np.linalg.norm(unit)
    insert(
        session,
        "embeddings",
        persona_id=persona_id,
        model=MODEL,
        model_hash=model_hash,
        vector=json.dumps(unit.tolist()),
        **ref.columns,
    )


def make_subject(
    session: Session, persona_id: int, axis: int, count: int, spread: float = 0.05
) -> list[PictureRef]:
    """Photos of one subject: they lie around one axis of the space."""
    rng = np.random.default_rng(axis)
    refs = []
    for number in range(count):
        ref = make_photo(session, persona_id, f"subject {axis} {number}")
        embed(session, persona_id, ref, np.eye(512)[axis] + rng.normal(0, spread / 3, 512))
        refs.append(ref)
    return refs


def rows(session: Session, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """What the database says."""
    return [tuple(row) for row in session.execute(text(statement), values)]
