"""A small app with two pictures and a status line, run on a pty by the terminal tests.

Arguments: folder of pictures 0.png, 1.png, … and the protocol. Keys: n next pair, m modal, c modal in a
corner, t toast, s suspend for a moment, z 100 %, l draw again, p page without pictures, p back, q quit. Each
event is a line in FOLDER/log.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.driver import Driver
from textual.events import Key
from textual.screen import ModalScreen, Screen
from textual.widgets import Input, Label, Static

from persona_tui.terminal.probe import choose_protocol, probe
from persona_tui.terminal.textual_bridge import PictureFrames
from persona_tui.theme import THEMES
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.terminal_driver import TerminalDriver


class Question(ModalScreen[None]):
    DEFAULT_CSS = """
    Question { align: center middle; }
    Question > Label { width: 40; height: 7; background: darkred; }
    """

    def compose(self) -> ComposeResult:
        yield Label("a dialog")


class Corner(Question):
    DEFAULT_CSS = """
    Corner { align: left top; }
    Corner > Label { width: 20; }
    """


class Page(Screen[None]):
    def compose(self) -> ComposeResult:
        yield Static("another page")


class DuelApp(PictureFrames, App[None]):
    CSS = """
    #pair { height: 1fr; }
    #status { height: 1; }
    PicturePane { margin: 0 1; }
    """

    def __init__(self, folder: Path, protocol: str) -> None:
        super().__init__()
        self.folder = folder
        self.register_theme(THEMES["dark"])
        self.theme = THEMES["dark"].name
        capabilities = probe(sys.stdin.fileno(), sys.stdout.fileno())
        forced = protocol if protocol != "auto" else "auto"
        self.use_pictures(capabilities, forced)  # type: ignore[arg-type]
        self.note(f"protocol {choose_protocol(capabilities, forced)}")  # type: ignore[arg-type]
        self.files = sorted(folder.glob("*.png"), key=lambda path: int(path.stem))
        self.pair = 0
        self.longest_pause = 0.0
        self.prepared = False
        # Votes among the first pictures, which are there, while the others are on their way.
        self.shown = self.files[:6] if "--between" in sys.argv else self.files

    def get_driver_class(self) -> type[Driver]:
        return TerminalDriver

    def note(self, text: str) -> None:
        with (self.folder / "log").open("a") as log:
            log.write(f"{time.monotonic():.4f} {text}\n")

    def compose(self) -> ComposeResult:
        with Horizontal(id="pair"):
            yield PicturePane(id="left")
            yield PicturePane(id="right")
        yield Static("votes 0", id="status")
        if "--input" in sys.argv:
            yield Input()

    def on_ready(self) -> None:
        for pane in self.panes:
            pane.alike = self.panes
        self.show_pair()

    @property
    def panes(self) -> list[PicturePane]:
        return [self.screen_stack[0].query_one(f"#{side}", PicturePane) for side in ("left", "right")]

    def show_pair(self) -> None:
        for pane, number in zip(self.panes, (2 * self.pair, 2 * self.pair + 1), strict=True):
            pane.show(self.shown[number % len(self.shown)], f"picture {number}")
        self.screen_stack[0].query_one("#status", Static).update(f"votes {self.pair}")

    def on_picture_pane_drawn(self, event: PicturePane.Drawn) -> None:
        self.note(f"drawn {event.pane.id} {event.pane.alt}")
        if all(pane.loaded for pane in self.panes):
            self.note(f"pair {self.pair}")
            if not self.prepared and "--ahead" in sys.argv:
                self.prepared = True
                self.run_worker(self.prepare())

    async def prepare(self) -> None:
        watch = asyncio.create_task(self.watch_the_loop())
        for file in self.files:
            for pane in self.panes:
                await pane.prepare(file)
        watch.cancel()
        self.note(f"pause {1000 * self.longest_pause:.1f}")
        self.note("prepared")

    async def watch_the_loop(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest_pause = max(self.longest_pause, time.monotonic() - before - 0.005)

    def on_key(self, event: Key) -> None:
        self.note(f"key {event.key}")
        match event.key:
            case "n":
                self.pair += 1
                self.show_pair()
            case "m" | "c" if self.screen.is_modal:
                self.pop_screen()
            case "m" | "c":
                self.push_screen(Question() if event.key == "m" else Corner())
            case "p":
                self.pop_screen() if isinstance(self.screen, Page) else self.push_screen(Page())
            case "t":
                self.notify("a toast", timeout=1.5)
            case "z":
                for pane in self.panes:
                    pane.zoom = None if pane.zoom else (0.5, 0.5)
            case "s":
                with self.suspend():
                    time.sleep(0.3)
                self.note("resumed")
            case "l":
                self.action_redraw()
            case "q":
                self.exit()


if __name__ == "__main__":
    DuelApp(Path(sys.argv[1]), sys.argv[2]).run()
