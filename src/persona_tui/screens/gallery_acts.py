"""What can be done with a picture of the gallery: rejected, taken back, made the winner, opened outside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from persona_tui.errors import NotAllowedNow
from persona_tui.screens import gallery_data, runs_data, runs_lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.file_picker import FilePicker, FolderMemory
from persona_tui.screens.gallery_data import Leaf
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.marks import counted
from persona_tui.widgets.viewer import ViewedPicture, ViewerDialog, open_outside

if TYPE_CHECKING:
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunView


async def choose_run(screen: PersonaScreen, current: int | None) -> int | None:
    """Ask which of the persona's runs is looked at; None leaves it as it is."""
    runs = await screen.read(gallery_data.read_runs, screen.shell.persona_id)
    choices = [Choice(run.id, run.name, _standing(run)) for run in runs]
    key = screen.shell.registry.label("global.runs")
    dialog = ChoiceDialog("Which run?", choices, current=current, empty=f"no runs yet: {key} makes one")
    chosen = await screen.ask(dialog)
    return chosen.value if chosen is not None else None


async def reject(screen: PersonaScreen, leaves: Sequence[Leaf]) -> tuple[int, ...]:
    """Reject pictures with all that grew from them.

    Returns:
        Those to take back together; empty where all were rejected already.
    """
    done = await screen.act(gallery_data.reject_branches, [leaf.id for leaf in leaves])
    undo = screen.shell.registry.label("gallery.undo")
    which = f"Picture {leaves[0].id} is" if len(leaves) == 1 else f"{len(leaves)} pictures are"
    if not done:
        screen.flash(f"{which} rejected already. [{undo}] takes it back.", "info")
        return ()
    runs_data.wake_engine(screen.shell)
    chosen = {leaf.id for leaf in leaves if leaf.picture.status == "active"}
    more = done - len(chosen)
    grown = f" with {counted(more, 'picture')} that grew from {_it(leaves)}" if more > 0 else ""
    screen.flash(f"{which} rejected{grown}. [{undo}] takes {_it(leaves)} back.")
    return tuple(sorted(chosen))


def _it(leaves: Sequence[Leaf]) -> str:
    return "it" if len(leaves) == 1 else "them"


async def take_back(screen: PersonaScreen, candidate_ids: Sequence[int]) -> None:
    """Take back what one key rejected."""
    back = await screen.act(gallery_data.take_back, candidate_ids)
    runs_data.wake_engine(screen.shell)
    screen.flash(f"{counted(len(back), 'picture')} taken back.")


async def flag(screen: PersonaScreen, leaves: Sequence[Leaf]) -> None:
    """Flag pictures; where all of them are, take the flags away."""
    flagged = not all(leaf.flagged for leaf in leaves)
    await screen.act(gallery_data.flag, [leaf.id for leaf in leaves], flagged)
    which = f"Picture {leaves[0].id}" if len(leaves) == 1 else counted(len(leaves), "picture")
    screen.flash(f"{which} flagged." if flagged else f"{which} no longer flagged.")


async def make_winner(screen: PersonaScreen, before: int | None, candidate_id: int) -> None:
    """Let a picture win; where another one has won, after asking.

    Args:
        before: the run's winner so far.
    """
    if before == candidate_id:
        screen.flash(f"Picture {candidate_id} is the winner already.", "info")
        return
    if before is not None and not await screen.ask(_another_winner(before, candidate_id)):
        return
    post_id = await screen.act(gallery_data.make_winner, candidate_id)
    where = screen.shell.registry.label("global.posts")
    draft = f" Its draft is among the posts [{where}]." if post_id is not None else ""
    screen.flash(f"Picture {candidate_id} won.{draft}")


async def view(
    screen: PersonaScreen, leaves: Sequence[Leaf], index: int, *, zoomed: bool = False
) -> int | None:
    """Show pictures one at a time, as large as the terminal; the index of the last one shown."""
    viewed = [ViewedPicture(leaf.media_key, leaf.sha256, leaf.label) for leaf in leaves]
    return await screen.ask(ViewerDialog(screen.shell.core.resources.media, viewed, index, zoomed=zoomed))


def original(screen: PersonaScreen, media_key: str) -> Path:
    """The file of a picture's original.

    Raises:
        NotAllowedNow: it is not on this machine.
    """
    path = screen.shell.core.resources.media.path(media_key)
    if path is None:
        raise NotAllowedNow("The original lies in a bucket.", hint=f"Its key there is {media_key}.")
    return path


def show_outside(screen: PersonaScreen, media_key: str) -> None:
    """Open the original in the desktop's viewer.

    Raises:
        NotAllowedNow: it is not on this machine.
    """
    path = original(screen, media_key)
    open_outside(path)
    screen.flash(f"Opened outside: {path}")


async def take_old_ratings(screen: PersonaScreen, step: RunStepView) -> None:
    """Let a contest begin with ratings from a file; all of them or none.

    Raises:
        NotAllowedNow: the step has no pictures, or is approved already.
        InvalidRequest: the file can't be used.
    """
    if step.contest_id is None or step.approved:
        raise NotAllowedNow(
            "Nothing is voted on in this run.", hint="Choose a run whose step waits for votes."
        )
    memory = FolderMemory(screen.shell.settings.data_dir / "ui" / "ratings-folder")
    start = await asyncio.to_thread(memory.recall)
    path = await screen.ask(FilePicker("Old ratings", start, (".csv", ".json")))
    if path is None:
        return
    await asyncio.to_thread(memory.keep, path.parent)
    taken = await screen.act(gallery_data.take_old_ratings, step.contest_id, path)
    screen.flash(f"{counted(taken, 'old rating')} taken as a start; your votes decide what they are worth.")


def _standing(run: RunView) -> str:
    return f"{runs_lines.status_mark(run.status).plain.strip()}, {_pictures(run.steps)}"


def _pictures(steps: Sequence[RunStepView]) -> str:
    return counted(sum(step.active for step in steps), "picture")


def _another_winner(before: int, now: int) -> ConfirmDialog:
    return ConfirmDialog(
        f"Picture {before} has won. Let picture {now} win instead?",
        "The run's cluster gets the new winner; a draft of the old one stays until you cancel it.",
        title="Another winner",
        yes="It wins",
        no="Leave it",
    )
