"""The file that comes out of a run: .safetensors that diffusers and ComfyUI read, tried before it is kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from persona_tui import boundaries
from persona_tui.errors import NotAllowedNow, PersonaError
from persona_tui.gpu.training import checkpoints
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.adapters.base import Adapter
from persona_tui.gpu.training.base_difference import (
    Response,
    asked_of,
    compared,
    freed,
    on_plain_base,
    responses,
    waiting_blocks,
)
from persona_tui.gpu.training.cache import Cache, Index
from persona_tui.gpu.training.checkpoints import Kept
from persona_tui.gpu.training.durable import make_folder, sync_folder, write_durably
from persona_tui.gpu.training.file_notes import notes_of, sidecar_of
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.lora import add_lora, put_back
from persona_tui.gpu.training.naming import BFL_PREFIX, baked, layers_of, named_for_file
from persona_tui.gpu.training.objective import Objective, drawn
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.gpu.training.swapping import block_names, let_wait
from persona_tui.gpu.training.worker import Worker

_STEPS = 4
"""Of the picture that the file is tried with."""

_TRIAL = "exported"
"""What diffusers is told to call the file that it reads."""
_ROUNDING = 0.01
"""Share of the effect that fused layers may differ by: sums over three times the rank round differently."""

_CUT_OFF = "The comparison was cut off."
"""Stands in the manifest until there is something else to say of it."""


@dataclass(frozen=True)
class Tried:
    """What a file did in a base model that was loaded anew, held against the copy that was trained.

    Attributes:
        difference: largest one between the latents of the two pictures.
        effect: largest one between the picture with the file and the one without.
        noise: largest one between two pictures with the file: 0 where the device computes alike each time.
        on_trained_base: what the quantised base says with and without it; empty where it is not quantised.
        working: bytes of the card that a forward took besides weights.
    """

    difference: float
    effect: float
    noise: float
    on_trained_base: Sequence[Response] = ()
    working: int = 0


class ExportDiffers(PersonaError):
    """What was read back is not what was trained."""

    title = "Export failed"
    hint = "Nothing was exported; the checkpoints stay. Please report it with the run's log."


def export(worker: Worker) -> Status:
    """Write the LoRA of the chosen checkpoint into `export/`, else of the proposed one, else of the last.

    The run's manifest may say `"chosen": {"step": 750, "weights": "ema" | "raw"}`; `exported` then tells
    file, hash, step, what the trial measured and, of a run on quantised weights, how it acts on those in 16
    bits.

    Raises:
        NotAllowedNow: there is no checkpoint.
        ExportDiffers: the file does not do what the training copy does.
        Interrupted: the operator wants it to rest; no file is made.
    """
    worker.obey()
    folder, run = worker.folder, worker.folder.run()
    if _was_cut_off(folder):
        return "done"
    index = Cache(folder.cache).index(run)
    adapter = adapter_of(run.family)
    kept, which = _chosen(worker, run)
    weights = baked(
        kept.lora if which == "raw" or kept.average is None else kept.average, run.alpha / run.rank
    )
    named = named_for_file(weights, adapter.facts.lora_prefix)
    digest = _content_hash(named)
    notes = notes_of(folder, run, index, adapter.facts, kept.state, which, digest, layers_of(weights))
    file, data = f"{run.name}-{digest[:12]}.safetensors", _as_safetensors(named, notes)
    beside = sidecar_of(notes, run, adapter.facts)
    tried = _put_in_place(worker, run, weights, file, data, beside)
    told = {
        "file": file,
        "sha256": hashlib.sha256(data).hexdigest(),
        "step": kept.state.step,
        "weights": which,
        "difference": tried.difference,
        "effect": tried.effect,
        "noise": tried.noise,
    }
    if run.quantisation != "none":
        # The file is made: whatever the comparison meets with, a kill for memory too, that stays.
        worker.insist(lambda: folder.note(exported={**told, "base_difference": {"problem": _CUT_OFF}}))
        boundaries.reached("training:export:before_comparison")
        found = _base_difference(worker, run, weights, tried)
        # Why it was not compared may name places of this machine, which the JSON does not.
        _write_beside(worker, file, {**beside, "base_difference": None if "problem" in found else found})
        told["base_difference"] = found
    worker.insist(lambda: folder.note(exported=told))
    worker.log("exported", **told)
    return "done"


def _was_cut_off(folder: RunFolder) -> bool:
    """Whether the file was made before, and the process ended while it compared both bases."""
    told = folder.manifest().get("exported") or {}
    return (
        told.get("base_difference") == {"problem": _CUT_OFF} and (folder.export / str(told["file"])).is_file()
    )


def _put_in_place(
    worker: Worker,
    run: RunFile,
    weights: Mapping[str, Tensor],
    file: str,
    data: bytes,
    beside: Mapping[str, Any],
) -> Tried:
    """Try a file's content in a folder of its own, then put it into `export/` with the JSON beside it.

    Raises:
        ExportDiffers: it does not do what the training copy does.
    """
    folder = worker.folder
    tried_in = folder.export / ".trial"
    shutil.rmtree(tried_in, ignore_errors=True)
    worker.insist(lambda: make_folder(tried_in, within=folder.path))
    part = tried_in / file
    worker.insist(lambda: write_durably(part, data))
    boundaries.reached("training:export:before_trial")
    cache, adapter = Cache(folder.cache), adapter_of(run.family)
    tried = _tried(run, adapter, cache.index(run), cache, weights, part)
    rounding = _ROUNDING * tried.effect if adapter.facts.lora_prefix == BFL_PREFIX else 0.0
    if tried.difference > max(rounding, tried.noise):
        raise ExportDiffers(
            f"The file's pictures differ by {tried.difference:.3g} from those of what was trained."
        )
    boundaries.reached("training:export:before_rename")
    worker.obey()
    _write_beside(worker, file, beside)
    part.replace(folder.export / file)
    sync_folder(folder.export)
    shutil.rmtree(tried_in)
    boundaries.reached("training:export:after_rename")
    return tried


def _write_beside(worker: Worker, file: str, told: Mapping[str, Any]) -> None:
    """The JSON beside a file."""
    path = (worker.folder.export / file).with_suffix(".json")
    data = json.dumps(told, indent=1, ensure_ascii=False).encode()
    worker.insist(lambda: write_durably(path, data))


def _base_difference(
    worker: Worker, run: RunFile, weights: Mapping[str, Tensor], tried: Tried
) -> dict[str, Any]:
    """How the LoRA acts on the base in 16 bits beside the quantised one, or why nobody knows."""
    folder, adapter = worker.folder, adapter_of(run.family)
    freed()
    try:
        waiting = waiting_blocks(folder, run, adapter, tried.working)
        plain = on_plain_base(folder, run, adapter, weights, waiting)
        return asdict(compared(tried.on_trained_base, plain, run))
    except PersonaError as problem:
        return {"problem": problem.message}
    except Exception as problem:  # of torch, the card, the disk: an export never fails by this
        return {"problem": f"{type(problem).__name__}: {problem}"}
    finally:
        freed()


def _chosen(worker: Worker, run: RunFile) -> tuple[Kept, str]:
    """The checkpoint that is exported, and which of its weights: the average where there is one."""
    folder = worker.folder
    manifest = folder.manifest()
    told = manifest.get("chosen") or _still_there(worker, manifest.get("proposed")) or {}
    kept = None
    if isinstance(told.get("step"), int):
        path = checkpoints.path_of(folder.checkpoints, told["step"])
        try:
            kept = checkpoints.read(path, run.learning_hash())
        except checkpoints.Broken as problem:
            raise NotAllowedNow(
                f"The chosen checkpoint of step {told['step']} can't be read ({problem}).",
                hint="Choose another one, or resume the run to make it again.",
            ) from None
    else:
        kept = checkpoints.newest(folder.checkpoints, run, lambda said: folder.log("broken", message=said))
    if kept is None:
        raise NotAllowedNow("There is no checkpoint yet.", hint="Train the run first.")
    return kept, "raw" if kept.average is None or told.get("weights") == "raw" else "ema"


def _still_there(worker: Worker, proposal: Any) -> dict[str, Any] | None:
    """What evaluations proposed, if its checkpoint was kept."""
    steps = checkpoints.steps_in(worker.folder.checkpoints)
    return proposal if isinstance(proposal, dict) and proposal.get("step") in steps else None


def _as_safetensors(weights: Mapping[str, Tensor], notes: Mapping[str, str]) -> bytes:
    """A file of fp32 tensors, the same bytes each time; safetensors itself orders the notes at random."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(notes.items()))}
    parts, end = [], 0
    for name in sorted(weights):
        parts.append(weights[name].contiguous().numpy().tobytes())
        begin, end = end, end + len(parts[-1])
        header[name] = {"dtype": "F32", "shape": list(weights[name].shape), "data_offsets": [begin, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head = head.ljust(-(-len(head) // 8) * 8)
    return b"".join([len(head).to_bytes(8, "little"), head, *parts])


def _content_hash(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors in their names' order, as ModelSpec's hash_sha256 has it: without the notes."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _tried(
    run: RunFile, adapter: Adapter, index: Index, cache: Cache, weights: Mapping[str, Tensor], file: Path
) -> Tried:
    """Draw one picture with the trained weights, one with the file as diffusers loads it, one with neither.

    The captions' embeddings are those of the cache, so that no text encoder is loaded; the trained weights
    are cast as diffusers casts the file's: to the base's dtype, on int8 not at all.
    """
    torch.set_num_threads(run.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transformer: Any = adapter.load_transformer(
        run.base,
        dtype=torch.bfloat16 if run.dtype == "bf16" else torch.float32,
        device=device,
        quantisation=run.quantisation,
        waiting=run.swap_blocks,
    ).eval()
    if run.swap_blocks:
        let_wait(transformer, block_names(transformer)[: run.swap_blocks], device)
    objective = Objective(run, adapter, transformer, cache)
    sample = min(index.samples, key=lambda one: one.bucket[0] * one.bucket[1])
    before = _allocated(device)

    def picture() -> Tensor:
        return drawn(objective, sample, sample.prompt, steps=_STEPS, seed=run.seed)

    plain = picture()
    _load_as_diffusers_does(adapter, run.base, transformer, file)
    read_back = picture()
    noise = float((picture() - read_back).abs().max())
    # Of a base in bf16 or 4 bits that is bf16, of one in 8 bits fp32.
    dtype = next(value.dtype for name, value in transformer.named_parameters() if ".lora_A." in name)
    transformer.unload_lora()
    ours = add_lora(transformer, adapter, run.model_copy(update={"alpha": float(run.rank)}), device)
    put_back(ours, weights)
    for weight in ours.values():
        weight.data = weight.data.to(dtype)
    trained = picture()
    seen: Sequence[Response] = ()
    if run.quantisation != "none":
        seen = list(responses(objective, transformer, asked_of(index), run.seed))
    difference, effect = (float((trained - other).abs().max()) for other in (read_back, plain))
    working = torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else 0
    return Tried(difference, effect, noise, seen, working)


def _allocated(device: torch.device) -> int:
    """Bytes of the card that are in use now; peaks are counted from here on."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return int(torch.cuda.memory_allocated(device))


def _load_as_diffusers_does(adapter: Adapter, base: Path, transformer: Any, file: Path) -> None:
    import diffusers

    absent = dict.fromkeys(("vae", *adapter.text_parts))
    kind = getattr(diffusers, adapter.facts.pipeline)
    pipeline = kind.from_pretrained(base, local_files_only=True, transformer=transformer, **absent)
    pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=_TRIAL)
