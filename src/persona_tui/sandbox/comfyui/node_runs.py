"""What each node type does."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from persona_tui.sandbox.comfyui import painter
from persona_tui.sandbox.comfyui.files import Folders, next_names
from persona_tui.sandbox.comfyui.log import ServerLog
from persona_tui.sandbox.comfyui.lora_keys import CLIP, MODEL, Family, family_of, keys_of, placed
from persona_tui.sandbox.comfyui.values import Conditioning, Latent, Model, Picture, Vae
from persona_tui.sandbox.control import Ledger, SandboxOptions

PREVIEW_PIXELS = 256
COMPRESS_LEVEL = 1  # the real one uses 4; the pictures are the same
RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass
class Studio:
    """What all nodes share: folders, the ledger, the log, and the qualities of pictures painted before."""

    folders: Folders
    ledger: Ledger
    options: SandboxOptions
    log: ServerLog = field(default_factory=ServerLog)
    qualities: dict[str, float] = field(default_factory=dict)
    temp_suffix: str = field(
        default_factory=lambda: "".join(random.choices("abcdefghijklmnopqrstupvxyz", k=5))
    )

    def remember(self) -> None:
        """Read the qualities of earlier starts back from the ledger."""
        for entry in self.ledger.of("saved"):
            if entry["quality"] is not None:
                self.qualities[entry["pixels"]] = entry["quality"]


@dataclass
class NodeCall:
    """One execution of one node.

    Attributes:
        progress: called as progress(value, maximum, preview or None); raises when interrupted.
        extra_pnginfo: goes into the text chunks of saved pictures.
    """

    studio: Studio
    prompt_id: str
    node_id: str
    graph: Mapping[str, Any]
    extra_pnginfo: Mapping[str, Any] | None
    previews: bool
    progress: Callable[[int, int, Image.Image | None], None]


def _expect(value: Any, kind: type) -> None:
    """Fail on a literal where a link belongs: validation lets it pass, running does not, as upstream."""
    if not isinstance(value, kind):
        raise AttributeError(f"'{type(value).__name__}' object is no {kind.__name__}")


async def load_checkpoint(call: NodeCall, ckpt_name: str) -> tuple[Any, ...]:
    family = _family(call, "checkpoints", ckpt_name)
    return Model(ckpt_name, family), Model(ckpt_name, family), Vae(ckpt_name)


async def load_unet(call: NodeCall, unet_name: str, weight_dtype: str) -> tuple[Any, ...]:
    return (Model(f"{unet_name}:{weight_dtype}", _family(call, "diffusion_models", unet_name)),)


async def load_clip(_call: NodeCall, **names: str) -> tuple[Any, ...]:
    kind = names["type"]
    family: Family = "flux" if kind == "flux" else "qwen" if kind == "qwen_image" else "sd"
    return (Model(":".join(names.values()), family),)


async def load_vae(_call: NodeCall, vae_name: str) -> tuple[Any, ...]:
    return (Vae(vae_name),)


def _family(call: NodeCall, folder: str, name: str) -> Family:
    return family_of(name, keys_of(call.studio.folders.models / folder / name))


async def load_lora(
    call: NodeCall, model: Model, clip: Model, lora_name: str, strength_model: float, strength_clip: float
) -> tuple[Any, ...]:
    if not strength_model and not strength_clip:
        return model, clip
    for_model, for_clip = _lora_parts(call, lora_name, model, clip)
    return (
        model.with_lora(lora_name, strength_model) if for_model else model,
        clip.with_lora(lora_name, strength_clip) if for_clip else clip,
    )


async def load_lora_model_only(
    call: NodeCall, model: Model, lora_name: str, strength_model: float
) -> tuple[Any, ...]:
    if not strength_model:
        return (model,)
    for_model, _ = _lora_parts(call, lora_name, model, None)
    return (model.with_lora(lora_name, strength_model) if for_model else model,)


def _lora_parts(call: NodeCall, name: str, model: Model, clip: Model | None) -> tuple[bool, bool]:
    """Whether a LoRA changes the model and the texts; what it can't place is said in the log, as upstream."""
    keys = keys_of(call.studio.folders.models / "loras" / name)
    for_model, lost = placed(keys, MODEL[model.family])
    for_clip: list[str] = []
    if clip is not None:
        for_clip, lost = placed(lost, CLIP[clip.family])
    for key in lost:
        call.studio.log.say(f"lora key not loaded: {key}")
    return bool(for_model), bool(for_clip)


async def encode_text(_call: NodeCall, text: str, clip: Model) -> tuple[Any, ...]:
    _expect(clip, Model)
    return (Conditioning(text, lora_style=clip.lora_style),)


async def guide(_call: NodeCall, conditioning: Conditioning, guidance: float) -> tuple[Any, ...]:
    return (replace(conditioning, guidance=guidance),)


async def zero_out(_call: NodeCall, conditioning: Conditioning) -> tuple[Any, ...]:
    return (replace(conditioning, text=""),)


async def encode_edit(_call: NodeCall, clip: Model, prompt: str, **_seen: Any) -> tuple[Any, ...]:
    """The pictures that the real one shows its language model reach our painter by the latent alone."""
    _expect(clip, Model)
    return (Conditioning(prompt, lora_style=clip.lora_style),)


async def shift(_call: NodeCall, model: Model, **_settings: Any) -> tuple[Any, ...]:
    return (model,)


