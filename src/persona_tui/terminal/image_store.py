"""Pictures that a kitty terminal holds: sent ahead of need, kept under a budget, freed for real."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from itertools import cycle

from persona_tui.terminal import kitty
from persona_tui.terminal.fences import QUERY, Fences
from persona_tui.terminal.layer import Size

BUDGET = 200 * 2**20
"""Bytes of decoded pictures. kitty and Ghostty hold 320 MiB, and past that kitty throws out at once all that
are not on the screen."""
CHANNELS = 4
"""Bytes a pixel in the terminal's memory."""
IDS = range(1, 2**24)
"""Names that every terminal takes."""


@dataclass(frozen=True)
class Encoded:
    """A picture ready to be sent.

    Attributes:
        png: its data.
        size: as it is sent.
        own: of the picture in its file.
    """

    png: bytes
    size: Size
    own: Size


@dataclass
class Stored:
    """A picture that the terminal holds.

    Attributes:
        turn: in which it was last asked for.
    """

    image_id: int
    size: Size
    own: Size
    turn: int

    @property
    def decoded(self) -> int:
        """Bytes in the terminal's memory."""
        return self.size.width * self.size.height * CHANNELS


@dataclass(eq=False)
class _Job:
    key: Hashable
    encode: Callable[[], Encoded]
    urgent: bool
    result: asyncio.Future[Stored | None]
    waiters: int = 0
    begun: bool = False
    turn: int = field(default=0)


class ImageStore:
    """One upload at a time, in blocks that are each acknowledged, so that nothing waits long behind one.

    An upload that has begun is never broken off: the terminal would join its data with the next picture's.

    Args:
        write: puts a string on its way to the terminal, whole.
        fences: of the same terminal.
        in_use: whether a picture is on the screen, so that it must not be freed.
        budget: bytes of decoded pictures.
        ids: names for pictures; no more are held than there are.
        wrap: makes of graphics commands what is to be written, as inside a multiplexer.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        fences: Fences,
        in_use: Callable[[int], bool],
        budget: int = BUDGET,
        ids: range = IDS,
        wrap: Callable[[str], str] = str,
    ) -> None:
        self._write = write
        self._wrap = wrap
        self._fences = fences
        self._in_use = in_use
        self._budget = budget
        self._stored: OrderedDict[Hashable, Stored] = OrderedDict()
        self._jobs: list[_Job] = []
        self._most = len(ids)
        self._ids = cycle(ids)
        self._turn = 0
        self._world = 0
        self._uploading: int | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._runner: asyncio.Task[None] | None = None

    @property
    def used(self) -> int:
        """Bytes of decoded pictures that the terminal holds."""
        return sum(stored.decoded for stored in self._stored.values())

    def has(self, image_id: int) -> bool:
        """Whether the terminal has this picture; not counted as use."""
        return any(stored.image_id == image_id for stored in self._stored.values())

    def ready(self, key: Hashable, *, ahead: bool = False) -> Stored | None:
        """The picture, if the terminal has it.

        Args:
            ahead: it is not shown yet.
        """
        stored = self._stored.get(key)
        if stored is None:
            return None
        if not ahead:
            self._turn += 1
        stored.turn = self._turn
        self._stored.move_to_end(key)
        return stored

    async def fetch(
        self, key: Hashable, encode: Callable[[], Encoded], *, ahead: bool = False
    ) -> Stored | None:
        """The picture, when the terminal has it; None when there was no room for it ahead of need.

        Args:
            encode: makes its data; called in a thread, and not at all where nobody waits any more.
            ahead: it is not shown yet: it waits behind those that are, and displaces only what nobody has
                asked for since the last showing.

        Raises:
            Exception: whatever `encode` raised.
        """
        if stored := self.ready(key, ahead=ahead):
            return stored
        if not ahead:
            self._turn += 1
        job = self._job(key, encode, urgent=not ahead)
        job.waiters += 1
        try:
            return await asyncio.shield(job.result)
        finally:
            job.waiters -= 1
            if not job.waiters and not job.begun and job in self._jobs:
                self._jobs.remove(job)

    def _job(self, key: Hashable, encode: Callable[[], Encoded], *, urgent: bool) -> _Job:
        for job in self._jobs:
            if job.key == key:
                job.urgent |= urgent
                job.turn = self._turn
                return job
        job = _Job(key, encode, urgent, asyncio.get_running_loop().create_future(), turn=self._turn)
        job.result.add_done_callback(lambda result: result.cancelled() or result.exception())
        self._jobs.append(job)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="send pictures")
        return job

    async def _run(self) -> None:
        while self._jobs:
            job = next((job for job in self._jobs if job.urgent), self._jobs[0])
            job.begun = True
            try:
                stored = await self._send(job)
            except Exception as problem:
                job.result.set_exception(problem)
            else:
                job.result.set_result(stored)
            self._jobs.remove(job)

    async def _send(self, job: _Job) -> Stored | None:
        encoded = await asyncio.to_thread(job.encode)
        decoded = encoded.size.width * encoded.size.height * CHANNELS
        while True:
            await self._open.wait()
            if not self._make_room(decoded, ahead=not job.urgent):
                return None
            world, image_id = self._world, next(name for name in self._ids if not self.has(name))
            if await self._upload(image_id, encoded.png, world):
                stored = Stored(image_id, encoded.size, encoded.own, job.turn)
                self._stored[job.key] = stored
                return stored

    async def _upload(self, image_id: int, png: bytes, world: int) -> bool:
        """Whether the terminal has it now; not so where it lost everything meanwhile."""
        self._uploading = image_id
        for block in kitty.blocks(kitty.transmit(image_id, png), kitty.BLOCK - len(QUERY)):
            self._write(self._wrap(block) + QUERY)
            await self._fences.expect()
            if world != self._world:
                return False
        self._uploading = None
        return True

    def _make_room(self, decoded: int, *, ahead: bool) -> bool:
        excess, names = self.used + decoded - self._budget, self._most - len(self._stored)
        leaving = []
        for key, stored in self._stored.items():
            if excess <= 0 and names > 0:
                break
            if not self._in_use(stored.image_id) and not (ahead and stored.turn == self._turn):
                excess, names = excess - stored.decoded, names + 1
                leaving.append(key)
        if names <= 0 or (ahead and excess > 0):
            return False
        for key in leaving:
            self._write(self._wrap(kitty.free(self._stored.pop(key).image_id)))
        return True

    def lost(self, image_id: int) -> bool:
        """The terminal has thrown this picture out; tells whether it was one of ours."""
        keys = [key for key, stored in self._stored.items() if stored.image_id == image_id]
        for key in keys:
            del self._stored[key]
        return bool(keys)

    def close(self) -> str:
        """Send nothing until `open()`; returns the commands that free everything."""
        commands = [kitty.free(stored.image_id) for stored in self._stored.values()]
        if self._uploading is not None:
            commands = [kitty.abandon(), kitty.free(self._uploading), *commands]
        self._open.clear()
        self._forget()
        return self._wrap("".join(commands))

    def open(self) -> None:
        """The terminal takes pictures, and has none of ours."""
        self._forget()
        self._open.set()

    def _forget(self) -> None:
        self._stored.clear()
        self._uploading = None
        self._world += 1
        self._fences.clear()
