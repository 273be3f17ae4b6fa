"""The Dashboard's words: each part of the view as styled lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, tzinfo
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from textual.content import Content

from persona_tui.widgets.marks import counted, days_away, dim, say, short, stock_dot, tree

if TYPE_CHECKING:
    from persona_tui.services.generation.health import EngineStatus
    from persona_tui.services.generation.runs import RunView
    from persona_tui.services.leadership import Beat
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.planning.overview import (
        DashboardView,
        NextAction,
        PersonaCounts,
        PillarBranch,
        PostLine,
        PostPart,
    )

CLUSTERS_SHOWN = 6
"""Clusters shown of one pillar."""
CAPTION_LENGTH = 110
BAR = 16
"""Columns of a progress bar."""

POST_WORDS = {
    "claimed": "going out now",
    "staged": "going out now",
    "creating": "going out now",
    "container": "going out now",
    "publishable": "going out now",
    "sending": "going out now",
    "unknown": "answer was lost, being looked up",
    "reconciling": "answer was lost, being looked up",
    "deferred": "is tried again",
    "paused": "paused",
    "missed": "missed",
    "fix_needed": "needs a fix",
    "needs_human": "needs you",
    "failed": "failed",
}
"""Words for the states of a post that are not told by the part it stands in."""

GAP_MARKS: Mapping[str, tuple[str, str]] = {
    "exhausted": ("🚫", "$error"),
    "critical": ("🔴", "$error"),
    "low": ("⚠ ", "$warning"),
    "ready": ("✅", "$success"),
    "minimal": ("✅", "$success"),
}
"""Icon, two columns wide, and style for the state of a pillar's stock."""


def post_lines(view: DashboardView, zone: tzinfo, *, compact: bool) -> Iterator[Content]:
    """SCHEDULED POSTS: overdue, upcoming, just published.

    Args:
        zone: in which times are shown.
        compact: fewer of each, so that the pillars have room as well.
    """
    if "held" in view.waiting:
        yield say("warn", f"Publishing is held: {view.waiting['held'].first_title}")
    for alarm in view.alarms:
        yield say("error", alarm)
    if "all paused" in view.waiting:
        yield say("warn", "All publishing is paused.")
    if view.overdue.count:
        yield say("error", counted(view.overdue.count, "overdue post"))
        yield from _posts(view.overdue, view.now, zone, "$error", 2 if compact else 3)
    else:
        yield say("ok", "No overdue posts")
    if view.upcoming.count:
        yield say("info", counted(view.upcoming.count, "upcoming post"))
        yield from _posts(view.upcoming, view.now, zone, "$success", 2 if compact else 5)
    else:
        yield say("warn", "No upcoming posts")
    if view.published.count:
        yield say("ok", f"{counted(view.published.count, 'post')} published in the last 7 days")
        if not compact:
            yield from _posts(view.published, view.now, zone, "$info", 3)


def _posts(part: PostPart, now: datetime, zone: tzinfo, style: str, most: int) -> Iterator[Content]:
    for post in part.posts[:most]:
        yield _post(post, now, zone, style)
    hidden = part.count - len(part.posts[:most])
    if hidden:
        yield dim(f"  … and {hidden} more")


def _post(post: PostLine, now: datetime, zone: tzinfo, style: str) -> Content:
    local = post.at.astimezone(zone)
    late = post.at < now and post.state != "published"
    word = POST_WORDS.get(post.state)
    going_out = word == POST_WORDS["sending"]
    away = "" if going_out else days_away(local, now.astimezone(zone), due=late)
    notes = ", ".join(note for note in (away, word) if note)
    words = short(post.caption, CAPTION_LENGTH) or post.cluster
    return Content.assemble(
        ("  ▶ ", style),
        f"{local:%d %b %H:%M} ",
        (f"({notes}) ", "$dim"),
        words if words else Content.styled("No caption", "$warning"),
    )


def pillar_lines(view: DashboardView) -> Iterator[Content]:
    """CONTENT PILLARS & CLUSTERS: the tree with stock and gaps."""
    if not view.pillars:
        yield say("warn", "No content pillars yet")
    for branch in view.pillars:
        yield from _branch(branch)
    if view.unlinked:
        yield say("warn", f"{counted(len(view.unlinked), 'cluster')} without a pillar")
        yield from _clusters(view.unlinked)


def _branch(branch: PillarBranch) -> Iterator[Content]:
    pillar, gap = branch.pillar, branch.gap
    facts = dim(f" ({pillar.weight:g} % weight, priority {pillar.priority})")
    if gap is None:
        state = "switched off" if not pillar.active else "out of its dates"
        yield Content.assemble(("○  ", "$dim"), (pillar.name, "bold"), facts, (f"  {state}", "$dim"))
    else:
        icon, style = GAP_MARKS[gap.status]
        need = gap_words(gap.gap)
        yield Content.assemble(f"{icon} ", (pillar.name, "bold"), facts, (f"  {need}", style))
    if pillar.start_date or pillar.end_date:
        yield dim(f"    Active: {date_span(pillar.start_date, pillar.end_date)}")
    if not branch.clusters:
        yield from tree([Content.styled("No clusters linked", "$warning")])
        return
    yield from _clusters(branch.clusters)
    if gap is not None:
        yield dim(f"    Needs {gap.needed} in 30 days: {gap.scheduled} scheduled, {gap.available} in stock")


