"""Winners: the three best pictures of every run, the newest run first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content

from persona_tui.screens import gallery_acts, runs_data
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.runs_picture import RunPicture
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.marks import counted, dim
from persona_tui.widgets.viewer import ViewedPicture, ViewerDialog

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.generation.podium import Placed, Podium
    from persona_tui.services.media import MediaStore

MEDALS = ("🥇", "🥈", "🥉")
PICTURE_ACTS = frozenset({"copy", "winner", "outside"})


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list: a picture, or a run that is still voted on.

    Attributes:
        placed: None where the ranking is not told.
    """

    podium: Podium
    placed: Placed | None

    @property
    def key(self) -> tuple[int, int]:
        """What it stands for, the same after each reading."""
        return self.podium.run_id, self.placed.candidate_id if self.placed is not None else 0


class WinnersScreen(PersonaScreen):
    """The best pictures of the persona's runs, with those of one run side by side."""

    SCOPE = "winners"
    TITLE = "Winners"
    HELP = (
        "The three best pictures of every run, of its last step that has any: 🥇 🥈 🥉, the newest run "
        "first. A winner that you chose stands first whatever its rating. Where votes are still open, who "
        "leads is hidden until you ask. Enter shows a picture as large as the terminal."
    )
    TOPICS = frozenset({"run", "candidate", "vote"})
    CSS_PATH = "winners.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._podiums: Sequence[Podium] = ()
        self._revealed = False

    def compose_body(self) -> ComposeResult:
        with Vertical(id="winners"):
            columns = [
                Column("Run", share=3),
                Column("", 2),
                Column("Picture", share=2),
                Column("Rating", 6, align="right"),
                Column("Votes", 5, align="right"),
            ]
            yield DataList(columns, self._cells, key=lambda row: row.key, id="places")
            with Horizontal(id="podium"):
                for medal in MEDALS:
                    yield RunPicture(medal)
        yield EmptyState(
            "No winners yet.\nRuns make pictures, and your votes rank them.", "global.runs", icon="🏆"
        )

    def on_mount(self) -> None:
        self._list.focus()

    @property
    def _list(self) -> DataList[Row]:
        found: DataList[Row] = self.query_one("#places", DataList)
        return found

    @property
    def _media(self) -> MediaStore:
        return self.shell.core.resources.media

    async def reload(self) -> None:
        self._podiums = await self.read(_read, self.shell.persona_id)
        self.set_class(not self._podiums, "-empty")
        self._show_rows()

    def _show_rows(self) -> None:
        self._list.show([row for podium in self._podiums for row in self._rows(podium)])
        self.refresh_bindings()

    def _rows(self, podium: Podium) -> list[Row]:
        if not podium.decided and not self._revealed:
            return [Row(podium, None)]
        return [Row(podium, placed) for placed in podium.places]

    def _cells(self, row: Row) -> list[Cell]:
        podium, placed = row.podium, row.placed
        if placed is None:
            name = Content.styled(podium.run, "bold") + dim(f"  {podium.step}")
            return [name, Content.styled("◆ ", "$section"), _open_words(podium), dim("?"), ""]
        first = placed.place == 1
        name = Content.styled(podium.run, "bold") + dim(f"  {podium.step}") if first else Content.empty()
        won = Content.styled("  winner", "$section") if placed.winner else Content.empty()
        votes = dim(str(placed.votes))
        rating = Content.styled(str(placed.elo_score), "$section")
        return [
            name,
            MEDALS[placed.place - 1],
            Content(f"picture {placed.candidate_id}") + won,
            rating,
            votes,
        ]

    # The pictures

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        self.spawn(partial(self._show_podium, event.item), group="podium", exclusive=True, quiet=True)
        self.refresh_bindings()

    async def _show_podium(self, row: Row) -> None:
        shown = row.podium.places if row.placed is not None else ()
        files = await self.read(_files, self._media, shown)
        for place, pane in enumerate(self.query(RunPicture)):
            pane.display = place < len(shown)
            if place < len(shown):
                placed = shown[place]
                here = "▸ " if placed == row.placed else ""
                pane.show_file(files[place], f"{here}{MEDALS[place]} picture {placed.candidate_id}")
        self.query_one("#podium").set_class(not shown, "-hidden")

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        row: Row = event.item
        if row.placed is None:
            self.action_ratings()
            return
        viewed = [
            ViewedPicture(one.media_key, one.sha256, f"{MEDALS[one.place - 1]} picture {one.candidate_id}")
            for one in row.podium.places
        ]
        self.app.push_screen(ViewerDialog(self._media, viewed, row.placed.place - 1))

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        row = self._list.current if self.is_mounted else None
        if action in PICTURE_ACTS:
            return row is not None and row.placed is not None
        if action == "gallery":
            return row is not None
        if action == "ratings":
            return any(not podium.decided for podium in self._podiums)
        return super().check_action(action, parameters)

    def action_copy(self) -> None:
        placed = self._placed
        if placed is not None:
            path = gallery_acts.original(self, placed.media_key)
            self.app.copy_to_clipboard(str(path))
            self.flash(f"Copied: {path}")

    def action_outside(self) -> None:
        placed = self._placed
        if placed is not None:
            gallery_acts.show_outside(self, placed.media_key)

    @property
    def _placed(self) -> Placed | None:
        """The picture under the cursor."""
        row = self._list.current
        return row.placed if row is not None else None

    def action_winner(self) -> None:
        self.spawn(self._make_winner, group="ask", exclusive=True)

    async def _make_winner(self) -> None:
        row = self._list.current
        if row is None or row.placed is None:
            return
        before = next((one.candidate_id for one in row.podium.places if one.winner), None)
        await gallery_acts.make_winner(self, before, row.placed.candidate_id)

    async def action_gallery(self) -> None:
        row = self._list.current
        if row is None:
            return
        target = {"run_id": row.podium.run_id}
        if row.placed is not None:
            target["candidate_id"] = row.placed.candidate_id
        await self.shell.go_to("gallery", **target)

    def action_ratings(self) -> None:
        self._revealed = not self._revealed
        self._show_rows()
        self.flash(
            "All rankings are shown." if self._revealed else "What is voted on is hidden again.", "info"
        )


def _open_words(podium: Podium) -> Content:
    return dim(f"{counted(podium.pictures, 'picture')}, votes open")


def _read(session: Session, persona_id: int | None) -> Sequence[Podium]:
    from persona_tui.services.generation.podium import podiums

    return podiums(session, persona_id)


def _files(_session: Session, media: MediaStore, places: Sequence[Placed]) -> list[Path | None]:
    return [runs_data.thumbnail(media, placed.media_key, placed.sha256) for placed in places]
