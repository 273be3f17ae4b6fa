"""Versions of a LoRA against each other: pictured at one seed, promoted, rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from persona_tui.errors import NotAllowedNow
from persona_tui.screens import loras_forms
from persona_tui.screens.loras_lines import Row, votes_words
from persona_tui.screens.loras_trial import TrialDialog
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.form import FormDialog

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.actions.registry import Registry
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.generation.lora_trial import Trial, TrialPlan
    from persona_tui.services.loras.promotion import Promotion
    from persona_tui.services.loras.registry import LoraView
    from persona_tui.services.voting.comparison import Verdict


async def promote(screen: PersonaScreen, lora: LoraView, persona: loras_forms.Persona) -> None:
    """Make it the primary one; where another one is, after asking."""
    from persona_tui.services.loras.promotion import look_at_promotion
    from persona_tui.services.loras.promotion import promote as carry_out
    from persona_tui.services.voting.comparison import verdicts

    persona_id, name = persona
    found = await screen.read(look_at_promotion, persona_id, lora.id)
    if found.instead_of is not None:
        question = f"Promote {lora.label} in place of {found.instead_of.label}?"
        keys = screen.shell.registry
        pair = (lora.id, found.instead_of.id)
        voted = (one for one in await screen.read(verdicts) if (one.lora_id, one.beside_id) == pair)
        words = _against(found, next(voted, None), keys)
        if not await screen.ask(ConfirmDialog(question, words, title="Promote", yes="Promote")):
            return
    await screen.act(carry_out, persona_id, lora.id)
    screen.request_reload()
    words = f"{lora.label} is the primary {lora.model_type} of {name} for {lora.family}."
    screen.flash(f"{words} {found.consequence}".rstrip())


async def roll_back(screen: PersonaScreen, lora: LoraView, persona: loras_forms.Persona) -> None:
    """Go back to what was primary before, after asking."""
    from persona_tui.services.loras.promotion import look_at_roll_back
    from persona_tui.services.loras.promotion import roll_back as carry_out

    persona_id, name = persona
    found = await screen.read(look_at_roll_back, persona_id, lora.id)
    now = found.instead_of.label if found.instead_of is not None else "none"
    question = ConfirmDialog(
        f"Go back from {now} to {found.lora.label}?",
        f"It gets the weight that it had. {found.consequence}\n"
        "Runs that are there keep the version that they used.",
        title="Roll back",
        yes="Roll back",
    )
    if await screen.ask(question):
        back = await screen.act(carry_out, persona_id, lora.id)
        screen.request_reload()
        words = f"{back.label} is the primary {back.model_type} of {name} for {back.family} again."
        screen.flash(f"{words} {found.consequence}".rstrip())


async def convert(screen: PersonaScreen, row: Row) -> int | None:
    """Write a version that ComfyUI would not load as the next one, asking for its base model where need be.

    Returns:
        The new version's id.

    Raises:
        NotAllowedNow: it can't be converted.
    """
    from persona_tui.services.loras.families import FAMILIES
    from persona_tui.services.loras.rewriting import convert_version

    family = None
    if row.remedy == "say family":
        choices = [Choice(one, one) for one in FAMILIES]
        chosen = await screen.ask(ChoiceDialog(f"Which base model is {row.lora.label} for?", choices))
        if chosen is None:
            return None
        family = chosen.value
    screen.flash(f"Converting {row.lora.label}…", "busy", seconds=600)
    scope, shelf = screen.shell.database.session_scope, screen.shell.core.resources.lora_shelf
    made = await asyncio.to_thread(convert_version, scope, shelf, row.lora.id, family)
    screen.request_reload()
    screen.flash(f"{made.label} is {row.lora.label} as ComfyUI loads it.")
    return made.id


def _against(found: Promotion, voted: Verdict | None, keys: Registry) -> str:
    """What speaks for or against a promotion, in words."""
    assert found.instead_of is not None
    lines = [f"{one.label}: {one.measured or 'never measured'}." for one in (found.lora, found.instead_of)]
    if voted is not None:
        lines.append(votes_words(voted))
    elif found.compared:
        lines.append(f"No vote decided between them yet; [{keys.label('loras.vote')}] has you vote blind.")
    else:
        compare, vote = keys.label("loras.compare"), keys.label("loras.vote")
        lines.append(f"They were not compared yet; [{compare}] pictures both, [{vote}] has you vote blind.")
    lines.append(found.consequence)
    back = keys.label("loras.roll-back")
    lines.append(f"Runs that are there keep the version that they used. [{back}] goes back.")
    return "\n".join(lines)


async def asked_comparison(
    screen: PersonaScreen, row: Row, rows: Sequence[Row], persona_id: int
) -> Mapping[str, Any] | None:
    """Which other LoRA it is compared with, and how; None where the operator leaves.

    Raises:
        NotAllowedNow: there is no other one of its base model.
    """
    from persona_tui.services.generation.pipelines import list_pipelines

    choices = [Choice(one.lora.id, one.lora.label, note(one)) for one in comparable_with(row, rows)]
    chosen = await screen.ask(ChoiceDialog(f"Compare {row.lora.label} with", choices))
    if chosen is None:
        return None
    pipelines = await screen.read(list_pipelines)
    fields = loras_forms.trial_fields(row.use, pipelines)
    typed = await screen.ask(FormDialog(f"{chosen.label} and {row.lora.label}", fields))
    if typed is None:
        return None
    whose = {"persona_id": persona_id, "lora_id": row.lora.id, "beside_id": chosen.value}
    return {**loras_forms.trial_values(typed), **whose}


def comparable_with(row: Row, rows: Sequence[Row]) -> list[Row]:
    """The LoRAs that one can be compared with: other versions of its name first, then the persona's primary.

    Raises:
        NotAllowedNow: there is none.
    """
    others = [one for one in rows if _is_comparable(one.lora, row.lora)]
    if not others:
        raise NotAllowedNow(
            f"{row.lora.label} is the only {row.lora.model_type} for {row.lora.family}.",
            hint="Train or import another version, or test it beside none.",
        )
    return sorted(others, key=lambda one: (not same_name(one.lora, row.lora), not _is_primary(one)))


def same_name(one: LoraView, other: LoraView) -> bool:
    """Whether they are versions of one LoRA."""
    return one.name.lower() == other.name.lower()


def _is_primary(row: Row) -> bool:
    return row.use is not None and row.use.primary


def _is_comparable(one: LoraView, other: LoraView) -> bool:
    same = (one.model_type, one.family) == (other.model_type, other.family)
    return same and one.id != other.id and one.persona_id in (None, other.persona_id)


def note(row: Row) -> str:
    """What speaks for a LoRA that could be chosen, in a few words."""
    primary = "primary" if _is_primary(row) else ""
    return "  ".join(filter(None, (primary, row.lora.measured)))


async def try_out(screen: PersonaScreen, values: Mapping[str, Any]) -> None:
    """Make the two pictures of a trial or a comparison, and show them."""
    from persona_tui.services.generation.lora_trial import plan_trial, run_trial, side_by_side

    plan: TrialPlan = await screen.act(plan_trial, values)
    resources = screen.shell.core.resources
    say = partial(screen.flash, level="busy", seconds=600)
    async with resources.lora_servers() as servers:
        trial: Trial = await run_trial(screen.shell.database.session_scope, servers, plan, say=say)
    sheet = await asyncio.to_thread(side_by_side, trial)
    if plan.beside is not None:
        await screen.act(_note_compared, plan)
    screen.flash("Both pictures are there.")
    await screen.ask(TrialDialog(trial, sheet))


def _note_compared(session: Session, plan: TrialPlan) -> None:
    from persona_tui.services.loras.promotion import note_compared
    from persona_tui.services.loras.registry import get_lora

    assert plan.beside is not None
    one, other = get_lora(session, plan.lora.lora_model_id), get_lora(session, plan.beside.lora_model_id)
    note_compared(session, plan.persona_id, one, other, plan.seed)
