"""The LoRA that a training starts from: its file, and whether the recipe can go on with it."""

from __future__ import annotations

from pathlib import Path

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.families import Family
from persona_tui.gpu.training.parents import require_unchanged
from persona_tui.services.loras.header import read_header
from persona_tui.services.loras.registry import LoraView
from persona_tui.services.loras.shelf import Shelf
from persona_tui.settings import Settings

_DOWN = (".lora_A.weight", ".lora_down.weight")


def parent_file(lora: LoraView, settings: Settings, family: Family) -> tuple[Path, str]:
    """The file of a LoRA of ours, and its hash.

    Raises:
        InvalidRequest: it is of another base model, merged, resized, broken or gone.
    """
    if lora.family != family.lora_family:
        raise InvalidRequest(
            f"{lora.label} is a LoRA of {lora.family}, not of {family.title}.",
            title="Mixed families",
            hint="Start from one of the same base model, or without one.",
        )
    path = Shelf(settings).path(lora.file_name)
    if not path.is_file():
        raise InvalidRequest(f"The file of {lora.label} is gone.", hint="Import it again.")
    require_unchanged(lora.label, read_header(path).metadata)
    return path, lora.sha256


def require_rank(label: str, path: Path, rank: int) -> None:
    """See that a parent has the recipe's rank; layers that were fused in its file may have more.

    Raises:
        InvalidRequest: it has another one.
    """
    shapes = read_header(path).shapes
    ranks = {shape[0] for name, shape in shapes.items() if name.endswith(_DOWN) and shape}
    if ranks and rank not in ranks:
        raise InvalidRequest(
            f"{label} has rank {min(ranks)}, and the recipe {rank}.",
            hint=f"Plan it with --rank {min(ranks)}, or start without it.",
        )
