"""The app's link to the core: start it after the first frame, pass its events on, tell what fails."""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from rich.text import Text
from textual.message import Message
from textual.worker import active_worker

from persona_tui.errors import DatabaseUnavailable, NotAllowedNow, PersonaError
from persona_tui.screens.first_look import LookTaken
from persona_tui.terminal.hang_up import call_on_signals, ignore_signals, leave_lost_terminal
from persona_tui.terminal.textual_bridge import PictureFrames
from persona_tui.widgets.failsafe import Failsafe
from persona_tui.widgets.messages import (
    CoreFailed,
    CoreReady,
    CoreStep,
    DatabaseBack,
    DatabaseLost,
    DomainEvent,
    EntityId,
    Failed,
    PersonaChanged,
)
from persona_tui.widgets.shell import CoreState, Level, PersonaChoice, Shell

if TYPE_CHECKING:
    from textual.driver import Driver
    from textual.worker import Worker

    from persona_tui.database.engine import Database
    from persona_tui.runtime import Core
    from persona_tui.services.planning.overview import FirstLook
    from persona_tui.widgets.flash import Flash

CoreFactory = Callable[[Callable[[str], None]], "Core"]
"""Makes the core, given what takes a sentence on each slow step of its start. Called in a thread."""
Looker = Callable[[Callable[[str], None], int | None], "FirstLook | None"]
"""Reads the first data, given what takes a sentence on each slow step and the persona. Called in a thread."""
PAINT_SECONDS = 0.5
"""How long the start waits at most until the first data has been painted."""
SHOWN_SECONDS = 5.0
"""How long a signal waits at most until the first frame has been painted."""
DATABASE_PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Seconds between attempts to reach a lost database; the last one repeats."""
FLOOD, FLOOD_SECONDS = 25, 5.0
"""So many failures outside message handlers within so many seconds end the app."""
COLLECTED_AFTER = (20_000, 20, 50)
"""New objects, and rounds, after which garbage is looked for: a round through all takes a few frames."""
EVENT_PAUSE = 0.1
"""Seconds over which events are gathered before the screens hear of them."""


class CoreLink(Failsafe, PictureFrames, Shell):
    """The half of the app that looks after the core; the other half is views and keys.

    Args:
        core_factory: makes the core.
        looker: reads the first data before the core is made; without one nothing is shown until then.
    """

    def __init__(self, core_factory: CoreFactory, looker: Looker | None = None) -> None:
        super().__init__()
        self.views = WeakSet()
        self._core_factory = core_factory
        self._looker = looker
        self._core: Core | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._shown = asyncio.Event()
        self._failures: deque[float] = deque(maxlen=FLOOD)
        self._busy_notices: WeakKeyDictionary[Worker[Any], tuple[Flash, tuple[Level, str]]] = (
            WeakKeyDictionary()
        )
        self._events: dict[tuple[str | None, EntityId], None] = {}

    # The core

    @property
    def core(self) -> Core:
        if self._core is None:
            raise NotAllowedNow(
                "Database and workers are still starting.", hint="Try again in a moment.", title="Not yet"
            )
        return self._core

    def get_driver_class(self) -> type[Driver]:
        """Textual's own, but one that survives its terminal."""
        from textual.drivers.linux_driver import LinuxDriver

        from persona_tui.widgets.terminal_driver import TerminalDriver

        chosen = super().get_driver_class()
        return TerminalDriver if chosen is LinuxDriver else chosen

    def on_load(self) -> None:
        call_on_signals(asyncio.get_running_loop(), self._end)

    def _end(self, number: int) -> None:
        """A signal ends the app as leaving it does, without a question: nobody may be there to answer."""
        if self._ending is not None:
            return
        ignore_signals()
        leave_lost_terminal()
        self._ending = asyncio.create_task(self._end_by(number), name="end")

    async def _end_by(self, number: int) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SHOWN_SECONDS):
                await self._shown.wait()  # Textual can't end what it has not begun to show
        with self.batch_update():  # nothing is painted, for the terminal may be gone
            await self.stop_core()
        self.exit(return_code=128 + number)

    def on_ready(self) -> None:
        self._shown.set()
        self.spawn(self._start_core, group="core", exclusive=True, quiet=True)

    async def _start_core(self) -> None:
        self.core_state, self.core_error = CoreState.STARTING, None
        try:
            if self._looker is not None:
                await self._look(self._looker)
            core = await asyncio.to_thread(self._core_factory, self._say_step)
            await core.start()
        except Exception as error:
            if not isinstance(error, PersonaError):
                self._log_failure(error)
            self.core_error, self.core_state = error, CoreState.FAILED
            self.refresh_bindings()
            self.tell_screens(partial(CoreFailed, error))
            return
        finally:
            # The front switched collecting off for the start; what is loaded by now stays.
            gc.freeze()
            gc.set_threshold(*COLLECTED_AFTER)
            gc.enable()
        self._core, self.leader = core, core.leader
        await self._find_persona()
        self.core_state = CoreState.READY
        self.refresh_bindings()
        self.spawn(self._listen(core), group="events", exclusive=True, quiet=True)
        self.tell_screens(CoreReady)

    async def _look(self, looker: Looker) -> None:
        """Show the first data, and return when it is on the screen: loading the rest would delay it."""
        look = await asyncio.to_thread(looker, self._say_step, self.persona_id)
        if look is None:
            return
        found = look.view.persona
        self.choose_persona(PersonaChoice(found.id, found.name, found.zone) if found else None)
        self.tell_screens(partial(LookTaken, look))
        painted = asyncio.Event()
        self.screen.call_after_refresh(painted.set)
        with suppress(TimeoutError):
            async with asyncio.timeout(PAINT_SECONDS):
                await painted.wait()

    def _say_step(self, sentence: str) -> None:
        """Called in the core's threads, where no widget may be touched."""
        self.post_message(CoreStep(sentence))

    def on_core_step(self, message: CoreStep) -> None:
        self.core_step = message.sentence

    async def _listen(self, core: Core) -> None:
        async for topic, identifier in core.events():
            self.leader = core.leader
            if not self._events:
                self.set_timer(EVENT_PAUSE, self._tell_events)
            self._events[topic, identifier] = None

    def _tell_events(self) -> None:
        """Pass on what has been gathered: a burst about one row is one message."""
        events, self._events = self._events, {}
        for topic, identifier in events:
            self.tell_screens(partial(DomainEvent, topic, identifier))

    def tell_screens(self, message: Callable[[], Message]) -> None:
        """Post a message to the app and to every view that has been opened."""
        for node in (self, *self.views):
            node.post_message(message())

    async def stop_core(self) -> None:
        """Stop the core, once, and wait until it has stopped; what fails while stopping is logged."""
        core, self._core = self._core, None
        if core is not None:
            self._stopping = asyncio.create_task(self._stop(core), name="stop the core")
        if self._stopping is not None:
            await asyncio.shield(self._stopping)

    async def _stop(self, core: Core) -> None:
        try:
            await core.stop()
        except Exception as error:
            self._log_failure(error)

    async def on_unmount(self) -> None:
        await self.stop_core()

    # What fails

    def report(self, error: BaseException, *, quiet: bool = False) -> None:
        expected = isinstance(error, PersonaError)
        if isinstance(error, DatabaseUnavailable) and self._core is not None:
            self._lose_database()
        elif isinstance(error, PersonaError):
            self._tell(error, quiet=quiet)
        else:
            self._log_failure(error)
            where = self.registry.label("global.jobs")
            self.flash(f"Something unforeseen failed. The log has the details ({where}).", "error")
        self.post_message(Failed(error, expected))

    def _tell(self, error: PersonaError, *, quiet: bool) -> None:
        text = f"{error.title}: {error.message} {error.hint}"
        if quiet or len(text) <= self.size.width - 4:
            self.flash(text, "error", seconds=10)
        else:
            from persona_tui.widgets.reader import ErrorDialog

            self.push_screen(ErrorDialog(error))

    def _log_failure(self, error: BaseException) -> None:
        import structlog

        structlog.get_logger("persona_tui.app").error("unforeseen", exc_info=error)

    def _handle_exception(self, error: Exception) -> None:
        """What Textual calls for errors outside message handlers: in timers, callbacks, layout.

        Textual would end the app with a traceback. The app goes on instead; only when the first frame
        was never drawn, or failures come in a flood, it ends, with a sentence.
        """
        now = monotonic()
        self._failures.append(now)
        flood = len(self._failures) == FLOOD and now - self._failures[0] < FLOOD_SECONDS
        if self._dom_ready and not flood:
            self.report(error, quiet=True)
            return
        self._return_code = 1
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._log_failure(error)
        where = self.settings.log_file
        self.panic(Text(f"persona-tui had to stop: {type(error).__name__}. The details are in {where}"))

    def _lose_database(self) -> None:
        if self.database_away:
            return
        self.database_away = True
        self.tell_screens(DatabaseLost)
        self.spawn(self._await_database, group="database", exclusive=True, quiet=True)

    async def _await_database(self) -> None:
        attempt = 0
        while self._core is not None:
            await asyncio.sleep(DATABASE_PAUSES[min(attempt, len(DATABASE_PAUSES) - 1)])
            attempt += 1
            with suppress(PersonaError):
                await asyncio.to_thread(_probe, self.database)
                break
        self.database_away = False
        self.tell_screens(DatabaseBack)

    # What is said

    def flash(self, text: str, level: Level = "ok", *, seconds: float = 6.0) -> None:
        from persona_tui.widgets.flash import Flash

        for screen in reversed(self.screen_stack):
            for line in screen.query(Flash):
                line.say(text, level, seconds=seconds)
                worker = active_worker.get(None)
                if level == "busy" and worker is not None and line.message is not None:
                    self._busy_notices[worker] = (line, line.message)
                return

    def end_busy(self, worker: Worker[Any]) -> None:
        if worker in self._busy_notices:
            line, message = self._busy_notices.pop(worker)
            line.unsay(message)

    # The persona

    async def _find_persona(self) -> None:
        """Keep the current persona if it still exists, as it is now; else take the first one."""
        choices = await self.personas()
        same = next((choice for choice in choices if choice.id == self.persona_id), None)
        self.choose_persona(same or next(iter(choices), None))

    def on_domain_event(self, event: DomainEvent) -> None:
        if event.topic in (None, "persona"):
            self.spawn(self._find_persona, group="persona", exclusive=True, quiet=True)

    async def personas(self) -> Sequence[PersonaChoice]:
        """All personas by name; empty when the database does not answer."""
        try:
            return await asyncio.to_thread(_personas, self.database)
        except Exception as error:
            self.report(error, quiet=True)
            return ()

    def choose_persona(self, persona: PersonaChoice | None) -> None:
        if persona != self.persona:
            self.persona = persona
            self.tell_screens(partial(PersonaChanged, self.persona_id))


def _probe(database: Database) -> None:
    from sqlalchemy import text

    with database.session_scope() as session:
        session.execute(text("SELECT 1"))


def _personas(database: Database) -> list[PersonaChoice]:
    from persona_tui.services.planning.personas import list_personas

    with database.session_scope() as session:
        return [PersonaChoice(found.id, found.name, found.zone) for found in list_personas(session)]
