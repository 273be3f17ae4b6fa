"""ComfyUI's folders: input, output, temp and models; names of saved files; lists of models."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

EMPTY_SAFETENSORS = (2).to_bytes(8, "little") + b"{}"
MODEL_SUFFIXES = {".safetensors", ".ckpt", ".pt", ".pt2", ".bin", ".pth", ".pkl", ".sft"}
MODEL_FOLDERS = (
    "checkpoints", "configs", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision",
    "style_models", "embeddings", "diffusers", "vae_approx", "controlnet", "gligen", "upscale_models",
    "latent_upscale_models", "custom_nodes", "hypernetworks", "photomaker", "classifiers", "model_patches",
    "audio_encoders",
)  # fmt: skip
# What a freshly set up server has; loras start empty.
MODELS_AT_HAND = (
    "checkpoints/sd_xl_base_1.0.safetensors",
    "checkpoints/v1-5-pruned-emaonly-fp16.safetensors",
    "diffusion_models/flux1-dev.safetensors",
    "diffusion_models/flux1-schnell.safetensors",
    "diffusion_models/qwen_image_fp8_e4m3fn.safetensors",
    "diffusion_models/qwen_image_edit_2509_fp8_e4m3fn.safetensors",
    "text_encoders/clip_l.safetensors",
    "text_encoders/t5xxl_fp16.safetensors",
    "text_encoders/t5xxl_fp8_e4m3fn.safetensors",
    "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
    "vae/ae.safetensors",
    "vae/qwen_image_vae.safetensors",
)
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Folders:
    """The folders of one server below `root`; `make` creates them and empties `temp`, as a start does."""

    root: Path

    @property
    def input(self) -> Path:
        """Uploads."""
        return self.root / "input"

    @property
    def output(self) -> Path:
        """What SaveImage writes."""
        return self.root / "output"

    @property
    def temp(self) -> Path:
        """What PreviewImage writes; emptied at each start."""
        return self.root / "temp"

    @property
    def models(self) -> Path:
        """Weights, in one folder for each kind."""
        return self.root / "models"

    def make(self) -> None:
        """Create all folders and placeholder models; empty `temp`."""
        shutil.rmtree(self.temp, ignore_errors=True)
        for folder in (self.input, self.output, self.temp, *(self.models / name for name in MODEL_FOLDERS)):
            folder.mkdir(parents=True, exist_ok=True)
        for name in MODELS_AT_HAND:
            path = self.models / name
            if not path.exists():
                path.write_bytes(EMPTY_SAFETENSORS)

    def of_type(self, kind: str) -> Path | None:
        """The folder that the API calls `input`, `output` or `temp`; None for another word."""
        return {"input": self.input, "output": self.output, "temp": self.temp}.get(kind)

    def model_names(self, folder: str) -> list[str]:
        """Names of the models of one kind, with subfolders, sorted."""
        root = self.models / folder
        found = (path for path in root.rglob("*") if path.suffix in MODEL_SUFFIXES and path.is_file())
        return sorted(str(path.relative_to(root)) for path in found)

    def input_names(self) -> list[str]:
        """Pictures in the input folder itself, sorted; those in subfolders are not listed."""
        return sorted(
            path.name
            for path in self.input.iterdir()
            if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
        )

    def annotated(self, name: str) -> tuple[str, Path | None]:
        """Split `a.png [temp]` into name and folder; None without such an ending."""
        for kind in ("output", "input", "temp"):
            if name.endswith(f"[{kind}]"):
                return name[: -len(kind) - 3], self.of_type(kind)
        return name, None

    def picture(self, name: str) -> Path | None:
        """The file that LoadImage means by a name; None where there is none below these folders."""
        plain, folder = self.annotated(name)
        path = (folder or self.input) / plain
        return path if is_within(self.root, path) and path.is_file() else None


def is_within(folder: Path, path: Path) -> bool:
    """Whether the path, with its `..` taken away, lies in the folder."""
    plain = Path(os.path.normpath(path))
    return plain == folder or folder in plain.parents


def next_names(prefix: str, folder: Path, width: int, height: int, count: int) -> tuple[str, list[str]]:
    """Subfolder and names for `count` pictures: `prefix_00001_.png`, one above the highest that is there.

    Raises:
        Exception: the prefix leads out of the folder; a plain one, because the history tells its name.
    """
    filled = _filled(prefix, width, height)
    subfolder, stem = os.path.split(os.path.normpath(filled))
    target = folder / subfolder
    if not is_within(folder, target):
        raise Exception(
            "**** ERROR: Saving image outside the output folder is not allowed."
            f"\n full_output_folder: {os.path.normpath(target)}\n         output_dir: {folder}"
            f"\n         commonpath: {os.path.commonpath([target.resolve(), folder])}"
        )
    target.mkdir(parents=True, exist_ok=True)
    counter = max((_counter(path.name, stem) for path in target.iterdir()), default=0) + 1
    return subfolder, [
        f"{stem.replace('%batch_num%', str(number))}_{counter + number:05}_.png" for number in range(count)
    ]


def _filled(prefix: str, width: int, height: int) -> str:
    now = time.localtime()
    values = {
        "width": str(width),
        "height": str(height),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    for name, value in values.items():
        prefix = prefix.replace(f"%{name}%", value)
    return prefix


def _counter(name: str, stem: str) -> int:
    if not name.startswith(f"{stem}_"):
        return 0
    digits = name[len(stem) + 1 :].partition("_")[0]
    return int(digits) if digits.isdigit() else 0
