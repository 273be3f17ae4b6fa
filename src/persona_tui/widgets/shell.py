"""What screens and widgets may ask of the app around them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet
from zoneinfo import ZoneInfo

from textual.app import App
from textual.reactive import var
from textual.screen import Screen

if TYPE_CHECKING:
    from textual.worker import Worker

    from persona_tui.actions import Action, Registry
    from persona_tui.database.engine import Database
    from persona_tui.runtime import Core
    from persona_tui.settings import Settings

Level = Literal["ok", "error", "warn", "info", "busy"]


class CoreState(Enum):
    """How far the core is."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PersonaChoice:
    """A persona as the header and the persona chooser show it.

    Attributes:
        id: primary key.
        name: its name.
        zone: IANA time zone of its audience.
    """

    id: int
    name: str
    zone: str


class Shell(App[None]):
    """The app as its screens and widgets see it.

    Attributes:
        settings: the effective settings.
        registry: every action with the operator's keys.
        now: the clock; returns an aware time in UTC.
    """

    settings: Settings
    registry: Registry
    now: Callable[[], datetime]

    core_state: var[CoreState] = var(CoreState.STARTING)
    """How far the core is."""
    core_step: var[str] = var("")
    """What the core is doing while it starts."""
    core_error: Exception | None = None
    """Why the core could not start, if it could not."""
    persona: var[PersonaChoice | None] = var[PersonaChoice | None](None)
    """The persona that every screen shows."""
    database_away: var[bool] = var(False)
    """The database was there and does not answer at the moment."""
    views: WeakSet[Screen[None]]
    """The views opened so far."""
    leader: var[bool | None] = var[bool | None](None)
    """Whether this process leads; None until that is known."""

    @property
    def persona_id(self) -> int | None:
        """Id of the current persona, if there is one."""
        return self.persona.id if self.persona else None

    @property
    def zone(self) -> tzinfo:
        """Time zone in which times are shown: the persona's, else the default one."""
        return ZoneInfo(self.persona.zone if self.persona else self.settings.default_zone)

    @property
    def sandbox(self) -> bool:
        """Nothing done here reaches a real account."""
        return self.settings.environment == "sandbox"

    @property
    def moving(self) -> bool:
        """Whether things may blink and move; by default not over SSH, where each frame costs bytes."""
        wanted = self.settings.terminal.animations
        return "SSH_CONNECTION" not in os.environ if wanted is None else wanted

    @property
    @abstractmethod
    def core(self) -> Core:
        """What runs behind the screens.

        Raises:
            NotAllowedNow: it has not started.
        """

    @property
    def database(self) -> Database:
        """The core's database.

        Raises:
            NotAllowedNow: the core has not started.
        """
        return self.core.database

    @abstractmethod
    def flash(self, text: str, level: Level = "ok", *, seconds: float = 6.0) -> None:
        """Say one thing in the message line of the screen in front; it goes away by itself."""

    @abstractmethod
    def end_busy(self, worker: Worker[Any]) -> None:
        """Take away the busy notice of a worker that failed or was cancelled; other notices stay."""

    @abstractmethod
    def report(self, error: BaseException, *, quiet: bool = False) -> None:
        """Tell the operator what failed and what to do; what nobody foresaw goes to the log.

        Args:
            error: what was raised.
            quiet: nobody asked for it just now: never open a dialog.
        """

    @abstractmethod
    def choose_persona(self, persona: PersonaChoice | None) -> None:
        """Make this persona the one that every screen shows."""

    @abstractmethod
    async def go_to(self, mode: str, **target: int) -> None:
        """Open a view and have it look at something, as if the operator had gone there and found it.

        Args:
            mode: name of the view.
            target: what `PersonaScreen.aim` of that view takes, such as `post_id`.
        """

    @abstractmethod
    async def perform(self, name: str) -> None:
        """Carry out the action of that name, as if its key had been pressed."""

    @abstractmethod
    def worth_showing(self, action: Action) -> bool:
        """Whether a possible action belongs into the legend here."""

    @abstractmethod
    def offered(self, screen: Screen[object] | None = None) -> Sequence[Action]:
        """The actions that the palette and the command line offer, nearest scope first.

        Args:
            screen: from which they are asked for; default is the one in front.
        """
