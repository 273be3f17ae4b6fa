"""Ideas: what could be photographed next; one key makes pictures of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker

from persona_tui.screens import runs_lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.ideas_lines import STATUS_MARKS, IdeaRow, about, grouped, list_note, pillar_words
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.fields import ChoiceField, IntegerField, LongTextField, TextField
from persona_tui.widgets.form import FormDialog, Values
from persona_tui.widgets.marks import counted, days_away, dim
from persona_tui.widgets.progress import ProgressPanel
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from persona_tui.services.generation.runs import RunView
    from persona_tui.services.planning.ideas import IdeaView
    from persona_tui.services.planning.overview import PillarBranch

"""Pipeline of the runs that one key starts."""
COUNT = 3
"""Ideas proposed unless another number is asked for."""
OPEN = ("pending", "accepted")
EVERY = (*OPEN, "used", "rejected")


@dataclass(frozen=True, slots=True)
class IdeasView:
    """What the screen shows; the pillars with the largest gap come first."""

    now: datetime
    ideas: tuple[IdeaView, ...]
    branches: tuple[PillarBranch, ...]


def _read(session: Session, persona_id: int, statuses: Sequence[str]) -> IdeasView:
    from sqlalchemy import text

    from persona_tui.services.planning.ideas import list_ideas
    from persona_tui.services.planning.overview import pillar_tree

    now = session.execute(text("SELECT persona_now()")).scalar_one()
    branches, _ = pillar_tree(session, persona_id, now)
    current = [branch for branch in branches if branch.pillar.active]
    current.sort(key=lambda branch: -branch.gap.gap if branch.gap else 0)
    return IdeasView(now, list_ideas(session, persona_id, statuses=statuses), tuple(current))


def _start(session: Session, idea_id: int, pipeline: str | None) -> RunView:
    """Accept the idea if that is still to be done, and start its run: all of it or nothing.

    Args:
        pipeline: its name; None takes the persona's usual one.
    """
    from persona_tui.services.generation.pipelines import ensure_examples
    from persona_tui.services.generation.runs import create_run
    from persona_tui.services.generation.usual_pipeline import usual_pipeline
    from persona_tui.services.planning.ideas import accept_idea, get_idea, mark_used

    idea = get_idea(session, idea_id)
    if idea.status != "used":
        idea = accept_idea(session, idea_id)
    ensure_examples(session)
    run = create_run(
        session,
        {
            "persona_id": idea.persona_id,
            "pipeline": pipeline or usual_pipeline(session, idea.persona_id),
            "prompt": idea.prompt,
            "name": idea.title,
            "cluster_id": idea.cluster_id,
            "pillar_id": idea.pillar_id,
            "content_suggestion_id": idea.id,
        },
    )
    mark_used(session, idea_id)
    return run


class IdeasScreen(PersonaScreen):
    """The list by status; beside it, or below, the whole idea under the cursor."""

    SCOPE = "ideas"
    TITLE = "Ideas"
    HELP = (
        "Scenes that would fill a gap, proposed by the language model, or by templates when none answers. "
        "One key accepts an idea and makes its pictures; what you reject, and why, is told to the model the "
        "next time. Enter shows the whole prompt."
    )
    CSS_PATH = "ideas.tcss"
    TOPICS = frozenset({"persona", "pillar", "idea"})

    def __init__(self) -> None:
        super().__init__()
        self._view: IdeasView | None = None
        self._statuses: tuple[str, ...] = OPEN
        self._target: dict[str, int] = {}
        self._proposing: Worker[None] | None = None
        self._starting = False

    def compose_body(self) -> ComposeResult:
        yield EmptyState("", None, icon="🤖", id="nothing")
        with Vertical(id="all"):
            with Vertical(id="list-part"):
                yield SectionTitle("Ideas", id="ideas-title")
                yield DataList(
                    [
                        Column("", 13),
                        Column("Scene", share=3),
                        Column("Pillar", share=2),
                        Column("By", 18, from_width=100),
                        Column("", 13, from_width=85),
                    ],
                    self._cells,
                    key=lambda row: row.idea.id,
                    id="ideas",
                )
            with VerticalScroll(id="detail-part", can_focus=False):
                yield Static(id="about")
                yield Static(id="prompt", markup=False)
        yield ProgressPanel("", cancel="ideas.stop", id="progress")

    @property
    def _list(self) -> DataList[IdeaRow]:
        found: DataList[IdeaRow] = self.query_one("#ideas", DataList)
        return found

    @property
    def _idea(self) -> IdeaView | None:
        row = self._list.current
        return row.idea if row is not None and self._view is not None and self._view.ideas else None

    def _cells(self, row: IdeaRow) -> list[Cell]:
        idea = row.idea
        icon, word, style = STATUS_MARKS[idea.status]
        group = f"{icon} {word} {row.group_size}" if row.group_size is not None else icon
        assert self._view is not None
        return [
            Content.styled(group, style),
            Content.styled(idea.title, "$dim") if idea.status == "rejected" else idea.title,
            dim(idea.pillar),
            dim(idea.written_by),
            dim(days_away(idea.created_at, self._view.now)),
        ]

    # Reading and showing

    def aim(self, **target: int) -> None:
        """Go to `idea_id`; with `pillar_id` and `propose`, ask for ideas at once."""
        self._target = dict(target)
        self.request_reload()

    async def reload(self) -> None:
        persona_id = self.shell.persona_id
        view = await self.read(_read, persona_id, self._statuses) if persona_id is not None else None
        self._view = view
        rows = grouped(view.ideas) if view else []
        self.set_class(not rows, "-nothing")
        self._show_nothing(view)
        self._list.show(rows)
        which = "open ones" if self._statuses == OPEN else "all"
        self.query_one("#ideas-title", SectionTitle).note = list_note(which, view.branches if view else ())
        self._show_detail()
        if rows and self.focused is None:
            self._list.focus()
        self.refresh_bindings()
        self._follow_target()

    def _show_nothing(self, view: IdeasView | None) -> None:
        nothing = self.query_one("#nothing", EmptyState)
        if view is None:
            nothing.text = "No persona yet.\nIdeas are made for a persona's pillars."
            nothing.action = "global.personas"
        elif not view.branches:
            nothing.text = "No content pillar yet.\nA pillar says what the ideas are about."
            nothing.action = "global.personas"
        else:
            nothing.text = "No ideas wait.\nNew ones are proposed for the pillar that lacks pictures."
            nothing.action = "ideas.propose"

    def _show_detail(self) -> None:
        idea = self._idea
        prompt = self.query_one("#prompt", Static)
        prompt.display = idea is not None
        prompt.border_title = "AI Generation Prompt"
        prompt.update(idea.prompt if idea else "")
        self.query_one("#about", Static).update(about(idea) if idea else "")

    def _follow_target(self) -> None:
        target, self._target = self._target, {}
        if "idea_id" in target:
            self._list.go_to(target["idea_id"])
        if target.get("propose") and self._view is not None:
            for branch in self._view.branches:
                if branch.pillar.id == target.get("pillar_id"):
                    self._propose(branch.pillar.id, branch.pillar.name, COUNT)

    def on_data_list_row_highlighted(self, _event: DataList.RowHighlighted) -> None:
        self._show_detail()
        self.refresh_bindings()

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        idea: IdeaView = event.item.idea
        text = about(idea) + Content.styled("\n\nPrompt\n", "bold") + Content(idea.prompt)
        self.app.push_screen(TextDialog("Idea", text))

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "propose":
            return self._proposing is None and self._view is not None and bool(self._view.branches)
        if action == "stop":
            return self._proposing is not None
        if action in _ALLOWED:
            return self._idea is not None and self._idea.status in _ALLOWED[action]
        return super().check_action(action, parameters)

    def action_history(self) -> None:
        self._statuses = EVERY if self._statuses == OPEN else OPEN
        self.request_reload()

    def action_generate(self) -> None:
        self.spawn(partial(self._generate, None), group="generate")

    def action_generate_with(self) -> None:
        self.spawn(self._choose_and_generate, group="ask")

    async def _choose_and_generate(self) -> None:
        from persona_tui.services.generation.pipelines import ensure_examples, list_pipelines
        from persona_tui.services.generation.usual_pipeline import usual_pipeline

        idea = self._idea
        await self.act(ensure_examples)
        usual = await self.read(usual_pipeline, None if idea is None else idea.persona_id)
        pipelines = await self.read(list_pipelines)
        choices = [
            Choice(pipeline.name, pipeline.name, counted(len(pipeline.steps), "step"))
            for pipeline in pipelines
        ]
        chosen = await self.ask(ChoiceDialog("Which pipeline?", choices, current=usual))
        if chosen is not None:
            await self._generate(chosen.value)

    async def _generate(self, pipeline: str | None) -> None:
        """Start the run, once however quickly the key is pressed again, and go where it is voted on."""
        idea = self._idea
        if idea is None or self._starting:
            return
        self._starting = True
        try:
            run = await self.act(_start, idea.id, pipeline)
        finally:
            self._starting = False
        engine = self.shell.core.engine
        if engine is not None:
            engine.wake()
        await self.shell.go_to("vote", run_id=run.id)
        self.flash(runs_lines.started(run))

    def action_accept(self) -> None:
        self.spawn(self._accept)

    async def _accept(self) -> None:
        from persona_tui.services.planning.ideas import accept_idea

        idea = self._idea
        if idea is not None:
            await self.act(accept_idea, idea.id)
            key = self.shell.registry.label("ideas.generate")
            self.flash(f"“{idea.title}” is accepted and has a cluster. Next: [{key}] make pictures.")

    def action_reject(self) -> None:
        self.spawn(self._reject, group="ask")

    async def _reject(self) -> None:
        from persona_tui.services.planning.ideas import reject_idea

        idea = self._idea
        if idea is None:
            return

        async def submit(typed: Values) -> None:
            await self.act(reject_idea, idea.id, typed["reason"])

        why = TextField(name="reason", label="Why", hint="May stay empty. The next ideas learn from it.")
        if await self.ask(FormDialog("Reject the idea", [why], about=idea.title, submit=submit)):
            self.flash(f"“{idea.title}” is rejected.")

    def action_edit(self) -> None:
        self.spawn(self._edit, group="ask")

    async def _edit(self) -> None:
        from persona_tui.services.planning.ideas import edit_idea

        idea = self._idea
        if idea is None:
            return

        async def submit(typed: Values) -> None:
            await self.act(edit_idea, idea.id, typed)

        fields = [
            TextField(name="title", label="Scene", value=idea.title, required=True, longest=300),
            LongTextField(name="description", label="What it is", value=idea.description, rows=3),
            LongTextField(name="prompt", label="Prompt", value=idea.prompt, required=True, rows=8),
        ]
        if await self.ask(FormDialog("Edit the idea", fields, submit=submit)):
            self.flash("The idea is changed.")

    # Proposing

    def action_propose(self) -> None:
        self.spawn(self._ask_what_to_propose, group="ask")

    async def _ask_what_to_propose(self) -> None:
        view = self._view
        if view is None or not view.branches:
            return
        choices = [(branch.pillar, pillar_words(branch)) for branch in view.branches]
        fields = [
            ChoiceField(name="pillar", label="Pillar", choices=choices),
            IntegerField(name="count", label="How many", value=COUNT, required=True, minimum=1, maximum=10),
        ]
        typed = await self.ask(FormDialog("Propose new ideas", fields))
        if typed:
            self._propose(typed["pillar"].id, typed["pillar"].name, typed["count"])

    def _propose(self, pillar_id: int, pillar: str, count: int) -> None:
        """Ask the language model, beside everything else; one question at a time."""
        persona_id = self.shell.persona_id
        if self._proposing is not None or persona_id is None:
            return
        self.query_one(ProgressPanel).restart(f"🤖 Thinking of {counted(count, 'idea')} for {pillar}")
        self.add_class("-proposing")
        self._proposing = self.spawn(partial(self._proposed, persona_id, pillar_id, count), group="propose")
        self.refresh_bindings()

    async def _proposed(self, persona_id: int, pillar_id: int, count: int) -> None:
        try:
            ideas = await self.shell.core.propose_ideas(persona_id, pillar_id, count)
        finally:
            self._proposing = None
            self.remove_class("-proposing")
            self.refresh_bindings()
        self._target = {"idea_id": max(idea.id for idea in ideas)}
        self.request_reload()
        if ideas[0].written_by == "template":
            where = self.shell.registry.label("global.settings")
            self.flash(f"No language model answered, so these are templates; {where} says why.", "warn")
        else:
            self.flash(f"{counted(len(ideas), 'idea')} by {ideas[0].written_by}.")

    def action_stop(self) -> None:
        if self._proposing is not None:
            self._proposing.cancel()
            self.flash("Stopped. No idea was stored.", "info")


_ALLOWED = {
    "generate": ("pending", "accepted", "used"),
    "generate_with": ("pending", "accepted", "used"),
    "accept": ("pending",),
    "reject": OPEN,
    "edit": ("pending", "accepted", "rejected"),
}
"""In which statuses of an idea each act is possible."""
