"""What may make a step faster, which is measured: compiled blocks, other kernels for attention (M14)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.run_file import AttentionBackend, RunFile

# PyTorch's own kernels, by the names of diffusers' dispatcher (diffusers 0.42, attention_dispatch.py). Others
# have no backward, or come from the hub.
_DIFFUSERS: Mapping[AttentionBackend, str] = {
    "native": "native",
    "flash": "_native_flash",
    "efficient": "_native_efficient",
    "cudnn": "_native_cudnn",
    "math": "_native_math",
}


def use_options(transformer: Any, run: RunFile) -> None:
    """Have a transformer with its LoRA computed as the recipe says."""
    if run.attention_backend != "native":
        use_attention(transformer, run.attention_backend)
    if run.compile:
        compile_blocks(transformer)


def use_attention(transformer: Any, backend: AttentionBackend) -> None:
    """Have attention computed by one of PyTorch's kernels; `native` lets PyTorch choose."""
    transformer.set_attention_backend(_DIFFUSERS[backend])


def compile_blocks(transformer: Any) -> None:
    """Compile each kind of block once (regional compilation); the first steps wait for it."""
    transformer.compile_repeated_blocks()


@contextmanager
def options_explained(run: RunFile) -> Iterator[None]:
    """Tell an option that can't be used from other failures.

    Raises:
        InvalidRequest: compiling failed, or the kernel can't compute this attention.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, NotImplementedError) as problem:
        reason = str(problem).strip().partition("\n")[0][:200]
        if run.compile and type(problem).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise InvalidRequest(
                f"The blocks can't be compiled here: {reason}", hint="Plan it without --compile."
            ) from problem
        if run.attention_backend != "native":
            raise InvalidRequest(
                f"Attention can't be computed by {run.attention_backend} here: {reason}",
                hint="Plan it with --attention native.",
            ) from problem
        raise
