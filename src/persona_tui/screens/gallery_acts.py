"""What can be done with a picture of the gallery: rejected, taken back, made the winner, opened outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from persona_tui.errors import NotAllowedNow
from persona_tui.screens import gallery_data, runs_data, runs_lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.gallery_data import Leaf
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.marks import counted
from persona_tui.widgets.viewer import open_outside

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
    if not done.roots:
        screen.flash(f"{which} rejected already. [{undo}] takes it back.", "info")
        return ()
    runs_data.wake_engine(screen.shell)
    chosen = {leaf.id for leaf in leaves if leaf.picture.status == "active"}
    more = done.pictures - len(chosen)
    grown = f" with {counted(more, 'picture')} that grew from {_it(leaves)}" if more > 0 else ""
    screen.flash(f"{which} rejected{grown}. [{undo}] takes {_it(leaves)} back.")
    return done.roots


def _it(leaves: Sequence[Leaf]) -> str:
    return "it" if len(leaves) == 1 else "them"


async def take_back(screen: PersonaScreen, candidate_ids: Sequence[int]) -> None:
    """Take back what one key rejected."""
    back = await screen.act(gallery_data.take_back, candidate_ids)
    runs_data.wake_engine(screen.shell)
    screen.flash(f"{counted(len(back), 'picture')} taken back.")


async def make_winner(screen: PersonaScreen, run: RunView, leaf: Leaf) -> None:
    """Let a picture win; where another one has won, after asking."""
    if run.winner_id == leaf.id:
        screen.flash(f"Picture {leaf.id} is the winner already.", "info")
        return
    if run.winner_id is not None and not await screen.ask(_another_winner(run.winner_id, leaf.id)):
        return
    post_id = await screen.act(gallery_data.make_winner, leaf.id)
    where = screen.shell.registry.label("global.posts")
    draft = f" Its draft is among the posts [{where}]." if post_id is not None else ""
    screen.flash(f"Picture {leaf.id} won.{draft}")


def show_outside(screen: PersonaScreen, leaf: Leaf) -> None:
    """Open the original in the desktop's viewer.

    Raises:
        NotAllowedNow: it is not on this machine.
    """
    path = screen.shell.core.resources.media.path(leaf.media_key)
    if path is None:
        raise NotAllowedNow("The original lies in a bucket.", hint=f"Its key there is {leaf.media_key}.")
    open_outside(path)
    screen.flash(f"Opened outside: {path}")


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
