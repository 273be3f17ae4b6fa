"""Blind votes on two LoRAs: one pair of pictures after the other, then what came of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from persona_tui.screens.loras_lines import verdict_line
from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.failsafe import shell_of
from persona_tui.widgets.marks import dim, say, short
from persona_tui.widgets.picture import PicturePane

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.base import PersonaScreen
    from persona_tui.screens.loras_voting import PairMaker
    from persona_tui.services.voting.comparison import ComparisonState, Pair, PairPicture, Verdict

POLL = 0.5
"""Seconds after which it is looked again whether another pair is there."""
Side = Literal["left", "right"]
SIDES: tuple[Side, ...] = ("left", "right")


class Ballot:
    """What a comparison's votes are read from and cast into: one sitting of one voter.

    Args:
        screen: reads and acts.
        contest_id: of a comparison.
        maker: makes the pictures that it lacks.
    """

    def __init__(self, screen: PersonaScreen, contest_id: int, maker: PairMaker) -> None:
        self._screen = screen
        self._contest = contest_id
        self._sitting = uuid.uuid4()
        self._maker = maker

    @property
    def making(self) -> str:
        """What is being made of it now, in a sentence; empty where nobody makes pictures."""
        return self._maker.making(self._contest)

    def make_rest(self) -> None:
        """Have the pictures made that it lacks."""
        self._maker.begin(self._screen.shell, self._contest)

    async def look(self) -> tuple[ComparisonState, Pair | None, Verdict | None]:
        """How far the comparison is, a pair to vote on, and what all votes on the two say."""
        return await self._screen.read(_look, self._contest)

    def path(self, picture: PairPicture) -> Path | None:
        """Where the picture lies; None when it is gone."""
        return self._screen.shell.core.resources.media.path(picture.media_key)

    async def cast(self, pair: Pair, side: Side | None, response_ms: int | None) -> None:
        """Vote for a side, or for neither.

        Raises:
            NotAllowedNow: the pair was voted on already.
        """
        from persona_tui.services.voting.comparison import cast_pair

        chosen = {"left": pair.left.member_id, "right": pair.right.member_id, None: None}[side]
        shown = (pair.left.member_id, pair.right.member_id)
        cast = partial(cast_pair, sitting=self._sitting, response_ms=response_ms)
        await self._screen.act(cast, self._contest, shown, chosen)

    async def undo(self) -> bool:
        """Take back the last vote of this sitting; False when there is none."""
        from persona_tui.services.voting.comparison import undo_pair

        return await self._screen.act(undo_pair, self._contest, sitting=self._sitting) is not None


def _look(session: Session, contest_id: int) -> tuple[ComparisonState, Pair | None, Verdict | None]:
    from persona_tui.services.voting.comparison import comparison_state, next_pair, verdicts

    state = comparison_state(session, contest_id)
    pair = next_pair(session, contest_id)
    two = (state.lora_id, state.beside_id)
    return state, pair, next((one for one in verdicts(session) if (one.lora_id, one.beside_id) == two), None)


class BlindDialog(Dialog[int]):
    """Shows one pair after the other; the result is the id of a version to promote, or None.

    Args:
        ballot: reads and votes.
        clock: seconds that only grow.
    """

    SCOPE = "blind"

    DEFAULT_CSS = """
    BlindDialog > #frame { width: 98%; max-width: 98%; height: 96%; max-height: 96%; padding: 0 1; }
    BlindDialog #pair { height: 1fr; }
    BlindDialog #pair Vertical { width: 1fr; }
    BlindDialog .caption { height: 1; text-align: center; }
    BlindDialog #words { height: auto; max-height: 8; }
    BlindDialog.-waits #pair { visibility: hidden; }
    BlindDialog.-done #pair { display: none; }
    BlindDialog.-done #words { height: 1fr; max-height: 100%; padding: 1 0; }
    BlindDialog > #frame > Legend { margin-top: 0; }
    """

    def __init__(self, ballot: Ballot, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("Which picture is the better one?")
        self._ballot = ballot
        self._clock = clock
        self._state: ComparisonState | None = None
        self._pair: Pair | None = None
        self._verdict: Verdict | None = None
        self._seen_since: float | None = None
        self._casting = False

    def compose_content(self) -> ComposeResult:
        with Horizontal(id="pair"):
            for side in SIDES:
                with Vertical():
                    yield PicturePane(f"the {side} picture", id=side)
                    yield Static("", classes="caption", id=f"{side}-caption", markup=False)
        yield Static("", id="words", markup=False)

    def on_mount(self) -> None:
        self.add_class("-waits")
        for side in SIDES:
            key = shell_of(self).registry.label(f"blind.{side}")
            self.query_one(f"#{side}-caption", Static).update(dim(f"[{key}] {side}"))
        self.spawn(self._next, group="pair", exclusive=True)
        self.set_interval(POLL, self._poll)

    def _poll(self) -> None:
        """Look for a pair while none is shown; the words say meanwhile what is being made."""
        state = self._state
        if self._casting or (state is not None and state.complete):
            return
        if self._pair is None:
            self.spawn(self._next, group="pair", exclusive=True, quiet=True)
        elif state is not None and state.ready < state.planned:
            self.spawn(self._count, group="count", exclusive=True, quiet=True)

    async def _count(self) -> None:
        """How many are made by now, while a pair is being looked at."""
        self._state, _, self._verdict = await self._ballot.look()
        self._say()

    async def _next(self) -> None:
        self._state, pair, self._verdict = await self._ballot.look()
        self._show(pair)

    def _show(self, pair: Pair | None) -> None:
        self._pair, self._seen_since = pair, None
        self.set_class(pair is None, "-waits")
        self.set_class(self._state is not None and self._state.complete, "-done")
        if pair is not None:
            panes = [self.query_one(f"#{side}", PicturePane) for side in SIDES]
            for pane, picture in zip(panes, (pair.left, pair.right), strict=True):
                pane.alike = panes
                path = self._ballot.path(picture)
                pane.show(path, "a picture" if path else "a picture whose file is gone")
        self._say()

    def _say(self) -> None:
        self.query_one("#words", Static).update(Content("\n").join(self._words()))
        self.refresh_bindings()

    def on_picture_pane_drawn(self, event: PicturePane.Drawn) -> None:
        event.stop()
        if self._seen_since is None and all(pane.loaded for pane in self.query(PicturePane)):
            self._seen_since = self._clock()

    # Words

    def _words(self) -> list[Content]:
        from persona_tui.services.generation.lora_comparison import TRIGGER

        state = self._state
        if state is None:
            return [dim("Looking…")]
        far = f"{state.voted} of {state.planned - state.alike} voted, {state.ready} of {state.planned} made"
        lines = []
        if self._pair is not None:
            prompt = self._pair.prompt.replace(TRIGGER, "‹its trigger word›")
            lines = [dim(f"seed {self._pair.seed}: {short(prompt, 200)}"), dim(far)]
        elif state.complete:
            lines = self._result(state)
        else:
            made = self._ballot.making
            key = shell_of(self).registry.label("blind.make")
            stopped = f"No pictures are being made. [{key}] goes on with them."
            lines = [say("busy", made) if made else say("warn", stopped), dim(far)]
        if state.alike:
            alike = "1 pair was alike" if state.alike == 1 else f"{state.alike} pairs were alike"
            lines.append(say("warn", f"{alike}: the server ignored both LoRAs, or they are equal."))
        return lines

    def _result(self, state: ComparisonState) -> list[Content]:
        """What the votes say, once every pair has one."""
        from persona_tui.services.voting.outlook import SURE

        lines = [Content.styled(f"{state.lora} against {state.beside}", "bold")]
        verdict = self._verdict
        if verdict is None:
            return [*lines, dim("No vote says anything yet.")]
        ahead = self._ahead()
        lines.append(verdict_line(verdict if ahead is None or ahead == verdict.lora_id else verdict.turned()))
        chance = verdict.p_better or 0.5
        if max(chance, 1 - chance) < SURE:
            lines.append(dim("That does not decide it; another comparison of the two takes new seeds."))
        return lines

    def _ahead(self) -> int | None:
        """The id of the version that is more likely the better one; None while neither is."""
        verdict = self._verdict
        if verdict is None or verdict.won == verdict.lost:
            return None
        return verdict.lora_id if verdict.won > verdict.lost else verdict.beside_id

    # Acts

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("left", "right", "unsure"):
            return self._pair is not None
        if action == "undo":
            return self._state is not None and self._state.voted > 0
        if action == "make":
            state = self._state
            return state is not None and state.ready < state.planned and not self._ballot.making
        if action == "promote":
            return self._state is not None and self._state.complete and self._ahead() is not None
        return super().check_action(action, parameters)

    def action_left(self) -> None:
        self._vote("left")

    def action_right(self) -> None:
        self._vote("right")

    def action_unsure(self) -> None:
        self._vote(None)

    def _vote(self, side: Side | None) -> None:
        pair, self._pair = self._pair, None
        if pair is not None:
            self._casting = True
            since = self._seen_since
            spent = None if since is None else round((self._clock() - since) * 1000)
            self.spawn(partial(self._cast, pair, side, spent), group="cast")

    async def _cast(self, pair: Pair, side: Side | None, spent: int | None) -> None:
        try:
            await self._ballot.cast(pair, side, spent)
        finally:  # another window may have voted on it; the next one comes either way
            self._casting = False
            await self._next()

    def action_make(self) -> None:
        self._ballot.make_rest()
        self.spawn(self._next, group="pair", exclusive=True)

    def action_undo(self) -> None:
        self.spawn(self._undo, group="cast")

    async def _undo(self) -> None:
        if not await self._ballot.undo():
            shell_of(self).flash("There is no vote of this sitting to take back.", "info")
        await self._next()

    def action_promote(self) -> None:
        self.dismiss(self._ahead())

    def action_close(self) -> None:
        self.dismiss(None)
