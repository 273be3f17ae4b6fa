"""What a workflow's placeholders may name, and the seeds behind them."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from persona_tui.services.generation.lora_use import (
    LoraUse,
    lora_variable_names,
    lora_variables,
    trigger_word,
)
from persona_tui.services.generation.template import Value

SEED_BITS = 53
"""A double holds every integer up to 2**53: no JSON reader on the way rounds a seed."""

PARENT_IMAGE = "parent_image"
PARENT_IMAGE_PATH = "parent_image_path"
PARENTS = (PARENT_IMAGE, PARENT_IMAGE_PATH)
"""The parent's picture: by its name on the server after an upload, or where it lies in our own store."""
JOB_ID = "job_id"
BUILT_IN = frozenset(
    {
        "prompt",
        "negative",
        "seed",
        "auto_seed",
        "seed_color",
        "prompt_color",
        "run_name",
        JOB_ID,
        "timestamp",
        "timestamp_ms",
        "random",
        "persona",
        "trigger_word",
        PARENT_IMAGE,
        PARENT_IMAGE_PATH,
        *lora_variable_names(),
    }
)
"""Variables that the program sets; a run's own variables have other names."""


def is_variable_name(name: str) -> bool:
    """Whether a run may have a variable of that name: letters, digits and `_`, at most 64."""
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name) is not None


def derive_seed(
    run_seed: int, position: int, parent: tuple[int, int] | None, slot_no: int, attempt: int
) -> int:
    """The seed of one attempt at one slot, the same at each derivation.

    Built on the parent's seed, not its id: a run cloned with its seed grows the same tree.

    Args:
        run_seed: the base of all seeds of the run.
        position: of the step, from 1.
        parent: seed and output index of the parent picture; None in step 1.
        slot_no: from 1.
        attempt: jobs that this slot had before; a slot that failed or whose picture was rejected gets
            another picture.

    Returns:
        0 ≤ seed < 2**53, from SHA-256.
    """
    above = "root" if parent is None else f"{parent[0]}.{parent[1]}"
    words = f"persona-tui seed {run_seed} {position} {above} {slot_no} {attempt}"
    digest = hashlib.sha256(words.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - SEED_BITS)


def job_token(job_id: int, prompt_id: uuid.UUID) -> str:
    """The job's name in file prefixes on the server.

    Holds the start of the prompt id: the ids of another database, or of an earlier try, name other files.
    """
    return f"{job_id}-{prompt_id.hex[:8]}"


@dataclass(frozen=True)
class RunFacts:
    """What all jobs of a run share.

    Attributes:
        trigger_word: the persona's own; a LoRA's goes before it.
        variables: the run's own.
        loras: that the run uses.
    """

    name: str
    prompt: str
    negative: str
    persona: str
    trigger_word: str
    variables: Mapping[str, Value]
    loras: tuple[LoraUse, ...] = ()


def run_variables(
    facts: RunFacts,
    *,
    seed: int,
    token: str,
    now: datetime,
    parent_image: str | None,
    parent_image_path: str | None = None,
) -> dict[str, Value]:
    """The variables of one job.

    Args:
        token: see `job_token`.
        parent_image: the parent's name on the server; None in step 1, where the variable does not exist.
        parent_image_path: the parent's absolute path in our store, for a server with the same file system;
            None where there is none.
    """
    built_in: dict[str, Value] = {
        "prompt": facts.prompt,
        "negative": facts.negative,
        "seed": seed,
        "auto_seed": seed,
        "seed_color": _colour_of(f"seed {seed}"),
        "prompt_color": _colour_of(facts.prompt),
        "run_name": facts.name,
        JOB_ID: token,
        "timestamp": int(now.timestamp()),
        "timestamp_ms": int(now.timestamp() * 1000),
        "random": int.from_bytes(hashlib.sha256(f"random {seed}".encode()).digest()[:8], "big") % 10**9,
        "persona": facts.persona,
        "trigger_word": trigger_word(facts.loras, facts.trigger_word),
        **lora_variables(facts.loras),
    }
    if parent_image is not None:
        built_in[PARENT_IMAGE] = parent_image
    if parent_image_path is not None:
        built_in[PARENT_IMAGE_PATH] = parent_image_path
    return {**facts.variables, **built_in}


def _colour_of(words: str) -> int:
    """A colour, 0xRRGGBB, that stands for the words where no model makes a picture of them."""
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:3], "big")
