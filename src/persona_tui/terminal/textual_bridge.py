"""The one module between Textual and the pure rest of this package, private names included.

`PictureFrames` is mixed into the app. At the end of each frame, inside the terminal's synchronized update, it
asks where the panes lie and what is in front of them, and writes what has to change on the screen.
`tests/terminal/test_textual_names.py` watches the private names.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import count, pairwise
from time import monotonic
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from rich.console import Console
from rich.segment import Segment
from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers import linux_driver
from textual.message import Message
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from persona_tui.terminal.fences import QUERY, Fences
from persona_tui.terminal.kitty_painter import KittyPainter
from persona_tui.terminal.layer import Ready, Rect, Scene, Size
from persona_tui.terminal.painter import Painter
from persona_tui.terminal.probe import Capabilities, Protocol, choose_protocol
from persona_tui.terminal.reply_filter import ReplyFilter
from persona_tui.terminal.stream_painter import StreamPainter

if TYPE_CHECKING:
    from asyncio import Future

USUAL_CELL = Size(10, 20)
"""Of a cell, where the terminal doesn't tell."""
LATE_REPLIES = 5.0
"""Seconds after the start in which answers to the probe may still come."""
FRAME_PAUSE = 0.02
"""Seconds that a picture waits for a frame with changed cells, to come onto the screen together with them."""
HELD = 0.25
"""Seconds that the beginning of an answer waits for its rest."""


class PictureWidget(Widget):
    """A widget with one picture, drawn by the terminal over its cells.

    Attributes:
        picture: what it shows; None while it shows nothing or paints with cells.
    """

    picture: Ready | None = None

    def picture_shown(self, picture: Ready) -> None:
        """The terminal has drawn this picture."""

    def picture_lost(self) -> None:
        """The terminal has it no more; it is to be fetched again."""


class Pictures:
    """All pictures of the app on its terminal.

    Args:
        capabilities: of the terminal.
        protocol: the one to use.
    """

    def __init__(self, app: App[None], capabilities: Capabilities, protocol: Protocol) -> None:
        self._app = app
        self.protocol = protocol
        self.fences = Fences()
        cell = Size(capabilities.cell_width or 0, capabilities.cell_height or 0)
        self.painter = self._painter(protocol, cell if min(cell) > 0 else USUAL_CELL)
        self.awake = self._frame_wanted = False
        self._slots: WeakKeyDictionary[PictureWidget, int] = WeakKeyDictionary()
        self._numbers = count()
        self._told: WeakKeyDictionary[PictureWidget, Hashable] = WeakKeyDictionary()

    def _painter(self, protocol: Protocol, cell: Size) -> Painter:
        if protocol in ("sixel", "iterm2"):
            streamed: Literal["sixel", "iterm2"] = "sixel" if protocol == "sixel" else "iterm2"
            return StreamPainter(streamed, cell)
        return KittyPainter(self.write, self.fences, cell)

    def write(self, commands: str) -> None:
        """Through Textual's writer, which never mixes two strings."""
        if self._app._driver is not None:
            self._app._driver.write(commands)

    def add(self, widget: PictureWidget) -> None:
        """From now on this widget's picture is drawn wherever it is on the screen."""
        self._slots[widget] = next(self._numbers)

    def remove(self, widget: PictureWidget) -> None:
        """This widget's picture is not drawn any more."""
        self._slots.pop(widget, None)

    def expect(self, widget: PictureWidget) -> None:
        """Bring the widget's picture onto the screen, and tell the widget when it is there."""
        self._told.pop(widget, None)
        if not self._frame_wanted:
            self._frame_wanted = True
            self._app.set_timer(FRAME_PAUSE, self._frame)

    def _frame(self) -> None:
        """A frame in which no cell has changed; Textual itself makes none then."""
        if self._frame_wanted and not self._app._batch_count:
            self._app._begin_update()
            self._app._end_update()

    def end_frame(self) -> None:
        """Bring the pictures to where the frame just painted has them."""
        if not self.awake or not self._slots:
            return
        self._frame_wanted = False
        scenes = list(self._scenes(self._app.screen_stack))
        commands = self.painter.paint([scene for _, scene in scenes])
        new = [(widget, scene) for widget, scene in scenes if self._is_new(widget, scene)]
        if new:
            commands += QUERY
            drawn = [(widget, scene.picture) for widget, scene in new]
            self.fences.expect().add_done_callback(lambda answered: self._tell(answered, drawn))
        if commands:
            self.write(commands)

    def _is_new(self, widget: PictureWidget, scene: Scene) -> bool:
        if self._told.get(widget) == scene.picture.key or not self.painter.shown(scene):
            return False
        self._told[widget] = scene.picture.key
        return True

    def _tell(self, _answered: Future[bool], drawn: Iterable[tuple[PictureWidget, Ready]]) -> None:
        """A terminal that answers no question has drawn it all the same, sooner or later."""
        for widget, picture in drawn:
            if self.awake and widget.is_attached:
                widget.call_later(widget.picture_shown, picture)  # as itself: a message from here ends early

    def _scenes(self, stack: Sequence[Screen[object]]) -> Iterable[tuple[PictureWidget, Scene]]:
        """The panes that are to be seen, with all that lies in front of them."""
        fronts: list[Rect] = []
        for screen in reversed(stack):
            for widget, (region, clip) in screen._compositor.visible_widgets.items():
                if widget is screen:
                    continue
                if isinstance(widget, PictureWidget) and widget in self._slots:
                    content = Rect(*region.shrink(widget.styles.gutter))
                    if scene := self._scene(widget, content, Rect(*clip), tuple(fronts)):
                        yield widget, scene
                fronts.append(Rect(*region.intersection(clip)))
            if not screen.is_modal or screen.styles.background.a == 1:
                return

    def _scene(
        self, widget: PictureWidget, content: Rect, clip: Rect, fronts: tuple[Rect, ...]
    ) -> Scene | None:
        if widget.picture is None:
            return None
        if not self.painter.holds(widget.picture):
            widget.picture = None
            widget.call_later(widget.picture_lost)
            return None
        return Scene(self._slots[widget], widget.picture, content, clip, fronts)

    def open(self) -> None:
        """The terminal is ours, for the first time or again; it has none of our pictures."""
        self.painter.open()
        self._told.clear()
        self.awake = True

    def close(self) -> str:
        """The terminal is left; returns the commands that take the pictures out of its memory."""
        self.awake = False
        return self.painter.close()

    def repaint(self) -> None:
        """The terminal may have lost what it showed."""
        self.painter.repaint()


