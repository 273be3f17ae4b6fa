"""`persona-tui train`: start, queue, status, pause, stop, resume, steps, export; with plan and compare."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
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
from persona_tui.cli.train_lines import follow_line, status_lines, troubles
from persona_tui.errors import NotAllowedNow

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.training.attach import Attached
    from persona_tui.services.training.runs import TrainingView
    from persona_tui.services.training.start import How

commands = group("Training LoRAs: plan, start, queue, status, resume, compare.")
commands.command("plan")(train_plan.plan)
commands.command("compare")(train_compare.compare)

RunId = Annotated[int, typer.Argument(metavar="ID", help="The training's id.")]
Yes = Annotated[bool, typer.Option("--accept-licence", help="You have read the licences that are shown.")]
Cards = Annotated[
    str | None, typer.Option(help="Other cards than planned, such as 0,1: one process on each.")
]
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
    """Show licences that forbid commercial use before the first one, and ask a person who is there."""
    import sys

    from persona_tui.services.training.licences import unread
    from persona_tui.services.training.recipe import family_of
    from persona_tui.services.training.runs import get_training
    from persona_tui.services.training.scorers import arcface_in

    with opened.database.session_scope() as reading:
        view = get_training(reading, run_id)
        family = family_of(view.family)
        missing = unread(reading, family, arcface_in(view.folder))
    if not missing or not sys.stdin.isatty():
        return False
    for one in missing:
        note(one.sentence)
    marks = "" if family.licence.commercial else " That marks every picture of this LoRA."
    question = f"Have you read it, and may you use it so?{marks}"
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
def queue(run_id: RunId, accept_licence: Yes = False, as_json: AsJson = False) -> None:
    """Have a training started when its card is free, while the app or the scheduler runs."""
    from persona_tui.services.training.orders import queue as put_in_line

    with resources() as opened:
        accepted = accept_licence or _asked(opened, run_id)
        view = put_in_line(opened.database.session_scope, run_id, accept_licence=accepted)
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
    show({"training": view, "now": plain_of(attached)}, as_json, lambda: status_lines(view, attached))


def _follow(opened: Resources, view: TrainingView, as_json: bool) -> TrainingView:
    """Say each change until the training rests or ends: a line of text or of JSON."""
    from persona_tui.services.training.attach import attach

    last: tuple[object, ...] = ()
    line = ""
    gone = 0
    while True:
        view = current(opened, view.id)
        now = attach(view)
        gone = 0 if now.alive or not view.is_live else gone + 1
        seen = (view.status, now.step, now.encoded, now.doing, view.trouble)
        if seen != last:
            last = seen
            line = _say(view, now, as_json, line)
        if gone > _PATIENCE:
            sentence, hint = next(troubles(view, now))
            raise NotAllowedNow(sentence, title="Training is at rest", hint=hint)
        if not view.is_live and view.status not in ("planned", "queued"):
            if view.hint and not as_json:
                note(f"   {view.hint}")
            return view
        time.sleep(1.0)


def _say(view: TrainingView, now: Attached, as_json: bool, before: str) -> str:
    """Print what is new, and give the line: what a person would read twice is said once."""
    loss = now.losses[-1].loss if now.losses else None
    if as_json:
        told = {
            "id": view.id, "status": view.status, "step": now.step, "total_steps": now.total_steps,
            "encoded": now.encoded, "loss": loss, "doing": now.doing,
            "seconds_per_step": now.seconds_per_step, "seconds_left": now.seconds_left,
            "trouble": view.trouble,
        }  # fmt: skip
        print(json.dumps(told), flush=True)
        return ""
    line = follow_line(view, now)
    if line != before:
        print(line, flush=True)
    return line
