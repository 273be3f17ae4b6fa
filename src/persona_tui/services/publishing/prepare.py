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
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps

from persona_tui.errors import InvalidRequest, PersonaError
from persona_tui.services.publishing.feed_rules import (
    MAX_ASPECT,
    MAX_BYTES,
    MIN_ASPECT,
    MIN_WIDTH,
    colour_profile_of,
    foreign_segments,
    validate_for_instagram,
    xmp_of,
)
from persona_tui.services.safety.disclosure import Provenance, generator_traces, xmp_packet
from persona_tui.services.srgb import srgb_profile, to_srgb

EXPORT_WIDTH = 1080
STORY_ASPECT = 9 / 16
START_QUALITY = 92
LEAST_QUALITY = 40
MAX_SOURCE_BYTES = 256 * 1024 * 1024
MAX_SOURCE_PIXELS = 80_000_000
"""Larger sources are refused unread: 80 megapixels take about 1 GB to decode and convert."""

# Left out: formats that run another program (EPS) or hold no photograph.
_READABLE = frozenset(
    {"JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "TGA"}
    | {"QOI", "PSD", "ICO", "ICNS", "SGI", "PCX", "DDS"}
)
_ANALYSIS_EDGE = 256

Profile = npt.NDArray[np.float64]


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
    source: bytes, *, provenance: Provenance, aspect: float | None = None, max_bytes: int = MAX_BYTES
) -> PreparedPicture:
    """Make the feed JPEG of a picture.

    Args:
        source: a file in any format that Pillow reads; of an animation the first frame is taken.
        provenance: how the picture came to be; it decides the DigitalSourceType written.
        aspect: width to height to crop to, 0.8 to 1.91; None keeps the shape where Instagram takes it.
            All pictures of a carousel need the same.
        max_bytes: largest file; the quality is lowered from 92 until it fits.

    Raises:
        PictureUnreadable: no picture, a damaged one, or one too large to open safely.
        ProvenanceContradicted: called a photograph, while its metadata names a generator.
        InvalidRequest: `aspect` is outside what Instagram takes.
        PreparationFailed: the result does not keep the rules.
    """
    if aspect is not None and not MIN_ASPECT <= aspect <= MAX_ASPECT:
        raise InvalidRequest(f"An aspect of {aspect:g} is outside 4:5 to 1.91:1.")
    return _prepare(source, provenance, aspect, max_bytes)


def prepare_story_picture(
    source: bytes, *, provenance: Provenance, max_bytes: int = MAX_BYTES
) -> PreparedPicture:
    """Make the JPEG of a story: 9:16, cropped to it.

    Args and raises: as `prepare_feed_picture`.
    """
    return _prepare(source, provenance, STORY_ASPECT, max_bytes)


def _prepare(source: bytes, provenance: Provenance, aspect: float | None, max_bytes: int) -> PreparedPicture:
    notes: list[str] = []
    with warnings.catch_warnings():  # Pillow warns on stderr of large pictures and broken metadata
        warnings.simplefilter("ignore")
        picture = _open(source, notes)
        _check_provenance(picture, provenance, notes)
        try:
            framed = _frame(to_srgb(_upright(picture, notes), notes), aspect, notes)
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
        picture = Image.open(io.BytesIO(source), formats=_readable_formats())
        _check_extent(picture)
        picture.load()
    except PictureUnreadable:
        raise
    except Image.DecompressionBombError:
        raise PictureUnreadable(_too_large()) from None
    except Exception as problem:  # decoders of foreign bytes raise anything
        raise PictureUnreadable(
            f"The file is no picture that can be read, or is damaged ({type(problem).__name__})."
        ) from None
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        notes.append(f"Took the first of {frames} frames.")
    return picture


def _check_extent(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_SOURCE_PIXELS:
        raise PictureUnreadable(_too_large())
    if width < 1 or height < 1:
        raise PictureUnreadable("The picture has no extent.")


def _too_large() -> str:
    return f"The picture has more than {MAX_SOURCE_PIXELS // 1_000_000} million pixels."


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


def _frame(picture: Image.Image, aspect: float | None, notes: list[str]) -> Image.Image:
    width, height = picture.size
    wanted = aspect or min(max(width / height, MIN_ASPECT), MAX_ASPECT)
    box = _crop_box(picture, wanted)
    size = _export_size(box[2] - box[0], wanted)
    whole = box == (0.0, 0.0, float(width), float(height))
    if not whole:
        notes.append(f"Cropped {width} × {height} to {wanted:.3g} wide to high.")
    if whole and size == picture.size:
        return picture
    if size[0] > math.ceil(box[2] - box[0]):
        notes.append(f"Enlarged to {size[0]} × {size[1]}, the least that Instagram shows.")
    return picture.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _export_size(width: float, aspect: float) -> tuple[int, int]:
    """Whole pixels for a crop that wide, with the aspect never outside Instagram's range."""
    wide = min(max(math.floor(width + 1e-6), MIN_WIDTH), EXPORT_WIDTH)
    least = min(aspect, MIN_ASPECT)
    high = min(max(round(wide / aspect), math.ceil(wide / MAX_ASPECT)), math.floor(wide / least))
    return wide, high


def _crop_box(picture: Image.Image, aspect: float) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the crop with this aspect that keeps most of what there is to see."""
    width, height = picture.size
    if math.isclose(width / height, aspect, rel_tol=1e-9):
        return 0.0, 0.0, float(width), float(height)
    if width / height > aspect:
        kept = height * aspect
        left = _best_offset(_detail(picture, axis=1), kept / width, _middle) * width
        left = min(left, width - kept)
        return left, 0.0, left + kept, float(height)
    kept = width / aspect
    top = _best_offset(_detail(picture, axis=0), kept / height, _upper_part) * height
    top = min(top, height - kept)
    return 0.0, top, float(width), top + kept


def _detail(picture: Image.Image, *, axis: int) -> Profile:
    """Mean strength of edges in each row (axis 0) or column (axis 1) of a reduced grey copy."""
    grey = picture.convert("L")
    grey.thumbnail((_ANALYSIS_EDGE, _ANALYSIS_EDGE), Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.float64)
    strength = np.abs(np.diff(values, axis=0, append=values[-1:, :]))
    strength += np.abs(np.diff(values, axis=1, append=values[:, -1:]))
    return np.asarray(strength.mean(axis=1 - axis) + 1.0)  # 1: a flat picture is cropped by the prior alone


def _middle(places: Profile) -> Profile:
    """How much columns count, 0 left to 1 right: subjects stand near the middle."""
    return np.exp(-0.5 * ((places - 0.5) / 0.3) ** 2)


def _upper_part(places: Profile) -> Profile:
    """How much rows count, 0 top to 1 bottom: a cut head costs more than a cut hem."""
    return np.exp(-0.5 * (np.maximum(places - 0.35, 0.0) / 0.3) ** 2)


def _best_offset(detail: Profile, share: float, prior: Callable[[Profile], Profile]) -> float:
    """Where the window of that share of the length begins that holds most weighted detail: 0 to 1 − share."""
    weights = detail * prior((np.arange(detail.size) + 0.5) / detail.size)
    window = max(1, min(detail.size, round(share * detail.size)))
    sums = np.convolve(weights, np.ones(window), mode="valid")
    return float(np.argmax(sums)) / detail.size


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
