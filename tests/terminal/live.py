"""A terminal at the other end of a pty, alive: it answers, counts, and keeps pictures as a real one would.

What arrives may be held up as by a slow line: `rate` bytes a second, and half of `round_trip` each way.
"""

from __future__ import annotations

import fcntl
import heapq
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import TracebackType

from PIL import Image

from tests.terminal.decoders import KittyTerminal
from tests.terminal.pty_harness import _QUESTION, KITTY, Model

SECONDS = 60.0
_PIECE = re.compile(
    rb"(?P<question>" + _QUESTION.pattern + rb")"
    rb"|\x1b_G(?P<keys>[^;\x1b]*)(?:;(?P<data>[^\x1b]*))?\x1b\\"
    rb"|(?P<sixel>\x1bP0;1;0q[^\x1b]*\x1b\\)"
    rb"|\x1b\]1337;File=(?P<file>[^:\x07]*):(?P<base64>[^\x07]*)\x07"
    rb"|\x1b\[(?P<row>\d+);(?P<column>\d+)H"
    rb"|(?P<cursor>\x1b\[6n)"
    rb"|(?P<frame>\x1b\[\?2026[hl])"
    rb"|(?P<screen>\x1b\[\?1049[hl])"
)
_UNFINISHED = re.compile(rb"\x1b(?:[_P\]][^\x1b\x07]*\x1b?|\[[?>]?[\d;]*\$?)?\Z")


@dataclass
class Drawn:
    """A picture that was drawn into the cells."""

    row: int
    column: int
    commands: str


