"""A tiny CLIP with random weights, laid out as open_clip lays out a folder."""

from __future__ import annotations

import json
from pathlib import Path

from persona_tui.gpu.torchvision_shim import ensure_torchvision

_TINY = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def tiny_clip(folder: Path, *, seed: int = 1, dimensions: int = 512) -> Path:
    """Write such a folder; vectors of another seed's model are of another space."""
    ensure_torchvision()
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = {**_TINY, "embed_dim": dimensions}
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(tensors, folder / "open_clip_model.safetensors")
    return folder
