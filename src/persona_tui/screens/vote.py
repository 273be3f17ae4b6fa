"""Vote: two pictures, one key, until the winner is clear."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.events import ScreenResume, ScreenSuspend
from textual.timer import Timer

from persona_tui.screens import vote_data, vote_lines
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.runs_data import wake_engine
from persona_tui.screens.vote_data import Scene, Seat
from persona_tui.screens.vote_questions import question_before
from persona_tui.screens.vote_stage import Looks, VoteStage
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.messages import PersonaChanged

if TYPE_CHECKING:
    from persona_tui.services.media import MediaStore
    from persona_tui.services.voting.contest import Duel

DEBOUNCE = 0.12
"""Seconds from a pair's appearance in which no key counts: one press is never two votes."""
POLL = 1.0
"""Seconds between two looks at the servers while pictures are made."""
PAIR_ACTS = frozenset({"left", "right", "unsure", "undo"})
PICTURE_ACTS = frozenset({"accept", "reveal"})
RUN_ACTS = frozenset({"next", "info", "gallery"})


class VoteScreen(PersonaScreen):
    """Shows the most valuable contest, or what is being made for it.

    Args:
        clock: seconds that only grow.
    """

    SCOPE = "vote"
    TITLE = "Vote"
    HELP = (
        "Two pictures, one key, until the winner is clear. Ratings stay hidden until you ask for them, sides "
        "are drawn at random, and no key counts before both pictures are seen. Enter lets the best go on; "
        "after the last step the leading picture wins and becomes a draft post. The bar is full when the "
        "choice is sure enough: right in nine of ten cases."
    )
    TOPICS = frozenset({"run", "candidate"})
    CSS_PATH = "vote.tcss"

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._scene: Scene | None = None
        self._run_id: int | None = None
        self._skipped: frozenset[int] = frozenset()
        self._sitting = uuid.uuid4()
        self._history: defaultdict[int, list[Duel]] = defaultdict(list)
        self._revealed = False
        self._info = False
        self._waits_for: int | None = None
        self._poll: Timer | None = None
        self._turn = 0
        self._accepting = False
        self._idle = asyncio.Event()
        self._idle.set()

    def compose_body(self) -> ComposeResult:
        yield VoteStage(self._clock)
        yield EmptyState(vote_lines.nothing(0), "global.ideas", icon="🎉", id="nothing")

    def on_mount(self) -> None:
        self._poll = self.set_interval(POLL, self._look_at_engine)

    def on_screen_resume(self, _event: ScreenResume) -> None:
        if self._poll is not None:
            self._poll.resume()

    def on_screen_suspend(self, _event: ScreenSuspend) -> None:
        if self._poll is not None:
            self._poll.pause()

    @property
    def scene(self) -> Scene | None:
        """What is to be seen; None until it has been read."""
        return self._scene

    @property
    def ready(self) -> bool:
        """Whether all pictures are on the screen and a key counts."""
        drawn = self._stage.drawn_at
        return drawn is not None and self._clock() - drawn >= DEBOUNCE and self._idle.is_set()

    @property
    def _stage(self) -> VoteStage:
        return self.query_one(VoteStage)

    @property
    def _media(self) -> MediaStore:
        return self.shell.core.resources.media

    # Reading

    def aim(self, **target: int) -> None:
        """Stay with a run.

        Args:
            run_id: which.
        """
        if "run_id" in target:
            self._forget()
            self._run_id = target["run_id"]
            self.request_reload()

    def on_persona_changed(self, _message: PersonaChanged) -> None:
        self._forget()
        self._skipped = frozenset()

    def _forget(self) -> None:
        """Have no key count any more for what is on the screen."""
        self._scene, self._run_id, self._waits_for = None, None, None
        self._turn += 1
        self._stage.forget()

    def _seat(self) -> Seat:
        duel = self._scene.duel if self._scene else None
        return Seat(self.shell.persona_id, self._run_id, self._skipped, duel)

    async def reload(self) -> None:
        turn = self._turn
        scene = await self.read(vote_data.look, self._media, self._seat())
        if turn == self._turn and self._idle.is_set():
            self._show(scene)
            self._go_on_if_complete(scene)

    def _show(self, scene: Scene) -> None:
        before, self._scene = self._scene, scene
        if scene.wrapped:
            self._skipped = frozenset()
        if scene.shown and scene.run is not None:
            self._run_id = scene.run.id
        if before is None or before.contest_id != scene.contest_id:
            self._revealed = False
        self.set_class(scene.kind == "nothing", "-nothing")
        if scene.kind == "nothing":
            self.query_one("#nothing", EmptyState).text = vote_lines.nothing(scene.resting)
        self._stage.show(scene, self._looks)
        if scene.kind in ("making", "stuck"):
            self._stage.show_making(scene, self.shell.core.status().engine)
        self.refresh_bindings()

    @property
    def _looks(self) -> Looks:
        return Looks(self._revealed, self._info, self._waits_for is not None)

    def _show_words(self) -> None:
        if self._scene is not None:
            self._stage.show_words(self._scene, self._looks)

    def _look_at_engine(self) -> None:
        scene = self._scene
        if scene is None or scene.kind != "making" or scene.run is None or not self.is_current_view:
            return
        self._stage.show_making(scene, self.shell.core.status().engine)
        engine = self.shell.core.engine
        if engine is None:
            return
        for job in engine.status().jobs:
            preview = engine.preview(job.job_id) if job.run_id == scene.run.id else None
            if preview is not None:
                self._stage.show_preview(preview)
                return

    # Voting

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        kind = self._scene.kind if self._scene else "nothing"
        if action in PAIR_ACTS:
            return kind == "duel"
        if action in PICTURE_ACTS:
            return kind in ("duel", "single")
        return kind != "nothing" if action in RUN_ACTS else super().check_action(action, parameters)

    def action_left(self) -> None:
        self._vote("left")

    def action_right(self) -> None:
        self._vote("right")

    def action_unsure(self) -> None:
        self._vote(None)

    def _vote(self, side: str | None) -> None:
        duel, drawn = self._scene.duel if self._scene else None, self._stage.drawn_at
        if duel is None or not self._idle.is_set():
            return
        if drawn is None:
            self._say_not_drawn()
        elif self.ready:
            self._begin_change()
            chosen = None if side is None else duel.left.id if side == "left" else duel.right.id
            response_ms = int((self._clock() - drawn) * 1000)
            self.spawn(partial(self._cast, duel, chosen, response_ms), group="vote")

    def _begin_change(self) -> None:
        """Until the change is made no key counts, and what is being read meanwhile is old."""
        self._idle.clear()
        self._turn += 1

    def _say_not_drawn(self) -> None:
        scene = self._scene
        if scene is not None and any(scene.pictures.get(member.id) is None for member in scene.shown):
            key = self.shell.registry.label("vote.gallery")
            self.flash(
                f"A picture's file is gone, so this pair can't be judged. [{key}] to reject it.", "warn"
            )
        else:
            self.flash("Not counted: the pictures are not on the screen yet.", "info", seconds=2)

    async def _cast(self, duel: Duel, chosen: int | None, response_ms: int) -> None:
        try:
            scene = await self.act(
                vote_data.cast_and_look,
                self._media,
                self._seat(),
                duel,
                chosen,
                sitting=self._sitting,
                response_ms=response_ms,
            )
        finally:
            self._idle.set()
        self._history[duel.contest_id].append(duel)
        self._show(scene)
        if scene.duel is not None and _pair(scene.duel) == _pair(duel):
            self.flash("Counted. These two once more, to be surer.", "info", seconds=2)

    def action_undo(self) -> None:
        if self._idle.is_set():
            self._begin_change()
            self.spawn(self._take_back, group="vote")

    async def _take_back(self) -> None:
        try:
            found = await self._taken_back()
        finally:
            self._idle.set()
        if found is None:
            self.flash("There is no vote of this sitting to take back.", "info")
        else:
            self._show(found)
            self.flash("Taken back: this pair again.", "info", seconds=3)

    async def _taken_back(self) -> Scene | None:
        scene = self._scene
        if scene is None or scene.contest_id is None:
            return None
        pairs = self._history[scene.contest_id]
        found = await self.act(
            vote_data.take_back_and_look,
            self._media,
            self._seat(),
            scene.contest_id,
            pairs[-1] if pairs else None,
            sitting=self._sitting,
        )
        if found is not None and pairs:
            pairs.pop()
        return found

    # Accepting

    def action_accept(self) -> None:
        if not self._accepting:
            self._accepting = True
            self.spawn(self._accept, group="accept")

    async def _accept(self) -> None:
        try:
            await self._idle.wait()
            await self._accept_shown()
        finally:
            self._accepting = False

    async def _accept_shown(self) -> None:
        scene = self._scene
        if scene is None or scene.run is None or scene.step is None or not scene.shown:
            return
        if self._waits_for is not None:
            self._waits_for = None
            self.flash("It waits for your word again.", "info")
            self._show_words()
            return
        question = question_before(scene)
        if question is not None and not await self.ask(question):
            return
        if scene.step.unseen and not scene.step.is_last:
            self._waits_for = scene.step.id
            self._show_words()
            self.request_reload()
        else:
            await self._carry_out(scene.run.id)

    def _go_on_if_complete(self, scene: Scene) -> None:
        step = scene.step
        if self._waits_for is None or step is None or scene.run is None:
            return
        complete = step.id == self._waits_for and not step.unseen
        if complete or step.id != self._waits_for:
            self._waits_for = None
        if complete:
            self.spawn(partial(self._carry_out, scene.run.id), group="accept")

    async def _carry_out(self, run_id: int) -> None:
        self._begin_change()
        try:
            done = await self.act(vote_data.accept, run_id)
        finally:
            self._idle.set()
        wake_engine(self.shell)
        self._forget()
        if done.post_id is not None:
            await self.shell.go_to("posts", post_id=done.post_id, caption=1)
        else:
            self._run_id = None if done.winner_id is not None else run_id
            self.request_reload()
        self.flash(vote_lines.accepted(done))

    # Looking around

    def action_next(self) -> None:
        scene = self._scene
        if scene is None:
            return
        if not scene.others:
            self.flash("There is no other contest to vote on.", "info")
            return
        if scene.contest_id is not None:
            self._skipped |= {scene.contest_id}
        self._forget()
        self.request_reload()

    def action_reveal(self) -> None:
        self._revealed = not self._revealed
        self._show_words()

    def action_info(self) -> None:
        self._info = not self._info
        self._show_words()

    async def action_gallery(self) -> None:
        if self._scene is not None and self._scene.run is not None:
            await self.shell.go_to("gallery", run_id=self._scene.run.id)


def _pair(duel: Duel) -> frozenset[int]:
    return frozenset((duel.left.id, duel.right.id))
