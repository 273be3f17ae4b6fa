"""Proving a plan: two steps of the largest bucket in a process of its own, under the card's lease."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sys
import time
from asyncio import to_thread
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from persona_tui.errors import InvalidRequest, PersonaError
from persona_tui.gpu.host_memory import ReadMemory
from persona_tui.gpu.pictures import opened
from persona_tui.gpu.training.durable import written
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.manifest import FILE_NAME, Manifest, Picture, as_bytes, read_manifest, sha256_of
from persona_tui.gpu.training.memory import Probed, Speed, noted_peak, noted_speeds, probed
from persona_tui.gpu.training.planner import GIB
from persona_tui.gpu.training.run_file import RunFile
from persona_tui.pool import WorkPool
from persona_tui.services import lease
from persona_tui.services.lease import Place
from persona_tui.services.training.calibrating import keep_probe
from persona_tui.services.training.draining import Say, drain
from persona_tui.services.training.fitting import DoesNotFit
from persona_tui.services.training.plan import SYSTEM_VRAM, Plan, plan_training
from persona_tui.services.training.processes import environment_for
from persona_tui.services.training.recipe import PlanInput
from persona_tui.services.training.start import Starter, require_free

STEPS = 2
_TRIES = 3
"""Ways of training that are probed, where each is found to take more than there is."""
_WORTH = 0.95
"""Of the seconds of a step: what saves less is not worth the trouble of compiling."""
_STALE_SECONDS = 86_400
_SMALLER = "Plan it with a stronger --quantisation, a smaller --size, or for a larger card."
_SHORT = 200
"""Characters of a child's last words that are told."""


class NotProbed(PersonaError):
    """The probe came to no end, so nothing was measured."""

    title = "The probe failed"
    hint = "Correct that and plan again; without --probe the plan stands on arithmetic alone."


@dataclass(frozen=True)
class Probe:
    """What the steps of a probe took, beside what the plan reckons.

    Attributes:
        run: the way of training that was probed.
        on_cpu: the host's memory was measured, as there is no card.
        predicted: bytes that the plan expected, with what it knew before.
        reckoned: by arithmetic alone, which later plans correct by this probe.
        measured: the peak of the process; where it outgrew the card, all that this has.
        encode: peak while pictures and captions were encoded.
        allocated, reserved: torch's counts of the card's memory; None on a CPU.
        has: bytes that a training may take here.
        outgrew: there was too little memory for the steps.
        seconds: of each step; the first one also warms up.
        speeds: the ways that were compared, where that was asked for; the first is without any option.
    """

    run: RunFile
    on_cpu: bool
    predicted: int
    reckoned: int
    measured: int
    encode: int
    allocated: int | None
    reserved: int | None
    has: int
    outgrew: bool
    seconds: tuple[float, ...]
    speeds: tuple[Speed, ...] = ()

    @property
    def ratio(self) -> float:
        """Measured over reckoned."""
        return self.measured / self.reckoned

    @property
    def error(self) -> float:
        """Of the plan, as a share of what was measured; above 0 it promised too little."""
        return self.measured / self.predicted - 1

    @property
    def fits(self) -> bool:
        """Whether training and encoding stay within what there is."""
        return not self.outgrew and max(self.measured, self.encode) <= self.has

    @property
    def seconds_per_step(self) -> float | None:
        """Of a step after the first."""
        return None if len(self.seconds) < 2 else min(self.seconds[1:])

    @property
    def faster(self) -> Speed | None:
        """The way that is worth taking: a twentieth faster than without any option; None where none is."""
        timed = [one for one in self.speeds if one.seconds is not None]
        if not timed or self.speeds[0].seconds is None:
            return None
        best = min(timed, key=lambda one: one.seconds or 0)
        return best if (best.seconds or 0) <= self.speeds[0].seconds * _WORTH else None

    @property
    def speed_sentences(self) -> tuple[str, ...]:
        """What the comparison has found, for people."""
        found = tuple(f"{way(one)}: {one.problem or _pace(one.seconds)}" for one in self.speeds)
        if not found:
            return ()
        best = self.faster
        if best is None:
            return (*found, "Nothing of it is worth taking.")
        return (*found, f"{way(best)} is proposed: {options(best)}.")

    @property
    def sentence(self) -> str:
        """For people."""
        what = "the machine's memory" if self.on_cpu else "the card"
        size, has = f"{self.measured / GIB:.2f} GiB", f"{self.has / GIB:.2f}"
        if self.outgrew:
            return f"The probe ran out of {what}: it wanted more than {size}."
        than = "more" if self.error > 0 else "less"
        beside = f"{abs(self.error):.0%} {than} than the {self.predicted / GIB:.2f} planned"
        fits = f"it fits into {has}" if self.fits else f"it does not fit into {has}"
        pace = self.seconds_per_step
        took = "" if pace is None else f" A step took {pace:.3g} s."
        return f"Two steps took {size} of {what}, {beside}: {fits}.{took}"


