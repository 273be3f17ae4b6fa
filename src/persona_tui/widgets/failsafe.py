"""No failure in a handler, a timer, a paint or a worker ends the app or shows a traceback."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from textual.events import Callback, Compose, DescendantFocus, Mount, Timer
from textual.message import Message
from textual.worker import Worker, WorkerState

from persona_tui.widgets.shell import Shell

if TYPE_CHECKING:
    from textual.dom import DOMNode as Node
else:
    Node = object

Work = Coroutine[Any, Any, Any] | Callable[[], Coroutine[Any, Any, Any]]

QUIET = "quiet"
"""Name of workers that nobody started by a key: their errors never open a dialog."""


@runtime_checkable
class _Blinking(Protocol):
    cursor_blink: bool


def shell_of(node: Node) -> Shell:
    """The app, with its own type."""
    app = node.app
    assert isinstance(app, Shell)
    return app


class Failsafe(Node):
    """Mixed into the app, every screen and every dialog."""

    async def _dispatch_message(self, message: Message) -> None:
        """Textual ends a node's message loop, and with it the app, when a handler raises."""
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            if isinstance(message, Compose | Mount) and isinstance(self, Shell):
                raise
            shell_of(self).report(error, quiet=isinstance(message, Callback | Timer))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """The one place where a worker's failure is told."""
        event.stop()
        if event.state in (WorkerState.ERROR, WorkerState.CANCELLED):
            shell_of(self).end_busy(event.worker)
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            shell_of(self).report(event.worker.error, quiet=event.worker.name == QUIET)

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """A blinking cursor never lets the line go quiet; over SSH it stands still."""
        if isinstance(event.widget, _Blinking):
            event.widget.cursor_blink = shell_of(self).moving

    def spawn(
        self, work: Work, *, group: str = "act", exclusive: bool = False, quiet: bool = False
    ) -> Worker[Any]:
        """Run something beside the message loop; its errors are told by the shell.

        Args:
            work: a coroutine, or better the function that makes one. It may wait for dialogs and
                for the database.
            group: workers of one group replace each other when `exclusive`.
            exclusive: cancel what runs in the group.
            quiet: nobody asked for it by a key, so its errors never open a dialog.
        """
        name = QUIET if quiet else group
        return self.run_worker(work, name=name, group=group, exclusive=exclusive, exit_on_error=False)
