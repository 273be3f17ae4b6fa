"""The probe against a pty whose other end answers like real terminals, early, late and never."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
import textwrap

import pytest

from persona_tui.terminal.probe import Capabilities, Protocol, choose_protocol, probe
from persona_tui.terminal.reply_filter import ReplyFilter
from tests.terminal import pty_harness
from tests.terminal.pty_harness import FakeTerminal, Model

ENVIRON = {"TERM": "xterm-256color"}

KITTY = Capabilities(
    answered=True,
    kitty=True,
    cell_width=9,
    cell_height=18,
    cell_told=True,
    name="kitty(0.26.5)",
    synchronized_output=True,
)


def ask(model: Model, delay: float = 0.0, timeout: float = 5.0, **environ: str) -> Capabilities:
    with FakeTerminal(model, delay) as terminal:
        return probe(terminal.fd, terminal.fd, timeout, {**ENVIRON, **environ})


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.8])
def test_kitty_is_known_however_slow_the_line(delay: float) -> None:
    assert ask(pty_harness.KITTY, delay=delay) == KITTY


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.8])
def test_a_sixel_terminal_is_known_however_slow_the_line(delay: float) -> None:
    capabilities = ask(pty_harness.MLTERM, delay=delay)
    assert (capabilities.sixel, capabilities.kitty) == (True, False)
    assert (capabilities.cell_width, capabilities.cell_height) == (10, 19)


@pytest.mark.parametrize("delay", [0.0, 0.8])
def test_the_largest_sixel_picture_is_asked(delay: float) -> None:
    xterm = ask(pty_harness.XTERM_VT340, delay=delay)
    assert (xterm.sixel_width, xterm.sixel_height) == (1000, 1000)
    mlterm = ask(pty_harness.MLTERM, delay=delay)
    assert (mlterm.sixel_width, mlterm.sixel_height) == (None, None)


@pytest.mark.parametrize(
    ("model", "environ", "protocols"),
    [
        (pty_harness.KITTY, {}, ("kitty", "halfblock")),
        (pty_harness.XTERM_VT340, {}, ("sixel", "halfblock")),
        (pty_harness.XTERM, {}, ("halfblock",)),
        (pty_harness.FOOT, {}, ("sixel", "halfblock")),
        (pty_harness.WEZTERM, {}, ("iterm2", "sixel", "kitty", "halfblock")),
        (pty_harness.KONSOLE, {}, ("sixel", "kitty", "halfblock")),
        (pty_harness.XTERM, {"LC_TERMINAL": "iTerm2"}, ("iterm2", "halfblock")),
        (pty_harness.REFUSING_KITTY, {}, ("halfblock",)),
        (pty_harness.TMUX, {}, ("halfblock",)),
        (pty_harness.KITTY, {"TMUX": "/tmp/tmux-0/default,1,0"}, ("halfblock",)),
        (pty_harness.FOOT, {"ZELLIJ": "0"}, ("halfblock",)),
        (pty_harness.XTERM_VT340, {"TERM": "screen-256color"}, ("halfblock",)),
    ],
)
def test_protocols_come_best_first(
    model: Model, environ: dict[str, str], protocols: tuple[Protocol, ...]
) -> None:
    capabilities = ask(model, 0.0, 5.0, **environ)
    assert capabilities.answered
    assert capabilities.protocols == protocols
    assert choose_protocol(capabilities) == protocols[0]


def test_tmux_is_known_by_its_answer_where_its_variable_did_not_come_along() -> None:
    assert ask(pty_harness.TMUX).multiplexer == "tmux"
    assert ask(pty_harness.TMUX).name == "tmux 3.3a"


def test_synchronized_output_counts_only_when_reported_as_known() -> None:
    assert ask(pty_harness.KITTY).synchronized_output
    assert not ask(pty_harness.XTERM).synchronized_output
    assert not ask(pty_harness.TMUX).synchronized_output


def test_a_forced_protocol_wins_over_what_was_found() -> None:
    for forced in ("kitty", "sixel", "iterm2", "halfblock"):
        assert choose_protocol(Capabilities(), forced) == forced
        assert choose_protocol(KITTY, forced) == forced


@pytest.mark.parametrize(
    ("model", "size", "cell"),
    [
        (pty_harness.MLTERM, (48, 142, 9999, 9999), (10, 19)),
        (Model(window=b"864;1278", attributes=b"62"), (48, 142, 0, 0), (9, 18)),
        # xterm counts its border of 2 pixels in, and answers no question about sizes
        (pty_harness.XTERM_VT340, (44, 140, 1124, 752), (8, 17)),
        (pty_harness.XTERM, (44, 140, 0, 0), (None, None)),
        (Model(cell=b"0;0", attributes=b"62"), (44, 140, 0, 0), (None, None)),
        (pty_harness.XTERM, (0, 0, 0, 0), (None, None)),
    ],
)
def test_the_cell_size_is_taken_from_the_best_source(
    model: Model, size: tuple[int, int, int, int], cell: tuple[int | None, int | None]
) -> None:
    with FakeTerminal(model, size=size) as terminal:
        found = probe(terminal.fd, terminal.fd, 5.0, ENVIRON)
    assert (found.cell_width, found.cell_height) == cell


def test_a_silent_terminal_is_given_up_and_draws_half_blocks() -> None:
    capabilities = ask(pty_harness.SILENT, timeout=0.1)
    assert capabilities == Capabilities()
    assert choose_protocol(capabilities) == "halfblock"


def test_the_terminal_is_left_as_it_was_with_no_key_in_its_input() -> None:
    for model, timeout in ((pty_harness.KITTY, 5.0), (pty_harness.SILENT, 0.1)):
        with FakeTerminal(model) as terminal:
            before = termios.tcgetattr(terminal.fd)
            terminal.type(b"xyz")
            probe(terminal.fd, terminal.fd, timeout, ENVIRON)
            assert termios.tcgetattr(terminal.fd) == before
            assert terminal.unread() == b""


def test_questions_go_out_in_one_piece_with_the_sentinel_last() -> None:
    with FakeTerminal(pty_harness.KITTY) as terminal:
        probe(terminal.fd, terminal.fd, 5.0, ENVIRON)
        asked = bytes(terminal.received)
    assert asked.startswith(b"\x1b_Gi=31,")
    assert asked.endswith(b"\x1b[c")
    assert b"a=q" in asked


@pytest.mark.parametrize("model", [pty_harness.KITTY, pty_harness.XTERM_VT340], ids=["kitty", "xterm"])
def test_late_answers_never_become_keys(model: Model) -> None:
    """The probe gives up after 0.1 s; what comes 0.3 s later goes through the app's filter."""
    with FakeTerminal(model, 0.3) as terminal:
        assert not probe(terminal.fd, terminal.fd, 0.1, ENVIRON).answered
        late = terminal.unread(wait=10.0)
        terminal.type(b"1")
        late += terminal.unread(wait=10.0)
    assert late.startswith(b"\x1b_G" if model.kitty else b"\x1bP>|")
    assert ReplyFilter().feed(late.decode()) == f"\x1b[?2026;{model.sync.decode()}$y1"


