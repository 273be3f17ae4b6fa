"""What every view has in common: head, body, message line, legend, and the ways to read and to act."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.events import ScreenResume
from textual.screen import ModalScreen, Screen
from textual.timer import Timer

from persona_tui.actions import TABLES, bindings
from persona_tui.errors import NotAllowedNow
from persona_tui.screens.notice import CoreNotice
from persona_tui.widgets.failsafe import Failsafe, shell_of
from persona_tui.widgets.flash import Flash
from persona_tui.widgets.header import ScreenHeader
from persona_tui.widgets.legend import Legend
from persona_tui.widgets.messages import (
    CoreFailed,
    CoreReady,
    DatabaseBack,
    DatabaseLost,
    DomainEvent,
    PersonaChanged,
)
from persona_tui.widgets.shell import CoreState, Level, Shell
from persona_tui.widgets.too_small import TooSmall

if TYPE_CHECKING:
    from sqlmodel import Session

P = ParamSpec("P")
T = TypeVar("T")
Result = TypeVar("Result")

SETTLED = 1.0
"""Seconds after which a new view is complete, more or less."""
EVENT_PAUSE = 0.15
"""Seconds over which events are gathered before a screen reads again."""


class PersonaScreen(Failsafe, Screen[None]):
    """A view. Subclasses set the class variables, compose the body and fill it in `reload()`.

    Attributes:
        SCOPE: the scope of its actions, and the name of its mode.
        TITLE: the title in its head.
        HELP: what the screen is for, in a few sentences; the first thing that `?` shows.
        TOPICS: domain events after which it reads again.
        NEEDS_CORE: show "starting…" in place of the body until the core has started.
    """

    SCOPE: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""
    HELP: ClassVar[str] = ""
    TOPICS: ClassVar[frozenset[str]] = frozenset()
    NEEDS_CORE: ClassVar[bool] = True

    DEFAULT_CSS = """
    PersonaScreen { layers: default too-small; overflow: hidden; }
    PersonaScreen > #body { height: 1fr; width: 1fr; padding: 0 1; }
    PersonaScreen.-waiting > #body { display: none; }
    """

    def __init_subclass__(cls, **options: Any) -> None:
        if "SCOPE" in cls.__dict__:
            own: list[BindingType] = [*bindings(TABLES[cls.SCOPE])]
            cls.BINDINGS = own
        super().__init_subclass__(**options)

    def __init__(self) -> None:
        super().__init__()
        self._stale = True
        self._reload_timer: Timer | None = None

    @property
    def shell(self) -> Shell:
        """The app, with its own type."""
        return shell_of(self)

    # What is on the screen

    def compose(self) -> ComposeResult:
        yield ScreenHeader(self.TITLE, self.SCOPE)
        with Container(id="body"):
            yield from self.compose_body()
        yield Flash()
        yield Legend(self.SCOPE)
        yield TooSmall()

    def compose_body(self) -> ComposeResult:
        """The widgets between head and message line."""
        yield from ()

    def flash(self, text: str, level: Level = "ok", *, seconds: float = 6.0) -> None:
        """Say one thing in the message line."""
        self.shell.flash(text, level, seconds=seconds)

    # Reading and acting

    async def read(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a service in a thread, inside a session of its own.

        Args:
            work: a service function: takes the session first and returns frozen values.

        Raises:
            PersonaError: whatever the service raises; where nobody catches it the shell tells it.
        """
        database = self.shell.database
        return await asyncio.to_thread(_in_session, database.session_scope, work, args, kwargs)

    async def act(self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `read`, for services that change something: committed when they return.

        Raises:
            NotAllowedNow: the database is away.
            PersonaError: whatever the service raises.
        """
        if self.shell.database_away:
            raise NotAllowedNow(
                "The database is away, so nothing was changed.", hint="Try again when it is back."
            )
        return await self.read(work, *args, **kwargs)

    async def ask(self, dialog: ModalScreen[Result]) -> Result | None:
        """Open a dialog and wait for its answer; only inside `spawn`."""
        return await self.app.push_screen_wait(dialog)

    # When to read

    async def reload(self) -> None:
        """Read what the screen shows and show it. Runs in a worker; a newer call replaces an older one."""

    def request_reload(self) -> None:
        """Have `reload()` called: now if the screen is in front and the core runs, else when it is."""
        if self.is_current_view and (self.shell.core_state is CoreState.READY or not self.NEEDS_CORE):
            self._stale = False
            self.spawn(self.reload, group="reload", exclusive=True, quiet=True)
        else:
            self._stale = True

    @property
    def is_current_view(self) -> bool:
        """Whether the screen is in front, dialogs aside."""
        for screen in reversed(self.app.screen_stack):
            if not screen.is_modal:
                return screen is self
        return False

    def aim(self, **target: int) -> None:
        """Look at what another view sent the operator here for; called when the screen is in front.

        Its data may not be read yet, so a screen keeps the target until `reload()` can follow it.

        Args:
            target: ids such as `post_id`, and 1 for acts that are to begin at once; by default ignored.
        """

    def step_back(self) -> bool:
        """Take one step back inside the screen (close a panel, leave a filter).

        Returns:
            Whether there was such a step; if not, Esc leaves the screen. By default, leaving a text
            field is one.
        """
        from textual.widgets import Input, TextArea

        if isinstance(self.focused, Input | TextArea):
            self.set_focus(None)
            return True
        return False

    # What the shell tells

    def on_mount(self) -> None:
        self.shell.views.add(self)
        self.set_timer(SETTLED, gc.freeze)  # what a view is made of stays; going through it takes 0.1 s
        self._show_core_state()

    def on_screen_resume(self, _event: ScreenResume) -> None:
        self._show_core_state()
        self._show_standing()
        if self._stale:
            self.request_reload()

    def on_core_ready(self, _message: CoreReady) -> None:
        self._show_core_state()
        self.request_reload()

    def on_core_failed(self, _message: CoreFailed) -> None:
        self._show_core_state()

    def on_database_lost(self, _message: DatabaseLost) -> None:
        self._show_standing()

    def on_database_back(self, _message: DatabaseBack) -> None:
        self._show_standing()
        self.request_reload()

    def on_persona_changed(self, _message: PersonaChanged) -> None:
        self.request_reload()

    def on_domain_event(self, event: DomainEvent) -> None:
        if event.topic is not None and event.topic not in self.TOPICS:
            return
        if not self.is_current_view:
            self._stale = True
        elif self._reload_timer is None:
            self._reload_timer = self.set_timer(EVENT_PAUSE, self._reload_after_events)

    def _reload_after_events(self) -> None:
        self._reload_timer = None
        self.request_reload()

    def _show_standing(self) -> None:
        away = self.shell.database_away
        message: tuple[Level, str] = ("warn", "Database is away, reconnecting…")
        self.query_one(Flash).standing = message if away else None

    def _show_core_state(self) -> None:
        waiting = self.NEEDS_CORE and self.shell.core_state is not CoreState.READY
        self.set_class(waiting, "-waiting")
        notices = self.query(CoreNotice)
        if waiting and not notices:
            self.mount(CoreNotice(), after="#body")
        elif not waiting:
            notices.remove()


def _in_session(
    scope: Callable[[], Any], work: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> T:
    with scope() as session:
        return work(session, *args, **kwargs)
