"""One question with two answers."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.failsafe import shell_of


class _Answers(Widget):
    """The two answers side by side; the marked one is taken by Enter."""

    DEFAULT_CSS = "_Answers { height: 1; margin-top: 1; }"

    yes: reactive[bool] = reactive(True)

    def __init__(self, words: tuple[str, str], scope: str, *, yes: bool, dangerous: bool) -> None:
        super().__init__()
        self._scope = scope
        self._words = words
        self._yes_style = "$error" if dangerous else "$success"
        self.set_reactive(_Answers.yes, yes)

    def render(self) -> Content:
        registry = shell_of(self).registry
        answers = zip(("yes", "no"), self._words, (self.yes, not self.yes), strict=True)
        parts = []
        for answer, word, marked in answers:
            colour = self._yes_style if answer == "yes" else "$title"
            style = f"bold reverse {colour}" if marked else colour
            pointer = "▸" if marked else " "
            key = registry.label(f"{self._scope}.{answer}")
            parts.append(Content.styled(f"{pointer} [{key}] {word} ", style))
        return Content("   ").join(parts)


class ConfirmDialog(Dialog[bool]):
    """Asks once before something that can't be undone, or before leaving.

    Args:
        question: what would be done, as a question.
        consequence: what follows from it, in dim words.
        title: in the border.
        yes: the word on the answer that does it, such as `Delete`.
        no: the word on the answer that does not.
        dangerous: red frame, and Enter means no.
    """

    SCOPE = "confirm"

    DEFAULT_CSS = "ConfirmDialog #question { margin-bottom: 0; } ConfirmDialog #consequence { color: $dim; }"

    def __init__(
        self,
        question: str,
        consequence: str = "",
        *,
        title: str = "Are you sure?",
        yes: str = "Yes",
        no: str = "No",
        dangerous: bool = False,
    ) -> None:
        super().__init__(title, dangerous=dangerous)
        self._question = question
        self._consequence = consequence
        self._words = (yes, no)
        self._dangerous = dangerous

    def compose_content(self) -> ComposeResult:
        yield Static(self._question, id="question", markup=False)
        if self._consequence:
            yield Static(self._consequence, id="consequence", markup=False)
        yield _Answers(self._words, self.SCOPE, yes=not self._dangerous, dangerous=self._dangerous)

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_no(self) -> None:
        self.dismiss(False)

    def action_cancel(self) -> None:
        self.dismiss(False)

    def action_switch(self) -> None:
        answers = self.query_one(_Answers)
        answers.yes = not answers.yes

    def action_take(self) -> None:
        self.dismiss(self.query_one(_Answers).yes)
