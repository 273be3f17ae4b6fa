"""Keys take effect in the order in which they were struck, however fast they come.

Textual gives a key to the focused widget at once and lets what the widget does not use bubble to the app,
message queue by message queue. Letters that come in one burst with Backspace, Tab or Enter (fast typing over
a slow link) would so overtake them. Here the next key waits until the one before has done all it does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from textual.events import Event, InputEvent, Key, Paste
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.widgets import Input, TextArea
from textual.worker import Worker

if TYPE_CHECKING:
    from textual.app import App

    Node = App[None]
else:
    Node = object

WAITING_GROUPS = frozenset(
    {"ask", "choose", "close", "command", "go", "leave", "persona", "pipeline", "save"}
)
"""Groups of the workers that open or close a dialog, change a form or go elsewhere: the next key is meant for
what they bring."""
LONGEST_WORK = 1.0
"""Seconds that keys wait for such a worker at most, so that Esc is heard while a server does not answer."""
LONGEST_HANDLING = 5.0
"""Seconds that keys wait for a key at most, whatever it does: nothing may take the keyboard away for good."""


class KeysInOrder(Node):
    """Mixed into the app: hands over one key at a time, and what else comes in behind it."""

    _behind: deque[Event]
    _settling: asyncio.Task[None] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._behind = deque()
        self._settling = None
        self._let_go: WeakSet[Worker[Any]] = WeakSet()

    async def on_event(self, event: Event) -> None:
        """Give a key to its widget, or keep it until the one before has been handled."""
        if event.is_forwarded or not isinstance(event, InputEvent | Paste):
            await super().on_event(event)
        elif self._settling is not None:
            self._behind.append(event)
        else:
            await self._hand_over(event)

    async def _hand_over(self, event: Event) -> None:
        if not isinstance(event, Key | Paste):
            await super().on_event(event)
            return
        screen = self.screen if self.screen_stack else None
        focused = screen.focused if screen else None
        try:
            await super().on_event(event)
            while _is_text(event, focused) and self._behind and _is_text(self._behind[0], self.focused):
                event = self._behind.popleft()  # letters can't overtake each other; a long paste is not slow
                await super().on_event(event)
        finally:
            ahead = self._handled(event, focused or screen or self, screen)
            self._settling = asyncio.create_task(self._go_on_after(ahead), name="key order")

    async def _go_on_after(self, ahead: Coroutine[Any, Any, None]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_HANDLING):
                await ahead
        self.call_later(self._hand_over_next)

    async def _hand_over_next(self) -> None:
        """Everything that came in meanwhile is in `_behind`, so it goes before what is in the app's queue."""
        self._settling = None
        while self._behind and self._settling is None:
            await self._hand_over(self._behind.popleft())

    async def _handled(self, event: Event, target: MessagePump, screen: Screen[Any] | None) -> None:
        if _is_text(event, target):
            await _pass(target)
            if event._stop_propagation:
                return  # it is written, and that is all
        # Once behind the key up to the app, which acts on it; once more behind what that set off.
        await _pass_through(target)
        await _pass_through(target)
        await self._work_done()
        if self.screen_stack and self.screen is not screen:
            await _pass_through(self.screen)  # it is composed, and its first field has the focus

    async def _work_done(self) -> None:
        """Wait for the workers that are about to open a dialog or to change what has the focus."""
        if not self._busy():
            return
        moved = asyncio.Event()
        self.screen_change_signal.subscribe(self, lambda _screen: moved.set(), immediate=True)
        try:
            async with asyncio.timeout(LONGEST_WORK):
                while busy := self._busy():
                    moved.clear()
                    # Never cancelled, for that would cancel the workers; they end when the workers do.
                    ends = [asyncio.create_task(_end_of(worker)) for worker in busy]
                    turned = asyncio.create_task(moved.wait())
                    try:
                        await asyncio.wait([turned, *ends], return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        turned.cancel()  # nobody else holds it: collected, it would be logged as an error
        except TimeoutError:
            self._let_go.update(self._busy())
        finally:
            self.screen_change_signal.unsubscribe(self)

    def _busy(self) -> list[Worker[Any]]:
        """Those of the workers that do something; each of the others waits for the answer of a dialog."""
        found = [
            worker
            for worker in self.workers
            if worker.group in WAITING_GROUPS and not worker.is_finished and worker not in self._let_go
        ]
        return found if len(found) > sum(screen.is_modal for screen in self.screen_stack) else []


def _is_text(event: Event, target: object) -> bool:
    """Whether it will be written into a field, and do nothing else."""
    if not isinstance(target, Input | TextArea):
        return False
    return isinstance(event, Paste) or (isinstance(event, Key) and event.is_printable)


async def _end_of(worker: Worker[Any]) -> None:
    """Its failure is told by the shell, not here."""
    with suppress(Exception):
        await worker.wait()


async def _pass_through(node: MessagePump) -> None:
    """Return when all has been handled that lies in the queues from a node up to the app."""
    path = [node]
    while path[-1]._parent is not None:
        path.append(path[-1]._parent)
    for pump in path:
        await _pass(pump)


async def _pass(pump: MessagePump) -> None:
    """Return when all has been handled that lies in this queue."""
    passed = asyncio.Event()
    if pump.call_later(passed.set):
        await passed.wait()
