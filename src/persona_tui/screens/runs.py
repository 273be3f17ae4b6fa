"""Runs: what is being made, how far it is, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize, ScreenResume, ScreenSuspend
from textual.timer import Timer
from textual.widgets import Static

from persona_tui.screens import runs_data, runs_lines, vote_data, vote_lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.runs_data import Choices, RunFacts, wake_engine
from persona_tui.screens.runs_forms import ApproveDialog, cancel_question, new_run_form, winner_question
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.form import Values
from persona_tui.widgets.marks import counted, dim, duration
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.reader import TextDialog

if TYPE_CHECKING:
    from persona_tui.services.generation.gates import GatePreview
    from persona_tui.services.generation.health import EngineStatus
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunView

POLL = 1.0
"""Seconds between two looks at the servers."""
LIVE = ("pending", "running", "waiting")
WIDE = 120
"""Columns from which the panel stands beside the list and has titles."""


class RunsScreen(PersonaScreen):
    """The persona's runs, the newest first, and all about the one under the cursor."""

    SCOPE = "runs"
    TITLE = "Runs"
    HELP = (
        "A run makes pictures of a prompt, step by step; after each step the best go on, when you approve. "
        "“Your turn” waits for your votes and your approval. Pictures counts those made, of those wanted; "
        "▶ are on a server, ✗ could not be made. Enter tells all about a run, its errors too."
    )
    TOPICS = frozenset({"run", "candidate", "vote"})
    CSS_PATH = "runs.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._target: int | None = None
        self._facts: RunFacts | None = None
        self._engine: EngineStatus | None = None
        self._best: tuple[Path | None, str] | None = None
        self._poll: Timer | None = None

    # What is on the screen

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="runs-part"):
            with Vertical(id="runs-list"):
                yield DataList(
                    [
                        Column("Status", 12),
                        Column("Run"),
                        Column("Step", 12),
                        Column("Pictures", 22),
                        Column("Age", 11, align="right", from_width=90),
                    ],
                    self._cells,
                    key=lambda run: run.id,
                    id="runs",
                )
            with Vertical(id="about"):
                yield PartsPanel(runs_lines.PARTS, id="panel")
                yield PicturePane("no picture yet", id="best")
                yield Static(id="best-words", markup=False)
        yield EmptyState(
            "No runs yet.\nA run makes pictures of a prompt, or of an idea.", "runs.new", icon="🎬"
        )

    def on_mount(self) -> None:
        self._poll = self.set_interval(POLL, self._look_at_engine)
        self._list.focus()

    def on_resize(self, event: Resize) -> None:
        self.query_one(PartsPanel).set_class(event.size.width < WIDE, "-compact")

    def on_screen_resume(self, _event: ScreenResume) -> None:
        if self._poll is not None:
            self._poll.resume()

    def on_screen_suspend(self, _event: ScreenSuspend) -> None:
        if self._poll is not None:
            self._poll.pause()

    @property
    def _list(self) -> DataList[RunView]:
        found: DataList[RunView] = self.query_one("#runs", DataList)
        return found

    @property
    def _run(self) -> RunView | None:
        return self._list.current

    def _cells(self, run: RunView) -> list[Cell]:
        step = run.current
        age = duration(max((self.shell.now() - run.created_at).total_seconds(), 0.0))
        return [
            runs_lines.status_mark(run.status),
            run.name,
            f"{step.position}/{len(run.steps)} {step.name}",
            runs_lines.counts_short(step),
            dim(age),
        ]

    # Reading

    def aim(self, **target: int) -> None:
        """Look at a run, or begin a new one.

        Args:
            run_id: which.
            new: 1 to ask for a new one at once.
        """
        self._target = target.get("run_id")
        self.request_reload()
        if target.get("new"):
            self.action_new()

    async def reload(self) -> None:
        runs = await self.read(runs_data.read_runs, self.shell.persona_id)
        self._list.show(runs)
        self.set_class(not runs, "-empty")
        if self._target is not None and self._list.go_to(self._target):
            self._target = None
        self.refresh_bindings()
        await self._read_facts()

    def on_data_list_row_highlighted(self, _event: DataList.RowHighlighted) -> None:
        self.refresh_bindings()
        self.spawn(self._read_facts, group="facts", exclusive=True, quiet=True)

    async def _read_facts(self) -> None:
        run = self._run
        if run is not None:
            self._facts = await self.read(runs_data.read_facts, self.shell.core.resources.media, run.id)
            self._show_best(self._facts)
        else:
            self._facts = None
        self._engine = self.shell.core.status().engine
        self._show_facts()

    def _show_best(self, facts: RunFacts) -> None:
        pane = self.query_one("#best", PicturePane)
        if self._best != (facts.picture, facts.caption):
            self._best = (facts.picture, facts.caption)
            pane.show(facts.picture, facts.caption)
            self.query_one("#best-words", Static).update(dim(facts.caption))

    def _look_at_engine(self) -> None:
        if self._facts is not None and self.is_current_view:
            self._engine = self.shell.core.status().engine
            self._show_facts()

    def _show_facts(self) -> None:
        if self._facts is not None:
            parts = runs_lines.run_parts(self._facts, self._engine, self.shell.now())
            self.query_one(PartsPanel).show(parts)

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        self.spawn(partial(self._tell_all, event.item.id), group="tell", exclusive=True)

    async def _tell_all(self, run_id: int) -> None:
        facts = await self.read(runs_data.read_facts, self.shell.core.resources.media, run_id)
        text = Content("")
        for title, lines in runs_lines.run_parts(facts, self._engine, self.shell.now()):
            if lines:
                text += Content.styled(f"{title.upper()}\n", "$section bold")
                text += Content("\n").join(lines) + Content("\n\n")
        self.app.push_screen(TextDialog(f"Run {run_id}", text.rstrip()))

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        run = self._run if action in _POSSIBLE and self.is_mounted else None
        if action in _POSSIBLE:
            return run is not None and _POSSIBLE[action](run)
        return super().check_action(action, parameters)

    def action_new(self) -> None:
        self.spawn(self._ask_for_run, group="ask", exclusive=True)

    def action_clone(self) -> None:
        self.spawn(self._clone, group="ask", exclusive=True)

    async def _clone(self) -> None:
        run = self._run
        if run is None:
            return
        if run.persona_id is None:
            self.flash(f"This run has no persona: `persona-tui run clone {run.id}` clones it.", "warn")
            return
        choices = await self.act(runs_data.read_choices, run.persona_id)
        await self._ask(choices, partial(runs_data.clone_run, run_id=run.id), run)

    async def _ask_for_run(self) -> None:
        persona_id = self.shell.persona_id
        if persona_id is None:
            key = self.shell.registry.label("global.personas")
            self.flash(f"A run belongs to a persona, and there is none yet: [{key}].", "warn")
            return
        choices = await self.act(runs_data.read_choices, persona_id)
        await self._ask(choices, partial(runs_data.start_run, persona_id=persona_id))

    async def _ask(
        self, choices: Choices, start: Callable[..., RunView], like: RunView | None = None
    ) -> None:
        made: list[RunView] = []

        async def submit(values: Values) -> None:
            made.append(await self.act(start, values=values))

        if await self.ask(new_run_form(choices, submit, like)) and made:
            wake_engine(self.shell)
            self._target = made[-1].id
            self.request_reload()
            pictures = counted(made[-1].current.wanted, "picture")
            self.flash(f"{pictures} of “{made[-1].name}” are being made.", "busy")

    def action_pause(self) -> None:
        self.spawn(self._pause, group="act")

    async def _pause(self) -> None:
        run = self._run
        if run is not None:
            await self.act(runs_data.pause, run.id)
            key = self.shell.registry.label("runs.resume")
            self.flash(f"“{run.name}” is paused; what is on a server comes to its end. [{key}] goes on.")

    def action_resume(self) -> None:
        self.spawn(self._resume, group="act")

    async def _resume(self) -> None:
        run = self._run
        if run is not None:
            await self.act(runs_data.resume, run.id)
            wake_engine(self.shell)
            self.flash(f"“{run.name}” goes on.")

    def action_cancel(self) -> None:
        self.spawn(self._cancel, group="ask", exclusive=True)

    async def _cancel(self) -> None:
        run = self._run
        if run is not None and await self.ask(cancel_question(run)):
            await self.act(runs_data.cancel, run.id)
            wake_engine(self.shell)
            self.flash(f"“{run.name}” is cancelled; its pictures stay.")

    def action_approve(self) -> None:
        self.spawn(self._approve, group="ask", exclusive=True)

    async def _approve(self) -> None:
        run = self._run
        if run is None:
            return
        following = next((step for step in run.steps if step.position == run.current.position + 1), None)
        if following is None:
            await self._choose_winner(run)
        else:
            await self._approve_step(run, following)

    async def _approve_step(self, run: RunView, following: RunStepView) -> None:
        step = run.current
        opened: list[int] = []

        async def submit(values: Values) -> None:
            opened.append(await self.act(runs_data.approve, step.id, values["k"]))

        async def look(k: int) -> GatePreview:
            return await self.read(runs_data.preview, step.id, k)

        if await self.ask(ApproveDialog(step, following.name, look, submit)) and opened:
            wake_engine(self.shell)
            self.flash(f"{step.name} is approved: {following.name} makes {counted(opened[-1], 'picture')}.")

    async def _choose_winner(self, run: RunView) -> None:
        preview = await self.read(runs_data.preview, run.current.id, 1)
        if not await self.ask(winner_question(preview)):
            return
        done = await self.act(vote_data.accept, run.id)
        if done.post_id is not None:
            await self.shell.go_to("posts", post_id=done.post_id, caption=1)
        self.flash(vote_lines.accepted(done))

    async def action_vote(self) -> None:
        if self._run is not None:
            await self.shell.go_to("vote", run_id=self._run.id)

    async def action_gallery(self) -> None:
        if self._run is not None:
            await self.shell.go_to("gallery", run_id=self._run.id)


def _may_approve(run: RunView) -> bool:
    return run.status in (*LIVE, "paused") and run.current.active > 0 and not run.current.unseen


def _may_resume(run: RunView) -> bool:
    given_up = run.status in LIVE and any(step.failed for step in run.steps)
    return run.status in ("paused", "failed") or given_up


def _is_open(run: RunView) -> bool:
    return run.status not in ("completed", "cancelled")


_POSSIBLE: dict[str, Callable[[RunView], bool]] = {
    "approve": _may_approve,
    "vote": _is_open,
    "gallery": lambda _run: True,
    "pause": lambda run: run.status in LIVE,
    "resume": _may_resume,
    "clone": lambda _run: True,
    "cancel": _is_open,
}
"""For each act on a run: whether it makes sense now."""
