"""A training in words: its row in the list, what is told above its curves, and what its log says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from textual.content import Content

from persona_tui.screens.runs_servers import bar
from persona_tui.widgets.data_list import Cell
from persona_tui.widgets.marks import dim, duration, say

if TYPE_CHECKING:
    from persona_tui.gpu.nvml import Card
    from persona_tui.screens.training_reading import Row
    from persona_tui.services.training.curves import Point
    from persona_tui.services.training.following import RunLook
    from persona_tui.services.training.run_log import Happening
    from persona_tui.services.training.runs import TrainingView

GIB = 1024**3
HOT = 83
"""Degrees Celsius from which NVIDIA's cards begin to slow down."""

_STATUS: Mapping[str, tuple[str, str, str]] = {
    "planned": ("◌ ", "planned", "$dim"),
    "queued": ("◌ ", "queued", "$title"),
    "encoding": ("▶ ", "encodes", "$title"),
    "encoded": ("▶ ", "encoded", "$title"),
    "training": ("▶ ", "trains", "$title"),
    "exporting": ("▶ ", "exports", "$title"),
    "paused": ("◐ ", "paused", "$warning"),
    "stopped": ("○ ", "stopped", "$dim"),
    "done": ("✅", "done", "$success"),
    "failed": ("❌", "failed", "$error"),
}
_EVENT: Mapping[str, str] = {
    "failed": "$error",
    "died": "$error",
    "broken": "$error",
    "rollback": "$warning",
    "slow": "$warning",
    "skipped": "$warning",
    "space": "$warning",
    "checkpoint": "$success",
    "done": "$success",
}


def status_mark(row: Row) -> Content:
    """`▶ trains`: icon and word of how a training is."""
    icon, word, style = _state(row)
    return Content.styled(f"{icon} {word}", style)


def _state(row: Row) -> tuple[str, str, str]:
    look = row.look
    if look is not None and look.sign == "gone":
        return "✗ ", "no folder", "$error"
    if look is not None and look.sign == "silent":
        return "✖ ", "silent", "$error"
    if look is not None and look.sign == "alive":
        if look.wanted.want != "run":
            return "◐ ", "pausing" if look.wanted.want == "pause" else "stopping", "$warning"
        if _waits_for_space(look):
            return "◐ ", "disk full", "$warning"
        if look.doing == "evaluating":
            return "▶ ", "evaluates", "$title"
    return _STATUS.get(row.status, ("❔", row.status, ""))


def cells(row: Row, *, persona: bool) -> list[Cell]:
    """A row's cells: status, training, family, steps, seconds a step, time left, memory, temperature.

    Args:
        persona: name whose it is, where several personas' are shown.
    """
    run, look = row.run, row.look
    name = dim(f"{run.id} ") + Content(run.name or run.dataset)
    return [
        status_mark(row),
        name + (dim(f"  {run.persona}") if persona else Content.empty()),
        dim(run.family),
        progress(row),
        pace(look),
        left(row),
        memory(row),
        temperature(row.card),
    ]


def progress(row: Row, width: int = 6) -> Content:
    """`━━━─── 120/1000`: steps, before them pictures that are encoded."""
    if row.status == "encoding" and row.look is not None and row.look.encoded is not None:
        done, of = row.look.encoded
        return bar(done / max(of, 1), width) + Content(f" {done}/{of}") + dim(" pictures")
    if not row.steps:
        return dim("–")
    return bar(row.step / row.steps, width) + Content(f" {row.step}/{row.steps}")


def pace(look: RunLook | None) -> Content:
    """Seconds per step, `1.25 s`."""
    seconds = look.seconds_per_step if look is not None else None
    return dim("–") if seconds is None else Content(seconds_words(seconds))


def seconds_words(seconds: float) -> str:
    """Three figures are enough to compare by."""
    return (
        f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.3g} s" if seconds >= 0.1 else f"{seconds:.3f} s"
    )


def left(row: Row) -> Content:
    """Time until the last step, of a training that gets on."""
    look = row.look
    if look is None or look.sign != "alive" or look.status != "training" or look.seconds_left is None:
        return dim("–")
    return Content(duration(look.seconds_left))


def memory(row: Row) -> Content:
    """What its process holds of the card, else the peak that was measured, else the one that is planned."""
    run = row.run
    if row.held is not None:
        return Content(f"{row.held / GIB:.1f} GiB")
    if run.measured_vram is not None:
        return dim(f"{run.measured_vram / GIB:.1f} GiB")
    return dim("–" if not run.predicted_vram else f"≈{run.predicted_vram / GIB:.1f} GiB")


