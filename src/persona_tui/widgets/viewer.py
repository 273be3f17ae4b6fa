"""Pictures one at a time, as large as the terminal."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.marks import say
from persona_tui.widgets.picture import PicturePane

Point = tuple[float, float]
"""Shares of a picture's width and height, 0 to 1."""
MIDDLE: Point = (0.5, 0.5)
PAN = 0.1
"""Share of the picture that one key press moves it by, at 100 %."""


class Pictured(Protocol):
    """A picture of the media store."""

    @property
    def media_key(self) -> str: ...
    @property
    def sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class ViewedPicture:
    """A picture of the media store.

    Attributes:
        media_key: of the original.
        sha256: of the original; names the thumbnail.
        label: what it is, in a few words.
    """

    media_key: str
    sha256: str
    label: str


class PictureStore(Protocol):
    """What of a media store the viewer needs."""

    def thumbnail(self, media_key: str, sha256: str) -> Path: ...
    def path(self, media_key: str) -> Path | None: ...
    def get(self, media_key: str) -> bytes: ...


class ViewerDialog(Dialog[int]):
    """Shows one picture of several; the result is the index of the last one shown.

    Args:
        media: where the pictures are.
        pictures: at least one.
        index: the first one shown.
        zoomed: begin at 100 % of the picture's own pixels.
    """

    SCOPE = "viewer"
    DEFAULT_CSS = """
    ViewerDialog { background: $background; }
    ViewerDialog > #frame { width: 100%; max-width: 100%; height: 100%; max-height: 100%; padding: 0 1; }
    ViewerDialog #caption { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    ViewerDialog > #frame > Legend { margin-top: 0; }
    """

    def __init__(
        self,
        media: PictureStore,
        pictures: Sequence[ViewedPicture],
        index: int = 0,
        *,
        zoomed: bool = False,
    ) -> None:
        super().__init__("Picture")
        self._media = media
        self._pictures = tuple(pictures)
        self._index = index
        self._centre: Point | None = MIDDLE if zoomed else None

    def compose_content(self) -> ComposeResult:
        yield PicturePane()
        yield Static("", id="caption", markup=False)

    def on_mount(self) -> None:
        self._show()

    def _show(self) -> None:
        self.spawn(self._load, group="picture", exclusive=True, quiet=True)

    async def _load(self) -> None:
        picture = self._pictures[self._index]
        place = f"  {self._index + 1} of {len(self._pictures)}" if len(self._pictures) > 1 else ""
        zoomed = "" if self._centre is None else "  at 100 %"
        caption = Content.assemble(picture.label, (place, "$dim"), (zoomed, "$section"))
        self.query_one("#caption", Static).update(caption)
        pane = self.query_one(PicturePane)
        try:
            source = await asyncio.to_thread(source_of, self._media, picture, self._centre is not None)
        except PersonaError as problem:
            pane.show(None, problem.message)
            return
        pane.zoom = self._centre
        pane.show(source, picture.label, keep=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "pan":
            return self._centre is not None
        return super().check_action(action, parameters)

    def action_zoom(self) -> None:
        self._centre = MIDDLE if self._centre is None else None
        self.refresh_bindings()
        self._show()

    def action_pan(self, across: int, down: int) -> None:
        if self._centre is not None:
            pane = self.query_one(PicturePane)
            pane.zoom = moved(self._centre, across, down)
            self._centre = pane.zoom

    def _step(self, by: int) -> None:
        self._index = (self._index + by) % len(self._pictures)
        self._show()

    def action_previous(self) -> None:
        self._step(-1)

    def action_next(self) -> None:
        self._step(1)

    def action_close(self) -> None:
        self.dismiss(self._index)

    def action_outside(self) -> None:
        caption = self.query_one("#caption", Static)
        path = self._media.path(self._pictures[self._index].media_key)
        try:
            if path is None:
                raise NotAllowedNow("The original lies in a bucket.", hint="Copy it from there.")
            open_outside(path)
        except NotAllowedNow as problem:
            caption.update(say("warn", f"{problem.message} {problem.hint}"))
        else:
            caption.update(say("ok", f"Opened outside: {path}"))


def moved(centre: Point, across: int, down: int) -> Point:
    """The centre of what is seen at 100 %, some steps to the right and down."""
    x, y = centre
    return min(max(x + PAN * across, 0.0), 1.0), min(max(y + PAN * down, 0.0), 1.0)


def source_of(media: PictureStore, picture: Pictured, original: bool) -> Path | bytes:
    """What a pane shows of a picture: its thumbnail, or for 100 % the original.

    Raises:
        StorageError: the file is gone.
    """
    if not original:
        return media.thumbnail(picture.media_key, picture.sha256)
    path = media.path(picture.media_key)
    return path if path is not None and path.exists() else media.get(picture.media_key)


def open_outside(path: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Open a file in the desktop's own viewer, which outlives this program.

    Raises:
        NotAllowedNow: there is no desktop here, as over SSH; the hint names the file.
    """
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    desktop = sys.platform == "darwin" or environ.get("WAYLAND_DISPLAY") or environ.get("DISPLAY")
    program = shutil.which(opener, path=environ.get("PATH"))
    if not desktop or program is None:
        raise NotAllowedNow("There is no desktop here that could open it.", hint=f"The file is {path}.")
    subprocess.Popen(
        [program, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=dict(environ),
    )
