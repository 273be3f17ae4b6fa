"""That it learns, which a falling loss alone does not show (M2).

A tiny FLUX.1 and a tiny Qwen-Image-Edit are first trained whole: the one on photographs of people, cats and
cups, the other to give a picture back as it is. Then our trainer teaches the first one person, with class
preservation and without, and the second to mirror and to darken. Pictures are compared as latents: the tiny
autoencoders are random, and so show nothing to an eye. The second one's latents are brought to unit variance,
as a real autoencoder's are; without that they drown in the noise, and no step learns to look at its source.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from PIL import Image
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import TRIGGER, small_recipe, small_run, write_dataset
from torch import Tensor

from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.cache import Cache, Index, Sample
from persona_tui.gpu.training.encode import encode
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.loop import Training
from persona_tui.gpu.training.lora import without_lora
from persona_tui.gpu.training.objective import Draw, Objective, drawn
from persona_tui.gpu.training.trainee import Trainee
from persona_tui.gpu.training.worker import Worker, run_stage
from report import Figure

SIDES = {"flux1": 16, "qwen-edit-2509": 32}
"""Pixels; few tokens, so that many steps take a minute."""
SIGMAS = (0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
BASE_STEPS = {"flux1": 800, "qwen-edit-2509": 2000}
BASE_BATCH, BASE_RATE = 8, 2e-3
STEPS, BATCH, RATE = 400, 4, 3e-3
SEEDS = range(8)
EDITS: dict[str, Callable[[Tensor], Tensor]] = {
    "mirror": lambda latents: latents.flip(-1),
    "darken": lambda latents: 0.4 * latents - 1,
}
"""Of latents: a random autoencoder's latents of an edited picture can't be told from those of its source."""


def figures(quick: bool) -> Iterable[Figure]:
    """What each LoRA has learnt, and what it has left alone."""
    if quick:
        print("learning: takes minutes, and means nothing with fewer steps; not run")
        return
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        yield from _a_person(Path(place) / "person")
        yield from _edits(Path(place) / "edits")
    yield Figure("time to show that it learns", (time.monotonic() - begun) / 60, "min", "<=", 10)


def _a_person(place: Path) -> Iterable[Figure]:
    from skimage import data

    people = [Image.fromarray((face * 255).astype(np.uint8)) for face in data.lfw_subset()[:24]]
    others = [_crop(source(), number) for source in (data.chelsea, data.coffee) for number in range(12)]
    words = ["a photo of person"] * 24 + ["a photo of cat"] * 12 + ["a photo of cup"] * 12
    base = tiny_pipeline("flux1", place)
    _train_whole(base, place / "whole", [*people, *others], words, "flux1")
    person = [_crop(data.astronaut()[:220, 120:330], number, 0.85, 1.0) for number in range(16)]
    captions = [f"a photo of {TRIGGER}"] * 16
    kept_too = {"preservation": 2.0, "class_prompt": "person"}
    encoded = _encoded(place / "one", base, "flux1", person, captions, **kept_too)
    plain, kept = _taught(encoded, place / "plain", preservation=0.0), _taught(encoded, place / "kept")
    yield Figure("held-out loss after a LoRA of one person", _fallen(plain), "of before", "<=", 0.7)
    yield Figure("the same with preservation", _fallen(kept), "of before", "<=", 0.7)
    yield Figure("distance of pictures of the trigger from that person", _nearer(plain), "of before", "<", 1)
    yield Figure("the same with preservation", _nearer(kept), "of before", "<", 1)
    left_alone = _class_moved(kept) / _class_moved(plain)
    yield Figure("how far the class moves with preservation", left_alone, "of without", "<=", 1 / 3)


def _edits(place: Path) -> Iterable[Figure]:
    from skimage import data

    sources = [data.astronaut(), data.chelsea(), data.coffee()]
    shown = [_crop(sources[number % 3], number) for number in range(36)]
    base = tiny_pipeline("qwen-edit-2509", place)
    _spread_latents(base, place / "plain", shown)
    _train_whole(base, place / "whole", shown, ["keep it"] * 36, "qwen-edit-2509", sources=shown)
    for name in EDITS:
        yield from _an_edit(base, place / name, name, shown)


def _an_edit(base: Path, place: Path, name: str, shown: Sequence[Image.Image]) -> Iterable[Figure]:
    captions = [f"{name} it"] * len(shown)
    encoded = _encoded(place / "one", base, "qwen-edit-2509", shown, captions, sources=shown)
    _edit_targets(encoded, name)
    taught = _taught(encoded, place / "run")
    yield Figure(f"held-out loss after a LoRA that learnt to {name}", _fallen(taught), "of before", "<=", 0.7)
    blind = _missed(taught, _without_sources(taught)) / _missed(taught, taught.held_out)
    words = f"distance of what is drawn for {name} with its source zeroed"
    yield Figure(words, blind, "of with it", ">=", 1.5)


@dataclass(frozen=True)
class Taught:
    """A trained LoRA in its base, and the samples that it never saw."""

    trainee: Trainee
    cache: Cache
    held_out: list[Sample]


def _train_whole(
    base: Path, place: Path, shown: Sequence[Image.Image], captions: Sequence[str], family: str,
    sources: Sequence[Image.Image] = (),
) -> None:  # fmt: skip
    """Train all weights of a base model, and put them into its folder."""
    folder = _encoded(place, base, family, shown, captions, sources=sources, held_out=0)
    run, cache = folder.run(), Cache(folder.cache)
    samples = cache.index(run).samples
    adapter = adapter_of(family)
    transformer: Any = adapter.load_transformer(base, dtype=torch.float32, device="cpu")
    transformer.requires_grad_(True)
    objective = Objective(run, adapter, transformer, cache)
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=BASE_RATE)
    draw, steps = random.Random(1), BASE_STEPS[family]
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = BASE_RATE * min(1.0, step / 50, 2 * (1 - step / (steps + 1)))
        part = next(objective.parts(draw.sample(samples, BASE_BATCH), Draw(step)))
        torch.autograd.backward(part.value)
        torch.nn.utils.clip_grad_norm_(transformer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    transformer.save_pretrained(base / "transformer")


def _spread_latents(base: Path, place: Path, shown: Sequence[Image.Image]) -> None:
    """Give the autoencoder the mean and deviation, by channel, of what it makes of these pictures."""
    folder = _encoded(place, base, "qwen-edit-2509", shown, ["it"] * len(shown), sources=shown, held_out=0)
    cache = Cache(folder.cache)
    made = [cache.load(one.latents)["latents"].float() for one in cache.index(folder.run()).samples]
    latents = torch.stack(made).transpose(0, 1).flatten(1)
    file = base / "vae" / "config.json"
    config = json.loads(file.read_text())
    mean, deviation = torch.tensor(config["latents_mean"]), torch.tensor(config["latents_std"])
    config["latents_mean"] = (mean + deviation * latents.mean(1)).tolist()
    config["latents_std"] = (deviation * latents.std(1)).tolist()
    file.write_text(json.dumps(config))


def _edit_targets(encoded: RunFolder, name: str) -> None:
    """Let each sample's target be the edit of its source."""
    cache = Cache(encoded.cache)
    index = cache.index(encoded.run())
    samples, files = [], dict(index.files)
    for number, sample in enumerate(index.samples):
        key = f"{name}-{number}"
        cache.put(key, {"latents": EDITS[name](cache.load(sample.control[0])["latents"])})
        samples.append(sample.model_copy(update={"latents": key}))
        files[key] = cache.hash_of(key)
    cache.write_index(index.model_copy(update={"samples": tuple(samples), "files": files}))


