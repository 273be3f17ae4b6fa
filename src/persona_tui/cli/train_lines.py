"""A training in lines of text: how far it is, what it made, how like, what keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persona_tui.services.training.attach import Attached
    from persona_tui.services.training.runs import TrainingView

_GIB = 1 << 30


def status_lines(view: TrainingView, now: Attached) -> Iterator[str]:
    """All that `train status ID` tells."""
    yield f"{view.id}: {view.name} of {view.persona}, {view.family}, {view.status}"
    yield f"{how_far(view, now)}, {now.doing}{pace(now)}"
    if now.losses:
        yield f"loss {now.losses[-1].loss:.4f}"
    if now.held_out:
        yield "held out, loss by noise: " + by_level(now.held_out)
    yield from likeness(now)
    if view.predicted_vram is not None:
        measured = (
            "not measured yet" if view.measured_vram is None else f"{view.measured_vram / _GIB:.1f} GiB used"
        )
        yield f"card: {view.predicted_vram / _GIB:.1f} GiB planned, {measured}"
    if now.peaks:
        what = "the machine's memory" if view.predicted_vram is None else "its card"
        yield f"each process's peak of {what}: {', '.join(f'{one / _GIB:.1f}' for one in now.peaks)} GiB"
    yield f"folder: {view.folder}{'' if now.found else ' (gone)'}"
    yield from made(view, now)
    if now.proposed is not None and now.proposed != view.best_step:
        yield f"proposed: step {now.proposed}; `train export {view.id}` makes it a version"
    for event in now.events[-5:]:
        yield f"   {event_line(event)}"
    for sentence, hint in troubles(view, now):
        yield f"⚠️  {sentence}"
        yield f"   {hint}"


def follow_line(view: TrainingView, now: Attached) -> str:
    """One change of a training that is followed: how far, at what, its loss, its pace, what keeps it."""
    doing = "" if now.doing in (view.status, "starting") else f", {now.doing}"
    loss = f", loss {now.losses[-1].loss:.4f}" if now.losses else ""
    live = [f" {sentence} {hint}" for sentence, hint in troubles(view, now)] if now.alive else []
    # Of one that rests, the hint has a line of its own.
    kept = "".join(live) or (f" {view.trouble}" if view.trouble and not now.alive else "")
    return f"{view.status}: {how_far(view, now)}{doing}{loss}{pace(now)}{'.' if kept else ''}{kept}"


def event_line(event: Mapping[str, Any]) -> str:
    """An entry of a training's log: when, what, and its sentence, stage or step."""
    words = event.get("message") or event.get("stage") or ""
    if not words and event.get("step") is not None:
        words = f"step {event['step']}"
    return f"{str(event.get('at', ''))[:19]} {event['event']} {words}".rstrip()


def by_level(losses: Sequence[tuple[float, float]]) -> str:
    """`0.06 1.21, 0.19 1.10 …`: noise level and loss."""
    return ", ".join(f"{sigma:.2f} {loss:.3g}" for sigma, loss in losses)


def how_far(view: TrainingView, now: Attached) -> str:
    """`step 12 of 800`; before the steps, pictures that are encoded."""
    if view.status == "encoding" and now.encoded is not None:
        done, of = now.encoded
        return f"picture {done} of {of}"
    # Of a folder that is gone, the database knows how far it had come.
    return f"step {now.step if now.found else view.step} of {now.total_steps}"


def made(view: TrainingView, now: Attached) -> Iterator[str]:
    """Which version came of it, of which weights, and what it does on the base that it is used with."""
    from persona_tui.services.training.exported import base_words, weights_words

    told = now.exported or {}
    if view.lora is not None:
        yield ", ".join(
            filter(
                None, (f"made: {view.lora}", f"of step {view.best_step}", weights_words(told.get("weights")))
            )
        )
    if words := base_words(told.get("base_difference")):
        yield f"   {words}"


def troubles(view: TrainingView, now: Attached) -> Iterator[tuple[str, str]]:
    """What keeps a training from getting on, and what to do about each."""
    from persona_tui.gpu.training.pulse import FREE_SOME, WAITS_FOR_SPACE, no_room

    if now.alive and now.doing == WAITS_FOR_SPACE and view.hint != FREE_SOME:
        yield no_room(view.folder), FREE_SOME
    if view.is_live and not now.alive and not view.trouble:
        yield (
            f"Its process is gone, at step {now.step}.",
            f"The app or `persona-tui scheduler` takes it up again; so does `train resume {view.id}`.",
        )
    if view.trouble:
        yield view.trouble, view.hint


def likeness(now: Attached) -> Iterator[str]:
    """The last one that was measured, and whether it is enough."""
    told = next((one for one in reversed(now.evaluations) if one.get("likeness") is not None), None)
    if told is None:
        return
    weak = " (weak)" if told.get("weak") else ""
    by = f", by {told['scorer']}" if told.get("scorer") else ""
    words = f"likeness {told['likeness']:.2f}{weak} at step {told['step']}{by}"
    if told.get("threshold") is not None and told.get("passed") is not None:
        by = "found from its references" if told.get("calibrated_on") else "a usual one"
        words += f"; {told['passed']:.0%} of the samples reach {told['threshold']:.2f}, {by}"
    nobody = {name: count for name, count in told.get("outcomes", {}).items() if name != "seen"}
    yield words + "".join(f"; {name}: {count}" for name, count in nobody.items())


def pace(now: Attached) -> str:
    """`, 1.25 s a step, 12 min left`; empty while nobody knows."""
    if now.seconds_per_step is None or now.seconds_left is None:
        return ""
    return f", {now.seconds_per_step:.2f} s a step, {now.seconds_left / 60:.0f} min left"
