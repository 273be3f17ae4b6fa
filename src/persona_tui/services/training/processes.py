"""The supervisor's process, in a session of its own: neither SSH nor the app takes it along."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from persona_tui.errors import PersonaError
from persona_tui.services.lease import Place

STAGES = "persona_tui.gpu.training"
_OUTPUT = "output.log"
_ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""What PyTorch's allocator of a card's memory reads, and its older name."""


class NotStarted(PersonaError):
    """No process could be started for a training."""

    title = "Training did not start"
    hint = "Free some memory, then `persona-tui train resume`."


def start_supervisor(
    folder: Path, locks: Sequence[Path], places: Sequence[Place], *, stages: str = STAGES
) -> int:
    """Start the process that sees a run through.

    Args:
        locks: the cards' lock files, which it holds.
        places: where its processes train, by rank.
        stages: module whose `encode`, `train` and `export` it runs.

    Returns:
        Its pid.

    Raises:
        NotStarted: the system does not let it, or the folder can't be written.
    """
    words = [str(folder), stages, str(len(places)), *map(str, locks)]
    command = [sys.executable, "-m", "persona_tui.gpu.training.supervisor", *words]
    environment = {**os.environ, **environment_for(places)}
    try:
        with (folder / _OUTPUT).open("ab") as output:
            process = subprocess.Popen(
                _apart(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
    except OSError as problem:
        raise NotStarted(f"No process could be started for the training: {problem.strerror}.") from None
    # Should it end while this process lives, it is not to stay behind as a zombie.
    threading.Thread(target=process.wait, name="training", daemon=True).start()
    return process.pid


def environment_for(places: Sequence[Place]) -> dict[str, str]:
    """What a process that trains is told beside our own environment: the cards that it sees, and no more."""
    cards = [str(place.card.index) for place in places if place.card is not None]
    # Pictures of several sizes leave gaps of several sizes in the card's memory; growing segments fill them.
    told = (
        {} if any(name in os.environ for name in _ALLOCATOR) else {_ALLOCATOR[0]: "expandable_segments:True"}
    )
    return {
        **told,
        # What is trained lies in local folders; nothing asks a model hub.
        "HF_HUB_OFFLINE": "1",
        # Cards are counted as NVML counts them; without a card there is none to be found either.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(cards),
    }


def _apart(command: Sequence[str]) -> list[str]:
    """The command in a scope of its own under systemd, which else ends it with our service (R3)."""
    manager = shutil.which("systemd-run")
    if manager is None or "INVOCATION_ID" not in os.environ:
        return list(command)
    own = [] if os.geteuid() == 0 else ["--user"]
    return [manager, *own, "--scope", "--quiet", "--collect", *command]
