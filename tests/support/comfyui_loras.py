"""LoRAs with random weights under every name that trainers give to the same layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.support.comfyui_models import CHANNELS, TEXT, WIDTH, WIDTH_2, Family

RANK = 4
STRENGTH = 0.2
ENDINGS = {
    "kohya": (".lora_down.weight", ".lora_up.weight"),
    "peft": (".lora_A.weight", ".lora_B.weight"),
    "default": (".lora_A.default.weight", ".lora_B.default.weight"),
    "old": ("_lora.down.weight", "_lora.up.weight"),
    "xlabs": (".down.weight", ".up.weight"),
    "lokr": (".lokr_w2", ".lokr_w1"),
}
KRON = 4
"""Rows and columns of LoKr's first factor."""
MAGNITUDE = 0.7
"""Of DoRA's rows; a little more than those of a layer as diffusers makes it."""


@dataclass(frozen=True)
class Layer:
    """One weight that a LoRA changes.

    Attributes:
        server: its name in ComfyUI's own model.
        diffusers: its name in diffusers' model.
        size: numbers that go out and come in.
    """

    server: str
    diffusers: str
    size: tuple[int, int]


@dataclass(frozen=True)
class KeyFormat:
    """One way to name a LoRA's keys.

    Attributes:
        part: which half of the checkpoint it changes.
        named: a layer's name in it.
        endings: which pair of `ENDINGS`; kohya's carries an alpha too.
        loads: whether v0.8.0 knows the names; it ignores those that it does not know, and says so in its log.
        third: ending of a third tensor of each layer, such as DoRA's magnitudes; empty for none.
    """

    family: Family
    title: str
    part: Literal["model", "clip"]
    layers: tuple[Layer, ...]
    named: Callable[[Layer], str]
    endings: str
    loads: bool = True
    third: str = ""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each key of a file, with its tensor's shape."""
        found: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            base, (out, incoming) = self.named(layer), layer.size
            pair: tuple[tuple[int, int], tuple[int, int]] = ((RANK, incoming), (out, RANK))
            if self.endings == "lokr":
                pair = (out // KRON, incoming // KRON), (KRON, KRON)
            found |= {base + one: shape for one, shape in zip(ENDINGS[self.endings], pair, strict=True)}
            if self.endings == "kohya":
                found[f"{base}.alpha"] = ()
            if self.third:
                found[base + self.third] = (out, 1) if self.third == ".dora_scale" else (out,)
        return found

    def __str__(self) -> str:
        return f"{self.family} {self.part}: {self.title}"


def write(made: KeyFormat, path: Path, *, seed: int = 1) -> None:
    """Write a LoRA in that format; strong enough for the eye."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, shape in made.shapes.items():
        if not shape:
            tensors[key] = torch.tensor(float(RANK))
        elif key.endswith(made.third or "no third"):
            tensors[key] = torch.full(shape, MAGNITUDE)
        else:
            tensors[key] = torch.randn(shape, generator=random).half() * STRENGTH
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"modelspec.title": "persona-tui test"})


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _sd15_layers() -> tuple[Layer, ...]:
    places = {
        "input_blocks.1.1": "down_blocks.0.attentions.0",
        "middle_block.1": "mid_block.attentions.0",
        "output_blocks.1.1": "up_blocks.0.attentions.1",
    }
    inner = {"attn1.to_q": CHANNELS, "attn1.to_out.0": CHANNELS, "attn2.to_v": TEXT}
    return tuple(
        Layer(*(f"{one}.transformer_blocks.0.{name}" for one in place), (CHANNELS, incoming))
        for place in places.items()
        for name, incoming in inner.items()
    )


def _clip_layers() -> tuple[Layer, ...]:
    names = [f"text_model.encoder.layers.{number}.self_attn.q_proj" for number in range(6)]
    names += [f"text_model.encoder.layers.{number}.self_attn.v_proj" for number in range(6)]
    return tuple(Layer(name, name, (TEXT, TEXT)) for name in names)


def _same(*names: str, size: tuple[int, int] = (WIDTH, WIDTH)) -> tuple[Layer, ...]:
    return tuple(Layer(name, name, size) for name in names)


SD15, CLIP = _sd15_layers(), _clip_layers()
FLUX = _same(
    *(f"transformer_blocks.0.attn.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")),
    "single_transformer_blocks.0.attn.to_q",
    "single_transformer_blocks.0.attn.to_v",
)
FLUX_BFL = (
    *_same("double_blocks.0.img_attn.qkv", size=(3 * WIDTH, WIDTH)),
    *_same("double_blocks.0.img_attn.proj"),
    *_same("single_blocks.0.linear1", size=(7 * WIDTH, WIDTH)),
)
FLUX_ENDS = (
    *FLUX[:1],
    *_same("x_embedder", size=(WIDTH, 64)),
    *_same("norm_out.linear", size=(2 * WIDTH, WIDTH)),
    *_same("proj_out", size=(64, WIDTH)),
)
XLABS = _same("double_blocks.0.processor.qkv_lora1", size=(3 * WIDTH, WIDTH))
XLABS_SINGLE = (
    *_same("single_blocks.0.processor.qkv_lora", size=(3 * WIDTH, WIDTH)),
    *_same("single_blocks.0.processor.proj_lora", size=(WIDTH, 5 * WIDTH)),
)
QWEN = _same(*(f"transformer_blocks.0.attn.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")))
QWEN_ENDS = (
    *QWEN[:1],
    *_same("img_in", size=(WIDTH, 64)),
    *_same("norm_out.linear", size=(2 * WIDTH, WIDTH)),
    *_same("proj_out", size=(64, WIDTH)),
)
FLUX2 = (
    Layer(
        "single_blocks.0.linear1", "single_transformer_blocks.0.attn.to_qkv_mlp_proj", (9 * WIDTH_2, WIDTH_2)
    ),
    Layer("single_blocks.0.linear2", "single_transformer_blocks.0.attn.to_out", (WIDTH_2, 4 * WIDTH_2)),
    Layer("double_blocks.0.img_mlp.0", "transformer_blocks.0.ff.linear_in", (6 * WIDTH_2, WIDTH_2)),
    Layer("double_blocks.0.txt_mlp.2", "transformer_blocks.0.ff_context.linear_out", (WIDTH_2, 3 * WIDTH_2)),
)


def _processor(layer: Layer) -> str:
    name = layer.diffusers.replace(".to_", ".processor.to_")
    return f"unet.{name.removesuffix('.0')}"


FORMATS: tuple[KeyFormat, ...] = (
    KeyFormat(
        "sd15", "kohya, diffusers names", "model", SD15,
        lambda one: f"lora_unet_{_flat(one.diffusers)}", "kohya",
    ),
    KeyFormat(
        "sd15", "kohya, LDM names", "model", SD15, lambda one: f"lora_unet_{_flat(one.server)}", "kohya"
    ),
    KeyFormat("sd15", "PEFT", "model", SD15, lambda one: f"unet.{one.diffusers}", "peft", loads=False),
    KeyFormat("sd15", "bare diffusers", "model", SD15, lambda one: one.diffusers, "peft", loads=False),
    KeyFormat(
        "sd15", "PEFT, as saved", "model", SD15,
        lambda one: f"base_model.model.{one.diffusers}", "peft", loads=False,
    ),
    KeyFormat("sd15", "diffusers, processor", "model", SD15, _processor, "old"),
    KeyFormat("sd15", "PEFT, processor", "model", SD15, _processor, "peft"),
    KeyFormat("sd15", "generic", "model", SD15, lambda one: f"diffusion_model.{one.server}", "peft"),
    KeyFormat("sd15", "kohya", "clip", CLIP, lambda one: f"lora_te_{_flat(one.diffusers)}", "kohya"),
    KeyFormat("sd15", "PEFT", "clip", CLIP, lambda one: f"text_encoder.{one.diffusers}", "peft"),
    KeyFormat(
        "sd15", "generic", "clip", CLIP, lambda one: f"text_encoders.clip_l.transformer.{one.server}", "peft"
    ),
    KeyFormat("flux", "PEFT", "model", FLUX, lambda one: f"transformer.{one.diffusers}", "peft"),
    KeyFormat("flux", "kohya", "model", FLUX_BFL, lambda one: f"lora_unet_{_flat(one.server)}", "kohya"),
    KeyFormat("flux", "generic", "model", FLUX_BFL, lambda one: f"diffusion_model.{one.server}", "peft"),
    KeyFormat(
        "flux", "OneTrainer", "model", FLUX, lambda one: f"lora_transformer_{_flat(one.diffusers)}", "kohya"
    ),
    KeyFormat("flux", "SimpleTuner", "model", FLUX, lambda one: f"lycoris_{_flat(one.diffusers)}", "kohya"),
    KeyFormat("flux", "bare diffusers", "model", FLUX, lambda one: one.diffusers, "peft", loads=False),
    KeyFormat(
        "flux", "PEFT, as saved", "model", FLUX,
        lambda one: f"base_model.model.{one.diffusers}", "peft", loads=False,
    ),
    KeyFormat("flux", "XLabs", "model", XLABS, lambda one: one.server, "xlabs", loads=False),
    KeyFormat(
        "flux", "XLabs, single blocks", "model", XLABS_SINGLE, lambda one: one.server, "xlabs", loads=False
    ),
    KeyFormat("flux", "bare BFL", "model", FLUX_BFL, lambda one: one.server, "peft", loads=False),
    KeyFormat(
        "flux", "PEFT with ends", "model", FLUX_ENDS, lambda one: f"transformer.{one.diffusers}", "peft"
    ),
    KeyFormat(
        "flux", "bare diffusers with ends", "model", FLUX_ENDS, lambda one: one.diffusers, "peft", loads=False
    ),
    KeyFormat("flux", "LoKr", "model", FLUX, lambda one: f"lycoris_{_flat(one.diffusers)}", "lokr"),
    KeyFormat("flux", "bare LoKr", "model", FLUX, lambda one: one.diffusers, "lokr", loads=False),
    KeyFormat(
        "flux", "DoRA", "model", FLUX_BFL, lambda one: f"diffusion_model.{one.server}", "peft",
        third=".dora_scale",
    ),
    KeyFormat("qwen", "bare diffusers", "model", QWEN, lambda one: one.diffusers, "peft"),
    KeyFormat("qwen", "PEFT, default", "model", QWEN, lambda one: one.diffusers, "default"),
    KeyFormat("qwen", "PEFT", "model", QWEN, lambda one: f"transformer.{one.diffusers}", "peft"),
    KeyFormat("qwen", "generic", "model", QWEN, lambda one: f"diffusion_model.{one.server}", "peft"),
    KeyFormat("qwen", "kohya", "model", QWEN, lambda one: f"lora_unet_{_flat(one.server)}", "kohya"),
    KeyFormat("qwen", "SimpleTuner", "model", QWEN, lambda one: f"lycoris_{_flat(one.server)}", "kohya"),
    KeyFormat(
        "qwen", "PEFT, as saved", "model", QWEN,
        lambda one: f"base_model.model.{one.diffusers}", "peft", loads=False,
    ),
    KeyFormat("qwen", "bare diffusers with ends", "model", QWEN_ENDS, lambda one: one.diffusers, "peft"),
    KeyFormat(
        "qwen", "PEFT with ends, as saved", "model", QWEN_ENDS,
        lambda one: f"base_model.model.{one.diffusers}", "peft", loads=False,
    ),
    KeyFormat(
        "qwen", "OneTrainer", "model", QWEN,
        lambda one: f"lora_transformer_{_flat(one.diffusers)}", "kohya", loads=False,
    ),
    KeyFormat("qwen", "LoKr", "model", QWEN, lambda one: f"lycoris_{_flat(one.diffusers)}", "lokr"),
)  # fmt: skip
PARTLY: tuple[KeyFormat, ...] = (
    KeyFormat(
        "flux", "PEFT's DoRA", "model", FLUX_BFL, lambda one: f"diffusion_model.{one.server}", "peft",
        loads=False, third=".lora_magnitude_vector",
    ),
    KeyFormat(
        "flux", "some without a prefix", "model", FLUX,
        lambda one: f"transformer.{one.diffusers}" if "to_q" in one.diffusers else one.diffusers, "peft",
        loads=False,
    ),
    KeyFormat(
        "flux", "biases", "model", FLUX, lambda one: f"transformer.{one.diffusers}", "peft",
        loads=False, third=".lora_B.bias",
    ),
)  # fmt: skip
"""Formats of which v0.8.0 loads some keys and ignores the others."""
FLUX2_FORMATS: tuple[KeyFormat, ...] = (
    KeyFormat("flux2", "generic", "model", FLUX2, lambda one: f"diffusion_model.{one.server}", "peft"),
    KeyFormat(
        "flux2", "PEFT", "model", FLUX2, lambda one: f"transformer.{one.diffusers}", "peft", loads=False
    ),
    KeyFormat(
        "flux2", "PEFT, as saved", "model", FLUX2,
        lambda one: f"base_model.model.{one.diffusers}", "peft", loads=False,
    ),
)  # fmt: skip
"""Of a model so large that only the benchmark draws with it; the stand-in does not know it."""
