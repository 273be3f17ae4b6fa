"""`persona-tui run` approve, unapprove, reject, unreject, winner, unchoose, night, undo-night."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, note, resources, session, show
from persona_tui.cli.run_tree import cost_words

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.services.generation.gates import GatePreview
    from persona_tui.services.generation.progress import RunStepView
    from persona_tui.services.generation.runs import RunDetail

RunId = Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")]
CandidateId = Annotated[int, typer.Argument(metavar="CANDIDATE", help="The picture's number.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask, whatever speaks against it.")]
NightOption = Annotated[
    str | None,
    typer.Option("--night", metavar="off|sure|TIME", help="Who passes its gates while nobody is there."),
]


def add_to(commands: typer.Typer) -> None:
    """Put the commands into the group `run`."""
    for name, command in (
        ("approve", approve),
        ("unapprove", unapprove),
        ("reject", reject),
        ("unreject", unreject),
        ("winner", winner),
        ("unchoose", unchoose),
        ("night", night),
        ("undo-night", undo_night),
    ):
        commands.command(name)(command)


def approve(
    run: RunId,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", help="How many pictures go on.")] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Approve the step that waits; after the last step the best picture wins."""
    with resources() as tools:
        scope = tools.database.session_scope
        with scope() as opened:
            step, preview, result = _approve(opened, run, top_k)
            asks = bool(preview.warnings) and not yes
            if asks:  # only tried, so that nobody is asked about what is refused anyway
                opened.rollback()
        _ask(preview.warnings, f"Approve step {step.position}, {step.name}, all the same?", yes)
        if asks:
            with scope() as opened:
                step, preview, result = _approve(opened, run, top_k)
    show(result, as_json, lambda: [_approved_words(step, preview)])


def _approve(opened: Session, run: int, top_k: int | None) -> tuple[RunStepView, GatePreview, Any]:
    """Approve the step that waits, or choose the winner; with what the preview said of it."""
    from persona_tui.services.generation.gates import approve as approve_step
    from persona_tui.services.generation.gates import choose_winner, gate_preview

    step = _waiting_step(opened, run)
    k = top_k if top_k is not None else 1 if step.is_last else min(step.top_k, max(step.active, 1))
    preview = gate_preview(opened, step.id, k)
    if step.is_last and preview.members:
        return step, preview, choose_winner(opened, preview.members[0].candidate_id, actor="operator")
    return step, preview, approve_step(opened, step.id, k, actor="operator")


def _waiting_step(opened: Session, run: int) -> RunStepView:
    from persona_tui.errors import NotAllowedNow
    from persona_tui.services.generation.runs import run_detail

    step = run_detail(opened, run).current
    if step.approved:
        raise NotAllowedNow(f"Every step of run {run} is approved.", hint="See `persona-tui run show`.")
    return step


def _approved_words(step: RunStepView, preview: GatePreview) -> str:
    if step.is_last:
        return f"✅ Candidate {preview.members[0].candidate_id} wins."
    costs = cost_words(preview.cost, preview.minutes)
    return f"✅ Step {step.position} is approved with {len(preview.members)}; {costs} to come."


def _ask(warnings: Sequence[str], question: str, yes: bool) -> None:
    """Say what speaks against an act; go on only when the operator says so.

    Raises:
        NotAllowedNow: nobody can be asked, and it was not said beforehand.
    """
    from persona_tui.errors import NotAllowedNow

    for warning in warnings:
        note(f"⚠️  {warning}")
    if not warnings or yes:
        return
    if not sys.stdin.isatty():
        raise NotAllowedNow("Something speaks against it.", hint="Say --yes to do it all the same.")
    typer.confirm(question, abort=True, err=True)


