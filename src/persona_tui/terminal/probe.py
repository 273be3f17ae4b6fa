"""Asks the terminal, once and before the app starts, how it can draw pictures."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from persona_tui.terminal.tmux import Tmux, ask
from persona_tui.text import clean

Protocol = Literal["kitty", "sixel", "iterm2", "halfblock"]
Multiplexer = Literal["tmux", "screen", "zellij", "mosh"]

_ASK_KITTY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"
_ASK_CELL_SIZE = "\x1b[16t"
_ASK_WINDOW_SIZE = "\x1b[14t"
_ASK_NAME = "\x1b[>q"
_ASK_SIXEL_SIZE = "\x1b[?2;4;0S"  # XTSMGRAPHICS: the largest geometry
_ASK_SYNCHRONIZED_OUTPUT = "\x1b[?2026$p"
_ASK_ATTRIBUTES = "\x1b[c"  # DA1: every terminal answers it, and in order, so it ends the conversation

_KITTY = re.compile(rb"\x1b_Gi=31;OK\x1b\\")
_CELL_SIZE = re.compile(rb"\x1b\[6;(\d{1,5});(\d{1,5})t")
_WINDOW_SIZE = re.compile(rb"\x1b\[4;(\d{1,5});(\d{1,5})t")
_NAME = re.compile(rb"\x1bP>\|([^\x1b]{0,200})\x1b\\")
_SIXEL_SIZE = re.compile(rb"\x1b\[\?2;0;(\d{1,5});(\d{1,5})S")
_SYNCHRONIZED_OUTPUT = re.compile(rb"\x1b\[\?2026;([123])\$y")
_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]*)c")
_SIXEL_ATTRIBUTE = b"4"
_MOSH = b"\x1b[?62c"  # all that mosh-server answers, whatever the terminal is

# These show what they don't understand, or have nobody who answers.
_MUTE_TERMS = {"", "dumb", "linux", "unknown"}
_ITERM2_PROGRAMS = ("iterm", "wezterm")
# They answer the kitty query, but draw placements with parts of a picture wrongly.
_KITTY_IN_PART = ("wezterm", "konsole", "iterm")


@dataclass(frozen=True)
class Capabilities:
    """What a terminal said of itself.

    Attributes:
        answered: the conversation was held and came to its end in time.
        kitty: it takes the kitty graphics protocol.
        sixel: it shows sixel pictures.
        sixel_width, sixel_height: of the largest sixel picture that it keeps, in pixels; xterm draws none of
            a larger one. None: it doesn't say.
        iterm2: it shows iTerm2's inline pictures.
        cell_width, cell_height: of one cell, in pixels; None when nothing tells.
        cell_told: the terminal itself told it; otherwise it is a share of the window.
        name: what it calls itself, with version; empty when it doesn't.
        synchronized_output: it can hold drawing back until a frame is complete (mode 2026).
        multiplexer: what sits between app and terminal, if anything.
        tmux: what tmux says of the terminal outside, where it can be asked.
    """

    answered: bool = False
    kitty: bool = False
    sixel: bool = False
    sixel_width: int | None = None
    sixel_height: int | None = None
    iterm2: bool = False
    cell_width: int | None = None
    cell_height: int | None = None
    cell_told: bool = False
    name: str = ""
    synchronized_output: bool = False
    multiplexer: Multiplexer | None = None
    tmux: Tmux | None = None

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The protocols that can be used, best first; half blocks always can.

        In tmux kitty's placeholders count where they reach a terminal that draws them, and sixel where both
        ends have it; in other multiplexers half blocks alone.
        """
        if self.multiplexer is not None:
            return self._through_tmux if self.tmux is not None else ("halfblock",)
        whole = self.kitty and not self.name.lower().startswith(_KITTY_IN_PART)
        usable: list[tuple[Protocol, bool]] = [
            ("kitty", whole),
            ("iterm2", self.iterm2),
            ("sixel", self.sixel),
            ("kitty", self.kitty and not whole),
            ("halfblock", True),
        ]
        return tuple(protocol for protocol, use in usable if use)

    @property
    def _through_tmux(self) -> tuple[Protocol, ...]:
        assert self.tmux is not None
        usable: list[tuple[Protocol, bool]] = [
            ("kitty", self.tmux.passthrough and self.tmux.placeholders),
            ("sixel", self.sixel and self.tmux.sixel),
            ("halfblock", True),
        ]
        return tuple(protocol for protocol, use in usable if use)


def choose_protocol(capabilities: Capabilities, forced: Protocol | Literal["auto"] = "auto") -> Protocol:
    """The forced protocol, or the best that the terminal has."""
    return capabilities.protocols[0] if forced == "auto" else forced


