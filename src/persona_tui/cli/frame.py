"""What all commands share: opening the resources, printing a result, one way to say what went wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.services.planning.personas import PersonaView

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
PersonaName = Annotated[str, typer.Argument(metavar="PERSONA", help="The persona's name.")]


class WordyGroup(TyperGroup):
    """A group whose help says the whole first sentence of each command, on as many lines as that takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(_WHOLE)) for name, one in found if one is not None]
            )


_WHOLE = 1000
"""Characters of help at which click would cut a sentence."""


def group(help_text: str) -> typer.Typer:
    """A group of commands with plain help."""
    return typer.Typer(
        cls=WordyGroup, help=help_text, no_args_is_help=True, rich_markup_mode=None, add_completion=False
    )


def note(sentence: str) -> None:
    """Say something beside the result, on stderr."""
    print(sentence, file=sys.stderr)


@contextmanager
def resources() -> Iterator[Resources]:
    """Settings, database and all else that a command needs."""
    from persona_tui.resources import Resources
    from persona_tui.settings import load_settings

    with Resources.open(load_settings()) as opened:
        yield opened


@contextmanager
def session() -> Iterator[Session]:
    """A session that commits at the end."""
    with resources() as opened, opened.database.session_scope() as opened_session:
        yield opened_session


def persona_of(opened: Session, name: str) -> PersonaView:
    """The persona by name."""
    from persona_tui.services.planning.personas import find_persona

    return find_persona(opened, name)


def show(value: Any, as_json: bool, lines: Callable[[], Iterable[str]] | None = None) -> None:
    """Print a result: JSON for programs, lines for people."""
    if as_json or lines is None:
        print(json.dumps(plain(value), ensure_ascii=False, default=str))
        return
    for line in lines():
        print(line)


def first_of(found: Sequence[Any], limit: int) -> Sequence[Any]:
    """The first so many of what was read, one more than that where there are more, which is said."""
    if len(found) > limit:
        note(f"ℹ️  There are more than these {limit}; --limit shows them.")
    return found[:limit]


def plain(value: Any) -> Any:
    """Dataclasses, tuples and moments as JSON knows them."""
    from dataclasses import fields, is_dataclass
    from datetime import date, datetime
    from decimal import Decimal
    from enum import Enum

    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Decimal):
        return float(value)
    return value


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Columns as wide as their content, for people; that there is nothing is said."""
    from rich.cells import cell_len

    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headers, *cells, strict=True)]
    for row in [list(headers), *cells]:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()
    if len(cells) == 0:
        yield "(none)"


def _cell(value: object) -> str:
    from datetime import datetime

    from persona_tui.text import clean

    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, float):
        return f"{value:g}"
    words = clean(str(value), keep_lines=False)
    return words if len(words) <= 60 else words[:59] + "…"


def require_consent(yes: bool, question: str, *, refusal: str) -> None:
    """Ask before what can't be undone; `--yes` answers beforehand.

    Raises:
        NotAllowedNow: nobody is there to ask.
        typer.Abort: the answer is no.
    """
    from persona_tui.errors import NotAllowedNow

    if yes:
        return
    if not sys.stdin.isatty():
        raise NotAllowedNow(
            f"{refusal}: nobody is there to ask.", hint="Say --yes to do it without a question."
        )
    typer.confirm(question, abort=True, err=True)
