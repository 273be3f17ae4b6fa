"""The whole picture layer in an app on a pty: what a terminal holds and shows, decoded from the bytes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from persona_tui.terminal import kitty
from persona_tui.terminal.picture import scaled
from persona_tui.terminal.stream_painter import QUICK
from persona_tui.widgets.picture import REFINE_PAUSE
from tests.terminal import pty_harness
from tests.terminal.decoders import decode_sixel
from tests.terminal.live import LiveTerminal, jpeg_of, log_of, make_pictures, run_duel
from tests.terminal.pty_harness import Model

DELAYS = [0.0, 0.15, 0.8]
SIXEL_SIZE = (40, 120, 1200, 760)


def pair_shown(folder: Path, terminal: LiveTerminal, number: int) -> None:
    terminal.until(lambda: f"pair {number}" in log_of(folder), f"pair {number}")


def no_stray_key(folder: Path, typed: str = "") -> bool:
    return [line for line in log_of(folder) if line.startswith("key")] == [f"key {key}" for key in typed]


def error_of(shown: Image.Image | np.ndarray, source: Path) -> float:
    """Mean error of a picture beside its source at the same size, of 255."""
    pixels = np.asarray(shown, dtype=float)
    wanted = np.asarray(scaled(Image.open(source), pixels.shape[1], pixels.shape[0]), dtype=float)
    return float(np.abs(pixels - wanted).mean())


@pytest.mark.long(but=["0.15"])
@pytest.mark.parametrize("delay", DELAYS)
def test_kitty_shows_the_very_palette_picture_where_it_belongs(tmp_path: Path, delay: float) -> None:
    files = make_pictures(tmp_path, 4)
    with run_duel(tmp_path, model=pty_harness.KITTY, delay=delay) as terminal:
        pair_shown(tmp_path, terminal, 0)
        assert log_of(tmp_path)[0] == "protocol kitty"
        assert no_stray_key(tmp_path)
        assert len(terminal.kitty.placements) == 2
        for (image_id, placement), keys in terminal.kitty.placements.items():
            row, column = terminal.kitty.places[image_id, placement]
            side = 0 if column < 60 else 1
            sent = terminal.kitty.images[image_id]
            with Image.open(files[side]) as source:
                png = kitty.png8(source, *sent.size)
            assert np.array_equal(as_rgb(sent), as_rgb(Image.open(BytesIO(png))))
            # Whole and undistorted: 9×18 pixels a cell, a square picture, in the pane's middle.
            assert int(keys["c"]) * 9 == pytest.approx(int(keys["r"]) * 18, abs=18)
            assert row + int(keys["r"]) <= 39
        assert terminal.kitty.replies == []


def as_rgb(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


@pytest.mark.long(but=["0.15"])
@pytest.mark.parametrize("delay", DELAYS)
def test_sixel_is_within_six_of_255_and_never_in_the_last_row(tmp_path: Path, delay: float) -> None:
    files = make_pictures(tmp_path, 4)
    with run_duel(tmp_path, model=pty_harness.MLTERM, delay=delay, size=SIXEL_SIZE) as terminal:
        pair_shown(tmp_path, terminal, 0)
        assert log_of(tmp_path)[0] == "protocol sixel"
        assert no_stray_key(tmp_path)
        terminal.until(lambda: len(terminal.drawn) == 4, "all 256 colours")
        for drawn in terminal.drawn:
            pixels, is_set = decode_sixel(drawn.commands)
            assert is_set.all()
            assert error_of(pixels, files[0 if drawn.column < 60 else 1]) <= 6
            assert pixels.shape[0] % 19 == 0 and pixels.shape[1] % 10 == 0
            assert drawn.row + pixels.shape[0] // 19 < 40


def test_sixel_comes_in_parts_where_the_terminal_keeps_no_larger_one(tmp_path: Path) -> None:
    """As xterm, which shows nothing of a picture beyond its limit: 1,000 pixels each way by default."""
    files = make_pictures(tmp_path, 2)
    model = replace(pty_harness.MLTERM, sixel_size=b"255;199")
    with run_duel(tmp_path, model=model, size=SIXEL_SIZE) as terminal:
        pair_shown(tmp_path, terminal, 0)
        left = [drawn for drawn in terminal.drawn if drawn.column < 60]
        parts = [(drawn, decode_sixel(drawn.commands)[0]) for drawn in left]
        assert len({(drawn.row, drawn.column) for drawn, _ in parts}) >= 4
        assert all(pixels.shape[0] <= 199 and pixels.shape[1] <= 255 for _, pixels in parts)
        top, edge = min(drawn.row for drawn in left), min(drawn.column for drawn in left)
        height = max((drawn.row - top) * 19 + pixels.shape[0] for drawn, pixels in parts)
        width = max((drawn.column - edge) * 10 + pixels.shape[1] for drawn, pixels in parts)
        whole, times = np.zeros((height, width, 3)), np.zeros((height, width), int)
        for drawn, pixels in parts[: len({(drawn.row, drawn.column) for drawn in left})]:
            y, x = (drawn.row - top) * 19, (drawn.column - edge) * 10
            whole[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
            times[y : y + pixels.shape[0], x : x + pixels.shape[1]] += 1
        assert (times == 1).all()
        assert error_of(whole, files[0]) <= 6


def test_sixel_waits_anew_with_its_second_showing_when_a_picture_comes_back(tmp_path: Path) -> None:
    make_pictures(tmp_path, 4)
    with run_duel(tmp_path, model=pty_harness.MLTERM, size=SIXEL_SIZE) as terminal:
        began = last = time.monotonic()
        number, longest = 0, 0.0
        pair_shown(tmp_path, terminal, 0)
        while last - began < 3 * REFINE_PAUSE:  # none stays as long as it takes
            number += 1
            terminal.type(b"n")
            pair_shown(tmp_path, terminal, number)
            before, last = last, time.monotonic()
            longest = max(longest, last - before)
        if longest >= REFINE_PAUSE:
            pytest.skip("too busy a machine: a pair stayed long enough to be refined")
        assert number > 4
        assert max(drawn.commands.count(";2;") for drawn in terminal.drawn) <= QUICK
        terminal.until(lambda: terminal.drawn[-1].commands.count(";2;") > QUICK, "all 256 colours")


@pytest.mark.long(but=["0.15"])
@pytest.mark.parametrize("delay", DELAYS)
def test_iterm2_gets_a_jpeg(tmp_path: Path, delay: float) -> None:
    files = make_pictures(tmp_path, 4)
    with run_duel(tmp_path, model=pty_harness.WEZTERM, delay=delay, size=SIXEL_SIZE) as terminal:
        pair_shown(tmp_path, terminal, 0)
        assert log_of(tmp_path)[0] == "protocol iterm2"
        assert no_stray_key(tmp_path)
        assert len(terminal.drawn) == 2
        for drawn in terminal.drawn:
            assert error_of(jpeg_of(drawn).convert("RGB"), files[0 if drawn.column < 60 else 1]) <= 6


@pytest.mark.long(but=["xterm"])
@pytest.mark.parametrize("model", [pty_harness.XTERM, pty_harness.SILENT], ids=["xterm", "silent"])
def test_any_other_terminal_gets_half_blocks(tmp_path: Path, model: Model) -> None:
    make_pictures(tmp_path, 4)
    with run_duel(tmp_path, model=model, delay=0.15) as terminal:
        pair_shown(tmp_path, terminal, 0)
        terminal.until(lambda: "▀".encode() in terminal.arrived, "a half block")
        assert log_of(tmp_path)[0] == "protocol halfblock"
        assert not terminal.kitty.images and not terminal.drawn


def test_a_swap_of_resident_pictures_is_four_hundred_bytes_in_one_frame(tmp_path: Path) -> None:
    make_pictures(tmp_path, 6)
    with run_duel(tmp_path, "auto", "--ahead") as terminal:
        terminal.until(lambda: "prepared" in log_of(tmp_path), "all of them")
        terminal.quiet()
        before = terminal.byte_count
        terminal.arrived.clear()
        terminal.type(b"n")
        pair_shown(tmp_path, terminal, 1)
        terminal.quiet()
        assert terminal.byte_count - before <= 400
        assert terminal.arrived.count(b"\x1b[?2026h") == 1
        assert terminal.arrived.startswith(b"\x1b[?2026h") and terminal.arrived.endswith(b"\x1b[?2026l")
        assert b"votes 1" in terminal.arrived


def test_a_dialog_over_the_pictures_cuts_a_hole(tmp_path: Path) -> None:
    make_pictures(tmp_path, 2)
    with run_duel(tmp_path) as terminal:
        pair_shown(tmp_path, terminal, 0)
        whole = dict(terminal.kitty.placements)
        terminal.type(b"m")
        terminal.until(lambda: len(terminal.kitty.placements) > 2, "the hole")
        terminal.quiet()
        for ids, keys in terminal.kitty.placements.items():
            row, column = terminal.kitty.places[ids]
            right, bottom = column + int(keys["c"]), row + int(keys["r"])
            assert right <= 40 or column >= 80 or bottom <= 16 or row >= 23, "over the dialog"
        terminal.type(b"m")
        terminal.until(lambda: terminal.kitty.placements == whole, "the whole pictures")


@pytest.mark.long
def test_another_page_hides_the_pictures_and_the_way_back_shows_them(tmp_path: Path) -> None:
    make_pictures(tmp_path, 2)
    with run_duel(tmp_path) as terminal:
        pair_shown(tmp_path, terminal, 0)
        whole = dict(terminal.kitty.placements)
        terminal.type(b"p")
        terminal.until(lambda: not terminal.kitty.placements, "the other page")
        assert len(terminal.kitty.images) == 2
        terminal.type(b"p")
        terminal.until(lambda: terminal.kitty.placements == whole, "the pictures")


def test_after_a_suspension_pictures_are_sent_again_and_nothing_is_left_behind(tmp_path: Path) -> None:
    make_pictures(tmp_path, 4)
    with run_duel(tmp_path) as terminal:
        pair_shown(tmp_path, terminal, 0)
        first = set(terminal.kitty.images)
        terminal.type(b"s")
        terminal.until(
            lambda: len(terminal.kitty.placements) == 2 and not first & set(terminal.kitty.images),
            "the pictures again",
        )
        terminal.quiet()
        terminal.arrived.clear()
        terminal.type(b"q")
        terminal.until(lambda: b"\x1b[?1049l" in terminal.arrived, "the end")
        freed, left = bytes(terminal.arrived).rsplit(b"\x1b[?1049l", 1)
        assert freed.count(b"d=I") >= 2 and b"\x1b_G" not in left


def test_after_sigcont_pictures_are_sent_again(tmp_path: Path) -> None:
    make_pictures(tmp_path, 2)
    with run_duel(tmp_path) as terminal:
        pair_shown(tmp_path, terminal, 0)
        first = set(terminal.kitty.images)
        terminal.process.send_signal(signal.SIGTSTP)
        os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED)
        terminal.quiet(0.1)
        assert not terminal.kitty.images
        terminal.process.send_signal(signal.SIGCONT)
        terminal.until(lambda: len(terminal.kitty.placements) == 2, "the pictures again")
        assert not first & set(terminal.kitty.images)
        assert no_stray_key(tmp_path)


def test_what_the_terminal_threw_out_is_sent_again_and_its_words_are_no_keys(tmp_path: Path) -> None:
    make_pictures(tmp_path, 4)
    with run_duel(tmp_path, "auto", "--ahead") as terminal:
        terminal.until(lambda: "prepared" in log_of(tmp_path), "all of them")
        terminal.quiet()
        first = set(terminal.kitty.images)
        for keys in (b"\x1b[I", b"n", b"l"):  # the person comes back; the next pair; draw again
            terminal.kitty.images.clear()
            terminal.kitty.placements.clear()
            terminal.type(keys)
            terminal.until(lambda: len(terminal.kitty.placements) == 2, "the pair again")
            terminal.quiet()
            assert not first & set(terminal.kitty.images)
            first |= set(terminal.kitty.images)
        assert len(terminal.kitty.replies) == 4
        assert no_stray_key(tmp_path, "nl")


@pytest.mark.parametrize(
    ("before", "size"),
    [(pty_harness.KITTY, (40, 120, 1080, 720)), (pty_harness.MLTERM, SIXEL_SIZE)],
    ids=["kitty", "sixel"],
)
def test_a_cell_of_another_size_gets_pictures_of_its_own_aspect(
    tmp_path: Path, before: Model, size: tuple[int, int, int, int]
) -> None:
    make_pictures(tmp_path, 2)
    with run_duel(tmp_path, model=before, size=size) as terminal:
        pair_shown(tmp_path, terminal, 0)
        terminal.model = replace(before, cell=b"20;16")
        terminal.drawn.clear()
        terminal.resize((40, 120, 1920, 800))

        def cells() -> list[tuple[int, int]]:
            found = [(int(keys["c"]), int(keys["r"])) for keys in terminal.kitty.placements.values()]
            for drawn in terminal.drawn:
                width, height = map(int, drawn.commands.split('"1;1;')[1].split("#")[0].split(";"))
                found.append((width // 16, height // 20))
            return found

        terminal.until(
            lambda: cells()[-2:] == [(48, 38)] * 2 or cells()[-2:] == [(49, 39)] * 2, "the pictures"
        )
        assert no_stray_key(tmp_path)


@pytest.mark.long
def test_a_storm_of_resizes_leaves_two_whole_pictures(tmp_path: Path) -> None:
    make_pictures(tmp_path, 2)
    with run_duel(tmp_path) as terminal:
        pair_shown(tmp_path, terminal, 0)
        for rows in [*range(20, 48, 3), 40]:
            terminal.resize((rows, 3 * rows, 27 * rows, 18 * rows))
            terminal.quiet(0.02)
        terminal.quiet(0.6)
        assert len(terminal.kitty.placements) == 2 and len(terminal.kitty.images) == 2
        for ids, keys in terminal.kitty.placements.items():
            row, column = terminal.kitty.places[ids]
            assert row + int(keys["r"]) <= 39 and column + int(keys["c"]) <= 120
            assert int(keys["c"]) * 9 == pytest.approx(int(keys["r"]) * 18, abs=18)


@pytest.mark.long
def test_zoom_shows_the_pictures_own_pixels(tmp_path: Path) -> None:
    files = make_pictures(tmp_path, 2, side=900)
    with run_duel(tmp_path) as terminal:
        pair_shown(tmp_path, terminal, 0)
        terminal.type(b"z")

        def zoomed() -> bool:
            shown = [terminal.kitty.images[image_id].mode for image_id, _ in terminal.kitty.placements]
            return shown == ["RGB", "RGB"]

        terminal.until(zoomed, "true colours")
        for (image_id, placement), keys in terminal.kitty.placements.items():
            assert int(keys["w"]) == int(keys["c"]) * 9 and int(keys["h"]) == int(keys["r"]) * 18
            column = terminal.kitty.places[image_id, placement][1]
            source = np.asarray(Image.open(files[0 if column < 60 else 1]).convert("RGB"))
            assert np.array_equal(np.asarray(terminal.kitty.images[image_id]), source)


@pytest.mark.parametrize("dialog", [b"m", b"c"], ids=["over both", "beside one"])
def test_a_picture_in_the_cells_survives_what_is_painted_beside_it_and_comes_back(
    tmp_path: Path, dialog: bytes
) -> None:
    make_pictures(tmp_path, 2)
    with run_duel(tmp_path, model=pty_harness.MLTERM, size=SIXEL_SIZE) as terminal:
        pair_shown(tmp_path, terminal, 0)
        terminal.until(lambda: len(terminal.drawn) == 4, "both in all their colours")
        terminal.quiet()
        terminal.drawn.clear()
        terminal.type(dialog)
        terminal.until(lambda: b"a dialog" in terminal.arrived, "the dialog")
        terminal.quiet()
        assert not terminal.drawn, "drawn over the dialog"
        terminal.type(dialog)
        terminal.until(lambda: len({one.column for one in terminal.drawn}) == 2, "both pictures")
