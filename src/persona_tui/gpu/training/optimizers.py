"""Optimizers by name, and the learning rate of each step."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.run_file import RunFile


def optimizer_for(run: RunFile, weights: Iterable[nn.Parameter]) -> tuple[torch.optim.Optimizer, str]:
    """The optimizer that a recipe names.

    Returns:
        The optimizer, and what it is: where bitsandbytes is missing, adamw stands in for adamw8bit.

    Raises:
        InvalidRequest: Prodigy is asked for and not installed.
    """
    given: dict[str, Any] = {"lr": run.lr, "weight_decay": run.weight_decay}
    kept = list(weights)
    if run.optimizer == "prodigy":
        return _prodigy(kept, given), "prodigy"
    if run.optimizer == "adamw8bit" and find_spec("bitsandbytes") is not None:
        import bitsandbytes

        eight: Any = bitsandbytes.optim
        made: torch.optim.Optimizer = eight.AdamW8bit(kept, **given)
        return made, "adamw8bit"
    return torch.optim.AdamW(kept, **given), "adamw"


def _prodigy(weights: list[nn.Parameter], given: dict[str, Any]) -> torch.optim.Optimizer:
    if find_spec("prodigyopt") is None:
        raise InvalidRequest(
            "Prodigy is not installed.",
            hint='Install it with `pip install "persona-tui[gpu]"`, or choose adamw.',
        )
    from prodigyopt import Prodigy

    # Its authors' advice for diffusion models; lr multiplies the step size that it finds.
    made: torch.optim.Optimizer = Prodigy(
        weights, use_bias_correction=True, safeguard_warmup=True, decouple=True, **given
    )
    return made


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all weights."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def rate_at(run: RunFile, step: int) -> float:
    """The learning rate of a step: a linear warm-up, then constant.

    Without a decay at the end, a changed number of steps changes nothing before it.
    """
    return run.lr * min(1.0, step / run.warmup) if run.warmup else run.lr
