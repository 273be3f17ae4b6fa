"""`persona-tui train plan`: what a training would take, and whether it fits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import AsJson, PersonaName, note, persona_of, plain, resources, show

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.training.plan import Plan
    from persona_tui.services.training.probing import Probe

_GIB = 1 << 30


def plan(
    persona: PersonaName,
    dataset: Annotated[str, typer.Argument(help="The dataset's name.")],
    family: Annotated[
        str | None, typer.Option(help="Base model: flux1, qwen-image, qwen-edit-2511, …")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="A run.toml, or an ai-toolkit YAML.")] = None,
    base: Annotated[Path | None, typer.Option(help="Its folder; otherwise looked for in models.dir.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the LoRA; otherwise the persona's.")] = None,
    preset: Annotated[str | None, typer.Option(help="likeness, light or style.")] = None,
    steps: Annotated[int | None, typer.Option(help="Otherwise by the number of pictures.")] = None,
    rank: Annotated[int | None, typer.Option(help="Size of the LoRA.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same LoRA.")] = None,
    size: Annotated[list[int] | None, typer.Option(help="Picture sizes; otherwise 512, 768, 1024.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures a batch.")] = None,
    accumulation: Annotated[int | None, typer.Option(help="Batches a step.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw8bit, adamw or prodigy.")] = None,
    quantisation: Annotated[str | None, typer.Option(help="none, int8 or nf4; otherwise chosen.")] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the base model's blocks.")] = False,
    attention: Annotated[
        str | None, typer.Option(help="native, flash, efficient, cudnn or math; --compare-speed times them.")
    ] = None,
    mask: Annotated[bool, typer.Option("--mask-faces", help="Learn faces more than backgrounds.")] = False,
    phase: Annotated[
        list[str] | None,
        typer.Option(help="What is learnt first: head@1=front,profile and then all@400. Once for each."),
    ] = None,
    parent: Annotated[str | None, typer.Option(metavar="LORA", help="Train on from one of ours.")] = None,
    cards: Annotated[
        str | None, typer.Option(help="Numbers of the cards that train it together, such as 0,1.")
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Try two steps of the largest pictures, and plan by what they took."),
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare-speed", help="Probe, and time --compile and --attention as well.")
    ] = False,
    look: Annotated[bool, typer.Option("--look", help="Only look; note nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a training would take, and note it so that `train start` can begin it."""
    from persona_tui.errors import InvalidRequest
    from persona_tui.gpu.training.families import FAMILIES
    from persona_tui.services.inputs import validated
    from persona_tui.services.training.curriculum import phases_of
    from persona_tui.services.training.datasets import find_dataset
    from persona_tui.services.training.recipe import PlanInput

    told, read_family = _recipe(recipe)
    curriculum = phases_of(phase) if phase else None
    if not (family or read_family):
        known = ", ".join(one.name for one in FAMILIES.values() if not one.cannot)
        raise InvalidRequest("No base model was named.", hint=f"Name one with --family: {known}.")
    values: dict[str, Any] = {
        "family": family or read_family, "recipe": told, "base": base, "name": name, "preset": preset,
        "steps": steps, "rank": rank, "lr": lr, "seed": seed, "buckets": tuple(size) if size else None,
        "batch": batch, "accumulation": accumulation, "optimizer": optimizer, "quantisation": quantisation,
        "mask_loss": mask or None, "compile": compiled or None, "attention_backend": attention,
        "parent": parent, "cards": cards, "phases": curriculum,
    }  # fmt: skip
    given = validated(PlanInput, {key: value for key, value in values.items() if value is not None})
    with resources() as opened:
        with opened.database.session_scope() as reading:
            found = find_dataset(reading, persona_of(reading, persona).id, dataset)
        made, probes = asyncio.run(
            _plan(opened, found.id, given, keep=not look, probe=probe, compare=compare)
        )
    show(_plan_as_json(made, probes), as_json, lambda: _plan_lines(made, probes))


def _recipe(path: Path | None) -> tuple[dict[str, Any], str | None]:
    """A recipe's entries and family; what means nothing here is said."""
    from persona_tui.services.training.recipe_import import read_recipe

    if path is None:
        return {}, None
    read = read_recipe(path)
    if read.unknown:
        note(f"⚠️  Left out, since it means nothing here: {', '.join(read.unknown)}.")
    return dict(read.values), read.family


