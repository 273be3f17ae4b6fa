"""What is done with photos that are there: look, caption, delete; one or many at a time."""

from __future__ import annotations

from typing import Annotated

import typer

from persona_tui.cli.frame import AsJson, PersonaName, persona_of, session, show

Ids = Annotated[list[int] | None, typer.Argument(metavar="[PHOTO]...", help="Numbers of photos.")]
Photo = Annotated[int, typer.Argument(metavar="PHOTO", help="Number of the photo.")]


def accept(
    persona: PersonaName,
    photos: Ids = None,
    every: Annotated[bool, typer.Option("--all", help="All that wait for a look.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let photos count: those that wait for a look, or were rejected."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.library import staging

    if bool(photos) == every:
        raise InvalidRequest("Which photos?", hint="Name their numbers, or say --all.")
    with session() as opened:
        persona_id = persona_of(opened, persona).id
        chosen = staging.staged_ids(opened, persona_id) if every else tuple(photos or ())
        done = staging.accept(opened, persona_id, chosen, actor="operator")
    show({"accepted": done}, as_json, lambda: [f"{done} accepted"])


def reject(
    persona: PersonaName,
    photos: Annotated[list[int], typer.Argument(metavar="PHOTO...", help="Numbers of photos.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Reject photos: they stay, and count nowhere."""
    from persona_tui.services.library import staging

    with session() as opened:
        done = staging.reject(opened, persona_of(opened, persona).id, photos, reason, actor="operator")
    show({"rejected": done}, as_json, lambda: [f"{done} rejected"])


def caption(
    persona: PersonaName,
    photo: Photo,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The caption; empty removes it.")],
    as_json: AsJson = False,
) -> None:
    """Write a photo's caption."""
    from persona_tui.services.library import staging

    with session() as opened:
        written = staging.write_caption(opened, persona_of(opened, persona).id, photo, text, actor="operator")
    show({"photo": photo, "caption": written}, as_json, lambda: [f"photo {photo}: {written or 'no caption'}"])


def delete(
    persona: PersonaName,
    photos: Annotated[list[int], typer.Argument(metavar="PHOTO...", help="Numbers of photos.")],
    as_json: AsJson = False,
) -> None:
    """Delete photos; `restore` brings them back for library.restore_days. Originals are never touched."""
    from persona_tui.services.library import staging

    with session() as opened:
        done = staging.delete(opened, persona_of(opened, persona).id, photos, actor="operator")
    show({"deleted": done}, as_json, lambda: [f"{done} deleted"])


def restore(
    persona: PersonaName,
    photos: Annotated[list[int], typer.Argument(metavar="PHOTO...", help="Numbers of photos.")],
    as_json: AsJson = False,
) -> None:
    """Bring deleted photos back."""
    from persona_tui.services.library import staging

    with session() as opened:
        done = staging.restore(opened, persona_of(opened, persona).id, photos, actor="operator")
    show({"restored": done}, as_json, lambda: [f"{done} restored"])


def register(commands: typer.Typer) -> None:
    """Add these commands to `photos`."""
    for command in (accept, reject, caption, delete, restore):
        commands.command()(command)
