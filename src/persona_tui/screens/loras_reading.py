"""What the screen LoRAs reads: the registry, our files, and what the servers list."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from persona_tui.screens.loras_lines import Places, Row

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.generation.lora_placing import Placement
    from persona_tui.services.loras.registry import LoraView
    from persona_tui.services.loras.shelf import Shelf
    from persona_tui.services.voting.comparison import Verdict

Listed = Mapping[str, Sequence[str] | None]
"""Server → the LoRAs that it lists; None when it does not answer."""


def make_rows(
    loras: Sequence[LoraView],
    persona_id: int | None,
    shelf: Shelf,
    listed: Listed,
    verdicts: Sequence[Verdict] = (),
) -> tuple[Row, ...]:
    """The rows: what the persona in front uses comes first. Looks at the disk; use a thread."""
    from persona_tui.services.loras.rewriting import remedy_for

    rows = [
        Row(
            lora,
            next((user for user in lora.users if user.persona_id == persona_id), None),
            shelf.holds(lora.file_name),
            _places(lora.file_name, listed),
            remedy_for(shelf, lora),
            tuple(verdict for verdict in verdicts if verdict.lora_id == lora.id),
        )
        for lora in loras
    ]
    return tuple(sorted(rows, key=lambda row: (row.use is None, row.use is not None and not row.use.primary)))


def _places(file_name: str, listed: Listed) -> Places:
    from persona_tui.services.generation.injection import listed_as

    return {
        url: None if names is None else listed_as(file_name, names) is not None
        for url, names in listed.items()
    }


async def ask_servers(resources: Resources) -> Listed:
    """What each server lists, all asked at once."""
    from persona_tui.clients.comfyui import ComfyUIClient
    from persona_tui.errors import ClientError

    async def ask(client: ComfyUIClient) -> Sequence[str] | None:
        async with client:
            try:
                return await client.lora_names()
            except ClientError:
                return None

    clients = resources.comfyui_clients()
    answers = await asyncio.gather(*(ask(client) for client in clients.values()))
    return dict(zip(clients, answers, strict=True))


async def bring_to_servers(resources: Resources, file_name: str) -> tuple[Placement, ...]:
    """Copy a file to every server that lacks it, and ask each whether it is there."""
    found = []
    for url, client in resources.comfyui_clients().items():
        async with client:
            found.append(await resources.lora_desk(url, client).placer.placement(file_name, bring=True))
    return tuple(found)
