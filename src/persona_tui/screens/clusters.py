"""Clusters & photos: what its keys do with the library's pictures and clusters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens import clusters_acts, clusters_filter, clusters_groups
from persona_tui.screens.clusters_acts import Undo
from persona_tui.screens.clusters_filter import FilterInput, FilterLine
from persona_tui.screens.clusters_import import ImportPlan, ask_what_to_import, failure_lines
from persona_tui.screens.clusters_view import ClustersView
from persona_tui.widgets.data_list import DataList
from persona_tui.widgets.marks import counted
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.thumbnails import Thumbnails
from persona_tui.widgets.viewer import ViewedPicture, ViewerDialog

if TYPE_CHECKING:
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.library.pictures import LibraryPicture

MOST_MARKED = 2000
"""Pictures that one key marks at most; more are filtered first."""
PICTURE_ACTS = frozenset(
    {
        "mark",
        "range",
        "draft",
        "plan",
        "move",
        "add",
        "flag",
        "open",
        "similar",
        "caption",
        "reject",
        "delete",
    }
)
CLUSTER_ACTS = frozenset({"rename", "prompt", "merge", "split", "unusable", "samples", "name"})

PictureAct = Callable[[ClustersView, Sequence["LibraryPicture"]], Awaitable[Undo | None]]


class ClustersScreen(ClustersView):
    """The library; acts are on the marked pictures, or the one under the cursor, or on the tree's cluster."""

    SCOPE = "clusters"
    TITLE = "Clusters & photos"
    HELP = (
        "The library: photos that were imported and pictures that runs made, in one place. In the tree stand "
        "shelves and the pillars with their clusters; a cluster is a batch of pictures that belong together, "
        "and its dot says how many were not posted yet. Enter goes from the tree to its pictures, and there "
        "shows one alone. Space marks pictures ✓, r marks all up to the cursor, M all that are listed; then "
        "a key moves, flags, drafts, schedules or deletes them together, and u takes it back. / filters by "
        "name as you type, the keys 1 to 5 go through what else can be filtered for."
    )

    def __init__(self) -> None:
        super().__init__()
        self._undone: list[Undo] = []

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in PICTURE_ACTS:
            return self.picture is not None
        if action == "mark_all":
            return bool(len(self._reel))
        if action in CLUSTER_ACTS:
            return self._cluster is not None
        if action == "undo":
            return bool(self._undone)
        if action == "clear":
            return self._chips.active
        return super().check_action(action, parameters)

    # Going in and out

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        self.grid.focus()

    def on_thumbnails_opened(self, _event: Thumbnails.Opened) -> None:
        self._show_alone(not self.grid.alone)

    def _show_alone(self, alone: bool) -> None:
        self.grid.alone = alone
        self.set_class(alone, "-alone")
        self._wind_soon()

    def step_back(self) -> bool:
        if self.query_one(FilterLine).has_class("-open"):
            self._leave_filter(keep=False)
        elif self.panel.running:
            self.panel.stop()
            self.flash("Stopping after this file…", "busy")
        elif self.grid.alone:
            self._show_alone(False)
        elif self._found:
            self.look()
        elif self._marked:
            self._mark({})
        elif self.focused is self.grid:
            self.tree.focus()
        elif self._chips.active:
            self.action_clear()
        else:
            return super().step_back()
        return True

    # Filters and order

    def action_filter(self) -> None:
        self.query_one(FilterLine).open(self._chips.words, by_meaning=False)

    def on_filter_line_typed(self, event: FilterLine.Typed) -> None:
        self._filter(replace(self._chips, words=event.words))

    def on_filter_line_entered(self, _event: FilterLine.Entered) -> None:
        self._leave_filter(keep=True)

    def _leave_filter(self, *, keep: bool) -> None:
        self.query_one(FilterLine).close()
        if isinstance(self.focused, FilterInput):
            self.grid.focus()
        if not keep and self._chips.words:
            self._filter(replace(self._chips, words=""))

    def _filter(self, chips: clusters_filter.Chips) -> None:
        if chips != self._chips:
            self._chips = chips
            self.look()

    def action_step(self, name: str) -> None:
        self._filter(self._chips.stepped(name))

    def action_sort(self) -> None:
        self._filter(self._chips.sorted_on())

    def action_clear(self) -> None:
        self._filter(clusters_filter.Chips(order=self._chips.order))

    def action_more(self) -> None:
        if self.shell.persona_id is not None:
            self.spawn(partial(self._ask_for_more, self.shell.persona_id), group="ask", exclusive=True)

    async def _ask_for_more(self, persona_id: int) -> None:
        asked = await clusters_filter.ask_for_more(self, persona_id, self._chips)
        if asked is not None:
            chips, self._more_words = asked
            self._filter(chips)

    # Marks

    def _chosen(self) -> list[LibraryPicture]:
        """The marked pictures; without a mark the one under the cursor."""
        here = self.picture
        return list(self._marked.values()) or ([here] if here is not None else [])

    def _mark(self, marked: dict[object, LibraryPicture]) -> None:
        self._marked = marked  # type: ignore[assignment]
        self._show_grid()

    def action_mark(self) -> None:
        picture = self.picture
        if picture is None:
            return
        if self._marked.pop(picture.ref, None) is None:
            self._marked[picture.ref] = picture
        self._show_grid()
        self.grid.action_right()

    def action_range(self) -> None:
        """From the one marked last, as far as it is loaded, to the cursor."""
        pictures = self._reel.pictures
        here = self.picture
        last = next(reversed(self._marked), None)
        places = {picture.ref: place for place, picture in enumerate(pictures)}
        if here is None or last is None or last not in places:
            key = self.shell.registry.label("clusters.mark")
            self.flash(f"Mark the first one with [{key}]; then this key marks all up to the cursor.", "info")
            return
        low, high = sorted((places[last], places[here.ref]))
        for picture in pictures[low : high + 1]:
            self._marked.setdefault(picture.ref, picture)
        self._show_grid()
        self.flash(f"{counted(len(self._marked), 'picture')} marked.", "info")

    def action_mark_all(self) -> None:
        if self._marked:
            self._mark({})
        else:
            self.spawn(self._mark_all, group="act", exclusive=True)

    async def _mark_all(self) -> None:
        pictures, more = await self.read(clusters_acts.all_of, self._source, MOST_MARKED)
        self._mark({picture.ref: picture for picture in pictures})
        if more:
            self.flash(f"The first {MOST_MARKED:,} are marked; filter for fewer to mark the others.", "warn")
        else:
            self.flash(f"{counted(len(pictures), 'picture')} marked.", "info")

    # Acts on pictures

    def _do(self, act: PictureAct) -> None:
        pictures = self._chosen()
        if not pictures:
            self.flash("There is no picture here to do that with.", "info")
        else:
            self.spawn(partial(self._carry_out, act, pictures), group="ask", exclusive=True)

    async def _carry_out(self, act: PictureAct, pictures: Sequence[LibraryPicture]) -> None:
        undo = await act(self, pictures)
        if undo is not None:
            self._undone.append(undo)
            self._marked = {}
            self.request_reload()

    def action_undo(self) -> None:
        if self._undone:
            self.spawn(partial(self._undo, self._undone.pop()), group="act")

    async def _undo(self, undo: Undo) -> None:
        await self.act(undo.work)
        self.flash(undo.words)
        self.request_reload()

    def action_flag(self) -> None:
        self._do(clusters_acts.flag)

    def action_plan(self) -> None:
        self._do(clusters_acts.plan)

    def action_draft(self) -> None:
        pictures = self._chosen()
        if not pictures:
            self.flash("There is no picture here to do that with.", "info")
        else:
            self.spawn(partial(self._draft, pictures), group="ask", exclusive=True)

    async def _draft(self, pictures: Sequence[LibraryPicture]) -> None:
        post_id = await clusters_acts.draft(self, pictures)
        self._mark({})
        if len(pictures) == 1:
            await self.shell.go_to("posts", post_id=post_id, propose=1)

    def action_open(self) -> None:
        pictures = self._chosen()
        if not pictures:
            self.flash("There is no picture here to do that with.", "info")
        else:
            self.spawn(partial(self._view, pictures), group="ask", exclusive=True)

    async def _view(self, pictures: Sequence[LibraryPicture]) -> None:
        viewed = [ViewedPicture(one.media_key, one.sha256, one.label) for one in pictures]
        await self.ask(ViewerDialog(self.shell.core.resources.media, viewed))

    # Clusters

    @property
    def _cluster(self) -> ClusterView | None:
        return self._branch.cluster if self._branch is not None else None

    def _with_cluster(self, work: Callable[[ClusterView], Awaitable[object]]) -> None:
        cluster = self._cluster
        if cluster is None:
            self.flash("There is no cluster here to do that with.", "info")
        else:
            self.spawn(partial(self._change, work, cluster), group="ask", exclusive=True)

    async def _change(self, work: Callable[[ClusterView], Awaitable[object]], cluster: ClusterView) -> None:
        await work(cluster)
        self.request_reload()

    def action_new(self) -> None:
        self.spawn(self._new, group="ask", exclusive=True)

    async def _new(self) -> None:
        persona_id = self.shell.persona_id
        if persona_id is None:
            self.flash("A cluster belongs to a persona; there is none yet.", "info")
            return
        made = await clusters_groups.new(self, persona_id, self.tree.catalogue.pillars)
        if made is not None:
            self._target = ("cluster", made)
            self.request_reload()

    def action_rename(self) -> None:
        self._with_cluster(partial(clusters_groups.rename, self))

    def action_pillar(self) -> None:
        pillars = self.tree.catalogue.pillars
        self._with_cluster(partial(clusters_groups.give_to_pillar, self, pillars=pillars))

    def action_prompt(self) -> None:
        cluster = self._cluster
        if cluster is None:
            self.flash("There is no cluster here to do that with.", "info")
        else:
            words = cluster.ai_prompt or "It was made without one."
            self.app.push_screen(TextDialog(f"Prompt of “{cluster.name}”", words))

    # Importing

    def action_import(self) -> None:
        if self.panel.running:
            key = self.shell.registry.label("global.back")
            self.flash(f"An import is running already; {key} stops it.", "info")
        else:
            self.spawn(self._ask_and_import, group="ask", exclusive=True)

    async def _ask_and_import(self) -> None:
        persona_id = self.shell.persona_id
        if persona_id is None:
            self.flash("Photos belong to a persona; there is none yet.", "info")
            return
        plan = await ask_what_to_import(self, persona_id, self.tree.catalogue.clusters, self._cluster)
        if plan is not None:
            self.spawn(partial(self._import, plan), group="import")

    async def _import(self, plan: ImportPlan) -> None:
        tally = await self.panel.run(plan)
        self.flash(tally.sentence(), "warn" if tally.failed or tally.stopped else "ok", seconds=10)
        self.request_reload()
        if tally.failed:
            lines = Content("\n").join(failure_lines(tally.failed))
            self.app.push_screen(TextDialog(tally.failed_words(), lines))
