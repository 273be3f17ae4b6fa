"""The recipe, the buckets and the draws: what makes two runs the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from persona_tui.errors import InvalidRequest
from persona_tui.gpu.training.buckets import buckets_for, crop_of, plan_of, sizes
from persona_tui.gpu.training.randomness import key
from persona_tui.gpu.training.run_file import Phase, RunFile, as_toml, read_run_file


def recipe(**changed: object) -> RunFile:
    told = {"family": "flux1", "base": "/base", "dataset": "/set", "dataset_hash": "0" * 64, **changed}
    return RunFile.model_validate(told)


def test_training_5_a_recipe_is_the_same_after_its_file(tmp_path: Path) -> None:
    phases = (Phase(name="head", first_step=1, angles=("front",)), Phase(name="body", first_step=200))
    run = recipe(trigger='ohwx "é\x7f', phases=phases, lr=3e-5, ema=0.99)
    (tmp_path / "run.toml").write_text(as_toml(run), "utf-8")
    assert read_run_file(tmp_path / "run.toml") == run


def test_training_5_what_changes_no_weight_changes_no_identity() -> None:
    run = recipe()
    assert recipe(steps=7, keep=9, base="/elsewhere").learning_hash() == run.learning_hash()
    assert recipe(base="/elsewhere").hash() == run.hash() != recipe(steps=7).hash()
    assert len({recipe(**{field: 3}).learning_hash() for field in ("threads", "seed", "rank", "batch")}) == 4


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ('family = "flux1"\nrnk = 4', "rnk"),
        ("family = ", "no TOML"),
        ('family = "flux1"\npreservation = 1.0', "class_prompt"),
        ('family = "flux1"\n[[phases]]\nname = "body"\nfirst_step = 9', "phases begin at step 1"),
    ],
)
def test_training_5_a_bad_recipe_is_refused_by_its_line(tmp_path: Path, told: str, said: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text('base = "/b"\ndataset = "/d"\ndataset_hash = "' + "0" * 64 + '"\n' + told)
    with pytest.raises(InvalidRequest, match=said):
        read_run_file(path)


def test_training_5_pictures_go_to_buckets_of_their_shape_and_are_not_blown_up() -> None:
    assert (1024, 1024) in sizes(1024) and (832, 1216) in sizes(1024)
    assert buckets_for((3000, 4000), (512, 1024)) == ((448, 576), (896, 1152))
    assert buckets_for((600, 600), (512, 768, 1024)) == ((512, 512),)
    assert buckets_for((100, 100), (512, 768)) == ((512, 512),)
    assert crop_of((3000, 4000), (896, 1152)) == (0, 71, 3000, 3928)


def test_training_5_each_epoch_shows_every_sample_and_batches_have_one_shape() -> None:
    shapes = [(512, 512)] * 5 + [(448, 576)] * 3
    plan = plan_of(shapes, range(8), batch=2, seed=1, phase="")
    epochs = [[plan.micro_batch(5 * epoch + at) for at in range(plan.per_epoch)] for epoch in range(2)]
    for batches in epochs:
        assert len(batches) == 5
        assert {len({shapes[place] for place in batch}) for batch in batches} == {1}
        assert set(Counter(place for batch in batches for place in batch)) == set(range(8))
    assert epochs[0] != epochs[1]


def test_training_6_a_draw_depends_on_each_part_of_its_key() -> None:
    keys = {
        key(1, 1, "noise"),
        key(2, 1, "noise"),
        key(1, 2, "noise"),
        key(1, 1, "sigma"),
        key(1, 1, "noise", 1),
    }
    assert len(keys) == 5
    # Another number would change every run that is resumed by a newer version.
    assert key(1, 1, "noise") == 650358381134395743