def probe(
    fd_in: int,
    fd_out: int,
    timeout: float = 2.0,
    environ: Mapping[str, str] = os.environ,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Capabilities:
    """Ask the terminal in one write, and read until its last answer.

    Nothing is asked when either end is no terminal, when this process is in the background, or when
    TERM names a terminal that would show the questions. Keys typed meanwhile are lost. A terminal that
    takes longer than `timeout` may answer into the app: see `reply_filter`. Never raises.

    Args:
        fd_in, fd_out: both ends of the terminal, usually /dev/tty twice.
        timeout: seconds; a terminal behind a slow line needs more than its round trip.
        clock: seconds that only go forward.
    """
    answers = b""
    if _may_ask(fd_in, fd_out, environ):
        with contextlib.suppress(OSError, termios.error), _raw_input(fd_in):  # it may hang up at any time
            _write(fd_out, _questions(environ))
            answers = _read_answers(fd_in, clock() + timeout, clock)
    return _read(answers, window(fd_out), environ)


def _may_ask(fd_in: int, fd_out: int, environ: Mapping[str, str]) -> bool:
    if not (os.isatty(fd_in) and os.isatty(fd_out)) or environ.get("TERM", "") in _MUTE_TERMS:
        return False
    try:
        return os.tcgetpgrp(fd_in) == os.getpgrp()
    except OSError:  # not the controlling terminal: there is no background there
        return True


def _questions(environ: Mapping[str, str]) -> bytes:
    # Apple's Terminal shows the graphics query as text.
    ask_kitty = "" if environ.get("TERM_PROGRAM") == "Apple_Terminal" else _ASK_KITTY
    questions = (
        ask_kitty,
        _ASK_CELL_SIZE,
        _ASK_WINDOW_SIZE,
        _ASK_NAME,
        _ASK_SIXEL_SIZE,
        _ASK_SYNCHRONIZED_OUTPUT,
        _ASK_ATTRIBUTES,
    )
    return "".join(questions).encode()


@contextlib.contextmanager
def _raw_input(fd: int) -> Iterator[None]:
    """No echo and no waiting for Enter; afterwards as before, with all unread input thrown away."""
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSAFLUSH, before)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _read_answers(fd: int, deadline: float, clock: Callable[[], float]) -> bytes:
    received = b""
    while not _ATTRIBUTES.search(received):
        remaining = deadline - clock()
        if remaining <= 0 or not select.select([fd], [], [], remaining)[0]:
            break
        piece = os.read(fd, 4096)
        if not piece:
            break
        received += piece
    return received


def window(fd: int) -> tuple[int, int, int, int]:
    """Rows, columns, and the size in pixels, or zeros."""
    try:
        rows, columns, width, height = struct.unpack(
            "HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        )
    except OSError:
        return 0, 0, 0, 0
    return rows, columns, width, height


def _read(answers: bytes, window: tuple[int, int, int, int], environ: Mapping[str, str]) -> Capabilities:
    attributes = _ATTRIBUTES.search(answers)
    largest = _SIXEL_SIZE.search(answers)
    told_name = _NAME.search(answers)
    name = clean(told_name[1].decode("utf-8", "replace"), keep_lines=False) if told_name else ""
    multiplexer = _multiplexer(name, answers, environ)
    tmux = ask(environ) if multiplexer == "tmux" else None
    cell_width, cell_height = cell_size(answers, window)
    if tmux is not None and tmux.cell_width and tmux.cell_height:
        cell_width, cell_height = tmux.cell_width, tmux.cell_height
    return Capabilities(
        answered=attributes is not None,
        kitty=_KITTY.search(answers) is not None,
        sixel=attributes is not None and _SIXEL_ATTRIBUTE in attributes[1].split(b";"),
        sixel_width=int(largest[1]) or None if largest else None,
        sixel_height=int(largest[2]) or None if largest else None,
        iterm2=_shows_iterm2(name, environ),
        cell_width=cell_width,
        cell_height=cell_height,
        cell_told=_CELL_SIZE.search(answers) is not None,
        name=name,
        synchronized_output=_SYNCHRONIZED_OUTPUT.search(answers) is not None,
        multiplexer=multiplexer,
        tmux=tmux,
    )


def cell_size(answers: bytes, window: tuple[int, int, int, int]) -> tuple[int | None, int | None]:
    """Width and height of a cell: as told, else a share of the window.

    Shares are rounded down, since some terminals count their border in.
    """
    rows, columns, width, height = window
    if told := _CELL_SIZE.search(answers):
        cell_height, cell_width = int(told[1]), int(told[2])
    else:
        if told := _WINDOW_SIZE.search(answers):
            height, width = int(told[1]), int(told[2])
        cell_width = width // columns if columns else 0
        cell_height = height // rows if rows else 0
    return (cell_width, cell_height) if cell_width and cell_height else (None, None)


def _shows_iterm2(name: str, environ: Mapping[str, str]) -> bool:
    programs = (name, environ.get("TERM_PROGRAM", ""), environ.get("LC_TERMINAL", ""))
    return any(program.lower().startswith(_ITERM2_PROGRAMS) for program in programs)


def _multiplexer(name: str, answers: bytes, environ: Mapping[str, str]) -> Multiplexer | None:
    term = environ.get("TERM", "")
    if "TMUX" in environ or name.startswith("tmux") or term.startswith("tmux"):
        return "tmux"
    if "ZELLIJ" in environ or name.lower().startswith("zellij"):
        return "zellij"
    if "STY" in environ or term.startswith("screen"):
        return "screen"
    return "mosh" if answers == _MOSH else None
