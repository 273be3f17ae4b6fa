"""A run in words: its status, its steps as a tree, the servers that work on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens.runs_servers import BAR, bar, endpoint_lines, job_lines
from persona_tui.widgets.marks import counted, dim, duration, say, short, tree

if TYPE_CHECKING:
    from persona_tui.screens.runs_data import RunFacts
    from persona_tui.services.generation.budgets import BudgetView
    from persona_tui.services.generation.gates import GatePreview
    from persona_tui.services.generation.health import EngineStatus
    from persona_tui.services.generation.pace import Pace
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunDetail, RunView
    from persona_tui.services.generation.traces import JobFailure
    from persona_tui.services.voting.contest import Standings

NIGHT = "night mode"
"""Who approved a gate that the night mode passed."""
SENTENCES = 3
"""Different failures told in the panel."""
PARTS = ("Run", "Steps", "Now", "Servers", "Trouble", "Prompt")
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


FILTERS: Sequence[tuple[str, tuple[str, ...] | None]] = (
    ("all", None),
    ("being made", ("pending", "running", "paused")),
    ("your turn", ("waiting",)),
    ("failed", ("failed",)),
    ("ended", ("completed", "cancelled")),
)
"""What the list may be cut down to: words and statuses; None takes every status."""
FILTER_MARKS = ("● ", "▶ ", "◆ ", "❌ ", "✅ ")
"""An icon for each filter."""


def tally_line(tally: Mapping[str, int], chosen: int) -> Content:
    """`● all 12  ▶ being made 3  ◆ your turn 2`: how many runs each filter shows, the chosen one marked."""
    parts = []
    for index, ((words, statuses), icon) in enumerate(zip(FILTERS, FILTER_MARKS, strict=True)):
        count = sum(runs for status, runs in tally.items() if statuses is None or status in statuses)
        style = "$title bold reverse" if index == chosen else "$title" if count else "$dim"
        parts.append(Content.styled(f" {icon}{words} {count} ", style))
    return Content(" ").join(parts)


def status_mark(status: str) -> Content:
    """`▶ running`: icon and word of a run's status."""
    icon, word, style = STATUS[status]
    return Content.styled(f"{icon} {word}", style)


def started(run: RunView) -> str:
    """What is said of a run that has just begun; it stays true however fast the pictures come."""
    step = run.current
    return f"“{run.name}” is started as run {run.id}: {step.name} makes {counted(step.wanted, 'picture')}."


def made(step: RunStepView) -> int:
    """Pictures of the step that there are."""
    return step.active if step.is_open else 0


def counts(step: RunStepView, *, width: int = BAR) -> Content:
    """`━━━───  3 of 9  ▶ 2 in flight  ◌ 3 queued  ✗ 1 failed`."""
    found = bar(made(step) / max(step.wanted, 1), width) + Content(f" {made(step)} of {step.wanted}")
    if step.sent:
        found += Content.styled(f"  ▶ {step.sent} in flight", "$title")
    if step.queued:
        found += dim(f"  ◌ {step.queued} queued")
    if step.failed:
        found += Content.styled(f"  ✗ {step.failed} failed", "$error")
    return found


def counts_short(step: RunStepView) -> Content:
    """`━━━─── 3/4 ▶1 ✗1`: the counts on one line of a list."""
    found = bar(made(step) / max(step.wanted, 1), 6) + Content(f" {made(step)}/{step.wanted}")
    if step.sent:
        found += Content.styled(f" ▶{step.sent}", "$title")
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
        planned = f"  {counted(step.wanted, 'picture')} planned, once step {step.position - 1} is approved"
        return Content.styled("◌ ", "$dim") + name + dim(planned)
    if step.is_last and run.winner_id is not None:
        return Content("🏆 ") + name + dim(f"  {counted(made(step), 'picture')}, number {run.winner_id} won")
    if step.approved:
        went = f"  {counted(made(step), 'picture')}, the best {step.top_k} went on" if step.top_k > 1 else ""
        went = went or f"  {counted(made(step), 'picture')}, the best one went on"
        by = Content.styled("  by night mode", "$warning") if step.approved_by == NIGHT else Content.empty()
        return Content("✅ ") + name + by + dim(went)
    rejected = dim(f"  {step.rejected} rejected") if step.rejected else Content.empty()
    return _step_mark(step, run) + name + Content("  ") + counts(step) + rejected


def _step_mark(step: RunStepView, run: RunView) -> Content:
    """Whether pictures of the step are made just now, wait for a run that does not go on, or wait for you."""
    if not (step.open or step.in_flight):
        return Content.styled("◆ ", "$section")
    goes_on = step.sent or run.status in ("pending", "running")
    return Content.styled("▶ ", "$title") if goes_on else Content.styled("◐ ", "$warning")


def contest_line(standing: Standings) -> Content:
    """`9 votes, fairly sure, 81 %`."""
    return Content(f"{counted(standing.votes, 'vote')}, ") + confidence(standing.p_top_k)


def pace_line(pace: Pace, servers: int = 1) -> Content | None:
    """`2.4 a minute, about 3 min 20 s left`; None where nothing is to come or nothing is known.

    Args:
        servers: that work.
    """
    left = pace.seconds_left(servers)
    if not pace.remaining:
        return None
    to_come = f"{counted(pace.remaining, 'picture')} to come"
    if left is None:
        return dim(f"{to_come}, time left not known yet")
    words = Content.styled(f"about {duration(left)} left", "$section")
    if pace.per_minute:
        return words + dim(f"  {per_minute(pace.per_minute)}, {to_come}")
    return words + dim(f"  {to_come}, going by the last ones")


