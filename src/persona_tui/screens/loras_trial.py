"""What came of a trial of one LoRA, or of two: both pictures side by side, and what the server said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.marks import dim, say
from persona_tui.widgets.picture import PicturePane

if TYPE_CHECKING:
    from persona_tui.services.generation.lora_trial import Trial


class TrialDialog(Dialog[None]):
    """The two pictures in one, the LoRA that is tried on the right.

    Args:
        trial: what came of it.
        sheet: both pictures as one PNG.
    """

    SCOPE = "reader"

    DEFAULT_CSS = """
    TrialDialog > #frame { width: 96%; height: 92%; }
    TrialDialog PicturePane { height: 1fr; }
    TrialDialog #verdict { height: auto; margin-top: 1; }
    """

    def __init__(self, trial: Trial, sheet: bytes) -> None:
        beside = trial.plan.beside
        title = f"Test of {trial.plan.lora.label}"
        super().__init__(title if beside is None else f"{beside.label} and {trial.plan.lora.label}")
        self._trial = trial
        self._sheet = sheet

    def compose_content(self) -> ComposeResult:
        yield PicturePane("both pictures")
        yield Static(Content("\n").join([*self._lines()]), id="verdict", markup=False)

    def on_mount(self) -> None:
        self.query_one(PicturePane).show(self._sheet, ", ".join(self._sides()))

    def _sides(self) -> tuple[str, str]:
        plan = self._trial.plan
        return f"left: {plan.left_words}", f"right: with {plan.lora.words}"

    def _lines(self) -> list[Content]:
        trial = self._trial
        who = trial.plan.lora.words if trial.plan.beside is None else "The other LoRA"
        changed = f"{who} changes the picture by {trial.difference:g} of 255 on average."
        lines = [dim(f"{'    '.join(self._sides())}    seed {trial.plan.seed}")]
        lines.append(say("ok" if trial.difference else "error", changed))
        return [*lines, *(say("warn", sentence) for sentence in trial.sentences)]

    def action_up(self) -> None:
        """Nothing scrolls here."""

    action_down = action_page_up = action_page_down = action_up

    def action_close(self) -> None:
        self.dismiss(None)
