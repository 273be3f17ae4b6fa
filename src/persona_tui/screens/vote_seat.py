"""What the vote view knows while it is open: what is shown, how, and what can be taken back."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from persona_tui.screens import vote_lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.vote_changes import Act, Outcome
from persona_tui.screens.vote_data import DUEL, Scene, Seat
from persona_tui.screens.vote_stage import Looks, VoteStage
from persona_tui.screens.vote_table import PAN
from persona_tui.widgets.empty import EmptyState

if TYPE_CHECKING:
    from persona_tui.services.media import MediaStore

DEBOUNCE = 0.12
"""Seconds from the pictures' appearance in which no key counts: one press is never two votes."""


class SeatedScreen(PersonaScreen):
    """The state of the vote view, and how it changes.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._scene: Scene | None = None
        self._run_id: int | None = None
        self._skipped: frozenset[int] = frozenset()
        self._sitting = uuid.uuid4()
        self._count = DUEL
        self._history: defaultdict[int, list[Act]] = defaultdict(list)
        self._revealed = False
        self._info = False
        self._aims: Literal["reject", "flag"] | None = None
        self._zoom: tuple[float, float] | None = None
        self._waits_for: int | None = None
        self._turn = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def scene(self) -> Scene | None:
        """What is to be seen; None until it has been read."""
        return self._scene

    @property
    def ready(self) -> bool:
        """Whether all pictures are on the screen and a key counts."""
        drawn = self._stage.table.drawn_at
        return drawn is not None and self._clock() - drawn >= DEBOUNCE and self._idle.is_set()

    @property
    def _stage(self) -> VoteStage:
        return self.query_one(VoteStage)

    @property
    def _media(self) -> MediaStore:
        return self.shell.core.resources.media

    @property
    def _acts(self) -> list[Act]:
        """What can be taken back in the run shown, the last one last."""
        run = self._scene.run if self._scene else None
        return self._history[run.id] if run is not None else []

    def _remember(self, scene: Scene, act: Act) -> None:
        if scene.run is not None:
            self._history[scene.run.id].append(act)

    def _seat(self) -> Seat:
        showing = self._scene.showing if self._scene else None
        asks = self._scene.asks if self._scene else None
        return Seat(
            self.shell.persona_id, self._sitting, self._run_id, self._skipped, showing, self._count, asks
        )

    def _forget(self) -> None:
        """Have no key count any more for what is on the screen."""
        self._scene, self._run_id, self._waits_for, self._aims = None, None, None, None
        self._zoom = None
        self._turn += 1
        self._stage.forget()

    def _stay_with(self, run_id: int) -> None:
        """Show a run's contest anew, and stay with it."""
        self._forget()
        self._run_id = run_id
        self.request_reload()

    # Changing

    def _begin_change(self) -> None:
        """Until the change is made no key counts, and what is being read meanwhile is old."""
        self._idle.clear()
        self._turn += 1

    async def _change(self, work: Callable[..., Outcome], *args: Any, **options: Any) -> Outcome:
        """Change something after `_begin_change`, and read what is to be seen then."""
        try:
            return await self.act(work, self._media, self._seat(), *args, **options)
        finally:
            self._end_change()

    def _end_change(self) -> None:
        """Keys count again; what was begun to be read during the change is older than what it shows."""
        self._turn += 1
        self._idle.set()

    # Showing

    def _show(self, scene: Scene) -> None:
        before, self._scene = self._scene, scene
        if scene.wrapped:
            self._skipped = frozenset()
        if scene.shown and scene.run is not None:
            self._run_id = scene.run.id
        if before is None or before.contest_id != scene.contest_id:
            self._revealed = False
        if before is None or [m.id for m in before.shown] != [m.id for m in scene.shown]:
            self._aims, self._zoom = None, None
        self.set_class(scene.kind == "nothing", "-nothing")
        if scene.kind == "nothing":
            empty = self.query_one("#nothing", EmptyState)
            empty.text = vote_lines.nothing(scene.resting, scene.between_loras)
            empty.action = "vote.queue" if scene.between_loras else "global.ideas"
        self._stage.show(scene, self._looks)
        if scene.kind in ("making", "stuck"):
            self._stage.show_making(scene, self.shell.core.status().engine)
        self.refresh_bindings()

    @property
    def _looks(self) -> Looks:
        return Looks(
            self._revealed,
            self._info,
            self._waits_for is not None,
            self._aims,
            self._zoom is not None,
            self._count,
        )

    def _show_words(self) -> None:
        if self._scene is not None:
            self._stage.show_words(self._scene, self._looks)
        self.refresh_bindings()

    # 100 %

    def _look_closer(self, at: tuple[float, float] | None) -> None:
        """Show all pictures at 100 % around the same place, or whole."""
        if at == self._zoom:
            return
        self._zoom = at
        self._stage.table.zoom(at)
        self._show_words()

    def _pan(self, right: int, down: int) -> None:
        if self._zoom is not None:
            x, y = self._zoom
            self._look_closer((_within(x + right * PAN), _within(y + down * PAN)))


def _within(share: float) -> float:
    return min(max(round(share, 3), 0.0), 1.0)
