"""Opening the app: only on a terminal that can show it, after asking the terminal what it can do."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persona_tui.settings import Settings


def open_app(protocol: str | None = None) -> None:
    """Run the app on this terminal until the operator leaves.

    Raises:
        NotATerminal: standard input or output is no terminal, or a dumb one.
        SettingsError: a setting can't be used.
    """
    _require_terminal()
    from persona_tui.settings import load_settings

    if protocol is not None:
        os.environ["PERSONA_TERMINAL__PROTOCOL"] = protocol
    sys.exit(_run(load_settings()))


def open_demo() -> None:
    """Run the app on the sample persona and the sandbox.

    Raises:
        NotATerminal: as `open_app`.
        PersonaError: the sandbox or the database does not start.
    """
    _require_terminal()
    from persona_tui.cli.frame import note
    from persona_tui.headless.demo import demo_world

    with demo_world(note) as settings:
        code = _run(settings)
    sys.exit(code)


def _run(settings: Settings) -> int:
    # Collecting garbage is a seventh of the time to the first frame, when nearly all is kept anyway.
    gc.disable()
    from persona_tui.terminal.hang_up import unwind_on_signals
    from persona_tui.terminal.probe import probe

    capabilities = probe(sys.stdin.fileno(), sys.stdout.fileno())
    from persona_tui.app import PersonaApp

    app = PersonaApp(settings, capabilities=capabilities)
    try:
        app.run()
    finally:
        unwind_on_signals()  # the app's loop heard them meanwhile
    return app.return_code or 0


def _require_terminal() -> None:
    from persona_tui.errors import NotATerminal

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NotATerminal(
            "The app needs a terminal, and this is none.",
            hint="Use a command such as `persona-tui post list --json`, or `persona-tui scheduler`.",
        )
    if os.environ.get("TERM", "dumb") == "dumb":
        raise NotATerminal(
            "TERM says that this terminal can't show the app.", hint="Set TERM, e.g. TERM=xterm-256color."
        )
