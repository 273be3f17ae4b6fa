"""A node for a real ComfyUI's custom_nodes folder: conditioning of any width, made of noise.

Qwen-Image reads texts of the width 3584, which only an encoder of seven thousand million weights gives. This
file is copied beside the server's nodes; nothing of ours imports it.
"""

from __future__ import annotations

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


NODE_CLASS_MAPPINGS = {"PersonaTestConditioning": PersonaTestConditioning}
