"""What the screen of jobs reads, and how jobs, processes and ComfyUI servers look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.widgets.data_list import Cell
from persona_tui.widgets.marks import counted, dim, duration

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.runtime import CoreStatus
    from persona_tui.services.generation.health import EndpointStatus
    from persona_tui.services.jobs import JobView
    from persona_tui.services.leadership import Beat

STATES = {
    "todo": ("🕒", "waits", "$info"),
    "doing": ("🚀", "runs", "$title"),
    "succeeded": ("✅", "done", "$success"),
    "failed": ("❌", "failed", "$error"),
    "cancelled": ("🚫", "cancelled", "$dim"),
    "aborting": ("🚫", "aborting", "$warning"),
    "aborted": ("🚫", "aborted", "$warning"),
}
SILENT = 10.0
"""Seconds without a heartbeat after which a process counts as silent."""


@dataclass(frozen=True)
class Work:
    """Background jobs, the newest first, and the processes that share the work."""

    jobs: tuple[JobView, ...]
    processes: tuple[Beat, ...]


def load_work(session: Session) -> Work:
    """Read jobs and heartbeats."""
    from persona_tui.services.jobs import list_jobs
    from persona_tui.services.leadership import list_processes

    return Work(list_jobs(session), list_processes(session))


def job_state(status: str) -> Content:
    """A job's state in icon and word."""
    icon, word, style = STATES.get(status, ("❔", status, ""))
    return Content.styled(f"{icon} {word}", style)


def job_row(job: JobView, zone: tzinfo) -> list[Cell]:
    """A job's cells: state, task, attempts, time, what it is about."""
    moment = job.changed_at or job.scheduled_at
    when = f"{moment.astimezone(zone):%d %b %H:%M:%S}" if moment is not None else ""
    about = "  ".join(f"{name} {value}" for name, value in job.arguments.items())
    return [job_state(job.status), job.task, str(job.attempts), dim(when), dim(about)]


def job_in_full(job: JobView, zone: tzinfo) -> Content:
    """All that is known about a job."""
    lines = [job_state(job.status), Content.assemble(("Task: ", "$dim"), job.task)]
    lines.append(Content.assemble(("Attempts: ", "$dim"), str(job.attempts)))
    for label, moment in (("Due", job.scheduled_at), ("Changed", job.changed_at)):
        if moment is not None:
            lines.append(
                Content.assemble((f"{label}: ", "$dim"), f"{moment.astimezone(zone):%d %b %H:%M:%S}")
            )
    lines += [Content.assemble((f"{name}: ", "$dim"), f"{value}") for name, value in job.arguments.items()]
    return Content("\n").join(lines)


def summary(jobs: tuple[JobView, ...]) -> str:
    """How many jobs there are in the states that matter."""
    counts = {status: sum(job.status == status for job in jobs) for status in ("doing", "todo", "failed")}
    words = {"doing": "running", "todo": "waiting", "failed": "failed"}
    said = [f"{count} {words[status]}" for status, count in counts.items() if count]
    return ", ".join(said) or "nothing waits 🎉"


def worker_lines(work: Work, status: CoreStatus) -> Iterator[Content]:
    """What is wrong, then the processes and the ComfyUI servers."""
    for sentence in status.trouble:
        yield Content.styled(f"⚠  {sentence}", "$warning")
    for beat in work.processes:
        yield _process(beat, mine=beat.process_id == status.process_id)
    for endpoint in status.engine.endpoints if status.engine is not None else ():
        yield _endpoint(endpoint)


def _process(beat: Beat, *, mine: bool) -> Content:
    silent = beat.age_seconds > SILENT
    if silent:
        mark, style = "✖ silent     ", "$error"
    else:
        mark, style = ("● leads      ", "$success") if beat.leader else ("○ stands by  ", "$dim")
    this = ", this one" if mine else ""
    rest = f"  on {beat.host}, version {beat.version}, heard {duration(beat.age_seconds)} ago"
    return Content.assemble((mark, style), (f"{beat.kind} {beat.pid}{this}", ""), (rest, "$dim"))


def _endpoint(endpoint: EndpointStatus) -> Content:
    mark, style = ("● works      ", "$success") if endpoint.healthy else ("✖ away       ", "$error")
    queue = f"  {counted(endpoint.queue, 'prompt')} in its queue" if endpoint.healthy else ""
    return Content.assemble(
        (mark, style), f"ComfyUI {endpoint.url}", (f"{queue}  {endpoint.sentence}", "$dim")
    )