async def _plan(
    opened: Resources, dataset_id: int, given: Any, *, keep: bool, probe: bool, compare: bool
) -> tuple[Plan, tuple[Probe, ...]]:
    from persona_tui.pool import WorkPool
    from persona_tui.services.training.plan import plan_training
    from persona_tui.services.training.probing import proven_plan

    pool = WorkPool()
    try:
        if probe or compare:
            return await proven_plan(
                opened.trainings, pool, dataset_id, given, note, keep=keep, compare=compare
            )
        scope = opened.database.session_scope
        return await plan_training(scope, pool, opened.settings, dataset_id, given, keep=keep), ()
    finally:
        await pool.aclose()


def _plan_as_json(made: Plan, probes: Sequence[Probe]) -> dict[str, Any]:
    from persona_tui.services.training.duration import foreseen

    expected = foreseen(made, probes)
    return {
        "run_id": made.run_id,
        "folder": None if made.folder is None else str(made.folder),
        "card": made.place.title,
        "further_cards": [place.title for place in made.further],
        "recipe": made.run.model_dump(mode="json"),
        "vram": {
            "peak": made.prediction.vram,
            "parts": dict(made.prediction.parts),
            "encode": made.prediction.encode,
        },
        "ram": made.ram,
        "factor": made.prediction.factor,
        "seconds": None if expected is None else expected.seconds,
        "probes": [_probe_as_json(one) for one in probes],
        "choices": list(made.choices),
        "findings": plain(made.findings),
        "licence": {
            "name": made.family.licence.name,
            "url": made.family.licence.url,
            "commercial": made.family.licence.commercial,
            "to_be_acknowledged": made.needs_licence,
            "unread": [one.sentence for one in made.unread],
        },
    }


def _probe_as_json(probe: Probe) -> dict[str, Any]:
    return {
        "quantisation": probe.run.quantisation,
        "on_cpu": probe.on_cpu,
        "planned": probe.predicted,
        "reckoned": probe.reckoned,
        "measured": probe.measured,
        "ratio": probe.ratio,
        "encode": probe.encode,
        "allocated": probe.allocated,
        "reserved": probe.reserved,
        "has": probe.has,
        "outgrew": probe.outgrew,
        "fits": probe.fits,
        "seconds": list(probe.seconds),
        "speeds": plain(probe.speeds),
        "faster": plain(probe.faster),
    }


def _long(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def _plan_lines(made: Plan, probes: Sequence[Probe]) -> Iterator[str]:
    from persona_tui.services.training.duration import foreseen

    run, family = made.run, made.family
    sizes = ", ".join(map(str, run.buckets))
    yield f"{family.title} on {' and '.join(place.title for place in (made.place, *made.further))}"
    yield f"{run.steps} steps, rank {run.rank}, {run.targets}, {sizes} px"
    for choice in made.choices:
        yield f"   {choice}"
    if made.place.card is not None:
        total = made.place.card.memory_total / _GIB
        yield f"card: {made.prediction.vram / _GIB:.1f} GiB at the peak, of {total:.1f}"
        parts = sorted(made.prediction.parts.items(), key=lambda part: -part[1])
        yield "   " + ", ".join(f"{name} {size / _GIB:.1f}" for name, size in parts if size)
    yield f"memory: {made.ram / _GIB:.1f} GiB"
    expected = foreseen(made, probes)
    if expected is None:
        yield "time: not known before its first steps"
    else:
        yield f"time: about {_long(expected.seconds)}, {expected.why}"
    for probe in probes:
        yield from probe.speed_sentences
    for finding in made.findings:
        yield f"⚠️  {finding.sentence}"
    use = "also commercial use" if family.licence.commercial else "no commercial use"
    yield f"licence: {family.licence.name} ({use}), {family.licence.url}"
    for one in made.unread:
        if not one.of_base:
            yield f"⚠️  {one.sentence}"
    if made.run_id is not None:
        accept = " --accept-licence" if made.needs_licence else ""
        yield f"✅ Planned as {made.run_id}: `persona-tui train start {made.run_id}{accept}`."
