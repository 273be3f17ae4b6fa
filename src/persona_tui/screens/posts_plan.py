"""What is done with the plan as a whole: overdue posts, a rehearsal, a pause of everything."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from textual.content import Content
from textual.worker import Worker

from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.posts_overdue import OverdueDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import IntegerField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted
from persona_tui.widgets.progress import ProgressPanel
from persona_tui.widgets.reader import TextDialog

DAYS = 7


class PlanActs(PersonaScreen):
    """The acts on the whole plan; its screen has a panel for progress under `#rehearsal`."""

    rehearsal: Worker[None] | None = None
    """The rehearsal that runs, if one does."""

    def action_overdue(self) -> None:
        if self.shell.persona_id is not None:
            self.spawn(self._open_overdue, group="ask")

    async def _open_overdue(self) -> None:
        assert self.shell.persona_id is not None
        await self.ask(OverdueDialog(self.shell.persona_id))
        self.request_reload()

    # A pause of all publishing

    def action_hold(self) -> None:
        self.spawn(self._hold, group="ask")

    async def _hold(self) -> None:
        from persona_tui.services.publishing.pausing import pause_all, publishing_paused, resume_all

        key = self.shell.registry.label("posts.hold")
        if await self.read(publishing_paused):
            await self.act(resume_all)
            self.flash("Posts go out again.")
        else:
            question = ConfirmDialog(
                "Pause all publishing?",
                f"Nothing of any persona goes out until {key} lets it; what is being sent right now is "
                "looked after. What grows late meanwhile is treated as its persona says.",
                title="Pause all",
                yes="Pause",
                no="Go on",
            )
            if not await self.ask(question):
                return
            await self.act(pause_all)
            self.flash(f"All publishing is paused. {key} goes on.", "warn", seconds=15)
        self.request_reload()

    # The rehearsal

    def action_rehearse(self) -> None:
        if self.rehearsal is not None:
            key = self.shell.registry.label("global.back")
            self.flash(f"A rehearsal runs already; {key} stops it.", "info")
            return
        self.spawn(self._ask_and_rehearse, group="ask")

    async def _ask_and_rehearse(self) -> None:
        from persona_tui.rehearsal import MOST_DAYS

        days: list[int] = []

        async def submit(values: Mapping[str, Any]) -> None:
            days.append(values["days"])

        form = FormDialog(
            "Rehearse the plan",
            [
                IntegerField(
                    name="days",
                    label="Days from now",
                    value=DAYS,
                    minimum=1,
                    maximum=MOST_DAYS,
                    required=True,
                )
            ],
            about="Plays all that is planned for all personas on a copy, against the sandbox and at speed. "
            "Nothing reaches Instagram, and the plan stays as it is.",
            submit=submit,
        )
        if await self.ask(form) and days:
            self.rehearsal = self.spawn(partial(self._rehearse, days[0]), group="rehearsal")

    async def _rehearse(self, days: int) -> None:
        from persona_tui.rehearsal import told

        panel = self.query_one("#rehearsal", ProgressPanel)
        panel.restart(f"Rehearsing {counted(days, 'day')}")
        self.add_class("-rehearsing")

        def progress(out: int, of: int, _now: datetime) -> None:
            panel.advance_to(out, of)

        try:
            played = await self.shell.core.rehearse(days, progress)
        finally:
            self.remove_class("-rehearsing")
            self.rehearsal = None
        await self.ask(TextDialog("Rehearsal", Content("\n".join(told(played)))))

    def stop_rehearsal(self) -> bool:
        """Stop the rehearsal that runs; False: none did."""
        if self.rehearsal is None:
            return False
        self.rehearsal.cancel()
        self.flash("The rehearsal is stopped; its copy is removed.", "info")
        return True
