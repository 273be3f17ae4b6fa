"""Two LoRAs pictured at the same prompts and seeds, for a contest of blind votes between them.

A pair is kept when both of its pictures are there, so whoever is cut off goes on with the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from psycopg.types.json import Jsonb
from pydantic import Field
from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.services import events
from persona_tui.services.generation.clerk import SessionScope
from persona_tui.services.generation.lora_servers import Chosen, LoraServers
from persona_tui.services.generation.lora_trial import TrialPlan, drawn, make_picture, plan_trial
from persona_tui.services.generation.variables import SEED_BITS
from persona_tui.services.inputs import Input, Prose, validated
from persona_tui.services.loras.promotion import note_compared
from persona_tui.services.loras.registry import LoraView, get_lora
from persona_tui.services.media import MediaStore, StoredPicture
from persona_tui.services.voting.comparison import ComparisonState, comparison_state

TRIGGER = "{{trigger_word}}"
"""Stands in a prompt for each LoRA's own trigger word."""
PROMPTS = (
    f"Photo of {TRIGGER}, head and shoulders, natural light",
    f"Photo of {TRIGGER} laughing in a café, seen from the side",
    f"Photo of {TRIGGER} walking down a street, full length",
)
"""What is pictured where nothing is said: near, from the side, and far."""
MOST_PROMPTS, MOST_SEEDS = 20, 50


class ComparisonInput(Input):
    """What to compare.

    Attributes:
        lora_id, beside_id: two LoRAs of one base model.
        prompts: one picture of each LoRA for each of them and each seed; none takes three plain portraits.
        seeds: how many; they begin with `seed`, or after those that the two were compared at before.
        weight: of both; None takes the persona's, or each LoRA's own, or 1.
        pipeline: its first step is used; None takes the first whose model is of their family.
    """

    persona_id: int
    lora_id: int
    beside_id: int
    prompts: Annotated[list[Prose], Field(max_length=MOST_PROMPTS)] = []
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = 4
    seed: Annotated[int, Field(ge=0, lt=(1 << SEED_BITS) - MOST_SEEDS)] | None = None
    weight: Annotated[float, Field(ge=0, le=1)] | None = None
    pipeline: int | str | None = None


@dataclass(frozen=True)
class _Wanted:
    """A pair that is to be pictured: a plan for each LoRA."""

    comparison_id: int
    prompt_index: int
    seed: int
    plans: tuple[TrialPlan, TrialPlan]


def create_comparison(session: Session, values: ComparisonInput | Mapping[str, Any]) -> ComparisonState:
    """Plan a comparison, with its contest; nothing is pictured yet.

    Raises:
        UnknownName: LoRA, pipeline or persona is not there.
        InvalidRequest: a LoRA is another persona's, the two are of different families, or the pipeline's
            first step does not use them.
        GuardRefused: the guard forbids a prompt.
    """
    given = values if isinstance(values, ComparisonInput) else validated(ComparisonInput, values)
    said = dict.fromkeys(prompt.strip() for prompt in given.prompts if prompt.strip())
    prompts = list(said) or list(PROMPTS)
    loras = [get_lora(session, lora_id) for lora_id in (given.lora_id, given.beside_id)]
    whose = {"persona_id": given.persona_id, "weight": given.weight}
    sides = ((given.lora_id, given.beside_id), (given.beside_id, given.lora_id))
    pipeline = given.pipeline
    for prompt in prompts:
        for lora, (lora_id, beside_id) in zip(loras, sides, strict=True):
            trial = {**whose, "lora_id": lora_id, "beside_id": beside_id, "pipeline": pipeline}
            pipeline = plan_trial(session, {**trial, "prompt": _for(lora, prompt)}).pipeline_id
    pair = {"persona": given.persona_id, "lora": given.lora_id, "beside": given.beside_id}
    first = given.seed if given.seed is not None else rows_of(session, _NEXT_SEED, pair)[0].seed
    told = {
        "pipeline": pipeline,
        "weight": given.weight,
        "prompts": Jsonb(prompts),
        "seeds": Jsonb([first + number for number in range(given.seeds)]),
    }
    contest = rows_of(session, _CREATE, pair | told)[0].id
    events.emit(session, "lora", given.lora_id)
    return comparison_state(session, contest)


async def make_pairs(
    scope: SessionScope,
    servers: LoraServers,
    media: MediaStore,
    contest_id: int,
    *,
    say: Callable[[str], None] = lambda _sentence: None,
) -> ComparisonState:
    """Make all pictures that a comparison lacks, pair by pair; what is there stays when this is cut off.

    Both pictures of a pair come from one server: two cards may draw one seed differently.

    Args:
        say: gets a sentence before each pair, and while no server may work.

    Raises:
        UnknownName: there is no such comparison.
        NoServer, LoraNotListed, StorageError: a LoRA can't be brought to any server, or a picture can't be
            stored.
        GuardRefused: the guard forbids a workflow.
        ClientError: the server refuses, fails, is away, or takes longer than the step may.
        Unreadable: the server's file is no picture.
    """
    while True:
        state, wanted = await asyncio.to_thread(_look, scope, contest_id)
        if wanted is None:
            return state
        sentence = f"Making pair {state.ready + 1} of {state.planned}: {state.lora} and {state.beside}…"
        pictures = await _pair(scope, servers, wanted.plans, sentence, say)
        await asyncio.to_thread(_keep, scope, media, contest_id, wanted, pictures)


