"""Training at the real sizes of FLUX.1-dev and Qwen-Image-Edit: what it takes of a card of 24 GB.

Plan, probe, training, evaluation, kill and resume are the product's, in processes of their own as the product
starts them; weights, latents and captions are random numbers of the published shapes (`card_bases`). Text
encoders are not run: what they give is cached before, as in every training. Without a card the plans alone
are shown. Each setting can be run alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from persona_tui.gpu.host_memory import HostMemory
from persona_tui.gpu.nvml import read_cards
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.adapters.quantised import fill, hollow
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.memory import noted_peak, probed
from persona_tui.gpu.training.planner import GIB, Prediction, Shapes, predict
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.gpu.training.shapes import read_shapes
from persona_tui.services.lease import ReadCards, places
from persona_tui.services.training.calibrating import LEAST, MOST
from persona_tui.services.training.fitting import DoesNotFit, Memory, fit
from persona_tui.services.training.plan import SYSTEM_VRAM
from persona_tui.services.training.probing import STEPS as PROBE_STEPS
from persona_tui.services.training.processes import environment_for
from report import Figure
from training_parts.card_bases import SEED, Size, base_of, encode_made_up
from training_parts.card_meta import activations
from training_parts.card_watch import Running, Watched, watch

_CARD, _RAM = 24 * GIB, 32 * GIB
_ROOT = Path(__file__).parents[2]
Start = Callable[[str, RunFolder], Running]


@dataclass(frozen=True)
class Setting:
    """One training.

    Attributes:
        sides: of its pictures, in pixels; evaluations draw in the smallest.
        most: GiB of the card that its whole run may take; 0 for what only tells of planner, pace or kills.
    """

    name: str
    title: str
    family: str
    targets: str
    most: float = 0.0
    sources: int = 0
    rank: int = 16
    preservation: float = 0.0
    sides: tuple[int, ...] = (512, 1024)

    def __str__(self) -> str:
        sources = {0: "", 1: ", one source", 2: ", two sources"}[self.sources]
        return f"{self.title} NF4, rank {self.rank}, {self.targets}, {max(self.sides)}²{sources}, AdamW8bit"


_FLUX, _EDIT = ("FLUX.1-dev", "flux1"), ("Qwen-Image-Edit", "qwen-edit-2509")
_PEAKS = (
    Setting("flux1-attention", *_FLUX, "attention", 10.5, preservation=1.0),
    Setting("flux1-all", *_FLUX, "all", 12.5, preservation=1.0),
    Setting("qwen-edit-1", *_EDIT, "mlp", 20.0, sources=1),
    Setting("qwen-edit-2", *_EDIT, "mlp", 22.5, sources=2),
)
_OTHER = Setting("flux1-other", *_FLUX, "mlp", rank=32, sides=(768,))
_PACE = Setting("flux1-pace", *_FLUX, "attention", sides=(1024,))
_RESUME = Setting("flux1-resume", *_FLUX, "attention", sides=(512,))
SETTINGS = {one.name: one for one in (*_PEAKS, _OTHER, _PACE, _RESUME)}


@dataclass
class Bench:
    """Where and how settings are run.

    Attributes:
        size: tiny ones show on a CPU that all of this works.
        reckon: hold the plans against tensors on the meta device, which takes a minute each; not where a card
            is there to hold them against, whose time is dear.
    """

    place: Path
    quick: bool
    reckon: bool = False
    size: Size = "real"
    cards: ReadCards = read_cards
    start: Start | None = None
    threads: int = max(1, min(8, (os.cpu_count() or 2) // 2))

    def recipe(self, setting: Setting, **changed: Any) -> RunFile:
        """The recipe of a setting, planned for a card of 24 GB."""
        found = fit(
            self.shapes(setting), self._asked(setting), _memory(), sources=setting.sources, quantisation="nf4"
        )
        return found.run.model_copy(update=changed)

    def shapes(self, setting: Setting) -> Shapes:
        """Of the setting's base model, as the product counts them."""
        return read_shapes(setting.family, str(base_of(setting.family, self.size, self.place)))

    def sides(self, setting: Setting) -> tuple[int, ...]:
        """Of the pictures, at this size."""
        return (
            setting.sides
            if self.size == "real"
            else tuple(side // 32 // 16 * 16 or 16 for side in setting.sides)
        )

    def predicted(self, setting: Setting, run: RunFile, factor: float = 1.0) -> Prediction:
        """What the product's planner says of a recipe."""
        return predict(self.shapes(setting), run, sources=setting.sources, factor=factor)

    def _asked(self, setting: Setting) -> RunFile:
        return RunFile(
            name=setting.name, family=setting.family, base=base_of(setting.family, self.size, self.place),
            dataset=self.place / "none", dataset_hash="0" * 64, trigger="ohwx", class_prompt="person",
            seed=SEED, rank=setting.rank, alpha=setting.rank, targets=setting.targets, optimizer="adamw8bit",
            buckets=self.sides(setting), preservation=setting.preservation, ema=0.99, threads=self.threads,
        )  # fmt: skip

    def folder(self, setting: Setting, name: str, run: RunFile) -> RunFolder:
        """A run that has been encoded."""
        folder = RunFolder(self.place / f"{setting.name}-{name}")
        folder.create(run)
        folder.note(planned=self.predicted(setting, run).training)
        encode_made_up(run, folder.cache, self.size, setting.sources, run.buckets)
        return folder

    def carried_out(
        self, stage: str, folder: RunFolder, kill_when: Callable[[], bool] = lambda: False
    ) -> Watched:
        """Carry out a stage in a process of its own, watched.

        Raises:
            Failed: it did not end well, and was not killed either.
        """
        before = sum(card.memory_used for card in self.cards()[:1])
        seen = watch((self.start or self._started)(stage, folder), self.cards, before, kill_when)
        print(
            f"  {folder.path.name} {stage}: {seen.seconds:.0f} s, card {seen.vram / GIB:.2f} GiB,"
            f" host {seen.ram / GIB:.2f} GiB",
            flush=True,
        )
        if seen.code > 0:
            raise Failed(
                f"{stage} of {folder.path.name}: {folder.manifest().get('message') or _tail(folder)}"
            )
        return seen

    def _started(self, stage: str, folder: RunFolder) -> Running:
        """As the product starts it, and on the first card alone."""
        ours = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        ours |= environment_for(places(self.cards())[:1])
        ours["PYTHONPATH"] = os.pathsep.join((str(_ROOT / "benchmarks"), str(_ROOT)))
        with (folder.path / "output.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "training_parts.card_stages", stage, str(folder.path)],
                env=ours, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip


class Failed(Exception):
    """A stage came to no good end."""


def figures(quick: bool, asked: Sequence[str] = ()) -> Iterator[Figure]:
    """Of the settings that are named, else of all; without a card of their plans alone."""
    unknown = [name for name in asked if name not in SETTINGS]
    if unknown:
        raise SystemExit(f"There is no setting {unknown[0]}. Name one of: {', '.join(SETTINGS)}.")
    chosen = [SETTINGS[name] for name in asked or SETTINGS]
    with tempfile.TemporaryDirectory() as place:
        cards = read_cards() if torch.cuda.is_available() else ()
        bench = Bench(Path(place), quick, reckon=not (quick or cards))
        yield from planned(bench, chosen)
        if not cards:
            print(
                "card: nothing was measured; it needs an NVIDIA card of 24 GB or more that PyTorch can use,"
                " 32 GB of memory, and bitsandbytes.",
                flush=True,
            )
            return
        print(f"card: {surroundings(cards[0].name, cards[0].driver)}", flush=True)
        yield from measured(bench, chosen)


def surroundings(card: str, driver: str) -> str:
    """What the figures hold for."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "peft", "bitsandbytes"))
    day = datetime.now(UTC).date().isoformat()
    return f"{card}, driver {driver}, {day}, {versions}, CUDA {torch.version.cuda}, seed {SEED}"


def planned(bench: Bench, chosen: Sequence[Setting]) -> Iterator[Figure]:
    """What needs no card: the plans for one of 24 GB, and which layers are held in 4 bits."""
    for setting in (one for one in chosen if one.most):
        try:
            run = bench.recipe(setting)
        except DoesNotFit as refused:
            print(f"  {setting}: {refused.message}", flush=True)
            yield Figure(f"{setting}: is planned on a card of 24 GB", 0, "plans", "==", 1)
            continue
        told = bench.predicted(setting, run)
        yield Figure(f"{setting}: planned peak", told.raw / GIB, "GiB", "<=", setting.most)
        yield Figure(f"{setting}: planned memory of the host", told.ram / GIB, "GiB", "<=", _RAM / GIB)
        if bench.reckon:
            seen = activations(bench.folder(setting, "meta", run))
            yield _off(
                f"{setting}: planned activations beside meta tensors", told.parts["activations"], seen, 5
            )
    for setting in {one.family: one for one in chosen if one.most}.values():
        held, left = _quantised(bench, setting)
        yield Figure(f"{setting.title}: weights held in 4 bits", held / 1e9, "billion")
        yield Figure(f"{setting.title}: linear layers of its blocks that are not", left, "layers", "==", 0)


def _quantised(bench: Bench, setting: Setting) -> tuple[int, int]:
    """Weights in 4 bits, and layers of the blocks that the product leaves as they are."""
    import bitsandbytes
    import diffusers

    adapter = adapter_of(setting.family)
    part = base_of(setting.family, bench.size, bench.place) / "transformer"
    made = hollow(getattr(diffusers, adapter.transformer_class), part)
    weights = [(name, torch.empty(one.shape, device="meta")) for name, one in made.named_parameters()]
    fill(made, weights, quantisation="nf4", blocks=adapter.blocks, dtype=torch.bfloat16, device="meta")
    four: Any = bitsandbytes.nn
    held = sum(one.weight.numel() for one in made.modules() if isinstance(one, four.Linear4bit))
    left = [
        name
        for name, one in made.named_modules()
        if type(one) is nn.Linear and name.startswith(adapter.blocks)
    ]
    return held, len(left)


def measured(bench: Bench, chosen: Sequence[Setting]) -> Iterator[Figure]:
    """What is seen of the card."""
    for setting in chosen:
        kind = {_OTHER: _of_other, _PACE: _of_pace, _RESUME: _of_resume}.get(setting, _of_peak)
        try:
            yield from kind(bench, setting)
        except Failed as failed:
            print(f"  {failed}", flush=True)
            yield Figure(f"{setting}: ended well", 0, "runs", "==", 1)
        for recipe in bench.place.glob("*/run.toml"):
            shutil.rmtree(recipe.parent)


def _of_peak(bench: Bench, setting: Setting) -> Iterator[Figure]:
    """Loading, training and evaluation; and how far the plan was off, before and after a probe."""
    steps = 4 if bench.quick else 12
    ratio, _ = _probed(bench, setting)
    run = bench.recipe(setting, steps=steps, evaluate_every=steps, checkpoint_every=steps)
    folder = bench.folder(setting, "run", run)
    seen = bench.carried_out("train", folder)
    kept = noted_peak(folder, "train")
    if kept is None:
        raise Failed(f"{setting.name} has noted no peak")
    reckoned = bench.predicted(setting, run).raw
    whose = "NVML, the process" if seen.told else "NVML, the card less what was taken before"
    yield Figure(f"{setting}: peak ({whose})", seen.vram / GIB, "GiB", "<=", setting.most, kept.bytes / GIB)
    yield Figure(f"{setting}: memory of the host", seen.ram / GIB, "GiB", "<=", _RAM / GIB)
    yield _off(f"{setting}: planner's error before the probe", reckoned, seen.vram, 12)
    yield _off(f"{setting}: planner's error after the probe", reckoned * ratio, seen.vram, 5)
    told = [one.seconds for one in folder.losses()]
    yield Figure(f"{setting}: seconds of a step", median(told), "s")
    looks = [event for event in folder.events() if event["event"] == "evaluated"]
    yield Figure(f"{setting}: evaluations within it", len(looks), "looks", ">=", 2)


def _of_other(bench: Bench, setting: Setting) -> Iterator[Figure]:
    """A setting's own peak, and what is planned of it by another's probe, as the product carries it over."""
    ratio, _ = _probed(bench, _PEAKS[0], "for-other")
    own, reckoned = _probed(bench, setting)
    yield _off(f"{setting}: planner's error before any probe", reckoned, own * reckoned, 12)
    yield _off(f"{setting}: planner's error by the probe of {_PEAKS[0]}", reckoned * ratio, own * reckoned, 5)


def _probed(bench: Bench, setting: Setting, name: str = "probe") -> tuple[float, int]:
    """Measured over reckoned by the product's probe, kept within its bounds, and what was reckoned."""
    largest = max(bench.sides(setting))
    run = bench.recipe(setting).model_copy(update={"buckets": (largest,), "steps": PROBE_STEPS})
    folder = bench.folder(setting, name, run)
    bench.carried_out("probe", folder)
    found = probed(folder)
    if found is None or found.outgrew:
        raise Failed(f"The probe of {setting.name} ran out of memory")
    reckoned = bench.predicted(setting, run).raw
    return min(max(found.peak.bytes / reckoned, LEAST), MOST), reckoned


def _off(name: str, predicted: float, measured: float, most: float) -> Figure:
    return Figure(name, abs(measured / predicted - 1) * 100, "%", "<=", most, baseline=predicted / GIB)


def _of_pace(bench: Bench, setting: Setting) -> Iterator[Figure]:
    """Our steps in turns with a bare loop's, as the part overhead does on a CPU."""
    steps, blocks = (2, 3) if bench.quick else (5, 11)
    told = {"steps": steps * blocks, "evaluate_every": steps, "checkpoint_every": 250, "preservation": 0.0}
    folder = bench.folder(setting, "run", bench.recipe(setting, **told))
    bench.carried_out("alternate", folder)
    ratios = folder.manifest()["ratios"]
    yield Figure(f"{setting}: steps per second beside a bare loop", median(ratios), "of it", ">=", 0.98)
    yield Figure(f"{setting}: seconds of a step", median(one.seconds for one in folder.losses()), "s")


def _of_resume(bench: Bench, setting: Setting) -> Iterator[Figure]:
    """Two runs that nobody disturbed and one killed by SIGKILL between checkpoints: what is the same."""
    steps, every, at = (4, 2, 3) if bench.quick else (12, 5, 8)
    run = bench.recipe(setting, steps=steps, checkpoint_every=every, evaluate_every=0, warmup=2)
    whole, again, killed = (bench.folder(setting, name, run) for name in ("whole", "again", "killed"))
    for folder in (whole, again):
        bench.carried_out("train", folder)
    ended = bench.carried_out("train", killed, lambda: any(one.step >= at for one in killed.losses()))
    yield Figure(f"{setting}: killed by SIGKILL", -ended.code, "signal", "==", 9)
    bench.carried_out("train", killed)
    for other, words in ((again, "two runs never killed"), (killed, "a run killed and resumed")):
        weights, loss = _apart(whole, other)
        yield Figure(f"{setting}: LoRA of {words}, SHA-256 equal", float(weights == 0), "files")
        yield Figure(f"{setting}: LoRA of {words}, largest difference", weights, "")
        yield Figure(f"{setting}: losses of {words}, largest difference", loss, "")
    curve = [one.step for one in killed.losses()]
    yield Figure(f"{setting}: steps in the curve of the killed run", len(curve), f"of {steps}", "==", steps)


def _apart(one: RunFolder, other: RunFolder) -> tuple[float, float]:
    """Largest difference of the last weights, 0 only for equal files, and of the losses."""
    from safetensors.torch import load

    data = [
        max(folder.checkpoints.glob("step-*")).joinpath("lora.safetensors").read_bytes()
        for folder in (one, other)
    ]
    ours, theirs = map(load, data)
    apart = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    curves = zip(one.losses(), other.losses(), strict=True)
    loss = max(abs(first.loss - second.loss) for first, second in curves)
    return (0.0 if data[0] == data[1] else max(apart, sys.float_info.min)), loss


def _memory() -> Memory:
    return Memory(_CARD - SYSTEM_VRAM, HostMemory(_RAM), can_quantise=True)


def _tail(folder: RunFolder) -> str:
    output = folder.path / "output.log"
    return output.read_text("utf-8", "replace").strip()[-500:] if output.exists() else "it said nothing"
