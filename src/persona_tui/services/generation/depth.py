"""How deep an endpoint's queue is to be: as many jobs as fill a few seconds, by how long they took lately."""

from __future__ import annotations

import math
import statistics
from collections import deque

SHORT = 0.25
"""Seconds that a short job takes at most."""
LINGER_JOBS, LONGEST_LINGER = 12, 0.5
"""So many short jobs may be written down together; seconds that they may wait for it."""
REMEMBERED = 9
"""Durations that count: the median of so few follows a change of step soon, and one odd job moves nothing."""


class Depth:
    """One endpoint's depth. It grows for short jobs, so that a pause of ours does not idle the card."""

    def __init__(self, least: int, ahead: float, most: int) -> None:
        """Args:
        least: jobs that the queue holds at any rate, the running one with them.
        ahead: seconds of work that it is to hold; 0 keeps the least.
        most: jobs that it never exceeds, however short they are.
        """
        self._least = least
        self._ahead = ahead
        self._most = max(least, most)
        self._durations: deque[float] = deque(maxlen=REMEMBERED)

    def note(self, seconds: float) -> None:
        """A job took so long on the server."""
        self._durations.append(max(seconds, 0.001))

    @property
    def target(self) -> int:
        """Jobs to hold, the running one with them."""
        if not self._durations:
            return self._least
        behind = math.ceil(self._ahead / statistics.median(self._durations))
        return min(max(self._least, 1 + behind), self._most) if self._ahead else self._least

    @property
    def linger(self) -> float:
        """Seconds that what is not urgent may wait for more of its kind: none where jobs take their time."""
        if not self._durations:
            return 0.0
        typical = statistics.median(self._durations)
        return min(LONGEST_LINGER, LINGER_JOBS * typical) if typical <= SHORT else 0.0

    @property
    def low(self) -> int:
        """Refill once no more are left: a deep queue by a third at a time, a shallow one at once."""
        return self.target - max(1, self.target // 3)