def unapprove(
    run: RunId,
    step: Annotated[
        int | None, typer.Argument(metavar="[STEP]", help="The step's place; otherwise the last approved.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Also stop what a server is making for it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take an approval back while nothing was made from it; its pictures can be voted on again."""
    from persona_tui.services.generation.gates import unapprove as take_back

    with session() as opened:
        position, run_step_id = _approved_step(opened, run, step)
        undone = take_back(opened, run_step_id, actor="operator", stop=yes)
    show(
        undone,
        as_json,
        lambda: [
            f"✅ Step {position} is open again; {undone.withdrawn} pictures are no longer made.",
            *(["   The run's night mode is off now."] if undone.night_ended else []),
        ],
    )


def _approved_step(opened: Session, run: int, position: int | None) -> tuple[int, int]:
    from persona_tui.errors import NotAllowedNow, UnknownName
    from persona_tui.services.generation.runs import run_detail

    steps = run_detail(opened, run).steps
    if position is not None:
        named = next((step for step in steps if step.position == position), None)
        if named is None:
            raise UnknownName(f"Run {run} has no step {position}.", hint=f"Its steps are 1 to {len(steps)}.")
        return named.position, named.id
    last = next((step for step in reversed(steps) if step.approved), None)
    if last is None:
        raise NotAllowedNow(f"No step of run {run} is approved.", hint="There is nothing to take back.")
    return last.position, last.id


def reject(candidate: CandidateId, as_json: AsJson = False) -> None:
    """Reject a picture with all that grew from it; its place gets another one."""
    from persona_tui.services.generation.gates import reject as reject_branch

    with session() as opened:
        gone = reject_branch(opened, candidate)
    show(gone, as_json, lambda: [f"✅ {_pictures(len(gone.candidate_ids))} rejected."])


def unreject(candidate: CandidateId, as_json: AsJson = False) -> None:
    """Take a rejection back, with all that went with it."""
    from persona_tui.services.generation.gates import unreject as restore_branch

    with session() as opened:
        back = restore_branch(opened, candidate)
    show(back, as_json, lambda: [f"✅ {_pictures(len(back.candidate_ids))} restored."])


def winner(candidate: CandidateId, as_json: AsJson = False) -> None:
    """Choose the winner of a run yourself; the one before loses its title."""
    from persona_tui.services.generation.gates import choose_winner

    with session() as opened:
        chosen = choose_winner(opened, candidate, actor="operator")
    show(chosen, as_json, lambda: [f"✅ Candidate {candidate} wins.", *(f"   {one}" for one in chosen.notes)])


def unchoose(run: RunId, as_json: AsJson = False) -> None:
    """Take a run's winner back; the run waits again."""
    from persona_tui.services.generation.gates import unchoose_winner

    with session() as opened:
        undone = unchoose_winner(opened, run, actor="operator")
    show(
        undone, as_json, lambda: [f"✅ Run {run} has no winner now.", *(f"   {one}" for one in undone.notes)]
    )


def night(
    run: RunId,
    sure: Annotated[bool, typer.Option("--sure", help="Pass a gate once the ranking is sure.")] = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Pass gates from 23:00 or 2026-11-24T23:00 on.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Let every gate wait for you.")] = False,
    as_json: AsJson = False,
) -> None:
    """Who passes a run's gates while nobody is there; without an option, what is set."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.generation.run_acts import set_night
    from persona_tui.services.generation.runs import run_detail

    if sure + off + (at is not None) > 1:
        raise InvalidRequest("The night mode is one of these.", hint="Say --sure, --at TIME or --off.")
    with resources() as opened, opened.database.session_scope() as opened_session:
        found = run_detail(opened_session, run)
        if sure or off:
            found = set_night(opened_session, run, "sure" if sure else "off")
        elif at is not None:
            found = set_night(
                opened_session, run, "at", _moment(opened, opened_session, found.persona_id, at)
            )
    show(
        {"run": run, "night": found.night, "night_at": found.night_at},
        as_json,
        lambda: [f"✅ Night mode of run {run}: {night_words(found)}"],
    )


def night_words(run: RunDetail) -> str:
    """A run's night policy for people."""
    if run.night_at is not None:
        return f"gates are passed from {run.night_at:%Y-%m-%d %H:%M} UTC on."
    return "gates are passed once the ranking is sure." if run.night == "sure" else "off."


def night_fields(
    opened: Resources, opened_session: Session, persona_id: int | None, words: str | None
) -> dict[str, Any]:
    """The fields of a run that `--night` gives."""
    if words is None:
        return {}
    if words in ("off", "sure"):
        return {"night": words}
    return {"night": "at", "night_at": _moment(opened, opened_session, persona_id, words)}


def _moment(opened: Resources, opened_session: Session, persona_id: int | None, words: str) -> datetime:
    """A time on the persona's clock, or on the default zone's."""
    from persona_tui.services.generation.run_acts import night_moment
    from persona_tui.services.planning.personas import get_persona

    zone = opened.settings.default_zone
    if persona_id is not None:
        zone = get_persona(opened_session, persona_id).zone
    return night_moment(words, zone, opened.now())


def undo_night(run: RunId, as_json: AsJson = False) -> None:
    """Take back what the night mode approved; what grew from it is rejected and can be restored."""
    from persona_tui.services.generation.night import undo_night as take_back

    with session() as opened:
        undone = take_back(opened, run)
    steps = ", ".join(map(str, undone.steps))
    show(
        undone,
        as_json,
        lambda: [
            f"✅ The night's approval of step {steps} is taken back.",
            f"   {_pictures(len(undone.rejected))} rejected; the run's night mode is off now.",
        ],
    )


def _pictures(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count} pictures are"
