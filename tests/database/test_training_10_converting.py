"""Item 10: a version that came in before its base model was known is converted into the next one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.services.loras.importing import LoraInput, import_loras
from persona_tui.services.loras.registry import LoraView, get_lora, remove_lora, with_hash
from persona_tui.services.loras.rewriting import convert_version, remedy_for
from persona_tui.services.loras.shelf import Shelf
from persona_tui.settings import Settings
from tests.support.loras import KOHYA, PEFT, write_lora
from tests.support.world import make_persona

# PEFT's names of a layer that FLUX, Qwen-Image and SD3 share: nothing says whose they are.
SHARED = {"base_model.model.transformer_blocks.0.attn.to_q": PEFT}


@pytest.fixture
def shelf(settings: Settings) -> Shelf:
    return Shelf(settings)


def imported(db: Database, shelf: Shelf, path: Path, persona_id: int | None = None) -> LoraView:
    (done,) = import_loras(db.session_scope, shelf, [path], LoraInput(persona_id=persona_id, weight=0.6))
    assert done.lora is not None, done.sentence
    return done.lora


def test_training_10_a_version_is_converted_once_its_base_model_is_said(
    db: Database, shelf: Shelf, tmp_path: Path
) -> None:
    with db.session_scope() as session:
        mira = make_persona(session)
    # Alpha over rank is 8 over 2, which PEFT notes beside the file, and only there.
    path = write_lora(tmp_path, "adapter_model.safetensors", layers=SHARED)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 8, "r": 2}))
    old = imported(db, shelf, path, mira.id)
    assert old.family == "unknown" and old.key_warnings and remedy_for(shelf, old) == "say family"
    with pytest.raises(NotAllowedNow, match="base model is not known"):
        convert_version(db.session_scope, shelf, old.id)
    new = convert_version(db.session_scope, shelf, old.id, "qwen-image")
    assert (new.name, new.version, new.family) == (old.name, old.version + 1, "qwen-image")
    assert (new.persona_id, new.model_type, new.key_format) == (mira.id, "character", "diffusers")
    assert not new.key_warnings and not new.warnings and remedy_for(shelf, new) == "none"
    assert [(user.persona, user.weight, user.primary) for user in new.users] == [("Mira", 0.6, True)]
    with safe_open(shelf.path(new.file_name), "np") as file:
        layer = "transformer.transformer_blocks.0.attn.to_q"
        assert set(file.keys()) == {f"{layer}.lora_A.weight", f"{layer}.lora_B.weight", f"{layer}.alpha"}
        assert file.get_tensor(f"{layer}.alpha") == 8
    with db.session_scope() as session:
        before = get_lora(session, old.id)
        assert (before.sha256, before.users, before.converted_to) == (old.sha256, (), new.label)
        assert shelf.holds(before.file_name)
        found = with_hash(session, old.sha256)
        assert found is not None and found.id == new.id
    assert remedy_for(shelf, before) == "none"
    with pytest.raises(NotAllowedNow, match=f"into {new.label}"):
        convert_version(db.session_scope, shelf, old.id, "qwen-image")
    with db.session_scope() as session:
        remove_lora(session, old.id)
    assert imported(db, shelf, path).id == new.id


def test_training_10_what_needs_no_conversion_or_has_none_is_said(
    db: Database, shelf: Shelf, tmp_path: Path
) -> None:
    fine = imported(
        db,
        shelf,
        write_lora(tmp_path, "fine.safetensors", layers={"lora_unet_double_blocks_0_img_mlp_0": KOHYA}),
    )
    assert remedy_for(shelf, fine) == "none"
    with pytest.raises(NotAllowedNow, match="loads fine@1 as it is"):
        convert_version(db.session_scope, shelf, fine.id)
    layers = {
        "diffusion_model.double_blocks.0.img_attn.qkv": ("lora_A.weight", "lora_B.weight"),
        "diffusion_model.double_blocks.0.img_attn.proj": ("oft_diag", "alpha"),
    }
    turned = imported(db, shelf, write_lora(tmp_path, "turned.safetensors", layers=layers))
    assert turned.key_warnings and remedy_for(shelf, turned) == "none"
    with pytest.raises(NotAllowedNow, match="no names that ComfyUI reads"):
        convert_version(db.session_scope, shelf, turned.id)
    with pytest.raises(InvalidRequest, match="is for flux, not sdxl"):
        convert_version(db.session_scope, shelf, turned.id, "sdxl")
    shelf.drop(turned.file_name)
    with pytest.raises(NotAllowedNow, match="is missing"):
        convert_version(db.session_scope, shelf, turned.id)
    assert not [path for path in shelf.folder.iterdir() if path.name.startswith(".")]
