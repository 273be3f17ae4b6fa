"""Encoding: what is cached under which key, and that nothing of it is taken on trust."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from persona_tui.gpu import faces
from persona_tui.gpu.training.adapters import adapter_of
from persona_tui.gpu.training.cache import Cache, Index
from persona_tui.gpu.training.encode import class_words
from persona_tui.gpu.training.folder import RunFolder
from tests.support.tiny_pipelines import tiny_pipeline
from tests.support.training import SIDE, TRIGGER, pictures, small_recipe, small_run, write_dataset
from tests.support.training_stages import carried_out

WRITES = "training:encode:before_write"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bases")


@pytest.fixture(scope="module")
def encoded(bases: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Four pictures in two sizes, with what class preservation needs."""
    place = tmp_path_factory.mktemp("encoded")
    sha256 = write_dataset(place / "set", pictures(4))
    more = {"buckets": [SIDE, 2 * SIDE], "preservation": 1.0, "class_prompt": "person"}
    folder = small_run(
        place / "run", small_recipe(tiny_pipeline("flux1", bases), place / "set", sha256, **more)
    )
    assert carried_out("encode", folder).code == 0
    return folder


def index_of(folder: RunFolder) -> Index:
    return Cache(folder.cache).index(folder.run())


def failed(folder: RunFolder) -> str:
    """What a stage that failed says."""
    assert folder.status() == "failed"
    return str(folder.manifest()["message"])


def test_training_4_every_picture_is_there_in_each_bucket_with_its_captions(encoded: RunFolder) -> None:
    index = index_of(encoded)
    assert [(one.file, one.bucket) for one in index.samples[:4]] == [
        (file, (side, side)) for file in ("000.png", "001.png") for side in (SIDE, 2 * SIDE)
    ]
    assert [one.role for one in index.samples].count("held_out") == 2
    assert len({one.prompt for one in index.samples}) == 4
    assert len({one.empty for one in index.samples}) == 1
    # A caption per picture, its class caption, and the empty one; latents of each size.
    assert len(index.files) == 4 + 4 + 1 + 8


def test_training_4_latents_are_the_posteriors_mean_of_the_upright_unmirrored_crop(
    encoded: RunFolder, bases: Path
) -> None:
    run, sample = encoded.run(), index_of(encoded).samples[0]
    adapter = adapter_of("flux1")
    encoders = adapter.load_encoders(run.base, dtype=torch.float32, device="cpu")
    shown = Image.open(run.dataset / sample.file).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(shown)).permute(2, 0, 1) / 127.5 - 1
    kept = Cache(encoded.cache).load(sample.latents)["latents"]
    assert torch.equal(kept, adapter.encode_picture(encoders, pixels))
    words = adapter.encode_prompt(encoders, "a photo of person, number 0")
    kept_words = Cache(encoded.cache).load(sample.class_prompt or "")
    assert all(torch.equal(kept_words[name], words[name]) for name in words)


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("mira at a window", "person at a window"),
        ("photo of mira person, smiling", "photo of person, smiling"),
        ("mira, a personal miracle", "person, a personal miracle"),
        ("photo of mira personally", "photo of person personally"),
        ("an admiral", "person"),
        ("", "person"),
    ],
)
def test_training_4_a_class_caption_has_the_class_for_the_trigger_word_alone(
    caption: str, wanted: str
) -> None:
    assert class_words(caption, "mira", "person") == wanted


def test_training_4_only_what_a_change_concerns_is_encoded_again(encoded: RunFolder, tmp_path: Path) -> None:
    same = small_run(tmp_path / "same", encoded.run())
    shutil.copytree(encoded.cache, same.cache, dirs_exist_ok=True)
    assert WRITES not in carried_out("encode", same).boundaries
    sha256 = write_dataset(tmp_path / "set", pictures(4), p1={"caption": f"another photo of {TRIGGER}"})
    told = encoded.run().model_copy(update={"dataset": tmp_path / "set", "dataset_hash": sha256})
    other = small_run(tmp_path / "other", told)
    shutil.copytree(encoded.cache, other.cache, dirs_exist_ok=True)
    # One caption, with its class caption.
    assert carried_out("encode", other).boundaries.count(WRITES) == 2


