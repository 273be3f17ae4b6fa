"""Watched folders of both kinds, photos and LoRAs, looked into by the process that leads."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import Callable

import structlog

from persona_tui.services.jobs import SessionScope
from persona_tui.services.library.watch import Watcher
from persona_tui.services.loras.watching import LoraWatcher
from persona_tui.services.media import MediaStore

log = structlog.get_logger("persona_tui.folder_watch")


class FolderWatch:
    """Has what is new imported, or offered."""

    def __init__(self, scope: SessionScope, media: MediaStore) -> None:
        self._photos = Watcher(scope, media)
        self._loras = LoraWatcher(scope)

    async def run(self, leads: Callable[[], bool], tell: Callable[[str], None], *, every: float) -> None:
        """Look again and again while this process leads, until cancelled.

        Args:
            tell: gets what is wrong, in sentences; empty when all is well.
            every: seconds of rest between two looks.
        """
        while True:
            await asyncio.sleep(every)
            if not leads():
                continue
            try:
                tell(await to_thread(self.look))
            except Exception as problem:  # the driver and the pool each raise their own
                log.warning("watched folders not looked at", problem=type(problem).__name__)

    def look(self) -> str:
        """Look once into all of them, whatever is wrong with some. Blocks.

        Returns:
            What is wrong, in sentences; empty when all is well.
        """
        return " ".join(filter(None, [self._photos.look(), self._loras.look()]))

    def stop(self) -> None:
        """End a look that is under way, soon; from any thread."""
        self._photos.stop()
