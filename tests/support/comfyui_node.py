"""Nodes for a real ComfyUI's custom_nodes folder; nothing of ours imports this file.

Qwen-Image reads texts of the width 3584, which only an encoder of seven thousand million weights gives: so
there is conditioning of any width, made of noise. And a LoRA in FLUX.2, whose layers take minutes to patch
without a card, is looked at without drawing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


class PersonaTestConditioning:
    """CONDITIONING drawn from a seed."""

    RETURN_TYPES = ("CONDITIONING",)
    FUNCTION = "drawn"
    CATEGORY = "persona-tui/tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """As ComfyUI asks for it."""
        return {
            "required": {
                "width": ("INT", {"default": 3584, "min": 1, "max": 16384}),
                "tokens": ("INT", {"default": 8, "min": 1, "max": 4096}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**32 - 1}),
            }
        }

    def drawn(self, width: int, tokens: int, seed: int) -> tuple[Any, ...]:
        """Noise of that shape."""
        import torch

        noise = torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(seed))
        return ([[noise, {"pooled_output": noise[:, 0, :768]}]],)


class PersonaTestEffect:
    """What the LoRAs of a model add to its layers: each layer's change times noise, saved like a latent."""

    RETURN_TYPES = ()
    FUNCTION = "measured"
    OUTPUT_NODE = True
    CATEGORY = "persona-tui/tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """As ComfyUI asks for it."""
        return {"required": {"model": ("MODEL",), "filename_prefix": ("STRING", {"default": "effect"})}}

    def measured(self, model: Any, filename_prefix: str) -> dict[str, Any]:
        """Save (1, rows of all layers, 1, 1); layers without a LoRA have zeros."""
        import comfy.lora
        import folder_paths
        import torch
        from safetensors.torch import save_file

        found = []
        for key, weight in sorted(model.model.state_dict().items()):
            if weight.ndim != 2:
                continue
            changed = torch.zeros(weight.shape)
            if key in model.patches:
                changed = comfy.lora.calculate_weight(model.patches[key], changed, key)
            noise = torch.randn(weight.shape[1], generator=torch.Generator().manual_seed(len(found)))
            found.append(changed @ noise)
        effect = {"latent_tensor": torch.cat(found).reshape(1, -1, 1, 1)}
        folder = Path(folder_paths.get_output_directory())
        folder.mkdir(parents=True, exist_ok=True)
        save_file(effect, folder / f"{filename_prefix}.latent")
        return {"ui": {}}


NODE_CLASS_MAPPINGS = {
    "PersonaTestConditioning": PersonaTestConditioning,
    "PersonaTestEffect": PersonaTestEffect,
}
