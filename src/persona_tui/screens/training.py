"""Training: what is trained, how it gets on, and what it learns."""

from __future__ import annotations

import asyncio
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.events import ScreenResume, ScreenSuspend
from textual.timer import Timer
from textual.widgets import Static

from persona_tui.screens import training_acts, training_lines, training_start
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.training_reading import Reader, Row
from persona_tui.screens.training_samples import SampleFiles, SampleGrid, viewed
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.viewer import ViewerDialog

if TYPE_CHECKING:
    from persona_tui.screens.training_curves import CurvePane
    from persona_tui.services.training.run_log import Happening
    from persona_tui.services.training.runs import TrainingView

POLL = 1.0
"""Seconds between two looks at the folders, while the screen is in front; no curve is drawn more often."""
PANELS = ("curves", "samples", "log")


class TrainingScreen(PersonaScreen):
    """The trainings, the newest first, and all about the one under the cursor."""

    SCOPE = "training"
    TITLE = "Training"
    HELP = (
        "A training teaches a base model a persona's face, or an editor its edits, and leaves a LoRA. It has "
        "a process of its own, so closing the app does not stop it; one that dies is resumed once by itself. "
        "Loss tells how well it predicts the pictures it learns from; likeness, how much its samples look "
        "like pictures of the persona that it never saw. Enter opens what is marked."
    )
    TOPICS = frozenset({"training", "lora", "dataset"})
    CSS_PATH = "training.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._reader = Reader()
        self._reading = asyncio.Lock()
        self._runs: tuple[TrainingView, ...] = ()
        self._panel = 0
        self._everyone = False
        self._target: int | None = None
        self._shown: int | None = None
        self._told = Content.empty()
        self._poll: Timer | None = None

    # What is on the screen

    def compose_body(self) -> ComposeResult:
        with Vertical(id="training-part"):
            yield DataList(
                [
                    Column("Status", 12),
                    Column("Training"),
                    Column("Family", 14, from_width=110),
                    Column("Steps", 17),
                    Column("A step", 7, align="right"),
                    Column("Left", 12, align="right"),
                    Column("VRAM", 10, align="right", from_width=100),
                    Column("Card", 10, align="right", from_width=120),
                ],
                self._cells,
                key=lambda row: row.run.id,
                id="trainings",
            )
            yield Static(id="facts", markup=False)
            yield Static(id="tabs", markup=False)
            with Vertical(id="panels"):
                with Vertical(id="curves-part", classes="panel"):
                    yield SectionTitle("Curves")
                    yield Vertical(id="curves")
                with Vertical(id="samples-part", classes="panel"):
                    yield SectionTitle("Samples", id="samples-title")
                    yield SampleGrid(id="samples")
                    yield Static("No samples yet: they come with the first evaluation.", id="no-samples")
                with Vertical(id="log-part", classes="panel"):
                    yield SectionTitle("Log")
                    yield DataList(
                        [Column("Time", 8), Column("What", 11), Column("Step", 6, align="right"), Column("")],
                        lambda happening: training_lines.log_cells(happening, self.shell.zone),
                        key=lambda happening: happening.number,
                        empty="its log says nothing yet",
                        id="log",
                    )
        yield EmptyState(
            "No trainings yet.\nA training makes a LoRA of a dataset: 20 or more pictures of the persona.\n"
            "`persona-tui dataset create` and `dataset add` make one.",
            "training.new",
            icon="🧬",
        )

    def on_mount(self) -> None:
        self._poll = self.set_interval(POLL, self._look)
        self._show_panel()
        self.trainings.focus()

    def on_screen_resume(self, _event: ScreenResume) -> None:
        if self._poll is not None:
            self._poll.resume()

    def on_screen_suspend(self, _event: ScreenSuspend) -> None:
        if self._poll is not None:
            self._poll.pause()

    @property
    def trainings(self) -> DataList[Row]:
        """The trainings."""
        found: DataList[Row] = self.query_one("#trainings", DataList)
        return found

    @property
    def log_list(self) -> DataList[Happening]:
        """What the log of the training under the cursor says."""
        found: DataList[Happening] = self.query_one("#log", DataList)
        return found

    def _cells(self, row: Row) -> list[Cell]:
        return training_lines.cells(row, persona=self._everyone)

    # Reading

    def aim(self, **target: int) -> None:
        """Look at a training.

        Args:
            run_id: which.
        """
        self._target = target.get("run_id")
        self._everyone = self._everyone or self._target is not None
        self.request_reload()

    async def reload(self) -> None:
        from persona_tui.services.training.runs import list_trainings

        self._runs = await self.read(list_trainings, None if self._everyone else self.shell.persona_id)
        if self._shown is None and self._target is None:  # at first what runs is of more interest
            self._target = next((run.id for run in self._runs if run.is_live), None)
        await self._read_folders()

    def _look(self) -> None:
        """Read what trainers have written meanwhile; none of it sends an event."""
        if self.is_current_view and self._runs and not self._reading.locked():
            self.spawn(self._read_folders, group="look", quiet=True)

    async def _read_folders(self) -> None:
        async with self._reading:
            chosen = self.trainings.current_key if self._target is None else self._target
            first = self._runs[0].id if self._runs else None
            wanted = chosen if isinstance(chosen, int) else first
            rows = await asyncio.to_thread(self._reader.rows, self._runs, wanted)
        await self._show(rows)

    async def _show(self, rows: tuple[Row, ...]) -> None:
        self.set_class(not rows, "-empty")
        if rows != tuple(self.trainings.items):
            self.trainings.show(rows)
            # With its head; the style sheet says how many rows at most.
            self.trainings.styles.height = len(rows) + 1
        if self._target is not None and self.trainings.go_to(self._target):
            self._target = None
        self.refresh_bindings()
        if self.trainings.current is not None:
            await self._show_run(self.trainings.current)

    async def _show_run(self, row: Row) -> None:
        told = Content("\n").join(training_lines.facts(row))
        if not told.is_same(self._told):
            self._told = told
            self.query_one("#facts", Static).update(told)
        look = row.look
        if look is None:
            return
        self.set_class(bool(look.samples), "-sampled")
        self.query_one(SampleGrid).show(look.samples)
        happenings, following = self.log_list, self.log_list.cursor >= len(self.log_list.items) - 1
        if happenings.items != look.happenings:
            happenings.show(look.happenings)
            if following:
                happenings.cursor = len(look.happenings) - 1
        await self._show_curves(row)

    async def _show_curves(self, row: Row) -> None:
        look = row.look
        if look is None:
            return
        curves = await asyncio.to_thread(import_module, "persona_tui.screens.training_curves")
        loss, likeness = await self._panes(curves)
        line = await asyncio.to_thread(curves.smoothed, look.losses)
        title = training_lines.loss_title(line, look.validation)
        loss.show(title, [(look.losses, "rule"), (line, "title"), (look.validation, "section")])
        title = training_lines.likeness_title(look)
        least = look.threshold if look.likeness else ()
        likeness.show(
            title,
            [(least, "rule"), (look.likeness, "success")],
            look.proposed,
            nothing=training_lines.no_likeness(look),
        )

    async def _panes(self, curves: Any) -> list[CurvePane]:
        panes: list[CurvePane] = list(self.query(curves.CurvePane))
        if not panes:
            panes = [
                curves.CurvePane("No step has been taken yet.", id="loss"),
                curves.CurvePane("No likeness was measured yet.", id="likeness"),
            ]
            await self.query_one("#curves").mount_all(panes)
        return panes

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        """The cursor came to another training; rows of the same one are new at every look."""
        if event.list is self.trainings and event.item.run.id != self._shown:
            self._shown = event.item.run.id
            self.spawn(self._read_folders, group="look", quiet=True)

    # Looking around

    def _show_panel(self) -> None:
        for place, name in enumerate(PANELS):
            self.set_class(place == self._panel, f"-see-{name}")
        key = Content.assemble(
            ("[", "$dim"), (self.shell.registry.label("training.panel"), "$title"), ("]", "$dim")
        )
        tabs = [
            Content.styled(f" {name} ", "$title bold reverse" if place == self._panel else "$title")
            for place, name in enumerate(PANELS)
        ]
        self.query_one("#tabs", Static).update(Content(" ").join([key, *tabs]))

    def action_panel(self) -> None:
        self._panel = (self._panel + 1) % len(PANELS)
        self._show_panel()
        if self.focused is not None and not self.focused.is_on_screen:
            self.trainings.focus()

    def action_switch(self) -> None:
        parts = [
            part for part in (self.trainings, self.query_one(SampleGrid), self.log_list) if part.region.area
        ]
        at = next((place for place, part in enumerate(parts) if part.has_focus), -1)
        parts[(at + 1) % len(parts)].focus()

    def action_everyone(self) -> None:
        self._everyone = not self._everyone
        self.request_reload()
        whose = self.shell.persona.name if self.shell.persona else "nobody"
        self.flash(
            "All personas' trainings." if self._everyone else f"Only the trainings of {whose}.", "info"
        )

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        if event.list.id == "log":
            text = training_lines.log_entry(event.item, self.shell.zone)
            self.app.push_screen(TextDialog("Log entry", text))
        else:
            row: Row = event.item
            self.app.push_screen(
                TextDialog(f"Training {row.run.id}", training_lines.whole(row, self.shell.zone))
            )

    def on_sample_grid_opened(self, event: SampleGrid.Opened) -> None:
        row = self.trainings.current
        same = [
            sample
            for sample in (row.look.samples if row is not None and row.look is not None else ())
            if sample.subject == event.sample.subject
        ]
        if event.sample in same:
            pictures = [viewed(sample) for sample in same]
            self.app.push_screen(ViewerDialog(SampleFiles(), pictures, same.index(event.sample)))

    async def action_lora(self) -> None:
        row = self.trainings.current
        if row is not None and row.run.lora_id is not None:
            await self.shell.go_to("loras", lora_id=row.run.lora_id)

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        row = self.trainings.current if self.is_mounted else None
        if action == "panel" and self.has_class("-wide") and self.has_class("-tall"):
            return False  # all three are on the screen
        possible = training_acts.POSSIBLE.get(action)
        if possible is not None:
            return row is not None and possible(row)
        return super().check_action(action, parameters)

    def _with_run(self, act: training_acts.Act, *, asks: bool = False) -> None:
        row = self.trainings.current
        if row is not None:
            self.spawn(partial(act, self, row), group="ask" if asks else "act", exclusive=asks)

    def action_pause(self) -> None:
        self._with_run(training_acts.pause)

    def action_start(self) -> None:
        self._with_run(training_acts.resume)

    def action_resume(self) -> None:
        self._with_run(training_acts.resume)

    def action_queue(self) -> None:
        self._with_run(training_acts.queue, asks=True)

    def action_stop(self) -> None:
        self._with_run(training_acts.stop, asks=True)

    def action_steps(self) -> None:
        self._with_run(training_acts.change_steps, asks=True)

    def action_new(self) -> None:
        self.spawn(self._new, group="ask", exclusive=True)

    async def _new(self) -> None:
        run_id = await training_start.begin(self)
        if run_id is not None:
            self._target = run_id
            self.request_reload()
