"""Compare: two to four pictures of a run side by side at equal scale, with linked 100 %."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from persona_tui.errors import PersonaError
from persona_tui.screens import gallery_acts, gallery_data, gallery_lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.gallery_data import Album, Leaf
from persona_tui.widgets.marks import dim
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.viewer import MIDDLE, Point, moved, source_of

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.media import MediaStore

MOST = 4
"""Pictures that can be compared at once."""
WORDS = 2
"""Rows of words above each picture."""
FULL_WORDS = 26
"""Columns that the words above a picture take in full."""
CELL_RATIO = 2.0
"""Height of a terminal's cell by its width, more or less."""


class ComparedPicture(Vertical):
    """One of the pictures, with its words above it."""

    class Chosen(Message):
        """A click chose the picture."""

        def __init__(self, place: int) -> None:
            super().__init__()
            self.place = place

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def compose(self) -> ComposeResult:
        yield Static(classes="words", markup=False)
        with Container(classes="room"):
            yield PicturePane("")

    @property
    def pane(self) -> PicturePane:
        """Where the picture is painted."""
        return self.query_one(PicturePane)

    def scale(self, leaf: Leaf, largest: tuple[int, int]) -> None:
        """Give the picture its share of the room that the largest one fills, so that all have one scale."""
        width, height = largest
        self.pane.styles.width = f"{100 * leaf.picture.width / width}%"
        self.pane.styles.height = f"{100 * leaf.picture.height / height}%"

    def on_click(self, _event: events.Click) -> None:
        self.post_message(self.Chosen(self.place))


