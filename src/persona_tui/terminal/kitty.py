"""The kitty graphics protocol: https://sw.kovidgoyal.net/kitty/graphics-protocol/.

Pure functions from pictures and rectangles to escape sequences. Commands carry `q=2`, so that no reply comes
back among the key presses; a placement carries `q=1`, so that a terminal which has lost the picture says so
(`reply_filter` takes that out of the keys). Cells are counted by the cursor, which the caller sets
(`cursor.at`).
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from persona_tui.terminal.picture import scaled

if TYPE_CHECKING:
    from PIL.Image import Image

_CHUNK = 4096  # bytes of base64 in one command; the protocol's limit
_LOST = re.compile(r"\x1b_Gi=(\d{1,10})[^;\x1b]*;ENOENT")
BLOCK = 65_536  # characters in one write: small enough to let a vote through on a slow line


class Source(NamedTuple):
    """A rectangle of a picture's own pixels."""

    x: int
    y: int
    width: int
    height: int


def png8(image: Image, width: int, height: int) -> bytes:
    """The picture at that size as a PNG of 256 colours: a quarter of a true-colour PNG's bytes."""
    from PIL.Image import Dither, Quantize

    small = scaled(image, width, height).quantize(256, Quantize.FASTOCTREE, dither=Dither.NONE)
    file = io.BytesIO()
    small.save(file, "PNG", compress_level=6)
    return file.getvalue()


def png24(image: Image, width: int, height: int) -> bytes:
    """The picture at that size with all its colours: for looking at single pixels."""
    file = io.BytesIO()
    scaled(image, width, height).save(file, "PNG", compress_level=2)
    return file.getvalue()


def transmit(image_id: int, png: bytes) -> Iterator[str]:
    """Commands that store a PNG under an id, without showing it.

    Once begun the sequence must be ended, with the remaining commands or with `abandon()`: the data of
    an unfinished picture would be joined with the next one's and spoil both.
    """
    data = base64.standard_b64encode(png).decode()
    chunks = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    for number, chunk in enumerate(chunks):
        more = int(number < len(chunks) - 1)
        head = f"a=t,f=100,t=d,i={image_id}," if number == 0 else ""
        yield _command(f"{head}q=2,m={more}", chunk)


def abandon() -> str:
    """End a transmission early; the picture is lost, the next one is not."""
    return _command("q=2,m=0")


def blocks(commands: Iterable[str], limit: int = BLOCK) -> Iterator[str]:
    """Join commands into strings of at most `limit` characters, for one write each; none is cut."""
    block = ""
    for command in commands:
        if block and len(block) + len(command) > limit:
            yield block
            block = ""
        block += command
    if block:
        yield block


def place(
    image_id: int, placement_id: int, columns: int, rows: int, source: Source | None = None, z: int = 0
) -> str:
    """Show a stored picture from the cursor's cell on, stretched to that many cells.

    The same ids again move the placement. The cursor stays. A terminal without the picture answers `lost()`.

    Args:
        source: the part that is shown; by default all.
        z: 0 lies over text; below it terminals differ in what they draw.
    """
    part = f",x={source.x},y={source.y},w={source.width},h={source.height}" if source else ""
    depth = f",z={z}" if z else ""
    return _command(f"a=p,i={image_id},p={placement_id},c={columns},r={rows},C=1,q=1{part}{depth}")


def place_virtually(image_id: int, columns: int, rows: int) -> str:
    """Let placeholders show a stored picture, fitted into that many cells; see `placeholders`."""
    return _command(f"a=p,U=1,i={image_id},p=1,c={columns},r={rows},q=2")


def lost(reply: str) -> int | None:
    """The id of the picture that the terminal says it has no more."""
    told = _LOST.match(reply)
    return int(told[1]) if told else None


def hide(image_id: int, placement_id: int | None = None) -> str:
    """Remove one placement, or all of a picture; its data stays."""
    placement = f",p={placement_id}" if placement_id is not None else ""
    return _command(f"a=d,d=i,i={image_id}{placement},q=2")


def hide_all() -> str:
    """Remove every placement; the data stays."""
    return _command("a=d,d=a,q=2")


def free(image_id: int) -> str:
    """Remove a picture's placements and its data."""
    return _command(f"a=d,d=I,i={image_id},q=2")


def _command(keys: str, payload: str = "") -> str:
    return f"\x1b_G{keys};{payload}\x1b\\" if payload else f"\x1b_G{keys}\x1b\\"
