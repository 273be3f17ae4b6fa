"""Rectangles and placements, without a terminal."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from rich.console import Console
from rich.segment import Segment

from persona_tui.terminal.layer import (
    Placement,
    Ready,
    Rect,
    Scene,
    Size,
    Wish,
    difference,
    place_parts,
    view,
    without,
)
from persona_tui.terminal.picture import Box
from persona_tui.widgets.picture_strips import HoledStrip

CELL = Size(10, 20)
FILE = Path("a.png")


def cells(rect: Rect) -> set[tuple[int, int]]:
    return {(x, y) for x in range(rect.x, rect.right) for y in range(rect.y, rect.bottom)}


def test_what_is_left_around_holes_is_exactly_the_rest() -> None:
    rng = random.Random(1)
    for _ in range(200):
        whole = Rect(2, 3, 20, 12)
        holes = [
            Rect(rng.randint(0, 24), rng.randint(0, 16), rng.randint(1, 9), rng.randint(1, 9))
            for _ in range(rng.randint(0, 4))
        ]
        parts = without(whole, holes)
        left = cells(whole).difference(*map(cells, holes))
        assert sum(part.width * part.height for part in parts) == len(left)
        assert set().union(*map(cells, parts)) == left


def test_a_whole_picture_keeps_its_aspect() -> None:
    box, shown = view(Size(1000, 1000), CELL, Wish(FILE, 60, 40))
    assert box == Box(0, 5, 60, 30) and shown == Rect(0, 0, 1000, 1000)


@pytest.mark.parametrize(
    ("point", "corner"), [((0.0, 0.0), (0, 0)), ((0.5, 0.5), (700, 600)), ((1.0, 1.0), (1400, 1200))]
)
def test_zoom_shows_own_pixels_around_a_point_and_stops_at_the_edge(
    point: tuple[float, float], corner: tuple[int, int]
) -> None:
    box, shown = view(Size(2000, 2000), CELL, Wish(FILE, 60, 40, point))
    assert box == Box(0, 0, 60, 40) and shown == Rect(*corner, 600, 800)


def test_a_small_picture_is_not_enlarged_by_zoom() -> None:
    box, shown = view(Size(205, 100), CELL, Wish(FILE, 60, 40, (0.5, 0.5)))
    assert (box.columns, box.rows) == (20, 5)
    assert (shown.width, shown.height) == (200, 100)


def scene(front: Rect | None = None, clip: Rect = Rect(0, 0, 120, 40)) -> Scene:
    fronts = (front,) if front else ()
    return Scene(0, Ready("key", Box(0, 0, 40, 20)), Rect(10, 5, 40, 20), clip, fronts)


def test_parts_show_their_own_part_of_the_picture() -> None:
    assert place_parts(scene(), Size(800, 800), Rect(0, 0, 800, 800)) == [
        Placement(Rect(10, 5, 40, 20), None)
    ]
    parts = place_parts(scene(Rect(0, 0, 30, 40)), Size(800, 800), Rect(0, 0, 800, 800))
    assert parts == [Placement(Rect(30, 5, 20, 20), (400, 0, 400, 800))]
    clipped = place_parts(scene(clip=Rect(0, 15, 120, 25)), Size(800, 800), Rect(0, 0, 800, 800))
    assert clipped == [Placement(Rect(10, 15, 40, 10), (0, 400, 800, 400))]


def test_only_what_changes_is_sent() -> None:
    here, there = Placement(Rect(0, 0, 4, 2), None), Placement(Rect(5, 0, 4, 2), None)
    assert difference({(1, 1): here}, {(1, 1): here}) == ""
    moved = difference({(1, 1): here}, {(1, 1): there})
    assert "d=i" not in moved and "\x1b[1;6H" in moved
    swapped = difference({(1, 1): here}, {(2, 1): here})
    assert "a=d,d=i,i=1,p=1" in swapped and "a=p,i=2,p=1" in swapped


def test_a_hole_stays_one_however_the_line_is_cut() -> None:
    console = Console(color_system="truecolor")
    line = HoledStrip([Segment(" " * 20)], 20, (5, 15))
    assert line.render(console) == " " * 5 + "\x1b[10C" + " " * 5
    assert [part.render(console) for part in line.divide([3, 10, 20])] == [
        "   ",
        "  \x1b[5C",
        "\x1b[5C     ",
    ]
    assert line.crop(6, 14).render(console) == "\x1b[8C"
    assert line.crop(15, 20).render(console) == "     "
