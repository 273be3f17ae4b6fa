"""The trainer on tiny base models, one thread: that kills change nothing, that it learns, what it costs.

* `choosing`: 200 simulated runs with the noise of repeated evaluations: the checkpoint that is proposed and
  the step at which a run ends, beside the checkpoint most like the training pictures and the last one.
* `likeness`: different photographs of people, and how a persona's threshold is found.
* `noise`: measures that noise anew and keeps it; no claims, minutes, only when asked for.
* `kills`: runs killed at named points and at random, resumed, held against one that was never killed.
* `learning`: what a LoRA of one person and two edits learn, and what they leave alone.
* `overhead`: its steps per second beside a bare loop over the same tensors.
* `comfyui`: a real ComfyUI draws with our exports and with every format of LoRA that we judge and convert; it
  needs PERSONA_TEST_COMFYUI_START, which says how to start one, as in tests/support/comfyui_process.py.
* `card`: FLUX.1-dev and Qwen-Image-Edit at their real sizes with random weights: what training takes of an
  NVIDIA card of 24 GB, how far plans are off, pace beside a bare loop, kill and resume. Without a card its
  plans alone. `--setting` names one of its settings, each of them minutes long; it may be given again.

`--quick` takes fewer kills and fewer steps.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

# One thread, before torch is imported: forks have no others, and tiny models are slower with more.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))  # tiny base models and forks are shared with the tests

from tests.support.comfyui_process import START

from report import Figure, Report

PARTS = ("kills", "choosing", "likeness", "learning", "overhead", "comfyui", "card", "noise")
USUAL = tuple(part for part in PARTS if part != "noise")
_NO_SERVER = (
    f"comfyui: skipped; give {START}, the command that starts a ComfyUI of version 0.8 or newer, such as"
    " 'python main.py --cpu --listen 127.0.0.1 --port {port} --base-directory {folder}'."
)


def figures(part: str, quick: bool, settings: Sequence[str]) -> Iterable[Figure]:
    """The figures of one part, as they come."""
    told = (quick, settings) if part == "card" else (quick,)
    found: Iterable[Figure] = importlib.import_module(f"training_parts.{part}").figures(*told)
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes, the same targets")
    parser.add_argument("--only", action="append", choices=PARTS, help="one part; may be given again")
    parser.add_argument("--setting", action="append", default=[], help="of the part card")
    asked = parser.parse_args()
    report = Report("training", asked.quick)
    for part in asked.only or USUAL:
        if part == "comfyui" and START not in os.environ:
            print(_NO_SERVER, flush=True)
            continue
        for figure in figures(part, asked.quick, asked.setting):
            print(f"{part}: {figure.name} {figure.value:.4g} {figure.unit}", flush=True)
            report.add(figure)
    report.finish()


if __name__ == "__main__":
    main()