class CompareScreen(PersonaScreen):
    """Pictures of one run beside each other; the keys act on the one that is chosen.

    Args:
        run_id: whose pictures.
        candidate_ids: two to four, left to right and top to bottom.
        rejected: what keys rejected in the gallery, the last at the end; what is rejected here joins it.
        revealed: ratings that are voted on are told.
    """

    SCOPE = "compare"
    TITLE = "Compare"
    HELP = (
        "The pictures that you marked, side by side at equal scale. ← → or their numbers choose one of them, "
        "and the keys act on it. 100 % shows every picture's own pixels at the same place, and panning moves "
        "all of them together. Esc leads back to the gallery, where the marks stay."
    )
    TOPICS = frozenset({"run", "candidate", "vote"})
    CSS_PATH = "compare.tcss"

    def __init__(
        self,
        run_id: int,
        candidate_ids: Sequence[int],
        rejected: list[tuple[int, ...]],
        *,
        revealed: bool = False,
    ) -> None:
        super().__init__()
        self._run_id = run_id
        self._ids = tuple(candidate_ids)
        self._rejected = rejected
        self._revealed = revealed
        self._album = Album(None)
        self._leaves: Sequence[Leaf] = ()
        self._place = 0
        self._centre: Point | None = None

    # What is on the screen

    def compose_body(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        with Container(id="pictures"):
            for place in range(len(self._ids)):
                yield ComparedPicture(place)
        yield Static(id="about", markup=False)

    @property
    def _media(self) -> MediaStore:
        return self.shell.core.resources.media

    @property
    def _leaf(self) -> Leaf | None:
        return self._leaves[self._place] if self._place < len(self._leaves) else None

    async def reload(self) -> None:
        self._album = await self.read(gallery_data.read_album, self.shell.persona_id, self._run_id)
        known = {leaf.id: leaf for leaf in self._album.leaves}
        before, self._leaves = self._leaves, [known[one] for one in self._ids if one in known]
        self._show_words()
        if [leaf.id for leaf in before] != [leaf.id for leaf in self._leaves]:
            self._arrange()
            await self._show_pictures()

    def on_resize(self) -> None:
        self._arrange()

    def _arrange(self) -> None:
        """Put the pictures into the rows and columns in which they are largest, all at one scale."""
        room = self.query_one("#pictures")
        if not self._leaves or not self.size.area:
            return
        largest = _largest(self._leaves)
        columns, rows = best_shape(len(self._leaves), (room.size.width, room.size.height), largest)
        room.styles.grid_size_columns, room.styles.grid_size_rows = columns, rows
        for shown in self.query(ComparedPicture):
            shown.display = shown.place < len(self._leaves)
            if shown.display:
                shown.scale(self._leaves[shown.place], largest)

    async def _show_pictures(self) -> None:
        """Show all thumbnails, or all originals at 100 %, with the same place in the middle."""
        sources = await self.read(_sources, self._media, self._leaves, self._centre is not None)
        for leaf, source, shown in zip(self._leaves, sources, self.query(ComparedPicture), strict=False):
            shown.pane.zoom = self._centre
            words = leaf.label if source is not None else f"{leaf.label}: the file is gone"
            shown.pane.show(source, words, keep=source is not None)

    def _show_words(self) -> None:
        album = self._album
        run = Content.styled(album.run.name, "bold") if album.run is not None else Content.empty()
        zoomed = "whole" if self._centre is None else "100 %, linked"
        self.query_one("#head", Static).update(run + dim(f"  {len(self._leaves)} pictures, {zoomed}"))
        brief = self.size.width < len(self._leaves) * FULL_WORDS
        for leaf, shown in zip(self._leaves, self.query(ComparedPicture), strict=False):
            chosen = shown.place == self._place
            shown.set_class(chosen, "-chosen")
            number = Content.styled(f"{'▸' if chosen else ' '} {shown.place + 1} ", "$title bold")
            words = number + gallery_lines.name(leaf)
            if gallery_lines.state(leaf)[1] != "active":
                mark = gallery_lines.mark(leaf)
                words += Content("  ") + (mark[:2] if brief else mark)
            words += Content("\n    " if len(self._leaves) == 2 else "\n")
            words += gallery_lines.rating(leaf, self._revealed, brief=brief)
            shown.query_one(".words", Static).update(words)
        if self._leaf is not None:
            self.query_one("#about", Static).update(gallery_lines.origin(self._leaf))
        self.refresh_bindings()

    # Which one

    def on_compared_picture_chosen(self, event: ComparedPicture.Chosen) -> None:
        self.action_pick(event.place)

    def action_pick(self, place: int) -> None:
        if place < len(self._leaves):
            self._place = place
            self._show_words()

    def action_step(self, by: int) -> None:
        if self._leaves:
            self.action_pick((self._place + by) % len(self._leaves))

    # 100 %

    def action_zoom(self) -> None:
        self._centre = MIDDLE if self._centre is None else None
        self._show_words()
        self.spawn(self._show_pictures, group="pictures", exclusive=True, quiet=True)

    def action_pan(self, across: int, down: int) -> None:
        if self._centre is None:
            return
        self._centre = moved(self._centre, across, down)
        for shown in self.query(ComparedPicture):
            shown.pane.zoom = self._centre

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "pan":
            return self._centre is not None
        if action == "undo":
            return bool(self._rejected)
        if action in {"reject", "flag", "winner", "outside", "view", "keep"}:
            return self._leaf is not None
        return super().check_action(action, parameters)

    def action_reject(self) -> None:
        if self._leaf is not None:
            self.spawn(partial(self._reject, [self._leaf]), group="act")

    def action_keep(self) -> None:
        others = [leaf for leaf in self._leaves if leaf is not self._leaf]
        if others:
            self.spawn(partial(self._reject, others), group="act")

    async def _reject(self, leaves: Sequence[Leaf]) -> None:
        gone = await gallery_acts.reject(self, leaves)
        if gone:
            self._rejected.append(gone)

    def action_undo(self) -> None:
        self.spawn(self._undo, group="act")

    async def _undo(self) -> None:
        if self._rejected:
            await gallery_acts.take_back(self, self._rejected[-1])
            self._rejected.pop()

    def action_flag(self) -> None:
        if self._leaf is not None:
            self.spawn(partial(gallery_acts.flag, self, [self._leaf]), group="act")

    def action_winner(self) -> None:
        leaf, run = self._leaf, self._album.run
        if leaf is not None and run is not None:
            work = partial(gallery_acts.make_winner, self, run.winner_id, leaf.id)
            self.spawn(work, group="ask", exclusive=True)

    def action_ratings(self) -> None:
        self._revealed = not self._revealed
        self._show_words()

    def action_view(self) -> None:
        self.spawn(self._view, group="ask", exclusive=True)

    async def _view(self) -> None:
        index = await gallery_acts.view(self, self._leaves, self._place)
        if index is not None:
            self.action_pick(index)

    def action_outside(self) -> None:
        if self._leaf is not None:
            gallery_acts.show_outside(self, self._leaf.media_key)


def _largest(leaves: Sequence[Leaf]) -> tuple[int, int]:
    """Width and height of a frame that holds each of the pictures."""
    return max(leaf.picture.width for leaf in leaves), max(leaf.picture.height for leaf in leaves)


def best_shape(count: int, room: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows in which so many pictures are shown largest.

    Args:
        room: columns and rows of the terminal that they share.
        largest: width and height of the largest picture, in pixels.
    """
    shapes = [(columns, -(-count // columns)) for columns in range(1, count + 1)]

    def scale(shape: tuple[int, int]) -> float:
        columns, rows = shape
        height = room[1] / rows - WORDS
        return min(room[0] / columns / largest[0], height * CELL_RATIO / largest[1])

    return max(shapes, key=scale)


def _sources(
    _session: Session, media: MediaStore, leaves: Sequence[Leaf], original: bool
) -> list[Path | bytes | None]:
    found: list[Path | bytes | None] = []
    for leaf in leaves:
        try:
            found.append(source_of(media, leaf, original))
        except (PersonaError, OSError):
            found.append(None)
    return found
