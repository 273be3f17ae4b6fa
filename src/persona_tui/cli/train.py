"""`persona-tui train`: start, queue, status, pause, stop, resume, steps, export; with plan and compare."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli import train_compare, train_plan
from persona_tui.cli.frame import (
    AsJson,
    group,
    note,
    persona_of,
    require_consent,
    resources,
    show,
    table,
)
from persona_tui.cli.train_current import catch_up, current
from persona_tui.errors import NotAllowedNow

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.training.attach import Attached
    from persona_tui.services.training.runs import TrainingView
    from persona_tui.services.training.start import How

commands = group("Training LoRAs: plan, start, status, pause, stop, resume, compare.")
commands.command("plan")(train_plan.plan)
commands.command("compare")(train_compare.compare)

RunId = Annotated[int, typer.Argument(metavar="ID", help="The training's id.")]
Yes = Annotated[bool, typer.Option("--accept-licence", help="You have read the base model's licence.")]
Cards = Annotated[
    str | None, typer.Option(help="Other cards than planned, such as 0,1: one process on each.")
]
_GIB = 1 << 30
_PATIENCE = 15
"""Looks at a training without a process after which nobody takes it up: who leads does within ten seconds."""


@commands.command("start")
def start(
    run_id: RunId,
    cards: Cards = None,
    accept_licence: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Begin a planned training. It goes on without this terminal."""
    from persona_tui.services.training.start import How

    _start(run_id, as_json, accept_licence=accept_licence, how=How(cards=cards))


