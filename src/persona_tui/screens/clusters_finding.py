"""How pictures of the library are found and marked: filters, searches, marks, and the way back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from persona_tui.screens import clusters_acts, clusters_filter, clusters_shelves
from persona_tui.screens.clusters_filter import FilterInput, FilterLine
from persona_tui.screens.clusters_shelves import Findings
from persona_tui.screens.clusters_view import ClustersView
from persona_tui.widgets.data_list import DataList
from persona_tui.widgets.marks import counted
from persona_tui.widgets.thumbnails import Thumbnails

if TYPE_CHECKING:
    from persona_tui.pool import WorkPool
    from persona_tui.services.library.pictures import LibraryPicture, PictureRef

MOST_MARKED = 2000
"""Pictures that one key marks at most; more are filtered first."""


class ClustersFinding(ClustersView):
    """The library with its filters, searches and marks."""

    def __init__(self) -> None:
        super().__init__()
        self._pool: WorkPool | None = None

    @property
    def _models(self) -> WorkPool:
        """The child that knows words and groups vectors; started when it is first needed."""
        from persona_tui.pool import WorkPool

        self._pool = self._pool or WorkPool()
        return self._pool

    async def on_unmount(self) -> None:
        if self._pool is not None:
            await self._pool.aclose()

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
            self.shelves.focus()
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

    def action_meaning(self) -> None:
        self.query_one(FilterLine).open("", by_meaning=True)

    def on_filter_line_entered(self, event: FilterLine.Entered) -> None:
        self._leave_filter(keep=True)
        if event.by_meaning and event.words:
            self.flash("Looking…", "busy")
            self._search(f"“{event.words}”", partial(self._shows, event.words))

    async def _shows(self, words: str, persona_id: int) -> Findings:
        return await clusters_shelves.shows(self, self._models, persona_id, words, self._chips)

    def action_similar(self) -> None:
        picture = self.picture
        if picture is not None:
            work = partial(clusters_shelves.like, self, picture=picture, chips=self._chips)
            self._search(f"like {picture.label}", work)

    def action_best(self) -> None:
        self._search("like what did best", partial(clusters_shelves.like_the_best, self))

    def _search(self, title: str, work: Callable[..., Awaitable[Findings]]) -> None:
        if self.shell.persona_id is not None:
            self.spawn(partial(self._show_found, title, work, self.shell.persona_id), group="search")

    async def _show_found(
        self, title: str, work: Callable[..., Awaitable[Findings]], persona_id: int
    ) -> None:
        found = await work(persona_id=persona_id)
        self._marked = {}
        self.show_source(found, found=title)
        back = self.shell.registry.label("global.back")
        self.flash(f"{counted(len(found.refs), 'picture')} found; [{back}] leads back to the shelf.", "info")
        self.grid.focus()

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

    def _mark(self, marked: dict[PictureRef, LibraryPicture]) -> None:
        self._marked = marked
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
