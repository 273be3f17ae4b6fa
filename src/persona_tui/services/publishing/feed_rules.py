"""What Instagram accepts as a feed picture, checked on the bytes of a JPEG.

Source of the rules: Meta, Instagram Platform, "Content publishing" and the reference of `/{ig-id}/media`.
The markers of the file are read here and not asked of Pillow, so that what is checked is what is sent.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image

from persona_tui.errors import InvalidRequest

MAX_BYTES = 8_000_000
"""Largest file: Meta says 8 MB and not whether it counts in thousands, so the smaller reading holds."""
MIN_ASPECT = 4 / 5
MAX_ASPECT = 1.91
MIN_WIDTH = 320
MAX_WIDTH = 1440

_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE_EXTENDED_PROGRESSIVE = frozenset({0xC0, 0xC1, 0xC2})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
_APP1, _APP2, _APP3, _COMMENT, _START_OF_SCAN = 0xE1, 0xE2, 0xE3, 0xFE, 0xDA
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"
_ICC_HEAD = b"ICC_PROFILE\0"


class FeedRule(StrEnum):
    """A rule that a feed picture can break."""

    FORMAT = "format"
    CODING = "coding"
    COLOUR = "colour"
    SIZE = "size"
    ASPECT = "aspect"
    DAMAGED = "damaged"


class PictureNotAccepted(InvalidRequest):
    """Instagram would refuse this picture.

    Attributes:
        rule: which rule it breaks.
    """

    title = "Instagram would refuse it"
    hint = "Prepare the picture again from its original."

    def __init__(self, message: str, *, rule: FeedRule = FeedRule.FORMAT) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Segment:
    """One marker segment of a JPEG: the marker's second byte and the payload after its length."""

    marker: int
    payload: bytes


def segments(jpeg: bytes) -> Iterator[Segment]:
    """The marker segments before the first scan, in file order (ITU-T T.81, annex B).

    Raises:
        PictureNotAccepted: the bytes are no JPEG, or a segment runs past the end.
    """
    if not jpeg.startswith(b"\xff\xd8\xff"):
        raise PictureNotAccepted("The file is not a JPEG.", rule=FeedRule.FORMAT)
    position = 2
    while position + 4 <= len(jpeg):
        if jpeg[position] != 0xFF:
            raise PictureNotAccepted("The JPEG has stray bytes between its segments.", rule=FeedRule.DAMAGED)
        marker = jpeg[position + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:  # fill byte, or a marker without payload
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(jpeg[position + 2 : position + 4])
        if end > len(jpeg) or end < position + 4:
            raise PictureNotAccepted("The JPEG is cut off.", rule=FeedRule.DAMAGED)
        yield Segment(marker, jpeg[position + 4 : end])
        if marker == _START_OF_SCAN:
            return
        position = end
    raise PictureNotAccepted("The JPEG holds no picture.", rule=FeedRule.DAMAGED)


def xmp_of(jpeg: bytes) -> bytes | None:
    """The XMP packet in the file, if it holds one."""
    for segment in segments(jpeg):
        if segment.marker == _APP1 and segment.payload.startswith(_XMP_HEAD):
            return segment.payload[len(_XMP_HEAD) :]
    return None


def colour_profile_of(jpeg: bytes) -> bytes | None:
    """The ICC profile in the file, its chunks joined, if it holds one."""
    chunks = [
        segment.payload[len(_ICC_HEAD) :]
        for segment in segments(jpeg)
        if segment.marker == _APP2 and segment.payload.startswith(_ICC_HEAD)
    ]
    return b"".join(chunk[2:] for chunk in sorted(chunks)) or None


def foreign_segments(jpeg: bytes) -> tuple[int, ...]:
    """Markers of all metadata but JFIF, XMP and an ICC profile: EXIF, IPTC, comments, anything."""
    found = []
    for segment in segments(jpeg):
        ours = (
            (segment.marker == 0xE0 and segment.payload.startswith(b"JFIF\0"))
            or (segment.marker == _APP1 and segment.payload.startswith(_XMP_HEAD))
            or (segment.marker == _APP2 and segment.payload.startswith(_ICC_HEAD))
        )
        if not ours and (0xE0 <= segment.marker <= 0xEF or segment.marker == _COMMENT):
            found.append(segment.marker)
    return tuple(found)


def validate_for_instagram(jpeg: bytes, *, max_bytes: int = MAX_BYTES, story: bool = False) -> None:
    """Refuse what Meta would refuse as a feed picture, a carousel's child, or (of any shape) a story.

    The width is not among the rules: Meta scales what is narrower than 320 or wider than 1440.

    Raises:
        PictureNotAccepted: `rule` names the first rule broken.
    """
    if len(jpeg) > max_bytes:
        raise PictureNotAccepted(
            f"The picture has {len(jpeg):,} bytes; Instagram takes {max_bytes:,}.", rule=FeedRule.SIZE
        )
    width, height = _frame_size(jpeg)
    if not story and not MIN_ASPECT <= width / height <= MAX_ASPECT:
        raise PictureNotAccepted(
            f"{width} × {height} is {width / height:.3f} wide to high; Instagram takes 4:5 to 1.91:1.",
            rule=FeedRule.ASPECT,
        )
    _decode(jpeg)


def _frame_size(jpeg: bytes) -> tuple[int, int]:
    frame: Segment | None = None
    for segment in segments(jpeg):
        if (segment.marker == _APP2 and segment.payload.startswith(b"MPF\0")) or (
            segment.marker == _APP3 and segment.payload.startswith(b"_JPSJPS_")
        ):
            raise PictureNotAccepted("The file is a JPEG of several pictures.", rule=FeedRule.FORMAT)
        if segment.marker in _START_OF_FRAME:
            frame = segment
    if frame is None or len(frame.payload) < 6:
        raise PictureNotAccepted("The JPEG has no frame header.", rule=FeedRule.DAMAGED)
    if frame.marker not in _BASELINE_EXTENDED_PROGRESSIVE or frame.payload[0] != 8:
        raise PictureNotAccepted("The JPEG is neither baseline nor progressive.", rule=FeedRule.CODING)
    if frame.payload[5] not in {1, 3}:
        raise PictureNotAccepted("The JPEG is CMYK; Instagram takes RGB.", rule=FeedRule.COLOUR)
    height, width = (int.from_bytes(frame.payload[at : at + 2]) for at in (1, 3))
    if not width or not height:
        raise PictureNotAccepted("The JPEG has no extent.", rule=FeedRule.DAMAGED)
    return width, height


def _decode(jpeg: bytes) -> None:
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as picture:
            picture.load()
    except Exception:  # decoders of foreign bytes raise anything
        raise PictureNotAccepted("The JPEG can't be decoded to its end.", rule=FeedRule.DAMAGED) from None
