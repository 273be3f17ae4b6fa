"""`persona-tui lora convert`: a version that ComfyUI would not load, written as the next one."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from persona_tui.cli.frame import AsJson, resources, show

LoraName = Annotated[str, typer.Argument(metavar="LORA", help="Its name, or name@version.")]


def register(commands: typer.Typer) -> None:
    """Add these commands to those of LoRAs."""
    commands.command("convert")(convert)


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
