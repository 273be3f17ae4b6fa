"""Asking ComfyUI servers what they declare, for imports, checks and kinds of variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.errors import ClientError, NotAllowedNow
from persona_tui.services.generation.declared import Declared

Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[ComfyUIClient]]
"""Makes a client for an address."""


async def declared_by_any(urls: Sequence[str], connect: Connect) -> Declared:
    """What the first server that answers declares.

    Raises:
        NotAllowedNow: none answers; says of each why.
    """
    reasons = []
    for url in urls:
        try:
            async with connect(url) as client:
                return await client.object_info()
        except ClientError as problem:
            reasons.append(problem.message)
    told = " ".join(reasons) or "No server is set."
    raise NotAllowedNow(
        f"A workflow in the editor's format needs a ComfyUI server that explains it. {told}",
        title="No server answers",
        hint="Start one and name it with --endpoint URL, or export the workflow in API format.",
    )


async def declared_if_any(urls: Sequence[str], connect: Connect) -> Declared | None:
    """The same; None when none answers."""
    try:
        return await declared_by_any(urls, connect)
    except NotAllowedNow:
        return None
