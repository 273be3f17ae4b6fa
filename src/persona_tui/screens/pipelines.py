"""Pipelines: the workflows behind the runs, their steps and variables, and what the servers say of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import DescendantFocus, Resize

from persona_tui.errors import InvalidRequest
from persona_tui.screens import pipelines_acts as acts
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.pipelines_forms import (
    import_fields,
    paths_in,
    pipeline_fields,
    step_fields,
    step_values,
)
from persona_tui.screens.pipelines_lines import PARTS, parts_of, pipeline_cells, step_cells
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.fields import TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.section import SectionTitle

if TYPE_CHECKING:
    from persona_tui.services.generation.pipelines import PipelineDetail, PipelineView, StepView
    from persona_tui.services.generation.workflow_check import StepFindings

WIDE = 120


class PipelinesScreen(PersonaScreen):
    """All pipelines; left the list and the steps, beside or below it all about the one under the cursor."""

    SCOPE = "pipelines"
    TITLE = "Pipelines"
    HELP = (
        "A pipeline is a chain of ComfyUI workflows. Import what ComfyUI saved or exported, or a PNG that it "
        "made; write {{prompt}}, {{seed}}, {{parent_image}} and names of your own where values go. A change "
        "makes a new version; runs that are there keep theirs. Check asks the servers before a run does."
    )
    TOPICS = frozenset({"pipeline", "run", "persona", "cluster"})
    CSS_PATH = "pipelines.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._detail: PipelineDetail | None = None
        self._found: dict[tuple[int, int], Sequence[StepFindings]] = {}
        self._checking = False
        self._target: int | None = None

    # What is on the screen

    def compose_body(self) -> ComposeResult:
        with Vertical(id="lists"):
            yield DataList(
                [
                    Column("Pipeline"),
                    Column("Now", 5),
                    Column("Steps", 5, align="right"),
                    Column("Runs", 5, align="right"),
                    Column("For", 14, from_width=60),
                ],
                pipeline_cells,
                key=lambda view: view.id,
                empty="no pipelines",
                id="pipelines",
            )
            with Vertical(id="steps-part"):
                yield SectionTitle("Steps")
                yield DataList(
                    [
                        Column("", 2),
                        Column("Step"),
                        Column("N", 3, align="right"),
                        Column("K", 3, align="right"),
                        Column("At most", 8, align="right"),
                    ],
                    step_cells,
                    key=lambda step: step.position,
                    empty="no steps",
                    id="steps",
                )
        yield PartsPanel(PARTS, id="about")

    def on_mount(self) -> None:
        self._list.focus()

    def on_resize(self, event: Resize) -> None:
        self.query_one(PartsPanel).set_class(event.size.width < WIDE, "-compact")

    @property
    def _list(self) -> DataList[PipelineView]:
        found: DataList[PipelineView] = self.query_one("#pipelines", DataList)
        return found

    @property
    def _steps(self) -> DataList[StepView]:
        found: DataList[StepView] = self.query_one("#steps", DataList)
        return found

    @property
    def _step(self) -> StepView | None:
        """The step under the cursor, while the steps have the focus."""
        return self._steps.current if self.focused is self._steps else None

    # Reading

    async def reload(self) -> None:
        self._list.show(await self.read(acts.load_list))
        if self._target is not None and self._list.go_to(self._target):
            self._target = None
        await self._read_detail()

    async def _read_detail(self) -> None:
        view = self._list.current
        self._detail = None if view is None else await self.read(acts.load_detail, view.id)
        self._steps.show(() if self._detail is None else self._detail.pipeline.steps)
        self._show()

    def _show(self) -> None:
        detail = self._detail
        if detail is None:
            self.query_one(PartsPanel).show(())
            return
        found = self._found.get((detail.pipeline.id, detail.pipeline.version))
        position = None if self._step is None else self._step.position
        self.query_one(PartsPanel).show(parts_of(detail, position, found, self._checking))

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        if event.list is self._list:
            self.spawn(self._read_detail, group="detail", exclusive=True, quiet=True)
        else:
            self._show()

    def on_descendant_focus(self, _event: DescendantFocus) -> None:
        self._show()

    def action_to_list(self) -> None:
        self._list.focus()

    def action_to_steps(self) -> None:
        self._steps.focus()

    # Acting

    def _with(self, act: Callable[[PipelineDetail], Coroutine[Any, Any, None]], group: str = "ask") -> None:
        if self._detail is None:
            self.flash("There is no pipeline here to do that with.", "info")
        else:
            self.spawn(partial(act, self._detail), group=group)

    def action_import(self) -> None:
        self.spawn(self._import, group="ask")

    async def _import(self) -> None:
        done: list[tuple[PipelineView, tuple[str, ...]]] = []

        async def submit(values: Mapping[str, Any]) -> None:
            done.append(await acts.import_files(self, values))

        form = FormDialog("Import a pipeline", import_fields(), submit=submit)
        if await self.ask(form) is None or not done:
            return
        made, warnings = done[-1]
        self._target = made.id
        told = f"{made.name} is at version {made.version}."
        self.flash(f"{told} {warnings[0]}" if warnings else told, "warn" if warnings else "ok")
        self.request_reload()

    def action_check(self) -> None:
        self._with(self._check, group="check")

    async def _check(self, detail: PipelineDetail) -> None:
        self._checking = True
        self._show()
        try:
            found = await acts.check_there(self, detail.pipeline.id)
        finally:
            self._checking = False
            self._show()
        self._found[detail.pipeline.id, detail.pipeline.version] = found
        await self._read_detail()
        runs = bool(found) and all(step.runs for step in found)
        self.flash(
            "Every server can run it." if runs else "Not every server can run it.", "ok" if runs else "warn"
        )

    def action_edit(self) -> None:
        self._with(self._edit_pipeline if self._step is None else partial(self._edit_step, self._step))

    async def _edit_pipeline(self, detail: PipelineDetail) -> None:
        from persona_tui.services.generation.pipeline_acts import change_pipeline

        around = await self.read(acts.load_around)
        view = detail.pipeline

        async def submit(values: Mapping[str, Any]) -> None:
            await self.act(change_pipeline, view.id, values)

        fields = pipeline_fields(view, around.personas, around.clusters)
        if await self.ask(FormDialog("Pipeline", fields, submit=submit)) is not None:
            self.flash("The pipeline is saved.")
            self.request_reload()

    async def _edit_step(self, step: StepView, detail: PipelineDetail) -> None:
        from persona_tui.services.generation.pipeline_acts import change_step

        async def submit(values: Mapping[str, Any]) -> None:
            await self.act(change_step, detail.pipeline.id, step.position, step_values(values))

        form = FormDialog(f"Step {step.position}", step_fields(step), submit=submit)
        if await self.ask(form) is not None:
            self.flash("The step is saved; new runs use it.")
            self.request_reload()

    def action_workflow(self) -> None:
        step = self._steps.current
        self._with(partial(self._edit_text, None if step is None else step.position))

    def action_whole(self) -> None:
        self._with(partial(self._edit_text, None))

    async def _edit_text(self, position: int | None, detail: PipelineDetail) -> None:
        made = await acts.edit_as_text(self, detail.pipeline.id, position)
        if made is None:
            self.flash("Nothing was changed.", "info")
            return
        self.flash(f"{made.name} is at version {made.version}.")
        self.request_reload()

    def action_export(self) -> None:
        self._with(partial(self._export, None if self._step is None else self._step.position))

    async def _export(self, position: int | None, detail: PipelineDetail) -> None:
        written: list[Path] = []

        async def submit(values: Mapping[str, Any]) -> None:
            paths = paths_in(values["path"])
            if len(paths) != 1:
                raise InvalidRequest("That is not one file.", hint="Name one file that is not there yet.")
            written.append(await self.read(acts.write_export, detail.pipeline.id, position, paths[0]))

        what = "the pipeline" if position is None else f"the workflow of step {position}"
        field = TextField(
            name="path", label="File", required=True, longest=4096, value=f"{_stem(detail)}.json"
        )
        if await self.ask(FormDialog(f"Export {what}", [field], submit=submit)) is not None:
            path = written[-1].absolute()
            self.flash(f"{path.name} is written into {path.parent}.")

    async def action_run(self) -> None:
        await self.shell.perform("runs.new")

    def action_delete(self) -> None:
        self._with(self._delete)

    async def _delete(self, detail: PipelineDetail) -> None:
        from persona_tui.services.generation.pipeline_acts import delete_pipeline

        view = detail.pipeline
        if view.runs:
            self.flash(f"{view.name} has runs, so it stays.", "info")
            return
        question = ConfirmDialog(
            f"Delete {view.name}?",
            "All its versions go with it.",
            title="Delete the pipeline",
            yes="Delete",
            no="Keep it",
            dangerous=True,
        )
        if await self.ask(question):
            await self.act(delete_pipeline, view.id)
            self.flash(f"{view.name} is deleted.")
            self.request_reload()


def _stem(detail: PipelineDetail) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in detail.pipeline.name.lower())
