"""One adapter for each family of base models: how it loads, and what a step hands to its transformer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from persona_tui.errors import UnknownName
from persona_tui.gpu.training.families import FAMILIES

if TYPE_CHECKING:
    from persona_tui.gpu.training.adapters.base import Adapter

_CLASSES = {
    "flux1": ("flux1", "Flux1"),
    "kontext": ("kontext", "Kontext"),
    "flux2-klein-4b": ("flux2", "Flux2Klein"),
    "flux2-klein-9b": ("flux2", "Flux2Klein9B"),
    "qwen-image": ("qwen_image", "QwenImage"),
    "qwen-edit-2509": ("qwen_edit", "QwenEdit2509"),
    "qwen-image-2.1": ("qwen_image21", "QwenImage21"),
    "qwen-edit-2511": ("qwen_edit", "QwenEdit2511"),
}


def adapter_of(family: str) -> Adapter:
    """The adapter of a family.

    Raises:
        UnknownName: no family goes by that name, or none of its LoRAs can be trained here.
    """
    known = ", ".join(name for name in FAMILIES if name in _CLASSES)
    if family not in FAMILIES:
        raise UnknownName(f"There is no base model {family}.", hint=f"Name one of: {known}.")
    if FAMILIES[family].cannot:
        raise UnknownName(FAMILIES[family].cannot, hint=f"Name one of: {known}.")
    module, name = _CLASSES[family]
    found = getattr(import_module(f"{__name__}.{module}"), name)
    adapter: Adapter = found(FAMILIES[family])
    return adapter