def _pace(seconds: float | None) -> str:
    return f"{1 / seconds:.3g} steps/s." if seconds else "not timed."


def way(speed: Speed) -> str:
    """A way of computing a step, in words."""
    attention = "" if speed.attention_backend == "native" else f"attention by {speed.attention_backend}"
    compiled = "compiled blocks" if speed.compiled else ""
    return " and ".join(filter(None, (compiled, attention))).capitalize() or "Without options"


def options(speed: Speed) -> str:
    """The options of `train plan` that choose this way."""
    attention = "" if speed.attention_backend == "native" else f"--attention {speed.attention_backend}"
    return " ".join(filter(None, ("--compile" if speed.compiled else "", attention)))


async def proven_plan(
    starter: Starter,
    pool: WorkPool,
    dataset_id: int,
    given: PlanInput,
    say: Say = lambda _: None,
    *,
    keep: bool = True,
    compare: bool = False,
) -> tuple[Plan, tuple[Probe, ...]]:
    """Plan a training, probe it, and plan it again with what the probe has measured.

    Where that leads to another way of training, it is probed as well.

    Args:
        keep: note the plan as a run; False only looks.
        compare: also time steps with and without compiled blocks and with other kernels for attention.

    Returns:
        The plan, and the probes in their order; the last one is of the plan's own way.

    Raises:
        NotProbed: a probe came to no end.
        DoesNotFit: nothing fits, now that it was measured.
        NotAllowedNow, InvalidRequest, UnknownName, StorageError: as `plan_training` and `start_training`.
    """
    probes: list[Probe] = []
    for _ in range(_TRIES):
        plan = await _planned(starter, pool, dataset_id, given, keep=False)
        if probes and plan.run == probes[-1].run:
            if not probes[-1].fits:
                raise DoesNotFit(probes[-1].sentence, hint=_SMALLER)
            break
        say(f"Two steps are tried on {plan.smallest.title}.")
        probes.append(await probe_plan(starter, plan, say, compare=compare))
        say(probes[-1].sentence)
    return await _planned(starter, pool, dataset_id, given, keep=keep), tuple(probes)


async def _planned(
    starter: Starter, pool: WorkPool, dataset_id: int, given: PlanInput, *, keep: bool
) -> Plan:
    return await plan_training(
        starter.scope, pool, starter.settings, dataset_id, given,
        cards=starter.cards, memory=starter.memory, keep=keep,
    )  # fmt: skip


async def probe_plan(
    starter: Starter, plan: Plan, say: Say = lambda _: None, *, compare: bool = False
) -> Probe:
    """Take two optimizer steps as a plan would, and keep what they took of memory: it corrects later plans.

    Args:
        compare: also time steps in other ways.

    Raises:
        NotAllowedNow: the card is taken or too full.
        NotProbed: the steps came to no end.
        StorageError: there is no room for the probe's folder.
    """
    has = await to_thread(_room, plan.smallest, starter.memory)
    measured, encode, speeds = await _under_lease(starter, plan, say, compare)
    # Where more was wanted than there is, all that there is was too little.
    taken = max(measured.peak.bytes, has) if measured.outgrew else measured.peak.bytes
    await to_thread(_record, starter, plan, measured, taken)
    peak = measured.peak
    return Probe(
        run=plan.run,
        on_cpu=peak.on_cpu,
        predicted=plan.prediction.ram if peak.on_cpu else plan.prediction.training,
        reckoned=plan.reckoned,
        measured=taken,
        encode=encode,
        allocated=peak.allocated,
        reserved=peak.reserved,
        has=has,
        outgrew=measured.outgrew,
        seconds=measured.seconds,
        speeds=speeds,
    )


def _room(place: Place, memory: ReadMemory) -> int:
    """Bytes that a training may take there, before it does."""
    if place.card is None:
        return memory().available
    return place.card.memory_total - SYSTEM_VRAM


def _record(starter: Starter, plan: Plan, found: Probed, taken: int) -> None:
    with starter.scope() as session:
        keep_probe(
            session,
            plan.run,
            card=plan.smallest.name,
            on_cpu=found.peak.on_cpu,
            sources=plan.sources,
            predicted=plan.reckoned,
            measured=taken,
            outgrew=found.outgrew,
        )


