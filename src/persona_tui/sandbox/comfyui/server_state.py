"""Everything one running stand-in holds, shared by its routes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from persona_tui.sandbox.comfyui.executor import Executor
from persona_tui.sandbox.comfyui.files import Folders
from persona_tui.sandbox.comfyui.log import ServerLog
from persona_tui.sandbox.comfyui.node_runs import Studio
from persona_tui.sandbox.comfyui.prompt_queue import PromptQueue
from persona_tui.sandbox.comfyui.sockets import Hub
from persona_tui.sandbox.control import SandboxContext


@dataclass
class ServerState:
    """Queue, executor, sockets and folders.

    Attributes:
        number: the next prompt's place in the line; starts at 0 with each start of the server.
    """

    context: SandboxContext
    folders: Folders
    queue: PromptQueue
    hub: Hub
    executor: Executor
    log: ServerLog
    number: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the worker and the sender of messages while the server is up."""
        self._tasks = [asyncio.create_task(self.executor.work()), asyncio.create_task(self.hub.send_all())]
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


def make_state(context: SandboxContext) -> ServerState:
    """A server that has just been started: empty queue and history, emptied temp folder."""
    folders = Folders(context.state_dir)
    folders.make()
    hub = Hub(context.faults, lambda: queue.remaining)
    queue = PromptQueue(hub.tell_status)
    studio = Studio(folders, context.ledger, context.options)
    studio.remember()
    executor = Executor(queue, hub, studio, context.faults)
    return ServerState(context, folders, queue, hub, executor, studio.log)
