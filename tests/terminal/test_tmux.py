"""Pictures as text inside tmux: placeholders on their own, and through a real tmux to a terminal outside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from persona_tui.services import doctor
from persona_tui.terminal import kitty, placeholders, tmux
from persona_tui.terminal.probe import Capabilities, choose_protocol
from persona_tui.terminal.tmux import Tmux
from persona_tui.widgets.picture_strips import TextPictureStrip
from tests.terminal import pty_harness
from tests.terminal.decoders import KittyTerminal
from tests.terminal.live import LiveTerminal, _environ, log_of, make_pictures
from tests.terminal.text_screen import TextScreen

OUTSIDE = replace(pty_harness.KITTY, name=b"kitty(0.42.1)")


def test_placeholders_show_the_picture_however_their_lines_are_cut() -> None:
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 255, (60, 120, 3), dtype=np.uint8))
    file = BytesIO()
    image.save(file, "PNG")
    terminal = KittyTerminal().feed("".join(kitty.transmit(200, file.getvalue())))
    terminal.feed(kitty.place_virtually(200, 30, 12))
    console, screen = Console(color_system="truecolor"), TextScreen(40, 20)
    for row in range(12):
        style = Style.parse("color(200)")
        cells = placeholders.cells(row, 30)
        line = TextPictureStrip([Segment(" " * 40)], 40, (5, 35), style, cells)
        pieces = line.divide([3, 6, 20, 40])
        screen.feed(f"\x1b[{row + 3};1H" + "".join(piece.render(console) for piece in pieces))
    column, row, shown = screen.pictures(terminal)[200]
    assert (column, row) == (5, 2)
    assert np.array_equal(np.asarray(shown), np.asarray(image))


@pytest.mark.parametrize(
    ("state", "sixel", "protocols"),
    [
        (Tmux(outside="kitty(0.42.1)", passthrough=True), False, ("kitty", "halfblock")),
        (Tmux(outside="ghostty 1.1.3", passthrough=True), False, ("kitty", "halfblock")),
        (Tmux(outside="kitty(0.26.5)", passthrough=True), False, ("halfblock",)),
        (Tmux(outside="kitty(0.42.1)", passthrough=False), False, ("halfblock",)),
        (Tmux(outside="foot(1.16.2)", features=frozenset({"sixel"})), True, ("sixel", "halfblock")),
        (Tmux(outside="xterm(390)", passthrough=True), True, ("halfblock",)),
        (None, True, ("halfblock",)),
    ],
)
def test_in_tmux_that_counts_which_both_ends_can_do(
    state: Tmux | None, sixel: bool, protocols: tuple[str, ...]
) -> None:
    capabilities = Capabilities(answered=True, sixel=sixel, multiplexer="tmux", tmux=state)
    assert capabilities.protocols == protocols
    assert choose_protocol(capabilities, "kitty") == "kitty"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[list[str]]:
    """The command of a tmux of the test's own."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux: apt-get install tmux")
    config = tmp_path / "tmux.conf"
    config.write_text("set -g status off\nset -g default-terminal tmux-256color\n")
    command = ["tmux", "-S", str(tmp_path / "socket"), "-f", str(config)]
    yield command
    subprocess.run([*command, "kill-server"], check=False, capture_output=True)


def start(server: list[str], folder: Path, terminal: LiveTerminal, line: str) -> None:
    with Path(server[-1]).open("a") as config:
        config.write(f"{line}\n")
    words = [sys.executable, "-m", "tests.terminal.duel_app", str(folder), "auto"]
    attached = [*server, "new-session", "-s", "duel", "cat"]
    terminal.start(attached, TERM="xterm-256color")
    terminal.until(lambda: tmux_says(server, "#{client_termtype}") != "", "tmux knows its terminal")
    root = Path(__file__).parents[2]
    respawn = [*server, "respawn-pane", "-k", "-c", str(root), "-e", "COLORTERM=truecolor", *words]
    subprocess.run(respawn, check=True, env=_environ())


def tmux_says(server: list[str], what: str) -> str:
    answer = subprocess.run(
        [*server, "display-message", "-p", what], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip()


def test_through_a_real_tmux_both_pictures_stand_in_their_cells_and_come_back_with_another_terminal(
    server: list[str], tmp_path: Path
) -> None:
    files = make_pictures(tmp_path, 2)
    with LiveTerminal(model=OUTSIDE) as terminal:
        start(server, tmp_path, terminal, tmux.PASSTHROUGH_LINE)
        stand_in_their_cells(terminal, files)
        assert log_of(tmp_path)[0] == "protocol kitty"
        assert not [line for line in log_of(tmp_path) if line.startswith("key")]
        assert not terminal.kitty.placements
    with LiveTerminal(model=OUTSIDE).start([*server, "attach"]) as other:
        stand_in_their_cells(other, files)


def stand_in_their_cells(terminal: LiveTerminal, files: list[Path]) -> None:
    terminal.until(lambda: len(terminal.kitty.fitted) == 2, "both pictures")
    terminal.until(lambda: terminal.arrived.count(placeholders.PLACEHOLDER.encode()) > 1000, "their cells")
    terminal.quiet()
    shown = sorted(screen_of(terminal).pictures(terminal.kitty).values(), key=lambda found: found[0])
    assert len(shown) == 2
    for side, (column, _, picture) in enumerate(shown):
        assert (column >= 60) == bool(side)
        with Image.open(files[side]) as source:
            sent = Image.open(BytesIO(kitty.png8(source, *picture.size))).convert("RGB")
        assert np.array_equal(np.asarray(picture), np.asarray(sent))


def screen_of(terminal: LiveTerminal) -> TextScreen:
    return TextScreen(terminal.size[1], terminal.size[0]).feed(
        bytes(terminal.arrived).decode(errors="ignore")
    )


def test_where_nothing_passes_tmux_gets_half_blocks(server: list[str], tmp_path: Path) -> None:
    make_pictures(tmp_path, 2)
    with LiveTerminal(model=OUTSIDE) as terminal:
        start(server, tmp_path, terminal, "set -g allow-passthrough off")
        terminal.until(lambda: "▀".encode() in terminal.arrived, "a half block")
        assert log_of(tmp_path)[0] == "protocol halfblock"
        assert not terminal.kitty.images
        inside = {"TMUX": tmux_says(server, "#{socket_path},#{pid},0"), "PATH": os.environ["PATH"]}
        (check,) = doctor._pictures(inside)
        assert (check.state, check.sentence) == ("warn", "tmux lets no picture through to kitty(0.42.1).")
        assert tmux.PASSTHROUGH_LINE in check.hint
