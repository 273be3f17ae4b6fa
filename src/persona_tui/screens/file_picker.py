"""Choosing a file: a folder's entries with a line above them that filters, or takes a path."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from persona_tui.text import clean
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.marks import dim, say

MOST_ENTRIES = 5_000


@dataclass(frozen=True)
class Entry:
    """A folder, or a file of a wanted kind; `size` in bytes."""

    path: Path
    is_folder: bool
    size: int = 0
    name: str = ""


@dataclass(frozen=True)
class Listing:
    """What a folder holds, or why it can't be read."""

    folder: Path
    entries: tuple[Entry, ...]
    problem: str = ""


def list_folder(folder: Path, suffixes: Sequence[str]) -> Listing:
    """Folders and files with one of these suffixes, hidden ones left out; the folder above comes first."""
    above = [Entry(folder.parent, True, name="..")] if folder.parent != folder else []
    try:
        with os.scandir(folder) as found:
            kept = [entry for entry in found if not entry.name.startswith(".")][:MOST_ENTRIES]
        read = [made for entry in kept if (made := _entry(entry, suffixes)) is not None]
    except OSError as problem:
        words = (problem.strerror or "no reason given").lower()
        return Listing(folder, tuple(above), f"This folder can't be read: {words}.")
    read.sort(key=lambda entry: (not entry.is_folder, entry.name.casefold()))
    return Listing(folder, (*above, *read))


def _entry(found: os.DirEntry[str], suffixes: Sequence[str]) -> Entry | None:
    name = clean(found.name, keep_lines=False)
    try:
        if found.is_dir():
            return Entry(Path(found.path), True, name=name)
        if found.is_file() and found.name.lower().endswith(tuple(suffixes)):
            return Entry(Path(found.path), False, found.stat().st_size, name)
    except OSError:  # it went meanwhile, or is a link to nothing
        return None
    return None


class FolderMemory:
    """The folder in which something was last chosen, kept for the next start."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def recall(self) -> Path:
        """That folder, or the home folder."""
        with suppress(OSError, ValueError):
            told = Path(self._file.read_text("utf-8").strip())
            if told.is_absolute() and told.is_dir():
                return told
        return Path.home()

    def keep(self, folder: Path) -> None:
        """Note it; where it can't be written, nothing is lost but the convenience."""
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(str(folder), "utf-8")


class FilePicker(Dialog[Path]):
    """The result is a file, the folder all of whose files are wanted, or None.

    Args:
        title: in the border.
        start: the folder that is shown first.
        suffixes: of the files that are shown, in lower case.
    """

    SCOPE: ClassVar[str] = "files"

    DEFAULT_CSS = """
    FilePicker > #frame { width: 88; }
    FilePicker #folder { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    FilePicker Input { margin-bottom: 1; }
    FilePicker DataList { height: 14; }
    FilePicker #problem { height: auto; }
    """

    def __init__(self, title: str, start: Path, suffixes: Sequence[str]) -> None:
        super().__init__(title)
        self._suffixes = tuple(suffixes)
        self._listing = Listing(start, ())

    def compose_content(self) -> ComposeResult:
        yield Static("", id="folder", markup=False)
        yield Input(placeholder="type to filter, or a path", compact=True)
        entries: DataList[Entry] = DataList(
            [Column("", share=4), Column("", 12, align="right")],
            _cells,
            key=lambda entry: str(entry.path) + entry.name,
            empty=f"no folder and no {' or '.join(self._suffixes)} file here",
            classes="-active",
        )
        entries.can_focus = False
        # Above the list: below it a low terminal would cut it off.
        yield Static("", id="problem", markup=False)
        yield entries

    @property
    def folder(self) -> Path:
        """The folder that is shown."""
        return self._listing.folder

    @property
    def _list(self) -> DataList[Entry]:
        return self.query_one(DataList)

    @property
    def _typed(self) -> str:
        return self.query_one(Input).value.strip()

    def on_mount(self) -> None:
        self._go(self._listing.folder)

    def _go(self, folder: Path) -> None:
        self.spawn(partial(self._load, folder), group="files", exclusive=True, quiet=True)

    async def _load(self, folder: Path) -> None:
        self._listing = await asyncio.to_thread(list_folder, folder, self._suffixes)
        self.query_one(Input).value = ""
        self.query_one("#folder", Static).update(Content.styled(clean(str(folder), keep_lines=False), "bold"))
        self._tell(self._listing.problem)
        self._filter()

    def _tell(self, problem: str) -> None:
        self.query_one("#problem", Static).update(say("warn", problem) if problem else "")

    def _filter(self) -> None:
        words = "" if _is_path(self._typed) else self._typed
        wanted = words.casefold().split()
        self._list.show(
            [one for one in self._listing.entries if all(word in one.name.casefold() for word in wanted)]
        )

    def on_input_changed(self) -> None:
        self._filter()

    def on_input_submitted(self) -> None:
        self.action_take()

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        self._take(event.item)

    def action_take(self) -> None:
        if _is_path(self._typed):
            self._take_path(self._typed)
        elif (entry := self._list.current) is not None:
            self._take(entry)

    def _take(self, entry: Entry) -> None:
        if entry.is_folder:
            self._go(entry.path)
        else:
            self.dismiss(entry.path)

    def _take_path(self, typed: str) -> None:
        path = Path(typed).expanduser()
        path = path if path.is_absolute() else self.folder / path
        try:
            if path.is_dir():
                self._go(path.resolve())
            elif path.exists():
                self.dismiss(path)
            else:
                self._tell("There is nothing at this path.")
        except (OSError, ValueError, RuntimeError):
            self._tell("This path can't be read.")

    def action_parent(self) -> None:
        self._go(self.folder.parent)

    def action_all(self) -> None:
        if _is_path(self._typed):
            self._take_path(self._typed)
        else:
            self.dismiss(self.folder)

    def action_up(self) -> None:
        self._list.action_up()

    def action_down(self) -> None:
        self._list.action_down()

    def action_page_up(self) -> None:
        self._list.action_page_up()

    def action_page_down(self) -> None:
        self._list.action_page_down()

    def action_cancel(self) -> None:
        self.dismiss(None)


def _is_path(typed: str) -> bool:
    return "/" in typed or typed.startswith("~")


def _cells(entry: Entry) -> tuple[Content, Content]:
    if entry.is_folder:
        return Content.styled(f"{entry.name}/", "$title"), dim("")
    return Content(entry.name), dim(f"{entry.size / 1e6:.1f} MB")
