"""What a server tells of itself: its version and its cards' memory, read now and then beside the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from persona_tui.clients.comfyui import ComfyUIClient, SystemStats
from persona_tui.errors import ClientError

log = structlog.get_logger("persona_tui.generation")

SECONDS = 10.0
"""Between two readings: memory moves slowly, and each reading is one small request."""


class Gauge:
    """The newest reading of one server.

    Attributes:
        version: of ComfyUI; empty while it is not known.
        vram_free, vram_total: bytes of all its cards together; None while nobody knows, 0 in total where it
            works without a card.
    """

    def __init__(self) -> None:
        self.version = ""
        self.vram_free: int | None = None
        self.vram_total: int | None = None

    def note(self, stats: SystemStats) -> None:
        """Take a reading."""
        self.version = stats.version
        cards = [device for device in stats.devices if device.type != "cpu"]
        self.vram_free = sum(card.vram_free for card in cards)
        self.vram_total = sum(card.vram_total for card in cards)

    def forget(self) -> None:
        """The server is away: it may come back as another one."""
        self.version, self.vram_free, self.vram_total = "", None, None

    async def follow(
        self, client: ComfyUIClient, answers: Callable[[], bool], *, seconds: float = SECONDS
    ) -> None:
        """Read again and again, until cancelled; a reading that fails is left out.

        Beside the work and not within it, so that a server that is slow to answer delays nothing.

        Args:
            answers: whether the server is worth asking.
        """
        while True:
            await asyncio.sleep(seconds)
            if answers():
                try:
                    self.note(await client.system_stats())
                except ClientError as problem:
                    log.debug("no reading of the server", problem=problem.message)
