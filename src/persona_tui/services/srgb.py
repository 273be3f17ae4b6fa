"""Any picture that Pillow holds, brought to eight-bit sRGB without alpha."""

from __future__ import annotations

import functools
import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_STRIP = 64
"""Rows that are scaled at once: whole, a large 16-bit picture would take thirty times its own memory."""


def to_srgb(picture: Image.Image, notes: list[str]) -> Image.Image:
    """Eight-bit sRGB without alpha; transparent parts become white."""
    profile = picture.info.get("icc_profile")
    flat = _eight_bit(picture, notes)
    alpha = flat.getchannel("A") if flat.mode in {"LA", "RGBA"} else None
    base = flat.convert(flat.mode[:-1]) if alpha is not None else flat
    rgb = _through_profile(base, profile, notes)
    if alpha is not None and alpha.getextrema() != (255, 255):
        white = Image.new("RGB", rgb.size, "white")
        white.paste(rgb, mask=alpha)
        rgb = white
        notes.append("Filled transparent parts with white.")
    rgb.info.clear()  # Pillow writes a comment found there into the file
    return rgb


def _eight_bit(picture: Image.Image, notes: list[str]) -> Image.Image:
    """One of the modes L, LA, RGB, RGBA, CMYK, LAB."""
    mode = picture.mode
    if mode.startswith(("I", "F")):
        notes.append("Reduced to 8 bits a channel.")
        return _grey(picture)
    if mode in {"RGBa", "La"}:  # premultiplied: there is but one way back
        return picture.convert({"RGBa": "RGBA", "La": "LA"}[mode])
    if picture.has_transparency_data:
        return picture.convert("LA" if mode in {"1", "L", "LA"} else "RGBA")
    if mode in {"L", "RGB", "CMYK", "LAB"}:
        return picture
    return picture.convert("L" if mode == "1" else "RGB")


def _grey(picture: Image.Image) -> Image.Image:
    """An L picture of one with integer or float samples, by the smallest usual range that holds them."""
    samples = np.asarray(picture)
    strips = [slice(row, row + _STRIP) for row in range(0, samples.shape[0], _STRIP)]
    low = min(float(_finite(samples[strip]).min()) for strip in strips)
    high = max(float(_finite(samples[strip]).max()) for strip in strips)
    ranges = (65535.0,) if picture.mode.startswith("I;16") else (255.0, 65535.0)
    if picture.mode == "F":
        ranges = (1.0, *ranges)
    base, top = 0.0, next((limit for limit in ranges if low >= 0 and high <= limit), None)
    if top is None:
        base, top = low, max(high - low, 1.0)
    grey = np.empty(samples.shape, np.uint8)
    for strip in strips:
        grey[strip] = np.rint((_finite(samples[strip]) - base) * (255.0 / top))
    return Image.fromarray(grey)


def _finite(samples: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    return np.nan_to_num(samples.astype(np.float64), posinf=0.0, neginf=0.0)


def _through_profile(picture: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """RGB of a picture in L, RGB, CMYK or LAB, by its own profile where that fits its mode."""
    if profile:
        try:
            return _by_own_profile(picture, profile, notes)
        except (ImageCms.PyCMSError, OSError, ValueError):
            notes.append("Took the colours as they are: the colour profile in the file can't be used.")
    if picture.mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        return _transform(picture, lab)
    if picture.mode == "CMYK":
        notes.append("Converted from CMYK without a profile.")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _by_own_profile(picture: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _PROFILE_MODES.get(own.profile.xcolor_space.strip())
    if mode == "RGB" and picture.mode == "L":
        picture = picture.convert("RGB")
    if mode != picture.mode:
        raise ValueError("the profile is for another kind of picture")
    name = ImageCms.getProfileDescription(own).strip()
    if "sRGB" in name and mode == "RGB":
        return picture
    converted = _transform(picture, own)
    notes.append(f"Converted from the profile of a {mode} picture to sRGB.")
    return converted


def _transform(picture: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(
        picture,
        source,
        ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile())),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if converted is None:
        raise ValueError("no conversion was made")
    return converted


@functools.cache
def srgb_profile() -> bytes:
    """LittleCMS's sRGB profile with its creation date fixed, so that the same picture gives the same file."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = b"".join(part.to_bytes(2) for part in (2000, 1, 1, 0, 0, 0))  # ICC.1, 7.2.10
    return bytes(profile)
