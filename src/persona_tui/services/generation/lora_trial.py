"""Trying a LoRA: the same prompt and seed with it and without it, or with another one, side by side."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from pydantic import Field
from sqlmodel import Session

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.errors import (
    ClientError,
    InvalidRequest,
    ServiceRefused,
    ServiceTimeout,
    UnknownName,
)
from persona_tui.models.persona import Persona
from persona_tui.passed import Passed, Workflow
from persona_tui.services.generation.clerk import SessionScope
from persona_tui.services.generation.collection import wanted_files
from persona_tui.services.generation.graph import with_token
from persona_tui.services.generation.injection import fits, inject
from persona_tui.services.generation.lora_desk import LoraDesk
from persona_tui.services.generation.lora_servers import Chosen, LoraServers, require_awake
from persona_tui.services.generation.lora_use import LoraUse
from persona_tui.services.generation.pipelines import PipelineDetail, list_pipelines, pipeline_detail
from persona_tui.services.generation.template import fill
from persona_tui.services.generation.variables import SEED_BITS, RunFacts, run_variables
from persona_tui.services.inputs import Input, Prose, validated
from persona_tui.services.loras.registry import LoraView, get_lora
from persona_tui.services.safety import guard

POLL_SECONDS = 0.25
_GAP = 16
SAME = "Both pictures are the same: the server ignored the LoRA."
ALIKE = "Both pictures are the same: the server ignored both LoRAs, or they are equal."


class TrialInput(Input):
    """What to try.

    Attributes:
        prompt: empty takes a plain portrait with the LoRA's trigger word.
        weight: None takes the persona's, or the LoRA's own, or 1.
        pipeline: its first step is used; None takes the first whose model is of the LoRA's family.
        beside_id: another LoRA of that family to compare it with; None compares it with none.
    """

    persona_id: int
    lora_id: int
    prompt: Prose = ""
    seed: Annotated[int, Field(ge=0, lt=1 << SEED_BITS)] = 1
    weight: Annotated[float, Field(ge=0, le=1)] | None = None
    pipeline: int | str | None = None
    beside_id: int | None = None


@dataclass(frozen=True)
class TrialPlan:
    """A trial that is ready to be sent; `facts` hold the LoRA.

    Attributes:
        beside: what the picture on the left is made with; None makes it without any LoRA.
    """

    persona_id: int
    pipeline_id: int
    pipeline: str
    step: str
    template: Mapping[str, Any]
    output_node: str | None
    timeout: int
    facts: RunFacts
    lora: LoraUse
    seed: int
    beside: LoraUse | None = None

    @property
    def left_words(self) -> str:
        """What the picture on the left is made with, in a few words."""
        return f"without {self.lora.label}" if self.beside is None else f"with {self.beside.words}"


@dataclass(frozen=True)
class Trial:
    """What came of it.

    Attributes:
        left, right: the two pictures' bytes; the LoRA that is tried is on the right.
        difference: mean difference of their colour values, 0 to 255; 0: the LoRA changed nothing.
        sentences: what the server said about it, and what that means.
    """

    plan: TrialPlan
    endpoint: str
    left: bytes
    right: bytes
    difference: float
    sentences: tuple[str, ...]


def plan_trial(session: Session, values: TrialInput | Mapping[str, Any]) -> TrialPlan:
    """Prepare a trial.

    Raises:
        UnknownName: LoRA, pipeline or persona is not there.
        InvalidRequest: a LoRA is another persona's, the two are of different families, or the pipeline's
            first step does not use it.
        GuardRefused: the guard forbids the prompt.
    """
    given = values if isinstance(values, TrialInput) else validated(TrialInput, values)
    lora = _own(session, given.lora_id, given.persona_id)
    persona = _persona(session, given.persona_id)
    use = _use(lora, given)
    beside = None if given.beside_id is None else _beside(session, given, lora)
    detail = _pipeline(session, use, given.pipeline)
    step = detail.pipeline.steps[0]
    word = lora.trigger_word or persona.trigger_word or persona.name
    prompt = given.prompt.strip() or f"Photo of {word}, head and shoulders, natural light"
    guard.pass_text(session, prompt, purpose="generator", persona_id=given.persona_id)
    facts = RunFacts(f"trial of {lora.label}", prompt, "", persona.name, persona.trigger_word, {}, (use,))
    return TrialPlan(
        persona_id=given.persona_id,
        pipeline_id=detail.pipeline.id,
        pipeline=detail.pipeline.name,
        step=step.name,
        template=detail.workflows[0],
        output_node=step.output_node,
        timeout=step.timeout,
        facts=facts,
        lora=use,
        seed=given.seed,
        beside=beside,
    )


async def run_trial(
    scope: SessionScope,
    servers: LoraServers,
    plan: TrialPlan,
    *,
    say: Callable[[str], None] = lambda _sentence: None,
) -> Trial:
    """Make both pictures, one after the other, and compare them; cut off, it withdraws what it sent.

    Args:
        say: gets a sentence before each part that takes seconds.

    Raises:
        NoServer, LoraNotListed, StorageError: the LoRA can't be brought to any server.
        GuardRefused: the guard forbids the workflow.
        ClientError: the server refuses, fails, is away, or takes longer than the step may.
    """

    async def work(chosen: Chosen) -> Trial:
        placed, *others = chosen.loras
        left = others[0] if others else replace(placed, weight=0.0)
        await chosen.desk.log.begin()
        pictures = []
        for lora, words in ((left, plan.left_words), (placed, f"with {placed.words}")):
            say(f"Making the picture {words}…")
            pictures.append(await make_picture(scope, chosen, plan, lora))
        difference = await asyncio.to_thread(mean_difference, *pictures)
        sentences = list(await chosen.desk.log.sentences(chosen.loras))
        if difference == 0:
            sentences.insert(0, SAME if plan.beside is None else ALIKE)
        return Trial(plan, chosen.url, pictures[0], pictures[1], difference, tuple(sentences))

    say("Bringing the LoRA to a server…")
    loras = [plan.lora, *([] if plan.beside is None else [plan.beside])]
    return await servers.serve(loras, partial(drawn, plan), plan.pipeline_id, work, say)


async def drawn(plan: TrialPlan, desk: LoraDesk, lora: LoraUse) -> Workflow:
    """The workflow that a server gets for a plan, with this LoRA, or at weight 0 without it."""
    template = await desk.placer.resolved(plan.template)
    facts = replace(plan.facts, loras=(lora,))
    token = f"trial-{uuid.uuid4().hex[:12]}"
    variables = run_variables(facts, seed=plan.seed, token=token, now=datetime.now(UTC), parent_image=None)
    return with_token(inject(template, fill(template, variables), (lora,)), token)


async def make_picture(scope: SessionScope, chosen: Chosen, plan: TrialPlan, lora: LoraUse) -> bytes:
    """One picture of a plan with this LoRA, whose file the server has; cut off, it withdraws what it sent.

    Raises:
        AtRest: a training has taken the server's card meanwhile.
        GuardRefused: the guard forbids the workflow.
        ClientError: the server refuses, fails, is away, or takes longer than the step may.
    """
    workflow = await drawn(plan, chosen.desk, lora)
    passed = await asyncio.to_thread(_passed, scope, plan, lora, workflow)
    await require_awake(scope, chosen.url)
    return await _picture(chosen.client, plan, passed)


def mean_difference(one: bytes, other: bytes) -> float:
    """Mean difference of two pictures' colour values, 0 to 255; 255 where their sizes differ."""
    import numpy as np

    first, second = _opened(one), _opened(other)
    if first.size != second.size:
        return 255.0
    pixels = [np.asarray(picture, dtype=np.float32) for picture in (first, second)]
    return round(float(np.abs(pixels[0] - pixels[1]).mean()), 3)


