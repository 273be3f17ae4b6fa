"""Personas & Pillars: who posts, about what, and where pictures are missing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.events import DescendantFocus
from textual.widgets import Static

from persona_tui.screens import personas_forms as forms
from persona_tui.screens import personas_lines as lines
from persona_tui.screens.accounts_connect import connect_account
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.personas_data import PersonasView, read_personas
from persona_tui.screens.personas_links import link_clusters
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.fields import IntegerField
from persona_tui.widgets.form import FormDialog, Values
from persona_tui.widgets.marks import counted
from persona_tui.widgets.messages import PersonaChanged
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.shell import PersonaChoice

if TYPE_CHECKING:
    from persona_tui.services.planning.overview import PillarBranch
    from persona_tui.services.planning.personas import PersonaView

DAYS = 30
"""Days over which gaps are counted at first."""


class PersonasScreen(PersonaScreen):
    """The personas on the left; the pillars of the chosen one, their weights and gaps beside them."""

    SCOPE = "personas"
    TITLE = "Personas & Pillars"
    HELP = (
        "Personas on the left, the pillars of the one under the cursor beside them; ← and → move between the "
        "two. A pillar is a theme with its share of the posts: the active ones share at most 100 %. The gap "
        "says how many pictures a pillar lacks for the days ahead. Enter on a persona makes it the one that "
        "all views show; Enter on a pillar shows everything about it."
    )
    CSS_PATH = "personas.tcss"
    AUTO_FOCUS = ""
    TOPICS = frozenset({"persona", "pillar", "cluster", "photo", "candidate", "post", "account"})

    def __init__(self) -> None:
        super().__init__()
        self._view: PersonasView | None = None
        self._shown_id: int | None = None
        self._days = DAYS
        self._target: dict[str, int] = {}

    def compose_body(self) -> ComposeResult:
        new_pillar = self.shell.registry.label("personas.new-pillar")
        yield EmptyState(
            "No personas yet.\nA persona is who posts: a name, an age, a voice, a time zone.",
            "personas.new-persona",
            icon="👋",
            id="welcome",
        )
        with Horizontal(id="all"):
            with Vertical(id="left"):
                yield SectionTitle("Personas", id="personas-title")
                yield DataList(
                    [Column("Name"), Column("", 4, align="right")],
                    self._persona_cells,
                    key=lambda persona: persona.id,
                    id="personas",
                )
            with Vertical(id="middle"):
                yield SectionTitle("Content pillars", id="pillars-title")
                yield Static(id="facts")
                yield lines.WeightsBar()
                yield DataList(
                    [
                        Column("Pillar"),
                        Column("Weight", 7, align="right"),
                        Column("Prio", 4, align="right"),
                        Column("Active", 14, from_width=74),
                        Column("Stock", 5, align="right", from_width=66),
                        Column("Gap", 17),
                    ],
                    lines.pillar_cells,
                    key=lambda branch: branch.pillar.id,
                    empty=f"no pillars yet: [{new_pillar}] makes the first one",
                    id="pillars",
                )
                yield Static(id="unlinked")
            with VerticalScroll(id="right", can_focus=False):
                yield SectionTitle("Pillar")
                yield Static(id="detail")

    # What is under the cursor

    @property
    def _persona_list(self) -> DataList[PersonaView]:
        found: DataList[PersonaView] = self.query_one("#personas", DataList)
        return found

    @property
    def _pillar_list(self) -> DataList[PillarBranch]:
        found: DataList[PillarBranch] = self.query_one("#pillars", DataList)
        return found

    @property
    def _on_persona(self) -> bool:
        return self.focused is self._persona_list

    @property
    def _persona(self) -> PersonaView | None:
        return self._view.shown if self._view else None

    @property
    def _branch(self) -> PillarBranch | None:
        return self._pillar_list.current

    def _persona_cells(self, persona: PersonaView) -> list[Content | str]:
        used = persona.id == self.shell.persona_id
        name = Content.styled("▸ ", "$title bold") if used else Content("  ")
        return [name + Content(persona.name), Content.styled(f"{persona.pillars}", "$dim")]

    # Reading and showing

    def aim(self, **target: int) -> None:
        """Choose `persona_id`, `pillar_id`; begin `new_persona`, `new_pillar` or `connect` at once."""
        self._target = dict(target)
        self._shown_id = target.get("persona_id", self._shown_id)
        self.request_reload()

    async def reload(self) -> None:
        shown_id = self._shown_id if self._shown_id is not None else self.shell.persona_id
        view = await self.read(read_personas, shown_id, self._days)
        self._view, self._shown_id = view, view.shown.id if view.shown else None
        self.set_class(not view.personas, "-new")
        self._persona_list.show(view.personas)
        if view.shown is not None:
            self._persona_list.go_to(view.shown.id)
            self._show_pillars(view, view.shown)
        if self.focused is None and view.personas:
            (self._pillar_list if view.branches else self._persona_list).focus()
        self.refresh_bindings()
        self._follow_target()

    def _show_pillars(self, view: PersonasView, persona: PersonaView) -> None:
        weights = lines.weights_of(view.branches)
        total = sum(weight for _, weight in weights)
        title = self.query_one("#pillars-title", SectionTitle)
        title.title = f"Content pillars of {persona.name}"
        title.note = f"{total:g} of 100 %, gaps over {counted(self._days, 'day')}"
        self.query_one("#facts", Static).update(lines.facts(persona, view.accounts.get(persona.id)))
        self.query_one(lines.WeightsBar).weights = weights
        self._pillar_list.show(view.branches)
        loose = counted(len(view.unlinked), "cluster")
        key = self.shell.registry.label("personas.clusters")
        words = (
            f"⚠  {loose} without a pillar: [{key}] links clusters to the pillar above"
            if view.unlinked
            else ""
        )
        self.query_one("#unlinked", Static).update(Content.styled(words, "$warning"))
        self._show_detail()

    def _show_detail(self) -> None:
        branch = self._branch
        found = list(lines.pillar_detail(branch, self._days)) if branch else []
        self.query_one("#detail", Static).update(Content("\n").join(found))

    def _follow_target(self) -> None:
        target, self._target = self._target, {}
        if "pillar_id" in target and self._pillar_list.go_to(target["pillar_id"]):
            self._pillar_list.focus()
        if target.get("new_persona"):
            self.action_new_persona()
        elif target.get("new_pillar"):
            self.action_new_pillar()
        elif target.get("connect"):
            self.action_connect()

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        persona = self._persona_list.current
        if event.list is self._pillar_list:
            self._show_detail()
        elif persona is not None and persona.id != self._shown_id:
            self._shown_id = persona.id
            self.request_reload()
        self.refresh_bindings()

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        if event.list is self._persona_list:
            self.action_use()
        elif self._branch is not None:
            text = Content("\n").join(list(lines.pillar_detail(self._branch, self._days)))
            self.app.push_screen(TextDialog("Pillar", text))

    def on_descendant_focus(self, _event: DescendantFocus) -> None:
        self.refresh_bindings()

    def on_persona_changed(self, message: PersonaChanged) -> None:
        self._shown_id = message.persona_id

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("new_pillar", "connect", "days", "to_personas", "to_pillars", "use"):
            return self._persona is not None
        if action in ("clusters", "ideas", "switch"):
            return self._branch is not None
        if action in ("edit", "delete"):
            return (self._persona if self._on_persona else self._branch) is not None
        return super().check_action(action, parameters)

    def action_to_personas(self) -> None:
        self._persona_list.focus()

    def action_to_pillars(self) -> None:
        self._pillar_list.focus()

    def action_use(self) -> None:
        persona = self._persona
        if persona is not None:
            self.shell.choose_persona(PersonaChoice(persona.id, persona.name, persona.zone))
            self.flash(f"All views show {persona.name} now.")

    def action_new_persona(self) -> None:
        self.spawn(self._new_persona, group="ask")

    async def _new_persona(self) -> None:
        from persona_tui.services.planning.personas import create_persona

        made: list[PersonaView] = []

        async def submit(typed: Values) -> None:
            made.append(await self.act(create_persona, forms.persona_values(typed)))

        fields = forms.persona_fields(None, zone=self.shell.settings.default_zone)
        await self.ask(FormDialog("New persona", fields, submit=submit))
        for persona in made:
            self._shown_id = persona.id
            self.shell.choose_persona(PersonaChoice(persona.id, persona.name, persona.zone))
            key = self.shell.registry.label("personas.new-pillar")
            self.flash(f"{persona.name} is there. Next: [{key}] a first content pillar.")

    def action_new_pillar(self) -> None:
        self.spawn(self._new_pillar, group="ask")

    async def _new_pillar(self) -> None:
        from persona_tui.services.planning.pillars import create_pillar

        view, persona = self._view, self._persona
        if view is None or persona is None:
            return

        async def submit(typed: Values) -> None:
            made = await self.act(create_pillar, persona.id, forms.pillar_values(typed))
            self._target = {"pillar_id": made.id}

        form = FormDialog(
            "New pillar", forms.pillar_fields(None, free=view.free(None)), about=persona.name, submit=submit
        )
        if await self.ask(form):
            key = self.shell.registry.label("personas.ideas")
            self.flash(f"The pillar is there. Next: [{key}] ideas for it.")
            self._pillar_list.focus()

    def action_edit(self) -> None:
        self.spawn(self._edit_persona if self._on_persona else self._edit_pillar, group="ask")

    async def _edit_persona(self) -> None:
        from persona_tui.services.planning.personas import update_persona

        persona = self._persona
        if persona is None:
            return

        async def submit(typed: Values) -> None:
            await self.act(update_persona, persona.id, forms.persona_values(typed))

        fields = forms.persona_fields(persona, zone=persona.zone)
        if await self.ask(FormDialog(f"Edit {persona.name}", fields, submit=submit)):
            self.flash("The persona is changed.")

    async def _edit_pillar(self) -> None:
        from persona_tui.services.planning.pillars import update_pillar

        view, branch = self._view, self._branch
        if view is None or branch is None:
            return
        pillar = branch.pillar

        async def submit(typed: Values) -> None:
            await self.act(update_pillar, pillar.id, forms.pillar_values(typed))

        fields = forms.pillar_fields(pillar, free=view.free(pillar.id))
        if await self.ask(FormDialog(f"Edit {pillar.name}", fields, submit=submit)):
            self.flash("The pillar is changed.")

    def action_switch(self) -> None:
        self.spawn(self._switch)

    async def _switch(self) -> None:
        from persona_tui.services.planning.pillars import update_pillar

        branch = self._branch
        if branch is None:
            return
        pillar = branch.pillar
        await self.act(update_pillar, pillar.id, {"active": not pillar.active})
        key = self.shell.registry.label("personas.switch")
        state = "off" if pillar.active else "on"
        self.flash(f"{pillar.name} is switched {state}; [{key}] again undoes it.")

    def action_delete(self) -> None:
        self.spawn(self._delete_persona if self._on_persona else self._delete_pillar, group="ask")

    async def _delete_persona(self) -> None:
        from persona_tui.services.planning.personas import delete_persona

        persona = self._persona
        if persona is None:
            return
        question = ConfirmDialog(
            f"Delete {persona.name}?",
            "Only a persona without pillars, pictures, runs, posts and account can be deleted.",
            yes="Delete",
            no="Keep",
            dangerous=True,
        )
        if await self.ask(question):
            await self.act(delete_persona, persona.id)
            self._shown_id = None
            self.flash(f"{persona.name} is deleted.")

    async def _delete_pillar(self) -> None:
        from persona_tui.services.planning.pillars import delete_pillar

        branch = self._branch
        if branch is None:
            return
        question = ConfirmDialog(
            f"Delete the pillar {branch.pillar.name}?",
            f"{counted(len(branch.clusters), 'cluster')} will stay, without a pillar.",
            yes="Delete",
            no="Keep",
            dangerous=True,
        )
        if await self.ask(question):
            await self.act(delete_pillar, branch.pillar.id)
            self.flash(f"{branch.pillar.name} is deleted.")

    def action_ideas(self) -> None:
        if self._branch is not None and self._persona is not None:
            if self._persona.id != self.shell.persona_id:
                self.action_use()
            pillar_id = self._branch.pillar.id
            self.spawn(partial(self.shell.go_to, "ideas", pillar_id=pillar_id, propose=1), group="go")

    def action_days(self) -> None:
        self.spawn(self._choose_days, group="ask")

    async def _choose_days(self) -> None:
        field = IntegerField(
            name="days", label="Days ahead", value=self._days, required=True, minimum=1, maximum=366
        )
        typed = await self.ask(FormDialog("Count gaps over", [field]))
        if typed:
            self._days = typed["days"]
            self.request_reload()

    def action_clusters(self) -> None:
        self.spawn(self._link_clusters, group="ask")

    async def _link_clusters(self) -> None:
        branch = self._branch
        if branch is not None:
            linked = await link_clusters(self, branch.pillar)
            if linked:
                self.flash(f"{counted(linked, 'cluster')} linked to {branch.pillar.name}.")

    def action_connect(self) -> None:
        self.spawn(self._connect, group="ask")

    async def _connect(self) -> None:
        persona = self._persona
        if persona is not None:
            kept = await connect_account(self, persona.id, persona.name)
            if kept is not None:
                self.flash(f"{persona.name} posts as @{kept.username}.")
