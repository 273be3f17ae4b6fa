"""`persona-tui lora convert|compare`: a version for ComfyUI to load, and two versions against each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, cast

import typer

from persona_tui.cli.frame import AsJson, PersonaName, note, persona_of, resources, show
from persona_tui.cli.vote_comparison import comparison_facts, comparison_lines

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.resources import Resources
    from persona_tui.services.voting.comparison import ComparisonState

LoraName = Annotated[str, typer.Argument(metavar="LORA", help="Its name, or name@version.")]


def register(commands: typer.Typer) -> None:
    """Add these commands to those of LoRAs."""
    for command in (convert, compare):
        commands.command(command.__name__)(command)


def convert(
    name: LoraName,
    family: Annotated[
        str | None,
        typer.Option(help="Of its base model, where that is not known: flux, flux2, qwen-image, …"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a version that ComfyUI would not load as the next one; whoever used it uses that."""
    from persona_tui.services.inputs import validated
    from persona_tui.services.loras.families import Family
    from persona_tui.services.loras.importing import LoraInput
    from persona_tui.services.loras.registry import find_lora
    from persona_tui.services.loras.rewriting import convert_version

    told = validated(LoraInput, {"family": family}).family
    with resources() as opened:
        scope = opened.database.session_scope
        with scope() as reading:
            lora = find_lora(reading, name)
        made = convert_version(scope, opened.lora_shelf, lora.id, cast(Family | None, told))
    show(made, as_json, lambda: [f"✅ {made.label} is {lora.label} as ComfyUI loads it."])


def compare(
    persona: PersonaName,
    name: LoraName,
    beside: Annotated[str, typer.Argument(metavar="OTHER", help="Another version, or another LoRA.")],
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="What to picture; {{trigger_word}} is each one's own. Otherwise three portraits."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=50, help="So many pairs for each prompt.")] = 4,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The first one; otherwise one that they were not compared at.")
    ] = None,
    weight: Annotated[float | None, typer.Option(min=0, max=1, help="Of both, 0 to 1.")] = None,
    pipeline: Annotated[str | None, typer.Option(help="Its first step; otherwise one that fits.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="A server; otherwise one that can.")
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="New pictures, even where some of the two wait for votes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Picture two LoRAs at the same prompts and seeds, for blind votes (`vote next CONTEST`, or v in LoRAs).

    Where a comparison of the two is unfinished, that one goes on.
    """
    from persona_tui.services.generation.lora_comparison import create_comparison
    from persona_tui.services.generation.pipelines import ensure_examples
    from persona_tui.services.loras.registry import find_lora

    with resources() as opened:
        with opened.database.session_scope() as planning:
            ensure_examples(planning)
            owner, lora = persona_of(planning, persona), find_lora(planning, name)
            other = find_lora(planning, beside)
            state = None if new else _unfinished(planning, owner.id, lora.id, other.id)
            if state is None:
                values = {
                    "persona_id": owner.id, "lora_id": lora.id, "beside_id": other.id,
                    "prompts": prompt or [], "seeds": seeds, "seed": seed, "weight": weight,
                    "pipeline": pipeline,
                }  # fmt: skip
                state = create_comparison(planning, values)
        state = asyncio.run(_make(opened, state.contest_id, endpoint))
        with opened.database.session_scope() as reading:
            told = comparison_facts(reading, state.contest_id)
    last = f"Vote with `persona-tui vote next {told['contest_id']}`, or in LoRAs."
    show(told, as_json, lambda: [*comparison_lines(told), last])


def _unfinished(session: Session, persona_id: int, lora_id: int, beside_id: int) -> ComparisonState | None:
    from persona_tui.services.voting.comparison import comparisons

    two = {lora_id, beside_id}
    found = (
        one
        for one in comparisons(session, lora_id)
        if {one.lora_id, one.beside_id} == two and one.persona_id == persona_id and not one.complete
    )
    return next(found, None)


async def _make(opened: Resources, contest_id: int, endpoint: str | None) -> ComparisonState:
    from persona_tui.services.generation.lora_comparison import make_pairs

    async with opened.lora_servers(endpoint) as servers:
        return await make_pairs(opened.database.session_scope, servers, opened.media, contest_id, say=note)
