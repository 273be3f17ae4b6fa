"""Let torchvision be imported where its compiled operators don't load.

A torchvision built for CUDA beside a CPU build of torch fails at import ("operator torchvision::nms does
not exist"), and takes transformers, diffusers and open_clip with it, although none of them needs the
operator. Declaring the two operators that torchvision's own Python code refers to is enough; calling them
still raises.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# torch forgets declarations when the library object that made them is collected.
_declarations: list[Any] = []


def ensure_torchvision() -> Literal["native", "shim", "absent"]:
    """Make `import torchvision` work; call it before transformers, diffusers, open_clip or timm are imported.

    Returns:
        native: torchvision's own operators load, nothing was done; shim: the operators were declared;
        absent: torchvision is not installed, which transformers and diffusers can live with.
    """
    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return "absent"
    if _declarations:
        return "shim"
    if _own_operators_load(Path(spec.submodule_search_locations[0])):
        return "native"
    import torch

    registry: Any = torch.library
    library = registry.Library("torchvision", "FRAGMENT")
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SIGNATURE)
    _declarations.append(library)
    return "shim"


def _own_operators_load(package: Path) -> bool:
    import torch

    operators: Any = torch.ops
    for extension in sorted(package.glob("_C*.so")):
        try:
            operators.load_library(extension)
        except (OSError, RuntimeError, ImportError):
            continue
        return hasattr(operators.torchvision, "nms")
    return False
