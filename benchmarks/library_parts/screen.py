"""The library's screen over 100,000 pictures: from a key to the drawn page, at 200x50 cells and half blocks.

The rows come by SQL; each thumbnail is a file of its own on the disk (a link to one of forty crops of real
photographs, 614x768), so that every page is read, decoded and encoded. Pilot's app has no terminal and never
turns a frame into what one is sent, so this one has: its last byte counts. A page counts as drawn with the
first frame in which all its tiles show their own picture. Keys come one by one, 0.15 s after the page
before, as from somebody who looks; `held` comes as soon as the page before is drawn.

Beside them stand an empty SELECT 1 in a session of its own, and the time of the CPU for each key: this
process's, threads included, without PostgreSQL's. That one hardly moves where others use the machine as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from textual.drivers.headless_driver import HeadlessDriver

from report import Figure

if TYPE_CHECKING:
    from textual.driver import Driver

    from persona_tui.database.engine import Database
    from persona_tui.screens.clusters import ClustersScreen
    from persona_tui.settings import Settings

sys.path[:0] = [str(Path(__file__).parents[2])]

ROWS = Path(__file__).with_suffix(".sql")
SIZE = (200, 50)
LOOKING = 0.15
CROPS = 40


def figures(quick: bool) -> Iterator[Figure]:
    """Measure."""
    count, presses = (10_000, 30) if quick else (100_000, 200)
    with tempfile.TemporaryDirectory(prefix="persona-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield from asyncio.run(_measure(folder, count, presses))


class Frames:
    """What the terminal of a benchmark is sent."""

    def __init__(self) -> None:
        self.sent, self.last = 0, 0.0
        self._came = asyncio.Event()

    def driver(self) -> type[Driver]:
        """A terminal of 16 million colours that takes everything at once."""
        frames = self

        class Terminal(HeadlessDriver):
            @property
            def is_headless(self) -> bool:
                return False

            def write(self, data: str) -> None:
                frames.sent, frames.last = frames.sent + len(data), time.perf_counter()
                frames._came.set()

        return Terminal

    async def until(self, so: Callable[[], bool]) -> float:
        """Wait for the first frame at whose end something is so; returns when it was sent."""
        deadline = time.perf_counter() + 30
        while True:
            self._came.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), 1)
            if so():
                return self.last
            if time.perf_counter() > deadline:
                raise SystemExit("The page was not drawn within 30 seconds.")


FRAMES = Frames()


async def _measure(folder: Path, count: int, presses: int) -> list[Figure]:
    from persona_tui.database.engine import open_database
    from persona_tui.database.migrate import upgrade
    from persona_tui.settings import Settings

    database = open_database(Settings(data_dir=folder / "data", environment="sandbox", database_url=None))
    try:
        upgrade(database, backup_dir=None, keep=1)
        load(database, count)
        async with library(database, folder, count) as (screen, opened):
            return [
                Figure(f"library of {count:,}: key to first page", opened, "ms"),
                Figure("SELECT 1 in a session, p95", p95([ask(database) for _ in range(100)]), "ms"),
                *await turn_pages(screen, presses),
                Figure("pictures read around the cursor", len(screen.loaded.pictures), "pictures", "<=", 600),
                *await walk_about(screen, presses // 2),
            ]
    finally:
        database.dispose()


@asynccontextmanager
async def library(
    database: Database, folder: Path, count: int
) -> AsyncIterator[tuple[ClustersScreen, float]]:
    """The screen over a library that is there already, and the milliseconds until its first page."""
    os.environ |= {"COLORTERM": "truecolor", "TERM": "xterm-256color"}
    from tests.ui.quiet_core import QuietCore, app_over
    from tests.ui.support import settle

    core = QuietCore(database, folder)
    if not (core.settings.media_dir / "thumbnails").exists():
        make_thumbnails(core.settings, count)
    app = app_over(core)
    app.driver_class = FRAMES.driver()
    async with app.run_test(size=SIZE, headless=False) as pilot:
        await settle(pilot)
        began = time.perf_counter()
        await pilot.press("f7")
        ready = await FRAMES.until(lambda: app.current_mode == "clusters")
        screen: ClustersScreen = app.screen  # type: ignore[assignment]
        if not (screen.loaded.pages and screen.grid.drawn):
            ready = await FRAMES.until(lambda: bool(screen.loaded.pages) and screen.grid.drawn)
        await settle(pilot)
        yield screen, 1000 * (ready - began)


def ask(database: Database) -> float:
    """Milliseconds of the least that a session can ask."""
    from sqlalchemy import text

    began = time.perf_counter()
    with database.session_scope() as session:
        session.execute(text("SELECT 1")).all()
    return milliseconds(began)


async def turn_pages(screen: ClustersScreen, presses: int) -> list[Figure]:
    """PgDn with and without a look at each page, then PgUp, End and Home."""
    screen.grid.focus()
    cpu = time.process_time()
    looked = [await press(screen, "pagedown", LOOKING) for _ in range(presses)]
    cpu = 1000 * (time.process_time() - cpu) / presses
    back = [await press(screen, "pageup", LOOKING) for _ in range(presses // 4)]
    held = [await press(screen, "pagedown", 0.0) for _ in range(presses)]
    ends = [await press(screen, key, LOOKING) for _ in range(presses // 10) for key in ("end", "home")]
    return [
        Figure("key to drawn page, p95", p95(looked + back), "ms", "<=", 80),
        Figure("key to drawn page, median", statistics.median(looked + back), "ms"),
        Figure("CPU time per key", cpu, "ms"),
        Figure("key to drawn page, held, p95", p95(held), "ms"),
        Figure("End and Home to drawn page, p95", p95(ends), "ms"),
    ]


async def walk_about(screen: ClustersScreen, presses: int) -> list[Figure]:
    """From shelf to shelf in the tree, and filters by key."""
    screen.shelves.focus()
    shelves = [
        await press(screen, key, LOOKING) for key in ["down"] * min(presses, len(screen.shelves.items) - 2)
    ]
    screen.shelves.action_first()
    await asyncio.sleep(0.5)
    chips = [await press(screen, "2", LOOKING) for _ in range(min(presses, 40))]
    return [
        Figure("key to another shelf's page, p95", p95(shelves), "ms"),
        Figure("key to a filtered page, p95", p95(chips), "ms"),
    ]


async def press(screen: ClustersScreen, key: str, pause: float) -> float:
    """Milliseconds from a key to the page that it brings."""
    await asyncio.sleep(pause)
    shown, pages = screen.grid.shown, screen.loaded.pages

    def moved() -> bool:
        """Another page, or another reading: another filter may leave the first picture as it was."""
        now = screen.loaded.pages
        return bool(now) and (screen.grid.shown != shown or not pages or now[0] is not pages[0])

    began = time.perf_counter()
    screen.app.simulate_key(key)
    drawn = await FRAMES.until(lambda: moved() and screen.grid.drawn)
    return 1000 * (drawn - began)


def load(database: Database, count: int) -> None:
    """Insert everything, and let the planner know what is there, as autovacuum would."""
    with database.connect("owner", autocommit=True) as connection:
        connection.execute(ROWS.read_text().replace(":count", str(count)).encode())
        connection.execute("VACUUM ANALYZE")


def make_thumbnails(settings: Settings, count: int) -> None:
    """A file for each picture, where the media store looks for its thumbnail."""
    folder = settings.media_dir / "thumbnails"
    folder.mkdir(parents=True)
    crops = list(_crops(folder))
    for number in range(1, count + 1):
        sha256 = hashlib.sha256(str(number).encode()).hexdigest()
        place = folder / sha256[:2] / f"{sha256}.jpg"
        place.parent.mkdir(exist_ok=True)
        os.link(crops[number % CROPS], place)


def _crops(folder: Path) -> Iterator[Path]:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    chance = random.Random(7)
    photographs = [Image.fromarray(one) for one in load_sample_images().images]
    for number in range(CROPS):
        whole = photographs[number % len(photographs)]
        left, top = chance.randrange(whole.width - 340), chance.randrange(whole.height - 425)
        crop = whole.crop((left, top, left + 340, top + 425)).resize((614, 768))
        path = folder / f"crop-{number}.jpg"
        crop.save(path, "JPEG", quality=88)
        yield path


def milliseconds(began: float) -> float:
    """Since `began`, of `perf_counter`."""
    return 1000 * (time.perf_counter() - began)


def p95(values: list[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return statistics.quantiles(values, n=20)[-1]
