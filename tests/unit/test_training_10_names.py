"""Item 10: what is said of the names in a LoRA, and how they are written anew, as a real ComfyUI reads them.

`benchmarks/training.py --only comfyui` holds the same table against a server; seen with 0.8.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.support.comfyui_loras import FLUX2_FORMATS, FORMATS, MAGNITUDE, PARTLY, RANK, KeyFormat, write

from persona_tui.sandbox.comfyui import lora_keys
from persona_tui.services.loras.conversion import conversion_of, convert
from persona_tui.services.loras.families import Family
from persona_tui.services.loras.header import Header, read_header
from persona_tui.services.loras.key_formats import key_warnings

FAMILIES: dict[str, Family] = {"sd15": "sd15", "flux": "flux", "qwen": "qwen-image", "flux2": "flux2"}
ALL = (*FORMATS, *PARTLY, *FLUX2_FORMATS)
CAN_NOT = {"biases"}
"""What no name helps."""


@pytest.mark.parametrize("made", ALL, ids=str)
def test_training_10_what_a_server_ignores_is_warned_of_and_nothing_else(made: KeyFormat) -> None:
    warned = key_warnings(made.shapes, FAMILIES[made.family], {})
    assert bool(warned) is not made.loads, warned


@pytest.mark.parametrize("made", [one for one in ALL if not one.loads], ids=str)
def test_training_10_what_a_server_ignores_is_converted_whole(made: KeyFormat, tmp_path: Path) -> None:
    family = FAMILIES[made.family]
    found = conversion_of(tmp_path / "any.safetensors", Header(made.shapes), family)
    if made.title in CAN_NOT:
        assert found is None
        return
    assert found is not None and list(found.names) == list(made.shapes)
    names = list(found.names.values())
    known = lora_keys.MODEL[{"sd15": "sd", "qwen": "qwen"}.get(made.family, "flux")]  # type: ignore[index]
    assert lora_keys.placed(names, known) == (names, [])
    assert key_warnings(dict.fromkeys(names, (1, 1)), family, {}) == ()


def test_training_10_magnitudes_of_peft_become_the_column_that_comfyui_reads(tmp_path: Path) -> None:
    made, path = PARTLY[0], tmp_path / "dora.safetensors"
    write(made, path)
    found = conversion_of(path, read_header(path), "flux")
    assert found is not None
    after = load_file(convert(path, tmp_path, found).path)
    layer = made.layers[0]
    column = after[f"diffusion_model.{layer.server}.dora_scale"]
    np.testing.assert_array_equal(column, np.full((layer.size[0], 1), MAGNITUDE, np.float32))
    assert after[f"diffusion_model.{layer.server}.lora_A.weight"].shape == (RANK, layer.size[1])


def test_training_10_single_blocks_of_xlabs_that_change_an_output_are_no_layers(tmp_path: Path) -> None:
    block, width = "single_blocks.0.processor.proj_lora", 3072
    shapes = {f"{block}.down.weight": (RANK, width), f"{block}.up.weight": (width, RANK)}
    assert conversion_of(tmp_path / "any.safetensors", Header(shapes), "flux") is None
    assert key_warnings(shapes, "flux", {})


def test_training_10_stable_diffusion_3_is_read_under_pefts_prefix_and_not_without_any(
    tmp_path: Path,
) -> None:
    """By ComfyUI's own table (comfy/lora.py, model_lora_keys_unet); no such model is at hand to draw with."""
    layer, ends = "transformer_blocks.0.attn.to_q", ("lora_A.weight", "lora_B.weight")
    saved = {f"base_model.model.{layer}.{end}": (1, 1) for end in ends}
    bare = {f"{layer}.{end}": (1, 1) for end in ends}
    assert key_warnings(saved, "sd3", {}) == ()
    found = conversion_of(tmp_path / "any.safetensors", Header(bare), "sd3")
    assert found is not None and set(found.names.values()) == {f"transformer.{key}" for key in bare}