@pytest.mark.parametrize("term", ["dumb", "linux", ""])
def test_a_terminal_that_would_show_the_questions_is_not_asked(term: str) -> None:
    with FakeTerminal(pty_harness.KITTY, size=(40, 100, 900, 720)) as terminal:
        capabilities = probe(terminal.fd, terminal.fd, 5.0, {"TERM": term})
        assert terminal.received == b""
    assert capabilities == Capabilities(cell_width=9, cell_height=18)


def test_apples_terminal_is_not_sent_the_graphics_query() -> None:
    with FakeTerminal(pty_harness.XTERM) as terminal:
        assert probe(terminal.fd, terminal.fd, 5.0, {**ENVIRON, "TERM_PROGRAM": "Apple_Terminal"}).answered
        assert b"\x1b_G" not in terminal.received


def test_what_is_no_terminal_is_not_asked() -> None:
    reader, writer = os.pipe()
    try:
        assert probe(reader, writer, 5.0, {"TERM": "xterm-kitty"}) == Capabilities()
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_terminal_that_hangs_up_ends_the_probe() -> None:
    """The other end closes while the probe, in a child with that pty as its terminal, waits for answers."""
    program = textwrap.dedent("""
        import os, signal
        from persona_tui.terminal.probe import probe
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        report = open(os.environ["REPORT"], "w")
        try:
            print("probed", probe(0, 1, 60.0, {"TERM": "xterm"}).answered, file=report)
        except Exception as problem:
            print("raised", type(problem).__name__, file=report)
    """)
    controller, terminal = pty.openpty()
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        pass_fds=[writer],
        env={**os.environ, "REPORT": f"/dev/fd/{writer}"},
    )
    os.close(terminal)
    os.close(writer)
    asked = b""
    while b"\x1b[c" not in asked:
        asked += os.read(controller, 4096)
    os.close(controller)
    report = os.read(reader, 100)
    child.wait(60)
    os.close(reader)
    assert report == b"probed False\n"


def test_a_background_process_does_not_ask() -> None:
    """Asking from the background would stop the process with SIGTTOU."""
    program = textwrap.dedent("""
        import fcntl, os, sys, termios
        from persona_tui.terminal.probe import probe
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os._exit(0 if not probe(0, 1, 60.0, {"TERM": "xterm"}).answered else 1)
        _, status = os.waitpid(child, os.WUNTRACED)
        sys.exit(99 if os.WIFSTOPPED(status) else os.WEXITSTATUS(status))
    """)
    with FakeTerminal(pty_harness.KITTY) as terminal:
        child = subprocess.run(
            [sys.executable, "-c", program],
            stdin=terminal.fd,
            stdout=terminal.fd,
            stderr=subprocess.PIPE,
            start_new_session=True,
            timeout=60,
            check=False,
        )
        assert (child.returncode, child.stderr) == (0, b"")
        assert terminal.received == b""
