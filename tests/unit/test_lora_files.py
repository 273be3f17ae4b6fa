"""What a LoRA file is, told by its head and by the file beside it; and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file
from tests.support.loras import (
    FLUX_BARE,
    FLUX_DIFFUSERS,
    FLUX_KOHYA,
    KOHYA,
    PEFT,
    QWEN,
    SD15_KOHYA,
    safetensors,
    weights,
    write_lora,
    write_sidecar,
)

from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.services.loras.families import family_named
from persona_tui.services.loras.header import read_header
from persona_tui.services.loras.importing import LoraInput, find_lora_files, inspect_lora
from persona_tui.services.loras.shelf import file_name, place

UNET_PEFT = {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k": PEFT}
FLUX2 = {"transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj": PEFT}
TWO_ENCODERS = {**SD15_KOHYA, "lora_te2_text_model_encoder_layers_0_self_attn_q_proj": KOHYA}


def facts(folder: Path, name: str = "mira.safetensors", given: Any = None, **options: Any) -> Any:
    return inspect_lora(write_lora(folder, name, **options), LoraInput.model_validate(given or {}))


@pytest.mark.parametrize(
    ("layers", "width", "family", "form"),
    [
        (FLUX_DIFFUSERS, 3072, "flux", "diffusers"),
        (FLUX_KOHYA, 3072, "flux", "kohya"),
        (FLUX_BARE, 3072, "flux", "bare"),
        ({"diffusion_model.double_blocks.0.img_attn.qkv": PEFT}, 3072, "flux", "bfl"),
        ({"base_model.model.single_transformer_blocks.0.attn.to_q": PEFT}, 3072, "flux", "peft"),
        ({"lora_transformer_single_transformer_blocks_0_attn_to_q": KOHYA}, 3072, "flux", "onetrainer"),
        ({"double_blocks.0.processor.qkv_lora1": ("down.weight", "up.weight")}, 3072, "flux", "xlabs"),
        (FLUX2, 6144, "flux2", "diffusers"),
        ({"diffusion_model.double_blocks.0.img_attn.qkv": PEFT}, 6144, "flux2", "bfl"),
        ({"lora_unet_single_blocks_47_linear2": KOHYA}, 6144, "flux2", "kohya"),
        (QWEN, 3072, "qwen-image", "bare"),
        ({"lora_unet_transformer_blocks_0_img_mlp_net_2": KOHYA}, 3072, "qwen-image", "kohya"),
        (SD15_KOHYA, 768, "sd15", "kohya"),
        (SD15_KOHYA, 2048, "sdxl", "kohya"),
        (TWO_ENCODERS, 999, "sdxl", "kohya"),
        ({"transformer.transformer_blocks.0.attn.to_q": PEFT}, 1536, "sd3", "diffusers"),
        ({"diffusion_model.blocks.0.self_attn.q": PEFT}, 5120, "wan", "bfl"),
        ({"transformer_blocks.0.attn.to_q": PEFT}, 64, "unknown", "bare"),
        ({"something.else": PEFT}, 64, "unknown", "unknown"),
    ],
)
def test_family_and_naming_are_told_by_the_weights(
    tmp_path: Path, layers: dict[str, Any], width: int, family: str, form: str
) -> None:
    found = facts(tmp_path, layers=layers, width=width)
    assert (found.family, found.key_format) == (family, form)


def test_flux_2_is_told_by_its_wider_fused_layer(tmp_path: Path) -> None:
    layers = {"lora_unet_single_blocks_0_linear1": KOHYA}
    assert facts(tmp_path, layers=layers, width=3072, out=9 * 3072).family == "flux2"
    assert facts(tmp_path, layers=layers, width=3072, out=7 * 3072).family == "flux"


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"modelspec.architecture": "Qwen-Image-Edit-2511/lora"}, "qwen-image"),
        ({"ss_base_model_version": "flux1"}, "flux"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({}, "unknown"),
    ],
)
def test_where_the_weights_do_not_tell_the_makers_notes_do(
    tmp_path: Path, metadata: dict[str, str], family: str
) -> None:
    found = facts(tmp_path, layers={"transformer_blocks.0.attn.to_q": PEFT}, width=64, metadata=metadata)
    assert found.family == family
    assert any("Its base model is not known" in words for words in found.warnings) == (family == "unknown")


@pytest.mark.parametrize(
    ("layers", "width", "words"),
    [
        ({"single_blocks.0.processor.proj_lora": ("down.weight", "up.weight")}, 3072, "XLabs"),
        ({"base_model.model.blocks.0.self_attn.q": PEFT}, 5120, "base_model.model"),
        ({"something.else": PEFT}, 64, "of no kind that is known"),
    ],
)
def test_names_that_comfyui_ignores_are_warned_of(
    tmp_path: Path, layers: dict[str, Any], width: int, words: str
) -> None:
    found = facts(tmp_path, layers=layers, width=width)
    assert any(words in warning for warning in found.warnings) and found.conversion is None


@pytest.mark.parametrize(
    ("layers", "width"),
    [(FLUX_DIFFUSERS, 3072), (FLUX_KOHYA, 3072), (QWEN, 3072), (SD15_KOHYA, 768)],
)
def test_names_that_comfyui_reads_bring_no_warning(
    tmp_path: Path, layers: dict[str, Any], width: int
) -> None:
    assert facts(tmp_path, layers=layers, width=width).warnings == ()


def test_an_alpha_that_comfyui_does_not_see_is_written_into_the_file(tmp_path: Path) -> None:
    notes = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 8, "transformer.r": 2})}
    found = facts(tmp_path, metadata=notes)
    assert found.warnings == () and set(found.conversion.alphas.values()) == {8}
    same = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 2, "transformer.r": 2})}
    assert facts(tmp_path, metadata=same).warnings == ()


def test_a_file_of_the_formats_own_library_is_read(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "real.safetensors"
    tensors = {
        "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": np.zeros((4, 8), np.float16),
        "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": np.zeros((8, 4), np.float16),
    }
    save_file(tensors, path, metadata={"format": "pt"})
    header = read_header(path)
    assert header.metadata == {"format": "pt"}
    assert set(header.shapes.values()) == {(4, 8), (8, 4)}
    assert inspect_lora(path, LoraInput()).rank == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "its head does not fit"),
        (b"PK\x03\x04" + b"x" * 40, "its head does not fit"),
        (struct.pack("<Q", 200_000_000) + b"{}", "its head does not fit"),
        (struct.pack("<Q", 4) + b"nono", "its head can't be read"),
        (struct.pack("<Q", 4) + b"[12]", "its head is no list"),
        (struct.pack("<Q", 12) + b'{"a": "b"}  ', "a tensor's entry is broken"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "its head can't be read"),
        (weights(FLUX_DIFFUSERS)[:-5], "bytes of weights"),
        (safetensors({}), "it is empty"),
        (safetensors({"model.diffusion_model.input_blocks.0.0.weight": [2, 2]}), "it is a whole checkpoint"),
        (safetensors({"conv.weight": [2, 2]}), "none of its weights"),
    ],
)
def test_a_broken_or_other_file_is_refused_with_a_sentence(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "mira.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=words) as refused:
        inspect_lora(path, LoraInput())
    assert refused.value.message.endswith(".") and refused.value.hint


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin"])
def test_a_pickle_is_refused_before_it_is_opened(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InvalidRequest, match="which can run any program"):
        inspect_lora(tmp_path / f"mira{suffix}", LoraInput())


def test_the_file_beside_it_says_the_rest(tmp_path: Path) -> None:
    path = write_lora(tmp_path, "char_lora_v1.safetensors")
    write_sidecar(
        path, name="Mira", version="v3", trigger_word="ohwx_mira", base_model="FLUX.1-dev",
        type="character", weight=0.85,
    )  # fmt: skip
    found = inspect_lora(path, LoraInput())
    assert (found.name, found.version, found.trigger_word) == ("Mira", 3, "ohwx_mira")
    assert (found.base_model, found.model_type, found.weight) == ("FLUX.1-dev", "character", 0.85)

    said = inspect_lora(path, LoraInput(name="Other", trigger_word="", weight=0.5, model_type="style"))
    assert (said.name, said.trigger_word, said.weight, said.model_type) == ("Other", "", 0.5, "style")


def test_a_model_sites_file_beside_it_is_read_too(tmp_path: Path) -> None:
    path = write_lora(tmp_path)
    told = {"baseModel": "SDXL 1.0", "trainedWords": ["tok mira", "x"], "strength": 1.4}
    path.with_name("mira.civitai.info").write_text(json.dumps(told))
    found = inspect_lora(path, LoraInput())
    assert (found.trigger_word, found.base_model, found.weight) == ("tok mira", "SDXL 1.0", None)
    assert "asks for the weight 1.4" in found.warnings[0]


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000])
def test_a_broken_file_beside_it_is_noted_and_left_out(tmp_path: Path, content: str) -> None:
    path = write_lora(tmp_path)
    path.with_suffix(".json").write_text(content)
    found = inspect_lora(path, LoraInput())
    assert found.name == "mira"
    assert found.warnings == ("mira.json can't be read as JSON and was left out.",)


def test_name_and_version_are_read_out_of_the_files_name(tmp_path: Path) -> None:
    found = facts(tmp_path, "char_lora_v12.safetensors")
    assert (found.name, found.version) == ("char_lora", 12)
    assert facts(tmp_path, "plain.safetensors").version is None
    assert facts(tmp_path, "x_v2.safetensors", {"name": "mira"}).version is None
    assert facts(tmp_path, "x_v2.safetensors", {"name": "X"}).version == 2


def test_an_editors_lora_is_told_by_its_base_model(tmp_path: Path) -> None:
    notes = {"modelspec.architecture": "Qwen-Image-Edit-Plus/lora"}
    assert facts(tmp_path, layers=QWEN, metadata=notes).model_type == "editor"
    assert facts(tmp_path, given={"persona_id": 1}).model_type == "character"
    assert facts(tmp_path).model_type == "style"


@pytest.mark.parametrize(
    ("words", "family"),
    [
        ("FLUX.1-dev", "flux"), ("flux1-dev.safetensors", "flux"), ("flux-2-klein-9b", "flux2"),
        ("FLUX.2 [dev]", "flux2"), ("Qwen-Image", "qwen-image"), ("sd_xl_base_1.0", "sdxl"),
        ("v1-5-pruned-emaonly", "sd15"), ("sd3.5_large", "sd3"), ("juggernautXL", "sdxl"),
        ("z_image_turbo", "z-image"), ("wan2.2", "wan"), ("my own", None),
    ],
)  # fmt: skip
def test_families_have_many_names(words: str, family: str | None) -> None:
    assert family_named(words) == family


def test_files_are_found_below_a_folder_and_hidden_ones_are_not(tmp_path: Path) -> None:
    write_lora(tmp_path / "a", "one.safetensors")
    write_lora(tmp_path / ".cache", "two.safetensors")
    (tmp_path / "notes.txt").write_text("x")
    assert find_lora_files(tmp_path) == (tmp_path / "a" / "one.safetensors",)
    with pytest.raises(InvalidRequest, match="is no \\.safetensors file"):
        find_lora_files(tmp_path / "notes.txt")
    with pytest.raises(UnknownName, match="There is no file or folder"):
        find_lora_files(tmp_path / "nothing")
    with pytest.raises(InvalidRequest, match="can't be read"):
        find_lora_files(tmp_path / ("x" * 5000))


def test_a_placed_file_is_whole_and_not_copied_twice(tmp_path: Path) -> None:
    source = write_lora(tmp_path / "ours", file_name("Mira Vale!", 2, "ab" * 32))
    assert source.name == "mira-vale-v2-abababab.safetensors"
    folder = tmp_path / "theirs"
    folder.mkdir()
    assert place(source, folder) is True
    assert (folder / source.name).read_bytes() == source.read_bytes()
    (folder / source.name).write_bytes(b"cut off")
    assert place(source, folder) is True
    assert place(source, folder) is False
    assert [path.name for path in folder.iterdir()] == [source.name]
