"""LoRAs whose names ComfyUI ignores, written anew under names that it reads; the weights stay as they are.

The table is that of ComfyUI 0.8.0 (`key_formats`). What can't be renamed, such as XLabs' single blocks
where they change what comes out of a layer and not the layer, stays as it is and is warned of.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from persona_tui.errors import InvalidRequest, StorageError
from persona_tui.services.loras.families import Family
from persona_tui.services.loras.header import Header
from persona_tui.services.loras.key_formats import key_format, key_warnings
from persona_tui.services.loras.shelf import CHUNK, Copied, hashed
from persona_tui.services.loras.sidecar import NAMELESS

_CONFIG = "adapter_config.json"
_PEFT = "base_model.model."
_DIFFUSERS = re.compile(
    r"((single_)?transformer_blocks|x_embedder|context_embedder|time_text_embed|norm_out|proj_out)\."
)
_MAKERS = re.compile(
    r"(double_blocks|single_blocks|joint_blocks|img_in|txt_in|time_in|vector_in|guidance_in|final_layer)\."
)
_PREFIXED = ("text_encoder.", "text_encoders.", "lora_", "lycoris_", "diffusion_model.")
_ONETRAINER = "lora_transformer_"
# PEFT's name of DoRA's magnitudes; ComfyUI reads kohya's, which are a column.
_MAGNITUDES = re.compile(r"\.lora_magnitude_vector(\.default)?(\.weight)?$")
_COLUMN = ".dora_scale"
_ENDING = re.compile(r"\.(lora_A|lora_B)(?:\.default)?\.weight$")
_KOHYA = {"lora_A": "lora_down", "lora_B": "lora_up"}
_TEXT = {"text_encoder.": "lora_te1_", "text_encoder_2.": "lora_te2_"}
# Diffusers' names of FLUX.2's layers that ComfyUI 0.8.0 does not know → Black Forest Labs' own. The fused
# layers hold their parts in the same order.
_FLUX2 = (
    (r"single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj", r"diffusion_model.single_blocks.\1.linear1"),
    (r"single_transformer_blocks\.(\d+)\.attn\.to_out", r"diffusion_model.single_blocks.\1.linear2"),
    (r"transformer_blocks\.(\d+)\.ff\.linear_in", r"diffusion_model.double_blocks.\1.img_mlp.0"),
    (r"transformer_blocks\.(\d+)\.ff\.linear_out", r"diffusion_model.double_blocks.\1.img_mlp.2"),
    (r"transformer_blocks\.(\d+)\.ff_context\.linear_in", r"diffusion_model.double_blocks.\1.txt_mlp.0"),
    (r"transformer_blocks\.(\d+)\.ff_context\.linear_out", r"diffusion_model.double_blocks.\1.txt_mlp.2"),
)
_XLABS = (
    (r"(double_blocks\.\d+)\.processor\.qkv_lora1\.", r"diffusion_model.\1.img_attn.qkv."),
    (r"(double_blocks\.\d+)\.processor\.qkv_lora2\.", r"diffusion_model.\1.txt_attn.qkv."),
    (r"(double_blocks\.\d+)\.processor\.proj_lora1\.", r"diffusion_model.\1.img_attn.proj."),
    (r"(double_blocks\.\d+)\.processor\.proj_lora2\.", r"diffusion_model.\1.txt_attn.proj."),
    # ComfyUI's own name of the first three sevenths of `linear1`.
    (r"(single_blocks\.\d+)\.processor\.qkv_lora\.", r"diffusion_model.\1.linear1_qkv."),
    (r"(single_blocks\.\d+)\.processor\.proj_lora\.", r"diffusion_model.\1.linear2."),
)


@dataclass(frozen=True)
class Conversion:
    """How a file is written anew.

    Attributes:
        names: each tensor's name → the new one.
        alphas: layer, by its new name → the alpha that is written beside its weights.
        sentence: what was done, for people.
    """

    names: Mapping[str, str]
    alphas: Mapping[str, float] = field(default_factory=dict)
    sentence: str = ""


def conversion_of(
    path: Path, header: Header, family: Family, scale: float | None = None
) -> Conversion | None:
    """How a file has to be written for ComfyUI to read all of it; None when it does, or can't be helped.

    Args:
        scale: of its training, where that is known from elsewhere; None has it read as `training_scale` does.
    """
    shapes = header.shapes
    scale = training_scale(path, header) if scale is None else scale
    names = {key: key for key in shapes}
    done = []
    if _ignored(header, family):
        renamed = {key: _renamed(key, key_format(shapes), family) for key in shapes}
        if None in renamed.values() or _changes_an_output(shapes):
            return None
        names = {key: new for key, new in renamed.items() if new is not None}
        if _ignored(replace(header, shapes={new: shapes[key] for key, new in names.items()}), family):
            return None
        done.append("its weights were given names that ComfyUI reads")
    alphas = {}
    if scale is not None and not any(key.endswith(".alpha") for key in shapes):
        alphas = {
            _ENDING.sub("", new): scale * shapes[key][0]
            for key, new in names.items()
            if re.search(r"\.lora_A(\.default)?\.weight$", key)
        }
        alphas = {_base(layer): alpha for layer, alpha in alphas.items()}
        done.append(f"the scale {scale:g} of its training was written into it")
    if not done:
        return None
    words = " and ".join(done)
    return Conversion(names, alphas, f"{words[0].upper()}{words[1:]}; the original is as it was.")


def convert(source: Path, folder: Path, conversion: Conversion) -> Copied:
    """Write a file anew into a folder, under a hidden name; its bytes are on the disk when this returns.

    Raises:
        InvalidRequest: the source can't be read.
        StorageError: the folder can't be written.
    """
    try:
        with source.open("rb") as reader:
            length = int.from_bytes(reader.read(8), "little")
            told = json.loads(reader.read(length))
            return _written(reader, 8 + length, told, folder, conversion)
    except (OSError, ValueError):
        raise InvalidRequest(f"{source.name} can't be read.", hint="Get the file again.") from None


def _written(
    reader: BinaryIO, start: int, told: dict[str, Any], folder: Path, conversion: Conversion
) -> Copied:
    notes = told.pop("__metadata__", None) or {}
    # What PEFT noted of its alpha would count a second time beside the alpha itself.
    notes = {key: value for key, value in notes.items() if key != "lora_adapter_metadata"}
    head: dict[str, Any] = {"__metadata__": {**notes, "persona_tui.converted": conversion.sentence}}
    end = 0
    parts: list[tuple[int, int] | bytes] = []
    for key, entry in sorted(told.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        new = conversion.names[key]
        shape = _as_column(entry["shape"]) if new.endswith(_COLUMN) else entry["shape"]
        head[new] = {**entry, "shape": shape, "data_offsets": [end, end + stop - begin]}
        parts.append((begin, stop))
        end += stop - begin
    for layer, alpha in sorted(conversion.alphas.items()):
        head[f"{layer}.alpha"] = {"dtype": "F32", "shape": [], "data_offsets": [end, end + 4]}
        parts.append(struct.pack("<f", alpha))
        end += 4
    packed = json.dumps(head, ensure_ascii=False).encode()
    packed += b" " * (-len(packed) % 8)
    target = folder / f".part-{secrets.token_hex(8)}"

    def pieces() -> Iterator[bytes]:
        yield len(packed).to_bytes(8, "little")
        yield packed
        for part in parts:
            if isinstance(part, bytes):
                yield part
                continue
            reader.seek(start + part[0])
            left = part[1] - part[0]
            while left > 0 and (chunk := reader.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk

    try:
        return hashed(target, pieces())
    except OSError as problem:
        target.unlink(missing_ok=True)
        raise StorageError(f"{folder} did not take {target.name}: {problem.strerror}.") from None


def _ignored(header: Header, family: Family) -> bool:
    """Whether ComfyUI reads not all of its names; its alpha is another matter."""
    without_notes = {key: value for key, value in header.metadata.items() if key != "lora_adapter_metadata"}
    return bool(key_warnings(header.shapes, family, without_notes))


def _renamed(key: str, form: str, family: Family) -> str | None:
    """The name that ComfyUI reads; None where there is none."""
    plain = _MAGNITUDES.sub(_COLUMN, key.removeprefix(_PEFT))
    if family in ("sd15", "sdxl"):
        return _for_unet(plain, family)
    if form == "xlabs":
        return _xlabs_name(key)
    if family == "qwen-image" and key.startswith(_ONETRAINER):
        return f"lora_unet_{key.removeprefix(_ONETRAINER)}"
    if family not in ("flux", "flux2", "qwen-image", "sd3"):
        return None
    if plain.startswith(_PREFIXED):
        return plain
    if form == "bfl-bare" or _MAKERS.match(plain):
        return f"diffusion_model.{plain}"
    plain = plain.removeprefix("transformer.")
    if not _DIFFUSERS.match(plain):
        return None
    native = _flux2_name(plain) if family == "flux2" else None
    return native or f"transformer.{plain}"


def _changes_an_output(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether XLabs' single blocks change what comes out of `linear2`, and not that layer: as many go in."""
    downs = [key for key in shapes if key.endswith(".processor.proj_lora.down.weight")]
    return any(shapes[key][-1:] == shapes.get(key.replace(".down.", ".up."), ())[:1] for key in downs)