def side_by_side(trial: Trial) -> bytes:
    """Both pictures in one PNG, the LoRA that is tried on the right."""
    from PIL import Image

    pictures = [_opened(data) for data in (trial.left, trial.right)]
    height = max(picture.height for picture in pictures)
    width = sum(picture.width for picture in pictures) + _GAP
    sheet = Image.new("RGB", (width, height), (24, 24, 24))
    sheet.paste(pictures[0], (0, 0))
    sheet.paste(pictures[1], (pictures[0].width + _GAP, 0))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _opened(data: bytes) -> Any:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        raise ServiceRefused("The server's file is no picture that can be read.") from None


def _persona(session: Session, persona_id: int) -> Persona:
    persona = session.get(Persona, persona_id)
    if persona is None:
        raise UnknownName("There is no such persona.", hint="`persona-tui persona list` shows them.")
    return persona


def _own(session: Session, lora_id: int, persona_id: int) -> LoraView:
    lora = get_lora(session, lora_id)
    if lora.persona_id not in (None, persona_id):
        raise InvalidRequest(
            f"{lora.label} holds the likeness of {lora.persona}.", hint="It serves that persona alone."
        )
    return lora


def _beside(session: Session, given: TrialInput, lora: LoraView) -> LoraUse:
    """The other LoRA; at the same weight, where one was given."""
    assert given.beside_id is not None
    other = _own(session, given.beside_id, given.persona_id)
    if other.family != lora.family or other.id == lora.id:
        raise InvalidRequest(
            f"{lora.label} can't be compared with {other.label}.",
            hint="Choose another version, of the same base model.",
        )
    return _use(other, given)


