"""The one module between Textual and the pure rest of this package, private names included.

`PictureFrames` is mixed into the app. At the end of each frame, inside the terminal's synchronized update, it
asks where the panes lie and what is in front of them, and writes what has to change on the screen.
`tests/terminal/test_textual_names.py` watches the private names.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, Literal
from weakref import WeakKeyDictionary

from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers import linux_driver
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from persona_tui.terminal import kitty, tmux
from persona_tui.terminal.fences import QUERY, Fences
from persona_tui.terminal.kitty_painter import KittyPainter
from persona_tui.terminal.layer import Ready, Rect, Scene, Size
from persona_tui.terminal.painter import Painter
from persona_tui.terminal.placeholder_painter import PlaceholderPainter
from persona_tui.terminal.probe import Capabilities, Protocol, cell_size, choose_protocol, window
from persona_tui.terminal.reply_filter import ReplyFilter
from persona_tui.terminal.stream_painter import StreamPainter

if TYPE_CHECKING:
    from asyncio import Future

    from persona_tui.terminal.tmux import Tmux

USUAL_CELL = Size(10, 20)
"""Of a cell, where the terminal doesn't tell."""
LATE_REPLIES = 5.0
"""Seconds after the start in which answers to the probe may still come."""
FRAME_PAUSE = 0.02
"""Seconds that a picture waits for a frame with changed cells, to come onto the screen together with them."""
HELD = 0.25
"""Seconds that the beginning of an answer waits for its rest."""
ATTACH_PAUSE = 3.0
"""Seconds between looks at which terminal shows our tmux window."""
LOSSES, LOSSES_SECONDS = 20, 10.0
"""So many lost pictures within so many seconds are believed: a terminal that says so always is wrong."""
_ASK_CELL_SIZE = "\x1b[16t"
_CELL_SIZE = re.compile(r"\x1b\[6;(\d+);(\d+)t")


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

    Attributes:
        usable: the terminal that shows us now can draw them.
    """

    def __init__(self, app: App[None], capabilities: Capabilities, protocol: Protocol) -> None:
        self._app = app
        self._multiplexer, self._tmux = capabilities.multiplexer, capabilities.tmux
        self._watch: asyncio.Task[None] | None = None
        self._tells_cell = capabilities.cell_told
        self._losses: deque[float] = deque(maxlen=LOSSES)
        self.usable = True
        self.protocol = protocol
        self.fences = Fences()
        self._largest_sixel = _largest_sixel(capabilities)
        cell = Size(capabilities.cell_width or 0, capabilities.cell_height or 0)
        self.painter = self._painter(protocol, cell if min(cell) > 0 else USUAL_CELL)
        self.awake = self._frame_wanted = False
        self._slots: WeakKeyDictionary[PictureWidget, int] = WeakKeyDictionary()
        self._numbers = count()
        self._told: WeakKeyDictionary[PictureWidget, Hashable] = WeakKeyDictionary()

    def _painter(self, protocol: Protocol, cell: Size) -> Painter:
        if protocol in ("sixel", "iterm2"):
            streamed: Literal["sixel", "iterm2"] = "sixel" if protocol == "sixel" else "iterm2"
            return StreamPainter(streamed, cell, self._largest_sixel)
        if self._multiplexer == "tmux":
            return PlaceholderPainter(self.write, self.fences, cell)
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
        self._frame_soon()

    def _frame_soon(self) -> None:
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
        if not (self.awake and self.usable and self._slots):
            return
        self._frame_wanted = False
        scenes = list(self._scenes(self._app.screen_stack))
        commands = self.painter.paint([scene for _, scene in scenes])
        new = [(widget, scene) for widget, scene in scenes if self._is_new(widget, scene)]
        if new or commands:
            commands += QUERY
            FilteredParser.replies_due += 1
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
        FilteredParser.replies_due -= 1
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
            # A dimmed screen is written anew as text, which wipes out what is drawn into its cells.
            if not screen.is_modal or screen.styles.background.a == 1 or self.painter.in_cells:
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
        self.write(_ASK_CELL_SIZE)
        if self.painter.as_text and self._tmux is not None:
            self._watch = asyncio.create_task(self._watch_tmux(self._tmux), name="watch tmux")

    def close(self) -> str:
        """The terminal is left; returns the commands that take the pictures out of its memory."""
        self.awake = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        return self.painter.close()

    def send_again(self) -> None:
        """The terminal may hold nothing of ours any more, or it is another one."""
        if self.awake:
            self.write(self.painter.close())
            self.painter.open()
            self._told.clear()
            self._frame_soon()

    def look_again(self) -> None:
        """The person is back at the terminal, perhaps at another one: what it lost is sent again."""
        if self.awake and not self.painter.in_cells:
            self.painter.repaint()
            self._frame_soon()

    def resized(self, size: Size, pixels: Size | None) -> None:
        """The terminal has another size, or is another one; pictures that it lost are sent again.

        Args:
            size: columns and rows.
            pixels: None where the terminal did not say.
        """
        self.painter.repaint()
        if not self.awake:
            return
        self.write(_ASK_CELL_SIZE)
        if not self._tells_cell:
            wide, high = cell_size(b"", (size.height, size.width, *(pixels or self._pixels())))
            self._use_cell(wide, high)
        self._frame_soon()

    def _pixels(self) -> Size:
        *_, width, height = window(getattr(self._app._driver, "fileno", -1))
        return Size(width, height)

    def _use_cell(self, width: int | None, height: int | None) -> None:
        if not (width and height) or Size(width, height) == self.painter.cell:
            return
        self.painter.cell = Size(width, height)
        self._fetch_anew()

    def _fetch_anew(self) -> None:
        self._told.clear()
        for widget in self._slots:
            widget.picture = None
            widget.call_later(widget.picture_lost)

    def hear(self, reply: str) -> None:
        """What the terminal says: the size of a cell, or that it has lost a picture."""
        if told := _CELL_SIZE.fullmatch(reply):
            self._tells_cell = True
            self._use_cell(int(told[2]), int(told[1]))
        elif (image_id := kitty.lost(reply)) is not None:
            now = monotonic()
            if len(self._losses) < LOSSES or now - self._losses[0] > LOSSES_SECONDS:
                self._losses.append(now)
                if self.painter.lost(image_id):
                    self._frame_soon()

    async def _watch_tmux(self, before: Tmux) -> None:
        """tmux keeps our text when another terminal is attached or another window shown, but no pictures."""
        while True:
            await asyncio.sleep(ATTACH_PAUSE)
            now = await asyncio.to_thread(tmux.ask, os.environ)
            if now is None or not now.visible:
                before = replace(before, visible=False)
                continue
            if now.showing != before.showing or not before.visible:
                self.usable = now.placeholders and now.passthrough
                self._use_cell(now.cell_width, now.cell_height)
                self.send_again()
                self._fetch_anew()
            self._tmux = before = now


def _largest_sixel(capabilities: Capabilities) -> Size | None:
    if capabilities.sixel_width is None or capabilities.sixel_height is None:
        return None
    return Size(capabilities.sixel_width, capabilities.sixel_height)


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

    def on_resize(self, event: events.Resize) -> None:
        if self.pictures is not None:
            self.pictures.resized(Size(*event.size), Size(*event.pixel_size) if event.pixel_size else None)

    def on_app_focus(self, _event: events.AppFocus) -> None:
        if self.pictures is not None:
            self.pictures.look_again()

    def on_terminal_reply(self, event: TerminalReply) -> None:
        if self.pictures is not None:
            self.pictures.hear(event.reply)

    def action_redraw(self) -> None:
        """Paint everything and send all pictures again, whatever the terminal still has."""
        if self.pictures is not None:
            self.pictures.send_again()
        self.refresh()


class TerminalReply(events.Event, bubble=False):
    """The terminal has answered one of our questions.

    Attributes:
        reply: its words.
    """

    def __init__(self, reply: str) -> None:
        super().__init__()
        self.reply = reply


class FilteredParser(XTermParser):
    """Textual's parser, behind a filter that takes the terminal's answers out of the keys.

    Attributes:
        replies_due: questions out, to which an answer about pictures may come.
    """

    replies_due: ClassVar[int] = 0

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._filter = ReplyFilter()
        self._began = self._fed = monotonic()

    def feed(self, data: str) -> Iterable[Message]:
        if not data:
            yield from super().feed(data)
            return
        self._fed = monotonic()
        self._filter.hold_escape = self.replies_due > 0 or self._fed - self._began < LATE_REPLIES
        keys = self._filter.feed(data)
        yield from map(TerminalReply, self._filter.taken)
        if keys:
            yield from super().feed(keys)

    def tick(self) -> Iterable[Message]:
        if self._filter.held and monotonic() - self._fed >= HELD:
            yield from super().feed(self._filter.release())
        yield from super().tick()


def install_reply_filter() -> None:
    """Textual's driver looks its parser up by this name when it begins to read."""
    setattr(linux_driver, "XTermParser", FilteredParser)  # noqa: B010  (it is not exported)
