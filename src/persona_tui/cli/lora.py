"""`persona-tui lora`: import, take offers, list, show, use, remove, test; further parts stand beside it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli import lora_promotion, lora_versions, lora_watch, vote_comparison
from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    group,
    note,
    persona_of,
    plain,
    require_consent,
    resources,
    session,
    show,
    table,
)

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.generation.lora_placing import Placement
    from persona_tui.services.generation.lora_trial import Trial, TrialPlan
    from persona_tui.services.loras.proposals import Proposal
    from persona_tui.services.loras.registry import LoraView

commands = group("LoRAs: what holds a persona's likeness, or a style.")
lora_watch.register(commands)
lora_versions.register(commands)
lora_promotion.register(commands)

LoraName = Annotated[str, typer.Argument(metavar="LORA", help="Its name, or name@version.")]
Weight = Annotated[float | None, typer.Option(min=0, max=1, help="How strongly it acts, 0 to 1.")]
Primary = Annotated[
    bool | None, typer.Option("--primary/--not-primary", help="The first of its type and family to be used.")
]


@commands.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="A .safetensors file, or a folder of them.")],
    persona: Annotated[str | None, typer.Option(help="Whose likeness it holds; uses it at once.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name; the next version when it exists.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="character, style, concept or editor.")] = None,
    family: Annotated[
        str | None, typer.Option(help="Of its base model: flux, flux2, qwen-image, sdxl, sd15, …")
    ] = None,
    trigger: Annotated[str | None, typer.Option(help="The word that calls it.")] = None,
    weight: Weight = None,
    primary: Primary = None,
    as_its_persona: Annotated[
        bool, typer.Option("--proposed", help="For the persona that each file names, without asking.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import LoRA files, with what the JSON beside each says; names that ComfyUI ignores are converted.

    Originals are never touched.
    """
    from persona_tui.services.inputs import validated
    from persona_tui.services.loras.importing import LoraInput, find_lora_files, import_loras

    given: dict[str, Any] = {
        "name": name, "model_type": kind, "family": family, "trigger_word": trigger,
        "weight": weight, "primary": primary,
    }  # fmt: skip
    with resources() as opened:
        scope = opened.database.session_scope
        if persona is not None:
            with scope() as reading:
                given["persona_id"] = persona_of(reading, persona).id
        values = validated(LoraInput, given)
        outcomes = []
        files = find_lora_files(path)
        for done in import_loras(scope, opened.lora_shelf, files, values, _ask_whose(as_its_persona)):
            outcomes.append(done)
            if not as_json:
                lora_watch.tell(done)
    counts = {
        word: sum(done.outcome == word for done in outcomes)
        for word in ("imported", "already there", "failed")
    }
    show(
        {"counts": counts, "files": outcomes},
        as_json,
        lambda: [", ".join(f"{count} {word}" for word, count in counts.items())],
    )
    if counts["failed"]:
        raise typer.Exit(1 if counts["imported"] or counts["already there"] or len(outcomes) > 1 else 2)


def _ask_whose(sure: bool) -> Callable[[Path, Proposal], bool]:
    def choose(path: Path, proposal: Proposal) -> bool:
        if sure or not sys.stdin.isatty():
            return sure
        return typer.confirm(f"{path.name}: {proposal.reason} Does it hold {proposal.persona}?", err=True)

    return choose


@commands.command("list")
def list_(
    persona: Annotated[str | None, typer.Option(help="Only what this persona has or uses.")] = None,
    as_json: AsJson = False,
) -> None:
    """All LoRAs with their versions, and who uses which."""
    from persona_tui.services.loras.registry import list_loras

    with resources() as opened:
        with opened.database.session_scope() as reading:
            persona_id = persona_of(reading, persona).id if persona else None
            loras = list_loras(reading, persona_id)
        files = {lora.id: _file_state(opened, lora) for lora in loras}
    if not loras and not as_json:
        note("There is no LoRA yet. `persona-tui lora import FILE --persona NAME` brings one in.")
    show(
        [plain(lora) | {"file": files[lora.id]} for lora in loras],
        as_json,
        lambda: table(
            ["lora", "version", "persona", "type", "family", "trigger", "used by", "file"],
            (
                [
                    one.name,
                    one.version,
                    one.persona,
                    one.model_type,
                    one.family,
                    one.trigger_word,
                    _users(one),
                    files[one.id],
                ]
                for one in loras
            ),
        ),
    )


