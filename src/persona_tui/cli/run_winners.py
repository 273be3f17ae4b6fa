"""`persona-tui run winners`: the three best pictures of every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, persona_of, plain, resources, show

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.generation.podium import Podium

MEDALS = ("🥇", "🥈", "🥉")


def add_to(commands: typer.Typer) -> None:
    """Put the command into the group `run`."""
    commands.command("winners")(winners)


def winners(
    persona: Annotated[str | None, typer.Option(help="Only this persona's runs.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many runs.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The three best pictures of every run, the newest run first; a winner you chose stands first."""
    from persona_tui.services.generation.podium import podiums

    with resources() as opened:
        with opened.database.session_scope() as session:
            whose = persona_of(session, persona).id if persona is not None else None
            found = podiums(session, whose, limit=limit)
        documents = [_with_paths(opened, podium) for podium in found]
    show(documents, as_json, lambda: _lines(documents))


def _with_paths(opened: Resources, podium: Podium) -> dict[str, Any]:
    document: dict[str, Any] = plain(podium)
    for place in document["places"]:
        path = opened.media.path(place["media_key"])
        place["path"] = str(path) if path is not None else None
    return document


def _lines(documents: Sequence[dict[str, Any]]) -> Iterator[str]:
    for run in documents:
        open_ = "" if run["decided"] else ", still voted on"
        yield f"run {run['run_id']}, {run['run']}: {run['step']}{open_}"
        for place in run["places"]:
            won = ", the winner" if place["winner"] else ""
            yield (
                f"  {MEDALS[place['place'] - 1]} picture {place['candidate_id']}{won}, rating"
                f" {place['elo_score']}, votes {place['votes']}: {place['path'] or place['media_key']}"
            )
    if not documents:
        yield "No run has pictures yet."
