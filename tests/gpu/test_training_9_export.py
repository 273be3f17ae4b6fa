"""The exported file: read by diffusers as it was trained, and telling nothing that it should not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training import export
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.cache import Cache
from persona_tui.gpu.training.families import FAMILIES
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.lora import read_parent
from persona_tui.gpu.training.naming import baked, named_for_file, named_in_model
from persona_tui.gpu.training.trainee import Trainee
from tests.support.full_disk import no_room_at_first
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import TRIGGER, pictures, small_recipe, small_run, write_dataset
from tests.support.training_stages import carried_out

SECRET = "Jane Doe"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    place = tmp_path_factory.mktemp("export")
    sha256 = write_dataset(place / SECRET, pictures(4), p0={"caption": f"{SECRET} at home, {TRIGGER}"})
    base = tiny_pipeline("flux1", place)
    recipe = small_recipe(base, place / SECRET, sha256, steps=3, ema=0.9, alpha=6, name="ohwx-v1")
    folder = small_run(place / "run", recipe)
    for stage in ("encode", "train", "export"):
        assert carried_out(stage, folder).code == 0
    return folder


def file_of(folder: RunFolder) -> Path:
    return folder.export / str(folder.manifest()["exported"]["file"])


def notes_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def test_training_9_a_fresh_pipeline_draws_what_the_trained_copy_draws(exported: RunFolder) -> None:
    """M8, with diffusers' whole pipeline: the export's own trial leaves the text encoders out."""
    told, run = exported.manifest()["exported"], exported.run()
    assert (told["difference"], told["weights"], told["step"]) == (0, "ema", 3)
    assert told["effect"] > 0
    adapter = adapter_of("flux1")
    cache = Cache(exported.cache)
    trainee = Trainee(run.model_copy(update={"alpha": 4.0}), cache.index(run), cache)
    average = load_file(exported.checkpoints / "step-00000003" / "ema.safetensors")
    with torch.no_grad():
        for name, weight in baked(average, run.alpha / run.rank).items():
            trainee.weights[name].copy_(weight)
    fresh = adapter.pipeline(run.base)
    given = {"size": (16, 16), "steps": 2, "seed": 5}
    plain = adapter.draw(fresh, f"a photo of {TRIGGER}", **given)
    fresh.load_lora_weights(file_of(exported).parent, weight_name=file_of(exported).name)
    read_back = adapter.draw(fresh, f"a photo of {TRIGGER}", **given)
    trained = adapter.draw(adapter.pipeline(run.base, trainee.transformer), f"a photo of {TRIGGER}", **given)
    assert torch.equal(read_back, trained)
    assert not torch.equal(read_back, plain)


@pytest.mark.parametrize("held", [{"quantisation": "int8"}, {"quantisation": "nf4", "swap_blocks": 1}])
def test_training_9_the_file_of_a_base_in_fewer_bits_does_what_was_trained(
    exported: RunFolder, tmp_path: Path, held: dict[str, object]
) -> None:
    """As cards are trained on: bf16; of a base in 8 bits diffusers leaves a LoRA in fp32."""
    changed = {"dtype": "bf16", "steps": 2, "ema": 0.0, **held}
    folder = small_run(tmp_path / "run", exported.run().model_copy(update=changed))
    for stage in ("encode", "train", "export"):
        assert carried_out(stage, folder).code == 0, folder.manifest()
    told = folder.manifest()["exported"]
    assert told["difference"] == 0 < told["effect"]


def test_training_9_the_file_says_what_it_is_and_nothing_of_people_or_places(exported: RunFolder) -> None:
    path, run = file_of(exported), exported.run()
    notes = notes_of(path)
    assert notes["modelspec.sai_model_spec"] == "1.0.1"
    assert notes["modelspec.architecture"] == FAMILIES["flux1"].architecture
    assert "Non-Commercial" in notes["modelspec.license"] and notes["flen.commercial"] == "no"
    assert notes["modelspec.trigger_phrase"] == TRIGGER
    assert (notes["flen.dataset_hash"], notes["flen.config_hash"]) == (run.dataset_hash, run.hash())
    assert (notes["ss_network_dim"], notes["ss_network_alpha"], notes["ss_steps"]) == ("4", "4.0", "3")
    assert path.name == f"ohwx-v1-{notes['modelspec.hash_sha256'][2:14]}.safetensors"
    beside = path.with_suffix(".json").read_text()
    assert json.loads(beside)["trigger_word"] == TRIGGER
    for words in (path.read_bytes().decode("latin-1"), beside):
        assert not any(secret in words for secret in (SECRET, str(exported.path), "at home", "000.png"))


def test_training_9_a_file_that_does_something_else_is_not_kept(
    exported: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(shutil.copytree(exported.path, tmp_path / "run"))
    file_of(folder).unlink()
    written = export._as_safetensors

    def spoilt(weights: Mapping[str, torch.Tensor], notes: Mapping[str, str]) -> bytes:
        return written({name: weight * 1.01 for name, weight in weights.items()}, notes)

    monkeypatch.setattr(export, "_as_safetensors", spoilt)
    assert carried_out("export", folder).code == 1
    assert "pictures differ by" in folder.manifest()["message"]
    assert not file_of(folder).exists()


def test_training_6_a_disk_that_is_full_at_export_is_waited_out(
    exported: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(shutil.copytree(exported.path, tmp_path / "run"))
    file_of(folder).unlink()
    no_room_at_first(monkeypatch, ".trial")
    assert carried_out("export", folder).code == 0
    assert [event["event"] for event in folder.events()].count("space") == 1
    assert file_of(folder).is_file()


def test_training_9_exporting_again_gives_the_same_bytes_and_one_file(exported: RunFolder) -> None:
    before = file_of(exported).read_bytes()
    ended = carried_out("export", exported, boundary="training:export:before_rename", n=1)
    assert ended.signal == 9
    assert carried_out("export", exported).code == 0
    assert file_of(exported).read_bytes() == before
    assert len(list(exported.export.glob("**/*.safetensors"))) == 1


def test_training_9_a_lora_is_trained_on_from_its_file(exported: RunFolder, tmp_path: Path) -> None:
    path, run = file_of(exported), exported.run()
    cache = Cache(exported.cache)
    sha256 = exported.manifest()["exported"]["sha256"]
    child = run.model_copy(update={"parent": path, "parent_hash": sha256, "alpha": 4.0})
    weights = load_file(path)
    for name, weight in Trainee(child, cache.index(run), cache).lora().items():
        assert torch.equal(weight, weights[f"transformer.{name}"])
    # With another alpha it begins as strong as its parent is.
    half = child.model_copy(update={"alpha": 2.0})
    for name, weight in Trainee(half, cache.index(run), cache).lora().items():
        scale = 2 if name.endswith("lora_B.weight") else 1
        assert torch.equal(weight, weights[f"transformer.{name}"] * scale)
    with pytest.raises(InvalidRequest, match="has changed since"):
        read_parent(path, "0" * 64, "transformer.", [])


@pytest.mark.parametrize(
    "notes",
    [
        {"modelspec.merged_from": "a.safetensors, b.safetensors"},
        {"ss_network_dim": "Dynamic"},
        {"ss_training_comment": "dim: resize from 32 to 8; "},
    ],
)
def test_training_9_a_merged_or_resized_lora_is_no_parent(
    exported: RunFolder, tmp_path: Path, notes: dict[str, str]
) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(save(load_file(file_of(exported)), notes))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(InvalidRequest, match=r"other\.safetensors was merged or resized"):
        read_parent(path, digest, "transformer.", [])


def test_training_9_flux2_is_written_in_names_of_its_makers_and_read_back() -> None:
    torch.manual_seed(1)
    layers = [
        *(f"transformer_blocks.0.attn.to_{letter}" for letter in "qkv"),
        "transformer_blocks.0.ff.linear_in",
        "single_transformer_blocks.1.attn.to_qkv_mlp_proj",
    ]
    weights = {
        layer + end: torch.randn(shape)
        for layer in layers
        for end, shape in ((".lora_A.weight", (2, 8)), (".lora_B.weight", (6, 2)))
    }
    named = named_for_file(weights, "diffusion_model.")
    assert named.keys() == {
        f"diffusion_model.{layer}.lora_{end}.weight"
        for layer in ("double_blocks.0.img_attn.qkv", "double_blocks.0.img_mlp.0", "single_blocks.1.linear1")
        for end in "AB"
    }
    fused = (named[f"diffusion_model.double_blocks.0.img_attn.qkv.lora_{end}.weight"] for end in "BA")
    change = torch.matmul(*fused)
    parts = [weights[f"{layer}.lora_B.weight"] @ weights[f"{layer}.lora_A.weight"] for layer in layers[:3]]
    torch.testing.assert_close(change, torch.cat(parts))
    back = named_in_model(named, "diffusion_model.", layers)
    assert back is not None
    assert all(torch.equal(back[name], weight) for name, weight in weights.items())
    assert named_in_model({"double_blocks.0.img_mlp.0": change}, "diffusion_model.", layers) is None
