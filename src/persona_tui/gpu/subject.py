"""Whom a picture shows, cut out of its background: for drawn characters, whose face no detector sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 128
"""Longest side of the copy that is searched."""
_COLOURS = 6
"""That a background is taken to have."""
_LEAST, _MOST = 0.04, 0.75
"""Share of the picture that a subject fills; beyond it nothing was told apart."""
_WHOLE = 0.6
"""Of all that is no background, that one figure has; less is a part of it, or one of several."""
_NOISE = 20.0
"""Distance in RGB up to which colours are one."""
_GREY = 128
"""Of all that is not the subject, in what is compared."""
_MARGIN = 0.04

Mask = NDArray[np.bool_]


def subject_mask(picture: Image.Image) -> Mask:
    """Where the subject is, (h, w) of a copy that is at most 128 pixels a side.

    Background is what has the colours of the left, right and upper edges and hangs together with them; the
    subject is the largest figure in what is left, near the middle. Where that is none, as before a busy
    background, it is an ellipse in the middle.
    """
    from scipy import ndimage

    copy = picture.convert("RGB")
    copy.thumbnail((_SIDE, _SIDE), Image.Resampling.BOX)
    differs, usual = _difference_from_edges(np.asarray(copy, np.float32))
    height, width = differs.shape
    rows, columns = np.mgrid[0:height, 0:width]
    across, down = (columns + 0.5) / width - 0.5, (rows + 0.5) / height - 0.5
    alike, _ = ndimage.label(differs <= usual)
    edges = np.unique(np.concatenate([alike[0], alike[:, 0], alike[:, -1]]))
    rest = ~np.isin(alike, edges[edges > 0])
    labels, count = ndimage.label(ndimage.binary_opening(ndimage.binary_closing(rest, iterations=1)))
    if count:
        near = np.exp(-(across**2 + down**2) / 0.18)
        sizes = ndimage.sum_labels(near, labels, np.arange(1, count + 1))
        found = ndimage.binary_fill_holes(labels == 1 + int(np.argmax(sizes)))
        share = float(found.mean())
        if _LEAST <= share <= _MOST and share >= _WHOLE * float(rest.mean()):
            return np.asarray(found, np.bool_)
    return np.asarray((across / 0.32) ** 2 + (down / 0.46) ** 2 <= 1, np.bool_)


def cut_out(picture: Image.Image) -> Image.Image:
    """The subject alone on grey, square: what is compared, so that backgrounds are not."""
    mask = subject_mask(picture)
    height, width = mask.shape
    shown = Image.fromarray((mask * 255).astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
    plain = Image.new("RGB", picture.size, (_GREY,) * 3)
    alone = Image.composite(picture.convert("RGB"), plain, shown)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, right = (float(side) / width * picture.width for side in (columns[0], columns[-1] + 1))
    top, bottom = (float(side) / height * picture.height for side in (rows[0], rows[-1] + 1))
    side = max(right - left, bottom - top) * (1 + 2 * _MARGIN)
    middle = ((left + right) / 2, (top + bottom) / 2)
    square = Image.new("RGB", (max(1, round(side)),) * 2, (_GREY,) * 3)
    square.paste(alone, (round(side / 2 - middle[0]), round(side / 2 - middle[1])))
    return square


def _difference_from_edges(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """How far each pixel's colour is from the nearest of the edges', and how far it usually is at the edges.

    The lower edge is left out: it often cuts the subject.
    """
    from sklearn.cluster import KMeans

    sides = (pixels[:2], pixels[:, :2], pixels[:, -2:])
    edge = np.concatenate([side.reshape(-1, 3) for side in sides])
    distinct = len(np.unique(edge, axis=0))
    means = KMeans(min(_COLOURS, distinct), n_init=1, random_state=0).fit(edge).cluster_centers_
    centres = means.astype(np.float32)
    apart: NDArray[np.float32] = np.linalg.norm(pixels[:, :, None, :] - centres, axis=3).min(axis=2)
    own = np.linalg.norm(edge[:, None, :] - centres, axis=2).min(axis=1)
    return apart, max(_NOISE, 1.2 * float(np.percentile(own, 98)))
