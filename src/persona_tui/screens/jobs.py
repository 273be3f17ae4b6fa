"""Jobs & logs: background work, and the log as it is written."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import ScreenResume, ScreenSuspend
from textual.timer import Timer
from textual.widgets import Static

from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.jobs_reading import job_in_full, job_row, job_state, load_work, summary, worker_lines
from persona_tui.screens.log_tail import LogEntry, LogTail
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.marks import short
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.shell import CoreState

if TYPE_CHECKING:
    from persona_tui.services.jobs import JobView

POLL = 1.0
"""Seconds between two looks at the log file, while the screen is in front."""
WORK_POLL = 3.0
"""Seconds between two readings of jobs and processes, which send no events."""
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
        "Background work: what runs, waits or failed, and the processes and ComfyUI servers that do it. "
        "The log follows the file. Enter opens a job or an entry with all that is known about it."
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
        self._work_poll: Timer | None = None

    def compose_body(self) -> ComposeResult:
        with Vertical(id="jobs-part"):
            yield SectionTitle("Jobs", id="jobs-title")
            yield DataList(
                [
                    Column("State", 12),
                    Column("Task", share=2),
                    Column("Tries", 5, align="right"),
                    Column("Changed", 15),
                    Column("About", share=1, from_width=70),
                ],
                lambda job: job_row(job, self.shell.zone),
                key=lambda job: job.id,
                empty="no background work",
                id="jobs",
            )
            yield Static("", id="workers", markup=False)
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

    @property
    def job_list(self) -> DataList[JobView]:
        """The list of jobs."""
        found: DataList[JobView] = self.query_one("#jobs", DataList)
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
        self._work_poll = self.set_interval(WORK_POLL, self.request_reload)
        self._say_state()
        self.log_list.focus()

    # Jobs and who works on them

    async def reload(self) -> None:
        if self.shell.core_state is not CoreState.READY:
            return
        work = await self.read(load_work)
        first_time = not self.job_list.items
        self.job_list.show(work.jobs)
        if first_time:
            failed = next((job.id for job in work.jobs if job.status == "failed"), None)
            self.job_list.go_to(failed)
        self.query_one("#jobs-title", SectionTitle).note = summary(work.jobs)
        lines = worker_lines(work, self.shell.core.status())
        self.query_one("#workers", Static).update(Content("\n").join(lines))

    def _job(self) -> JobView | None:
        if self.job_list.current is None:
            self.flash("There is no job here to do that with.", "info")
        return self.job_list.current

    def action_retry(self) -> None:
        if (job := self._job()) is not None:
            self.spawn(partial(self._retry, job), group="retry")

    async def _retry(self, job: JobView) -> None:
        from persona_tui.services.jobs import retry_job

        await self.act(retry_job, job.id)
        self.flash(f"Job {job.id} is queued again.")
        self.request_reload()

    def action_cancel(self) -> None:
        if (job := self._job()) is not None:
            self.spawn(partial(self._cancel, job), group="ask")

    async def _cancel(self, job: JobView) -> None:
        from persona_tui.services.jobs import cancel_job

        if job.status != "todo":
            self.flash(
                f"Only a job that waits can be cancelled; this one: {job_state(job.status).plain}.", "info"
            )
            return
        question = ConfirmDialog(
            f"Cancel job {job.id}?", job.task, title="Cancel the job", yes="Cancel it", no="Keep it"
        )
        if await self.ask(question):
            await self.act(cancel_job, job.id)
            self.flash(f"Job {job.id} is cancelled.")
            self.request_reload()

    def action_switch(self) -> None:
        (self.log_list if self.focused is self.job_list else self.job_list).focus()

    # The log

    def on_screen_resume(self, _event: ScreenResume) -> None:
        for timer in (self._poll, self._work_poll):
            if timer is not None:
                timer.resume()
        self._look()

    def on_screen_suspend(self, _event: ScreenSuspend) -> None:
        for timer in (self._poll, self._work_poll):
            if timer is not None:
                timer.pause()

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
        else:
            job: JobView = event.item
            self.app.push_screen(TextDialog(f"Job {job.id}", job_in_full(job, self.shell.zone)))


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
