"""Which LoRA keys the stand-in has a place for: the tables of v0.8.0, format by format."""

from __future__ import annotations

import pytest
from tests.support.comfyui_loras import FORMATS, KeyFormat

from persona_tui.sandbox.comfyui.lora_keys import CLIP, MODEL, base_of, family_of, placed


@pytest.mark.parametrize("made", FORMATS, ids=str)
def test_a_format_is_placed_whole_or_not_at_all(made: KeyFormat) -> None:
    family = "sd" if made.family == "sd15" else made.family
    keys = list(made.shapes)
    found, lost = placed(keys, MODEL[family] if made.part == "model" else CLIP[family])
    assert (found, lost) == ((keys, []) if made.loads else ([], keys))


@pytest.mark.parametrize("made", [one for one in FORMATS if one.part == "model"], ids=str)
def test_a_lora_of_another_family_has_no_place(made: KeyFormat) -> None:
    for family in ("flux", "qwen") if made.family == "sd15" else ("sd",):
        found, _ = placed(made.shapes, MODEL[family])
        assert found == []


@pytest.mark.parametrize(
    ("name", "keys", "family"),
    [
        ("flux1-dev.safetensors", (), "flux"),
        ("qwen_image_fp8_e4m3fn.safetensors", (), "qwen"),
        ("sd_xl_base_1.0.safetensors", (), "sd"),
        ("qwen.safetensors", ("double_blocks.0.img_attn.norm.key_norm.scale", "img_in.weight"), "flux"),
        ("x.safetensors", ("model.diffusion_model.txt_norm.weight",), "qwen"),
        ("flux.safetensors", ("model.diffusion_model.input_blocks.0.0.weight",), "sd"),
    ],
)
def test_a_family_is_told_by_the_weights_and_else_by_the_name(
    name: str, keys: tuple[str, ...], family: str
) -> None:
    assert family_of(name, keys) == family


def test_an_ending_that_nobody_knows_has_no_base() -> None:
    assert base_of("transformer_blocks.0.attn.to_q.weight") is None
    assert base_of("a.lora_B.default.weight") == "a"
