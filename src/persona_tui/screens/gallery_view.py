"""What the gallery shows: a run's pictures side by side, one alone, or as they descend from each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from persona_tui.screens import gallery_data, gallery_gate, gallery_lines, gallery_order, runs_data
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.gallery_data import Album, Leaf
from persona_tui.screens.gallery_gate import LiveGate
from persona_tui.screens.gallery_strip import LineageStrip
from persona_tui.screens.gallery_tree import BranchList, Twig
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.widgets.data_list import DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.messages import PersonaChanged
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.thumbnails import Thumbnails

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.places import PlaceView
    from persona_tui.services.media import MediaStore

PICTURE_ROWS, WORD_ROWS = 10, 4
"""Of a thumbnail, more or less, and of the words below it."""
BESIDE_DOUBTS = 6
"""Columns of the screen's edges and of the sign before what speaks against a gate."""
POLL = 1.0
"""Seconds between two looks at what is being made, in the tree."""


class GalleryView(PersonaScreen):
    """One run's pictures; the cursor is on the same picture in each of the three ways to see them."""

    TOPICS = frozenset({"run", "candidate", "vote"})
    CSS_PATH = "gallery.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._album = Album(None)
        self._run_id: int | None = None
        self._leaf: Leaf | None = None
        self._wanted: int | None = None
        self._rejected: list[tuple[int, ...]] = []
        self._marked: set[int] = set()
        self._gate = LiveGate()
        self._order, self._keep = "rating", "all"
        self._places: Sequence[PlaceView] = ()
        self._revealed = False
        self._as_tree = False
        self._alone = False

    # What is on the screen

    def compose_body(self) -> ComposeResult:
        with Vertical(id="album"):
            yield Static(id="head", markup=False)
            yield Static(id="steps", markup=False)
            yield Static(id="bar", markup=False)
            yield Static(id="gate", markup=False)
            with Horizontal(id="views"):
                yield Thumbnails(self._tile, tile=tile_of(()), id="grid")
                with Horizontal(id="tree-part"):
                    yield BranchList(lambda: self._revealed, self._progress, self._passes, id="tree")
                    yield PicturePane("no picture", id="preview")
                yield PartsPanel(gallery_lines.PARTS, id="panel")
            yield LineageStrip()
            yield Static(id="lines", markup=False)
        yield EmptyState("No pictures yet.\nA run makes them.", "global.runs", icon="🌳")

    def on_mount(self) -> None:
        self._show_view()
        self.set_interval(POLL, self._look_at_engine)

    @property
    def _grid(self) -> Thumbnails[Leaf]:
        found: Thumbnails[Leaf] = self.query_one("#grid", Thumbnails)
        return found

    @property
    def _tree(self) -> BranchList:
        return self.query_one("#tree", BranchList)

    def _tile(self, leaf: Leaf) -> Content:
        marked = leaf.id in self._marked
        return gallery_lines.tile(leaf, self._revealed, marked=marked, passes=self._passes(leaf.id))

    def _passes(self, candidate_id: int) -> bool:
        """Whether a picture is marked as one that would go on now."""
        return self._gate.passes(candidate_id)

    @property
    def _leaves(self) -> Sequence[Leaf]:
        """The pictures that the grid shows."""
        return gallery_order.arranged(self._album.leaves, self._revealed, order=self._order, keep=self._keep)

    @property
    def _media(self) -> MediaStore:
        return self.shell.core.resources.media

    def _show_view(self) -> None:
        """Show the grid, the tree or one picture alone, with the cursor where it was."""
        self.set_class(self._as_tree and not self._alone, "-tree")
        self.set_class(self._alone, "-alone")
        self._grid.alone = self._alone
        if not self._as_tree and self._leaf not in self._leaves:
            self._leaf = self._first()
        self._show_cursor()
        (self._tree if self._as_tree and not self._alone else self._grid).focus()

    def _show_cursor(self) -> None:
        """Put the cursors of grid and tree onto the picture in question."""
        leaves = self._leaves
        index = leaves.index(self._leaf) if self._leaf in leaves else 0
        self._grid.show(leaves, index)
        if self._leaf is not None and not self._places:
            self._tree.seek(self._leaf.id)

    # Reading

    def aim(self, **target: int) -> None:
        """Look at a run, or at one of its pictures.

        Args:
            run_id: which run.
            candidate_id: which picture of it.
        """
        while self.app.screen is not self and not self.app.screen.is_modal:
            self.app.pop_screen()
        self._run_id, self._wanted = target.get("run_id", self._run_id), target.get("candidate_id")
        self.request_reload()

    def on_persona_changed(self, _message: PersonaChanged) -> None:
        self._look_at_another_run(None)

    def _look_at_another_run(self, run_id: int | None) -> None:
        self._run_id, self._leaf, self._places, self._alone = run_id, None, (), False
        self._marked, self._keep, self._gate = set(), "all", LiveGate()
        self._tree.forest.forget_folds()

    async def reload(self) -> None:
        album = await self.read(
            gallery_data.read_album, self.shell.persona_id, self._run_id, self._gate.tried
        )
        wanted = self._wanted if self._wanted is not None else self._leaf.id if self._leaf else None
        self._album, self._wanted = album, None
        self._run_id = album.run.id if album.run is not None else None
        self._gate.show(album)
        self._marked &= {leaf.id for leaf in album.leaves}
        if not self._leaves:
            self._keep = "all"
        self._leaf = next((leaf for leaf in album.leaves if leaf.id == wanted), None) or self._first()
        self._say_empty()
        self._grid.tile = tile_of(album.leaves)
        self._tree.plant(album, album.arranged(self._revealed))
        self._show_cursor()
        self._show_words()

    def _first(self) -> Leaf | None:
        return next(iter(self._leaves or self._album.arranged(self._revealed)), None)

    def _say_empty(self) -> None:
        album, empty = self._album, self.query_one(EmptyState)
        self.set_class(not (album.leaves or (self._as_tree and album.places)), "-empty")
        if album.run is None:
            empty.text, empty.action = "No pictures yet.\nA run makes them.", "global.runs"
        else:
            empty.text = f"“{album.run.name}” has no pictures yet.\nThey come here one by one."
            empty.action = "gallery.runs"

    def _show_words(self) -> None:
        album, leaf = self._album, self._leaf
        leaves = self._leaves
        place = leaves.index(leaf) + 1 if leaf is not None and leaf in leaves else None
        head = gallery_lines.head(album, place, len(leaves), len(self._marked))
        self.query_one("#head", Static).update(head)
        self._show_bars()
        if album.run is not None:
            self.query_one("#steps", Static).update(gallery_lines.steps(album.run))
        self.query_one(PartsPanel).show(self._parts())
        self.query_one("#lines", Static).update(Content("\n").join(self._three_lines()))
        self.refresh_bindings()

    def _show_bars(self) -> None:
        """What is shown in which order, and what the gate would do now."""
        label = self.shell.registry.label
        bar = gallery_order.bar(
            self._album.leaves,
            order=self._order,
            keep=self._keep,
            filter_key=label("gallery.filter"),
            order_key=label("gallery.sort"),
        )
        self.query_one("#bar", Static).update(bar)
        keys = f"{label('gallery.more')} {label('gallery.fewer')}"
        approve, room = label("gallery.approve"), self.size.width - BESIDE_DOUBTS
        gate = gallery_gate.bar(self._album, self._gate, keys=keys, approve=approve, room=room)
        self.query_one("#gate", Static).update(gate)
        self.query_one("#gate", Static).display = bool(gate)

    def _parts(self) -> list[tuple[str, list[Content]]]:
        passes = self._leaf is not None and self._passes(self._leaf.id)
        return list(gallery_lines.parts(self._album, self._leaf, self.shell.zone, self._revealed, passes))

    def _three_lines(self) -> list[Content]:
        if self._places:
            return list(gallery_lines.place_lines(self._places))
        if self._leaf is None:
            return []
        passes = self._passes(self._leaf.id)
        first, second, prompt = gallery_lines.lines(self._album, self._leaf, self._revealed, passes)
        way = gallery_lines.lineage(self._album.lineage(self._leaf))
        return [first, second, way if self._as_tree and not self._alone else prompt]

    # The cursor

    def on_thumbnails_highlighted(self, event: Thumbnails.Highlighted) -> None:
        self._places = ()
        leaves = self._leaves
        if event.index < len(leaves):
            self._look_at(leaves[event.index])

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        twig: Twig = event.item
        if not self._as_tree or (twig.leaf is not None and twig.leaf not in self._album.leaves):
            return
        self._places = twig.places
        if twig.leaf is None:
            self._show_words()
            self._show_drawing()
        else:
            self._look_at(twig.leaf)
            self.spawn(partial(self._preview, twig.leaf), group="preview", exclusive=True, quiet=True)

    def _look_at(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self._show_words()

    async def _preview(self, leaf: Leaf) -> None:
        way = self._album.lineage(leaf)
        files = await self.read(_thumbnails, self._media, way)
        words = leaf.label if files[-1] else f"{leaf.label}: gone"
        self.query_one("#preview", PicturePane).show(files[-1], words, keep=True)
        self.set_class(len(way) > 1, "-descended")
        named = [f"{one.id} {one.picture.step}" for one in way]
        self.query_one(LineageStrip).show(list(zip(files, named, strict=True)))

    # What is being made

    def _progress(self, job_id: int) -> float | None:
        """How far a job is, 0 to 1; None while it does not run."""
        engine = self.shell.core.engine
        jobs = engine.status().jobs if engine is not None else ()
        return next((job.progress for job in jobs if job.job_id == job_id and job.started), None)

    def _look_at_engine(self) -> None:
        if self._as_tree and self.is_current_view and any(one.state == "busy" for one in self._album.places):
            self._tree.show(self._tree.items)
            self._show_drawing()

    def _show_drawing(self) -> None:
        """What a server has drawn so far of the place under the cursor."""
        if not self._places:
            return
        engine, job_id = self.shell.core.engine, self._places[0].job_id
        drawn = engine.preview(job_id) if engine is not None and job_id is not None else None
        self.query_one("#preview", PicturePane).show(drawn, "nothing is drawn yet", keep=drawn is not None)

    def on_thumbnails_opened(self, _event: Thumbnails.Opened) -> None:
        self._alone = not self._alone
        self._show_view()

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        if event.item.leaf is not None:
            self._alone = True
            self._show_view()
            self._show_words()

    def step_back(self) -> bool:
        if self._alone:
            self._alone = False
        elif self._as_tree:
            self._as_tree = False
        else:
            return super().step_back()
        self._places = ()
        self._show_view()
        self._show_words()
        return True

    def action_tree(self) -> None:
        self._as_tree, self._alone, self._places = not self._as_tree, False, ()
        self._say_empty()
        self._show_view()
        self._show_words()
        if self._as_tree and self._leaf is not None:
            self.spawn(partial(self._preview, self._leaf), group="preview", exclusive=True, quiet=True)


def tile_of(leaves: Sequence[Leaf]) -> tuple[int, int]:
    """Columns and rows that a picture with its words is to have: as wide as most pictures are.

    A cell is taken to be twice as high as wide.
    """
    shapes = [leaf.picture.width / leaf.picture.height for leaf in leaves] or [0.8]
    columns = round(2 * PICTURE_ROWS * median(shapes)) + 2
    return min(max(columns, 12), 42), PICTURE_ROWS + WORD_ROWS


def _thumbnails(_session: Session, media: MediaStore, leaves: Sequence[Leaf]) -> list[Path | None]:
    return [runs_data.thumbnail(media, leaf.media_key, leaf.sha256) for leaf in leaves]
