"""A pty with a terminal at its other end: it answers as kitty, xterm and others do, or not at all."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

_QUESTION = re.compile(
    rb"(?P<kitty>\x1b_Gi=(?P<id>\d+),[^\x1b]*a=q[^\x1b]*\x1b\\)"
    rb"|(?P<cell>\x1b\[16t)"
    rb"|(?P<window>\x1b\[14t)"
    rb"|(?P<name>\x1b\[>0?q)"
    rb"|(?P<sixel_size>\x1b\[\?2;4;0S)"
    rb"|(?P<sync>\x1b\[\?2026\$p)"
    rb"|(?P<attributes>\x1b\[0?c)"
)


@dataclass(frozen=True)
class Model:
    """What a terminal answers; an empty answer is silence.

    Attributes:
        kitty: body of the reply to the graphics query.
        cell, window: bodies of the size reports.
        name: of XTVERSION.
        sixel_size: of the largest sixel picture.
        sync: state of mode 2026.
        attributes: of DA1.
    """

    kitty: bytes = b""
    cell: bytes = b""
    window: bytes = b""
    name: bytes = b""
    sixel_size: bytes = b""
    sync: bytes = b""
    attributes: bytes = b""

    def answer(self, question: re.Match[bytes]) -> bytes:
        """The bytes that this terminal sends back."""
        match question.lastgroup:
            case "kitty" | "id" if self.kitty:
                return b"\x1b_Gi=" + question["id"] + b";" + self.kitty + b"\x1b\\"
            case "cell" if self.cell:
                return b"\x1b[6;" + self.cell + b"t"
            case "window" if self.window:
                return b"\x1b[4;" + self.window + b"t"
            case "name" if self.name:
                return b"\x1bP>|" + self.name + b"\x1b\\"
            case "sixel_size" if self.sixel_size:
                return b"\x1b[?2;0;" + self.sixel_size + b"S"
            case "sync" if self.sync:
                return b"\x1b[?2026;" + self.sync + b"$y"
            case "attributes" if self.attributes:
                return b"\x1b[?" + self.attributes + b"c"
        return b""


# As recorded from the real programs; iTerm2, WezTerm and Konsole as their sources say.
KITTY = Model(
    kitty=b"OK", cell=b"18;9", window=b"864;1278", name=b"kitty(0.26.5)", sync=b"2", attributes=b"62;"
)
XTERM_VT340 = Model(
    name=b"XTerm(379)", sixel_size=b"1000;1000", sync=b"0", attributes=b"63;1;2;4;6;9;15;16;22;28"
)
XTERM = Model(name=b"XTerm(379)", sync=b"0", attributes=b"64;1;2;6;9;15;16;17;18;21;22;28")
MLTERM = Model(cell=b"19;10", window=b"912;1420", attributes=b"63;1;2;3;4;6;7;15;18;22;29")
FOOT = Model(
    kitty=b"", cell=b"20;10", window=b"480;800", name=b"foot(1.16.2)", sync=b"2", attributes=b"62;4;22"
)
TMUX = Model(name=b"tmux 3.3a", attributes=b"1;2")
WEZTERM = Model(kitty=b"OK", cell=b"20;10", name=b"WezTerm 20240203", sync=b"2", attributes=b"65;4;6;18;22")
KONSOLE = Model(kitty=b"OK", cell=b"20;10", name=b"Konsole 24.02.0", attributes=b"62;1;4")
REFUSING_KITTY = Model(kitty=b"EINVAL:no", sync=b"1", attributes=b"62;22")
SILENT = Model()


@dataclass
class FakeTerminal:
    """The terminal's end of a pty, served by a thread.

    Attributes:
        model: how it answers.
        delay: seconds between a question's arrival and its answer.
        size: rows, columns, width and height in pixels, as TIOCGWINSZ tells them.
        received: all that was written to the terminal.
        fd: the program's end.
    """

    model: Model
    delay: float = 0.0
    size: tuple[int, int, int, int] = (48, 142, 0, 0)
    received: bytearray = field(default_factory=bytearray)

    def __enter__(self) -> FakeTerminal:
        self._controller, self.fd = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", *self.size))
        self._wake_reader, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        for fd in (self.fd, self._controller, self._wake, self._wake_reader):
            os.close(fd)

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._controller, keys)

    def unread(self, wait: float = 0.0) -> bytes:
        """What lies in the program's input, after waiting so long for it to begin."""
        before = termios.tcgetattr(self.fd)
        raw = termios.tcgetattr(self.fd)
        raw[3] &= ~(termios.ICANON | termios.ECHO)
        termios.tcsetattr(self.fd, termios.TCSANOW, raw)
        found = b""
        while select.select([self.fd], [], [], wait)[0]:
            found += os.read(self.fd, 4096)
            wait = 0.05
        termios.tcsetattr(self.fd, termios.TCSANOW, before)
        return found

    def _serve(self) -> None:
        seen = 0
        due: list[tuple[float, bytes]] = []
        while True:
            pause = max(0.0, due[0][0] - time.monotonic()) if due else None
            ready, _, _ = select.select([self._controller, self._wake_reader], [], [], pause)
            if self._wake_reader in ready:
                return
            if self._controller in ready:
                self.received += os.read(self._controller, 65_536)
                for question in _QUESTION.finditer(bytes(self.received), seen):
                    seen = question.end()
                    due.append((time.monotonic() + self.delay, self.model.answer(question)))
            while due and due[0][0] <= time.monotonic():
                os.write(self._controller, due.pop(0)[1])