def per_minute(rate: float) -> str:
    """`2.4 a minute`, or for what is slow `18 an hour`."""
    return f"{rate:.1f} a minute" if rate >= 1 else f"{rate * 60:.0f} an hour"


def left_short(pace: Pace | None, servers: int = 1) -> Content:
    """`3 min 20 s`: the time left, in a cell of a list."""
    left = pace.seconds_left(servers) if pace is not None and pace.remaining else None
    return Content.empty() if left is None else Content.styled(roughly(left), "$section")


def roughly(seconds: float) -> str:
    """A length of time in few columns: `24 s`, `4 min`, `2 h 05 min`."""
    return f"{round(seconds / 60)} min" if 60 <= seconds < 3570 else duration(seconds)


def failure_lines(failures: Sequence[JobFailure], key: str) -> Iterator[Content]:
    """What failed: each sentence once with how often it was said; the key tells all.

    Args:
        key: that opens the list of what failed.
    """
    if not failures:
        return
    said = Counter((failure.position, failure.step, failure.words) for failure in failures)
    for (position, step, words), times in said.most_common(SENTENCES):
        often = Content.styled(f"{times}× ", "$error") if times > 1 else Content.empty()
        yield Content.assemble(
            ("✗ ", "$error"), often, (f"step {position}, {step}: ", "$dim"), short(words, 240)
        )
    given_up = sum(failure.given_up for failure in failures)
    rest = f"{given_up} given up" if given_up else "all tried again"
    yield Content.assemble(("[", "$dim"), (key, "$title"), (f"] what to do; {rest}", "$dim"))


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
        made = Content(f"{counted(preview.cost, 'picture')} will be made in {following}.")
        yield made + dim(f" {_cost_words(preview)}")
    if preview.probability is not None:
        yield dim("That these are the best: ") + confidence(preview.probability)
    for warning in preview.warnings:
        yield say("warn", warning)


def _cost_words(preview: GatePreview) -> str:
    """What the next step and all that follow take, as far as it is known."""
    words = "Nobody knows yet how long they take."
    if preview.minutes is not None:
        words = f"About {duration(60 * preview.minutes)} of one card."
    if preview.rest_pictures > preview.cost:
        rest = counted(preview.rest_pictures, "picture")
        time = f", about {duration(60 * preview.rest_minutes)}" if preview.rest_minutes is not None else ""
        words += f" Until the end {rest}{time}."
    return words


def run_parts(
    facts: RunFacts, engine: EngineStatus | None, now: datetime, errors_key: str
) -> Iterator[tuple[str, list[Content]]]:
    """Titles and lines of the panel that tells all about a run.

    Args:
        errors_key: the key that opens the list of what failed.
    """
    run = facts.run
    yield "Run", [*_standing(facts), *_about(facts, now)]
    yield "Steps", list(step_lines(run))
    yield "Now", list(_now(facts, engine, now))
    yield "Servers", list(endpoint_lines(engine))
    yield "Trouble", [*_warnings(run), *failure_lines(facts.failures, errors_key)]
    yield "Prompt", [Content(run.prompt)] + ([dim(f"without: {run.negative}")] if run.negative else [])


def _warnings(run: RunDetail) -> Iterator[Content]:
    yield from (say("warn", warning.sentence) for warning in run.warnings)


def _now(facts: RunFacts, engine: EngineStatus | None, now: datetime) -> Iterator[Content]:
    if facts.run.status in ("pending", "running"):
        line = pace_line(facts.pace, healthy_servers(engine))
        if line is not None:
            yield line
    own = [job for job in engine.jobs if job.run_id == facts.run.id] if engine is not None else []
    yield from job_lines(own, now)


def healthy_servers(engine: EngineStatus | None) -> int:
    """How many servers work; at least one."""
    return max(sum(one.healthy for one in engine.endpoints), 1) if engine is not None else 1


def _budget(budget: BudgetView) -> Iterator[str]:
    if budget.max_pictures is not None:
        under_way = f" and {budget.reserved} reserved" if budget.reserved else ""
        yield f"{budget.made}{under_way} of at most {counted(budget.max_pictures, 'picture')}"
    if budget.max_gpu_minutes is not None:
        yield f"{budget.gpu_minutes:.1f} of at most {budget.max_gpu_minutes:g} GPU minutes"


def _night(run: RunView) -> Iterator[str]:
    if run.night == "sure":
        yield "night mode when sure"
    elif run.night_at is not None:
        yield f"night mode from {run.night_at:%d %b %H:%M} UTC"


def _standing(facts: RunFacts) -> Iterator[Content]:
    run = facts.run
    yield status_mark(run.status) + Content("  ") + Content.styled(run.name, "bold")
    if run.reason:
        yield say("error" if run.status == "failed" else "warn", run.reason)
    if facts.standings is not None and (facts.standings.votes or run.status == "waiting"):
        yield contest_line(facts.standings)


def _about(facts: RunFacts, now: datetime) -> Iterator[Content]:
    run = facts.run
    age = duration(max((now - run.created_at).total_seconds(), 0.0))
    parts = [f"run {run.id}", f"{run.pipeline} v{run.pipeline_version}", f"{age} ago"]
    if facts.cluster is not None:
        parts.append(f"for {facts.cluster}")
    yield dim(", ".join(parts))
    rules = [*_budget(run.budget), *_night(run)]
    if rules:
        yield dim(", ".join(rules))
    if run.loras:
        yield dim("LoRAs " + ", ".join(use.words for use in run.loras))
    if run.variables:
        yield dim("  ".join(f"{name}={value}" for name, value in run.variables.items()))