def gap_words(gap: int) -> str:
    """`3 missing`, `covered`, `covered, 4 spare`."""
    if gap > 0:
        return f"{gap} missing"
    return f"covered, {-gap} spare" if gap else "covered"


def date_span(start: date | None, end: date | None) -> str:
    """`11/20 to 12/24`, `from 11/20`, `to 12/24`, `always`."""
    if start and end:
        return f"{start:%d %b} to {end:%d %b}"
    if start:
        return f"from {start:%d %b}"
    return f"to {end:%d %b}" if end else "always"


def _clusters(clusters: Sequence[ClusterView]) -> Iterable[Content]:
    lines = [cluster_line(cluster) for cluster in clusters[:CLUSTERS_SHOWN]]
    if len(clusters) > CLUSTERS_SHOWN:
        lines.append(dim(f"… and {len(clusters) - CLUSTERS_SHOWN} more"))
    return tree(lines)


def cluster_line(cluster: ClusterView) -> Content:
    """A cluster with its stock."""
    facts = f" ({counted(cluster.pictures, 'picture')}, {cluster.unposted} unposted)"
    return stock_dot(cluster.unposted) + Content(f" {cluster.name}") + dim(facts)


def action_lines(actions: Sequence[NextAction], keys: Sequence[str]) -> Iterator[Content]:
    """NEXT ACTIONS with their keys."""
    if not actions:
        yield Content.assemble("🎉 ", ("All caught up! Nothing is due.", "$success"))
    for action, key in zip(actions, keys, strict=False):
        yield Content.assemble(
            f"{action.icon} ", ("[", "$dim"), (key, "$title bold"), ("] ", "$dim"), action.sentence
        )


def generation_lines(view: DashboardView, engine: EngineStatus | None) -> Iterator[Content]:
    """GENERATING NOW: each live run at its step, and the servers."""
    if not view.runs:
        yield dim("Nothing is being generated.")
    votes = {contest.run_step_id: contest.votes for contest in view.contests}
    for run in view.runs:
        yield from _run(run, votes.get(run.current.id, 0), engine)
    for endpoint in engine.endpoints if engine else ():
        mark, style = ("●", "$success") if endpoint.healthy else ("✖", "$error")
        yield Content.assemble((f"{mark} ", style), (f"{_host(endpoint.url)}  {endpoint.sentence}", "$dim"))


def _host(url: str) -> str:
    """Host and port alone: an address may carry a password or a key."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _run(run: RunView, votes: int, engine: EngineStatus | None) -> Iterator[Content]:
    step = run.current
    have = step.active + step.rejected
    busy = step.open + step.in_flight
    mark = Content.styled("▶ ", "$title") if busy else Content.styled("⚖ ", "$section")
    yield (
        mark
        + Content.styled(short(run.name, 40), "bold")
        + dim(f"  step {step.position} of {len(run.steps)}, {step.name}")
    )
    if not busy:
        yield Content.assemble(
            (f"  {counted(step.active, 'picture')} wait for you", "$section"),
            (f", {counted(votes, 'vote')} so far", "$dim"),
        )
        return
    jobs = [job.progress for job in engine.jobs if job.run_id == run.id] if engine else []
    done = have + sum(jobs)
    yield Content.assemble(
        "  ", bar(done / max(step.wanted, 1)), f"  {have} of {step.wanted} pictures"
    ) + dim(f", {counted(len(jobs), 'job')} on the servers" if jobs else "")


def bar(share: float, width: int = BAR) -> Content:
    """A progress bar; the share is cut to 0 to 1."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return Content.assemble(("━" * full, "$title"), ("─" * (width - full), "$rule"))


def persona_lines(personas: Sequence[PersonaCounts], current: int | None) -> Iterator[Content]:
    """PERSONAS: each with what waits there."""
    for persona in personas:
        mark = Content.styled("▸ ", "$title bold") if persona.id == current else Content("  ")
        yield mark + Content.styled(persona.name, "bold") + Content("  ") + _standing(persona)


def _standing(persona: PersonaCounts) -> Content:
    parts = [
        Content.styled(f"{number} {word}", style)
        for number, word, style in (
            (persona.overdue, "overdue", "$error"),
            (persona.needs_person, "to settle", "$warning"),
            (persona.votes, "to vote on", "$section"),
            (persona.ideas, "ideas", "$dim"),
            (persona.upcoming, "upcoming", "$success"),
        )
        if number
    ]
    return Content.styled(", ", "$dim").join(parts) if parts else dim("nothing waits")


def process_lines(processes: Sequence[Beat], own_id: str) -> Iterator[Content]:
    """PROCESSES: who leads, who stands by."""
    if not processes:
        yield dim("No process has reported within the last minute.")
    for process in processes:
        if process.kind == "worker":
            mark = Content.styled("○ works", "$dim")
        else:
            mark = (
                Content.styled("● leads", "$success")
                if process.leader
                else Content.styled("○ stands by", "$dim")
            )
        own = "this one, " if process.process_id == own_id else ""
        yield mark + Content(f"  {process.kind}") + dim(f"  {own}{process.host}, pid {process.pid}")
