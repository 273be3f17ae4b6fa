"""Gallery & tree: a run's pictures side by side, one alone, or as they descend from each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from persona_tui.screens import gallery_acts, gallery_data, gallery_lines, runs_acts, runs_data
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.gallery_data import Album, Leaf
from persona_tui.screens.gallery_strip import LineageStrip
from persona_tui.screens.gallery_tree import BranchList, Twig
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.widgets.data_list import DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.messages import PersonaChanged
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.thumbnails import Thumbnails

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.places import PlaceView
    from persona_tui.services.media import MediaStore

TILE = (20, 14)
"""Columns and rows of a thumbnail with its words, more or less."""
PICTURE_ACTS = frozenset({"winner", "reject", "outside", "all"})
POLL = 1.0
"""Seconds between two looks at what is being made, in the tree."""


class GalleryScreen(PersonaScreen):
    """One run's pictures; the cursor is on the same picture in each of the three ways to see them."""

    SCOPE = "gallery"
    TITLE = "Gallery & tree"
    HELP = (
        "All pictures of a run with rating and votes: ⭐ the winner, ✅ went on to a next step, ✗ rejected. "
        "Enter shows one alone, and arrow keys then go from one to the next. In the tree each picture stands "
        "below the one it grew from, beside what is still being made: ← → fold and unfold a branch, p goes "
        "to the parent, [ ] to its siblings. A rejection takes the branch along, and can be taken back. "
        "Ratings that are still voted on are hidden, and their order with them, until you ask."
    )
    TOPICS = frozenset({"run", "candidate", "vote"})
    CSS_PATH = "gallery.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._album = Album(None)
        self._run_id: int | None = None
        self._leaf: Leaf | None = None
        self._wanted: int | None = None
        self._rejected: list[int] = []
        self._places: Sequence[PlaceView] = ()
        self._revealed = False
        self._as_tree = False
        self._alone = False

    # What is on the screen

    def compose_body(self) -> ComposeResult:
        with Vertical(id="album"):
            yield Static(id="head", markup=False)
            yield Static(id="steps", markup=False)
            with Horizontal(id="views"):
                yield Thumbnails(self._tile, tile=TILE, id="grid")
                with Horizontal(id="tree-part"):
                    yield BranchList(lambda: self._revealed, self._progress, id="tree")
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
        return gallery_lines.tile(leaf, self._revealed)

    @property
    def _media(self) -> MediaStore:
        return self.shell.core.resources.media

    def _show_view(self) -> None:
        """Show the grid, the tree or one picture alone, with the cursor where it was."""
        self.set_class(self._as_tree and not self._alone, "-tree")
        self._grid.alone = self._alone
        self._show_cursor()
        (self._tree if self._as_tree and not self._alone else self._grid).focus()

    def _show_cursor(self) -> None:
        """Put the cursors of grid and tree onto the picture in question."""
        leaves = self._album.arranged(self._revealed)
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
        self._run_id, self._wanted = target.get("run_id", self._run_id), target.get("candidate_id")
        self.request_reload()

    def on_persona_changed(self, _message: PersonaChanged) -> None:
        self._look_at_another_run(None)

    def _look_at_another_run(self, run_id: int | None) -> None:
        self._run_id, self._leaf, self._places, self._alone = run_id, None, (), False
        self._tree.forest.forget_folds()

    async def reload(self) -> None:
        album = await self.read(gallery_data.read_album, self.shell.persona_id, self._run_id)
        wanted = self._wanted if self._wanted is not None else self._leaf.id if self._leaf else None
        self._album, self._wanted = album, None
        self._run_id = album.run.id if album.run is not None else None
        arranged = album.arranged(self._revealed)
        found = (leaf for leaf in arranged if leaf.id == wanted)
        self._leaf = next(found, None) or next(iter(arranged), None)
        self._say_empty()
        self._tree.plant(album, arranged)
        self._show_cursor()
        self._show_words()

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
        place = album.arranged(self._revealed).index(leaf) + 1 if leaf in album.leaves and leaf else None
        self.query_one("#head", Static).update(gallery_lines.head(album, place))
        if album.run is not None:
            self.query_one("#steps", Static).update(gallery_lines.steps(album.run))
        parts = gallery_lines.parts(album, leaf, self.shell.zone, self._revealed)
        self.query_one(PartsPanel).show(parts)
        self.query_one("#lines", Static).update(Content("\n").join(self._three_lines()))
        self.refresh_bindings()

    def _three_lines(self) -> list[Content]:
        if self._places:
            return list(gallery_lines.place_lines(self._places))
        if self._leaf is None:
            return []
        first, second, prompt = gallery_lines.lines(self._album, self._leaf, self._revealed)
        way = gallery_lines.lineage(self._album.lineage(self._leaf))
        return [first, second, way if self._as_tree and not self._alone else prompt]

    # The cursor

    def on_thumbnails_highlighted(self, event: Thumbnails.Highlighted) -> None:
        self._places = ()
        self._look_at(self._album.arranged(self._revealed)[event.index])

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

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in PICTURE_ACTS:
            return self._leaf is not None and not self._places
        if action == "approve":
            return self._album.run is not None and runs_acts.may_approve(self._album.run)
        if action == "undo":
            return self._last_rejection() is not None
        if action in {"tree", "vote", "ratings"}:
            return self._album.run is not None
        return super().check_action(action, parameters)

    def action_runs(self) -> None:
        self.spawn(self._choose_run, group="ask", exclusive=True)

    async def _choose_run(self) -> None:
        chosen = await gallery_acts.choose_run(self, self._run_id)
        if chosen is not None:
            self._look_at_another_run(chosen)
            self._show_view()
            self.request_reload()

    def action_reject(self) -> None:
        self.spawn(self._reject, group="act")

    async def _reject(self) -> None:
        leaf = self._leaf
        if leaf is not None and await gallery_acts.reject(self, leaf):
            self._rejected.append(leaf.id)

    def _last_rejection(self) -> int | None:
        if self._leaf is not None and self._leaf.picture.status == "rejected":
            return self._leaf.id
        return self._rejected[-1] if self._rejected else None

    def action_undo(self) -> None:
        self.spawn(self._undo, group="act")

    async def _undo(self) -> None:
        candidate_id = self._last_rejection()
        if candidate_id is None:
            return
        there = await gallery_acts.take_back(self, candidate_id)
        self._rejected = [one for one in self._rejected if one not in there]
        self._wanted = candidate_id
        self.request_reload()

    def action_winner(self) -> None:
        leaf, run = self._leaf, self._album.run
        if leaf is not None and run is not None:
            self.spawn(partial(gallery_acts.make_winner, self, run, leaf), group="ask", exclusive=True)

    def action_approve(self) -> None:
        run = self._album.run
        if run is not None:
            self.spawn(partial(runs_acts.approve, self, run), group="ask", exclusive=True)

    def action_ratings(self) -> None:
        self._revealed = not self._revealed
        self._tree.plant(self._album, self._album.arranged(self._revealed))
        self._show_cursor()
        self._show_words()
        self.flash(
            "All ratings are shown." if self._revealed else "What is voted on is hidden again.", "info"
        )

    async def action_vote(self) -> None:
        if self._album.run is not None:
            await self.shell.go_to("vote", run_id=self._album.run.id)

    def action_outside(self) -> None:
        if self._leaf is not None:
            gallery_acts.show_outside(self, self._leaf)

    def action_all(self) -> None:
        found = gallery_lines.parts(self._album, self._leaf, self.shell.zone, self._revealed)
        text = Content("")
        for title, lines in found:
            text += Content.styled(f"{title.upper()}\n", "$section bold") + Content("\n").join(lines)
            text += Content("\n\n")
        self.app.push_screen(TextDialog("Picture", text.rstrip()))


def _thumbnails(_session: Session, media: MediaStore, leaves: Sequence[Leaf]) -> list[Path | None]:
    return [runs_data.thumbnail(media, leaf.media_key, leaf.sha256) for leaf in leaves]
