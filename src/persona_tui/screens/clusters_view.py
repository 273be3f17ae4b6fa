"""What the library's screen shows: the tree, a page of thumbnails, and all about the one under the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from persona_tui.screens import clusters_filter, clusters_lines, clusters_reading
from persona_tui.screens.clusters_about import ClustersAbout
from persona_tui.screens.clusters_filter import Chips, FilterLine
from persona_tui.screens.clusters_import import ImportPanel
from persona_tui.screens.clusters_reading import NOTHING, Listing, source_of
from persona_tui.screens.clusters_reel import Reel, Source, reread, wound
from persona_tui.screens.clusters_shelves import Findings
from persona_tui.screens.clusters_tree import ALL, Branch, Key, LibraryTree
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.widgets.data_list import DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.marks import counted
from persona_tui.widgets.messages import PersonaChanged
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.section import SectionTitle
from persona_tui.widgets.thumbnails import Thumbnails

if TYPE_CHECKING:
    from persona_tui.services.library.pictures import LibraryPicture, PictureRef

TILE, SMALL_TILE = (24, 14), (17, 7)
"""Columns and rows of a thumbnail with its words, more or less, where there is room and where not."""
LOOKED_FOR = ("reviews", "near")
"""Shelves whose pictures are looked for all at once."""
NOTHING_LEFT = {
    "staged": "Nothing waits for a look any more.",
    "reviews": "No picture is unsure any more.",
    "near": "No two pictures look alike any more.",
    "rejected": "Nothing is rejected any more.",
    "deleted": "Nothing is deleted any more.",
}
"""What is said on a shelf whose last picture has left it while it was looked at."""
COUNT_PAUSE = 0.2
"""Seconds that a listing is looked at before it is counted, which may take longer than its page."""
COUNTS_PAUSE = 2.0
"""Seconds between two countings of all shelves: an import says with each photo that there is more."""


class ClustersView(ClustersAbout):
    """The library; only the page that is seen and its neighbours are read."""

    TOPICS = frozenset({"cluster", "photo", "pillar", "candidate", "post"})
    CSS_PATH = "clusters.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._branch: Branch | None = None
        self._chips = Chips()
        self._more_words: Mapping[str, str] = {}
        self._found = ""
        self._source: Source = NOTHING
        self._reel = Reel()
        self._unwound = self._winding = self._counting = self._uncounted = False
        self._wanted = 0
        self._marked: dict[PictureRef, LibraryPicture] = {}
        self._target: Key | None = None
        self._bar = Content.empty()
        self._acts_on: tuple[object, ...] = ()

    # What is on the screen

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="library"):
            with Vertical(id="tree-part"):
                yield SectionTitle("Library", id="tree-title")
                yield LibraryTree(id="tree")
                yield Static(id="missing", markup=False)
            with Vertical(id="pictures-part"):
                yield SectionTitle("Pictures", id="pictures-title")
                yield Static(id="bar", markup=False)
                yield FilterLine()
                yield Thumbnails(self._tile, tile=SMALL_TILE, id="grid")
                yield EmptyState("No pictures here.", "clusters.import", icon="📷", id="no-pictures")
                yield Static(id="lines", markup=False)
            with Vertical(id="panel-part"):
                yield PicturePane("", id="preview")
                yield PartsPanel(clusters_lines.PARTS, id="panel")
        yield EmptyState(
            "No persona yet.\nA library belongs to one.", "global.personas", icon="📷", id="none"
        )
        yield ImportPanel(id="import")

    @property
    def grid(self) -> Thumbnails[LibraryPicture]:
        """The pictures of one of them."""
        found: Thumbnails[LibraryPicture] = self.query_one("#grid", Thumbnails)
        return found

    @property
    def picture(self) -> LibraryPicture | None:
        """The picture under the cursor, once it is read."""
        place = self.grid.cursor
        return self._reel[place] if place < len(self._reel) else None

    @property
    def loaded(self) -> Reel:
        """The part of the listing that is read."""
        return self._reel

    @property
    def panel(self) -> ImportPanel:
        """The import's panel."""
        return self.query_one(ImportPanel)

    def on_mount(self) -> None:
        self.shelves.focus()

    def on_resize(self, _event: Resize) -> None:
        self.call_after_refresh(self._choose_tile)

    def _choose_tile(self) -> None:
        roomy = self.has_class("-wide") and self.has_class("-tall")
        self.grid.tile = TILE if roomy else SMALL_TILE
        self._show_grid()

    def _tile(self, picture: LibraryPicture) -> Content:
        notes = self._source.notes if isinstance(self._source, Findings) else {}
        return clusters_lines.tile(
            picture,
            marked=picture.ref in self._marked,
            note=notes.get(picture.ref, ""),
            tall=self.grid.tile == TILE,
        )

    # The tree

    async def reload(self) -> None:
        persona_id = self.shell.persona_id
        self.set_class(persona_id is None, "-nobody")
        if persona_id is None:
            return
        catalogue = await self.read(clusters_reading.load_catalogue, persona_id)
        self.shelves.plant(replace(catalogue, counts=self.shelves.catalogue.counts))
        self._follow_target()
        self._look_again()
        self._uncounted = True
        if not self._counting:
            self._counting = True
            self.spawn(self._keep_counting, group="counts", quiet=True)

    async def _keep_counting(self) -> None:
        try:
            while self._uncounted and (persona_id := self.shell.persona_id) is not None:
                self._uncounted = False
                await self._count_shelves(persona_id)
                await asyncio.sleep(COUNTS_PAUSE if self._uncounted else 0)
        finally:
            self._counting = False

    async def _count_shelves(self, persona_id: int) -> None:
        before = self.shelves.catalogue.counts
        counts = await self.read(clusters_reading.load_counts, persona_id)
        counts["reviews"] = sum(cluster.to_review for cluster in self.shelves.catalogue.clusters)
        counts["near"] = before.get("near", 0)
        self.shelves.plant(replace(self.shelves.catalogue, counts=counts))
        self._say_tree()
        missing = await self.read(clusters_reading.what_is_missing, persona_id)
        key = self.shell.registry.label("clusters.analyse")
        verb = (
            "does it" if missing.line.startswith("To do") else "says why" if missing.lacks else "tries again"
        )
        # The key first: three narrow rows don't hold what is missing of each kind.
        line = Content.assemble(("⚠ ", "$warning"), (f"[{key}] {verb}. ", "$title"), (missing.line, "$dim"))
        self.query_one("#missing", Static).update(line if missing.line else "")
        if counts["all"] != before.get("all"):
            counts = {**counts, "near": await self.read(clusters_reading.count_near, persona_id)}
            self.shelves.plant(replace(self.shelves.catalogue, counts=counts))

    def _say_tree(self) -> None:
        clusters = len(self.shelves.catalogue.clusters)
        self.query_one("#tree-title", SectionTitle).note = counted(clusters, "cluster")

    def aim(self, **target: int) -> None:
        """Look at `cluster_id`."""
        if (cluster_id := target.get("cluster_id")) is not None:
            self._target = ("cluster", cluster_id)
        self.request_reload()

    def _follow_target(self) -> None:
        if self._target is not None and self.shelves.seek(self._target):
            self.shelves.focus()
        elif self._branch is None:
            self.shelves.seek(ALL)
        self._target = None

    def on_persona_changed(self, _message: PersonaChanged) -> None:
        self._branch, self._chips, self._marked = None, Chips(), {}
        self.request_reload()

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        branch: Branch = event.item
        before, self._branch = self._branch, branch
        if before is None or before.key != branch.key:
            self._marked = {}
            self.look()
        self.refresh_bindings()

    # The pictures

    def look(self, *, again: bool = False) -> None:
        """Show the shelf under the tree's cursor, through the filters, from its beginning.

        Args:
            again: the cursor stays where it is.
        """
        persona_id, branch = self.shell.persona_id, self._branch
        if persona_id is None or branch is None:
            return
        if branch.kind in LOOKED_FOR:
            self._wanted = self.grid.cursor if again else 0
            self.spawn(partial(self._look_for, persona_id, branch), group="shelf", exclusive=True, quiet=True)
        else:
            self.show_source(source_of(persona_id, branch, self._chips))

    async def _look_for(self, persona_id: int, branch: Branch) -> None:
        found = await self.read(clusters_reading.read_shelf, persona_id, branch.kind)
        if branch is self._branch or (self._branch is not None and branch.key == self._branch.key):
            self.show_source(found)

    def show_source(self, source: Source, *, found: str = "") -> None:
        """Show other pictures from their beginning.

        Args:
            found: what was looked for, where it is a search.
        """
        self._source, self._found = source, found
        self._reel = Reel(total=self._known_total())
        self.grid.restart()
        self._wind_soon()
        self.spawn(self._count, group="count", exclusive=True, quiet=True)

    def _look_again(self) -> None:
        """Read the same part of the same listing again."""
        if self._branch is not None and self._branch.kind in LOOKED_FOR and not self._found:
            self.look(again=True)
        elif self._reel.pages:
            self.spawn(self._reread, group="reread", exclusive=True, quiet=True)
            self.spawn(self._count, group="count", exclusive=True, quiet=True)

    async def _reread(self) -> None:
        source, here = self._source, self.grid.shown
        found = await self.read(reread, source, self._reel, here.start, here.stop)
        if source is self._source:
            self._take(found)

    def _known_total(self) -> int | None:
        """How many pictures the tree says there are; None where it does not, or filters leave some out."""
        branch = self._branch
        if branch is None or self._found or self._chips.active:
            return None
        if branch.cluster is not None:
            return branch.cluster.pictures
        return self.shelves.catalogue.counts.get(branch.kind)

    async def _count(self) -> None:
        source = self._source
        if not isinstance(source, Listing):
            return
        await asyncio.sleep(COUNT_PAUSE)
        total = await self.read(source.count)
        if source is self._source:
            self._reel = replace(self._reel, total=total)
            self._show_grid()

    def _wind_soon(self) -> None:
        self._unwound = True
        if not self._winding and (not self._reel.pages or self._reel.lacks(*self._around)):
            self._winding = True
            self.spawn(self._wind, group="pages", quiet=True)

    @property
    def _around(self) -> tuple[int, int]:
        """The places of the page, the two behind it and the one before it."""
        here = self.grid.shown
        return here.start - len(here), here.stop + 2 * len(here)

    async def _wind(self) -> None:
        """Read what the page and its neighbours lack; never cut off, so that held keys don't starve it."""
        try:
            while self._unwound:
                self._unwound = False
                source, reel, here = self._source, self._reel, self.grid.shown
                low, high = self._around
                if reel.pages and not reel.lacks(low, high):
                    continue
                found = await self.read(wound, source, reel, low, high)
                if source is self._source:
                    self._take(found)
                self._unwound |= source is not self._source or self.grid.shown != here
        finally:
            self._winding = False

    def _take(self, reel: Reel) -> None:
        """Show what was read; the cursor stays on its picture where the places have changed."""
        here, place = self.picture, self._wanted or self.grid.cursor
        self._wanted = 0
        self._reel = replace(reel, total=self._reel.total)
        now = self.picture
        if here is not None and now is not None and now.ref != here.ref:
            refs = [picture.ref for picture in reel.pictures]
            place = reel.first + refs.index(here.ref) if here.ref in refs else place
        if here is None or now != here or not self.grid.drawn:
            self._show_grid(place)
        else:
            self.grid.show(self._reel, place)

    def _show_grid(self, place: int | None = None) -> None:
        self.grid.show(self._reel, self.grid.cursor if place is None else place)
        empty = bool(self._reel.pages) and not len(self._reel)
        self.set_class(empty, "-no-pictures")
        if empty:
            self._say_empty()
        self._show_words()
        self._look_at()

    def _say_empty(self) -> None:
        empty, branch = self.query_one("#no-pictures", EmptyState), self._branch
        if self._found:
            empty.text, empty.action = f"Nothing was found for {self._found}.", "global.back"
        elif self._chips.active:
            empty.text, empty.action = "No picture here is let through by the filters.", "clusters.clear"
        elif branch is not None and branch.kind == "loose":
            empty.text, empty.action = (
                "These clusters serve no pillar yet.\nGo to one of them.",
                "clusters.pillar",
            )
        elif branch is not None and branch.kind in NOTHING_LEFT:
            words = f"{NOTHING_LEFT[branch.kind]}\nAll pictures are the first row of the tree."
            empty.text, empty.action = words, "list.first"
        elif waiting := self.shelves.catalogue.counts.get("staged"):
            words = f"No pictures here yet.\nOn a shelf of the tree {waiting:,} wait for a look."
            empty.text, empty.action = words, "list.down"
        else:
            empty.text, empty.action = "No pictures here yet.\nPhotos come from a folder.", "clusters.import"

    def on_thumbnails_highlighted(self, _event: Thumbnails.Highlighted) -> None:
        self._wind_soon()
        self._show_words()
        self._look_at()

    # Words, and all about one picture

    def _show_words(self) -> None:
        branch, reel = self._branch, self._reel
        title = self.query_one("#pictures-title", SectionTitle)
        title.title = self._found or (branch.title if branch is not None else "Pictures")
        title.note = ", ".join(self._standing()) if reel.pages else "…"
        wide = self.has_class("-wide")
        bar = clusters_filter.bar(self._chips, self.shell.registry, self._more_words, short=not wide)
        if not bar.is_same(self._bar):
            self._bar = bar
            self.query_one("#bar", Static).update(bar, layout=False)
        picture = self.picture
        acts_on = (self._chips.active, picture and picture.stage, picture and picture.kind)
        if self._acts_on != acts_on:
            self._acts_on = acts_on
            self.refresh_bindings()

    def _standing(self) -> Sequence[str]:
        reel, place = self._reel, self.grid.cursor
        if self._branch is not None and self._branch.kind == "loose" and not self._found:
            return [counted(len(self.shelves.catalogue.clusters_of(None)), "cluster")]
        total = reel.total if reel.goes_on or reel.first else len(reel)
        notes = ["counting…" if total is None else counted(total, "picture")]
        notes += [f"this is {place + 1:,}"] if len(reel) and place else []
        notes += [f"✓ {len(self._marked)} marked"] if self._marked else []
        cluster = self._branch.cluster if self._branch is not None and not self._found else None
        if cluster is not None:
            notes.append(cluster.pillar or "no pillar")
            catalogue = self.shelves.catalogue
            outlook = catalogue.forecasts.get(cluster.id)
            if outlook is not None and catalogue.read_at is not None:
                notes += clusters_lines.outlook(outlook, catalogue.read_at, self.shell.zone)
        return notes
