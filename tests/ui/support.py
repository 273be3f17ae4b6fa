"""A core that is only a shell's: starts, stops, has a database that can go away, and says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from persona_tui.errors import DatabaseUnavailable
from persona_tui.models.persona import Persona
from persona_tui.widgets.messages import EntityId


class TinySession:
    """Answers the shell's only two questions: the probe, and which personas there are."""

    def __init__(self, personas: list[Persona]) -> None:
        self._personas = personas

    def execute(self, _statement: Any) -> list[tuple[int, int, int]]:
        return [(persona.id, 0, 0) for persona in self._personas]

    def exec(self, _statement: Any) -> list[Persona]:
        return self._personas


class TinyDatabase:
    """Hands out sessions until `away` is set."""

    def __init__(self) -> None:
        self.away = False
        self.personas = [
            Persona(id=1, name="lena", age=27, zone="Europe/Berlin"),
            Persona(id=2, name="mira", age=31, zone="UTC"),
        ]
        self.commits = 0

    @contextmanager
    def session_scope(self) -> Iterator[TinySession]:
        if self.away:
            raise DatabaseUnavailable("The database does not answer.")
        yield TinySession(self.personas)
        self.commits += 1


class TinyCore:
    """Starts at once, or fails with `error`; `say()` sends an event."""

    def __init__(self, error: Exception | None = None) -> None:
        self.database = TinyDatabase()
        self.leader = True
        self.stopped = 0
        self.error = error
        self._queue: asyncio.Queue[tuple[str | None, EntityId]] = asyncio.Queue()

    async def start(self) -> None:
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        self.stopped += 1

    def say(self, topic: str | None, identifier: EntityId = None) -> None:
        self._queue.put_nowait((topic, identifier))

    async def events(self) -> AsyncIterator[tuple[str | None, EntityId]]:
        while True:
            yield await self._queue.get()