def test_training_4_what_changed_since_is_refused_with_its_name(encoded: RunFolder, tmp_path: Path) -> None:
    folder = RunFolder(shutil.copytree(encoded.path, tmp_path / "run"))
    damaged = next(folder.cache.glob("latents-*"))
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(bytes(data))
    folder.order(steps=40)
    assert carried_out("train", folder).code == 2
    assert damaged.name in failed(folder)

    shutil.copytree(encoded.run().dataset, tmp_path / "set")
    recipe = encoded.run().model_copy(update={"dataset": tmp_path / "set"})
    pictures(1)[0].rotate(90).save(tmp_path / "set" / "001.png")
    changed = small_run(tmp_path / "changed", recipe)
    assert carried_out("encode", changed).code == 2
    assert "001.png has changed" in failed(changed)

    (tmp_path / "set" / "manifest.json").write_bytes(b"{}")
    assert carried_out("encode", changed).code == 2
    assert "manifest.json" in failed(changed)


def test_training_4_an_edits_captions_are_read_with_its_sources(bases: Path, tmp_path: Path) -> None:
    shown = pictures(2)
    sources = {"p0": {"control": [shown[1]]}, "p1": {"control": [shown[0]]}}
    sha256 = write_dataset(tmp_path / "set", shown, **sources)
    base = tiny_pipeline("qwen-edit-2509", bases)
    folder = small_run(
        tmp_path / "run", small_recipe(base, tmp_path / "set", sha256, family="qwen-edit-2509")
    )
    assert carried_out("encode", folder).code == 0
    first, second = index_of(folder).samples
    cache = Cache(folder.cache)
    assert first.empty != second.empty
    assert cache.load(first.control[0])["latents"].shape == cache.load(first.latents)["latents"].shape


def test_training_4_a_source_that_is_not_the_one_that_was_added_is_refused(
    bases: Path, tmp_path: Path
) -> None:
    shown = pictures(2)
    write_dataset(tmp_path / "set", shown, p0={"control": [shown[1]]}, p1={"control": [shown[0]]})
    # As datasets name them; the manifest here has plain names.
    told = (tmp_path / "set" / "manifest.json").read_text()
    for name in ("000-source0.png", "001-source0.png"):
        source = tmp_path / "set" / name
        named = f"{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.png"
        source.rename(tmp_path / "set" / named)
        told = told.replace(name, named)
    (tmp_path / "set" / "manifest.json").write_text(told)
    sha256 = hashlib.sha256(told.encode()).hexdigest()
    recipe = small_recipe(tiny_pipeline("kontext", bases), tmp_path / "set", sha256, family="kontext")
    assert carried_out("encode", small_run(tmp_path / "run", recipe)).code == 0
    pictures(3)[2].save(tmp_path / "set" / named)
    changed = small_run(tmp_path / "changed", recipe)
    assert carried_out("encode", changed).code == 2
    assert f"{named} has changed" in failed(changed)


@pytest.mark.skipif(not faces.is_installed(), reason="the extra faces is not installed")
def test_training_5_a_mask_lies_on_the_face_and_is_missing_where_there_is_none(
    bases: Path, tmp_path: Path
) -> None:
    from skimage import data

    # Wider than high, so that rows and columns can't be mistaken for each other; the face is at the right.
    whole = Image.fromarray(data.astronaut())
    shown = Image.new("RGB", (480, 320), "grey")
    shown.paste(whole.crop((100, 0, 340, 240)), (240, 0))
    nobody = Image.fromarray(data.coffee()).resize((480, 320))
    sha256 = write_dataset(tmp_path / "set", [shown, nobody])
    recipe = small_recipe(
        tiny_pipeline("flux1", bases), tmp_path / "set", sha256, buckets=[384], mask_loss=True,
        mask_background=0.25,
    )  # fmt: skip
    folder = small_run(tmp_path / "run", recipe)
    assert carried_out("encode", folder).code == 0
    cache, index = Cache(folder.cache), index_of(folder)
    face, none = index.samples
    assert face.mask is not None and none.mask is None
    assert index.without_face == ("001.png",)
    mask = cache.load(face.mask)["mask"]
    height, width = cache.load(face.latents)["latents"].shape[-2:]
    assert mask.shape == (height, width) and width > height
    assert set(mask.unique().tolist()) == {0.25, 1.0}
    rows, columns = (mask == 1).nonzero().float().mean(dim=0).tolist()
    assert 0.6 < columns / width < 0.9 and 0.2 < rows / height < 0.6
