"""What stands in place of a view while the core starts, or when it could not."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from persona_tui.errors import PersonaError
from persona_tui.widgets.failsafe import shell_of
from persona_tui.widgets.shell import CoreState


class CoreNotice(Widget):
    """`starting…`, or what failed, what to do and the key to try again."""

    DEFAULT_CSS = """
    CoreNotice { width: 1fr; height: 1fr; content-align: center middle; text-align: center; padding: 0 4; }
    """

    def on_mount(self) -> None:
        for name in ("core_state", "core_step"):
            self.watch(self.app, name, self._changed, init=False)

    def _changed(self) -> None:
        self.refresh()

    def render(self) -> Content:
        shell = shell_of(self)
        if shell.core_state is not CoreState.FAILED:
            step = shell.core_step or "Database, workers and schedule come up."
            return Content.assemble(("starting…\n", "$title bold"), (step, "$dim"))
        error = shell.core_error
        title, message, hint = _in_words(error)
        key = shell.registry.label("global.retry")
        return Content.assemble(
            (f"❌ {title}\n\n", "$error bold"),
            (f"{message}\n", ""),
            (f"{hint}\n\n", "$dim"),
            ("Press ", "$dim"),
            (f"[{key}]", "$title bold"),
            (" to try again", "$dim"),
        )


def _in_words(error: Exception | None) -> tuple[str, str, str]:
    if isinstance(error, PersonaError):
        return error.title, error.message, error.hint
    return "Could not start", "Something unforeseen happened.", "The log has the details (Jobs & logs)."
