"""A run in words: its status, its steps as a tree, the servers that work on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from textual.content import Content

from persona_tui.widgets.marks import counted, dim, duration, say, tree
from persona_tui.widgets.progress import FULL, REST

if TYPE_CHECKING:
    from persona_tui.screens.runs_data import RunFacts
    from persona_tui.services.generation.gates import GatePreview
    from persona_tui.services.generation.health import EndpointStatus, EngineStatus, JobStatus
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunView
    from persona_tui.services.generation.traces import JobFailure
    from persona_tui.services.voting.contest import Standings

BAR = 10
"""Columns of a progress bar."""
PARTS = ("Run", "Prompt", "Steps", "Now", "Servers", "Trouble")
"""Titles of the panel that tells all about a run, from top to bottom."""

STATUS: Mapping[str, tuple[str, str, str]] = {
    "pending": ("◌ ", "pending", "$dim"),
    "running": ("▶ ", "running", "$title"),
    "waiting": ("◆ ", "your turn", "$section"),
    "paused": ("◐ ", "paused", "$warning"),
    "completed": ("✅", "completed", "$success"),
    "failed": ("❌", "failed", "$error"),
    "cancelled": ("○ ", "cancelled", "$dim"),
}
"""Icon of two columns, word and style for each status of a run."""

CONFIDENCE = ((0.9, "sure enough", "$success"), (0.75, "fairly sure", "$title"), (0.5, "leaning", "$section"))
"""Least probability that the right pictures lead, its words and style; the surest first."""


def status_mark(status: str) -> Content:
    """`▶ running`: icon and word of a run's status."""
    icon, word, style = STATUS[status]
    return Content.styled(f"{icon} {word}", style)


def bar(share: float, width: int = BAR) -> Content:
    """A progress bar; the share is cut to 0 to 1."""
    full = int(min(max(share, 0.0), 1.0) * width)
    style = "$success" if share >= 1 else "$title"
    return Content.assemble((FULL * full, style), (REST * (width - full), "$rule"))


def made(step: RunStepView) -> int:
    """Places of the step that have their picture."""
    return step.wanted - step.open - step.in_flight - step.failed if step.is_open else 0


def counts(step: RunStepView, *, width: int = BAR) -> Content:
    """`━━━───  3 of 4  ▶ 1 in flight  ✗ 1 failed`."""
    found = bar(made(step) / max(step.wanted, 1), width) + Content(f" {made(step)} of {step.wanted}")
    if step.in_flight:
        found += Content.styled(f"  ▶ {step.in_flight} in flight", "$title")
    if step.failed:
        found += Content.styled(f"  ✗ {step.failed} failed", "$error")
    return found


def counts_short(step: RunStepView) -> Content:
    """`━━━─── 3/4 ▶1 ✗1`: the counts on one line of a list."""
    found = bar(made(step) / max(step.wanted, 1), 6) + Content(f" {made(step)}/{step.wanted}")
    if step.in_flight:
        found += Content.styled(f" ▶{step.in_flight}", "$title")
    if step.failed:
        found += Content.styled(f" ✗{step.failed}", "$error")
    return found


def confidence(share: float) -> Content:
    """`fairly sure, 81 %`: how probable it is that the right pictures lead."""
    for least, word, style in CONFIDENCE:
        if share >= least:
            return Content.styled(f"{word}, {share:.0%}", style)
    return Content.styled(f"open, {share:.0%}", "$dim")


def step_lines(run: RunView) -> Iterable[Content]:
    """The steps as a tree."""
    return tree([_step(step, run) for step in run.steps], indent=0)


def _step(step: RunStepView, run: RunView) -> Content:
    name = Content.styled(f"{step.position} {step.name}", "bold")
    if not step.is_open:
        planned = counted(step.wanted, "picture")
        return (
            Content.styled("◌ ", "$dim")
            + name
            + dim(f"  {planned} planned, when step {step.position - 1} is approved")
        )
    if step.is_last and run.winner_id is not None:
        return Content("🏆 ") + name + dim(f"  {counted(made(step), 'picture')}, number {run.winner_id} won")
    if step.approved:
        went = f"  {counted(made(step), 'picture')}, the best {step.top_k} went on" if step.top_k > 1 else ""
        went = went or f"  {counted(made(step), 'picture')}, the best one went on"
        return Content("✅ ") + name + dim(went)
    busy = step.open or step.in_flight
    mark = Content.styled("▶ ", "$title") if busy else Content.styled("◆ ", "$section")
    rejected = dim(f"  {step.rejected} rejected") if step.rejected else Content.empty()
    return mark + name + Content("  ") + counts(step) + rejected


