"""From a run's gates to its end: taking an approval back, night mode, opening it again, deleting it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from persona_tui.errors import InvalidRequest
from persona_tui.screens import runs_data
from persona_tui.screens.runs_data import wake_engine
from persona_tui.screens.runs_lines import NIGHT
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import ChoiceField, TextField
from persona_tui.widgets.form import FormDialog, Values
from persona_tui.widgets.marks import counted

if TYPE_CHECKING:
    from datetime import datetime

    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.generation.deletion import DeletionPreview
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunView

POLICIES = (
    ("off", "off: gates wait for you"),
    ("sure", "sure: passes gates when the ranking is sure"),
    ("at", "at: passes gates from a time on"),
)


def last_approved(run: RunView) -> RunStepView | None:
    """The latest step whose gate is passed."""
    return next((step for step in reversed(run.steps) if step.approved and not step.is_last), None)


def may_unapprove(run: RunView) -> bool:
    """Whether there is an approval that could be taken back."""
    return run.status not in ("completed", "cancelled") and last_approved(run) is not None


async def unapprove(screen: PersonaScreen, run: RunView) -> None:
    """Take the latest approval back; what the night mode approved goes with all that grew from it."""
    step = last_approved(run)
    if step is None:
        return
    if step.approved_by == NIGHT:
        await _undo_night(screen, run)
        return
    following = next((one for one in run.steps if one.position == step.position + 1), None)
    busy = following.sent if following is not None else 0
    if busy and not await screen.ask(_stop_question(step, busy)):
        return
    done = await screen.act(runs_data.unapprove, step.id)
    wake_engine(screen.shell)
    withdrawn = f"; {counted(done.withdrawn, 'picture')} will not be made" if done.withdrawn else ""
    screen.flash(f"{step.name} waits for your approval again{withdrawn}.")


def _stop_question(step: RunStepView, busy: int) -> ConfirmDialog:
    return ConfirmDialog(
        f"Take the approval of {step.name} back?",
        f"{counted(busy, 'picture')} of the next step are on a server; they are stopped.",
        title="Take back",
        yes="Take it back",
        no="Leave it",
    )


async def _undo_night(screen: PersonaScreen, run: RunView) -> None:
    question = ConfirmDialog(
        f"Take back what the night mode approved in “{run.name}”?",
        "What grew from it is rejected; each picture can be taken back later.",
        title="Undo the night",
        yes="Undo the night",
        no="Leave it",
    )
    if await screen.ask(question):
        done = await screen.act(runs_data.undo_night, run.id)
        wake_engine(screen.shell)
        steps = ", ".join(map(str, done.steps))
        screen.flash(f"The night's approval of step {steps} is taken back, {len(done.rejected)} rejected.")


async def reopen(screen: PersonaScreen, run: RunView) -> None:
    """Go on with a run that has ended."""
    done = await screen.act(runs_data.reopen, run.id)
    wake_engine(screen.shell)
    screen.flash(f"“{done.name}” is open again.")


async def delete(screen: PersonaScreen, run: RunView) -> None:
    """Delete a run with its pictures and their files, after telling who would miss them."""
    found = await screen.read(runs_data.deletion_preview, run.id)
    if not await screen.ask(_delete_question(found)):
        return
    done = await screen.act(runs_data.delete, run.id)
    media, scope = screen.shell.core.resources.media, screen.shell.database.session_scope
    await asyncio.to_thread(runs_data.remove_files, scope, media)
    screen.flash(f"“{done.name}” is deleted with {counted(done.pictures, 'picture')}.")


def _delete_question(found: DeletionPreview) -> ConfirmDialog:
    pictures = f"{counted(found.pictures, 'picture')} and their files go with it."
    return ConfirmDialog(
        f"Delete “{found.name}”?",
        " ".join([pictures, *found.uses, "This can't be taken back."]),
        title="Delete the run",
        yes="Delete",
        no="Keep it",
        dangerous=True,
    )


async def night(screen: PersonaScreen, run: RunView) -> None:
    """Say who passes the run's gates while nobody is there."""
    zone, now = str(screen.shell.zone), screen.shell.now()

    async def submit(values: Values) -> None:
        await screen.act(
            runs_data.set_night,
            run.id,
            values["night"],
            moment(values["night"], values["night_at"], zone, now),
        )

    at = run.night_at.astimezone(screen.shell.zone) if run.night_at is not None else None
    form = FormDialog(
        f"Night mode of “{run.name}”",
        night_fields(run.night, f"{at:%Y-%m-%dT%H:%M}" if at is not None else None, zone, now),
        about="What it approves is marked, and can be taken back in the morning.",
        submit=submit,
    )
    given = await screen.ask(form)
    if given is not None:
        screen.flash("Gates wait for you." if given["night"] == "off" else "Night mode is on.")


def night_fields(policy: str, at: str | None, zone: str, now: datetime) -> list[ChoiceField | TextField]:
    """The two fields of the night mode.

    Args:
        at: its time as typed.
        zone: IANA name, for times without one.
    """

    def problem(words: str) -> str | None:
        try:
            moment("at", words, zone, now)
        except InvalidRequest as found:
            return f"{found.message} {found.hint}"
        return None

    return [
        ChoiceField(name="night", label="Night mode", value=policy, choices=POLICIES),
        TextField(
            name="night_at",
            label="Night from",
            value=at,
            hint=f"Chooses “at”: 23:00, or 2026-11-24T23:00, in {zone}.",
            check=problem,
            implies=("night", "at"),
        ),
    ]


def moment(policy: str, words: str, zone: str, now: datetime) -> datetime | None:
    """From when on gates may be passed; None unless the policy is `at`.

    Raises:
        InvalidRequest: it is no time.
    """
    from persona_tui.services.generation.run_acts import night_moment

    return night_moment(words, zone, now) if policy == "at" else None
