"""LoRAs: the registry with who uses what, importing, weights, and trying one beside none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Static

from persona_tui.errors import NotAllowedNow
from persona_tui.screens import (
    loras_forms,
    loras_importing,
    loras_lines,
    loras_offers,
    loras_versions,
    loras_voting,
)
from persona_tui.screens.base import PersonaScreen
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
    from persona_tui.services.loras.registry import LoraView
    from persona_tui.services.loras.watching import Offer

_OF_A_LORA = frozenset(
    {
        "use",
        "convert",
        "promote",
        "roll_back",
        "compare",
        "vote",
        "test",
        "unuse",
        "place",
        "about",
        "training",
        "remove",
    }
)
"""What is done with the LoRA under the cursor; not while the keys go to the offers."""


class LorasScreen(PersonaScreen):
    """All LoRAs; those that the persona in front uses come first."""

    SCOPE = "loras"
    TITLE = "LoRAs"
    HELP = (
        "The LoRA files with their versions, base models and who uses them. Runs of a persona use its LoRAs "
        "of the pipeline's base model, the primary one first. ● says that every server lists the file. Above "
        "them stand the files that watched folders offer, until you take them in or dismiss them."
    )
    TOPICS = frozenset({"lora", "persona", "run"})
    CSS_PATH = "loras.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._listed: Listed = {}
        self._target: int | None = None

    def compose_body(self) -> ComposeResult:
        yield EmptyState(
            "No LoRAs yet.\nA LoRA holds a persona's likeness, or a style. Bring in a .safetensors file,\n"
            "or train one. Files that come into a watched folder are offered here.",
            "loras.import",
            icon="🧬",
            id="loras-empty",
        )
        with Vertical(id="offers-part"):
            yield SectionTitle("Offered", id="offers-title")
            yield DataList(loras_offers.COLUMNS, loras_offers.cells, key=lambda offer: offer.id, id="offers")
        with Vertical(id="loras-part"):
            yield SectionTitle("LoRAs", id="loras-title")
            yield DataList(
                [
                    Column("LoRA", share=3),
                    Column("Whose", share=2, from_width=100),
                    Column("Type", 9),
                    Column("Family", 10),
                    Column("Trigger", share=2, from_width=90),
                    Column("Likeness", 9, align="right", from_width=76),
                    Column("P(better)", 10, from_width=96),
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
    def offers(self) -> DataList[Offer]:
        """The list of what watched folders offer."""
        found: DataList[Offer] = self.query_one("#offers", DataList)
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
        from persona_tui.services.loras.watching import offers
        from persona_tui.services.voting.comparison import verdicts

        loras = await self.read(list_loras)
        self._show_offers(await self.read(offers))
        shelf = self.resources.lora_shelf
        voted = await self.read(verdicts)
        rows = await asyncio.to_thread(make_rows, loras, self.shell.persona_id, shelf, self._listed, voted)
        self.set_class(not rows and not self.offers.items, "-empty")
        self.rows.show(rows)
        # Title and head take three; the style sheet says how much the list may have at most.
        self.query_one("#loras-part").styles.height = len(rows) + 3
        if self._target is not None and self.rows.go_to(self._target):
            self._target = None
        used = sum(row.use is not None for row in rows)
        self.query_one("#loras-title", SectionTitle).note = f"{counted(len(rows), 'file')}, {used} in use"
        self._write()
        self.refresh_bindings()

    def _show_offers(self, found: Sequence[Offer]) -> None:
        """Show what is offered; when nothing is left, the keys go to the LoRAs."""
        self.set_class(bool(found), "-offered")
        self.offers.styles.height = loras_offers.room(len(found))
        self.offers.show(found)
        folders = len({str(Path(offer.path).parent) for offer in found})
        self.query_one(
            "#offers-title", SectionTitle
        ).note = f"{counted(len(found), 'file')} in {counted(folders, 'watched folder')}"
        if self.offers.has_focus and not found:
            self.rows.focus()

    async def _ask_servers(self) -> None:
        self._listed = await ask_servers(self.resources)
        await self._show()

    def on_data_list_row_highlighted(self, _event: DataList.RowHighlighted) -> None:
        self._write()
        self.refresh_bindings()

    def on_descendant_focus(self, _event: DescendantFocus) -> None:
        self._write()
        self.refresh_bindings()

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        if event.list is self.offers:
            self.action_take()
        else:
            self.action_about()

    def _write(self) -> None:
        offer, row = self.offers.current, self.rows.current
        told: list[Content] = []
        if offer is not None and (self.offers.has_focus or row is None):
            told = [*loras_offers.lines(offer)]
        elif row is not None:
            told = [*loras_lines.lines(row, self._convert_key)]
        self.query_one("#lines", Static).update(Content("\n").join(told))

    @property
    def _convert_key(self) -> str:
        return self.shell.registry.label("loras.convert")

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

    # Bringing in

    def action_import(self) -> None:
        self.spawn(self._import, group="ask")

    async def _import(self) -> None:
        self._go_to(await loras_importing.import_path(self))

    def action_take(self) -> None:
        self.spawn(self._take, group="ask")

    async def _take(self) -> None:
        offer = self.offers.current
        if offer is not None:
            self._go_to(await loras_offers.take(self, offer))

    def action_dismiss_offer(self) -> None:
        self.spawn(self._dismiss)

    async def _dismiss(self) -> None:
        offer = self.offers.current
        if offer is not None:
            await loras_offers.dismiss(self, offer)

    def action_folders(self) -> None:
        self.spawn(partial(loras_offers.ask_folders, self), group="ask")

    def action_offers(self) -> None:
        (self.rows if self.offers.has_focus else self.offers).focus()

    def _go_to(self, lora_id: int | None) -> None:
        if lora_id is not None:
            self.aim(lora_id=lora_id)

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

    def action_convert(self) -> None:
        self.spawn(self._convert, group="ask")

    async def _convert(self) -> None:
        self._go_to(await loras_versions.convert(self, self._current()))

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

    def action_vote(self) -> None:
        self.spawn(self._vote, group="ask")

    async def _vote(self) -> None:
        await loras_voting.vote(self, self._current(), self.rows.items, self._persona())

    # Looking

    def aim(self, **target: int) -> None:
        """Look at a LoRA.

        Args:
            lora_id: which version.
        """
        self._target = target.get("lora_id")
        self.request_reload()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        at_offers = self.is_mounted and self.offers.has_focus
        if action in ("take", "dismiss_offer"):
            return at_offers
        if action in _OF_A_LORA and at_offers:
            return False
        if action == "convert":
            row = self.rows.current if self.is_mounted else None
            return row is not None and row.remedy != "none"
        if action == "offers":
            return self.is_mounted and bool(self.offers.items)
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
            self.app.push_screen(
                TextDialog(row.lora.label, loras_lines.whole(row, str(path), self._convert_key))
            )
