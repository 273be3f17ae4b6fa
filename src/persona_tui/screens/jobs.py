"""Jobs & logs: background work, and the log as it is written."""

from __future__ import annotations

import asyncio
from collections import deque

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import ScreenResume, ScreenSuspend
from textual.timer import Timer

from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.log_tail import LogEntry, LogTail
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.marks import short
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle

POLL = 1.0
"""Seconds between two looks at the log file, while the screen is in front."""
KEPT = 5000
"""Entries kept."""
SHOWN_LEVELS = ("info", "warning", "error", "debug")
"""The least level shown, in the order in which the key steps through them."""
_STYLES = {
    "debug": "$dim",
    "info": "$info",
    "warning": "$warning",
    "error": "$error",
    "critical": "$error bold",
}


class JobsScreen(PersonaScreen):
    """Background work above, the log below it; side by side where there is room."""

    SCOPE = "jobs"
    TITLE = "Jobs & logs"
    HELP = (
        "Background work: what runs, waits, failed, and why. The log below follows the file; "
        "Enter opens an entry with all its fields."
    )
    CSS_PATH = "jobs.tcss"
    NEEDS_CORE = False

    def __init__(self) -> None:
        super().__init__()
        self._tail: LogTail | None = None
        self._entries: deque[LogEntry] = deque(maxlen=KEPT)
        self._level = SHOWN_LEVELS[0]
        self._following = True
        self._poll: Timer | None = None
        self._reading = asyncio.Lock()

    def compose_body(self) -> ComposeResult:
        with Vertical(id="jobs-part"):
            yield SectionTitle("Jobs")
            yield EmptyState("No background work.", icon="🎉", id="jobs-empty")
        with Vertical(id="log-part"):
            yield SectionTitle("Log", id="log-title")
            yield DataList(
                [
                    Column("Time", 8),
                    Column("Level", 8),
                    Column("What happened"),
                    Column("From", 24, from_width=90),
                ],
                self._cells,
                key=lambda entry: entry.number,
                empty="nothing of this level in the log yet",
                id="log",
            )

    @property
    def log_list(self) -> DataList[LogEntry]:
        """The list of log entries."""
        found: DataList[LogEntry] = self.query_one("#log", DataList)
        return found

    def _cells(self, entry: LogEntry) -> list[Cell]:
        time = f"{entry.time.astimezone(self.shell.zone):%H:%M:%S}" if entry.time else ""
        level = Content.styled(entry.level, _STYLES.get(entry.level, ""))
        details = short("  ".join(f"{key}={value}" for key, value in entry.details.items()), 200)
        return [
            Content.styled(time, "$dim"),
            level,
            Content.assemble(entry.event, (f"  {details}" if details else "", "$dim")),
            Content.styled(entry.logger, "$dim"),
        ]

    def on_mount(self) -> None:
        self._tail = LogTail(self.shell.settings.log_file)
        self._poll = self.set_interval(POLL, self._look)
        self._say_state()
        self.log_list.focus()

    def on_screen_resume(self, _event: ScreenResume) -> None:
        if self._poll is not None:
            self._poll.resume()
        self._look()

    def on_screen_suspend(self, _event: ScreenSuspend) -> None:
        if self._poll is not None:
            self._poll.pause()

    def _look(self) -> None:
        self.spawn(self._read_log, group="log", quiet=True)

    async def _read_log(self) -> None:
        if self._tail is None or self._reading.locked():
            return
        async with self._reading:
            found = await asyncio.to_thread(self._tail.read_new)
        if found:
            self._entries.extend(found)
            self._show_log()

    def _show_log(self) -> None:
        shown = [entry for entry in self._entries if entry.is_at_least(self._level)]
        self.log_list.show(shown)
        if self._following and shown:
            self.log_list.cursor = len(shown) - 1

    def _say_state(self) -> None:
        following = "following" if self._following else "standing still"
        self.query_one("#log-title", SectionTitle).note = f"{self._level} and graver, {following}"

    def action_level(self) -> None:
        place = SHOWN_LEVELS.index(self._level)
        self._level = SHOWN_LEVELS[(place + 1) % len(SHOWN_LEVELS)]
        self._say_state()
        self._show_log()

    def action_follow(self) -> None:
        self._following = not self._following
        self._say_state()
        self._show_log()

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        if event.list.id == "log":
            self.app.push_screen(TextDialog("Log entry", _in_full(event.item)))


def _in_full(entry: LogEntry) -> Content:
    fields = {
        "time": f"{entry.time:%Y-%m-%d %H:%M:%S %Z}" if entry.time else "",
        "level": entry.level,
        "from": entry.logger,
        **entry.details,
    }
    lines = [Content.styled(entry.event, "bold"), Content("")]
    lines += [Content.assemble((f"{key}: ", "$dim"), value) for key, value in fields.items() if value]
    return Content("\n").join(lines)