class PictureFrames(App[None]):
    """The app's half: the end of a frame, and the terminal's answers.

    Attributes:
        pictures: None where pictures are painted with cells.
    """

    pictures: Pictures | None = None

    def use_pictures(self, capabilities: Capabilities, protocol: Protocol | Literal["auto"]) -> None:
        """Draw pictures the best way that the terminal has, or in this way."""
        chosen = choose_protocol(capabilities, protocol)
        self.pictures = Pictures(self, capabilities, chosen) if chosen != "halfblock" else None

    def _end_update(self) -> None:
        if self.pictures is not None:
            self.pictures.end_frame()
        super()._end_update()

    def on_cursor_position(self, _event: events.CursorPosition) -> None:
        if self.pictures is not None:
            self.pictures.fences.answer()

    def on_resize(self, _event: events.Resize) -> None:
        if self.pictures is not None:
            self.pictures.repaint()


class FilteredParser(XTermParser):
    """Textual's parser, behind a filter that takes out the terminal's answers to the probe."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._filter = ReplyFilter()
        self._began = self._fed = monotonic()

    def feed(self, data: str) -> Iterable[Message]:
        if not data:
            return super().feed(data)
        self._fed = monotonic()
        self._filter.hold_escape = self._fed - self._began < LATE_REPLIES
        keys = self._filter.feed(data)
        return super().feed(keys) if keys else ()

    def tick(self) -> Iterable[Message]:
        if self._filter.held and monotonic() - self._fed >= HELD:
            yield from super().feed(self._filter.release())
        yield from super().tick()


def install_reply_filter() -> None:
    """Textual's driver looks its parser up by this name when it begins to read."""
    setattr(linux_driver, "XTermParser", FilteredParser)  # noqa: B010  (it is not exported)


class HoledStrip(Strip):
    """A line of which some cells are left as they are: a picture lies there, and a space would wipe it away.

    Args:
        segments: the line as it is without the picture, spaces in the hole.
        hole: first column of the hole, and the one after its last.
    """

    __slots__ = ["hole"]

    def __init__(self, segments: Iterable[Segment], cell_length: int, hole: tuple[int, int]) -> None:
        super().__init__(segments, cell_length)
        self.hole = hole

    def crop(self, start: int, end: int | None = None) -> Strip:
        start = max(0, start)
        end = self.cell_length if end is None else min(end, self.cell_length)
        first, last = max(self.hole[0], start), min(self.hole[1], end)
        piece = super().crop(start, end)
        if piece is self or first >= last:
            return piece
        return HoledStrip(piece, end - start, (first - start, last - start))

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        edges = [0, *(cut for cut in cuts if cut <= self.cell_length)]
        return [self.crop(start, end) for start, end in pairwise(edges)]

    def render(self, console: Console) -> str:
        first, last = self.hole
        before = super().crop(0, first).render(console) if first else ""
        after = super().crop(last).render(console) if last < self.cell_length else ""
        return f"{before}\x1b[{last - first}C{after}"
