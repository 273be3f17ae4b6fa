"""What the shell tells the screens."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

EntityId = int | str | None
"""Id of the row that an event is about, where there is one."""


@dataclass
class CoreReady(Message, bubble=False):
    """The core has started: data can be read."""


@dataclass
class CoreStep(Message, bubble=False):
    """The core has begun a step of its start that may take seconds.

    Attributes:
        sentence: which.
    """

    sentence: str


@dataclass
class CoreFailed(Message, bubble=False):
    """The core could not start.

    Attributes:
        error: why.
    """

    error: Exception


@dataclass
class DatabaseLost(Message, bubble=False):
    """The database does not answer; the shell keeps trying."""


@dataclass
class DatabaseBack(Message, bubble=False):
    """The database answers again; whatever is shown may be old."""


@dataclass
class DomainEvent(Message, bubble=False):
    """Something was committed, here or in another process.

    Attributes:
        topic: what kind of thing changed, such as `run` (`services.events.Topic`); None: anything may have.
        id: which one, if one.
    """

    topic: str | None
    id: EntityId = None


@dataclass
class PersonaChanged(Message, bubble=False):
    """Another persona was chosen.

    Attributes:
        persona_id: its id; None when there is none.
    """

    persona_id: int | None


@dataclass
class Failed(Message, bubble=False):
    """An act or a reading failed and the operator was told.

    Attributes:
        error: what was raised.
        expected: it is one of our own errors, not a flaw in the program.
    """

    error: BaseException
    expected: bool
