"""What the keys do with one run; each act asks where it can't be undone, and says what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from persona_tui.screens import runs_data, vote_changes, vote_sentences
from persona_tui.screens.runs_data import wake_engine
from persona_tui.screens.runs_errors import TroubleDialog, Whose
from persona_tui.screens.runs_forms import ApproveDialog, cancel_question, winner_question
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.marks import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.generation.cancelling import GenerationJob
    from persona_tui.services.generation.gates import GatePreview
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunView
    from persona_tui.services.generation.traces import JobFailure
    from persona_tui.widgets.form import Values


async def pause(screen: PersonaScreen, run: RunView) -> None:
    """Let no further job of it begin."""
    await screen.act(runs_data.pause, run.id)
    key = screen.shell.registry.label("runs.resume")
    screen.flash(f"“{run.name}” is paused; what is on a server comes to its end. [{key}] goes on.")


async def resume(screen: PersonaScreen, run: RunView) -> None:
    """Go on, and try again what was given up."""
    await screen.act(runs_data.resume, run.id)
    wake_engine(screen.shell)
    screen.flash(f"“{run.name}” goes on.")


async def cancel(screen: PersonaScreen, run: RunView) -> None:
    """End it without a winner, after asking."""
    if await screen.ask(cancel_question(run)):
        await screen.act(runs_data.cancel, run.id)
        wake_engine(screen.shell)
        screen.flash(f"“{run.name}” is cancelled; its pictures stay.")


def has_jobs(run: RunView) -> bool:
    """Whether jobs of it are under way."""
    return any(step.in_flight for step in run.steps)


async def cancel_job(screen: PersonaScreen, run: RunView) -> None:
    """Stop one of its jobs, which the operator chooses; the others go on."""
    jobs = await screen.read(runs_data.live_jobs, run.id)
    choices = [Choice(job.id, f"job {job.id}", _job_words(job)) for job in jobs]
    chosen = await screen.ask(
        ChoiceDialog("Cancel which job?", choices, empty="no job of this run is under way any more")
    )
    if chosen is None:
        return
    done = await screen.act(runs_data.cancel_job, chosen.value)
    wake_engine(screen.shell)
    key = screen.shell.registry.label("runs.resume")
    screen.flash(f"Job {done.id} is cancelled, its picture given up. [{key}] tries it again.")


def _job_words(job: GenerationJob) -> str:
    parent = f" of picture {job.parent_id}" if job.parent_id is not None else ""
    return f"{job.state}, step {job.step}, place {job.slot_no}{parent}, {job.endpoint}"


def may_approve(run: RunView) -> bool:
    """Whether its step has pictures that could go on."""
    return run.status in ("pending", "running", "waiting", "paused") and run.current.active > 0


async def approve(screen: PersonaScreen, run: RunView, k: int | None = None) -> None:
    """Let the best of its step go on; after the last step, choose the winner.

    Args:
        k: how many go on, as proposed at first; by default as the run says.
    """
    following = next((step for step in run.steps if step.position == run.current.position + 1), None)
    if following is None:
        await _choose_winner(screen, run)
    else:
        await _approve_step(screen, run, following, k)


async def _approve_step(screen: PersonaScreen, run: RunView, following: RunStepView, k: int | None) -> None:
    step = run.current
    opened: list[int] = []

    async def submit(values: Values) -> None:
        opened.append(await screen.act(runs_data.approve, step.id, values["k"]))

    async def look(k: int) -> GatePreview:
        return await screen.read(runs_data.preview, step.id, k)

    if await screen.ask(ApproveDialog(step, following.name, look, submit, k)) and opened:
        wake_engine(screen.shell)
        screen.flash(f"{step.name} is approved: {following.name} makes {counted(opened[-1], 'picture')}.")


async def _choose_winner(screen: PersonaScreen, run: RunView) -> None:
    preview = await screen.read(runs_data.preview, run.current.id, 1)
    if not await screen.ask(winner_question(preview)):
        return
    done = await screen.act(vote_changes.accept, run.id)
    if done.post_id is not None:
        await screen.shell.go_to("posts", post_id=done.post_id, caption=1)
    screen.flash(vote_sentences.accepted(done))


async def see_errors(screen: PersonaScreen, run: RunView | None, persona_id: int | None) -> None:
    """Show what failed, and try again what the operator says."""

    async def read(run_id: int | None) -> Sequence[JobFailure]:
        return await screen.read(runs_data.read_failures, run_id, persona_id)

    whose = Whose(run.id, f"“{run.name}”") if run is not None else Whose(None, "")
    again = await screen.ask(TroubleDialog(whose, read, screen.shell.zone))
    if again is None:
        return
    done = await screen.act(runs_data.resume, again)
    wake_engine(screen.shell)
    screen.flash(f"“{done.name}” goes on; what was given up is tried again.", "busy")
