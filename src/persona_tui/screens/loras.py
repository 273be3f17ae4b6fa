"""LoRAs: the registry with who uses what, importing, weights, and trying one beside none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.screens import loras_forms, loras_lines, loras_versions
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.file_picker import FilePicker, FolderMemory
from persona_tui.screens.loras_lines import Row
from persona_tui.screens.loras_reading import Listed, ask_servers, bring_to_servers, make_rows
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.loras.importing import LoraFacts, LoraOutcome
    from persona_tui.services.loras.registry import LoraView


class LorasScreen(PersonaScreen):
    """All LoRAs; those that the persona in front uses come first."""

    SCOPE = "loras"
    TITLE = "LoRAs"
    HELP = (
        "The LoRA files with their versions, base models and who uses them. Runs of a persona use its LoRAs "
        "of the pipeline's base model, the primary one first. ● says that every server lists the file."
    )
    TOPICS = frozenset({"lora", "persona", "run"})
    CSS_PATH = "loras.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._listed: Listed = {}
        self._target: int | None = None

    def compose_body(self) -> ComposeResult:
        yield EmptyState(
            "No LoRAs yet.\nA LoRA holds a persona's likeness, or a style. Bring in a .safetensors file.",
            "loras.import",
            icon="🧬",
            id="loras-empty",
        )
        with Vertical(id="loras-part"):
            yield SectionTitle("LoRAs", id="loras-title")
            yield DataList(
                [
                    Column("LoRA", share=3),
                    Column("Whose", share=2, from_width=100),
                    Column("Type", 9),
                    Column("Family", 10),
                    Column("Trigger", share=2, from_width=90),
                    Column("Likeness", 8, align="right", from_width=76),
                    Column("Weight", 6, align="right"),
                    Column("", 9),
                    Column("Servers", 9),
                ],
                loras_lines.cells,
                key=lambda row: row.lora.id,
                id="loras",
            )
            with VerticalScroll(id="about", can_focus=False):
                yield Static("", id="lines", markup=False)

    @property
    def rows(self) -> DataList[Row]:
        """The list."""
        found: DataList[Row] = self.query_one("#loras", DataList)
        return found

    @property
    def resources(self) -> Resources:
        """What the core opened."""
        return self.shell.core.resources

    def on_mount(self) -> None:
        self.rows.focus()

    # Reading

    async def reload(self) -> None:
        await self._show()
        self.spawn(self._ask_servers, group="servers", exclusive=True, quiet=True)

    async def _show(self) -> None:
        from persona_tui.services.loras.registry import list_loras

        loras = await self.read(list_loras)
        shelf = self.resources.lora_shelf
        rows = await asyncio.to_thread(make_rows, loras, self.shell.persona_id, shelf, self._listed)
        self.set_class(not rows, "-empty")
        self.rows.show(rows)
        if self._target is not None and self.rows.go_to(self._target):
            self._target = None
        used = sum(row.use is not None for row in rows)
        self.query_one("#loras-title", SectionTitle).note = f"{counted(len(rows), 'file')}, {used} in use"
        self._write(self.rows.current)

    async def _ask_servers(self) -> None:
        self._listed = await ask_servers(self.resources)
        await self._show()

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        self._write(event.item)
        self.refresh_bindings()

    def on_data_list_row_selected(self, _event: DataList.RowSelected) -> None:
        self.action_about()

    def _write(self, row: Row | None) -> None:
        told = [] if row is None else [*loras_lines.lines(row)]
        self.query_one("#lines", Static).update(Content("\n").join(told))

    def _current(self) -> Row:
        row = self.rows.current
        if row is None:
            key = self.shell.registry.label("loras.import")
            raise NotAllowedNow("There is no LoRA yet.", hint=f"{key} imports one.")
        return row

    def _persona(self) -> loras_forms.Persona:
        persona = self.shell.persona
        if persona is None:
            raise NotAllowedNow("There is no persona yet.", hint="Make one in Personas & Pillars.")
        return persona.id, persona.name

    # Importing

    def action_import(self) -> None:
        self.spawn(self._import, group="ask")

    async def _import(self) -> None:
        memory = FolderMemory(self.shell.settings.data_dir / "ui" / "lora-folder")
        start = await asyncio.to_thread(memory.recall)
        path = await self.ask(FilePicker("Import a LoRA", start, (".safetensors",)))
        if path is None:
            return
        await asyncio.to_thread(memory.keep, path if path.is_dir() else path.parent)
        values = await self._asked_values(path)
        if values is not None:
            await self._import_files(path, values)

    async def _asked_values(self, path: Path) -> Mapping[str, Any] | None:
        """What the operator says of one file; of a folder's files each says it itself."""
        from persona_tui.services.loras.importing import LoraInput, inspect_lora

        persona = self._persona() if self.shell.persona else None
        given = LoraInput(persona_id=persona[0] if persona else None)
        if path.is_dir():
            question = f"Import every .safetensors file in {path.name or path} and below?"
            consequence = f"They hold the likeness of {persona[1]}." if persona else ""
            wanted = await self.ask(ConfirmDialog(question, consequence, title="Import", yes="Import"))
            return {"persona_id": given.persona_id} if wanted else None
        facts: LoraFacts = await asyncio.to_thread(inspect_lora, path, given)
        form = FormDialog(
            "Import a LoRA",
            loras_forms.import_fields(facts, persona),
            about=loras_forms.about_file(path, facts),
        )
        typed = await self.ask(form)
        return None if typed is None else loras_forms.import_values(typed)

    async def _import_files(self, path: Path, values: Mapping[str, Any]) -> None:
        from persona_tui.services.inputs import validated
        from persona_tui.services.loras.importing import LoraInput, find_lora_files, import_loras

        files = await asyncio.to_thread(find_lora_files, path)
        scope = self.shell.database.session_scope
        outcomes = import_loras(scope, self.resources.lora_shelf, files, validated(LoraInput, values))
        done: list[LoraOutcome] = []
        for file in files:
            self.flash(f"Importing {file.name}…", "busy", seconds=600)
            outcome = await asyncio.to_thread(next, outcomes, None)
            if outcome is not None:
                done.append(outcome)
        await self._tell_import(done)

    async def _tell_import(self, done: list[LoraOutcome]) -> None:
        failed = [one for one in done if one.outcome == "failed"]
        if len(done) == 1 and failed:
            raise InvalidRequest(failed[0].sentence, hint=failed[0].hint)
        last = next((one.lora for one in reversed(done) if one.lora is not None), None)
        self._target = last.id if last else None
        self.request_reload()
        if len(done) == 1:
            self.flash(done[0].sentence)
            return
        words = f"{counted(len(done) - len(failed), 'file')} imported"
        self.flash(f"{words}, {len(failed)} failed." if failed else f"{words}.")
        if failed:
            told = "\n".join(f"❌ {one.path.name}: {one.sentence}" for one in failed)
            await self.ask(TextDialog("Not imported", told))

    # Using

    def action_use(self) -> None:
        self.spawn(self._use, group="ask")

    async def _use(self) -> None:
        row, (persona_id, name) = self._current(), self._persona()
        form = FormDialog(
            f"{name} uses {row.lora.label}",
            loras_forms.use_fields(row.lora, row.use),
            submit=lambda typed: self._set_use(persona_id, row.lora, loras_forms.use_values(typed)),
        )
        typed = await self.ask(form)
        if typed is not None:
            self.request_reload()
            self.flash(f"{name} uses {row.lora.label} at {float(typed['weight']):g}.")

    async def _set_use(self, persona_id: int, lora: LoraView, values: Mapping[str, Any]) -> None:
        from persona_tui.services.loras.mappings import use_lora

        await self.act(use_lora, persona_id, lora.id, values)

    def action_promote(self) -> None:
        self.spawn(self._promote, group="ask")

    async def _promote(self) -> None:
        await loras_versions.promote(self, self._current().lora, self._persona())

    def action_roll_back(self) -> None:
        self.spawn(self._roll_back, group="ask")

    async def _roll_back(self) -> None:
        await loras_versions.roll_back(self, self._current().lora, self._persona())

    def action_unuse(self) -> None:
        self.spawn(self._unuse)

    async def _unuse(self) -> None:
        from persona_tui.services.loras.mappings import unuse_lora

        row, (persona_id, name) = self._current(), self._persona()
        await self.act(unuse_lora, persona_id, row.lora.id)
        self.request_reload()
        self.flash(f"{name} no longer uses {row.lora.label}; runs that are there keep it.")

    def action_remove(self) -> None:
        self.spawn(self._remove, group="ask")

    async def _remove(self) -> None:
        from persona_tui.services.loras.registry import remove_lora

        row = self._current()
        question = f"Remove {row.lora.label} and our copy of its file?"
        consequence = "The servers keep theirs. A version that a run used stays."
        if not await self.ask(ConfirmDialog(question, consequence, yes="Remove", dangerous=True)):
            return
        gone = await self.act(remove_lora, row.lora.id)
        await asyncio.to_thread(self.resources.lora_shelf.drop, gone.file_name)
        self.request_reload()
        self.flash(f"{gone.label} is gone.")

    # Servers

    def action_place(self) -> None:
        self.spawn(self._place, group="servers", exclusive=True)

    async def _place(self) -> None:
        row = self._current()
        self.flash(f"Bringing {row.lora.label} to the servers…", "busy", seconds=600)
        placements = await bring_to_servers(self.resources, row.lora.file_name)
        words, well = loras_lines.placed_words(row.lora.label, placements)
        await self._ask_servers()
        self.flash(words, "ok" if well else "warn", seconds=6 if well else 30)

    def action_test(self) -> None:
        self.spawn(self._test, group="ask")

    async def _test(self) -> None:
        from persona_tui.services.generation.pipelines import list_pipelines

        row, (persona_id, _) = self._current(), self._persona()
        pipelines = await self.read(list_pipelines)
        fields = loras_forms.trial_fields(row.use, pipelines)
        typed = await self.ask(FormDialog(f"Test {row.lora.label}", fields))
        if typed is None:
            return
        values = {**loras_forms.trial_values(typed), "persona_id": persona_id, "lora_id": row.lora.id}
        self.spawn(partial(loras_versions.try_out, self, values), group="trial", exclusive=True)

    def action_compare(self) -> None:
        self.spawn(self._compare, group="ask")

    async def _compare(self) -> None:
        row, (persona_id, _) = self._current(), self._persona()
        values = await loras_versions.asked_comparison(self, row, self.rows.items, persona_id)
        if values is not None:
            self.spawn(partial(loras_versions.try_out, self, values), group="trial", exclusive=True)

    # Looking

    def aim(self, **target: int) -> None:
        """Look at a LoRA.

        Args:
            lora_id: which version.
        """
        self._target = target.get("lora_id")
        self.request_reload()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "training":
            row = self.rows.current if self.is_mounted else None
            return row is not None and row.lora.training_run is not None
        return super().check_action(action, parameters)

    async def action_training(self) -> None:
        row = self.rows.current
        if row is not None and row.lora.training_run is not None:
            await self.shell.go_to("training", run_id=row.lora.training_run)

    def action_about(self) -> None:
        row = self.rows.current
        if row is not None:
            path = self.resources.lora_shelf.path(row.lora.file_name)
            self.app.push_screen(TextDialog(row.lora.label, loras_lines.whole(row, str(path))))
