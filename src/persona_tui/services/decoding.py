"""Encoded pictures opened within limits, turned upright, and brought to small eight-bit sRGB."""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps

from persona_tui.errors import InvalidRequest
from persona_tui.services.srgb import to_srgb

MAX_PIXELS = 120_000_000
"""Larger pictures are refused by their header alone, at import and at publishing: this many take half a
gigabyte to decode."""
_MEGAPIXELS = f"{MAX_PIXELS // 1_000_000} megapixels"
LARGE_PIXELS = 40_000_000
"""Of pictures above it, one is decoded at a time, whatever the number of threads."""

# Left out: formats that run another program (EPS) or hold no photograph.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "HEIF", "GIF", "BMP", "PPM")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_SIDEWAYS = frozenset({5, 6, 7, 8})
_SHRINKS_WELL = frozenset({"L", "RGB", "RGBA", "CMYK"})
_one_large = threading.Lock()

# Our own limit is below Pillow's error; its warning would be printed over the app.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class PictureFacts:
    """What the bytes of a picture say about themselves.

    Attributes:
        width: pixels, after EXIF orientation; height likewise.
        taken_at: by the camera's clock, read as UTC where it tells no zone.
        details: mode, name of the colour profile, number of frames, where they are not the usual ones.
    """

    format: str
    width: int
    height: int
    taken_at: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Unreadable(InvalidRequest):
    """No picture, a damaged one, or one with too many pixels."""

    title = "Unreadable picture"
    hint = "Use JPEG, PNG, WebP, TIFF or HEIC."


def decode(data: bytes, side: int) -> tuple[PictureFacts, Image.Image]:
    """Decode a picture to its end, so that a broken file is found here; of an animation the first frame.

    Args:
        side: longest side of the result in pixels; JPEGs are decoded at the next larger eighth.

    Returns:
        Its facts, and the picture upright in eight-bit sRGB, at most `side` a side and never enlarged.

    Raises:
        Unreadable: no picture, a broken one, or one of over 120 megapixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _require_few_pixels(*image.size)
            facts = _facts(image)
            large = image.width * image.height > LARGE_PIXELS
            with _one_large if large else nullcontext():
                return facts, _small(image, side)
    except Image.DecompressionBombError:
        raise _too_many(f"more than {_MEGAPIXELS}") from None
    except Unreadable:
        raise
    except MemoryError:
        raise Unreadable("There is not enough memory for the picture.", hint="Make it smaller.") from None
    except Exception:  # each format's decoder raises what it likes on damaged files
        raise Unreadable("That is no picture that can be read.") from None


def _require_few_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _too_many(f"{width}×{height} pixels")


def _too_many(size: str) -> Unreadable:
    return Unreadable(
        f"The picture has {size}, too many to handle.", hint=f"Make it smaller than {_MEGAPIXELS}."
    )


def _small(image: Image.Image, side: int) -> Image.Image:
    scale = min(side / max(image.size), 1.0)
    image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
    image.load()
    small: Image.Image = image if image.mode in _SHRINKS_WELL else to_srgb(image, [])
    if max(small.size) > side:
        small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if orientation_of(image) != 1:
        small = ImageOps.exif_transpose(small)
    return to_srgb(small, []) if image.mode in _SHRINKS_WELL else small


def _facts(image: Image.Image) -> PictureFacts:
    width, height = image.size
    if orientation_of(image) in _SIDEWAYS:
        width, height = height, width
    details: dict[str, Any] = {} if image.mode == "RGB" else {"mode": image.mode}
    if (frames := getattr(image, "n_frames", 1)) > 1:
        details["frames"] = frames
    if profile := _profile_name(image):
        details["profile"] = profile
    return PictureFacts(image.format or "unknown", width, height, _taken_at(image), details)


def _profile_name(image: Image.Image) -> str:
    profile = image.info.get("icc_profile")
    if not profile:
        return ""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "unreadable"
    return "" if "sRGB" in name else name.strip()[:80]


def orientation_of(image: Image.Image) -> int:
    """1 upright to 8, as EXIF has it."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF comes from anywhere and is often broken
        return 1


def _taken_at(image: Image.Image) -> datetime | None:
    try:
        shot = image.getexif().get_ifd(ExifTags.IFD.Exif)
        words = str(shot.get(ExifTags.Base.DateTimeOriginal, ""))
        zone = str(shot.get(ExifTags.Base.OffsetTimeOriginal, ""))
        taken = datetime.strptime(f"{words} {zone or '+00:00'}", "%Y:%m:%d %H:%M:%S %z")
        return taken.astimezone(UTC)
    except Exception:  # as above
        return None


def _is_heif(prefix: bytes) -> bool:
    return prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS


def _open_heif(file: IO[bytes], name: str | bytes) -> ImageFile.ImageFile:
    """Load libheif's binding with the first HEIC file: its import would slow every start down."""
    from pillow_heif.as_plugin import HeifImageFile

    opened: ImageFile.ImageFile = HeifImageFile(file, name)  # type: ignore[no-untyped-call]
    return opened


Image.register_open("HEIF", _open_heif, _is_heif)
