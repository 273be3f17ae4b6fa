"""Stages of a run without torch: `python -m tests.support.training_stage encode|train|export RUN_FOLDER`.

The product's own worker, folder and exit codes; only what is learnt is nothing. What must go wrong stands in
`faults.json` of the run's folder, once each: {"die_at": [step, …]} kills the process there, "full_at" fills
its disk until there is a file `room`.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from persona_tui.gpu.training.durable import DiskFull
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.memory import Peak, Probed, Speed
from persona_tui.gpu.training.planner import BlockKind, Layers, Shapes
from persona_tui.gpu.training.worker import Interrupted, Worker, run_stage
from tests.support.loras import FLUX_DIFFUSERS, weights

_SECONDS = 0.02


def tiny_shapes(family: str, _folder: str) -> Shapes:
    """A model that fits anywhere."""
    layers = {which: Layers(4, 256) for which in ("attention", "mlp", "all")}
    seen = {"picture": 256, "text": 256, "both": 0, "once": 64}
    block = BlockKind("transformer_blocks", 2, 4096, 64, seen, layers)
    return Shapes(family, (block,), 1000, 32, 4096, 2, 10_000, 10_000, 40_000)


def _encode(worker: Worker) -> Status:
    worker.pulse.moved(1, "encoding")
    worker.folder.log("encoded", done=1, of=1)
    return "encoded"


def _train(worker: Worker) -> Status:
    folder = worker.folder
    run = folder.run()
    faults = _faults(folder)
    step = max([int(path.name[5:]) for path in folder.checkpoints.glob("step-*")], default=0)
    while True:
        control = worker.control()
        if step >= (control.steps or run.steps):
            _checkpoint(folder, step)
            return "done"
        if control.want != "run":
            _checkpoint(folder, step)
            raise Interrupted("paused" if control.want == "pause" else "stopped")
        step += 1
        time.sleep(_SECONDS)
        worker.pulse.moved(step, "training")
        worker.pulse.beat()
        folder.log("step", step=step, loss=1.0 / step, seconds=_SECONDS)
        if step in faults["full_at"]:
            faults["full_at"].remove(step)
            (folder.path / "faults.json").write_text(json.dumps(faults))
            worker.insist(lambda: _find_room(folder))
        if step in faults["die_at"]:
            faults["die_at"].remove(step)
            (folder.path / "faults.json").write_text(json.dumps(faults))
            os.kill(os.getpid(), signal.SIGKILL)
        if step % run.checkpoint_every == 0:
            _checkpoint(folder, step)


def _find_room(folder: RunFolder) -> None:
    """A disk that is full until somebody makes room."""
    if not (folder.path / "room").exists():
        raise DiskFull("There is no room left.")


def _checkpoint(folder: RunFolder, step: int) -> None:
    (folder.checkpoints / f"step-{step:08d}").mkdir(exist_ok=True)
    with folder.evaluation_file.open("a") as file:
        file.write(json.dumps({"step": step, "likeness": step / 100}) + "\n")


def _export(worker: Worker) -> Status:
    folder = worker.folder
    chosen = folder.manifest().get("chosen") or {"step": folder.losses()[-1].step, "weights": "ema"}
    data = weights(FLUX_DIFFUSERS, fill=chosen["step"] % 250)
    digest = hashlib.sha256(data).hexdigest()
    name = f"{folder.run().name}-{digest[:12]}.safetensors"
    (folder.export / name).write_bytes(data)
    folder.note(exported={"file": name, "sha256": digest, **chosen})
    return "done"


def _probe(worker: Worker) -> Status:
    """What it finds goes by the run's name."""
    run = worker.folder.run()
    if run.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    outgrew = run.name == "outgrows" and run.quantisation == "none"
    peak = Peak(3 << 28, on_cpu=not os.environ["CUDA_VISIBLE_DEVICES"], side=max(run.buckets))
    found = Probed(peak, outgrew, (0.5, 0.2)[: 2 - outgrew])
    worker.folder.note(probed=asdict(found))
    return "done"


def _compare(worker: Worker) -> Status:
    found = (
        Speed(False, "native", 0.5),
        Speed(False, "flash", None, "no kernel."),
        Speed(True, "native", 0.25),
    )
    worker.folder.note(speeds=[asdict(one) for one in found])
    return "done"


def _faults(folder: RunFolder) -> dict[str, list[int]]:
    path = folder.path / "faults.json"
    return {"die_at": [], "full_at": []} | (json.loads(path.read_text()) if path.exists() else {})


STAGES = {
    "encode": ("encoding", _encode),
    "train": ("training", _train),
    "export": ("exporting", _export),
    "probe": ("training", _probe),
    "compare": ("training", _compare),
}

if __name__ == "__main__":
    status, work = STAGES[sys.argv[1]]
    sys.exit(run_stage(RunFolder(Path(sys.argv[2])), status, work))