async def empty_latent(call: NodeCall, width: int, height: int, batch_size: int) -> tuple[Any, ...]:
    wide, tall = call.studio.options.image_size or (width // 8 * 8, height // 8 * 8)
    return (Latent(wide, tall, (None,) * batch_size),)


async def empty_image(
    _call: NodeCall, width: int, height: int, batch_size: int, color: int
) -> tuple[Any, ...]:
    pixels = np.full((height, width, 3), (color >> 16, color >> 8 & 255, color & 255), dtype=np.uint8)
    return ((Picture(pixels),) * batch_size,)


async def sample(
    call: NodeCall, model: Model, seed: int, steps: int, positive: Conditioning, negative: Conditioning,
    latent_image: Latent, denoise: float, **_settings: Any,
) -> tuple[Any, ...]:  # fmt: skip
    _expect(negative, Conditioning)
    style = model.style + positive.lora_style
    latent = latent_image.sampled(positive.text, seed, denoise, style)
    preview: Image.Image | None = None
    if call.previews:
        preview = await asyncio.to_thread(_small, positive.text, seed, latent, style)
    pause = call.studio.options.latency / steps
    for step in range(steps):
        await asyncio.sleep(pause)
        call.progress(step + 1, steps, preview)
    return (latent,)


def _small(text: str, seed: int, latent: Latent, style: str) -> Image.Image:
    scale = min(1.0, PREVIEW_PIXELS / max(latent.width, latent.height))
    wide, tall = max(8, int(latent.width * scale)), max(8, int(latent.height * scale))
    return Image.fromarray(painter.paint(text, seed, wide, tall, style=style))


async def decode(_call: NodeCall, samples: Latent, vae: Vae) -> tuple[Any, ...]:
    _expect(vae, Vae)
    return (await asyncio.to_thread(samples.decoded),)


async def encode(_call: NodeCall, pixels: tuple[Picture, ...], vae: Vae) -> tuple[Any, ...]:
    _expect(vae, Vae)
    height, width = (side // 8 * 8 for side in pixels[0].pixels.shape[:2])
    cropped = tuple(Picture(one.pixels[:height, :width], one.seed, one.quality) for one in pixels)
    return (Latent(width, height, cropped),)


async def scale(
    _call: NodeCall, image: tuple[Picture, ...], upscale_method: str, width: int, height: int, crop: str
) -> tuple[Any, ...]:
    tall, wide = image[0].pixels.shape[:2]
    if not width and not height:
        return (image,)
    size = (width or max(1, round(wide * height / tall)), height or max(1, round(tall * width / wide)))
    method = RESAMPLING[upscale_method]
    return (tuple(Picture(_scaled(one, size, method, crop), one.seed, one.quality) for one in image),)


def _scaled(picture: Picture, size: tuple[int, int], method: Image.Resampling, crop: str) -> Any:
    image = Image.fromarray(picture.pixels)
    scaled = ImageOps.fit(image, size, method) if crop == "center" else image.resize(size, method)
    return np.asarray(scaled)


async def load_image(call: NodeCall, image: str) -> tuple[Any, ...]:
    path = call.studio.folders.picture(image)
    if path is None:
        raise FileNotFoundError(f"[Errno 2] No such file or directory: '{image}'")
    with Image.open(path) as opened:
        pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    picture = Picture(pixels, None, call.studio.qualities.get(_pixel_hash(pixels)))
    return (picture,), np.zeros((64, 64), dtype=np.float32)


def file_hash(folders: Folders, inputs: Mapping[str, Any]) -> str | None:
    path = folders.picture(inputs["image"])
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def no_file(folders: Folders, value: Any) -> str | None:
    return None if folders.picture(str(value)) else f"Invalid image file: {value}"


def _pixel_hash(pixels: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


async def save(call: NodeCall, images: tuple[Picture, ...], filename_prefix: str) -> dict[str, Any]:
    return await _write(call, images, filename_prefix, "output")


async def preview(call: NodeCall, images: tuple[Picture, ...]) -> dict[str, Any]:
    return await _write(call, images, f"ComfyUI_temp_{call.studio.temp_suffix}", "temp")


async def _write(call: NodeCall, images: tuple[Picture, ...], prefix: str, kind: str) -> dict[str, Any]:
    folder = call.studio.folders.output if kind == "output" else call.studio.folders.temp
    height, width = images[0].shape[:2]
    subfolder, names = next_names(prefix, folder, width, height, len(images))
    results = []
    for picture, name in zip(images, names, strict=True):
        written = await asyncio.to_thread(_write_png, call, picture, folder / subfolder / name)
        result = {"filename": name, "subfolder": subfolder, "type": kind}
        pixels = _pixel_hash(picture.pixels)
        if picture.quality is not None:
            call.studio.qualities[pixels] = picture.quality
        call.studio.ledger.append(
            "saved", prompt_id=call.prompt_id, node=call.node_id, **result, seed=picture.seed,
            quality=picture.quality, sha256=written, pixels=pixels,
        )  # fmt: skip
        results.append(result)
    return {"images": results}


def _write_png(call: NodeCall, picture: Picture, path: Path) -> str:
    chunks = PngInfo()
    chunks.add_text("prompt", json.dumps(call.graph))
    for name, value in (call.extra_pnginfo or {}).items():
        chunks.add_text(name, json.dumps(value))
    Image.fromarray(picture.pixels).save(path, pnginfo=chunks, compress_level=COMPRESS_LEVEL)
    return hashlib.sha256(path.read_bytes()).hexdigest()
