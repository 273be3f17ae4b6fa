"""What Personas & Pillars shows: rows, facts and the weights as one bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from persona_tui.screens.dashboard_lines import GAP_MARKS, cluster_line, date_span, gap_words
from persona_tui.widgets.marks import counted, dim, tree

if TYPE_CHECKING:
    from persona_tui.services.planning.gaps import PillarGap
    from persona_tui.services.planning.overview import PillarBranch
    from persona_tui.services.planning.personas import PersonaView
    from persona_tui.services.planning.pillars import PillarView
    from persona_tui.services.publishing.accounts import AccountView

SHADES = ("$title", "$section", "$success", "$label", "$info", "$warning")
"""Colours of the bar's pieces in turn; each piece carries its name as well."""


class WeightsBar(Widget):
    """The active pillars' shares of a hundred, as one bar of named pieces; what is free stays empty."""

    DEFAULT_CSS = "WeightsBar { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: clip; }"

    weights: reactive[tuple[tuple[str, float], ...]] = reactive[tuple[tuple[str, float], ...]](())
    """Name and percent of each active pillar."""

    def render(self) -> Content:
        width, used, start = self.size.width, 0.0, 0
        pieces = []
        for index, (name, weight) in enumerate(self.weights):
            used += weight
            end = round(min(used, 100.0) / 100 * width)
            shade = SHADES[index % len(SHADES)]
            pieces.append(_piece(f"{name} {weight:g}", end - start, f"bold $on-badge on {shade}"))
            start = end
        if start < width:
            pieces.append(_piece(f"{100 - used:g} free", width - start, "$dim on $panel"))
        return Content("").join(pieces)


def _piece(words: str, width: int, style: str) -> Content:
    content = Content(f" {words}").truncate(width, ellipsis=True)
    return Content.styled(content.plain.ljust(width)[:width], style)


def facts(persona: PersonaView, account: AccountView | None) -> Content:
    """A persona on one line."""
    parts = [
        f"{persona.age}, {'fictional' if persona.fictional else 'a real person'}",
        f"{persona.posts_per_week:g} posts a week",
        persona.zone,
        counted(persona.pictures, "picture"),
    ]
    return _account(account) + dim(", ".join(["", *parts]))


def _account(account: AccountView | None) -> Content:
    if account is None:
        return Content.styled("○ no account", "$warning")
    name = f"@{account.username}" if account.username else account.ig_user_id
    if account.status == "active":
        return Content.styled(f"● {name}", "$success")
    return Content.styled(f"✖ {name} {account.status}", "$error")


def pillar_cells(branch: PillarBranch) -> list[Content]:
    """A pillar's row: icon and name, weight, priority, dates, stock, gap."""
    pillar, gap = branch.pillar, branch.gap
    if gap is None:
        off = "off" if not pillar.active else "not now"
        return [
            dim(f"○  {pillar.name}"),
            dim(f"{pillar.weight:g} %"),
            dim(str(pillar.priority)),
            dim(date_span(pillar.start_date, pillar.end_date)),
            dim(f"{branch.unposted}"),
            dim(off),
        ]
    icon, style = GAP_MARKS[gap.status]
    return [
        Content.assemble((f"{icon} ", style), pillar.name),
        Content(f"{pillar.weight:g} %"),
        Content(str(pillar.priority)),
        dim(date_span(pillar.start_date, pillar.end_date)),
        Content(str(branch.unposted)),
        Content.styled(gap_words(gap.gap), style),
    ]


def pillar_detail(branch: PillarBranch, days: int) -> Iterator[Content]:
    """All that is known of a pillar."""
    pillar = branch.pillar
    yield Content.styled(pillar.name, "bold")
    target = pillar.target_posts_per_week
    own_pace = f", {target} posts a week" if target is not None else ""
    yield dim(f"{pillar.weight:g} % weight, priority {pillar.priority}{own_pace}")
    yield dim(f"Active: {date_span(pillar.start_date, pillar.end_date)}")
    if pillar.description:
        yield Content("")
        yield Content(pillar.description)
    yield Content("")
    yield from _gap_lines(branch.gap, pillar, days)
    guidelines = list(_guidelines(pillar))
    if guidelines:
        yield Content("")
        yield from guidelines
    yield Content("")
    yield Content.styled("Clusters", "bold")
    if branch.clusters:
        yield from tree([cluster_line(cluster) for cluster in branch.clusters], indent=0)
    else:
        yield Content.styled("No clusters linked", "$warning")


def _gap_lines(gap: PillarGap | None, pillar: PillarView, days: int) -> Iterator[Content]:
    if gap is None:
        yield dim("Switched off." if not pillar.active else "Out of its dates.")
        return
    icon, style = GAP_MARKS[gap.status]
    yield Content.assemble(f"{icon} ", (f"{gap.status}, {gap_words(gap.gap)}", style))
    yield dim(f"Needs {gap.needed} in {days} days: {gap.scheduled} scheduled, {gap.available} in stock.")
    yield dim(f"Urgency: {gap.urgency}.")


def _guidelines(pillar: PillarView) -> Iterator[Content]:
    labels = {"tone": "Tone", "topics": "Topics", "avoid_topics": "Avoid", "style_notes": "Style"}
    for name, label in labels.items():
        value = pillar.guidelines.get(name)
        if value:
            words = value if isinstance(value, str) else ", ".join(value)
            yield Content.assemble((f"{label}: ", "$dim"), words)


def weights_of(branches: Sequence[PillarBranch]) -> tuple[tuple[str, float], ...]:
    """Name and percent of the active pillars that have a weight."""
    return tuple((b.pillar.name, b.pillar.weight) for b in branches if b.pillar.active and b.pillar.weight)
