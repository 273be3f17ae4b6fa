"""The shim, in processes of their own: what is imported first decides."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_after_the_shim_all_can_be_imported_and_a_shimmed_operator_refuses_to_be_called() -> None:
    said = run("""
        from persona_tui.gpu.torchvision_shim import ensure_torchvision
        first, second = ensure_torchvision(), ensure_torchvision()
        assert first == second
        from diffusers import FluxPipeline
        from transformers import CLIPModel
        import open_clip
        import torch, torchvision
        from torchvision.transforms import v2
        assert v2.Resize(4)(torch.zeros(3, 8, 8)).shape == (3, 4, 4)
        assert first == ("native" if torchvision.extension._has_ops() else "shim")
        print(FluxPipeline.__name__, CLIPModel.__name__, open_clip.list_models()[0] != "")
        try:
            kept = torchvision.ops.nms(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([1.0]), 0.5)
            print(first, kept.tolist())
        except RuntimeError:
            print(first, "refused")
    """)
    imported, called = said.splitlines()
    assert imported == "FluxPipeline CLIPModel True"
    assert called in {"shim refused", "native [0]"}


@pytest.mark.parametrize("module", ["torchvision_shim", "nvml"])
def test_importing_the_module_loads_neither_torch_nor_nvml(module: str) -> None:
    said = run(f"""
        import sys
        import persona_tui.gpu.{module}
        print(sorted({{"torch", "pynvml"}} & set(sys.modules)))
    """)
    assert said == "[]"


def test_without_torchvision_nothing_is_done() -> None:
    said = run("""
        import importlib.machinery, sys


        class Absent(importlib.machinery.PathFinder):
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                return None if name == "torchvision" else super().find_spec(name, path, target)

        sys.meta_path[:] = [f if f is not importlib.machinery.PathFinder else Absent for f in sys.meta_path]
        from persona_tui.gpu.torchvision_shim import ensure_torchvision
        print(ensure_torchvision(), "torch" in sys.modules)
    """)
    assert said == "absent False"