@dataclass
class LiveTerminal:
    """Runs a program and shows what it writes.

    Attributes:
        model: how it answers.
        delay: seconds between a question's arrival and its answer.
        rate: bytes a second that arrive; 0 is no limit.
        round_trip: seconds that the line adds.
        size: rows, columns, width and height in pixels.
        looks: it decodes pictures, strictly; otherwise it only counts.
    """

    model: Model = KITTY
    delay: float = 0.0
    rate: float = 0.0
    round_trip: float = 0.0
    size: tuple[int, int, int, int] = (40, 120, 1080, 720)
    looks: bool = True
    kitty: KittyTerminal = field(default_factory=KittyTerminal)
    drawn: list[Drawn] = field(default_factory=list)
    arrived: bytearray = field(default_factory=bytearray)
    byte_count: int = 0
    most_decoded: int = 0

    def start(self, command: list[str], **environ: str) -> LiveTerminal:
        self._controller, terminal = pty.openpty()
        self.resize(self.size)
        self.process = subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**_environ(), "TERM": "xterm-256color", "COLORTERM": "truecolor", **environ},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self._due: list[tuple[float, int, bytes]] = []
        self._numbers = count()
        self._rest, self._row, self._column = bytearray(), 0, 0
        self._free_at, self._told = 0.0, 0
        self.marks: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __enter__(self) -> LiveTerminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._stop.set()
        self._thread.join()
        os.close(self._controller)

    def resize(self, size: tuple[int, int, int, int]) -> None:
        fcntl.ioctl(self._controller, termios.TIOCSWINSZ, struct.pack("HHHH", *size))

    def type(self, keys: bytes) -> None:
        """Press keys; they take half a round trip."""
        with self._lock:
            heapq.heappush(self._due, (time.monotonic() + self.round_trip / 2, next(self._numbers), keys))

    def until(self, condition: Callable[[], bool], what: str = "it") -> None:
        end = time.monotonic() + SECONDS
        while True:
            with self._lock:
                if condition():
                    return
            assert time.monotonic() < end and self.process.poll() is None, (
                f"{what} did not come; last: {bytes(self.arrived[-600:])!r}"
            )
            time.sleep(0.005)

    def quiet(self, seconds: float = 0.3) -> None:
        """Wait until nothing has arrived for so long."""
        before, since = self.byte_count, time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.01)
            if self.byte_count != before:
                before, since = self.byte_count, time.monotonic()

    def _serve(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                while self._due and self._due[0][0] <= time.monotonic():
                    keys = heapq.heappop(self._due)[2]
                    try:
                        os.write(self._controller, keys)
                    except OSError:
                        return
                pause = min(0.02, max(0.0, self._due[0][0] - time.monotonic())) if self._due else 0.02
            now = time.monotonic()
            if self.rate and self._free_at > now:
                time.sleep(min(pause, self._free_at - now))
                continue
            if select.select([self._controller], [], [], pause)[0]:
                try:
                    piece = os.read(self._controller, 4096 if self.rate else 65_536)
                except OSError:
                    return
                if self.rate:
                    self._free_at = max(self._free_at, now) + len(piece) / self.rate
                with self._lock:
                    self._take(piece)

    def _take(self, piece: bytes) -> None:
        self.byte_count += len(piece)
        self.arrived += piece
        del self.arrived[: -(1 << 20)]
        self.marks.append((time.monotonic(), self.byte_count))
        inside = self._rest.startswith((b"\x1bP", b"\x1b_", b"\x1b]"))
        if inside and b"\x1b" not in piece and b"\x07" not in piece:
            self._rest += piece  # the middle of a picture; looking through it each time would take longest
            return
        data = bytes(self._rest) + piece
        done = 0
        for match in _PIECE.finditer(data):
            done = match.end()
            self._carry_out(match)
        tail = data[done:]
        begun = _UNFINISHED.search(tail)
        self._rest = bytearray(tail[begun.start() :] if begun else b"")

    def _carry_out(self, match: re.Match[bytes]) -> None:
        if match["row"]:
            self._row, self._column = int(match["row"]) - 1, int(match["column"]) - 1
        elif match["cursor"]:
            self._reply(f"\x1b[{self._row + 1};{self._column + 1}R".encode())
        elif match["sixel"]:
            self.drawn.append(Drawn(self._row, self._column, match["sixel"].decode()))
        elif match["base64"]:
            self.drawn.append(Drawn(self._row, self._column, match.group().decode()))
        elif match["screen"]:
            self.kitty.images.clear()
            self.kitty.placements.clear()
        elif match["question"]:
            question = _QUESTION.match(match.group())
            assert question is not None
            self._reply(self.model.answer(question))
        elif match["keys"] is not None and self.looks:
            self.kitty.feed(match.group().decode(), at=(self._row, self._column))
            for reply in self.kitty.replies[self._told :]:
                self._reply(f"\x1b_G{reply}\x1b\\".encode())
            self._told = len(self.kitty.replies)
            self.most_decoded = max(self.most_decoded, self.decoded)

    def _reply(self, answer: bytes) -> None:
        if answer:
            due = time.monotonic() + self.delay + self.round_trip
            heapq.heappush(self._due, (due, next(self._numbers), answer))

    @property
    def decoded(self) -> int:
        """Bytes of all pictures that it holds."""
        return sum(image.width * image.height * 4 for image in self.kitty.images.values())


def _environ() -> dict[str, str]:
    """Without what would name the terminal of whoever runs the tests."""
    told = ("TMUX", "ZELLIJ", "STY", "TERM_PROGRAM", "LC_TERMINAL", "NO_COLOR", "COLUMNS", "LINES")
    return {name: value for name, value in os.environ.items() if name not in told}


def run_duel(folder: Path, protocol: str = "auto", *options: str, **terminal: object) -> LiveTerminal:
    """The small app of `duel_app.py` on a terminal."""
    live = LiveTerminal(**terminal)  # type: ignore[arg-type]
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.terminal.duel_app", str(folder), protocol, *options]
    return live.start(command, PYTHONPATH=str(root))


def log_of(folder: Path) -> list[str]:
    """What the app noted, without the times."""
    log = folder / "log"
    return [line.split(" ", 1)[1] for line in log.read_text().splitlines()] if log.exists() else []


def make_pictures(folder: Path, number: int, side: int = 400) -> list[Path]:
    """Pictures that look different from each other: light and shade in two hues, as photographs have them."""
    import numpy as np

    files = []
    for index in range(number):
        rng = np.random.default_rng(index)
        light = rng.random((8, 8, 1)) * 0.9 + 0.1
        hue = rng.random((2, 3)) * 255
        small = light * (hue[0] + (hue[1] - hue[0]) * np.linspace(0, 1, 8)[None, :, None])
        image = Image.fromarray(small.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        file = folder / f"{index}.png"
        image.save(file)
        files.append(file)
    return files


def jpeg_of(drawn: Drawn) -> Image.Image:
    """The picture in an OSC 1337."""
    import base64

    return Image.open(io.BytesIO(base64.b64decode(drawn.commands.split(":", 1)[1].rstrip("\x07"))))
