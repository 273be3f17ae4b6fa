"""A terminal that goes away, and SIGTERM: the app ends, and the embedded database with it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from persona_tui.database.folders import Folders
from persona_tui.database.postmaster import is_alive
from tests.support.database import reachable_folder

PROGRAM = str(Path(sys.executable).with_name("persona-tui"))
SECONDS = 60.0


def _take_terminal() -> None:
    """In the child: the terminal is its own, and under `nohup` the tests would have it ignore SIGHUP."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


@dataclass
class Session:
    """The app as the leader of a session on a pty of its own, as tmux and sshd start it."""

    folder: Path
    seen: bytearray = field(default_factory=bytearray)

    def start(self) -> None:
        self.controller, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PERSONA_")}
        places = {"PERSONA_DATA_DIR": self.folder / "data", "PERSONA_CONFIG_DIR": self.folder / "config"}
        self.process = subprocess.Popen(
            [PROGRAM],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**kept, **{name: str(path) for name, path in places.items()}, "TERM": "xterm-256color",
                 "PERSONA_ENVIRONMENT": "sandbox"},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(terminal)

    def read(self, seconds: float = 0.05) -> None:
        while select.select([self.controller], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.controller, 65_536)
            except OSError:
                return

    def read_until(self, words: bytes) -> None:
        end = time.monotonic() + SECONDS
        while words not in self.seen:
            assert time.monotonic() < end and self.process.poll() is None, self.seen[-3000:]
            self.read()

    def ended(self, *, reads: bool) -> int:
        """Its exit code; while it ends, the terminal is read or is gone."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, "it did not end"
            if reads:
                self.read()
            time.sleep(0.05)
        return self.process.returncode

    @property
    def postmaster(self) -> psutil.Process | None:
        pid_file = Folders.of(self.folder / "data").cluster / "postmaster.pid"
        return psutil.Process(int(pid_file.read_text().split()[0])) if pid_file.exists() else None


@pytest.fixture
def session() -> Iterator[Session]:
    with reachable_folder() as folder:
        made = Session(folder)
        made.start()
        yield made
        if made.process.poll() is None:
            made.process.kill()
        if (server := made.postmaster) is not None:
            server.send_signal(signal.SIGQUIT)
            server.wait(20)


def test_a_terminal_that_is_closed_takes_the_database_server_along(session: Session) -> None:
    session.read_until(b"leading")
    server = session.postmaster
    assert server is not None and server.is_running()
    os.close(session.controller)
    assert session.ended(reads=False) == 128 + signal.SIGHUP
    assert session.postmaster is None and not is_alive(server)


@pytest.mark.long
def test_a_terminal_that_stalled_before_it_was_closed_is_left_as_well(session: Session) -> None:
    session.read_until(b"leading")
    for number in range(60):  # each paints all anew, and nobody reads: Textual's queue of writes is full
        rows, columns = (30, 100) if number % 2 else (24, 80)
        fcntl.ioctl(session.controller, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        time.sleep(0.1)
    os.close(session.controller)
    assert session.ended(reads=False) == 128 + signal.SIGHUP
    assert session.postmaster is None


@pytest.mark.long
def test_a_terminal_that_is_closed_after_the_database_was_lost_for_good(session: Session) -> None:
    session.read_until(b"leading")
    server = session.postmaster
    assert server is not None
    server.send_signal(signal.SIGQUIT)
    shutil.rmtree(session.folder / "data", ignore_errors=True)
    session.seen.clear()  # the start had words on the database too
    session.read_until(b"database")  # the app has noticed
    os.close(session.controller)
    assert session.ended(reads=False) == 128 + signal.SIGHUP


@pytest.mark.long(but=["\\x1b[?1049h"])
@pytest.mark.parametrize("awaited", [b"leading", b"\x1b[?1049h"])
def test_sigterm_leaves_a_clean_terminal_and_no_server(session: Session, awaited: bytes) -> None:
    session.read_until(awaited)
    session.process.send_signal(signal.SIGTERM)
    session.process.send_signal(signal.SIGHUP)  # as a session that closes: one after the other
    assert session.ended(reads=True) in (128 + signal.SIGTERM, 128 + signal.SIGHUP)
    session.read()
    assert b"\x1b[?1049l" in session.seen and b"Traceback" not in session.seen
    assert session.postmaster is None