def temperature(card: Card | None) -> Content:
    """Of the card's chip; hot ones are told by a word, too."""
    if card is None or card.temperature is None:
        return dim("–")
    if card.temperature >= HOT:
        return Content.styled(f"{card.temperature} °C hot", "$warning")
    return Content(f"{card.temperature} °C")


def facts(row: Row) -> Iterator[Content]:
    """What is told of the training under the cursor: what it makes, how far it is, its card, its trouble."""
    run, look = row.run, row.look
    made = f"  made {run.lora}" if run.lora else ""
    yield Content.styled(run.name or run.dataset, "bold") + dim(
        f"  {run.persona}, {run.family}, dataset {run.dataset}{made}"
    )
    yield _getting_on(row)
    yield from _exported(look)
    if row.card is not None:
        yield _card(row, row.card)
    if look is not None and look.peaks:
        yield dim(f"Peak of each process: {', '.join(f'{one / GIB:.1f}' for one in look.peaks)} GiB")
    yield from _trouble(row)
    if row.status == "queued":
        yield say("info", "It begins by itself when its card is free, while this app or the scheduler runs.")
    if look is not None and look.sign == "gone":
        again = f"`persona-tui train resume {run.id} --folder FOLDER`"
        yield say("warn", f"Its folder is gone from {run.folder}. Put it back, or say where it is: {again}.")
    elif look is not None and look.sign == "silent":
        yield say("warn", "Its process is gone. Whoever leads takes it up again within ten seconds, once.")


def _getting_on(row: Row) -> Content:
    look = row.look
    words = status_mark(row) + Content("  ") + progress(row, 16)
    if look is None:
        return words
    parts = []
    if look.seconds_per_step is not None:
        parts.append(f"{seconds_words(look.seconds_per_step)} a step")
    if look.sign == "alive" and look.seconds_left:
        parts.append(f"about {duration(look.seconds_left)} left")
    if look.proposed is not None:
        others = ", ".join(str(step) for step in look.alike)
        parts.append(
            f"step {look.proposed} is proposed" + (f" ({others} not surely worse)" if others else "")
        )
    made_of = row.run.best_step
    if made_of is not None and made_of != look.proposed:
        parts.append(f"the LoRA is of step {made_of}")
    return words + dim("  " + ", ".join(parts) if parts else "")


def _exported(look: RunLook | None) -> Iterator[Content]:
    """Which weights became the file, and what it does on the base in 16 bits, which it is used with."""
    from persona_tui.services.training.exported import base_share, weights_words

    told = look.exported if look is not None else {}
    words = weights_words(told.get("weights"))
    if words:
        beside = base_share(told.get("base_difference"))
        yield dim("; ".join(filter(None, (f"The file holds {words}", beside))) + ".")


def _measured(look: RunLook | None) -> Iterator[tuple[str, str]]:
    """By what likeness went, and all of what the file does on the base in 16 bits."""
    from persona_tui.services.training.exported import base_words

    if look is None:
        return
    yield "Likeness by", look.scorer
    yield "Base in 16 bits", base_words(look.exported.get("base_difference"))


def _card(row: Row, card: Card) -> Content:
    held = "" if row.held is None else f"{row.held / GIB:.1f} GiB by it, "
    planned = row.run.predicted_vram
    plan = f" ({planned / GIB:.1f} planned)" if planned else ""
    used = f"{held}{card.memory_used / GIB:.1f} of {card.memory_total / GIB:.1f} GiB in use{plan}"
    busy = "" if card.utilisation is None else f", {card.utilisation} % busy"
    return dim(f"{card.name}: {used}{busy}, ") + temperature(card)


def _waits_for_space(look: RunLook) -> bool:
    from persona_tui.gpu.training.pulse import WAITS_FOR_SPACE

    return look.doing == WAITS_FOR_SPACE


def _trouble(row: Row) -> Iterator[Content]:
    from persona_tui.gpu.training.pulse import FREE_SOME, no_room

    look, run = row.look, row.run
    if look is not None and _waits_for_space(look):
        yield say("warn", f"{no_room(run.folder)} {FREE_SOME}")
        return
    told = (look.message, look.hint) if look is not None and look.message else (run.trouble, run.hint)
    if told[0]:
        level = "error" if row.status == "failed" else "warn"
        yield say("error" if level == "error" else "warn", " ".join(filter(None, told)))


