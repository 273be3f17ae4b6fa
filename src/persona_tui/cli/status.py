"""`persona-tui doctor` and `persona-tui settings`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, group, show

if TYPE_CHECKING:
    from pydantic import BaseModel

    from persona_tui.services.doctor import Check

settings_commands = group("The effective settings.")

ICONS = {"ok": "✅", "warn": "⚠️ ", "fail": "❌", "off": "ℹ️ "}


def doctor(
    check: Annotated[
        bool, typer.Option("--check", help="For a timer: start nothing, exit 1 when something fails.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is well and what is not."""
    from persona_tui.resources import prepare_process
    from persona_tui.setting_rows import masked_values
    from persona_tui.settings import load_settings

    settings = load_settings()
    start = settings.data_dir.exists() and not check
    if start:
        prepare_process(settings)
    checks = _examined(settings, start)
    show({"checks": checks, "settings": masked_values(settings)}, as_json, lambda: _lines(checks))
    if any(found.state == "fail" for found in checks) and (check or as_json is False):
        raise typer.Exit(1)


def _examined(settings: Any, start: bool) -> list[Check]:
    """All checks; the database is started for them only where that is meant."""
    from persona_tui.database.engine import open_database
    from persona_tui.errors import PersonaError
    from persona_tui.services.doctor import run_checks

    try:
        database = open_database(settings, start=start)
    except PersonaError as problem:
        return run_checks(settings, None, database_problem=problem)
    try:
        return run_checks(settings, database)
    finally:
        database.dispose()


def _lines(checks: list[Check]) -> Iterator[str]:
    for found in checks:
        yield f"{ICONS[found.state]} {found.name}: {found.sentence}"
        if found.hint:
            yield f"     {found.hint}"


@settings_commands.command("show")
def settings_show(as_json: AsJson = False) -> None:
    """Every setting with its value, where it comes from, and what it is for; secrets are masked."""
    from persona_tui.setting_rows import masked_values
    from persona_tui.settings import config_file, load_settings

    settings = load_settings()
    show(
        masked_values(settings),
        as_json,
        lambda: [f"# {config_file()} and PERSONA_* variables", *_explained(settings)],
    )


@settings_commands.command("path")
def settings_path() -> None:
    """Where the settings file is read from."""
    from persona_tui.settings import config_file

    print(config_file())


def _explained(settings: BaseModel) -> Iterator[str]:
    from persona_tui.setting_rows import setting_rows

    for row in setting_rows(settings):
        yield f"# {row.about}" if row.origin == "default" else f"# {row.about} ({row.origin})"
        yield f"PERSONA_{row.name.replace('.', '__').upper()} = {row.value}"


@settings_commands.callback()
def _group() -> None:
    """What counts, and where to change it."""
