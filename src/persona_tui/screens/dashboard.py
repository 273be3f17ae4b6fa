"""Dashboard: what is due, what is missing, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from persona_tui.screens import dashboard_lines as lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.first_look import LookTaken
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.marks import counted, dim
from persona_tui.widgets.messages import CoreFailed, CoreReady
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.shell import CoreState

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.planning.gaps import PillarGap
    from persona_tui.services.planning.overview import DashboardView

PROGRESS_PAUSE = 2.0
"""Seconds between two looks at what the servers do."""
AGE_PAUSE = 60.0
"""Seconds after which what is shown has aged: posts become due without anybody changing them."""
ROOMY_FROM = 40
"""Rows of the terminal from which all posts of each part are listed."""
ACTIONS = ("first", "second", "third")
"""Names of the actions that do the next things, in their order."""


def _read(session: Session, persona_id: int | None) -> tuple[DashboardView, str]:
    """The view at the database's own time, and the id of this process; runs in a thread."""
    from sqlalchemy import text

    from persona_tui.services.leadership import this_process
    from persona_tui.services.planning.overview import dashboard

    now = session.execute(text("SELECT persona_now()")).scalar_one()
    return dashboard(session, persona_id, now), this_process().id


def _gap_lines(gaps: Iterable[PillarGap]) -> Iterator[Content]:
    """The pillars of the first look: as `dashboard_lines.pillar_lines`, in its order, without clusters."""
    for gap in sorted(gaps, key=lambda gap: (-gap.priority, -gap.weight, gap.pillar_id)):
        icon, style = lines.GAP_MARKS[gap.status]
        facts = f" ({gap.weight:g} % weight, priority {gap.priority})"
        need = (f"  {lines.gap_words(gap.gap)}", style)
        yield Content.assemble(f"{icon} ", (gap.name, "bold"), (facts, "$dim"), need)
        yield dim(f"    Needs {gap.needed} in 30 days: {gap.scheduled} scheduled, {gap.available} in stock")


class Part(Vertical):
    """A section: its title over its lines; until it is filled it says that it is being read."""

    DEFAULT_CSS = """
    Part { height: auto; margin-bottom: 1; }
    Part > Static { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id)
        self._title = title
        self._shown: Content | None = None

    def compose(self) -> ComposeResult:
        yield SectionTitle(self._title)
        yield Static(dim("◌ …"))

    def show(self, found: Iterable[Content], note: str = "") -> None:
        """Replace the lines; what has not changed costs nothing."""
        shown = Content("\n").join(list(found))
        self.query_one(SectionTitle).note = note
        if self._shown is None or shown.markup != self._shown.markup:
            self._shown = shown
            self.query_one(Static).update(shown)


class DashboardScreen(PersonaScreen):
    """The persona's day on one page, with the next three things to do under one key each."""

    SCOPE = "dashboard"
    TITLE = "Dashboard"
    HELP = (
        "What is due, what is missing and what to do next. The three next actions are the most urgent: "
        "their keys open the right view with the right thing in hand. Stock dots: ● 3 or more unposted "
        "pictures, ◐ 1 or 2, ○ none. Gaps count the posts that the next 30 days need."
    )
    CSS_PATH = "dashboard.tcss"
    TOPICS = frozenset(
        {
            "persona",
            "pillar",
            "idea",
            "run",
            "candidate",
            "vote",
            "cluster",
            "photo",
            "post",
            "account",
            "leader",
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self._view: DashboardView | None = None
        self._own_id = ""

    def compose_body(self) -> ComposeResult:
        with VerticalScroll(id="page", can_focus=False):
            with Vertical(id="plan"):
                yield Part("Scheduled posts", id="posts")
                yield Part("Content pillars & clusters", id="pillars")
            with Vertical(id="live"):
                yield Part("Generating now", id="generation")
                yield Part("Personas", id="personas")
                yield Part("Processes", id="processes")
        yield EmptyState(
            "Welcome!\nEverything begins with a persona: who posts, in which voice, for which audience.",
            icon="👋",
            id="welcome",
        )
        yield Part("Next actions", id="next")

    def _part(self, name: str) -> Part:
        return self.query_one(f"#{name}", Part)

    # Reading and showing

    def on_mount(self) -> None:
        self.set_interval(PROGRESS_PAUSE, self._show_progress)
        self.set_interval(AGE_PAUSE, self.request_reload)

    def on_core_failed(self, _message: CoreFailed) -> None:
        self.add_class("-failed")

    def on_core_ready(self, _message: CoreReady) -> None:
        self.remove_class("-failed")

    def on_look_taken(self, message: LookTaken) -> None:
        """Show what is known before the core has started; what is not says that it is being read."""
        view = message.look.view
        if self._view is not None or view.persona is None:
            return
        self.set_class(len(view.personas) > 1, "-many")
        self._show_posts(view)
        if message.look.gaps:
            self._part("pillars").show(_gap_lines(message.look.gaps))

    async def reload(self) -> None:
        self._view, self._own_id = await self.read(_read, self.shell.persona_id)
        self._show()

    def on_resize(self) -> None:
        self._show()

    def _show(self) -> None:
        view = self._view
        if view is None:
            return
        self.set_class(not view.personas, "-new")
        self.set_class(len(view.personas) > 1, "-many")
        self._show_posts(view)
        pillars = counted(len(view.pillars), "pillar")
        self._part("pillars").show(lines.pillar_lines(view), f"{pillars}, the next 30 days")
        self._part("processes").show(lines.process_lines(view.processes, self._own_id))
        keys = [self.shell.registry.label(f"dashboard.{name}") for name in ACTIONS]
        self._part("next").show(lines.action_lines(view.actions, keys))
        self._show_progress()
        self.refresh_bindings()

    def _show_posts(self, view: DashboardView) -> None:
        compact = self.app.size.height < ROOMY_FROM
        self._part("posts").show(lines.post_lines(view, self.shell.zone, compact=compact))
        self._part("personas").show(lines.persona_lines(view.personas, self.shell.persona_id))

    def _show_progress(self) -> None:
        """What the servers do comes from memory, so it costs no statement."""
        if self._view is None or self.shell.core_state is not CoreState.READY or not self.is_current_view:
            return
        engine = self.shell.core.status().engine
        note = "" if self.shell.leader or not self._view.runs else "the leading process makes them"
        self._part("generation").show(lines.generation_lines(self._view, engine), note)

    # Doing

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ACTIONS:
            return self._view is not None and len(self._view.actions) > ACTIONS.index(action)
        return super().check_action(action, parameters)

    def _do(self, place: int) -> None:
        assert self._view is not None
        action = self._view.actions[place]
        self.spawn(partial(self.shell.go_to, action.mode, **action.target), group="go", exclusive=True)

    def action_first(self) -> None:
        self._do(0)

    def action_second(self) -> None:
        self._do(1)

    def action_third(self) -> None:
        self._do(2)

    @property
    def _page(self) -> VerticalScroll:
        return self.query_one("#page", VerticalScroll)

    def action_up(self) -> None:
        self._page.scroll_up(animate=False)

    def action_down(self) -> None:
        self._page.scroll_down(animate=False)

    def action_page_up(self) -> None:
        self._page.scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        self._page.scroll_page_down(animate=False)