def loss_title(points: tuple[Point, ...], held_out: tuple[Point, ...]) -> Content:
    """What stands above the curve of the loss."""
    words = Content.styled("Loss", "$section bold")
    if points:
        words += Content(f"  {points[-1].value:.3g}") + dim(" lately")
    if held_out:
        words += Content.styled(f"  ─ held out {held_out[-1].value:.3g}", "$section")
    return words


def likeness_title(look: RunLook) -> Content:
    """What stands above the curve of likeness."""
    words, points = Content.styled("Likeness", "$section bold"), look.likeness
    if points:
        words += Content(f"  {points[-1].value:.3g}") + dim(f" at {points[-1].step}")
        if look.weak:
            words += Content.styled(" weak", "$warning")
    if look.passed and look.threshold:
        usual = "" if look.calibrated_on and look.calibrated_on[-1].value else ", a usual one"
        words += Content(f"  {look.passed[-1].value:.0%}")
        words += dim(f" reach {look.threshold[-1].value:.2f}{usual}")
    if look.proposed is None:
        return words
    return words + Content.styled(f"  │ {look.proposed} proposed", "$success")


def no_likeness(look: RunLook) -> str:
    """Why there is no curve of likeness."""
    if not look.faceless:
        return "No likeness was measured yet."
    return f"The samples of step {look.faceless[-1].step} show no face yet."


def log_cells(happening: Happening, zone: tzinfo) -> list[Cell]:
    """An entry of the log: time, what, step, words."""
    time = f"{happening.at.astimezone(zone):%H:%M:%S}" if happening.at is not None else ""
    return [
        dim(time),
        Content.styled(happening.event, _EVENT.get(happening.event, "")),
        dim("" if happening.step is None else str(happening.step)),
        happening.words,
    ]


def log_entry(happening: Happening, zone: tzinfo) -> Content:
    """All of an entry of the log."""
    at = f"{happening.at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" if happening.at is not None else ""
    step = "" if happening.step is None else f"  step {happening.step}"
    head = Content.styled(happening.event, f"bold {_EVENT.get(happening.event, '')}") + dim(f"  {at}{step}")
    return head + Content(f"\n\n{happening.words}")


def _cards(run: TrainingView) -> str:
    return ", ".join(run.cards) if run.card else "none yet"


def whole(row: Row, zone: tzinfo) -> Content:
    """Everything about a training."""
    run = row.run
    moments = (("Planned", run.created_at), ("Begun", run.started_at), ("Ended", run.finished_at))
    told = [*facts(row), Content("")]
    for label, moment in moments:
        if moment is not None:
            told.append(
                Content.assemble((f"{label}: ", "$dim"), f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}")
            )
    for label, count in (("Planned VRAM", run.predicted_vram), ("Measured VRAM", run.measured_vram)):
        if count is not None:
            told.append(Content.assemble((f"{label}: ", "$dim"), f"{count / GIB:.2f} GiB"))
    told += [Content.assemble((f"{label}: ", "$dim"), words) for label, words in _measured(row.look) if words]
    told += [Content.assemble((f"{label}: ", "$dim"), words) for label, words in _recipe(row)]
    if row.look is not None and row.look.held_out:
        levels = ", ".join(f"{sigma:.2f} {loss:.3g}" for sigma, loss in row.look.held_out)
        told.append(Content.assemble(("Held out, loss by noise level: ", "$dim"), levels))
    told.append(Content.assemble(("Cards: " if run.further_cards else "Card: ", "$dim"), _cards(run)))
    told.append(Content.assemble(("Folder: ", "$dim"), str(run.folder)))
    return Content("\n").join(told)


def _recipe(row: Row) -> Iterator[tuple[str, str]]:
    """What of its recipe an operator asks about."""
    told = row.run.config
    sizes = ", ".join(str(size) for size in told.get("buckets") or ())
    rate = told.get("lr")
    yield "Steps", f"{row.step} of {row.steps}"
    yield "Sizes", f"{sizes} px, {told.get('batch', 1)} a batch"
    yield "LoRA", f"rank {told.get('rank')}, {told.get('targets')}"
    yield "Trigger word", str(told.get("trigger") or "none")
    yield "Learning", f"{told.get('optimizer')}, rate {rate:g}" if isinstance(rate, float) else "–"
    yield "Base model", f"{told.get('base')}, {_precision(told)}"


def _precision(told: Mapping[str, Any]) -> str:
    quantised = str(told.get("quantisation", "none"))
    return str(told.get("dtype")) if quantised == "none" else quantised
