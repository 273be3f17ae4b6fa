"""Runs: what is being made, how fast, on which server, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize, ScreenResume, ScreenSuspend
from textual.timer import Timer
from textual.widgets import Static

from persona_tui.screens import (
    runs_acts,
    runs_data,
    runs_life,
    runs_lines,
    runs_servers,
    runs_wizard_data,
)
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.runs_data import RunFacts, RunList, wake_engine
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.screens.runs_picture import RunPicture
from persona_tui.screens.runs_wizard import RunWizard
from persona_tui.screens.runs_wizard_data import Offer
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.form import Values
from persona_tui.widgets.marks import dim, duration
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle

if TYPE_CHECKING:
    from persona_tui.services.generation.health import EngineStatus, JobStatus
    from persona_tui.services.generation.runs import RunView

RunAct = Callable[[PersonaScreen, "RunView"], Coroutine[Any, Any, None]]
POLL = 1.0
"""Seconds between two looks at the servers."""
STILL_POLLS = 5
"""Where nothing is to move, as over SSH, so many looks at the servers pass between two preview pictures."""
LIVE = ("pending", "running", "waiting")
ENDED = ("completed", "failed", "cancelled")
WIDE = 120
"""Columns from which the panel stands beside the list and has titles."""


class RunsScreen(PersonaScreen):
    """The persona's runs, the newest first, and all about the one under the cursor."""

    SCOPE = "runs"
    TITLE = "Runs"
    HELP = (
        "A run makes pictures of a prompt, step by step; after each step the best go on, when you approve. "
        "“Your turn” waits for your votes and your approval. Pictures counts those made, of those wanted; "
        "▶ are on a server, ✗ could not be made; Left is the time until the step is complete. "
        "The picture is what a server draws just now, or the best one so far. Enter tells all about a run."
    )
    TOPICS = frozenset({"run", "candidate", "vote"})
    CSS_PATH = "runs.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._target: int | None = None
        self._seen = RunList((), {}, {})
        self._filter = 0
        self._everyone = False
        self._facts: RunFacts | None = None
        self._engine: EngineStatus | None = None
        self._poll: Timer | None = None
        self._looks = 0

    # What is on the screen

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="runs-part"):
            with Vertical(id="runs-list"):
                yield Static(id="tally", markup=False)
                yield DataList(
                    [
                        Column("Status", 12),
                        Column("Run"),
                        Column("Step", 12),
                        Column("Pictures", 18),
                        Column("Left", 9, align="right", from_width=70),
                        Column("Age", 11, align="right", from_width=100),
                    ],
                    self._cells,
                    key=lambda run: run.id,
                    empty="No run is like that; the filter shows others.",
                    id="runs",
                )
                with Vertical(id="servers-part"):
                    yield SectionTitle("Servers")
                    yield Static(id="servers", markup=False)
            with Horizontal(id="about"):
                yield PartsPanel(runs_lines.PARTS, id="panel")
                with Horizontal(id="pictures"):
                    yield RunPicture("nothing is drawn just now", id="live")
                    yield RunPicture("no picture yet", id="best")
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
        whose = dim(f"  {run.persona or 'no persona'}") if self._everyone else Content.empty()
        return [
            runs_lines.status_mark(run.status),
            dim(f"{run.id} ") + Content(run.name) + whose,  # clones differ by their number alone
            f"{step.position}/{len(run.steps)} {step.name}",
            runs_lines.counts_short(step),
            runs_lines.left_short(self._seen.paces.get(run.id), runs_lines.healthy_servers(self._engine)),
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
        if self._target is not None:
            self._filter = 0
        self.request_reload()
        if target.get("new"):
            self.action_new()

    async def reload(self) -> None:
        whose = None if self._everyone else self.shell.persona_id
        _, statuses = runs_lines.FILTERS[self._filter]
        self._seen = await self.read(runs_data.read_runs, whose, statuses)
        self._engine = self.shell.core.status().engine
        self._list.show(self._seen.runs)
        self.query_one("#tally", Static).update(runs_lines.tally_line(self._seen.tally, self._filter))
        self.set_class(not self._seen.tally, "-empty")
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
        else:
            self._facts = None
        self._engine = self.shell.core.status().engine
        self._show_facts()
        self._show_pictures()

    # What changes by itself

    def _look_at_engine(self) -> None:
        if not self.is_current_view or not self._seen.tally:
            return
        self._engine = self.shell.core.status().engine
        self._show_facts()
        self._looks += 1
        if self.shell.moving or self._looks % STILL_POLLS == 0:
            self._show_pictures()

    def _show_facts(self) -> None:
        servers = Content("\n").join(list(runs_servers.panel_lines(self._engine)))
        self.query_one("#servers", Static).update(servers)
        facts = self._facts
        self.query_one("#about").visible = facts is not None
        if facts is not None:
            key = self.shell.registry.label("runs.errors")
            parts = runs_lines.run_parts(facts, self._engine, self.shell.now(), key)
            beside = self.has_class("-wide")  # the servers have a panel of their own there
            shown = (part for part in parts if not (beside and part[0] == "Servers"))
            self.query_one(PartsPanel).show(shown)

    def _show_pictures(self) -> None:
        facts = self._facts
        if facts is None:
            return
        self.query_one("#best", RunPicture).show_file(facts.picture, facts.caption)
        job, preview = self._preview(facts.run.id)
        self.set_class(job is not None, "-drawing")
        if job is not None and preview is not None:
            words = Content.styled("▶ ", "$title") + dim(f"step {job.step}, {job.progress:.0%}")
            self.query_one("#live", RunPicture).show_live(preview, words)

    def _preview(self, run_id: int) -> tuple[JobStatus | None, bytes | None]:
        """A job of the run of which a server has drawn something, and that picture."""
        engine = self.shell.core.engine
        for job in engine.status().jobs if engine is not None else ():
            preview = engine.preview(job.job_id) if engine is not None and job.run_id == run_id else None
            if preview is not None:
                return job, preview
        return None, None

    # Looking around

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        self.spawn(partial(self._tell_all, event.item.id), group="tell", exclusive=True)

    async def _tell_all(self, run_id: int) -> None:
        facts = await self.read(runs_data.read_facts, self.shell.core.resources.media, run_id)
        key = self.shell.registry.label("runs.errors")
        text = Content("")
        for title, lines in runs_lines.run_parts(facts, self._engine, self.shell.now(), key):
            if lines:
                text += Content.styled(f"{title.upper()}\n", "$section bold")
                text += Content("\n").join(lines) + Content("\n\n")
        self.app.push_screen(TextDialog(f"Run {run_id}", text.rstrip()))

    def action_errors(self) -> None:
        whose = None if self._everyone else self.shell.persona_id
        self.spawn(partial(runs_acts.see_errors, self, self._run, whose), group="ask", exclusive=True)

    def action_servers(self) -> None:
        names = {run.id: run.name for run in self._seen.runs}
        self.app.push_screen(
            runs_servers.ServersDialog(
                lambda: self.shell.core.status().engine,
                self.shell.now,
                lambda run_id: names.get(run_id, f"run {run_id}"),
            )
        )

    def action_filter(self) -> None:
        self._filter = (self._filter + 1) % len(runs_lines.FILTERS)
        self.request_reload()

    def action_everyone(self) -> None:
        self._everyone = not self._everyone
        self.request_reload()
        whose = self.shell.persona.name if self.shell.persona else "nobody"
        self.flash("All personas' runs." if self._everyone else f"Only the runs of {whose}.", "info")

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        run = self._run if action in _POSSIBLE and self.is_mounted else None
        if action in _POSSIBLE:
            return run is not None and _POSSIBLE[action](run)
        return super().check_action(action, parameters)

    def _with_run(self, act: RunAct, *, asks: bool = False) -> None:
        """Do something with the run under the cursor; of acts that ask, the newest one alone goes on."""
        run = self._run
        if run is not None:
            self.spawn(partial(act, self, run), group="ask" if asks else "act", exclusive=asks)

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
        await self._ask(run.persona_id, run.id)

    async def _ask_for_run(self) -> None:
        persona_id = self.shell.persona_id
        if persona_id is None:
            key = self.shell.registry.label("global.personas")
            self.flash(f"A run belongs to a persona, and there is none yet: [{key}].", "warn")
            return
        await self._ask(persona_id)

    async def _ask(self, persona_id: int, like: int | None = None) -> None:
        made: list[RunView] = []

        async def read(whose: int) -> Offer:
            return await self.act(runs_wizard_data.read_offer, whose, like)

        async def start(offer: Offer, values: Values) -> None:
            made.append(await self.act(runs_wizard_data.start_run, offer, values))

        if await self.ask(RunWizard(await read(persona_id), read, start, self.shell.now())) and made:
            wake_engine(self.shell)
            self._target, self._filter = made[-1].id, 0
            self._everyone = self._everyone or made[-1].persona_id != self.shell.persona_id
            self.request_reload()
            self.flash(runs_lines.started(made[-1]))

    def action_pause(self) -> None:
        self._with_run(runs_acts.pause)

    def action_resume(self) -> None:
        self._with_run(runs_acts.resume)

    def action_cancel(self) -> None:
        self._with_run(runs_acts.cancel, asks=True)

    def action_cancel_job(self) -> None:
        self._with_run(runs_acts.cancel_job, asks=True)

    def action_approve(self) -> None:
        self._with_run(runs_acts.approve, asks=True)

    async def action_pipelines(self) -> None:
        await self.shell.go_to("pipelines")

    def action_unapprove(self) -> None:
        self._with_run(runs_life.unapprove, asks=True)

    def action_night(self) -> None:
        self._with_run(runs_life.night, asks=True)

    def action_reopen(self) -> None:
        self._with_run(runs_life.reopen)

    def action_delete(self) -> None:
        self._with_run(runs_life.delete, asks=True)

    async def action_vote(self) -> None:
        if self._run is not None:
            await self.shell.go_to("vote", run_id=self._run.id)

    async def action_gallery(self) -> None:
        if self._run is not None:
            await self.shell.go_to("gallery", run_id=self._run.id)


def _may_resume(run: RunView) -> bool:
    given_up = run.status in LIVE and any(step.failed for step in run.steps)
    return run.status in ("paused", "failed") or given_up


def _is_open(run: RunView) -> bool:
    return run.status not in ("completed", "cancelled")


_POSSIBLE: dict[str, Callable[[RunView], bool]] = {
    "approve": runs_acts.may_approve,
    "vote": _is_open,
    "gallery": lambda _run: True,
    "pause": lambda run: run.status in LIVE,
    "resume": _may_resume,
    "unapprove": runs_life.may_unapprove,
    "night": _is_open,
    "reopen": lambda run: run.status in ENDED,
    "delete": lambda run: run.status in ENDED,
    "clone": lambda _run: True,
    "cancel": _is_open,
    "cancel_job": runs_acts.has_jobs,
}
"""For each act on a run: whether it makes sense now."""
