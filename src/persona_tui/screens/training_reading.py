"""What the screen Training reads: the trainings, and of those that matter now their folders and cards.

Services are imported inside the functions, so that opening the view loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from persona_tui.gpu.nvml import Card
    from persona_tui.services.training.following import RunFollower, RunLook
    from persona_tui.services.training.runs import TrainingView

UNENDED = frozenset({"planned", "queued", "encoding", "training", "exporting", "paused"})
"""Statuses of trainings whose folders are looked at all the time."""
ON_CARD = frozenset({"alive", "silent"})


@dataclass(frozen=True)
class Row:
    """A training as the list shows it.

    Attributes:
        look: its folder just now; None before it was looked at.
        card: the card that it computes on, where that is one of this machine's.
        held: bytes of the card's memory that its process holds; None where the driver does not tell.
    """

    run: TrainingView
    look: RunLook | None = None
    card: Card | None = None
    held: int | None = None

    @property
    def status(self) -> str:
        """By the folder where it is there, else by the database, which alone knows the line for a card."""
        if self.look is None or self.look.sign == "gone":
            return self.run.status
        if self.run.status == "queued" and self.look.sign == "resting":
            return "queued"
        return self.look.status

    @property
    def step(self) -> int:
        """The last step that was taken."""
        return max(self.look.step if self.look is not None else 0, self.run.step)

    @property
    def steps(self) -> int:
        """How many there are to be; 0 where nothing tells."""
        return (self.look.steps if self.look is not None else None) or self.run.total_steps


class Reader:
    """Looks at trainings' folders again and again; for one thread at a time.

    Args:
        cards: asks the driver about this machine's cards; milliseconds to tens of them.
    """

    def __init__(self, cards: Callable[[], Sequence[Card]] | None = None) -> None:
        self._cards = cards
        self._followers: dict[int, RunFollower] = {}

    def rows(self, runs: Sequence[TrainingView], chosen: int | None) -> tuple[Row, ...]:
        """The trainings with the folders of those that have not ended, and of the chosen one."""
        wanted = [run for run in runs if run.status in UNENDED or run.id == chosen]
        self._follow(wanted)
        looks = {run.id: self._followers[run.id].look() for run in wanted}
        busy = any(look.sign in ON_CARD for look in looks.values())
        cards = self._read_cards() if busy else ()
        return tuple(_row(run, looks.get(run.id), cards) for run in runs)

    def _follow(self, wanted: Sequence[TrainingView]) -> None:
        """Keep what is known of the others as well: going back to one must not read its whole log again."""
        from persona_tui.services.training.following import RunFollower

        for run in wanted:
            known = self._followers.get(run.id)
            if known is None or known.path != run.folder:
                self._followers[run.id] = RunFollower(run.folder)

    def _read_cards(self) -> Sequence[Card]:
        from persona_tui.gpu.nvml import read_cards

        return (self._cards or read_cards)()


def _row(run: TrainingView, look: RunLook | None, cards: Sequence[Card]) -> Row:
    if look is None or look.sign not in ON_CARD:
        return Row(run, look)
    card = next((one for one in cards if one.uuid and run.card.endswith(one.uuid)), None)
    processes = card.processes if card is not None else ()
    return Row(run, look, card, next((one.memory for one in processes if one.pid == look.pid), None))
