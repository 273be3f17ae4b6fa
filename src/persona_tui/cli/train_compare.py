"""`persona-tui train compare`: a training's checkpoints beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from persona_tui.cli.frame import AsJson, note, resources, show, table
from persona_tui.cli.train_current import current

if TYPE_CHECKING:
    from persona_tui.gpu.training.choosing import Beside
    from persona_tui.services.training.runs import CheckpointView, TrainingView


_WORDS: Mapping[str, str] = {
    "validation_loss": "held-out loss",
    "training_likeness": "likeness to learnt pictures",
    "passed": "recognised",
    "seconds": "seconds to look",
}
"""Heads of what is called otherwise in the folder's files; --json keeps those names."""


def compare(
    run_id: Annotated[int, typer.Argument(metavar="ID", help="The training's id.")], as_json: AsJson = False
) -> None:
    """The checkpoints of a training with their scores, and their held-out loss at each noise level."""
    from persona_tui.gpu.training.folder import RunFolder
    from persona_tui.services.training.attach import beside_proposed, proposed_in
    from persona_tui.services.training.run_log import by_noise
    from persona_tui.services.training.runs import checkpoints_of

    with resources() as opened:
        view = current(opened, run_id)
        with opened.database.session_scope() as reading:
            checkpoints = checkpoints_of(reading, run_id)
    proposed = proposed_in(RunFolder(view.folder).manifest())
    beside = beside_proposed(RunFolder(view.folder))
    if not checkpoints and not as_json:
        note(f"Training {run_id} has no checkpoint yet.")
    show(
        {"training": view, "proposed": proposed, "checkpoints": checkpoints, "beside_proposed": beside},
        as_json,
        lambda: chain(
            _scores(view, checkpoints, proposed, beside),
            _by_noise({one.step: by_noise(one.scores) for one in checkpoints}),
        ),
    )


def _scores(
    view: TrainingView,
    checkpoints: Sequence[CheckpointView],
    proposed: int | None,
    beside: Mapping[int, Beside],
) -> Iterator[str]:
    """Those that are there or were looked at, a row each; --json has all."""
    shown = [one for one in checkpoints if one.kept or one.scores]
    names = sorted({name for one in shown for name, value in one.scores.items() if _is_number(name, value)})
    # A weak likeness says so in its scorer's name.
    by_whom = ["likeness by"] if "likeness" in names else []
    beside_it = ["beside the proposed"] if beside else []
    yield from table(
        ["step", *(_WORDS.get(name, name) for name in names), *by_whom, *beside_it, ""],
        (
            [
                one.step,
                *(_score(one, name) for name in names),
                *([one.scores.get("scorer")] if by_whom else []),
                *([_beside(beside.get(one.step))] if beside else []),
                _mark(view, proposed, one),
            ]
            for one in shown
        ),
    )
    if len(shown) < len(checkpoints):
        yield f"{len(checkpoints) - len(shown)} more were removed before they were looked at."


def _by_noise(losses: Mapping[int, Sequence[tuple[float, float]]]) -> Iterator[str]:
    """Each checkpoint's loss on held-out pictures at each noise level, under a heading of its own."""
    levels = sorted({sigma for found in losses.values() for sigma, _ in found})
    if not levels:
        return
    yield ""
    yield "Loss on held-out pictures by noise level:"
    yield from table(
        ["step", *(f"{sigma:.2f}" for sigma in levels)],
        (
            [step, *(None if sigma not in told else f"{told[sigma]:.4g}" for sigma in levels)]
            for step, told in ((step, dict(found)) for step, found in losses.items() if found)
        ),
    )


def _beside(told: Beside | None) -> str:
    return "" if told is None else f"{told.difference:+.3f} [{told.low:+.3f}, {told.high:+.3f}]"


def _score(one: CheckpointView, name: str) -> object:
    """A threshold with what it was found from, others as they are."""
    value = one.scores.get(name)
    if name != "threshold" or value is None:
        return value
    pairs = one.scores.get("calibrated_on")
    return f"{value:.4g} ({f'of {pairs:.0f} pairs' if pairs else 'a usual one'})"


def _is_number(name: str, value: object) -> bool:
    return (
        name not in ("step", "calibrated_on")
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    )


def _mark(view: TrainingView, proposed: int | None, one: CheckpointView) -> str:
    words = ["exported"] * (one.step == view.best_step) + ["proposed"] * (one.step == proposed)
    return ", ".join(words) or ("" if one.kept else "removed")