def _encoded(
    place: Path, base: Path, family: str, shown: Sequence[Image.Image], captions: Sequence[str],
    *, sources: Sequence[Image.Image] = (), held_out: int = 4, **changed: Any,
) -> RunFolder:  # fmt: skip
    """A run over these pictures, every `held_out`-th of them held out (0: none)."""
    side = SIDES[family]
    told = {
        f"p{number}": {
            "caption": caption,
            "role": "held_out" if held_out and number % held_out == held_out - 1 else "train",
            **({"control": [sources[number]]} if sources else {}),
        }
        for number, caption in enumerate(captions)
    }
    dataset_hash = write_dataset(
        place / "set", [one.convert("RGB").resize((side, side)) for one in shown], **told
    )
    recipe = small_recipe(
        base, place / "set", dataset_hash, family=family, buckets=[side], rank=16, alpha=16, lr=RATE,
        steps=STEPS, batch=BATCH, caption_dropout=0.05, checkpoint_every=1000, checkpointing=False, **changed,
    )  # fmt: skip
    folder = small_run(place / "run", recipe)
    if run_stage(folder, "encoding", encode) != 0:
        raise SystemExit(folder.manifest()["message"])
    return folder


def _taught(encoded: RunFolder, path: Path, **changed: Any) -> Taught:
    """A LoRA that our trainer has trained on an encoded run."""
    cache = Cache(encoded.cache)
    index: Index = cache.index(encoded.run())
    run = encoded.run().model_copy(update=changed)
    trainee = Trainee(run, index, cache)
    with Worker(small_run(path, run)) as worker:
        Training(worker, trainee, None).to_the_end()
    return Taught(trainee, cache, [index.samples[place] for place in index.places(("held_out",))])


