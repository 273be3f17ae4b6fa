"""A picture of any kind made into the JPEG that Instagram takes for its feed.

Pure functions over bytes, free of network, database and clock: the same bytes in give the same bytes
out, so they may run in a child process and be repeated after a crash.

Choices within Meta's rules (`feed_rules`): a shape from 4:5 to 1.91:1 is kept, any other is cropped to
the nearer end; what is wider than 1080 is scaled to 1080, the width of the feed; what is narrower than
320 is scaled to 320, as Meta would; nothing else is enlarged.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageCms, ImageOps

from persona_tui.errors import InvalidRequest, PersonaError
from persona_tui.services.decoding import MAX_PIXELS
from persona_tui.services.publishing.feed_rules import (
    MAX_ASPECT,
    MAX_BYTES,
    MIN_ASPECT,
    colour_profile_of,
    foreign_segments,
    validate_for_instagram,
    xmp_of,
)
from persona_tui.services.publishing.framing import EXPORT_WIDTH, FaceBox, Fit, frame
from persona_tui.services.safety.disclosure import Provenance, generator_traces, xmp_packet
from persona_tui.services.srgb import srgb_profile, to_srgb

STORY_ASPECT = 9 / 16
START_QUALITY = 92
LEAST_QUALITY = 40
MAX_SOURCE_BYTES = 256 * 1024 * 1024
_ENOUGH = 3 * EXPORT_WIDTH
"""Pixels of the shorter side above which a source is read smaller: `frame` reduces it to as many anyway."""
_SHRINKS_WELL = frozenset({"L", "RGB", "RGBA", "CMYK"})

# Left out: formats that run another program (EPS) or hold no photograph.
_READABLE = frozenset(
    {"JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "TGA"}
    | {"QOI", "PSD", "ICO", "ICNS", "SGI", "PCX", "DDS"}
)


class PictureUnreadable(InvalidRequest):
    """The source is no picture, is cut off, or is too large to open safely."""

    title = "Picture can't be read"
    hint = "Choose another picture, or export this one again as PNG or JPEG."


class ProvenanceContradicted(InvalidRequest):
    """The picture is called a photograph, but its own metadata says that a model made it."""

    title = "Not a plain photograph"
    hint = "Mark the picture as generated or edited; the AI label follows from that."


class PreparationFailed(PersonaError):
    """The finished file does not hold what it must; nothing was published."""

    title = "Picture not prepared"
    hint = "Report this picture's format: it is a fault of the program."


@dataclass(frozen=True, slots=True)
class PreparedPicture:
    """A JPEG fit for Instagram's feed.

    Attributes:
        jpeg: the file: baseline, sRGB, with XMP DigitalSourceType and no other metadata.
        width: pixels.
        height: pixels.
        aspect: width to height.
        quality: the JPEG quality used, on libjpeg's scale.
        notes: what was done to the source, one short sentence each.
    """

    jpeg: bytes = field(repr=False)
    width: int
    height: int
    aspect: float
    quality: int
    notes: tuple[str, ...]


def prepare_feed_picture(
    source: bytes,
    *,
    provenance: Provenance,
    aspect: float | None = None,
    fit: Fit = "crop",
    faces: Sequence[FaceBox] = (),
    max_bytes: int = MAX_BYTES,
) -> PreparedPicture:
    """Make the feed JPEG of a picture.

    Args:
        source: a file in any format that Pillow reads; of an animation the first frame is taken.
        provenance: how the picture came to be; it decides the DigitalSourceType written.
        aspect: width to height to crop to, 0.8 to 1.91; None keeps the shape where Instagram takes it.
            All pictures of a carousel need the same.
        fit: what becomes of a picture whose shape is none that Instagram takes.
        faces: that a crop keeps, the surest first.
        max_bytes: largest file; the quality is lowered from 92 until it fits.

    Raises:
        PictureUnreadable: no picture, a damaged one, or one too large to open safely.
        ProvenanceContradicted: called a photograph, while its metadata names a generator.
        InvalidRequest: `aspect` is outside what Instagram takes.
        PreparationFailed: the result does not keep the rules.
    """
    if aspect is not None and not MIN_ASPECT <= aspect <= MAX_ASPECT:
        raise InvalidRequest(f"An aspect of {aspect:g} is outside 4:5 to 1.91:1.")
    return _prepare(source, provenance, aspect, fit, faces, max_bytes)


def prepare_story_picture(
    source: bytes,
    *,
    provenance: Provenance,
    fit: Fit = "crop",
    faces: Sequence[FaceBox] = (),
    max_bytes: int = MAX_BYTES,
) -> PreparedPicture:
    """Make the JPEG of a story: 9:16, cropped or padded to it.

    Args and raises: as `prepare_feed_picture`.
    """
    return _prepare(source, provenance, STORY_ASPECT, fit, faces, max_bytes)


def _prepare(
    source: bytes,
    provenance: Provenance,
    aspect: float | None,
    fit: Fit,
    faces: Sequence[FaceBox],
    max_bytes: int,
) -> PreparedPicture:
    notes: list[str] = []
    with warnings.catch_warnings():  # Pillow warns on stderr of large pictures and broken metadata
        warnings.simplefilter("ignore")
        picture = _open(source, notes)
        _check_provenance(picture, provenance, notes)
        try:
            shown = to_srgb(_upright(picture, notes), notes)
            framed = frame(shown, aspect, notes, fit=fit, faces=faces)
        except (MemoryError, ValueError, OSError, ImageCms.PyCMSError) as problem:
            raise PictureUnreadable(f"The picture can't be converted: {type(problem).__name__}.") from None
    jpeg, quality = _encode(framed, provenance, max_bytes)
    _verify(jpeg, provenance, max_bytes, story=aspect == STORY_ASPECT)
    width, height = framed.size
    return PreparedPicture(jpeg, width, height, width / height, quality, tuple(notes))


def _open(source: bytes, notes: list[str]) -> Image.Image:
    if len(source) > MAX_SOURCE_BYTES:
        raise PictureUnreadable(f"The file has {len(source):,} bytes; {MAX_SOURCE_BYTES:,} is the most.")
    try:
        opened = Image.open(io.BytesIO(source), formats=_readable_formats())
        _check_extent(opened)
        picture = _read(opened, notes)
    except PictureUnreadable:
        raise
    except Image.DecompressionBombError:
        raise PictureUnreadable(_too_large()) from None
    except Exception as problem:  # decoders of foreign bytes raise anything
        raise PictureUnreadable(
            f"The file is no picture that can be read, or is damaged ({type(problem).__name__})."
        ) from None
    frames = getattr(opened, "n_frames", 1)
    if frames > 1:
        notes.append(f"Took the first of {frames} frames.")
    return picture


def _read(picture: Image.Image, notes: list[str]) -> Image.Image:
    """The picture decoded, no larger than what goes out needs: colours and turns make copies of it."""
    whole = picture.size
    factor = min(whole) // _ENOUGH
    if factor > 1:  # a JPEG is decoded at a half, a quarter or an eighth; other formats take no notice
        picture.draft(None, (math.ceil(whole[0] / factor), math.ceil(whole[1] / factor)))
    picture.load()
    read = picture
    factor = min(read.size) // _ENOUGH
    if factor > 1 and read.mode in _SHRINKS_WELL and "transparency" not in read.info:
        read = read.reduce(factor)
    if read.size not in {whole, whole[::-1]}:  # a TIFF is turned as it is read
        notes.append(f"Read at {read.width} × {read.height} instead of {whole[0]} × {whole[1]}.")
    return read


def _check_extent(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PictureUnreadable(_too_large())
    if width < 1 or height < 1:
        raise PictureUnreadable("The picture has no extent.")


def _too_large() -> str:
    return f"The picture has more than {MAX_PIXELS // 1_000_000} million pixels."


@functools.cache
def _readable_formats() -> tuple[str, ...]:
    if importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    Image.init()
    return tuple(name for name in Image.OPEN if name in _READABLE)


def _check_provenance(picture: Image.Image, provenance: Provenance, notes: list[str]) -> None:
    traces = generator_traces(picture.info)
    if traces and provenance is Provenance.PHOTOGRAPH:
        raise ProvenanceContradicted(f"The picture says itself that a model made it ({', '.join(traces)}).")
    if traces:
        notes.append(f"Left out the generator's data: {', '.join(traces)}.")


def _upright(picture: Image.Image, notes: list[str]) -> Image.Image:
    try:
        orientation = picture.getexif().get(0x0112, 1)
        turned = ImageOps.exif_transpose(picture)
    except Exception:  # EXIF comes from anywhere and is often broken
        notes.append("Ignored EXIF data that can't be read.")
        return picture
    if orientation in range(2, 9):
        notes.append("Turned upright as its EXIF orientation says.")
    return turned


def _encode(picture: Image.Image, provenance: Provenance, max_bytes: int) -> tuple[bytes, int]:
    """The file at the highest quality, from 92 down to 40, that is no larger than allowed."""
    best = _save(picture, provenance, START_QUALITY)
    if len(best) <= max_bytes:
        return best, START_QUALITY
    low, high = LEAST_QUALITY, START_QUALITY - 1
    best, quality = _save(picture, provenance, low), low
    while low < high:
        middle = (low + high + 1) // 2
        attempt = _save(picture, provenance, middle)
        if len(attempt) <= max_bytes:
            low, best, quality = middle, attempt, middle
        else:
            high = middle - 1
    return best, quality


def _save(picture: Image.Image, provenance: Provenance, quality: int) -> bytes:
    # Without `optimize`: it needs the whole file in one buffer, which Pillow makes too small for noise.
    file = io.BytesIO()
    picture.save(
        file,
        "JPEG",
        quality=quality,
        subsampling="4:4:4",
        progressive=False,
        icc_profile=srgb_profile(),
        xmp=xmp_packet(provenance),
    )
    return file.getvalue()


def _verify(jpeg: bytes, provenance: Provenance, max_bytes: int, *, story: bool) -> None:
    """Read the finished bytes again: rules, disclosure, colour profile, and nothing else aboard."""
    try:
        validate_for_instagram(jpeg, max_bytes=max_bytes, story=story)
    except InvalidRequest as problem:
        raise PreparationFailed(f"The prepared picture breaks a rule: {problem.message}") from None
    if xmp_of(jpeg) != xmp_packet(provenance):
        raise PreparationFailed("The prepared picture does not say how it was made.")
    if colour_profile_of(jpeg) != srgb_profile() or foreign_segments(jpeg):
        raise PreparationFailed("The prepared picture carries metadata that it must not.")


__all__ = [
    "PictureUnreadable",
    "PreparationFailed",
    "PreparedPicture",
    "ProvenanceContradicted",
    "prepare_feed_picture",
    "prepare_story_picture",
    "validate_for_instagram",
]
