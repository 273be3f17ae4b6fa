"""Long work: how far it is, how fast, and how long it will still take."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from persona_tui.widgets.failsafe import shell_of
from persona_tui.widgets.marks import duration

FULL, REST = "━", "─"
MEMORY = 20.0
"""Seconds over which the rate is averaged."""
TICK = 1.0
"""Seconds between two redraws while nothing is reported: the elapsed time goes on."""


class Pace:
    """Speed of work, from the reports of the last seconds.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._reports: list[tuple[float, float]] = [(self._started, 0.0)]

    def report(self, done: float) -> None:
        """Note how much is done now."""
        now = self._clock()
        self._reports.append((now, done))
        while len(self._reports) > 2 and self._reports[1][0] < now - MEMORY:
            self._reports.pop(0)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    @property
    def rate(self) -> float:
        """Units per second; 0 while unknown."""
        (start, before), (_, done) = self._reports[0], self._reports[-1]
        seconds = self._clock() - start
        return (done - before) / seconds if seconds > 0 else 0.0

    def remaining(self, total: float) -> float | None:
        """Seconds until `total` at the present rate; None while that is unknown."""
        left = total - self._reports[-1][1]
        return max(left, 0) / self.rate if self.rate > 0 else None


class ProgressPanel(Widget):
    """Two lines: title with rate and time left, then the bar; without a total, only the time gone by.

    Args:
        title: what is being done.
        unit: what is counted, in the plural.
        cancel: name of the action that cancels it; its key is shown.
    """

    DEFAULT_CSS = """
    ProgressPanel { height: 2; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(
        self,
        title: str,
        *,
        unit: str = "",
        cancel: str | None = None,
        clock: Callable[[], float] = monotonic,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._title = title
        self._unit = unit
        self._cancel = cancel
        self._clock = clock
        self._pace = Pace(clock)
        self._done = 0.0
        self._total: float | None = None
        self._ticker: Timer | None = None

    def on_mount(self) -> None:
        self._ticker = self.set_interval(TICK, self._tick)

    def _tick(self) -> None:
        self.refresh()

    def restart(self, title: str | None = None) -> None:
        """Begin anew, with another title if one is given."""
        self._title = title or self._title
        self._pace, self._done, self._total = Pace(self._clock), 0.0, None
        self.refresh()

    def advance_to(self, done: float, total: float | None = None) -> None:
        """Show how much is done, of how much if that is known."""
        self._done, self._total = done, total
        self._pace.report(done)
        self.refresh()

    def render(self) -> Content:
        width = self.size.width
        head = Content.styled(self._title, "bold") + self._numbers()
        if self._cancel is not None:
            key = shell_of(self).registry.label(self._cancel)
            head += Content.assemble(("  [", "$dim"), (key, "$title"), ("] cancel", "$dim"))
        return Content("\n").join([head, self._bar(width)])

    def _numbers(self) -> Content:
        unit = f" {self._unit}" if self._unit else ""
        if self._total is None:
            counted = f"  {self._done:g}{unit}" if self._done else ""
            return Content.styled(f"{counted}  {duration(self._pace.elapsed)} so far", "$dim")
        parts = [f"  {self._done:g} of {self._total:g}{unit}"]
        rate = self._pace.rate
        if rate > 0:
            parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min")
        left = self._pace.remaining(self._total)
        if self._done < self._total:
            parts.append(f"about {duration(left)} left" if left is not None else "time left unknown")
        else:
            parts.append(f"done in {duration(self._pace.elapsed)}")
        return Content.styled("  ".join(parts), "$dim")

    def _bar(self, width: int) -> Content:
        if not self._total:
            return Content.styled("╌" * width, "$title")
        share = min(max(self._done / self._total, 0.0), 1.0)
        words = f" {share:4.0%}"
        room = max(width - len(words), 0)
        full = int(room * share)
        style = "$success" if share >= 1 else "$title"
        return Content.assemble((FULL * full, style), (REST * (room - full), "$rule"), (words, style))
