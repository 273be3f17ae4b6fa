"""Which server pictures LoRAs outside of runs: a test of one, or two against each other.

By the engine's rules: a server at rest is left alone (R32), one that lacks a file gets it or is passed over,
and so is one that can't run the workflow; of the others the one with the shortest queue takes the pictures.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.errors import (
    ClientError,
    InvalidRequest,
    NotAllowedNow,
    PersonaError,
    ServiceRefused,
    StorageError,
)
from persona_tui.passed import Workflow
from persona_tui.services import lease
from persona_tui.services.generation.bench import Endpoint
from persona_tui.services.generation.capabilities import Capabilities
from persona_tui.services.generation.clerk import SessionScope
from persona_tui.services.generation.lora_desk import LoraDesk
from persona_tui.services.generation.lora_use import LoraUse

LOOK_SECONDS = 2.0
"""Between two looks at servers of which none may work yet."""
T = TypeVar("T")


class AtRest(NotAllowedNow):
    """The server must not be used now: a training holds its card."""

    title = "Server is at rest"
    hint = "Wait for the training's end, or pause it: `persona-tui train pause ID`."


class NoServer(NotAllowedNow):
    """No server can make the pictures; says of each why."""

    title = "No server can picture it"
    hint = "`persona-tui lora show LORA --servers` asks each server again."


@dataclass(frozen=True)
class Chosen:
    """The server that takes the pictures.

    Attributes:
        loras: under the names by which it lists them.
        queued: prompts in its queue.
    """

    url: str
    client: ComfyUIClient
    desk: LoraDesk
    loras: tuple[LoraUse, ...]
    queued: int


Drawing = Callable[[LoraDesk, LoraUse], Awaitable[Workflow]]
"""The workflow that a server would get with a LoRA, for asking whether it can run it."""


class LoraServers:
    """The servers, and what is known of them; an async context that closes their clients.

    Args:
        endpoints: with desks.
    """

    def __init__(self, scope: SessionScope, endpoints: Sequence[Endpoint]) -> None:
        self._scope = scope
        self._endpoints = {one.url: one for one in endpoints}
        self._able = {one.url: Capabilities(one.client) for one in endpoints}
        self._stumbles = Counter[str]()

    async def __aenter__(self) -> LoraServers:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _problem: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(one.client.aclose() for one in self._endpoints.values()))

    async def serve(
        self,
        loras: Sequence[LoraUse],
        drawing: Drawing,
        key: int,
        work: Callable[[Chosen], Awaitable[T]],
        say: Callable[[str], None],
    ) -> T:
        """Have a server do something; it waits while all that could are at rest, and leaves one that fails on
        the way for another.

        Args:
            key: of the workflow; what a server was found able to run is not asked again.
            work: sends to the server that it is given, and to no other.
            say: gets a sentence when there is something to wait for.

        Raises:
            NoServer: none can do it.
            PersonaError: the only server can't do it; what it said.
        """
        failed: dict[str, PersonaError] = {}
        while True:
            chosen = await self._choose(loras, drawing, key, failed, say)
            try:
                return await work(chosen)
            except AtRest:
                continue
            except ClientError as problem:
                failed[chosen.url] = problem
                self._stumbles[chosen.url] += 1

    async def _choose(
        self,
        loras: Sequence[LoraUse],
        drawing: Drawing,
        key: int,
        failed: Mapping[str, PersonaError],
        say: Callable[[str], None],
    ) -> Chosen:
        told = ""
        while True:
            able: list[Chosen] = []
            resting: dict[str, str] = {}
            unable = dict(failed)
            for url in self._endpoints.keys() - failed.keys():
                try:
                    able.append(await self._asked(url, loras, drawing, key))
                except AtRest as rests:
                    resting[url] = rests.message
                except (InvalidRequest, StorageError, ClientError) as problem:
                    unable[url] = problem
            if able:
                places = list(self._endpoints)
                return min(able, key=lambda one: (self._stumbles[one.url], one.queued, places.index(one.url)))
            if not resting:
                raise _refusal(unable)
            words = " ".join(dict.fromkeys(resting.values()))
            if words != told:
                told = words
                say(words)
            await asyncio.sleep(LOOK_SECONDS)

    async def _asked(self, url: str, loras: Sequence[LoraUse], drawing: Drawing, key: int) -> Chosen:
        """The server with its LoRAs, if it can do it.

        Raises:
            AtRest: it must not be used now.
            LoraNotListed, StorageError, InvalidRequest: it does not have a LoRA, and can't be given it.
            ClientError: it is away, or lacks something of the workflow.
        """
        endpoint = self._endpoints[url]
        assert endpoint.desk is not None
        await require_awake(self._scope, url)
        placed = await endpoint.desk.placer.placed(loras)
        if not await self._able[url].fits(key, await drawing(endpoint.desk, placed[0])):
            raise ServiceRefused(f"{url} can't run it: {self._able[url].bars[key].words}.")
        queue = await endpoint.client.queue()
        queued = len(queue.running) + len(queue.pending)
        return Chosen(url, endpoint.client, endpoint.desk, placed, queued)


async def require_awake(scope: SessionScope, url: str) -> None:
    """See that a server may be used now.

    Raises:
        AtRest: a training holds its card.
    """

    def look() -> str | None:
        with scope() as session:
            return lease.kept_out(session, url)

    sentence = await asyncio.to_thread(look)
    if sentence is not None:
        raise AtRest(sentence)


def _refusal(unable: Mapping[str, PersonaError]) -> PersonaError:
    """Why no server does it; of one server its own words."""
    if len(unable) == 1:
        return next(iter(unable.values()))
    if not unable:
        return NoServer("No ComfyUI server is set.", hint="Set comfyui.urls in the settings.")
    return NoServer(" ".join(_named(url, problem.message) for url, problem in sorted(unable.items())))


def _named(url: str, sentence: str) -> str:
    return sentence if url in sentence else f"{url}: {sentence}"
