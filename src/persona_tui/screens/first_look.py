"""The start of the real core in two steps: a first look with the driver alone, then all the rest.

SQLAlchemy, the tables and the services take longer to load than the Dashboard takes to be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from persona_tui.database.link import DatabaseLink
    from persona_tui.runtime import Core
    from persona_tui.services.planning.overview import FirstLook
    from persona_tui.settings import Settings

Say = Callable[[str], None]


@dataclass
class LookTaken(Message, bubble=False):
    """The first data is there; the core is not.

    Attributes:
        look: the data.
    """

    look: FirstLook


class Opening:
    """Opens the database, looks, and hands the open database to the core. Both steps run in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._link: DatabaseLink | None = None

    def look(self, say: Say, persona_id: int | None) -> FirstLook | None:
        """Read the first data.

        Args:
            say: gets a sentence before each step that may take seconds.
            persona_id: whose; None takes the first persona.

        Returns:
            None when it can't be read before the core has started: the schema must be upgraded first, or
            something is wrong that the core will tell.

        Raises:
            PersonaError: the database can't be opened.
        """
        import psycopg

        from persona_tui.database.link import DatabaseLink
        from persona_tui.database.revision import read_revision, revision_state
        from persona_tui.services.planning.overview import first_look

        if self._link is None:
            say("Opening the database…")
            self._link = DatabaseLink.open(self._settings)
        try:
            with self._link.connect(autocommit=True) as connection:
                if revision_state(read_revision(connection, self._link.schema)) == "current":
                    return first_look(connection, persona_id)
        except psycopg.Error:
            pass
        return None

    def core(self, say: Say) -> Core:
        """Import and make the core, which takes over the open database."""
        from persona_tui.runtime import Core

        link, self._link = self._link, None
        return Core(self._settings, say=say, link=link)