async def _under_lease(
    starter: Starter, plan: Plan, say: Say, compare: bool
) -> tuple[Probed, int, tuple[Speed, ...]]:
    """Hold the card, have ComfyUI rest, and take the steps; gives them, the peak of encoding, and speeds."""
    place, locks = plan.smallest, starter.locks

    def take() -> lease.Lease:
        with starter.scope() as session:
            return lease.take(session, place, "a probe", locks, cards=starter.cards)

    held = await to_thread(take)
    try:
        with lease.locked(lease.lock_file(locks, place.name)) as descriptor:
            if place.card is not None:
                clients = starter.clients()
                try:
                    await drain(clients, say)
                finally:
                    for client in clients.values():
                        await client.aclose()
                await require_free(starter, place, plan.prediction.vram)
            folder = await to_thread(_prepared, starter, plan)
            try:
                for stage in ("encode", "probe"):
                    await _carried_out(starter, folder, stage, place, descriptor)
                found, encode = _outcome(folder)
                if compare and not found.outgrew:
                    say("Steps are timed with and without compiled blocks and other kernels.")
                    await _carried_out(starter, folder, "compare", place, descriptor)
                return found, encode, noted_speeds(folder)
            finally:
                await to_thread(shutil.rmtree, folder.path, ignore_errors=True)
    finally:
        await to_thread(_release, starter, held)


def _release(starter: Starter, held: lease.Lease) -> None:
    with starter.scope() as session:
        lease.release(session, held)


def _outcome(folder: RunFolder) -> tuple[Probed, int]:
    found, encode = probed(folder), noted_peak(folder, "encode")
    if found is None:
        raise NotProbed("The probe ended without a reading.")
    return found, 0 if encode is None else encode.bytes


def _prepared(starter: Starter, plan: Plan) -> RunFolder:
    """A run's folder with one picture that fills the largest bucket, and the longest caption."""
    home = starter.settings.data_dir / "probes"
    _forget_stale(home)
    folder = RunFolder(home / f"{plan.run.name}-{secrets.token_hex(3)}")
    side = max(plan.run.buckets)
    manifest, _ = read_manifest(plan.run.dataset)
    learnt = manifest.of_role("train", "anchor")
    chosen = max(learnt, key=lambda one: (len(one.control), len(one.caption)))
    data = _one_picture(plan.run.dataset, folder.path / "dataset", manifest, chosen, side)
    folder.create(
        plan.run.model_copy(
            update={
                "dataset": folder.path / "dataset",
                "dataset_hash": sha256_of(data),
                "buckets": (side,),
                "steps": STEPS,
                "phases": (),
            }
        )
    )
    return folder


def _one_picture(source: Path, target: Path, manifest: Manifest, chosen: Picture, side: int) -> bytes:
    """Write a dataset of one picture, enlarged where it has to be: what it shows takes no memory."""
    names = (chosen.file, *chosen.control)
    files = [f"{number}.png" for number in range(len(names))]
    with written(target):
        target.mkdir(parents=True)
        for name, file in zip(names, files, strict=True):
            try:
                picture = opened(source / name)
            except (OSError, ValueError, SyntaxError):
                raise InvalidRequest(
                    f"{source / name} is no picture that can be read.",
                    hint="Remove it from the dataset and plan again.",
                ) from None
            picture.resize((side, side)).save(target / file)
        shown = chosen.model_copy(
            update={
                "file": files[0],
                "sha256": sha256_of((target / files[0]).read_bytes()),
                "role": "train",
                "parent": None,
                "control": tuple(files[1:]),
            }
        )
        data = as_bytes(manifest.model_copy(update={"pictures": (shown,)}))
        (target / FILE_NAME).write_bytes(data)
    return data


def _forget_stale(home: Path) -> None:
    """Remove what probes have left that were killed."""
    for path in home.glob("*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


async def _carried_out(
    starter: Starter, folder: RunFolder, stage: str, place: Place, descriptor: int
) -> None:
    """Carry out one stage in a process that ends with what it held.

    Raises:
        NotProbed: it failed, or was killed.
    """
    output = folder.path / "output.log"
    with output.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", starter.stages, stage, str(folder.path),
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, **environment_for((place,))}, pass_fds=(descriptor,),
        )  # fmt: skip
    try:
        code = await process.wait()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
        raise
    if code < 0:
        name = signal.Signals(-code).name
        hint = "It may have run out of the machine's memory: end other programs and try again."
        raise NotProbed(f"The probe's process was ended by {name} in the stage {stage}.", hint=hint)
    if code > 0:
        told = folder.manifest()
        said = told.get("message") or output.read_text("utf-8", "replace").strip()[-_SHORT:]
        raise NotProbed(f"The stage {stage} failed: {said}", hint=told.get("hint") or NotProbed.hint)
