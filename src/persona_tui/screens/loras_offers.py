"""LoRA files that watched folders offer: shown, taken in or dismissed; and which folders are watched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.errors import NotAllowedNow
from persona_tui.screens import loras_importing
from persona_tui.screens.loras_forms import loads_words
from persona_tui.text import clean
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.data_list import Column
from persona_tui.widgets.marks import dim, say

if TYPE_CHECKING:
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.loras.watching import Offer, WatchedFolder

COLUMNS = (
    Column("File", share=3),
    Column("Type", 9, from_width=100),
    Column("Family", 10),
    Column("Names", 10, from_width=90),
    Column("Of whom", share=2),
    Column("ComfyUI", 13),
)
MOST_ROWS = 4
"""Offers that are seen at once, so that the LoRAs below keep their room."""


def cells(offer: Offer) -> tuple[Content, ...]:
    """A row's cells: file, type, family, key format, persona, whether ComfyUI loads it."""
    name = Content(clean(Path(offer.path).name, keep_lines=False))
    if offer.state == "unusable":
        return name, dim(""), dim(""), dim(""), dim("–"), Content.styled("✗ no LoRA", "$error")
    unknown = offer.family in ("", "unknown")
    return (
        name,
        Content(offer.model_type),
        Content.styled("unknown", "$warning") if unknown else Content(offer.family),
        Content(offer.key_format),
        Content(offer.persona) if offer.persona else dim("nobody named"),
        _loads(offer.loads),
    )


def _loads(loads: str) -> Content:
    words, style = {
        "as it is": ("● loads it", "$success"),
        "converted": ("◐ converted", "$title"),
        "ignored": ("✗ ignores it", "$error"),
    }.get(loads, ("?", "$dim"))
    return Content.styled(words, style)


def lines(offer: Offer) -> Iterator[Content]:
    """What the panel says of an offered file."""
    path = clean(offer.path, keep_lines=False)
    if offer.state == "unusable":
        yield Content.styled(Path(path).name, "bold") + dim(f"  {path}")
        yield say("error", offer.sentence)
        return
    size = f"{offer.byte_count / 1e6:.1f} MB"
    facts = (offer.model_type, offer.family, f"{offer.key_format} names", size)
    yield Content.styled(offer.name or Path(path).name, "bold") + dim(f"  {'  '.join(filter(None, facts))}")
    yield dim(path)
    if offer.persona:
        yield Content.assemble(("Of ", "$dim"), f"{offer.persona}: {offer.reason}")
    if offer.loads:
        yield say("ok" if offer.loads == "as it is" else "warn", loads_words(offer.loads))
    for note in offer.notes:
        yield say("warn", note)


def room(offers: int) -> int:
    """Rows that the list of so many offers takes, its head included."""
    return min(offers, MOST_ROWS) + 1


async def take(screen: PersonaScreen, offer: Offer) -> int | None:
    """Show what the file is, ask, and import it.

    Returns:
        The id of the LoRA that is there now.

    Raises:
        NotAllowedNow: it is no LoRA.
        InvalidRequest: it can't be imported.
    """
    from persona_tui.services.loras.watching import take_offer

    path = Path(offer.path)
    if offer.state == "unusable":
        key = screen.shell.registry.label("loras.dismiss")
        raise NotAllowedNow(f"{path.name} can't be taken in: {offer.sentence}", hint=f"{key} dismisses it.")
    values = await loras_importing.asked_of_file(screen, path)
    if values is None:
        return None
    screen.flash(f"Importing {path.name}…", "busy", seconds=600)
    shelf, scope = screen.shell.core.resources.lora_shelf, screen.shell.database.session_scope
    done = await asyncio.to_thread(take_offer, scope, shelf, offer.id, values)
    return await loras_importing.tell(screen, [done])


async def dismiss(screen: PersonaScreen, offer: Offer) -> None:
    """Offer it no longer; the file stays where it is."""
    from persona_tui.services.loras.watching import dismiss_offer

    gone = await screen.act(dismiss_offer, offer.id)
    screen.request_reload()
    screen.flash(f"{Path(gone.path).name} is not offered any more, unless it changes.")


async def ask_folders(screen: PersonaScreen) -> None:
    """Show the watched folders; have another one watched, or one no longer."""
    from persona_tui.services.loras.watching import watched

    folders = await screen.read(watched)
    choices: list[Choice[WatchedFolder | None]] = [Choice(None, "Watch another folder…")]
    choices += [Choice(one, one.root, "watched") for one in folders]
    chosen = await screen.ask(ChoiceDialog("Watched folders", choices))
    if chosen is None:
        return
    if chosen.value is None:
        await _watch_another(screen)
    else:
        await _unwatch(screen, Path(chosen.value.root))


async def _watch_another(screen: PersonaScreen) -> None:
    from persona_tui.services.loras.watching import LoraWatcher, watch

    keys = screen.shell.registry
    title = f"Watch a folder: open it, then {keys.label('files.all')}"
    path = await loras_importing.picked_path(screen, title)
    if path is None:
        return
    folder = path if path.is_dir() else path.parent
    await screen.act(watch, folder)
    screen.flash(f"Looking into {folder}…", "busy", seconds=600)
    await asyncio.to_thread(LoraWatcher(screen.shell.database.session_scope).look)
    screen.request_reload()
    screen.flash(f"LoRA files that come into {folder} are offered here.")


async def _unwatch(screen: PersonaScreen, folder: Path) -> None:
    from persona_tui.services.loras.watching import unwatch

    question = f"Watch {folder} no longer?"
    if await screen.ask(ConfirmDialog(question, "What it offers is offered no longer; its files stay.")):
        await screen.act(unwatch, folder)
        screen.request_reload()
        screen.flash(f"{folder} is watched no longer.")
