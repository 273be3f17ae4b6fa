"""A run's stages on weights that are made up: `python -m training_parts.card_stages STAGE RUN_FOLDER`.

The product's own (`persona_tui.gpu.training`), and `alternate`, which trains in turns with a bare loop. Only
what the transformer's weights are comes from here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from persona_tui.gpu.training import __main__ as product
from persona_tui.gpu.training.adapters.base import Adapter
from persona_tui.gpu.training.folder import RunFolder, Status
from persona_tui.gpu.training.worker import Worker, run_stage
from training_parts.card_bases import made_up


def main(arguments: list[str]) -> int:
    """Carry out one stage; gives the process's exit code."""
    Adapter.weights = staticmethod(made_up)  # type: ignore[method-assign]
    if arguments[0] == "alternate":
        return run_stage(RunFolder(Path(arguments[1])), "training", _alternate)
    return product.main(arguments)


def _alternate(worker: Worker) -> Status:
    """Note the seconds of a bare loop over ours, block by block."""
    from training_parts.overhead import alternated

    ratios = alternated(worker, worker.folder.run().evaluate_every)
    worker.folder.note(ratios=ratios)
    return "done"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
