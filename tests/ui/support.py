"""A core that is only a shell's: starts, stops, has a database that can go away, and says what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input
from textual.worker import Worker

from persona_tui.errors import DatabaseError, DatabaseUnavailable, NotAllowedNow
from persona_tui.models.persona import Persona
from persona_tui.runtime import CoreStatus
from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.flash import Flash
from persona_tui.widgets.messages import EntityId
from persona_tui.widgets.section import SectionTitle


class TinySession:
    """Answers the shell's only two questions: the probe, and which personas there are.

    Whatever a view or the doctor asks is refused, as by a database that is out of order.
    """

    def __init__(self, personas: list[Persona]) -> None:
        self._personas = personas

    def execute(self, statement: Any, *_: Any) -> list[tuple[int, int, int]]:
        if str(statement) == "SELECT 1":
            return []
        if "FROM personas p" in str(statement):
            return [(persona.id, 0, 0) for persona in self._personas]
        raise DatabaseError("This database answers two questions only.")

    def exec(self, statement: Any, *_: Any) -> list[Persona]:
        if "FROM personas" in str(statement) and "ORDER BY lower(personas.name)" in str(statement):
            return self._personas
        raise DatabaseError("This database answers two questions only.")

    def __getattr__(self, name: str) -> Any:
        raise DatabaseError("This database answers two questions only.")


class TinyDatabase:
    """Hands out sessions until `away` is set."""

    def __init__(self) -> None:
        self.away = False
        self.personas = [
            Persona(id=1, name="lena", age=27, zone="Europe/Berlin"),
            Persona(id=2, name="mira", age=31, zone="UTC"),
        ]

    @contextmanager
    def session_scope(self) -> Iterator[TinySession]:
        if self.away:
            raise DatabaseUnavailable("The database does not answer.")
        yield TinySession(self.personas)


class TinyCore:
    """Starts at once, or fails with `error`; `say()` sends an event."""

    def __init__(self) -> None:
        self.database = TinyDatabase()
        self.leader = True
        self.stopped = 0
        self.error: Exception | None = None
        self._queue: asyncio.Queue[tuple[str | None, EntityId]] = asyncio.Queue()

    async def start(self) -> None:
        if self.error is not None:
            raise self.error

    async def stop(self) -> None:
        self.stopped += 1

    def status(self) -> CoreStatus:
        return CoreStatus("tiny", self.leader, 1, None, None, ())

    @property
    def resources(self) -> Any:
        raise NotAllowedNow("This core has nothing but a database.")

    def say(self, topic: str | None, identifier: EntityId = None) -> None:
        self._queue.put_nowait((topic, identifier))

    async def events(self) -> AsyncIterator[tuple[str | None, EntityId]]:
        while True:
            yield await self._queue.get()


class ProbeScreen(PersonaScreen):
    """A view that counts how often it reads, and does what a test tells it."""

    SCOPE = "training"
    TITLE = "Probe"
    HELP = "A view for tests."
    TOPICS = frozenset({"run"})

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.on_reload: Callable[[], Any] | None = None

    def compose_body(self) -> ComposeResult:
        yield SectionTitle("Probe")
        yield Input(id="typed", compact=True)

    async def reload(self) -> None:
        self.reads += 1
        if self.on_reload is not None:
            await self.read(lambda _session: self.on_reload())  # type: ignore[misc]


_STANDING = {"events", "database"}
_ASKING = {"leave", "choose", "command", "close", "ask"}


def _will_end(worker: Worker[Any], *, dialog: bool) -> bool:
    """Whether a worker ends by itself: not one that stands or asks a person, nor a trial that is shown."""
    return worker.group not in _STANDING | _ASKING and not (dialog and worker.group == "trial")


async def settle(pilot: Pilot[Any]) -> None:
    """Wait until every worker that ends has ended and every message has been handled."""
    for _ in range(50):
        dialog = pilot.app.screen.is_modal
        busy = [one for one in pilot.app.workers if not one.is_finished]
        waiting = [one for one in busy if _will_end(one, dialog=dialog)]
        if not waiting:
            break
        await asyncio.wait({asyncio.ensure_future(w.wait()) for w in waiting}, timeout=0.2)
        await pilot.pause()
    await pilot.pause()


def said(pilot: Pilot[Any]) -> str:
    """What the message line in front says, or an empty string."""
    for screen in reversed(pilot.app.screen_stack):
        for line in screen.query(Flash):
            shown = line.message or line.standing
            return shown[1] if shown else ""
    return ""


def screen_text(pilot: Pilot[Any]) -> str:
    """What is on the screen, as text."""
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())
