"""Real photographs as a persona's library, and working until no job waits."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from functools import cache
from typing import Any

import skimage.data
from PIL import Image
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.pool import WorkPool
from persona_tui.services import jobs
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.media import MediaStore
from persona_tui.services.writers import Writer
from persona_tui.settings import Settings
from tests.support.world import insert


@cache
def photograph(name: str) -> bytes:
    """One of scikit-image's, as JPEG."""
    file = io.BytesIO()
    Image.fromarray(getattr(skimage.data, name)()).save(file, "JPEG", quality=92)
    return file.getvalue()


def add_photo(
    session: Session, media: MediaStore, persona_id: int, data: bytes, **fields: object
) -> PictureRef:
    """An accepted photo of these bytes, with no job of its own."""
    stored = media.put(data)
    made = insert(
        session,
        "photos",
        persona_id=persona_id,
        sha256=stored.sha256,
        media_key=stored.key,
        format=stored.facts.format,
        width=stored.facts.width,
        height=stored.facts.height,
        byte_count=stored.byte_count,
        **fields,
    )
    return PictureRef(photo_id=made)


class Workshop:
    """Works on jobs with one child, which loads its libraries once."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._pool = WorkPool(niceness=0)  # beside other tests a nice child would wait for minutes

    def work(self, db: Database, settings: Settings, seers: tuple[Writer, ...] = ()) -> None:
        """Work until no job waits."""

        async def until_idle() -> None:
            app = jobs.make_worker_app(db.conninfo())
            tools = jobs.JobTools(
                db.session_scope, MediaStore(settings), self._pool, settings, self._pool, seers
            )
            async with app.open_async():
                await app.run_worker_async(
                    wait=False, install_signal_handlers=False, additional_context={"tools": tools}
                )

        self._runner.run(until_idle())

    def run(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call an async function that takes the pool first."""
        return self._runner.run(function(self._pool, *arguments))

    def in_child(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function in the child."""
        return self._runner.run(self._pool.run(function, *arguments))

    def close(self) -> None:
        """End the child."""
        self._runner.run(self._pool.aclose())
        self._runner.close()
