"""Having the ComfyUI servers of this machine rest: their queues run empty, and their memory comes free."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.errors import NotAllowedNow, ServiceUnreachable
from persona_tui.services import lease
from persona_tui.services.lease import Place, ReadCards

log = structlog.get_logger("persona_tui.training")

PATIENCE = 900.0
"""Seconds that pictures which are being drawn are waited for."""
_LOOK = 0.5
_QUIET_LOOKS = 3
"""So often in a row a queue must be empty: what an engine had claimed before the lease may still come."""
_FREE_SECONDS = 30.0

Say = Callable[[str], None]


async def drain(clients: Mapping[str, ComfyUIClient], say: Say, *, patience: float = PATIENCE) -> None:
    """Wait until the servers of this machine have nothing to draw, then have them let go of their models.

    Engines claim nothing for them while the card's lease is held. Servers that do not answer hold nothing.

    Raises:
        NotAllowedNow: a server still has prompts when the patience is over.
        ClientError: a server answers, but not as ComfyUI does.
    """
    here = {url: client for url, client in clients.items() if lease.is_here(url)}
    await asyncio.gather(*(_drain_one(url, client, say, patience) for url, client in here.items()))


async def _drain_one(url: str, client: ComfyUIClient, say: Say, patience: float) -> None:
    loop = asyncio.get_running_loop()
    deadline, quiet, told = loop.time() + patience, 0, -1
    try:
        while quiet < _QUIET_LOOKS:
            queue = await client.queue()
            left = len(queue.running) + len(queue.pending)
            quiet = 0 if left else quiet + 1
            if left and left != told:
                told = left
                say(f"{url} still draws {left} picture{'s' * (left > 1)}; the training waits for it.")
            if left and loop.time() > deadline:
                raise NotAllowedNow(
                    f"{url} still has {left} prompt{'s' * (left > 1)} to draw.",
                    title="Card is busy",
                    hint="Cancel them there, or start the training later.",
                )
            await asyncio.sleep(_LOOK)
        await client.free()
    except ServiceUnreachable as problem:
        log.info("a server that is away holds no memory", endpoint=url, problem=problem.message)


async def free_memory(place: Place, cards: ReadCards, needed: int) -> int:
    """Bytes that are free on a card, once there are as many as needed or nothing more comes free.

    Servers let go of memory when they are idle, a moment after they were asked to.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _FREE_SECONDS
    while True:
        now = await asyncio.to_thread(cards)
        card = next((one.card for one in lease.places(now) if one.name == place.name), None)
        free = 0 if card is None else card.memory_total - card.memory_used
        if free >= needed or loop.time() > deadline:
            return free
        await asyncio.sleep(_LOOK)
