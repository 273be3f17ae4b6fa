"""`persona-tui lora promote|roll-back`: which version further runs use, and what stands behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, note, persona_of, require_consent, session, show
from persona_tui.cli.vote_comparison import verdict_facts, verdict_line

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.loras.promotion import Promotion
    from persona_tui.services.loras.registry import LoraView
    from persona_tui.services.planning.personas import PersonaView

Whose = Annotated[
    str | None, typer.Option("--persona", help="Whose runs; otherwise those of whose likeness it holds.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(commands: typer.Typer) -> None:
    """Add these commands to those of LoRAs."""
    commands.command("promote")(promote)
    commands.command("roll-back")(roll_back)


def promote(
    name: Annotated[str, typer.Argument(metavar="LORA", help="The version, as name@version.")],
    persona: Whose = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make a version the primary one in place of the present one, after showing what stands behind it."""
    from persona_tui.services.loras import promotion
    from persona_tui.services.loras.registry import find_lora

    with session() as opened:
        lora = find_lora(opened, name)
        owner = _owner(opened, lora, persona)
        found = promotion.look_at_promotion(opened, owner.id, lora.id)
        evidence = _evidence(opened, found)
        if found.instead_of is not None:
            for line in (*_evidence_lines(evidence), found.consequence):
                note(line)
            question = f"Promote {lora.label} in place of {found.instead_of.label}?"
            require_consent(yes, question, refusal=f"{lora.label} was not promoted")
        promoted = promotion.promote(opened, owner.id, lora.id)
    words = f"{promoted.label} is the primary {promoted.model_type} of {owner.name} for {promoted.family}."
    words = f"{words} {found.consequence}".rstrip()
    show({"lora": promoted} | evidence, as_json, lambda: [f"✅ {words}"])


def roll_back(
    name: Annotated[str, typer.Argument(metavar="LORA", help="Any version of its type and base model.")],
    persona: Whose = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Go back to what was in use before, at the weights that it had."""
    from persona_tui.services.loras import promotion
    from persona_tui.services.loras.registry import find_lora

    with session() as opened:
        lora = find_lora(opened, name)
        owner = _owner(opened, lora, persona)
        found = promotion.look_at_roll_back(opened, owner.id, lora.id)
        now = found.instead_of
        assert now is not None
        if found.consequence:
            note(found.consequence)
        question = f"Go back from {now.label} to {found.lora.label}?"
        require_consent(yes, question, refusal=f"{now.label} stays primary")
        back = promotion.roll_back(opened, owner.id, lora.id)
    words = f"{back.label} is the primary {back.model_type} of {owner.name} for {back.family} again."
    words = f"{words} {found.consequence}".rstrip()
    show({"lora": back, "instead_of": now}, as_json, lambda: [f"✅ {words}"])


def _owner(opened: Session, lora: LoraView, persona: str | None) -> PersonaView:
    """Whose runs are meant.

    Raises:
        InvalidRequest: the LoRA holds nobody's likeness, and no persona is named.
    """
    from persona_tui.errors import InvalidRequest

    name = persona or lora.persona
    if name is None:
        raise InvalidRequest(
            f"{lora.label} holds nobody's likeness, so it does not say whose runs are meant.",
            hint="Name them with --persona.",
        )
    return persona_of(opened, name)


def _evidence(opened: Session, found: Promotion) -> dict[str, Any]:
    """What was measured of both, and what blind votes say of them."""
    now = found.instead_of
    voted = verdict_facts(opened, found.lora.id) if now is not None else []
    verdict = next((one for one in voted if now is not None and one["beside_id"] == now.id), None)
    measured = {one.label: one.measured for one in (found.lora, now) if one is not None}
    return {
        "instead_of": None if now is None else now.label,
        "measured": measured,
        "compared": found.compared,
        "verdict": verdict,
    }


def _evidence_lines(told: dict[str, Any]) -> Iterator[str]:
    for label, words in told["measured"].items():
        yield f"{label}: {words or 'never measured'}."
    verdict = told["verdict"]
    if verdict is not None:
        doubt = verdict["p_better"] is not None and verdict["p_better"] < 0.5
        yield f"{'⚠️  The votes speak against it. ' if doubt else ''}{verdict_line(verdict)}"
    elif told["compared"]:
        yield "⚠️  They were pictured side by side, and no vote decided between them."
    else:
        yield "⚠️  They were not compared yet: `persona-tui lora compare` pictures both for blind votes."
