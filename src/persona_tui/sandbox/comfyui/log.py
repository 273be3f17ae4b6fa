"""The server's own log, of which v0.8.0 keeps the newest lines for its frontend."""

from __future__ import annotations

from collections import deque
from datetime import datetime

LINES_KEPT = 300


class ServerLog:
    """A ring of lines; the oldest fall out.

    Attributes:
        entries: {"t": local time without a zone, as upstream, "m": the line with its end}.
    """

    def __init__(self) -> None:
        self.entries: deque[dict[str, str]] = deque(maxlen=LINES_KEPT)

    def say(self, line: str) -> None:
        """Add a line."""
        self.entries.append({"t": datetime.now().isoformat(), "m": f"{line}\n"})  # noqa: DTZ005

    @property
    def text(self) -> str:
        """All that is kept, as one text."""
        return "".join(f"{entry['t']} - {entry['m']}" for entry in self.entries)