def _users(lora: LoraView) -> str:
    return ", ".join(
        f"{user.persona} {user.weight:g}{' primary' if user.primary else ''}" for user in lora.users
    )


def _file_state(opened: Resources, lora: LoraView) -> str:
    if not opened.lora_shelf.holds(lora.file_name):
        return "missing"
    return "ignored by ComfyUI" if lora.key_warnings else "there"


@commands.command("show")
def show_(
    name: LoraName,
    servers: Annotated[
        bool, typer.Option("--servers", help="Also ask each server whether it has it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """One LoRA: what it is, where its file lies, who uses it."""
    from persona_tui.services.loras.registry import find_lora

    with resources() as opened:
        with opened.database.session_scope() as reading:
            lora = find_lora(reading, name)
            voted = vote_comparison.verdict_facts(reading, lora.id)
        path = opened.lora_shelf.path(lora.file_name)
        placements = asyncio.run(_placements(opened, lora)) if servers else ()
        state = _file_state(opened, lora)
    show(
        {"lora": lora, "path": path, "file": state, "servers": placements, "verdicts": voted},
        as_json,
        lambda: [*_about(lora, path, state, placements), *map(vote_comparison.verdict_line, voted)],
    )


async def _placements(opened: Resources, lora: LoraView) -> tuple[Placement, ...]:
    found = []
    for url, client in opened.comfyui_clients().items():
        async with client:
            found.append(await opened.lora_desk(url, client).placer.placement(lora.file_name))
    return tuple(found)


def _about(lora: LoraView, path: Path, state: str, placements: tuple[Placement, ...]) -> Iterator[str]:
    base = f" ({lora.base_model})" if lora.base_model else ""
    yield f"{lora.label}: {lora.model_type}, {lora.family}{base}"
    yield f"persona: {lora.persona or 'any'}   trigger word: {lora.trigger_word or 'none'}"
    yield f"weights: {lora.key_format} names, rank {lora.rank or '?'}, {lora.byte_count / 1e6:.1f} MB"
    yield f"file: {path} ({state})"
    yield f"SHA-256: {lora.sha256}"
    yield f"used by: {_users(lora) or 'nobody'}   in {lora.runs} runs"
    yield from _learnt(lora)
    if lora.converted_to:
        yield f"converted into: {lora.converted_to}"
    for warning in lora.warnings:
        yield f"⚠️  {warning}"
    for place in placements:
        yield f"{'✅' if place.listed else '❌'} {place.endpoint}: {place.listed or place.sentence}"


def _learnt(lora: LoraView) -> Iterator[str]:
    """What its training measured, and by what."""
    from persona_tui.services.training.exported import base_words, origin_words

    if origin := origin_words(lora.training_run, lora.step, lora.weights):
        yield f"made by: {origin}" if lora.training_run is not None else f"trained: {origin}"
    if "likeness" in lora.scores:
        weak = " (weak)" if lora.weak else ""
        yield f"likeness: {lora.scores['likeness']:.2f}{weak}, by {lora.scorer or 'an unnamed scorer'}"
    if words := base_words(lora.base_difference):
        yield words


@commands.command("use")
def use(
    persona: PersonaName,
    name: LoraName,
    weight: Weight = None,
    primary: Primary = None,
    as_json: AsJson = False,
) -> None:
    """Let a persona's further runs use a LoRA, or change its weight; an older version gives way."""
    from persona_tui.services.loras.mappings import UseInput, use_lora
    from persona_tui.services.loras.registry import find_lora

    with session() as opened:
        owner = persona_of(opened, persona)
        lora = use_lora(
            opened, owner.id, find_lora(opened, name).id, UseInput(weight=weight, primary=primary)
        )
    user = next(one for one in lora.users if one.persona_id == owner.id)
    words = f"{owner.name} uses {lora.label} at {user.weight:g}{', primary' if user.primary else ''}."
    show(lora, as_json, lambda: [f"✅ {words}"])


@commands.command("unuse")
def unuse(persona: PersonaName, name: LoraName, as_json: AsJson = False) -> None:
    """Keep a LoRA from a persona's further runs."""
    from persona_tui.services.loras.mappings import unuse_lora
    from persona_tui.services.loras.registry import find_lora

    with session() as opened:
        owner = persona_of(opened, persona)
        lora = unuse_lora(opened, owner.id, find_lora(opened, name).id)
    show(lora, as_json, lambda: [f"✅ {owner.name} no longer uses {lora.label}."])


@commands.command("remove")
def remove(
    name: LoraName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a version that no run used out, with our copy of its file; servers keep theirs."""
    from persona_tui.services.loras.registry import find_lora, remove_lora

    with resources() as opened:
        with opened.database.session_scope() as acting:
            found = find_lora(acting, name)
            question = f"Remove {found.label} with our copy of its file?"
            require_consent(yes, question, refusal=f"{found.label} was not removed")
            gone = remove_lora(acting, found.id)
        opened.lora_shelf.drop(gone.file_name)
    show(gone, as_json, lambda: [f"✅ {gone.label} is gone."])


@commands.command("test")
def test(
    persona: PersonaName,
    name: LoraName,
    prompt: Annotated[str, typer.Option(help="What to picture; otherwise a plain portrait.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of both pictures.")] = 1,
    weight: Weight = None,
    pipeline: Annotated[
        str | None, typer.Option(help="Its first step is used; otherwise one that fits.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="A server; otherwise one that can.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the pictures go, side by side, as PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """Picture one prompt and seed without and with a LoRA, side by side. Exit 1 if it changes nothing."""
    from persona_tui.services.generation.lora_trial import plan_trial, side_by_side
    from persona_tui.services.generation.pipelines import ensure_examples
    from persona_tui.services.loras.registry import find_lora

    with resources() as opened:
        with opened.database.session_scope() as planning:
            ensure_examples(planning)
            values = {
                "persona_id": persona_of(planning, persona).id, "lora_id": find_lora(planning, name).id,
                "prompt": prompt, "seed": seed, "weight": weight, "pipeline": pipeline,
            }  # fmt: skip
            plan = plan_trial(planning, values)
        trial = asyncio.run(_try(opened, plan, endpoint))
        target = (
            out or opened.settings.data_dir / "lora-tests" / f"{Path(plan.lora.file_name).stem}-{seed}.png"
        )
        _write(target, side_by_side(trial))
    show(_told(trial, target), as_json, lambda: _verdict(trial, target))
    if trial.difference == 0:
        raise typer.Exit(1)


async def _try(opened: Resources, plan: TrialPlan, endpoint: str | None) -> Trial:
    from persona_tui.services.generation.lora_trial import run_trial

    async with opened.lora_servers(endpoint) as servers:
        return await run_trial(opened.database.session_scope, servers, plan, say=note)


def _write(target: Path, picture: bytes) -> None:
    from persona_tui.errors import StorageError

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture)
    except OSError as problem:
        raise StorageError(f"{target} can't be written: {problem.strerror}.") from None


def _told(trial: Trial, target: Path) -> dict[str, Any]:
    return {
        "lora": trial.plan.lora.label,
        "weight": trial.plan.lora.weight,
        "pipeline": trial.plan.pipeline,
        "prompt": trial.plan.facts.prompt,
        "seed": trial.plan.seed,
        "endpoint": trial.endpoint,
        "difference": trial.difference,
        "sentences": trial.sentences,
        "picture": str(target),
    }


def _verdict(trial: Trial, target: Path) -> Iterator[str]:
    icon = "❌" if trial.difference == 0 else "✅"
    yield f"{icon} {trial.plan.lora.words} changes the picture by {trial.difference:g} of 255 on average."
    for sentence in trial.sentences:
        yield f"   ⚠️  {sentence}"
    yield f"   {target}: without it on the left, with it on the right."
