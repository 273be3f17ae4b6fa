"""The pictures of the vote view: two side by side, three or four, one alone, or all in turn in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.events import Resize
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from persona_tui.widgets.failsafe import Failsafe
from persona_tui.widgets.picture import KEPT, PicturePane

if TYPE_CHECKING:
    from pathlib import Path

    from persona_tui.screens.vote_data import Scene
    from persona_tui.services.voting.contest import Showing

SIDES = ("left", "right", "third", "fourth")
TALL = 0.8
"""Width of a usual picture for its height."""
BLINK = 0.6
"""Seconds for which a picture is seen while all are shown in turn."""
PAN = 0.1
"""Share of a picture's width or height by which one key moves the view at 100 %."""
CENTRE = (0.5, 0.5)


class VoteTable(Failsafe, Container):
    """Shows the pictures of a scene, and knows since when they have been on the screen.

    Args:
        clock: seconds that only grow.
    """

    class Blinked(Message):
        """Another picture is seen while all are shown in turn."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(id="table")
        self._clock = clock
        self._scene: Scene | None = None
        self._shown: list[int] = []
        self._showing: Showing | None = None
        self._blinking: Timer | None = None
        self._turns: Iterator[int] = iter(())
        self._seen_since: float | None = None
        self._at: tuple[float, float] | None = None
        self.seen: int | None = None
        """Place of the picture that is seen while all are shown in turn, from 0."""
        self.drawn_at: float | None = None
        """When all pictures of the scene came onto the screen; None until they have."""

    def compose(self) -> ComposeResult:
        for side in SIDES:
            with Vertical(id=side, classes="side"):
                yield PicturePane()
                yield Static(classes="caption", markup=False)
        with Vertical(id="lone"):
            yield PicturePane(id="blink")
            yield Static(id="blink-caption", classes="caption", markup=False)

    def on_resize(self, _event: Resize) -> None:
        self._arrange()

    @property
    def panes(self) -> list[PicturePane]:
        """The panes of the pictures shown, left to right and top to bottom."""
        return [self.query_one(f"#{side} PicturePane", PicturePane) for side in self._taken]

    @property
    def seen_since(self) -> float | None:
        """When these pictures were first seen together, in whatever order."""
        return self._seen_since

    @property
    def _taken(self) -> tuple[str, ...]:
        return SIDES[: max(len(self._shown), 1)]

    def forget(self) -> None:
        """Take the pictures for old: the next scene's are drawn anew."""
        self._show_whole()
        self._shown, self._showing, self.drawn_at, self._seen_since = [], None, None, None

    def show(self, scene: Scene) -> None:
        """Show a scene's pictures; those that are on the screen already stay there."""
        before, self._scene = self._shown, scene
        wanted = [member.id for member in scene.shown]
        if before == wanted and self._showing is scene.showing:
            return
        self._show_whole()
        same = before == wanted and self.drawn_at is not None
        if set(before) != set(wanted) or self._showing is None:
            self._seen_since = None
        self._shown, self._showing, self.drawn_at = wanted, scene.showing, None
        if same:
            self._seen_since = None
            self.call_after_refresh(self._note_drawn, wanted)
            return
        self._arrange()
        for pane, member in zip(self.panes, scene.shown, strict=True):
            path = scene.pictures.get(member.id)
            pane.show(path, f"picture {member.candidate_id}" + ("" if path else ": its file is gone"))

    def show_captions(self, captions: list[Content]) -> None:
        """The words below each picture; those that stay as they are cost nothing."""
        for side, words in zip(SIDES, captions, strict=False):
            _say(self.query_one(f"#{side} .caption", Static), words)
        if self.seen is not None and self.seen < len(captions):
            _say(self.query_one("#blink-caption", Static), captions[self.seen])

    # Where they stand

    def _arrange(self) -> None:
        """Give the pictures as much room as the terminal allows."""
        for number, side in enumerate(SIDES):
            self.query_one(f"#{side}").set_class(number < len(self._taken), "-taken")
        for pane in self.panes:
            pane.alike = self.panes
        columns = best_columns(len(self._taken), *self.size)
        if self.styles.grid_size_columns != columns:
            self.styles.grid_size_columns = columns

    # When they are seen

    def on_picture_pane_drawn(self, event: PicturePane.Drawn) -> None:
        event.stop()
        if event.pane.id == "blink" or self.drawn_at is not None or self._scene is None:
            return
        if all(pane.loaded for pane in self.panes):
            self.call_after_refresh(self._note_drawn, self._shown)
            self.spawn(partial(self._prepare, self._scene), group="prepare", exclusive=True, quiet=True)

    def _note_drawn(self, shown: list[int]) -> None:
        if self.drawn_at is None and shown == self._shown:
            self.drawn_at = self._clock()
            self._seen_since = self._seen_since or self.drawn_at

    async def _prepare(self, scene: Scene) -> None:
        """Encode the pictures ahead, so that whatever is voted, the next pair is there at once."""
        paths = [path for path in scene.pictures.values() if path is not None]
        panes = self.panes
        for path in paths[: KEPT // len(panes)]:
            for pane in panes:
                await pane.prepare(path)

    # At 100 %

    def zoom(self, at: tuple[float, float] | None) -> None:
        """Show all pictures at 100 % around the same place, or whole.

        Args:
            at: shares (0 to 1) of width and height; None shows them whole.
        """
        closer = (at is None) != (self._at is None)
        self._at = at
        for number, pane in enumerate(self.panes):
            if closer:
                pane.show(self._file(number), pane.alt, keep=True)
            pane.zoom = at
        self.query_one("#blink", PicturePane).zoom = at

    def _file(self, number: int) -> Path | None:
        """A picture's file: the original at 100 %, where it is on this machine."""
        if self._scene is None or number >= len(self._scene.shown):
            return None
        member = self._scene.shown[number].id
        original = self._scene.originals.get(member) if self._at is not None else None
        return original or self._scene.pictures.get(member)

    def _show_whole(self) -> None:
        """Leave whatever way of looking closer."""
        self.stop_blinking()
        if self._at is not None:
            self._at = None
            for pane in self.query(PicturePane):
                pane.zoom = None

    # All in turn in one place

    @property
    def blinks(self) -> bool:
        """Whether all pictures are shown in turn in one place."""
        return self._blinking is not None

    def blink(self) -> None:
        """Show the pictures in turn in one place, so that whatever differs jumps to the eye."""
        self.set_class(True, "-blink")
        self._turns = cycle(range(len(self._shown)))
        self._blinking = self.set_interval(BLINK, self._show_next)
        self._show_next()

    def stop_blinking(self) -> None:
        """Show the pictures beside each other again."""
        if self._blinking is not None:
            self._blinking.stop()
        self._blinking, self.seen = None, None
        self.set_class(False, "-blink")

    def _show_next(self) -> None:
        if self._scene is None:
            return
        self.seen = next(self._turns)
        pane = self.query_one("#blink", PicturePane)
        pane.show(self._file(self.seen), self.panes[self.seen].alt, keep=True)
        self.post_message(self.Blinked())


def best_columns(count: int, width: int, height: int) -> int:
    """Columns in which so many upright pictures, each with a line below it, are largest.

    Args:
        width, height: of the room, in cells; a cell is twice as high as wide.
    """

    def scale(columns: int) -> float:
        rows = -(-count // columns)
        return min(width / columns, TALL * 2 * (height / rows - 1))

    choices = (count,) if count < 3 else (count, 2)
    return max(choices, key=scale)


def _say(line: Static, words: Content) -> None:
    """Show words, unless they are there already."""
    if not isinstance(line.content, Content) or not line.content.is_same(words):
        line.update(words, layout=False)
