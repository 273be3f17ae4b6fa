"""DEC sixel graphics, encoded by numpy as fast as libsixel does it.

A sixel is a column of six pixels in one colour; a band is a row of sixels. Each band is written once for
each of its colours ("#n" selects it, "$" goes back to the band's start, "-" to the next band), and repeated
sixels as "!<count><sixel>".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from persona_tui.terminal.picture import scaled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

BAND = 6  # pixels in a sixel
WIDEST = 16_384  # pixels; "!16384~" still fits a token of eight bytes
_FIRST_SIXEL = 63  # "?": no pixel set
_COLOURS = 256


@dataclass(frozen=True)
class Tile:
    """A part of a picture, as the string that draws it from the cursor's cell on.

    Attributes:
        left, top: of the part in the whole picture, in pixels.
    """

    left: int
    top: int
    commands: str


def encode(image: Image, width: int, height: int, *, colours: int = 64) -> str:
    """Draw the picture from the cursor's cell on, `width` x `height` pixels, in a palette of its own.

    Sizes should be whole cells. A picture must not touch the screen's last row: most terminals scroll.

    Args:
        colours: 2 to 256; 64 is quick to encode and to send, 256 is for a second, better showing.

    Raises:
        ValueError: a size or number out of range.
    """
    (tile,) = encode_tiles(image, width, height, width, height, colours=colours)
    return tile.commands


def encode_tiles(
    image: Image, width: int, height: int, tile_width: int, tile_height: int, *, colours: int = 64
) -> tuple[Tile, ...]:
    """Draw the picture in parts of one palette, for terminals that show nothing of a larger one.

    Args:
        tile_width, tile_height: the most that a part may have, in pixels; whole cells.

    Raises:
        ValueError: a size or number out of range.
    """
    if not (0 < width <= WIDEST and min(height, tile_width, tile_height) > 0 and 2 <= colours <= _COLOURS):
        raise ValueError("can't encode a sixel picture of that size or number of colours")
    import numpy as np
    from PIL.Image import Dither, Quantize

    flat = scaled(image, width, height).quantize(colours, Quantize.FASTOCTREE, dither=Dither.NONE)
    indices = np.asarray(flat, dtype=np.uint8)
    palette = np.asarray(flat.getpalette("RGB"), dtype=np.uint16).reshape(-1, 3)
    return tuple(
        Tile(left, top, _encoded(indices[top : top + tile_height, left : left + tile_width], palette))
        for top in range(0, height, tile_height)
        for left in range(0, width, tile_width)
    )


def _encoded(indices: NDArray[np.uint8], palette: NDArray[np.uint16]) -> str:
    import numpy as np

    height, width = indices.shape
    percents = (palette * 200 + 255) // 510  # 0-255 to the protocol's 0-100, rounded
    used = np.unique(indices).tolist()
    registers = "".join("#{};2;{};{};{}".format(number, *percents[number].tolist()) for number in used)
    body = _bands(indices).decode("ascii")
    return f'\x1bP0;1;0q"1;1;{width};{height}{registers}{body}\x1b\\'


def _bands(indices: NDArray[np.uint8]) -> bytes:
    """All bands at once. indices: (height, width) of palette indices."""
    import numpy as np

    lines, band_of, colour_of = _lines(indices)
    width = lines.shape[1]
    flat = lines.ravel()
    is_start = np.empty(flat.shape, dtype=bool)
    is_start[0] = True
    np.not_equal(flat[1:], flat[:-1], out=is_start[1:])
    is_start[::width] = True
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=flat.size)
    tokens = _token_table(width)[lengths * 64 + flat[starts]]
    first_of_line = np.flatnonzero(starts % width == 0)
    last_of_line = np.append(first_of_line[1:], starts.size) - 1
    tokens[last_of_line[flat[starts[last_of_line]] == 0]] = 0  # nothing more to draw in this line
    tokens = np.insert(tokens, first_of_line, _line_heads(band_of, colour_of))
    padded: NDArray[np.uint8] = tokens.astype("<u8").view(np.uint8)
    data: NDArray[np.uint8] = padded[padded != 0]
    return data.tobytes()


def _lines(indices: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]:
    """One line for each colour of each band, ordered by band and colour.

    Returns:
        (lines, width) of sixels 0-63; (lines,) of band numbers; (lines,) of palette indices.
    """
    import numpy as np

    height, width = indices.shape
    bands = -(-height // BAND)
    key = (np.arange(height) // BAND)[:, None] * _COLOURS + indices
    present = np.zeros(bands * _COLOURS, dtype=bool)
    present[key.ravel()] = True
    keys = np.flatnonzero(present)
    line_of_key = np.zeros(bands * _COLOURS, dtype=np.intp)
    line_of_key[keys] = np.arange(keys.size)
    lines = np.zeros((keys.size, width), dtype=np.uint8)
    columns = np.arange(width)
    for bit in range(min(BAND, height)):
        # In one pixel row each column of a band has one colour, so no line and column occur twice.
        lines[line_of_key[key[bit::BAND]], columns] |= np.uint8(1 << bit)
    return lines, keys // _COLOURS, keys % _COLOURS


def _line_heads(band_of: NDArray[Any], colour_of: NDArray[Any]) -> NDArray[np.uint64]:
    """ "#n" for the first line of all, "-#n" for the first of a band, "$#n" for the others."""
    import numpy as np

    selects = np.array([_packed(f"#{number}".encode()) for number in range(_COLOURS)], dtype=np.uint64)
    moves = np.where(np.diff(band_of, prepend=0) > 0, ord("-"), ord("$")).astype(np.uint64)
    heads: NDArray[np.uint64] = (selects[colour_of] << np.uint64(8)) | moves
    heads[0] = selects[colour_of[0]]
    return heads


@lru_cache(maxsize=4)
def _token_table(width: int) -> NDArray[np.uint64]:
    """[run length * 64 + sixel] -> up to eight ASCII bytes, little-endian, padded with zeros."""
    import numpy as np

    table = np.zeros((width + 1, 64), dtype=np.uint64)
    sixels = np.arange(_FIRST_SIXEL, _FIRST_SIXEL + 64, dtype=np.uint64)
    for length in range(1, min(width, 3) + 1):
        for place in range(length):
            table[length] |= sixels << np.uint64(8 * place)
    for length in range(4, width + 1):
        count = f"!{length}".encode()
        table[length] = np.uint64(_packed(count)) | sixels << np.uint64(8 * len(count))
    return table.ravel()


def _packed(text: bytes) -> int:
    return int.from_bytes(text, "little")