def _use(lora: LoraView, given: TrialInput) -> LoraUse:
    mapped = next((user.weight for user in lora.users if user.persona_id == given.persona_id), None)
    weights = (given.weight, mapped, lora.default_weight, 1.0)
    return LoraUse(
        lora_model_id=lora.id,
        position=1,
        name=lora.name,
        version=lora.version,
        model_type=lora.model_type,
        family=lora.family,
        trigger_word=lora.trigger_word,
        file_name=lora.file_name,
        sha256=lora.sha256,
        weight=next(weight for weight in weights if weight is not None),
    )


def _pipeline(session: Session, lora: LoraUse, wanted: int | str | None) -> PipelineDetail:
    if wanted is not None:
        detail = pipeline_detail(session, wanted)
        (found,) = fits(detail.workflows[0], [lora])
        if not found.is_used:
            raise InvalidRequest(
                f"The first step of {detail.pipeline.name} does not use {lora.label}: {found.reason}.",
                hint="Choose another --pipeline.",
            )
        return detail
    details = [pipeline_detail(session, view.id) for view in list_pipelines(session)]
    usable = [(detail, fits(detail.workflows[0], [lora])[0]) for detail in details]
    sure = [detail for detail, found in usable if found.is_used and not found.reason]
    unsure = [detail for detail, found in usable if found.is_used]
    if not unsure:
        raise InvalidRequest(
            f"No pipeline's first step loads a model that {lora.label} ({lora.family}) is for.",
            hint="Import a pipeline for that model with `persona-tui pipeline import`.",
        )
    return (sure or unsure)[0]


def _passed(scope: SessionScope, plan: TrialPlan, lora: LoraUse, workflow: Workflow) -> Passed[Workflow]:
    """The workflow, let through by the guard."""
    with scope() as session:
        return guard.pass_workflow(
            session,
            workflow,
            persona_id=plan.persona_id,
            subject=f"lora_models:{lora.lora_model_id}",
        )


async def _picture(client: ComfyUIClient, plan: TrialPlan, workflow: Passed[Workflow]) -> bytes:
    prompt_id = str(uuid.uuid4())
    try:
        await client.submit(workflow, prompt_id=prompt_id, client_id=f"persona-tui-trial-{prompt_id[:8]}")
        async with asyncio.timeout(plan.timeout):
            entry = await client.history(prompt_id)
            while entry is None or entry.status == "running":
                await asyncio.sleep(POLL_SECONDS)
                entry = await client.history(prompt_id)
    except TimeoutError:
        await _withdraw(client, prompt_id)
        raise ServiceTimeout(f"The picture took longer than {plan.timeout} s.") from None
    except BaseException:
        await _withdraw(client, prompt_id)
        raise
    if entry.status != "success":
        raise ServiceRefused(entry.message or "The server gave no reason.")
    files = wanted_files(entry, plan.output_node)
    if not files:
        raise ServiceRefused("The server finished the picture but gave none.")
    return await client.view(files[0])


async def _withdraw(client: ComfyUIClient, prompt_id: str) -> None:
    try:
        await client.delete_pending(prompt_id)
        await client.interrupt(prompt_id)
    except ClientError:
        return
