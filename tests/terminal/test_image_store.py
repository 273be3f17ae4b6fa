"""Two hundred pictures through a budget of fifty, counted at the terminal's side."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from io import BytesIO

from PIL import Image

from persona_tui.terminal.fences import QUERY, Fences
from persona_tui.terminal.image_store import Encoded, ImageStore, Stored
from persona_tui.terminal.layer import Size
from tests.terminal.decoders import KittyTerminal

SIDE = 64
DECODED = SIDE * SIDE * 4


class Line:
    """A terminal that acknowledges a moment later, and notes the most that it ever held."""

    def __init__(self, budget: int, *, answers: bool = True) -> None:
        self.terminal = KittyTerminal()
        self.fences = Fences(timeout=0.05 if not answers else 5.0)
        self.placed: set[int] = set()
        self.most = self.longest = 0
        self.answers = answers
        self.store = ImageStore(self.write, self.fences, self.placed.__contains__, budget)

    def write(self, text: str) -> None:
        self.longest = max(self.longest, len(text))
        self.terminal.feed(text.replace(QUERY, ""))
        self.most = max(self.most, sum(DECODED for _ in self.terminal.images))
        if QUERY in text and self.answers:
            asyncio.get_running_loop().call_soon(self.fences.answer)


def encoded(number: int, noise: bool = False) -> Encoded:
    image = Image.new("RGB", (SIDE, SIDE), (number % 256, 7, 9))
    if noise:
        image = Image.frombytes("RGB", (256, 256), random.Random(number).randbytes(256 * 256 * 3))
    file = BytesIO()
    image.save(file, "PNG")
    return Encoded(file.getvalue(), Size(SIDE, SIDE), Size(SIDE, SIDE))


async def show(line: Line, number: int) -> Stored:
    stored = await line.store.fetch(number, partial(encoded, number))
    assert stored is not None
    return stored


async def test_two_hundred_pictures_never_exceed_the_budget_and_leave_nothing() -> None:
    line = Line(50 * DECODED)
    for number in range(0, 200, 2):
        pair = [await show(line, number), await show(line, number + 1)]
        line.placed.clear()
        line.placed.update(stored.image_id for stored in pair)
        assert all(stored.image_id in line.terminal.images for stored in pair)
    assert line.most == line.store.used == 50 * DECODED
    assert line.terminal.replies == []
    line.write(line.store.close())
    assert line.terminal.images == {}


async def test_the_least_recently_shown_goes_first_and_never_one_on_the_screen() -> None:
    line = Line(3 * DECODED)
    first = await show(line, 0)
    for number in (1, 2):
        await show(line, number)
    line.placed.add(first.image_id)
    assert line.store.ready(1) is not None
    await show(line, 3)
    assert line.store.ready(2) is None
    assert line.store.ready(0) is not None and line.store.ready(1) is not None


async def test_there_are_never_more_pictures_than_names() -> None:
    line = Line(50 * DECODED)
    names = range(16, 20)
    line.store = ImageStore(line.write, line.fences, line.placed.__contains__, 50 * DECODED, names)
    for number in range(10):
        stored = await show(line, number)
        assert stored.image_id in names and stored.image_id in line.terminal.images
    assert set(line.terminal.images) == set(names)


async def test_what_is_prepared_does_not_drive_out_what_is_needed_sooner() -> None:
    line = Line(4 * DECODED)
    await show(line, 0)
    fetched = [await line.store.fetch(n, partial(encoded, n), ahead=True) for n in range(1, 9)]
    assert [stored is not None for stored in fetched] == [True, True, True] + [False] * 5


async def test_a_picture_that_is_to_be_seen_goes_before_those_ahead() -> None:
    line = Line(50 * DECODED)
    order: list[int] = []

    def noted(number: int) -> Encoded:
        order.append(number)
        return encoded(number)

    ahead = [asyncio.create_task(line.store.fetch(n, partial(noted, n), ahead=True)) for n in range(5)]
    await asyncio.sleep(0)
    await line.store.fetch(9, partial(noted, 9))
    await asyncio.gather(*ahead)
    assert order.index(9) <= 1


async def test_nobody_waits_for_a_picture_that_was_given_up() -> None:
    line = Line(50 * DECODED)
    made: list[int] = []

    def noted(number: int) -> Encoded:
        made.append(number)
        return encoded(number)

    tasks = [asyncio.create_task(line.store.fetch(n, partial(noted, n), ahead=True)) for n in range(5)]
    await asyncio.sleep(0)
    for task in tasks[2:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await show(line, 8)
    assert set(made) == {0, 1}


async def test_blocks_are_small_and_a_suspension_in_the_middle_spoils_nothing() -> None:
    line = Line(50 * DECODED, answers=False)
    upload = asyncio.create_task(line.store.fetch("big", partial(encoded, 5, noise=True)))
    while not line.longest:
        await asyncio.sleep(0.01)
    line.write(line.store.close())
    line.terminal = KittyTerminal()  # what another program left
    await asyncio.sleep(0.1)
    line.store.open()
    stored = await upload
    assert stored is not None and set(line.terminal.images) == {stored.image_id}
    assert line.longest <= 65_536
