"""What everything that works for one endpoint shares."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from sqlmodel import Session

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.services.generation.capabilities import Capabilities, Yard
from persona_tui.services.generation.clerk import Clerk, Rank
from persona_tui.services.generation.jobs import RetryPolicy
from persona_tui.services.generation.lora_desk import LoraDesk
from persona_tui.services.generation.spending import UNLIMITED, DailyLimit
from persona_tui.services.media import MediaStore

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True)
class Endpoint:
    """A ComfyUI server: its address, which jobs keep, the client that talks to it, and its LoRAs' desk."""

    url: str
    client: ComfyUIClient
    desk: LoraDesk | None = None


@dataclass(frozen=True)
class EngineOptions:
    """How the engine behaves; times in seconds.

    Attributes:
        depth: jobs that each endpoint's queue is to hold at least.
        ahead: seconds of work that it is to hold; more jobs than the least while they are short. 0 keeps the
            least.
        deepest: jobs that it never exceeds.
        timeout: of one HTTP call. A job that the server does not know is lost only after this long, and a
            job that a process took but did not send is free again after this long.
        poll: between two looks at the server while its events can't be followed; at least 0.05.
        check: between two looks while they can.
        give_up: after an endpoint was away for so long, others take over what was sent to it.
        retry: what follows a job's failure and, by its delays, an endpoint's.
        previews: ask the server for pictures on the way.
        daily: what all runs together may spend on a day.
    """

    depth: int = 2
    ahead: float = 3.0
    deepest: int = 64
    timeout: float = 30.0
    poll: float = 0.25
    check: float = 5.0
    give_up: float = 120.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    previews: bool = True
    daily: DailyLimit = UNLIMITED


@dataclass(frozen=True)
class Bench:
    """One endpoint with the tools to work for it.

    Attributes:
        clerk: runs the transactions; an engine's endpoints share one, so that none skips a run that another
            one of them has locked.
        client_id: names our websocket at the server; each process has its own, since a second socket of one
            name silences the first.
        uploads: SHA-256 of a parent picture → its name on the server.
        doubts: the server was started again, so that what it held may be lost.
        yard: what all servers can run.
        healthy: asks which of them answer.
    """

    endpoint: Endpoint
    clerk: Clerk
    media: MediaStore
    options: EngineOptions
    clock: Callable[[], datetime]
    client_id: str = field(default_factory=lambda: f"persona-tui-{uuid.uuid4().hex}")
    uploads: dict[str, str] = field(default_factory=dict)
    doubts: asyncio.Event = field(default_factory=asyncio.Event)
    yard: Yard = field(default_factory=Yard)
    healthy: Callable[[], tuple[str, ...]] = tuple

    @property
    def url(self) -> str:
        """The endpoint's address."""
        return self.endpoint.url

    @property
    def capabilities(self) -> Capabilities:
        """What the endpoint can run."""
        return self.yard.add(self.url, self.client)

    @property
    def client(self) -> ComfyUIClient:
        """The endpoint's client."""
        return self.endpoint.client

    async def transact(
        self, act: Callable[Concatenate[Session, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run an act in the clerk's thread, in a transaction of its own."""
        return await self.clerk.run(lambda session: act(session, *args, **kwargs))

    async def share(
        self, rank: Rank, act: Callable[Concatenate[Session, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run an act that may share its transaction; see `Clerk.run`."""
        return await self.clerk.run(lambda session: act(session, *args, **kwargs), rank=rank)

    async def together(
        self, rank: Rank, act: Callable[[Session, Sequence[T]], Sequence[R]], thing: T, *, linger: float = 0.0
    ) -> R:
        """Run an act on a thing together with all that wait for the same act; see `Clerk.together`."""
        return await self.clerk.together(act, thing, rank=rank, linger=linger)
