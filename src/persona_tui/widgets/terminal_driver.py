"""Textual's driver over a terminal that may go away while it is written to."""

from __future__ import annotations

from contextlib import suppress
from io import TextIOWrapper
from typing import IO, Any, cast

from textual.drivers.linux_driver import LinuxDriver

from persona_tui.terminal.textual_bridge import PictureFrames, Pictures, install_reply_filter


class TerminalDriver(LinuxDriver):
    """Goes on where the terminal is lost, so that the app can end.

    Textual's writer ends at the first error. Once its queue of 30 is full, as behind a link that had stalled,
    the app would wait for it for ever and hear no signal.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert self._file is not None
        self._file = cast("TextIOWrapper", _Forgiving(self._file))

    @property
    def _pictures(self) -> Pictures | None:
        return self._app.pictures if isinstance(self._app, PictureFrames) else None

    def start_application_mode(self) -> None:
        install_reply_filter()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        if self._pictures is not None:
            self._pictures.open()

    def stop_application_mode(self) -> None:
        """The pictures are freed first: they belong to the screen that the terminal is about to leave."""
        if self._pictures is not None:
            self.write(self._pictures.close())
        super().stop_application_mode()


class _Forgiving:
    """A terminal as a file; what can't be written is dropped."""

    def __init__(self, terminal: IO[str]) -> None:
        self._terminal = terminal

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._terminal.flush()

    def fileno(self) -> int:
        return self._terminal.fileno()
