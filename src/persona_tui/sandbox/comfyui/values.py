"""What travels along the links of a graph in place of tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from persona_tui.sandbox.comfyui import painter
from persona_tui.sandbox.comfyui.canvas import Pixels
from persona_tui.sandbox.comfyui.lora_keys import Family


@dataclass(frozen=True)
class Model:
    """MODEL or CLIP: which weights, of which family, with which LoRAs."""

    weights: str
    family: Family = "sd"
    loras: tuple[tuple[str, float], ...] = ()

    def with_lora(self, name: str, strength: float) -> Model:
        """These weights with one more LoRA."""
        return replace(self, loras=(*self.loras, (name, strength)))

    @property
    def style(self) -> str:
        """What distinguishes the look of its pictures."""
        return self.weights + self.lora_style

    @property
    def lora_style(self) -> str:
        """What its LoRAs add to the look: `|name@strength` for each that has any strength."""
        return "".join(f"|{name}@{strength}" for name, strength in self.loras if strength)


@dataclass(frozen=True)
class Vae:
    """VAE."""

    name: str


@dataclass(frozen=True)
class Conditioning:
    """CONDITIONING: the text itself, how strictly it is followed, and what LoRAs made of it."""

    text: str
    guidance: float | None = None
    lora_style: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of an IMAGE batch.

    Attributes:
        pixels: height × width × 3, 8-bit sRGB.
        seed: of the sampler that made it, if one did.
        quality: hidden quality 0…1, if known.
    """

    pixels: Pixels
    seed: int | None = None
    quality: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels."""
        return self.pixels.shape


@dataclass(frozen=True, eq=False)
class Painting:
    """One picture of a LATENT batch that has been sampled: painted when it is decoded.

    Attributes:
        prompt: positive text.
        seed: the sampler's, moved on by the place in the batch.
        denoise: share of the base that is given up.
        style: of the model.
        base: what was sampled over; None for an empty latent.
    """

    prompt: str
    seed: int
    denoise: float
    style: str
    base: Picture | Painting | None

    def decoded(self, width: int, height: int) -> Picture:
        """Paint it."""
        if self.base is None:
            pixels = painter.paint(self.prompt, self.seed, width, height, style=self.style)
            return Picture(pixels, self.seed, painter.quality(self.seed))
        base = self.base.decoded(width, height) if isinstance(self.base, Painting) else self.base
        pixels = painter.repaint(
            base.pixels, self.prompt, self.seed, self.denoise, parent=base.quality, style=self.style
        )
        quality = painter.child_quality(base.quality, self.seed, self.denoise)
        return Picture(pixels, self.seed, quality)


@dataclass(frozen=True, eq=False)
class Latent:
    """LATENT: a batch, each place empty (None), encoded from a picture, or sampled."""

    width: int
    height: int
    places: tuple[Picture | Painting | None, ...]

    def sampled(self, prompt: str, seed: int, denoise: float, style: str) -> Latent:
        """The batch after a sampler."""
        paintings = tuple(
            Painting(prompt, seed + number, denoise, style, base) for number, base in enumerate(self.places)
        )
        return replace(self, places=paintings)

    def decoded(self) -> tuple[Picture, ...]:
        """The pictures; takes about 0.2 s each."""
        return tuple(self._picture(place) for place in self.places)

    def _picture(self, place: Picture | Painting | None) -> Picture:
        if isinstance(place, Picture):
            return place
        if place is None:
            grey = np.full((self.height, self.width, 3), (124, 108, 92), dtype=np.uint8)
            return Picture(grey)
        return place.decoded(self.width, self.height)
