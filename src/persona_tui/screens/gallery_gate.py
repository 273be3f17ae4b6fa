"""Who would go on now: the line above the pictures that says what a gate of K would do and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens import runs_lines
from persona_tui.widgets.marks import counted, dim, duration, say

if TYPE_CHECKING:
    from persona_tui.screens.gallery_data import Album
    from persona_tui.services.generation.gates import GatePreview


class LiveGate:
    """K as the operator tries it, and what the gate would do with it.

    Attributes:
        shown: the pictures that would go on may be marked. Where ratings are secret these tell who leads,
            so it takes a key.
    """

    def __init__(self) -> None:
        self.shown = False
        self._preview: GatePreview | None = None
        self._tried: dict[int, int] = {}

    def show(self, album: Album) -> None:
        """Take what was read."""
        self._preview = album.gate

    def take(self, preview: GatePreview) -> None:
        """Take what another K would do."""
        self._preview = preview

    @property
    def preview(self) -> GatePreview | None:
        """What the gate would do now; None where no gate waits."""
        return self._preview

    @property
    def tried(self) -> dict[int, int]:
        """Run step's id → the K that was tried there."""
        return self._tried

    def try_other(self, by: int) -> int | None:
        """Go up or down with K; the first time the key only shows the pictures that would go on.

        Returns:
            The K now wished for; None where no gate waits.
        """
        if self._preview is None:
            return None
        k = len(self._preview.members)
        if self.shown:
            k = max(1, min(k + by, self._preview.available))
        self.shown = True
        self._tried[self._preview.run_step_id] = k
        return k

    def passes(self, candidate_id: int) -> bool:
        """Whether a picture is known to go on if the step were approved now."""
        return self.shown and self._preview is not None and candidate_id in self._preview.candidate_ids


def bar(album: Album, gate: LiveGate, *, keys: str, approve: str, room: int) -> Content:
    """`▲ 2 of 6 would go on → refine: 4 pictures, about 1 min 20 s`; below, what speaks against it.

    Args:
        keys: that change K.
        approve: key that approves; it asks first, and says all that speaks against it.
        room: columns.
    """
    preview = gate.preview
    if preview is None or album.run is None:
        return Content.empty()
    following = next(
        (step for step in album.run.steps if step.position == album.run.current.position + 1), None
    )
    if following is None:
        words = Content.styled("▲ ", "$section") + Content(f"the best of {preview.available} would win")
        words += dim(f"  [{approve}] ") + Content.styled("choose it", "$title")
    else:
        words = Content.styled(f"▲ {len(preview.members)} of {preview.available}", "$section bold")
        words += Content(f" would go on → {following.name}: {counted(preview.cost, 'picture')}") + dim(
            _cost(preview)
        )
        words += dim(f"  [{keys}] K  [{approve}] approve")
    if preview.probability is not None and gate.shown:
        words += Content("  ") + runs_lines.confidence(preview.probability)
    if preview.warnings and gate.shown:
        words += Content("\n") + say("warn", _doubts(preview.warnings, approve, room))
    return words


def _doubts(warnings: Sequence[str], approve: str, room: int) -> str:
    """All that speaks against it where one line holds it, else the first and where the others are told."""
    words = " ".join(warnings)
    if len(words) <= room or len(warnings) == 1:
        return words
    return f"{warnings[0]} [{approve}] says {len(warnings) - 1} more."


def _cost(preview: GatePreview) -> str:
    """What the next step takes of one card, and what all that follows does."""
    words = "" if preview.minutes is None else f", about {duration(60 * preview.minutes)}"
    if preview.rest_pictures > preview.cost:
        words += f", {preview.rest_pictures} until the end"
    return words
