"""Pictures decoded in threads, ahead of the model that reads them."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image, ImageOps

T = TypeVar("T")

Source = bytes | Path
"""An encoded picture, or where it lies."""

BATCH = 32
"""Pictures that a model reads at once."""
_AHEAD = 2 * BATCH
_MOST_THREADS = 8


@dataclass(frozen=True)
class Unreadable:
    """Stands for a picture that can't be decoded; the others of its batch go on."""

    problem: str


@dataclass(frozen=True)
class Batch(Generic[T]):
    """Prepared pictures with their places among all sources."""

    places: tuple[int, ...]
    prepared: tuple[T, ...]
    unreadable: tuple[tuple[int, Unreadable], ...]


def opened(source: Source) -> Image.Image:
    """A picture upright and in RGB.

    Raises:
        OSError, ValueError, SyntaxError: it can't be decoded.
    """
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def batches(sources: Sequence[Source], prepare: Callable[[Image.Image], T]) -> Iterator[Batch[T]]:
    """Batches of prepared pictures in the sources' order; the next ones are decoded while one is used.

    Args:
        prepare: makes of an RGB picture what the model takes; called in threads.
    """

    def read(source: Source) -> T | Unreadable:
        try:
            return prepare(opened(source))
        except FileNotFoundError:
            return Unreadable("The picture is gone.")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return Unreadable("That is no picture that can be read.")

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS), "decode") as threads:
        waiting: deque[Future[T | Unreadable]] = deque()
        todo = iter(sources)
        for first in range(0, len(sources), BATCH):
            waiting.extend(threads.submit(read, one) for one in islice(todo, BATCH + _AHEAD - len(waiting)))
            size = min(BATCH, len(sources) - first)
            read_ones = [waiting.popleft().result() for _ in range(size)]
            # Handed on only once the next ones are on their way.
            waiting.extend(threads.submit(read, one) for one in islice(todo, _AHEAD - len(waiting)))
            good = [(first + i, one) for i, one in enumerate(read_ones) if not isinstance(one, Unreadable)]
            bad = [(first + i, one) for i, one in enumerate(read_ones) if isinstance(one, Unreadable)]
            yield Batch(tuple(i for i, _ in good), tuple(one for _, one in good), tuple(bad))