async def _pair(
    scope: SessionScope,
    servers: LoraServers,
    plans: tuple[TrialPlan, TrialPlan],
    sentence: str,
    say: Callable[[str], None],
) -> list[bytes]:
    """Both pictures of a pair, of one server."""

    async def work(chosen: Chosen) -> list[bytes]:
        say(sentence)
        return [
            await make_picture(scope, chosen, plan, lora)
            for plan, lora in zip(plans, chosen.loras, strict=True)
        ]

    loras = [plan.lora for plan in plans]
    return await servers.serve(loras, partial(drawn, plans[0]), plans[0].pipeline_id, work, say)


def _look(scope: SessionScope, contest_id: int) -> tuple[ComparisonState, _Wanted | None]:
    """How far it is, and the pair to make next."""
    with scope() as session:
        state = comparison_state(session, contest_id)
        missing = rows_of(session, _MISSING, {"id": state.id})
        if not missing:
            return state, None
        one = missing[0]
        plans = [
            plan_trial(
                session,
                {
                    "persona_id": state.persona_id,
                    "lora_id": lora_id,
                    "prompt": _for(get_lora(session, lora_id), one.prompt),
                    "seed": one.seed,
                    "weight": one.weight,
                    "pipeline": one.pipeline_id,
                },
            )
            for lora_id in (state.lora_id, state.beside_id)
        ]
        return state, _Wanted(state.id, one.prompt_index, one.seed, (plans[0], plans[1]))


def _for(lora: LoraView, prompt: str) -> str:
    """The prompt with this LoRA's trigger word, or its persona's or own name where it has none."""
    return prompt.replace(TRIGGER, lora.trigger_word or lora.persona or lora.name)


def _keep(
    scope: SessionScope, media: MediaStore, contest_id: int, wanted: _Wanted, pictures: Sequence[bytes]
) -> None:
    stored = [media.put(data) for data in pictures]
    with scope() as session:
        first, second = (get_lora(session, plan.lora.lora_model_id) for plan in wanted.plans)
        for lora, picture in zip((first, second), stored, strict=True):
            rows_of(session, _KEEP, _picture_values(contest_id, wanted, lora, picture))
        if comparison_state(session, contest_id).ready == 1:
            note_compared(session, wanted.plans[0].persona_id, first, second, wanted.seed)
        events.emit(session, "lora", first.id)


def _picture_values(
    contest_id: int, wanted: _Wanted, lora: LoraView, picture: StoredPicture
) -> dict[str, Any]:
    return {
        "contest": contest_id,
        "comparison": wanted.comparison_id,
        "lora": lora.id,
        "prompt": wanted.prompt_index,
        "seed": wanted.seed,
        "key": picture.key,
        "sha256": picture.sha256,
    }


_NEXT_SEED = """
SELECT coalesce(max(CAST(s.value AS bigint)), 0) + 1 AS seed
FROM lora_comparisons c, jsonb_array_elements(c.seeds) s
WHERE c.persona_id = :persona AND CAST(:lora AS bigint) IN (c.lora_model_id, c.beside_id)
  AND CAST(:beside AS bigint) IN (c.lora_model_id, c.beside_id)
"""

_CREATE = """
WITH made AS (
  INSERT INTO lora_comparisons (persona_id, lora_model_id, beside_id, pipeline_id, weight, prompts, seeds)
  VALUES (:persona, :lora, :beside, :pipeline, :weight, :prompts, :seeds) RETURNING id)
INSERT INTO contests (kind, comparison_id) SELECT 'comparison', id FROM made RETURNING id
"""

_MISSING = """
SELECT p.ordinality::integer - 1 AS prompt_index, p.value AS prompt, CAST(s.value AS bigint) AS seed,
  c.weight, c.pipeline_id
FROM lora_comparisons c, jsonb_array_elements_text(c.prompts) WITH ORDINALITY p,
  jsonb_array_elements(c.seeds) WITH ORDINALITY s
WHERE c.id = :id AND NOT EXISTS (
  SELECT FROM lora_comparison_pictures m
  WHERE m.comparison_id = c.id AND m.prompt_index = p.ordinality - 1 AND m.seed = CAST(s.value AS bigint))
ORDER BY s.ordinality, p.ordinality LIMIT 1
"""

_KEEP = """
WITH picture AS (
  INSERT INTO lora_comparison_pictures (comparison_id, lora_model_id, prompt_index, seed, media_key, sha256)
  VALUES (:comparison, :lora, :prompt, :seed, :key, :sha256)
  ON CONFLICT (comparison_id, prompt_index, seed, lora_model_id) DO NOTHING RETURNING id)
INSERT INTO contest_members (contest_id, comparison_picture_id)
SELECT CAST(:contest AS bigint), id FROM picture
"""
