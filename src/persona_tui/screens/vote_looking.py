"""Looking around on the vote view: other contests, other ways to show the pictures, what is known of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from persona_tui.screens import vote_data, vote_sentences
from persona_tui.screens.vote_data import DUEL, GRID
from persona_tui.screens.vote_seat import SeatedScreen
from persona_tui.screens.vote_table import CENTRE
from persona_tui.widgets.choice import Choice, ChoiceDialog


class LookingScreen(SeatedScreen):
    """The part of the vote view that changes nothing but what is seen."""

    # Other contests

    def action_next(self) -> None:
        scene = self._scene
        if scene is None or scene.run is None:
            return
        if scene.asks is not None:
            self._stay_with(scene.run.id)
            return
        if not scene.others:
            key = self.shell.registry.label("vote.queue")
            rest = f" [{key}] lists those between LoRAs." if scene.between_loras else ""
            self.flash(f"There is no other contest of a run to vote on.{rest}", "info")
            return
        if scene.contest_id is not None:
            self._skipped |= {scene.contest_id}
        self._forget()
        self.request_reload()

    def action_queue(self) -> None:
        self.spawn(self._choose_contest, group="choose")

    async def _choose_contest(self) -> None:
        from persona_tui.screens import loras_voting

        waiting = await self.read(vote_data.queue_with_certainty, self.shell.persona_id)
        between = await self.read(vote_data.queue_between_loras, self.shell.persona_id)
        choices: list[Choice[Any]] = [
            Choice(one.run_id, f"{one.run_name}, step {one.position}", vote_sentences.waiting(one, standing))
            for one, standing in waiting
        ]
        choices += [Choice(one, vote_sentences.between(one), vote_sentences.pairs(one)) for one in between]
        dialog = ChoiceDialog(
            "What waits for votes", choices, current=self._run_id, empty="nothing waits for votes"
        )
        chosen = await self.ask(dialog)
        if chosen is None:
            return
        if isinstance(chosen.value, int):
            self._stay_with(chosen.value)
        else:
            await loras_voting.vote_on(self, chosen.value)

    # The same contest in another way

    def action_grid(self) -> None:
        if not self._idle.is_set() or self._scene is None or self._scene.standings is None:
            return
        if len(self._scene.standings.members) <= DUEL:
            self.flash("Only two pictures are here.", "info", seconds=3)
            return
        self._count = GRID if self._count == DUEL else DUEL
        self._begin_change()
        self.spawn(self._show_others, group="vote")

    async def _show_others(self) -> None:
        try:
            scene = await self.read(vote_data.look, self._media, replace(self._seat(), showing=None))
        finally:
            self._idle.set()
        self._show(scene)

    def action_swap(self) -> None:
        scene = self._scene
        if scene is None or scene.showing is None or not self._idle.is_set():
            return
        self._turn += 1
        self._show(replace(scene, showing=replace(scene.showing, members=scene.showing.members[::-1])))

    def action_blink(self) -> None:
        table = self._stage.table
        if table.blinks:
            table.stop_blinking()
        elif table.drawn_at is not None:
            table.blink()

    def action_zoom(self) -> None:
        self._look_closer(CENTRE if self._zoom is None else None)

    def action_pan_left(self) -> None:
        self._pan(-1, 0)

    def action_pan_right(self) -> None:
        self._pan(1, 0)

    def action_pan_up(self) -> None:
        self._pan(0, -1)

    def action_pan_down(self) -> None:
        self._pan(0, 1)

    def action_reveal(self) -> None:
        self._revealed = not self._revealed
        self._show_words()

    def action_info(self) -> None:
        self._info = not self._info
        self._show_words()

    async def action_gallery(self) -> None:
        if self._scene is not None and self._scene.run is not None:
            await self.shell.go_to("gallery", run_id=self._scene.run.id)
