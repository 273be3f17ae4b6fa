"""Vote: two or four pictures, one key, until the winner is clear."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Literal

from textual.app import ComposeResult
from textual.events import ScreenResume, ScreenSuspend
from textual.timer import Timer

from persona_tui.errors import NotAllowedNow
from persona_tui.screens import vote_changes, vote_data, vote_lines, vote_sentences
from persona_tui.screens.runs_data import wake_engine
from persona_tui.screens.vote_changes import Act, Outcome
from persona_tui.screens.vote_data import Scene
from persona_tui.screens.vote_looking import LookingScreen
from persona_tui.screens.vote_questions import question_before
from persona_tui.screens.vote_stage import VoteStage
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.messages import PersonaChanged

POLL = 1.0
"""Seconds between two looks at the servers while pictures are made."""
CHOICE_ACTS = frozenset({"unsure", "blink", "grid"})
PICTURE_ACTS = frozenset({"accept", "reveal", "reject", "flag", "zoom"})
RUN_ACTS = frozenset({"next", "info", "gallery", "undo"})
PLACES = {"first": 0, "second": 1, "third": 2, "fourth": 3}


class VoteScreen(LookingScreen):
    """Shows the most valuable contest, or what is being made for it.

    Args:
        clock: seconds that only grow.
    """

    SCOPE = "vote"
    TITLE = "Vote"
    HELP = (
        "Two pictures, one key, until the winner is clear; or four at once. Ratings stay hidden until you "
        "ask for them, sides are drawn at random, now and then a pair comes twice to see how consistent you "
        "are, and no key counts before all pictures are seen. A rejected picture takes along all that grew "
        "from it; then you are asked whether its parent deserved to go on. Enter lets the best go on; after "
        "the last step the leading picture wins and becomes a draft post. The bar is full when the choice "
        "is sure enough: right in nine of ten cases, or hardly a better one to be expected."
    )
    TOPICS = frozenset({"run", "candidate", "lora"})
    CSS_PATH = "vote.tcss"

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        super().__init__(clock)
        self._poll: Timer | None = None
        self._accepting = False

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

    def aim(self, **target: int) -> None:
        """Stay with a run.

        Args:
            run_id: which.
        """
        if "run_id" in target:
            self._stay_with(target["run_id"])

    def on_persona_changed(self, _message: PersonaChanged) -> None:
        self._forget()
        self._skipped = frozenset()

    async def reload(self) -> None:
        turn = self._turn
        scene = await self.read(vote_data.look, self._media, self._seat())
        if turn == self._turn and self._idle.is_set():
            self._say_what_went(scene)
            self._show(scene)
            self._go_on_if_complete(scene)
        elif self._idle.is_set():
            self.request_reload()

    def _say_what_went(self, scene: Scene) -> None:
        """Tell where another window took away what was on the screen."""
        before = self._scene
        if before is None or not before.is_choice or scene.standings is None:
            return
        left = {member.id for member in scene.standings.members}
        gone = [member.candidate_id for member in before.shown if member.id not in left]
        if gone and before.contest_id == scene.contest_id:
            words = vote_sentences.gone(gone)
            self.flash(f"{words[0].upper()}{words[1:]}. Here is what comes next.", "info")

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

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        scene = self._scene
        kind = scene.kind if scene else "nothing"
        if action in ("left", "right", "swap"):
            return kind == "duel"
        if action in PLACES:
            return scene is not None and PLACES[action] < len(scene.shown)
        if action in CHOICE_ACTS:
            return scene is not None and scene.is_choice
        if action in PICTURE_ACTS:
            return scene is not None and bool(scene.shown)
        if action.startswith("pan_"):
            return self._zoom is not None
        return kind != "nothing" if action in RUN_ACTS else super().check_action(action, parameters)

    # Choosing a picture

    def action_left(self) -> None:
        self._choose(0)

    def action_right(self) -> None:
        self._choose(1)

    def action_first(self) -> None:
        self._choose(0)

    def action_second(self) -> None:
        self._choose(1)

    def action_third(self) -> None:
        self._choose(2)

    def action_fourth(self) -> None:
        self._choose(3)

    def action_unsure(self) -> None:
        if self._aims is None:
            self._vote(None)

    def _choose(self, place: int) -> None:
        """Vote for the picture at a place, or do with it what was asked before."""
        scene, aims = self._scene, self._aims
        if scene is None or place >= len(scene.shown):
            return
        if aims is None:
            self._vote(place)
            return
        if not self._idle.is_set():
            return
        if self._stage.table.drawn_at is None and not _lacks_file(scene):
            self._say_not_drawn()
            return
        self._aim_keys(None)
        candidate = scene.shown[place].candidate_id
        self._begin_change()
        if aims == "reject":
            self.spawn(partial(self._reject, scene, candidate), group="vote")
        else:
            self.spawn(partial(self._flag, candidate, not scene.shown[place].flagged), group="vote")

    def _vote(self, place: int | None) -> None:
        scene, table = self._scene, self._stage.table
        if scene is None or scene.showing is None or not self._idle.is_set():
            return
        if table.drawn_at is None or table.seen_since is None:
            self._say_not_drawn()
        elif self.ready:
            self._begin_change()
            chosen = None if place is None else scene.showing.members[place].id
            response_ms = int((self._clock() - table.seen_since) * 1000)
            self.spawn(partial(self._cast, scene, chosen, response_ms), group="vote")

    def _say_not_drawn(self) -> None:
        if self._scene is not None and _lacks_file(self._scene):
            key = self.shell.registry.label("vote.reject")
            self.flash(f"A picture's file is gone, so it can't be judged here. [{key}] rejects it.", "warn")
        else:
            self.flash("Not counted: the pictures are not on the screen yet.", "info", seconds=2)

    async def _cast(self, scene: Scene, chosen: int | None, response_ms: int) -> None:
        showing = scene.showing
        assert showing is not None
        outcome = await self._change(vote_changes.cast_and_look, scene, chosen, response_ms=response_ms)
        if not outcome.counted:
            self._show(outcome.scene)
            self.flash(vote_sentences.not_counted(outcome), "warn")
            return
        self._remember(scene, Act(showing, scene.asks))
        self._show(outcome.scene)
        if outcome.old_words:
            self.request_reload()
        shown = outcome.scene.showing
        if shown is not None and {m.id for m in shown.members} == {m.id for m in showing.members}:
            self.flash("Counted. These once more, to be surer.", "info", seconds=2)

    # Rejecting and flagging

    def action_reject(self) -> None:
        self._aim_keys(None if self._aims == "reject" else "reject")

    def action_flag(self) -> None:
        self._aim_keys(None if self._aims == "flag" else "flag")

    def _aim_keys(self, aims: Literal["reject", "flag"] | None) -> None:
        self._aims = aims
        self._show_words()

    def step_back(self) -> bool:
        if self._aims is None:
            return super().step_back()
        self._aim_keys(None)
        return True

    async def _reject(self, scene: Scene, candidate_id: int) -> None:
        outcome = await self._change(vote_changes.reject_and_look, candidate_id)
        self._show(outcome.scene)
        if not outcome.counted:
            self.flash(f"P{vote_sentences.gone(outcome.gone)[1:]}.", "info")
            return
        wake_engine(self.shell)
        self._remember(scene, Act(scene.showing, scene.asks, candidate_id))
        undo = self.shell.registry.label("vote.undo")
        self.flash(vote_sentences.rejected(candidate_id, outcome, undo), seconds=10)

    async def _flag(self, candidate_id: int, flagged: bool) -> None:
        outcome = await self._change(vote_changes.flag_and_look, candidate_id, flagged)
        self._show(outcome.scene)
        word = "is flagged" if flagged else "is not flagged any more"
        self.flash(f"Picture {candidate_id} {word}.", seconds=3)

    # Taking back

    def action_undo(self) -> None:
        if self._idle.is_set():
            acts = self._acts
            if not acts:
                self.flash("There is nothing of this sitting to take back.", "info")
                return
            self._begin_change()
            self.spawn(partial(self._take_back, acts[-1]), group="vote")

    async def _take_back(self, act: Act) -> None:
        acts = self._acts
        try:
            outcome: Outcome = await self._change(vote_changes.take_back_and_look, act)
        except NotAllowedNow:
            if not self.shell.database_away:
                acts.remove(act)  # else it would stand before all that can be taken back
            raise
        acts.remove(act)
        self._show(outcome.scene)
        if act.rejected is not None:
            wake_engine(self.shell)
            self.flash(vote_sentences.came_back(act.rejected, outcome))
        else:
            self.flash("Taken back: these pictures again.", "info", seconds=3)

    # Accepting

    def action_accept(self) -> None:
        scene = self._scene
        if scene is not None and scene.asks is not None:
            key = self.shell.registry.label("vote.next")
            self.flash(f"Nothing is accepted here: choose a picture, or [{key}] goes on.", "info")
        elif not self._accepting:
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
        if self._waits_for is None or step is None or scene.run is None or scene.asks is not None:
            return
        complete = step.id == self._waits_for and not step.unseen
        if complete or step.id != self._waits_for:
            self._waits_for = None
        if complete:
            self.spawn(partial(self._carry_out, scene.run.id), group="accept")

    async def _carry_out(self, run_id: int) -> None:
        self._begin_change()
        try:
            done = await self.act(vote_changes.accept, run_id)
        finally:
            self._end_change()
        wake_engine(self.shell)
        self._forget()
        self._history.pop(run_id, None)
        if done.post_id is not None:
            await self.shell.go_to("posts", post_id=done.post_id, caption=1)
        else:
            self._run_id = None if done.winner_id is not None else run_id
            self.request_reload()
        self.flash(vote_sentences.accepted(done))


def _lacks_file(scene: Scene) -> bool:
    return any(scene.pictures.get(member.id) is None for member in scene.shown)