def _as_column(shape: list[int]) -> list[int]:
    """Of DoRA's magnitudes: one a row of the layer, whatever axis PEFT has them on."""
    return [math.prod(shape), *[1] * max(1, len(shape) - 1)]


def _flux2_name(plain: str) -> str | None:
    layer = _base(plain)
    for pattern, native in _FLUX2:
        if re.fullmatch(pattern, layer):
            return re.sub(pattern, native, layer) + plain.removeprefix(layer)
    return None


def _for_unet(plain: str, family: Family) -> str | None:
    """Kohya's name; the text encoder of Stable Diffusion 1.5 is read as it is."""
    for prefix, kohya in _TEXT.items():
        if plain.startswith(prefix):
            return plain if family == "sd15" else _as_kohya(plain.removeprefix(prefix), kohya)
    plain = plain.removeprefix("unet.")
    return _as_kohya(plain, "lora_unet_") if re.match(r"(down|up|mid)_block", plain) else None


def _as_kohya(plain: str, prefix: str) -> str | None:
    if plain.endswith((_COLUMN, ".alpha")):
        layer, _, ending = plain.rpartition(".")
        return f"{prefix}{layer.replace('.', '_')}.{ending}"
    match = _ENDING.search(plain)
    if match is None:
        return None
    layer = plain[: match.start()].replace(".", "_")
    return f"{prefix}{layer}.{_KOHYA[match.group(1)]}.weight"


