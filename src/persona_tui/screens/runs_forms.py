"""The questions of the runs view: the approval of a step, the winner, the end of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from persona_tui.errors import PersonaError
from persona_tui.screens import runs_lines
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import IntegerField
from persona_tui.widgets.form import FormDialog, Values
from persona_tui.widgets.marks import counted, say

if TYPE_CHECKING:
    from persona_tui.services.generation.gates import GatePreview
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunView

Submit = Callable[[Values], Awaitable[object]]


class ApproveDialog(FormDialog):
    """Asks how many pictures go on, and shows what that would do.

    Args:
        step: the step that waits.
        following: name of the step that works on them.
        preview: asks the gate what K pictures would mean.
        submit: approves with the value `k`.
        k: proposed at first; by default as many as the run says.
    """

    DEFAULT_CSS = "ApproveDialog #preview { height: auto; margin-top: 1; }"

    def __init__(
        self,
        step: RunStepView,
        following: str,
        preview: Callable[[int], Awaitable[GatePreview]],
        submit: Submit,
        k: int | None = None,
    ) -> None:
        how_many = IntegerField(
            name="k",
            label="How many go on",
            value=min(k or step.top_k, step.active),
            required=True,
            minimum=1,
            maximum=step.active,
            hint=f"1 to {step.active}.",
        )
        super().__init__(f"Approve step {step.position}, {step.name}", [how_many], submit=submit)
        self._following = following
        self._preview = preview

    def compose_content(self) -> ComposeResult:
        yield from super().compose_content()
        yield Static("", id="preview", markup=False)

    def on_input_changed(self, _event: Input.Changed) -> None:
        row = self.rows[0]
        try:
            wanted = row.field.read(row.raw())
        except ValueError as problem:
            self._show(say("warn", str(problem)))
        else:
            self.spawn(partial(self._look, wanted), group="preview", exclusive=True, quiet=True)

    async def _look(self, wanted: int) -> None:
        try:
            found = await self._preview(wanted)
        except PersonaError as problem:
            self._show(say("error", problem.message))
        else:
            self._show(Content("\n").join(list(runs_lines.gate_lines(found, self._following))))

    def _show(self, words: Content) -> None:
        self.query_one("#preview", Static).update(words)


def winner_question(preview: GatePreview) -> ConfirmDialog:
    """Asks whether the leading picture of the last step wins."""
    leader = preview.members[0]
    votes = counted(leader.votes, "vote")
    warnings = " ".join(preview.warnings)
    return ConfirmDialog(
        f"Picture {leader.candidate_id} leads with a rating of {leader.elo_score} ({votes}). Let it win?",
        f"{warnings} It becomes a draft post.".strip(),
        title="Choose the winner",
        yes="It wins",
        no="Not yet",
    )


def cancel_question(run: RunView) -> ConfirmDialog:
    """Asks whether a run is to end."""
    return ConfirmDialog(
        f"Cancel “{run.name}”?",
        "Its jobs are taken off the servers and no winner comes of it; its pictures stay.",
        title="Cancel the run",
        yes="Cancel the run",
        no="Keep it",
        dangerous=True,
    )
