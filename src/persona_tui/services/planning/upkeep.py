"""What the leader does about plans in each round: missed posts, and countries that change their clocks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from functools import partial

import structlog
from sqlmodel import Session

from persona_tui.services.planning.slots import next_slot
from persona_tui.services.publishing.late import reslot_missed
from persona_tui.services.publishing.slots import follow_zone_rules

log = structlog.get_logger("persona_tui.planning")


class PlanUpkeep:
    """Keeps plans true while nobody watches."""

    def __init__(self, scope: Callable[[], AbstractContextManager[Session]], *, min_gap: timedelta) -> None:
        """Args:
        scope: opens a transaction.
        min_gap: least time between two posts of an account.
        """
        self._scope = scope
        self._find_slot = partial(next_slot, min_gap=min_gap)
        self._rules_read: date | None = None

    def tick(self, now: datetime) -> tuple[int, ...]:
        """One round; blocks on the database.

        Returns:
            The missed posts that were given another slot.

        Raises:
            DatabaseError: the database is away.
        """
        with self._scope() as session:
            moved = reslot_missed(session, now, self._find_slot)
        if self._rules_read != now.date():  # zone data comes with an update, at a start or while we run
            with self._scope() as session:
                follow_zone_rules(session)
            self._rules_read = now.date()
        if moved:
            log.info("missed posts moved", posts=moved)
        return moved


__all__ = ["PlanUpkeep"]
