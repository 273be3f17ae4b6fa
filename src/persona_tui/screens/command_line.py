"""The command line that `:` opens: names of views and actions, completed while typing."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from persona_tui.actions import GLOBAL, MODES, SIDE_VIEWS
from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.legend import Legend
from persona_tui.widgets.shell import Shell

SUGGESTIONS = 8


@dataclass(frozen=True, slots=True)
class Command:
    """Something that can be typed.

    Attributes:
        word: what is typed.
        help: shown beside it.
        action: name of the action it stands for.
    """

    word: str
    help: str
    action: str


class CommandLine(Dialog[str]):
    """One line at the bottom with suggestions above it; the result is an action's name.

    Args:
        commands: what can be typed.
    """

    SCOPE = "command"

    DEFAULT_CSS = """
    CommandLine { align: left bottom; background: transparent; }
    CommandLine > #frame {
        width: 100%; max-width: 100%; padding: 0; background: $surface;
        border: none; border-top: heavy $title;
    }
    CommandLine #line { height: 1; }
    CommandLine #line > Static { width: 2; color: $title; text-style: bold; }
    CommandLine #line > Input { width: 1fr; }
    CommandLine > #frame > Legend { margin-top: 0; }
    """

    def __init__(self, commands: list[Command]) -> None:
        super().__init__("")
        self._commands = commands
        self._cursor = 0
        self._found: list[Command] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="frame"):
            yield Static(id="suggestions")
            with Horizontal(id="line"):
                yield Static(":")
                yield Input(compact=True)
            yield Legend(self.SCOPE)

    def on_mount(self) -> None:
        self._suggest("")

    def on_input_changed(self, event: Input.Changed) -> None:
        self._cursor = 0
        self._suggest(event.value)

    def on_input_submitted(self) -> None:
        self.action_run()

    def _suggest(self, typed: str) -> None:
        self._found = matching(self._commands, typed)
        self._show()

    def _show(self) -> None:
        top = max(0, self._cursor - SUGGESTIONS + 1)
        lines = [
            _suggestion(command, marked=index == self._cursor)
            for index, command in enumerate(self._found)
            if top <= index < top + SUGGESTIONS
        ]
        self.query_one("#suggestions", Static).update(
            Content("\n").join(lines) if lines else Content.styled("  nothing goes by that name", "$warning")
        )

    def _move(self, step: int) -> None:
        if self._found:
            self._cursor = (self._cursor + step) % len(self._found)
            self._show()

    def action_up(self) -> None:
        self._move(-1)

    def action_down(self) -> None:
        self._move(1)

    def action_complete(self) -> None:
        if self._found:
            line = self.query_one(Input)
            line.value = self._found[self._cursor].word
            line.cursor_position = len(line.value)

    def action_run(self) -> None:
        typed = self.query_one(Input).value.strip()
        if self._found and (typed or self._cursor):
            self.dismiss(self._found[self._cursor].action)
        elif not typed:
            self.dismiss(None)

    def action_cancel(self) -> None:
        self.dismiss(None)


def commands_of(shell: Shell) -> list[Command]:
    """What can be typed now: every view by its names, and the actions that the palette offers."""
    commands = [
        Command(word, mode.help, f"{GLOBAL}.{mode.name}")
        for mode in (*MODES, *SIDE_VIEWS)
        for word in (mode.name, *mode.aliases)
    ]
    views = {command.action for command in commands}
    return commands + [
        Command(action.name, action.help, action.name)
        for action in shell.offered()
        if action.name not in views
    ]


def matching(commands: list[Command], typed: str) -> list[Command]:
    """The commands that start with what was typed, then those that contain it."""
    wanted = typed.strip().casefold()
    starting = [command for command in commands if command.word.startswith(wanted)]
    containing = [command for command in commands if wanted in command.word and command not in starting]
    return starting + containing


def _suggestion(command: Command, *, marked: bool) -> Content:
    style = "bold $title" if marked else ""
    pointer = "▸ " if marked else "  "
    return Content.assemble((f"{pointer}{command.word:<20}", style), (f" {command.help}", "$dim"))
