"""`persona-tui lora watch|offers|take|dismiss`: LoRA files that come into watched folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.frame import AsJson, note, persona_of, resources, session, show, table

if TYPE_CHECKING:
    from persona_tui.services.loras.importing import LoraOutcome

_LOADS = {"as it is": "loads it", "converted": "after conversion", "ignored": "ignores it"}


def register(commands: typer.Typer) -> None:
    """Add these commands to those of LoRAs."""
    for command in (watch, offers, take, dismiss):
        commands.command(command.__name__)(command)


def tell(done: LoraOutcome) -> None:
    """Say what became of one file, on stderr."""
    icon = {"imported": "✅", "already there": "ℹ️ ", "failed": "❌"}[done.outcome]
    print(f"{icon} {done.sentence}", file=sys.stderr)
    if done.hint:
        print(f"   {done.hint}", file=sys.stderr)
    if done.proposal is not None:
        print(
            f"   {done.proposal.reason} --proposed imports it for {done.proposal.persona}.", file=sys.stderr
        )
    for warning in done.lora.warnings if done.lora else ():
        print(f"   ⚠️  {warning}", file=sys.stderr)


def watch(
    folder: Annotated[Path | None, typer.Argument(help="A folder; otherwise those that are.")] = None,
    off: Annotated[bool, typer.Option("--off", help="Watch it no longer.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have new LoRA files in a folder offered, while the app or the scheduler runs."""
    from persona_tui.services.loras import watching

    with session() as opened:
        if folder is not None:
            (watching.unwatch if off else watching.watch)(opened, folder)
        found = watching.watched(opened)
    show(found, as_json, lambda: [one.root for one in found] or ["No folder is watched."])


def offers(as_json: AsJson = False) -> None:
    """LoRA files that came into watched folders."""
    from persona_tui.services.loras import watching

    with session() as opened:
        found = watching.offers(opened)
    if not found and not as_json:
        note("Nothing is offered. `persona-tui lora watch FOLDER` has a folder looked into.")
    show(
        found,
        as_json,
        lambda: table(
            ["id", "file", "persona", "names", "ComfyUI", "what"],
            (
                [
                    one.id,
                    Path(one.path).name,
                    one.persona,
                    one.key_format,
                    _LOADS.get(one.loads),
                    one.sentence,
                ]
                for one in found
            ),
        ),
    )


def take(
    offer_id: Annotated[int, typer.Argument(metavar="ID", help="Of an offer.")],
    persona: Annotated[
        str | None, typer.Option(help="Whose likeness it holds; otherwise as offered.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import a file that was offered."""
    from persona_tui.services.loras.watching import take_offer

    with resources() as opened:
        scope = opened.database.session_scope
        with scope() as reading:
            whose = {"persona_id": persona_of(reading, persona).id} if persona else {}
        done = take_offer(scope, opened.lora_shelf, offer_id, whose)
    if not as_json:
        tell(done)
    show(done, as_json, lambda: [])
    if done.lora is None:
        raise typer.Exit(1)


def dismiss(
    offer_id: Annotated[int, typer.Argument(metavar="ID", help="Of an offer.")], as_json: AsJson = False
) -> None:
    """Offer a file no longer."""
    from persona_tui.services.loras.watching import dismiss_offer

    with session() as opened:
        gone = dismiss_offer(opened, offer_id)
    show(gone, as_json, lambda: [f"✅ {Path(gone.path).name} is not offered any more."])
