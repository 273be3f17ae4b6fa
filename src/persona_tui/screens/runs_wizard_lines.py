"""The run wizard's words: what a pipeline is, what it asks for, how the tree grows and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui.screens.runs_lines import roughly
from persona_tui.widgets.marks import counted, dim, duration, say

if TYPE_CHECKING:
    from persona_tui.screens.runs_wizard_data import Offer, PipelineOffer
    from persona_tui.services.generation.estimates import Cost, StepCost
    from persona_tui.services.generation.placeholders import Need
    from persona_tui.services.generation.runs import RunDetail
    from persona_tui.services.generation.template import Value

RULE = 46
"""Columns of a section's rule."""


def title(offer: Offer) -> str:
    """Whose run it is, and which one is cloned."""
    return f"Clone run {offer.like.id} for {offer.persona}" if offer.like else f"New run for {offer.persona}"


def section(title: str) -> Content:
    """`PICTURE ─────────`."""
    rule = "─" * max(RULE - len(title), 3)
    return Content.assemble((title.upper(), "$section bold"), (f" {rule}", "$rule"))


def about_pipeline(offer: PipelineOffer, persona_id: int, like: RunDetail | None = None) -> Content:
    """What a pipeline is, what speaks against it, and where it is not that of the cloned run any more."""
    pipeline = offer.pipeline
    steps = " → ".join(step.name for step in pipeline.steps)
    words = [dim(f"v{pipeline.version}, {steps}. {pipeline.description}".strip())]
    if like is not None and like.pipeline == pipeline.name and like.pipeline_version < pipeline.version:
        older = f"v{like.pipeline_version}"
        words.append(say("info", f"Run {like.id} was made by {older}; its clone takes v{pipeline.version}."))
    if pipeline.persona_id not in (None, persona_id):
        words.append(say("info", "It is made for another persona; this run is still the present one's."))
    words += [say("warn", warning) for warning in offer.warnings]
    return Content("\n").join(words)


KINDS = {
    "text": "Words.",
    "whole number": "A whole number.",
    "number": "A number.",
    "yes or no": "Yes or no.",
    "choice": "One of the names that the server has.",
    "any": "A number stays a number.",
}
"""What a variable of each kind takes."""


def asked_hint(asked: Need) -> str:
    """What a variable takes and where it goes."""
    more = f" and {len(asked.places) - 1} more" if len(asked.places) > 1 else ""
    kind = "One of what the servers had at the last check." if asked.choices else KINDS[asked.kind]
    return f"{kind} It goes to {asked.places[0]}{more}."


def misfit(asked: Need, typed: str) -> str | None:
    """Why a variable can't take what was typed; None if it can."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.services.generation.placeholders import typed_words

    try:
        typed_words({asked.name: typed}, [asked])
    except InvalidRequest as problem:
        return f"{problem.message} {problem.hint}".strip()
    return None


def written(value: Value | None) -> str | None:
    """A variable's value as the operator would type it."""
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def cost(offer: PipelineOffer, plans: Sequence[tuple[int, int]]) -> Cost:
    """What a run with these N and K makes and takes."""
    from persona_tui.services.generation.estimates import cost_of, growth

    return cost_of(dict(enumerate(growth(plans), start=1)), offer.seconds)


def step_outcome(step: StepCost) -> Content:
    """`→ 6 pictures, 4 min`: short, for little room is left in the row."""
    words = Content.assemble(("→ ", "$title"), (counted(step.pictures, "picture"), "bold"))
    if step.minutes is None:
        return words + dim(", untimed")
    return words + dim(f", {roughly(60 * step.minutes)}")


def growth(
    cost: Cost | None,
    names: Sequence[str],
    max_pictures: float | None,
    max_minutes: float | None,
    plans: Sequence[tuple[int, int]] = (),
) -> Content:
    """`base 4 → refine 2 = 6 pictures, about 3 min 20 s of one card`, and what the limits do to it.

    Args:
        cost: None while N or K can't be used.
        plans: N and K of each step.
    """
    if cost is None:
        return dim("How the tree grows shows when each N and K is a number.")
    from persona_tui.services.generation.gate_sizes import gate_excesses

    grown = Content(" → ").join(
        Content.assemble((f"{name} ", "$dim"), (str(step.pictures), "$title bold"))
        for name, step in zip(names, cost.steps, strict=True)
    )
    words = grown + dim(" = ") + Content.styled(counted(cost.pictures, "picture"), "bold")
    known = [step for step in cost.steps if step.minutes is not None]
    minutes = sum(step.minutes or 0.0 for step in known)
    if cost.minutes is not None:
        words += Content.styled(f", about {duration(60 * cost.minutes)} of one card", "$section")
    elif known:
        words += dim(f", over {duration(60 * minutes)} of one card: a step was never timed")
    else:
        words += dim(", no step was timed yet")
    if max_pictures is not None and cost.pictures > max_pictures:
        words += Content("\n") + say(
            "warn", f"It rests after {max_pictures:.0f} of them: the limit of pictures."
        )
    elif max_minutes is not None and minutes > max_minutes:
        words += Content("\n") + say("warn", f"It rests after {max_minutes:g} minutes: the limit of minutes.")
    for excess in gate_excesses(plans):
        if not excess.is_last:
            words += Content("\n") + say("warn", excess.sentence)
    return words
