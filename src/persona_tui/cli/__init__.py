"""The command line: one thin front over the core.

Without arguments the app opens, and not even Typer is loaded before its first frame.
"""

from __future__ import annotations

import sys

from persona_tui.errors import PersonaError


def main() -> None:
    """The console script: exit 0 done, 1 failed, 2 wrong request, 128 and more: ended by a signal."""
    from persona_tui.terminal.hang_up import unwind_on_signals

    unwind_on_signals()
    try:
        _run()
    except PersonaError as problem:
        print(f"❌ {problem.title}: {problem.message}", file=sys.stderr)
        if problem.hint:
            print(f"   {problem.hint}", file=sys.stderr)
        sys.exit(problem.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as problem:
        _tell_unforeseen(problem)
        sys.exit(1)


def _run() -> None:
    if len(sys.argv) > 1:
        from persona_tui.cli.commands import app

        app()
    else:
        from persona_tui.cli.app import open_app

        open_app()


def _tell_unforeseen(problem: Exception) -> None:
    """A traceback goes to the log, never to the screen."""
    from persona_tui.logs import configure_logging
    from persona_tui.settings import load_settings

    try:
        log_file = load_settings().log_file
        configure_logging(log_file)
    except Exception:  # what failed may be what the log needs as well
        log_file = None
    import structlog

    if log_file is not None:
        structlog.get_logger("persona_tui.cli").error("unforeseen", exc_info=problem)
    print(f"❌ Something unforeseen failed ({type(problem).__name__}).", file=sys.stderr)
    print(f"   Details: {log_file or 'the log could not be written'}", file=sys.stderr)
