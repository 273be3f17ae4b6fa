"""Training pictures and datasets for tests: small drawings, each unlike the others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from persona_tui.database.engine import Database
from persona_tui.services.training.adding import Added, AddInput, add_pictures, sources_at
from persona_tui.services.training.datasets import DatasetView, create_dataset
from tests.support.world import make_persona


def draw(path: Path, seed: int, *, side: int = 96, caption: str | None = None) -> Path:
    """A drawing of shapes that a perceptual hash tells from others, with its caption beside it."""
    chance = random.Random(seed)
    picture = Image.new("RGB", (side, side), tuple(chance.randrange(256) for _ in range(3)))
    pen = ImageDraw.Draw(picture)
    for _ in range(6):
        left, top = chance.randrange(side - 8), chance.randrange(side - 8)
        box = (left, top, chance.randrange(left + 4, side), chance.randrange(top + 4, side))
        pen.rectangle(box, fill=tuple(chance.randrange(256) for _ in range(3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


def draw_all(folder: Path, count: int, *, caption: str | None = "photo of ohwx_mira", side: int = 96) -> Path:
    """A folder of such drawings."""
    for number in range(count):
        draw(folder / f"{number:02}.png", number, side=side, caption=caption)
    return folder


def make_dataset(db: Database, root: Path, **fields: Any) -> DatasetView:
    """An empty dataset of a new persona, fictional unless something else is said."""
    with db.session_scope() as session:
        persona = make_persona(session, trigger_word="ohwx_mira")
    values = {"name": "mira-v1", "subject": "fictional", **fields}
    return create_dataset(db.session_scope, root / "datasets", persona.id, values)


def add_files(db: Database, dataset: DatasetView, paths: Sequence[Path], **fields: Any) -> Added:
    """Add files as the command does."""
    given = AddInput(**fields)
    return add_pictures(db.session_scope, dataset.id, sources_at(paths, given))
