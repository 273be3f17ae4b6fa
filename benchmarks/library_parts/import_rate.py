"""Importing a folder beside the least that any import must do: read, hash, decode, one thumbnail.

Both take the same pictures in turn, block by block: a machine that is busy now and then is so for both.
Both decode JPEGs at the next larger eighth; the bare loop stores its thumbnails and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import skimage.data
from PIL import Image
from sqlmodel import Session

from generation_parts.studio import studio
from persona_tui.services.library.imports import Import, ImportPlan
from persona_tui.services.media import THUMBNAIL_SIDE, MediaStore
from persona_tui.services.planning.personas import PersonaInput, create_persona
from report import Figure

SIZE, LARGE_SIZE, LARGE_EVERY = (1600, 2000), (3000, 4000), 20
BLOCKS = 4
RATIO, MEMORY_MB, GROWTH = 0.8, 600, 1.1
NOISE = 6.0
"""Standard deviation of the noise, in levels of 255: it makes files as long as a camera's."""


def figures(quick: bool, keep: Path | None) -> Iterator[Figure]:
    """Rate beside the bare loop, and memory."""
    count = 100 if quick else 2000
    with tempfile.TemporaryDirectory(prefix="persona-import-") as made, studio() as world:
        folders = drawn(keep or Path(made), count)
        media = MediaStore(world.settings)
        with world.database.session_scope() as session:
            persona_id = someone(session)
        bare, ours, memory = 0.0, 0.0, []
        for number, folder in enumerate(folders):
            bare += timed_bare(folder, Path(made) / f"bare-{number}")
            with watched() as peak:
                began = time.perf_counter()
                outcomes = list(
                    Import(world.database.session_scope, media, ImportPlan(persona_id, folder, accept=True))
                )
                ours += time.perf_counter() - began
            memory.append(peak[0])
            assert {outcome.outcome for outcome in outcomes} == {"imported"}
    yield Figure("import_pictures_per_second", count / ours, "/s", baseline=count / bare)
    yield Figure("import_rate_to_bare_loop", bare / ours, "×", ">=", RATIO)
    yield Figure("import_memory_mb", max(memory), "MB", "<=", MEMORY_MB)
    yield Figure("import_memory_last_to_first_block", memory[-1] / memory[0], "×", "<=", GROWTH, full=True)


def someone(session: Session) -> int:
    """A persona to import for."""
    return create_persona(session, PersonaInput(name="Mira Vale", age=31)).id


def drawn(place: Path, count: int) -> list[Path]:
    """The pictures in folders of equal length, made where they are missing."""
    folders = [place / f"{count}-{block}" for block in range(BLOCKS)]
    for block, folder in enumerate(folders):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(block * count // BLOCKS, (block + 1) * count // BLOCKS):
            file = folder / f"{number:05}.jpg"
            if not file.exists():
                file.write_bytes(draw(number))
    return folders


def draw(number: int) -> bytes:
    """A crop of a sample photograph with noise, as a JPEG."""
    chance = np.random.default_rng(number)
    source = SOURCES[number % len(SOURCES)]
    share = chance.uniform(0.5, 1.0)
    height = int(share * source.height)
    width = min(int(height * 0.8), source.width)
    left, top = (int(chance.integers(0, room + 1)) for room in (source.width - width, source.height - height))
    size = LARGE_SIZE if number % LARGE_EVERY == 0 else SIZE
    large = source.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height))
    noise = np.roll(GRAIN, int(chance.integers(1 << 30)))[: size[1] * size[0]].reshape(size[1], size[0], 1)
    pixels = np.clip(np.asarray(large, dtype=np.int16) + noise, 0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def timed_bare(folder: Path, out: Path) -> float:
    """Seconds of the bare loop over a folder, on as many threads as an import has."""
    out.mkdir()
    files = sorted(folder.iterdir())
    began = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1) as threads:
        for _ in threads.map(lambda file: bare(file, out), files):
            pass
    return time.perf_counter() - began


def bare(file: Path, out: Path) -> None:
    """Read, hash, decode, one thumbnail."""
    data = file.read_bytes()
    name = hashlib.sha256(data).hexdigest()
    with Image.open(io.BytesIO(data)) as image:
        scale = THUMBNAIL_SIDE / max(image.size)
        image.draft(None, (round(image.width * scale), round(image.height * scale)))
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
        image.save(out / f"{name}.jpg", "JPEG", quality=88)


@contextmanager
def watched() -> Iterator[list[float]]:
    """The most memory, in MB, that this process and its children but PostgreSQL held at once."""
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        me = psutil.Process()
        while not over.wait(0.1):
            peak[0] = max(peak[0], sum(map(_resident, [me, *me.children(recursive=True)])) / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _resident(process: psutil.Process) -> int:
    try:
        return 0 if process.name().startswith("postgres") else process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0


SOURCES = [
    Image.fromarray(each()) for each in (skimage.data.astronaut, skimage.data.chelsea, skimage.data.coffee)
]
GRAIN = np.random.default_rng(1).normal(0, NOISE, LARGE_SIZE[0] * LARGE_SIZE[1]).astype(np.int16)