def host(url: str) -> str:
    """An address as it is shown: host and port."""
    return urlsplit(url).netloc.rpartition("@")[2] or url


def job_lines(jobs: Sequence[JobStatus], now: datetime) -> Iterator[Content]:
    """The jobs that are on servers, those that run first."""
    for job in sorted(jobs, key=lambda job: (job.started is None, job.job_id)):
        if job.started is None:
            yield Content.styled("◌ ", "$dim") + Content(f"step {job.step}") + dim("  waits in a queue")
            continue
        since = duration(max((now - job.started).total_seconds(), 0.0))
        yield (
            Content.styled("▶ ", "$title")
            + Content(f"step {job.step}  ")
            + bar(job.progress)
            + Content(f" {job.progress:4.0%}")
            + dim(f"  {since}")
        )


def endpoint_lines(engine: EngineStatus | None) -> Iterator[Content]:
    """The servers with their health; or why there are none to see."""
    if engine is None:
        yield dim("Another process leads and makes the pictures; its servers are not seen from here.")
    elif not engine.endpoints:
        yield say("warn", "No ComfyUI server is set: comfyui.urls in the settings.")
    else:
        yield from tree([_endpoint(endpoint) for endpoint in engine.endpoints], indent=0)


def _endpoint(endpoint: EndpointStatus) -> Content:
    name = Content.styled(host(endpoint.url), "bold")
    if endpoint.healthy:
        queue = dim(f", {endpoint.queue} in the queue")
        return Content.styled("● ", "$success") + name + Content.styled(" healthy", "$success") + queue
    trouble = Content.styled(" in trouble: ", "$error")
    return Content.styled("✖ ", "$error") + name + trouble + Content(endpoint.sentence)


def contest_line(standing: Standings) -> Content:
    """`9 votes, fairly sure, 81 %`."""
    return Content(f"{counted(standing.votes, 'vote')}, ") + confidence(standing.p_top_k)


def failure_lines(failures: Sequence[JobFailure]) -> Iterator[Content]:
    """Each failed job: where, and what was said."""
    for failure in failures:
        yield Content.assemble(
            ("✗ ", "$error"),
            (f"step {failure.position}, {failure.step}, on {host(failure.endpoint)}: ", "$dim"),
            failure.words,
        )


def gate_lines(preview: GatePreview, following: str | None) -> Iterator[Content]:
    """What an approval would do: who goes on, what it costs, what speaks against it."""
    shown = preview.members[:8]
    for member in shown:
        yield Content.assemble(
            (f"{member.rank}. ", "$title"),
            f"picture {member.candidate_id}",
            (f"  rating {member.elo_score}, {counted(member.votes, 'vote')}", "$dim"),
        )
    if len(preview.members) > len(shown):
        yield dim(f"… and {len(preview.members) - len(shown)} more")
    if following is not None:
        yield Content(f"{counted(preview.cost, 'picture')} will be made in {following}.")
    for warning in preview.warnings:
        yield say("warn", warning)


def run_parts(
    facts: RunFacts, engine: EngineStatus | None, now: datetime
) -> Iterator[tuple[str, list[Content]]]:
    """Titles and lines of the panel that tells all about a run."""
    run = facts.run
    yield "Run", [*_standing(facts), *_about(facts, now)]
    yield "Prompt", [Content(run.prompt)] + ([dim(f"without: {run.negative}")] if run.negative else [])
    yield "Steps", list(step_lines(run))
    own = [job for job in engine.jobs if job.run_id == run.id] if engine is not None else []
    yield "Now", list(job_lines(own, now))
    yield "Servers", list(endpoint_lines(engine))
    yield "Trouble", list(failure_lines(facts.failures))


def _standing(facts: RunFacts) -> Iterator[Content]:
    run = facts.run
    yield status_mark(run.status) + Content("  ") + Content.styled(run.name, "bold")
    if run.reason:
        yield say("error" if run.status == "failed" else "warn", run.reason)
    if facts.standings is not None:
        yield contest_line(facts.standings)


def _about(facts: RunFacts, now: datetime) -> Iterator[Content]:
    run = facts.run
    age = duration(max((now - run.created_at).total_seconds(), 0.0))
    parts = [f"run {run.id}", f"{run.pipeline} v{run.pipeline_version}", f"{age} ago"]
    if facts.cluster is not None:
        parts.append(f"for {facts.cluster}")
    yield dim(", ".join(parts))
    if run.variables:
        yield dim("  ".join(f"{name}={value}" for name, value in run.variables.items()))
