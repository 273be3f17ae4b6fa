"""The recipe of a run: everything that decides what is learnt, as `run.toml`."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from persona_tui.errors import InvalidRequest

SIDE_STEP = 16
"""Pixels: what a side of pictures is a multiple of, eight to a latent and two latents to a token."""
LARGEST_SIDE = 2048
Side = Annotated[int, Field(ge=SIDE_STEP, le=LARGEST_SIDE, multiple_of=SIDE_STEP)]
Targets = Literal["attention", "mlp", "all"]
Dtype = Literal["bf16", "fp32"]
Quantisation = Literal["none", "int8", "nf4"]
AttentionBackend = Literal["native", "flash", "efficient", "cudnn", "math"]
OptimizerName = Literal["adamw", "adamw8bit", "prodigy"]

# Where things lie on this machine, what is looked at and what is kept: none of it changes a weight.
_LEAVES_THE_WEIGHTS = frozenset(
    {"base", "dataset", "parent", "steps", "checkpoint_every", "evaluate_every", "keep", "name"}
)
# Left out of the hashes where it is off, so that runs made before there were such options keep theirs.
_OFF: Mapping[str, Any] = {"compile": False, "attention_backend": "native"}
_PLACES = frozenset({"base", "dataset", "parent"})


class Phase(BaseModel):
    """A stretch of the curriculum: from its first step on, only these pictures are learnt from.

    Attributes:
        first_step: counted from 1; in steps and not in shares, so that a changed step count changes nothing
            before it.
        angles: of the manifest's pictures; empty: all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    first_step: int = Field(ge=1)
    angles: tuple[str, ...] = ()


class RunFile(BaseModel):
    """One run. Two runs of equal `hash()` on equal versions, threads and card give equal files.

    Attributes:
        family: a key of `families.FAMILIES`.
        base: folder of the base model, as diffusers saves pipelines.
        dataset: folder with `manifest.json`.
        dataset_hash: SHA-256 of that manifest.
        class_prompt: words put in the trigger word's place for class preservation, such as "person".
        alpha: baked into the file at export; equal to the rank unless the operator knows why.
        lr: at its height, after the warm-up; it stays there.
        steps: optimizer steps; `control.json` may change the number while it runs.
        accumulation: batches per optimizer step, shared among the cards.
        buckets: sides in pixels of squares whose area the buckets have.
        swap_blocks: transformer blocks that wait in the host's memory.
        compile: the transformer's blocks are compiled; faster or not is for a probe to tell.
        attention_backend: PyTorch's kernel for attention; `native` lets PyTorch choose.
        caption_dropout: share of samples that are learnt without their caption.
        preservation: weight of the class's own loss; 0 leaves out its two forwards.
        mask_background: weight outside the face where `mask_loss` is on; 1 inside.
        ema: decay of the averaged weights; 0 for none.
        keep: best checkpoints kept beside the last two.
        threads: of the CPU; part of the run, since other numbers add in another order.
        parent: a LoRA file that is trained on.
        parent_hash: SHA-256 of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="lora", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")
    family: str
    base: Path
    dataset: Path
    dataset_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    trigger: str = ""
    class_prompt: str = ""
    seed: int = Field(default=1, ge=0, lt=2**63)
    rank: int = Field(default=16, ge=1, le=256)
    alpha: float = Field(default=16, gt=0)
    targets: Targets = "mlp"
    lr: float = Field(default=1e-4, gt=0, le=10)
    optimizer: OptimizerName = "adamw8bit"
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: int = Field(default=20, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    steps: int = Field(default=1000, ge=1)
    batch: int = Field(default=1, ge=1)
    accumulation: int = Field(default=1, ge=1)
    buckets: tuple[Side, ...] = (512, 768, 1024)
    dtype: Dtype = "bf16"
    quantisation: Quantisation = "none"
    checkpointing: bool = True
    swap_blocks: int = Field(default=0, ge=0)
    compile: bool = False
    attention_backend: AttentionBackend = "native"
    caption_dropout: float = Field(default=0.05, ge=0, lt=1)
    preservation: float = Field(default=0.0, ge=0)
    mask_loss: bool = False
    mask_background: float = Field(default=0.3, ge=0, le=1)
    ema: float = Field(default=0.0, ge=0, lt=1)
    guidance: float = 1.0
    phases: tuple[Phase, ...] = ()
    checkpoint_every: int = Field(default=250, ge=1)
    evaluate_every: int = Field(default=250, ge=0)
    keep: int = Field(default=3, ge=0)
    threads: int = Field(default=1, ge=1)
    parent: Path | None = None
    parent_hash: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _fits_together(self) -> RunFile:
        if not self.buckets:
            raise ValueError("buckets names no size")
        if self.preservation and not self.class_prompt:
            raise ValueError("preservation needs a class_prompt, such as person")
        if self.swap_blocks and (self.quantisation == "int8" or not self.checkpointing):
            raise ValueError("swap_blocks needs checkpointing, and weights in bf16 or nf4")
        if self.swap_blocks and self.compile:
            raise ValueError("compile needs all blocks on the card, so swap_blocks is 0")
        if (self.parent is None) != (self.parent_hash is None):
            raise ValueError("parent and parent_hash go together")
        starts = [phase.first_step for phase in self.phases]
        if starts and (starts[0] != 1 or sorted(set(starts)) != starts):
            raise ValueError("phases begin at step 1 and at rising steps after it")
        return self

    def hash(self) -> str:
        """SHA-256 of the recipe without the places on this machine: what the exported file names."""
        return self._digest(_PLACES)

    def learning_hash(self) -> str:
        """SHA-256 of what decides the weights at any step: a checkpoint goes on only under the same one."""
        return self._digest(_LEAVES_THE_WEIGHTS)

    def _digest(self, without: frozenset[str]) -> str:
        off = {name for name, value in _OFF.items() if getattr(self, name) == value}
        told = self.model_dump(mode="json", exclude={*without, *off})
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def phase_at(self, step: int) -> Phase | None:
        """The curriculum's phase that a step belongs to; None where there is no curriculum."""
        begun = [phase for phase in self.phases if phase.first_step <= step]
        return begun[-1] if begun else None


def as_toml(run: RunFile) -> str:
    """The recipe as TOML, in the order of the fields."""
    told = run.model_dump(mode="json", exclude_none=True)
    phases = told.pop("phases")
    lines = [f"{key} = {_value(value)}" for key, value in told.items()]
    for phase in phases:
        lines += ["", "[[phases]]", *(f"{key} = {_value(value)}" for key, value in phase.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """A TOML value: JSON's strings, numbers, booleans and lists are TOML's as well."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_run_file(path: Path) -> RunFile:
    """Read `run.toml`.

    Raises:
        InvalidRequest: it is not there, no TOML, or names what there is not.
    """
    try:
        told = tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise InvalidRequest(
            f"{path} can't be read: {problem.strerror}.",
            title="No run there",
            hint="Name the folder that `train start` made; `train status` lists them.",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InvalidRequest(f"{path} is no TOML: {problem}.", hint="Plan the run again.") from None
    return checked(told, path.name)


def checked(told: dict[str, Any], name: str) -> RunFile:
    """A recipe out of plain values.

    Raises:
        InvalidRequest: naming each value that can't be used.
    """
    try:
        return RunFile.model_validate(told)
    except ValidationError as problem:
        said = "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'the whole'}: {error['msg']}" for error in problem.errors()
        )
        raise InvalidRequest(
            f"{name} can't be used: {said}.", title="Bad run file", hint="Correct it, or plan the run again."
        ) from None