def _held_out_loss(taught: Taught, samples: Sequence[Sample]) -> float:
    objective = taught.trainee.objective
    return mean(
        objective.held_out_loss(sample, sigma, number)
        for number, sample in enumerate(samples)
        for sigma in SIGMAS
    )


def _fallen(taught: Taught) -> float:
    """The held-out loss as a share of what it is without the LoRA."""
    with without_lora(taught.trainee.transformer):
        before = _held_out_loss(taught, taught.held_out)
    return _held_out_loss(taught, taught.held_out) / before


def _pictures(taught: Taught, prompt: str) -> Tensor:
    sample = taught.held_out[0]
    return torch.stack(
        [drawn(taught.trainee.objective, sample, prompt, steps=12, seed=seed) for seed in SEEDS]
    )


def _nearer(taught: Taught) -> float:
    """Distance of pictures with the trigger from the held-out ones' mean, as a share of before."""
    prompt = taught.held_out[0].prompt
    centre = taught.trainee.objective.latents([sample.latents for sample in taught.held_out]).mean(0)
    after = _rms(_pictures(taught, prompt) - centre)
    with without_lora(taught.trainee.transformer):
        before = _rms(_pictures(taught, prompt) - centre)
    return after / before


def _missed(taught: Taught, samples: Sequence[Sample]) -> float:
    """Distance of the edits that are drawn from those that were wanted."""
    objective = taught.trainee.objective
    drawings = [drawn(objective, one, one.prompt, steps=12, seed=seed) for seed, one in enumerate(samples)]
    return _rms(torch.stack(drawings) - objective.latents([one.latents for one in samples]))


def _class_moved(taught: Taught) -> float:
    """How far pictures of the class, drawn from the same noise, are from what they were."""
    prompt = taught.held_out[0].class_prompt
    assert prompt is not None
    after = _pictures(taught, prompt)
    with without_lora(taught.trainee.transformer):
        return _rms(after - _pictures(taught, prompt))


def _without_sources(taught: Taught) -> list[Sample]:
    """The held-out edits with nothing to edit."""
    first = taught.cache.load(taught.held_out[0].latents)["latents"]
    taught.cache.put("nothing", {"latents": torch.zeros_like(first)})
    return [sample.model_copy(update={"control": ("nothing",)}) for sample in taught.held_out]


def _rms(difference: Tensor) -> float:
    return float((difference**2).mean().sqrt())


def _crop(source: Any, number: int, least: float = 0.5, most: float = 0.75) -> Image.Image:
    """A square part of a photograph, another one for each number; its side in shares of the shorter one."""
    height, width = source.shape[:2]
    draw = random.Random(number)
    shorter = min(height, width)
    side = draw.randint(int(shorter * least), int(shorter * most))
    top, left = draw.randint(0, height - side), draw.randint(0, width - side)
    return Image.fromarray(np.ascontiguousarray(source[top : top + side, left : left + side]))
