"""The shell's own actions: heard everywhere, in lists and in dialogs."""

from __future__ import annotations

from persona_tui.actions.modes import MODES, SIDE_VIEWS
from persona_tui.actions.registry import GLOBAL, Action, Table

_GO = tuple(
    Action(
        f"{GLOBAL}.{mode.name}",
        mode.key,
        mode.title,
        f"Open the view: {mode.help[0].lower()}{mode.help[1:]}",
        in_footer=False,
        run=f"go('{mode.name}')",
    )
    for mode in (*MODES, *SIDE_VIEWS)
)

EVERYWHERE = Table(
    GLOBAL,
    "Everywhere",
    (
        *_GO,
        Action("global.back", "escape", "Back", "One step back: dialog, screen, last view, Dashboard.", 95),
        Action(
            "global.persona",
            "P",
            "Persona",
            "Choose the persona that all views show.",
            96,
            in_footer=False,
        ),
        Action("global.command", ":", "Go to", "Type the name of a view or of an action.", 97),
        Action("global.help", "?", "Help", "Explain this screen and list its keys.", 98),
        Action(
            "global.palette", "ctrl+p", "Palette", "Search every action.", in_footer=False, in_palette=False
        ),
        Action("global.reload", "ctrl+r", "Read again", "Read this screen's data again.", in_footer=False),
        Action(
            "global.retry",
            "ctrl+g",
            "Start again",
            "Try once more to start database, workers and schedule.",
            94,
        ),
        Action(
            "global.redraw",
            "ctrl+l",
            "Draw again",
            "Paint the whole screen and send all pictures again.",
            in_footer=False,
        ),
        Action("global.theme", "ctrl+t", "Dark or light", "Switch between the two themes.", in_footer=False),
        Action("global.quit", "q", "Quit", "Leave the app (from the Dashboard).", 94),
        Action(
            "global.leave",
            "ctrl+q,ctrl+c",
            "Quit from here",
            "Leave the app from any view; asks first.",
            in_footer=False,
        ),
        Action(
            "global.suspend",
            "ctrl+z",
            "To the shell",
            "Leave for the shell; fg comes back.",
            in_footer=False,
            run="suspend_process",
        ),
    ),
    kind="global",
)

LIST = Table(
    "list",
    "In lists",
    (
        Action("list.up", "up", "Up", "One row up.", in_footer=False, in_palette=False),
        Action("list.down", "down", "Down", "One row down.", in_footer=False, in_palette=False),
        Action("list.page-up", "pageup", "Page up", "One page up.", in_footer=False, in_palette=False),
        Action(
            "list.page-down", "pagedown", "Page down", "One page down.", in_footer=False, in_palette=False
        ),
        Action("list.first", "home", "First", "To the first row.", in_footer=False, in_palette=False),
        Action("list.last", "end", "Last", "To the last row.", in_footer=False, in_palette=False),
        Action("list.open", "enter", "Open", "Open the row.", in_footer=False, in_palette=False),
    ),
    kind="widget",
    holds=("marks",),
)

MARKS = Table(
    "marks",
    "In lists with marks",
    (Action("marks.mark", "space", "Mark", "Mark the row or take the mark away.", in_palette=False),),
    kind="widget",
)

CONFIRM = Table(
    "confirm",
    "Questions",
    (
        Action("confirm.yes", "y", "Yes", "Do it."),
        Action("confirm.no", "n", "No", "Leave things as they are."),
        Action("confirm.switch", "left,right,tab", "Switch", "Move to the other answer.", in_footer=False),
        Action("confirm.take", "enter", "Take", "Take the marked answer."),
        Action("confirm.cancel", "escape", "Back", "Leave things as they are."),
    ),
    kind="dialog",
)

FORM = Table(
    "form",
    "Forms",
    (
        Action("form.next", "enter", "Next", "To the next field; on the last one, save."),
        Action("form.down", "down", "Down", "To the field below.", in_footer=False, in_palette=False),
        Action("form.up", "up", "Up", "To the field above.", in_footer=False, in_palette=False),
        Action("form.save", "ctrl+s", "Save", "Save what the form holds."),
        Action("form.cancel", "escape", "Cancel", "Leave without saving; asks if something was typed."),
    ),
    kind="dialog",
    typing=True,
)

CYCLE = Table(
    "cycle",
    "Choices in forms",
    (
        Action("cycle.previous", "left", "Previous", "The choice before.", in_palette=False),
        Action("cycle.next", "right", "Next", "The choice after.", in_palette=False),
        Action("cycle.list", "space", "List", "Show all choices.", in_palette=False),
    ),
    kind="widget",
)

CHOICE = Table(
    "choice",
    "Choosing",
    (
        Action("choice.take", "enter", "Choose", "Take the marked row."),
        Action("choice.up", "up", "Up", "One row up.", in_footer=False),
        Action("choice.down", "down", "Down", "One row down.", in_footer=False),
        Action("choice.page-up", "pageup", "Page up", "One page up.", in_footer=False),
        Action("choice.page-down", "pagedown", "Page down", "One page down.", in_footer=False),
        Action("choice.cancel", "escape", "Back", "Choose nothing."),
    ),
    kind="dialog",
    typing=True,
)

FILES = Table(
    "files",
    "Choosing a file",
    (
        Action("files.take", "enter", "Choose", "Open the marked folder, or take the marked file."),
        Action("files.parent", "ctrl+up", "Up", "To the folder above."),
        Action("files.all", "ctrl+s", "All here", "Take every file of this folder and below."),
        Action("files.up", "up", "Up", "One row up.", in_footer=False),
        Action("files.down", "down", "Down", "One row down.", in_footer=False),
        Action("files.page-up", "pageup", "Page up", "One page up.", in_footer=False),
        Action("files.page-down", "pagedown", "Page down", "One page down.", in_footer=False),
        Action("files.cancel", "escape", "Back", "Choose nothing."),
    ),
    kind="dialog",
    typing=True,
)

READER = Table(
    "reader",
    "Reading",
    (
        Action("reader.up", "up", "Up", "One line up.", in_footer=False),
        Action("reader.down", "down", "Down", "One line down.", in_footer=False),
        Action("reader.page-up", "pageup", "Page up", "One page up.", in_footer=False),
        Action("reader.page-down", "pagedown,space", "Page down", "One page down."),
        Action("reader.close", "escape,enter,q", "Close", "Close the text."),
    ),
    kind="dialog",
)

COMMAND = Table(
    "command",
    "Command line",
    (
        Action("command.complete", "tab", "Complete", "Take the marked name."),
        Action("command.up", "up", "Up", "One suggestion up.", in_footer=False),
        Action("command.down", "down", "Down", "One suggestion down.", in_footer=False),
        Action("command.run", "enter", "Go", "Do it."),
        Action("command.cancel", "escape", "Back", "Close the command line."),
    ),
    kind="dialog",
    typing=True,
)

SHELL_TABLES = (EVERYWHERE, LIST, MARKS, CONFIRM, FORM, CYCLE, CHOICE, FILES, READER, COMMAND)
