"""The help for what is focused: what the screen is for, and every key that is heard."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from persona_tui.actions import Registry, Table


def help_text(about: str, registry: Registry, tables: Sequence[Table]) -> Content:
    """What `?` shows.

    Args:
        about: a few sentences on the screen.
        registry: for the keys as they are now.
        tables: the scopes that are heard, nearest first.
    """
    lines = [Content(about)] if about else []
    for table in tables:
        if not table.actions:
            continue
        lines += [Content(""), Content.styled(table.title.upper(), "$section bold")]
        lines += [Content.styled("─" * 40, "$rule")]
        lines += [_line(registry, table, index) for index in range(len(table.actions))]
    lines += [
        Content(""),
        Content.styled(
            "Rebind a key in config.toml under [keys]: the dim name = the key. "
            "Where a terminal keeps function keys for itself, type : and the view's name.",
            "$dim",
        ),
    ]
    return Content("\n").join(lines)


def _line(registry: Registry, table: Table, index: int) -> Content:
    action = table.actions[index]
    return Content.assemble(
        (f"{registry.labels(action.name):>10}  ", "$error" if action.dangerous else "$title bold"),
        (action.help, ""),
        (f"  {action.name}", "$dim"),
    )
