"""Asks the terminal whether it has come so far: it answers in order, after all that was written before."""

from __future__ import annotations

import asyncio
from collections import deque

QUERY = "\x1b[6n"
"""Where is the cursor? Every terminal answers, and Textual takes the answer out of the keys."""
TIMEOUT = 5.0
"""Seconds; what has not been answered by then is taken for done."""
FORGOTTEN = 60.0
"""Seconds after which an answer is no longer expected."""


class Fences:
    """The questions that wait for an answer, oldest first."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._open: deque[tuple[float, asyncio.Future[bool]]] = deque()

    def expect(self) -> asyncio.Future[bool]:
        """To be called where QUERY is written; the result tells whether the terminal answered in time."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bool] = loop.create_future()
        self._open.append((loop.time(), answered))
        timer = loop.call_later(self._timeout, _settle, answered, False)
        answered.add_done_callback(lambda _: timer.cancel())
        return answered

    def answer(self) -> None:
        """The terminal has answered the oldest question."""
        now = asyncio.get_running_loop().time()
        while self._open:
            asked, answered = self._open.popleft()
            if now - asked < FORGOTTEN:
                _settle(answered, True)
                return

    def clear(self) -> None:
        """No answer will come any more."""
        while self._open:
            _settle(self._open.popleft()[1], False)


def _settle(answered: asyncio.Future[bool], result: bool) -> None:
    if not answered.done():
        answered.set_result(result)