@commands.command("resume")
def resume(
    run_id: RunId,
    steps: Annotated[int | None, typer.Option(help="Another number of steps in all.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where its folder was moved to.")] = None,
    cards: Cards = None,
    accept_licence: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a training that rests or failed; with --steps also with one that is done."""
    from persona_tui.services.training.start import How

    _start(run_id, as_json, accept_licence=accept_licence, how=How(steps, folder, cards=cards))


def _start(run_id: int, as_json: bool, *, accept_licence: bool, how: How | None = None) -> None:
    from persona_tui.services.training.start import How, start_training

    with resources() as opened:
        accepted = accept_licence or _asked(opened, run_id)
        view = asyncio.run(
            start_training(opened.trainings, run_id, note, accept_licence=accepted, how=how or How())
        )
    show(
        view,
        as_json,
        lambda: [
            f"✅ Training {view.id} of {view.name} has begun; it goes on when this terminal is closed.",
            f"   `persona-tui train status {view.id} --follow` watches it.",
        ],
    )


def _asked(opened: Resources, run_id: int) -> bool:
    """Show a non-commercial licence before its first use, and ask a person who is there."""
    import sys

    from persona_tui.services.training.licences import is_acknowledged
    from persona_tui.services.training.recipe import family_of
    from persona_tui.services.training.runs import get_training

    with opened.database.session_scope() as reading:
        family = family_of(get_training(reading, run_id).family)
        if is_acknowledged(reading, family) or not sys.stdin.isatty():
            return False
    note(f"{family.title}: {family.licence.name}, {family.licence.url}")
    question = "It forbids commercial use, which marks every picture of this LoRA. Have you read it?"
    require_consent(False, question, refusal="The licence was not acknowledged")
    return True


@commands.command("export")
def export(
    run_id: RunId,
    step: Annotated[int | None, typer.Option(help="Of the checkpoint; otherwise the proposed one.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The weights as they were, not their average.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a checkpoint into the LoRA's next version, without training further."""
    from persona_tui.services.training.start import Export, How

    how = How(export=Export(step, "raw" if raw else "ema"))
    _start(run_id, as_json, accept_licence=False, how=how)


@commands.command("queue")
def queue(run_id: RunId, as_json: AsJson = False) -> None:
    """Have a training started when its card is free, while the app or the scheduler runs."""
    from persona_tui.services.training.orders import queue as put_in_line

    with resources() as opened:
        view = put_in_line(opened.database.session_scope, run_id)
    show(view, as_json, lambda: [f"✅ Training {run_id} waits for its card."])


@commands.command("pause")
def pause(run_id: RunId, as_json: AsJson = False) -> None:
    """Rest at the next step, with a checkpoint; the card is free meanwhile."""
    _order(run_id, "pause", as_json)


@commands.command("stop")
def stop(run_id: RunId, as_json: AsJson = False) -> None:
    """End at the next step, with a checkpoint."""
    _order(run_id, "stop", as_json)


def _order(run_id: int, want: str, as_json: bool) -> None:
    from persona_tui.services.training.orders import order

    with resources() as opened:
        view = order(opened.database.session_scope, run_id, want)
    done = "is stopped" if view.status == "stopped" else f"will {want} at its next step"
    show(view, as_json, lambda: [f"✅ Training {run_id} {done}."])


@commands.command("steps")
def steps(
    run_id: RunId,
    count: Annotated[int, typer.Argument(metavar="STEPS", help="How many in all.")],
    as_json: AsJson = False,
) -> None:
    """Let a training take another number of steps, also while it runs."""
    from persona_tui.services.training.orders import change_steps

    with resources() as opened:
        view = change_steps(opened.database.session_scope, run_id, count)
    show(view, as_json, lambda: [f"✅ Training {run_id} takes {view.total_steps} steps."])


@commands.command("status")
def status(
    run_id: Annotated[int | None, typer.Argument(metavar="[ID]", help="One training; otherwise all.")] = None,
    persona: Annotated[str | None, typer.Option(help="Only this persona's.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Say more until it ends; JSON lines with --json.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """How trainings stand. Exit 1 when the one that was asked for has failed."""
    from persona_tui.services.training.runs import list_trainings

    with resources() as opened:
        if run_id is None:
            catch_up(opened)
            with opened.database.session_scope() as reading:
                owner = persona_of(reading, persona).id if persona else None
                views = list_trainings(reading, owner)
            if not views and not as_json:
                note("Nothing was trained yet. `persona-tui train plan` begins it.")
            show(views, as_json, lambda: _table(views))
            return
        view = current(opened, run_id)
        if follow:
            view = _follow(opened, view, as_json)
        else:
            _show_one(view, as_json)
    if view.status == "failed":
        raise typer.Exit(1)


def _table(views: tuple[TrainingView, ...]) -> Iterator[str]:
    return table(
        ["id", "LoRA", "base", "dataset", "status", "step", "made", "trouble"],
        (
            [
                one.id, one.name, one.family, f"{one.persona}/{one.dataset}", one.status,
                f"{one.step}/{one.total_steps}", one.lora, one.trouble,
            ]
            for one in views
        ),
    )  # fmt: skip


def _show_one(view: TrainingView, as_json: bool) -> None:
    from persona_tui.services.training.attach import as_json as plain_of
    from persona_tui.services.training.attach import attach

    attached = attach(view)
    show({"training": view, "now": plain_of(attached)}, as_json, lambda: _lines(view, attached))


def _lines(view: TrainingView, now: Attached) -> Iterator[str]:
    yield f"{view.id}: {view.name} of {view.persona}, {view.family}, {view.status}"
    # Of a folder that is gone, the database knows how far it had come.
    yield f"step {now.step if now.found else view.step} of {now.total_steps}, {now.doing}{_pace(now)}"
    if now.losses:
        yield f"loss {now.losses[-1].loss:.4f}"
    if now.held_out:
        yield "held out, loss by noise: " + _by_level(now.held_out)
    yield from _likeness(now)
    if view.predicted_vram is not None:
        measured = (
            "not measured yet" if view.measured_vram is None else f"{view.measured_vram / _GIB:.1f} GiB used"
        )
        yield f"card: {view.predicted_vram / _GIB:.1f} GiB planned, {measured}"
    if now.peaks:
        what = "the machine's memory" if view.predicted_vram is None else "its card"
        yield f"each process's peak of {what}: {', '.join(f'{one / _GIB:.1f}' for one in now.peaks)} GiB"
    yield f"folder: {view.folder}{'' if now.found else ' (gone)'}"
    if view.lora is not None:
        yield f"made: {view.lora}, of step {view.best_step}"
    if now.proposed is not None and now.proposed != view.best_step:
        yield f"proposed: step {now.proposed}; `train export {view.id}` makes it a version"
    for event in now.events[-5:]:
        words = event.get("message") or event.get("stage") or ""
        yield f"   {str(event.get('at', ''))[:19]} {event['event']} {words}"
    for sentence, hint in _troubles(view, now):
        yield f"⚠️  {sentence}"
        yield f"   {hint}"


def _by_level(losses: Sequence[tuple[float, float]]) -> str:
    """`0.06 1.21, 0.19 1.10 …`: noise level and loss."""
    return ", ".join(f"{sigma:.2f} {loss:.3g}" for sigma, loss in losses)


def _troubles(view: TrainingView, now: Attached) -> Iterator[tuple[str, str]]:
    """What keeps a training from getting on, and what to do about each."""
    from persona_tui.gpu.training.pulse import WAITS_FOR_SPACE

    if now.alive and now.doing == WAITS_FOR_SPACE:
        yield f"There is no room left on the disk of {view.folder}.", "Free some: it goes on by itself."
    if view.is_live and not now.alive and not view.trouble:
        yield (
            f"Its process is gone, at step {now.step}.",
            f"The app or `persona-tui scheduler` takes it up again; so does `train resume {view.id}`.",
        )
    if view.trouble:
        yield view.trouble, view.hint


def _likeness(now: Attached) -> Iterator[str]:
    """The last one that was measured, and whether it is enough."""
    told = next((one for one in reversed(now.evaluations) if one.get("likeness") is not None), None)
    if told is None:
        return
    words = f"likeness {told['likeness']:.2f} at step {told['step']}"
    if told.get("threshold") is not None and told.get("passed") is not None:
        by = "found from its references" if told.get("calibrated_on") else "a usual one"
        words += f"; {told['passed']:.0%} of the samples reach {told['threshold']:.2f}, {by}"
    nobody = {name: count for name, count in told.get("outcomes", {}).items() if name != "seen"}
    yield words + "".join(f"; {name}: {count}" for name, count in nobody.items())


def _pace(now: Attached) -> str:
    if now.seconds_per_step is None or now.seconds_left is None:
        return ""
    return f", {now.seconds_per_step:.2f} s a step, {now.seconds_left / 60:.0f} min left"


def _follow(opened: Resources, view: TrainingView, as_json: bool) -> TrainingView:
    """Say each change until the training rests or ends: a line of text or of JSON."""
    from persona_tui.services.training.attach import attach

    last: tuple[object, ...] = ()
    gone = 0
    while True:
        view = current(opened, view.id)
        now = attach(view)
        gone = 0 if now.alive or not view.is_live else gone + 1
        seen = (view.status, now.step, now.doing, view.trouble)
        if seen != last:
            last = seen
            _say(view, now, as_json)
        if gone > _PATIENCE:
            sentence, hint = next(_troubles(view, now))
            raise NotAllowedNow(sentence, title="Training is at rest", hint=hint)
        if not view.is_live and view.status not in ("planned", "queued"):
            if view.hint and not as_json:
                note(f"   {view.hint}")
            return view
        time.sleep(1.0)


def _say(view: TrainingView, now: Attached, as_json: bool) -> None:
    loss = now.losses[-1].loss if now.losses else None
    if as_json:
        told = {
            "id": view.id, "status": view.status, "step": now.step, "total_steps": now.total_steps,
            "loss": loss, "doing": now.doing, "seconds_per_step": now.seconds_per_step,
            "seconds_left": now.seconds_left, "trouble": view.trouble,
        }  # fmt: skip
        print(json.dumps(told), flush=True)
        return
    words = "" if loss is None else f", loss {loss:.4f}"
    line = f"{view.status}: step {now.step} of {now.total_steps}{words}{_pace(now)} {view.trouble}"
    print(line.rstrip(), flush=True)
