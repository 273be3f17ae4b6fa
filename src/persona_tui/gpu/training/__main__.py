"""A run's stages as processes: `python -m persona_tui.gpu.training encode|train|export RUN_FOLDER`.

`probe` and `compare` try a plan in a folder of their own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.worker import run_follower, run_stage

STAGES = ("encode", "train", "export", "probe", "compare")


def main(arguments: list[str]) -> int:
    """Carry out one stage.

    Returns:
        0 done, 1 failed, 2 the request was wrong, 3 paused, 4 stopped.
    """
    if len(arguments) != 2 or arguments[0] not in STAGES:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    # Cards are counted as the driver counts them, and as NVML does.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    stage, folder = arguments[0], RunFolder(Path(arguments[1]))
    if stage == "encode":
        from persona_tui.gpu.training.encode import encode

        return run_stage(folder, "encoding", encode)
    if stage == "train":
        return _train(folder)
    if stage == "probe":
        from persona_tui.gpu.training.probe import probe

        return run_stage(folder, "training", probe)
    if stage == "compare":
        from persona_tui.gpu.training.comparison import compare

        return run_stage(folder, "training", compare)
    from persona_tui.gpu.training.export import export

    return run_stage(folder, "exporting", export)


def _train(folder: RunFolder) -> int:
    from persona_tui.gpu.training.cards import is_first, is_one_of_several, rank
    from persona_tui.gpu.training.evaluate import Evaluator
    from persona_tui.gpu.training.loop import follow, train

    if is_first():
        code = run_stage(folder, "training", lambda worker: train(worker, Evaluator(worker)))
    else:
        code = run_follower(folder, rank(), follow)
    if is_one_of_several():
        # What connects the processes may wait for the others at the interpreter's end.
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