def _base(name: str) -> str:
    """A tensor's layer, without what it is to it."""
    return re.sub(r"\.(lora_[AB](\.default)?|lora_(down|up))(\.weight)?$|\.(alpha|dora_scale)$", "", name)


def _xlabs_name(key: str) -> str | None:
    for pattern, native in _XLABS:
        if re.match(pattern, key):
            renamed = re.sub(pattern, native, key)
            return renamed.replace(".down.weight", ".lora_down.weight").replace(
                ".up.weight", ".lora_up.weight"
            )
    return None


def training_scale(path: Path, header: Header) -> float | None:
    """Alpha over rank as PEFT noted it in the file or beside it, where that is not 1; None otherwise."""
    told = _notes(header.metadata.get("lora_adapter_metadata", ""))
    notes = {str(key).rpartition(".")[2]: value for key, value in told.items()}
    if not notes and (path.stem in NAMELESS or key_format(header.shapes) == "peft"):
        beside = path.with_name(_CONFIG)
        notes = _notes(beside.read_text("utf-8", "replace")) if beside.is_file() else {}
    alpha, rank = notes.get("lora_alpha"), notes.get("r")
    if notes.get("rank_pattern") or notes.get("alpha_pattern"):
        return None
    if not (isinstance(alpha, int | float) and isinstance(rank, int) and rank > 0):
        return None
    scale = alpha / (math.sqrt(rank) if notes.get("use_rslora") else rank)
    return None if scale == 1 else scale


def _notes(words: str) -> dict[str, Any]:
    try:
        told = json.loads(words or "{}")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
