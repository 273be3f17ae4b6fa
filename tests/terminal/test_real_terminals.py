"""A pair of pictures in real terminals on a virtual screen: a screenshot shows both where they belong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageGrab, features

from tests.terminal.live import log_of

SECONDS = 60.0
QUARTERS = {
    0: ((200, 40, 40), (40, 160, 40), (50, 60, 200), (210, 200, 40)),
    1: ((40, 190, 190), (190, 40, 170), (230, 130, 30), (110, 70, 30)),
}
"""Colours of each picture: top left, top right, bottom left, bottom right."""
NEAR = 16
"""What a colour may be off by: sixel counts to 100."""
TERMINALS = {
    "xterm": ["xterm", "-ti", "vt340", "-xrm", "XTerm*numColorRegisters: 256", "-geometry", "110x34", "-e"],
    "kitty": [
        "kitty", "--config", "NONE", "-o", "initial_window_width=1000", "-o", "initial_window_height=640",
        "-o", "remember_window_size=no", "-o", "update_check_interval=0",
    ],
}  # fmt: skip
PROTOCOLS = {"xterm": "sixel", "kitty": "kitty"}


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A screen of 1280×800 that nobody sees."""
    if shutil.which("Xvfb") is None or not features.check("xcb"):
        pytest.skip("no Xvfb: apt-get install xvfb")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with os.fdopen(reading) as told:
        yield f":{told.readline().strip()}"
    server.terminate()
    server.wait(20)


@pytest.mark.long(but=["xterm"])
@pytest.mark.parametrize("name", list(TERMINALS))
def test_both_pictures_are_where_they_belong(name: str, display: str, tmp_path: Path) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"no {name}: apt-get install {name}")
    for number, colours in QUARTERS.items():
        _picture(colours).save(tmp_path / f"{number}.png")
    with _shown(name, display, tmp_path):
        _wait(lambda: "pair 0" in log_of(tmp_path))
        seen: list[list[tuple[int, int, int, int]] | None] = [None]

        def stands() -> bool:
            seen.append(_boxes(display))
            return seen[-1] is not None and seen[-1] == seen[-2]

        _wait(stands)
        boxes = seen[-1]
    assert f"protocol {PROTOCOLS[name]}" in log_of(tmp_path)
    assert boxes is not None
    left, right = boxes
    assert left[2] <= right[0] and abs(left[1] - right[1]) <= 1, boxes
    sizes = [(box[2] - box[0], box[3] - box[1]) for box in boxes]
    assert max(abs(sizes[0][0] - sizes[1][0]), abs(sizes[0][1] - sizes[1][1])) <= 1, sizes  # one scale
    width, height = sizes[0]
    assert abs(width / height - 1) < 0.06 and height > 200, sizes  # square, but for a part of a cell


def _picture(colours: tuple[tuple[int, int, int], ...]) -> Image.Image:
    image = Image.new("RGB", (400, 400))
    for place, colour in enumerate(colours):
        image.paste(colour, (200 * (place % 2), 200 * (place // 2), 200 + 200 * (place % 2), 400))
    return image


def _boxes(display: str) -> list[tuple[int, int, int, int]] | None:
    """Left, top, right and bottom of each picture on the screen; None where one is not there as a whole."""
    screen = np.asarray(ImageGrab.grab(xdisplay=display).convert("RGB"), dtype=np.int16)
    found = []
    for colours in QUARTERS.values():
        parts = [_extent(screen, colour) for colour in colours]
        if any(part is None for part in parts):
            return None
        (a, b, c, d) = [part for part in parts if part is not None]
        # Each quarter begins where its neighbours end.
        if max(abs(a[2] - b[0]), abs(c[2] - d[0]), abs(a[3] - c[1]), abs(b[3] - d[1])) > 2:
            return None
        found.append((a[0], a[1], d[2], d[3]))
    return found


def _extent(screen: NDArray[np.int16], colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    near = (abs(screen - np.array(colour, dtype=np.int16)) <= NEAR).all(axis=2)
    rows, columns = np.flatnonzero(near.sum(axis=1) > 20), np.flatnonzero(near.sum(axis=0) > 20)
    if not len(rows) or not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@contextmanager
def _shown(name: str, display: str, folder: Path) -> Iterator[None]:
    """The small app of `duel_app.py` in a terminal on the screen."""
    # pytest's processes say COLUMNS, which an app believes more than its terminal.
    told = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "TMUX"}}
    places = {"DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1", "XDG_RUNTIME_DIR": str(folder)}
    process = subprocess.Popen(
        [*TERMINALS[name], sys.executable, "-m", "tests.terminal.duel_app", str(folder), "auto"],
        cwd=Path(__file__).parents[2],
        env=told | places,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come onto the screen"
        time.sleep(0.2)
