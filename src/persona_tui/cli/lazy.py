"""A group whose commands are imported when they are called, so that `--help` stays quick."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup


class Entry(NamedTuple):
    """Where a command or group of commands is, and what `--help` says of it."""

    module: str
    attribute: str
    help: str


class LazyGroup(TyperGroup):
    """The top group; subclasses list its commands in `ENTRIES`."""

    ENTRIES: dict[str, Entry]

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the table."""
        return list(self.ENTRIES)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command."""
        entry = self.ENTRIES.get(cmd_name)
        if entry is None:
            return None
        found = getattr(import_module(entry.module), entry.attribute)
        if isinstance(found, typer.Typer):
            made = typer.main.get_command(found)
        else:
            lone = typer.Typer(rich_markup_mode=None, add_completion=False)
            lone.command(cmd_name)(found)
            made = typer.main.get_command(lone)
        made.name = cmd_name
        return made

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.ENTRIES.items()])
