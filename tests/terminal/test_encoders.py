"""What the encoders write is decoded back and compared with the picture."""

from __future__ import annotations

import base64
import io
import random
import re

import numpy as np
import pytest
from PIL import Image
from skimage import data

from persona_tui.terminal import halfblock, iterm2, kitty, sixel
from persona_tui.terminal.cursor import at
from persona_tui.terminal.picture import Box, fit, scaled
from tests.terminal.decoders import KittyTerminal, decode_sixel


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A photograph of 512 x 512."""
    return Image.fromarray(data.astronaut())


def difference(first: Image.Image, second: Image.Image) -> float:
    """Mean absolute difference of two pictures, in steps of 255."""
    one, other = (np.asarray(image.convert("RGB"), dtype=float) for image in (first, second))
    return float(np.abs(one - other).mean())


# --- where a picture lies ---


@pytest.mark.parametrize(
    ("size", "cells", "cell", "box"),
    [
        ((1000, 1000), (80, 40), (1, 2), Box(0, 0, 80, 40)),
        ((1000, 500), (80, 40), (1, 2), Box(0, 10, 80, 20)),
        ((500, 1000), (80, 40), (1, 2), Box(20, 0, 40, 40)),
        ((824, 1024), (60, 24), (9, 18), Box(10, 0, 39, 24)),
        ((10_000, 1), (80, 40), (1, 2), Box(0, 19, 80, 1)),
        ((1, 10_000), (80, 40), (1, 2), Box(39, 0, 1, 40)),
        ((7, 7), (1, 1), (1, 2), Box(0, 0, 1, 1)),
    ],
)
def test_a_picture_is_centred_in_its_aspect(
    size: tuple[int, int], cells: tuple[int, int], cell: tuple[int, int], box: Box
) -> None:
    assert fit(*size, *cells, cell_width=cell[0], cell_height=cell[1]) == box


def test_a_box_always_lies_inside_and_touches_two_sides() -> None:
    rng = random.Random(5)
    for _ in range(500):
        width, height = rng.randint(1, 4000), rng.randint(1, 4000)
        columns, rows = rng.randint(1, 200), rng.randint(1, 60)
        box = fit(
            width, height, columns, rows, cell_width=rng.randint(5, 20), cell_height=rng.randint(10, 40)
        )
        assert box.left >= 0
        assert box.top >= 0
        assert box.left + box.columns <= columns
        assert box.top + box.rows <= rows
        assert box.columns == columns or box.rows == rows


@pytest.mark.parametrize("size", [(0, 5, 5, 5), (5, 0, 5, 5), (5, 5, 0, 5), (5, 5, 5, -1)])
def test_sizes_must_be_positive(size: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        fit(*size)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_every_kind_of_picture_becomes_rgb(mode: str) -> None:
    small = scaled(Image.new(mode, (9, 9)), 3, 4)
    assert (small.mode, small.size) == ("RGB", (3, 4))


def test_what_is_transparent_lies_on_black() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert scaled(image, 4, 4).getpixel((0, 0)) == (0, 0, 0)


# --- half blocks ---


def rows_to_image(rows: list[halfblock.Row]) -> Image.Image:
    size = (rows[0].columns, 2 * len(rows))
    return Image.frombytes("RGB", size, b"".join(upper + lower for upper, lower in rows))


def test_half_blocks_hold_the_picture_itself(photo: Image.Image) -> None:
    rows = halfblock.encode(photo, 80, 40)
    assert [row.columns for row in rows] == [80] * 40
    assert difference(rows_to_image(rows), photo.resize((80, 80), Image.Resampling.LANCZOS)) < 4


def test_half_blocks_take_as_many_cells_as_the_pictures_aspect_allows(photo: Image.Image) -> None:
    assert [row.columns for row in halfblock.encode(photo.resize((400, 100)), 41, 31)] == [41] * 5
    assert [row.columns for row in halfblock.encode(photo.resize((100, 400)), 41, 30)] == [15] * 30


def test_the_upper_pixel_is_the_foreground() -> None:
    image = Image.new("RGB", (1, 2))
    image.putpixel((0, 0), (255, 0, 0))
    image.putpixel((0, 1), (0, 0, 255))
    (row,) = halfblock.encode(image, 1, 1)
    assert list(row.colours()) == [((255, 0, 0), (0, 0, 255))]
    assert halfblock.commands(row) == "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[0m"


# --- kitty ---


def test_a_picture_sent_to_kitty_arrives_byte_for_byte(photo: Image.Image) -> None:
    png = kitty.png8(photo, 256, 256)
    terminal = KittyTerminal().feed("".join(kitty.transmit(7, png)))
    assert terminal.replies == []
    received = terminal.images[7]
    assert np.array_equal(np.asarray(received), np.asarray(Image.open(io.BytesIO(png))))
    assert received.mode == "P"
    assert difference(received, photo.resize((256, 256), Image.Resampling.BICUBIC)) < 6


@pytest.mark.parametrize("size", [1, 3071, 3072, 3073, 6144, 100_000])
def test_chunks_carry_at_most_4096_bytes_and_only_the_last_ends(size: int) -> None:
    content = random.Random(size).randbytes(size)
    commands = list(kitty.transmit(1, content))
    payloads = [command.partition(";")[2].removesuffix("\x1b\\") for command in commands]
    assert max(map(len, payloads)) <= 4096
    assert base64.b64decode("".join(payloads)) == content
    assert ["m=0" in command for command in commands] == [False] * (len(commands) - 1) + [True]


def test_blocks_stay_below_the_limit_and_cut_no_command() -> None:
    commands = list(kitty.transmit(1, random.Random(1).randbytes(300_000)))
    blocks = list(kitty.blocks(commands))
    assert "".join(blocks) == "".join(commands)
    assert max(map(len, blocks)) <= kitty.BLOCK
    assert all(block.startswith("\x1b_G") and block.endswith("\x1b\\") for block in blocks)
    assert len(blocks) == 7


def test_an_abandoned_picture_does_not_spoil_the_next(photo: Image.Image) -> None:
    png = kitty.png8(photo, 128, 128)
    begun = list(kitty.transmit(1, png))
    assert len(begun) > 2
    terminal = KittyTerminal().feed("".join(begun[:2]) + kitty.abandon() + "".join(kitty.transmit(2, png)))
    assert list(terminal.images) == [2]


def test_pictures_are_placed_moved_hidden_and_freed(photo: Image.Image) -> None:
    terminal = KittyTerminal()
    for number in (1, 2):
        terminal.feed("".join(kitty.transmit(number, kitty.png8(photo, 16, 16))))
    terminal.feed(kitty.place(1, 1, 40, 20) + kitty.place(1, 2, 4, 2, kitty.Source(3, 5, 7, 9), z=2))
    assert set(terminal.placements) == {(1, 1), (1, 2)}
    part = terminal.placements[1, 2]
    assert [part[key] for key in "crxywhzC"] == ["4", "2", "3", "5", "7", "9", "2", "1"]
    terminal.feed(kitty.place(1, 1, 10, 5))
    assert terminal.placements[1, 1]["c"] == "10"
    terminal.feed(kitty.hide(1, 2))
    assert set(terminal.placements) == {(1, 1)}
    terminal.feed(kitty.place(2, 1, 3, 3) + kitty.hide(1))
    assert (set(terminal.placements), set(terminal.images)) == ({(2, 1)}, {1, 2})
    terminal.feed(kitty.hide_all())
    assert (set(terminal.placements), set(terminal.images)) == (set(), {1, 2})
    terminal.feed(kitty.place(2, 1, 3, 3) + kitty.free(2))
    assert (set(terminal.placements), set(terminal.images)) == (set(), {1})
    assert terminal.replies == []


def test_swapping_two_stored_pictures_takes_less_than_400_bytes() -> None:
    swap = kitty.hide(101, 1) + kitty.hide(102, 2)
    swap += at(3, 2, kitty.place(103, 1, 60, 30)) + at(3, 70, kitty.place(104, 2, 60, 30))
    assert len(swap) < 400
    assert swap.count("\x1b7") == swap.count("\x1b8") == 2
    assert "\x1b[4;71H" in swap


# --- sixel ---


@pytest.mark.parametrize("size", [(120, 90), (121, 95), (1, 1), (5, 3), (3, 200), (300, 7)])
@pytest.mark.parametrize("colours", [2, 64, 256])
def test_a_sixel_picture_decodes_to_its_palette_picture(
    photo: Image.Image, size: tuple[int, int], colours: int
) -> None:
    canvas, drawn = decode_sixel(sixel.encode(photo, *size, colours=colours))
    assert drawn.all()
    expected = scaled(photo, *size).quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # Colours go over the wire in hundredths.
    assert np.abs(canvas.astype(int) - np.asarray(expected.convert("RGB"), dtype=int)).max() <= 2


def test_more_colours_come_closer_to_the_picture(photo: Image.Image) -> None:
    small = photo.resize((160, 160))
    errors = []
    for colours in (16, 64, 256):
        canvas, _drawn = decode_sixel(sixel.encode(small, 160, 160, colours=colours))
        errors.append(difference(Image.fromarray(canvas), small))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 8


def test_noise_and_plain_areas_survive_the_run_lengths() -> None:
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (40, 70, 3), dtype=np.uint8)
    noise[10:30, 5:60] = (10, 200, 30)
    noise[:, 64:] = 0
    canvas, drawn = decode_sixel(sixel.encode(Image.fromarray(noise), 70, 40, colours=256))
    assert drawn.all()
    assert np.abs(canvas[15, 20].astype(int) - (10, 200, 30)).max() < 40


def test_a_plain_picture_is_a_few_bytes_for_each_band() -> None:
    text = sixel.encode(Image.new("RGB", (1200, 600), (1, 2, 3)), 1200, 600)
    assert len(text) < 100 * 12 + 60
    assert len(re.findall("!1200", text)) == 100


def test_the_widest_picture_is_encoded_whole() -> None:
    canvas, drawn = decode_sixel(sixel.encode(Image.new("RGB", (8, 8), "white"), sixel.WIDEST, 6))
    assert canvas.shape == (6, sixel.WIDEST, 3)
    assert drawn.all()


@pytest.mark.parametrize(
    ("width", "height", "colours"),
    [(0, 6, 64), (6, 0, 64), (sixel.WIDEST + 1, 6, 64), (6, 6, 1), (6, 6, 257)],
)
def test_impossible_sixel_pictures_are_refused(width: int, height: int, colours: int) -> None:
    with pytest.raises(ValueError, match="sixel"):
        sixel.encode(Image.new("RGB", (8, 8)), width, height, colours=colours)


# --- iTerm2 ---


def test_an_iterm2_picture_is_a_jpeg_with_its_size_in_cells(photo: Image.Image) -> None:
    text = iterm2.encode(photo, 30, 15, width=240, height=240)
    head, _, payload = text.partition(":")
    content = base64.b64decode(payload.removesuffix("\x07"))
    assert head.startswith("\x1b]1337;File=inline=1;")
    assert f";size={len(content)};width=30;height=15;" in head
    received = Image.open(io.BytesIO(content))
    assert (received.format, received.size) == ("JPEG", (240, 240))
    assert difference(received, photo.resize((240, 240))) < 6
