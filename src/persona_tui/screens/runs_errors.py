"""All that failed: what was said, when, where, what became of it, and what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from persona_tui.screens.runs_servers import host
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.marks import counted, dim

if TYPE_CHECKING:
    from persona_tui.services.generation.traces import JobFailure

PLACES = {
    "failed": ("✗ given up", "$error"),
    "open": ("◌ waits again", "$warning"),
    "busy": ("▶ tried again", "$title"),
    "filled": ("✅ made since", "$success"),
}
"""What became of the place of a failed job: icon, words and style."""


@dataclass(frozen=True)
class Whose:
    """What the list is about: one run, or all of them."""

    run_id: int | None
    title: str


Read = Callable[[int | None], Awaitable[Sequence["JobFailure"]]]


class TroubleDialog(Dialog[int]):
    """The failed jobs, the newest first; the result is the run that is to be tried again, or None.

    Args:
        run: the run under the cursor, if there is one.
        read: the failures of a run, or with None of all runs.
        zone: in which times are shown.
    """

    SCOPE = "trouble"
    DEFAULT_CSS = """
    TroubleDialog > #frame { width: 120; height: 92%; }
    TroubleDialog #sum { height: 1; margin-bottom: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    TroubleDialog DataList { height: 2fr; }
    TroubleDialog #words { height: 1fr; min-height: 5; margin-top: 1; scrollbar-size-vertical: 1; }
    TroubleDialog #words > Static { height: auto; }
    """

    def __init__(self, run: Whose, read: Read, zone: tzinfo) -> None:
        super().__init__("What failed")
        self._run = run
        self._read = read
        self._zone = zone
        self._all = run.run_id is None

    def compose_content(self) -> ComposeResult:
        yield Static(dim("Reading…"), id="sum", markup=False)
        yield DataList(
            [
                Column("When", 11),
                Column("Job", 6, align="right"),
                Column("Step", share=2),
                Column("Server", share=2, from_width=90),
                Column("Since then", 14),
            ],
            self._cells,
            key=lambda failure: failure.job_id,
            empty="🎉 Nothing failed.",
        )
        with VerticalScroll(id="words", can_focus=False):
            yield Static(markup=False)

    @property
    def _list(self) -> DataList[JobFailure]:
        return self.query_one(DataList)

    def on_mount(self) -> None:
        self._list.focus()
        self._reload()

    def _reload(self) -> None:
        self.spawn(self._fill, group="read", exclusive=True)

    async def _fill(self) -> None:
        failures = await self._read(None if self._all else self._run.run_id)
        given_up = sum(failure.given_up for failure in failures)
        words = Content.styled(counted(len(failures), "failed job"), "bold")
        words += dim(" of all runs" if self._all else f" of {self._run.title}")
        if given_up:
            words += Content.styled(f", {given_up} given up", "$error")
        self.query_one("#sum", Static).update(words)
        self._list.show(failures)
        if not failures:
            self._tell(Content.empty())

    def _cells(self, failure: JobFailure) -> list[Cell]:
        icon, style = PLACES[failure.place]
        step = f"{failure.position} {failure.step}"
        return [
            dim(f"{failure.at.astimezone(self._zone):%d %b %H:%M}"),
            str(failure.job_id),
            f"{step}, {failure.run}" if self._all else step,
            dim(host(failure.endpoint)),
            Content.styled(icon, style),
        ]

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        from persona_tui.services.generation.advice import advice

        failure: JobFailure = event.item
        self._tell(
            Content("\n").join(
                [
                    Content.assemble(("✗ ", "$error"), failure.words),
                    Content.assemble(("→ ", "$success"), (advice(failure.words), "$success")),
                    dim(f"job {failure.job_id} of run {failure.run_id}, {failure.run}"),
                ]
            )
        )

    def _tell(self, words: Content) -> None:
        self.query_one("#words > Static", Static).update(words)
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "retry":
            return self.is_mounted and self._list.current is not None
        if action == "everything":
            return self._run.run_id is not None
        return super().check_action(action, parameters)

    def action_retry(self) -> None:
        failure = self._list.current
        if failure is not None:
            self.dismiss(failure.run_id)

    def action_everything(self) -> None:
        self._all = not self._all
        self._reload()

    def action_close(self) -> None:
        self.dismiss(None)
