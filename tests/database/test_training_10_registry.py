"""Item 10: files of any trainer come in, converted where ComfyUI would not load them, for whom they name."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.sandbox.comfyui import lora_keys
from persona_tui.services.loras.header import read_header
from persona_tui.services.loras.importing import LoraInput, find_lora_files, import_loras, inspect_lora
from persona_tui.services.loras.shelf import Shelf
from persona_tui.services.loras.watching import (
    LoraWatcher,
    dismiss_offer,
    offers,
    take_offer,
    unwatch,
    watch,
)
from persona_tui.settings import Settings
from tests.support.loras import FLUX_DIFFUSERS, KOHYA, PEFT, write_lora, write_sidecar
from tests.support.world import make_persona

RANK = 2


def trained(path: Path, layers: Mapping[str, tuple[str, str]], width: int, **notes: str) -> dict[str, Any]:
    """A LoRA with real numbers under these names; gives its tensors."""
    random = np.random.default_rng(1)
    tensors = {}
    for base, (down, up) in layers.items():
        tensors[f"{base}.{down}"] = random.standard_normal((RANK, width)).astype(np.float16)
        tensors[f"{base}.{up}"] = random.standard_normal((width, RANK)).astype(np.float16)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=notes or None)
    return tensors


DOUBLE, SINGLE = "transformer_blocks.0", "single_transformer_blocks.37"
XLABS = ("down.weight", "up.weight")
UNET = "down_blocks.0.attentions.0.transformer_blocks.0"


@pytest.mark.parametrize(
    ("layers", "width", "family", "wanted"),
    [
        (
            {f"base_model.model.{DOUBLE}.attn.to_q": PEFT, f"base_model.model.{SINGLE}.proj_out": PEFT},
            3072,
            "flux",
            {f"transformer.{DOUBLE}.attn.to_q", f"transformer.{SINGLE}.proj_out"},
        ),
        (
            {f"{DOUBLE}.attn.to_q": PEFT, f"{SINGLE}.attn.to_k": PEFT},
            3072,
            "flux",
            {f"transformer.{DOUBLE}.attn.to_q", f"transformer.{SINGLE}.attn.to_k"},
        ),
        (
            {"double_blocks.0.img_attn.qkv": PEFT},
            3072,
            "flux",
            {"diffusion_model.double_blocks.0.img_attn.qkv"},
        ),
        (
            {"double_blocks.3.processor.qkv_lora1": XLABS, "double_blocks.3.processor.proj_lora2": XLABS},
            3072,
            "flux",
            {"diffusion_model.double_blocks.3.img_attn.qkv", "diffusion_model.double_blocks.3.txt_attn.proj"},
        ),
        (
            {"base_model.model.transformer_blocks.59.attn.to_q": PEFT},
            3072,
            "qwen-image",
            {"transformer.transformer_blocks.59.attn.to_q"},
        ),
        (
            {
                "transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj": PEFT,
                "transformer.transformer_blocks.0.ff.linear_in": PEFT,
                "transformer.transformer_blocks.0.attn.to_q": PEFT,
            },
            6144,
            "flux2",
            {
                "diffusion_model.single_blocks.0.linear1",
                "diffusion_model.double_blocks.0.img_mlp.0",
                "transformer.transformer_blocks.0.attn.to_q",
            },
        ),
        (
            {
                f"unet.{UNET}.attn2.to_k": PEFT,
                f"unet.{UNET}.attn2.to_out.0": PEFT,
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj": PEFT,
            },
            768,
            "sd15",
            {
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k",
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_out_0",
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
            },
        ),
    ],
)
def test_training_10_what_comfyui_would_ignore_is_written_anew(
    db: Database, settings: Settings, tmp_path: Path, layers: Any, width: int, family: str, wanted: set[str]
) -> None:
    path = tmp_path / "found.safetensors"
    before = trained(path, layers, width, ss_tag="kept")
    original = path.read_bytes()
    shelf = Shelf(settings)
    (done,) = import_loras(db.session_scope, shelf, [path], LoraInput())
    assert done.lora is not None and done.lora.family == family, done
    assert "names that ComfyUI reads" in done.sentence and done.lora.warnings == ()
    kept = shelf.path(done.lora.file_name)
    after, header = load_file(kept), read_header(kept)
    assert {lora_keys.base_of(key) for key in after} == wanted
    asked: Any = {"flux2": "flux", "qwen-image": "qwen", "sd15": "sd"}.get(family, family)
    lost = lora_keys.placed(after, lora_keys.MODEL[asked])[1]
    assert lora_keys.placed(lost, lora_keys.CLIP[asked])[1] == []
    # The same numbers, whatever they are called; and the original as it was.
    as_bytes = sorted(tensor.tobytes() for tensor in after.values())
    assert as_bytes == sorted(tensor.tobytes() for tensor in before.values())
    assert header.metadata["ss_tag"] == "kept" and path.read_bytes() == original
    (again,) = import_loras(db.session_scope, shelf, [path], LoraInput())
    assert again.outcome == "already there" and again.lora == done.lora


@pytest.mark.parametrize("where", ["in the file", "beside it", "by its root"])
def test_training_10_a_scale_that_comfyui_does_not_see_is_written_into_the_file(
    db: Database, settings: Settings, tmp_path: Path, where: str
) -> None:
    notes = {"r": RANK, "lora_alpha": 8, "use_rslora": where == "by its root"}
    path = tmp_path / "mira v3/adapter_model.safetensors"
    told = {"lora_adapter_metadata": json.dumps(notes)} if where == "in the file" else {}
    trained(path, {f"base_model.model.{SINGLE}.attn.to_q": PEFT}, 3072, **told)
    if not told:
        (path.parent / "adapter_config.json").write_text(
            json.dumps({**notes, "base_model_name_or_path": "black-forest-labs/FLUX.1-dev"})
        )
    (done,) = import_loras(db.session_scope, Shelf(settings), [path], LoraInput())
    assert done.lora is not None and done.lora.label == "mira@3"
    kept = Shelf(settings).path(done.lora.file_name)
    alpha = load_file(kept)[f"transformer.{SINGLE}.attn.to_q.alpha"]
    # ComfyUI applies alpha / rank.
    assert float(alpha) / RANK == pytest.approx(8 / (math.sqrt(RANK) if where == "by its root" else RANK))
    assert "lora_adapter_metadata" not in read_header(kept).metadata


def test_training_10_what_can_not_be_converted_comes_in_with_its_warning(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "xlabs.safetensors"
    layers = {"double_blocks.0.processor.qkv_lora1": XLABS, "single_blocks.0.processor.proj_lora": XLABS}
    trained(path, layers, 3072)
    (done,) = import_loras(db.session_scope, Shelf(settings), [path], LoraInput())
    assert done.lora is not None and "ComfyUI ignores XLabs" in done.lora.warnings[0]
    for suffix in ("ckpt", "pt", "bin"):
        pickled = tmp_path / f"mira.{suffix}"
        pickled.write_bytes(b"\x80\x04.")
        with pytest.raises(InvalidRequest, match="is a pickle"):
            find_lora_files(pickled)
    merged = tmp_path / "bad.safetensors"
    merged.write_bytes(struct.pack("<Q", 1 << 40))
    (bad,) = import_loras(db.session_scope, Shelf(settings), [merged], LoraInput())
    assert bad.outcome == "failed" and "no safetensors file" in bad.sentence


def test_training_10_a_file_proposes_the_persona_that_it_names(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    with db.session_scope() as session:
        mira = make_persona(session, "Mira Vale", trigger_word="ohwx_mira")
        make_persona(session, "Mira")
    shelf, asked = Shelf(settings), []

    def choose(path: Path, proposal: Any) -> bool:
        asked.append((path.name, proposal.persona))
        return path.name != "mira-2.safetensors"

    files = [
        write_lora(tmp_path, "a.safetensors", fill=1),
        write_lora(tmp_path, "b.safetensors", fill=2),
        write_lora(tmp_path, "mira-2.safetensors", fill=3),
        write_lora(tmp_path, "miranda.safetensors", fill=4),
    ]
    write_sidecar(files[0], persona="mira vale")
    write_sidecar(files[1], trigger_word="OHWX_mira")
    done = list(import_loras(db.session_scope, shelf, files, LoraInput(), choose))
    assert asked == [
        ("a.safetensors", "Mira Vale"), ("b.safetensors", "Mira Vale"), ("mira-2.safetensors", "Mira"),
    ]  # fmt: skip
    assert [one.lora.persona_id if one.lora else 0 for one in done] == [mira.id, mira.id, None, None]
    assert [one.proposal.persona if one.proposal else None for one in done] == [None, None, "Mira", None]
    assert done[0].lora is not None and done[0].lora.model_type == "character"
    assert [user.persona for user in done[0].lora.users] == ["Mira Vale"]


def test_training_9_the_mark_of_a_non_commercial_base_comes_with_the_file(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    files = [
        write_lora(tmp_path, f"{mark}.safetensors", fill=place, metadata={"flen.commercial": mark})
        for place, mark in enumerate(("no", "yes"))
    ]
    files.append(write_lora(tmp_path, "another.safetensors", fill=7))
    done = import_loras(db.session_scope, Shelf(settings), files, LoraInput())
    assert [one.lora.commercial if one.lora else "" for one in done] == [False, True, None]


def test_training_10_a_watched_folder_offers_new_files_once(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    scope, shelf, inbox = db.session_scope, Shelf(settings), tmp_path / "inbox"
    with scope() as session:
        mira = make_persona(session)
    first = write_lora(inbox, "mira.safetensors", fill=1)
    write_lora(inbox, "kohya.safetensors", layers={"lora_unet_single_blocks_0_linear1": KOHYA}, fill=2)
    write_lora(inbox, "known.safetensors", layers=FLUX_DIFFUSERS, fill=3)
    (inbox / "bad.safetensors").write_bytes(b"x" * 64)
    (inbox / "new.safetensors").write_bytes(b"half")
    for path in inbox.iterdir():
        if path.name != "new.safetensors":
            os.utime(path, (1, 1))
    list(import_loras(scope, shelf, [inbox / "known.safetensors"], LoraInput()))
    with scope() as session:
        watch(session, inbox)
        watch(session, inbox)
    watcher = LoraWatcher(scope)
    assert watcher.look() == watcher.look() == ""
    with scope() as session:
        found = {Path(one.path).name: one for one in offers(session)}
    assert {name: (one.state, one.persona) for name, one in found.items()} == {
        "mira.safetensors": ("offered", "Mira"),
        "kohya.safetensors": ("offered", None),
        "bad.safetensors": ("unusable", None),
    }
    one = found["kohya.safetensors"]
    assert (one.name, one.family, one.key_format, one.loads) == ("kohya", "flux", "kohya", "as it is")
    assert found["bad.safetensors"].loads == "" and "no safetensors file" in found["bad.safetensors"].sentence
    assert found["mira.safetensors"].model_type == "character" and found["mira.safetensors"].reason
    taken = take_offer(scope, shelf, found["mira.safetensors"].id)
    assert taken.lora is not None and taken.lora.persona_id == mira.id
    with scope() as session:
        dismiss_offer(session, found["kohya.safetensors"].id)
    (inbox / "bad.safetensors").unlink()
    watcher.look()
    with scope() as session:
        assert offers(session) == ()
        with pytest.raises(UnknownName):
            dismiss_offer(session, found["mira.safetensors"].id)
    # Another content under the same name is offered anew.
    first.write_bytes(write_lora(tmp_path, "other.safetensors", fill=9).read_bytes())
    os.utime(first, (2, 2))
    watcher.look()
    with scope() as session:
        assert [Path(one.path).name for one in offers(session)] == ["mira.safetensors"]
        unwatch(session, inbox)
        assert session.execute(text("SELECT count(*) FROM lora_offers")).scalar_one() == 0
    assert inspect_lora(first, LoraInput()).name == "mira"
