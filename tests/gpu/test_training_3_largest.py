"""Item 3: what a probe tries is the sample with the most tokens."""

from __future__ import annotations

from pathlib import Path

from persona_tui.gpu.training.cache import Cache, Index, Sample, decided_by
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.probe import largest_alone
from tests.support.training import small_recipe, small_run


def sample(name: str, side: int, sources: int, role: str = "train") -> Sample:
    return Sample(
        picture=name, file=f"{name}.png", role=role, angle="", bucket=(side, side), latents="l", prompt="p",
        empty="e", control=("c",) * sources,
    )  # fmt: skip


def test_training_3_a_probe_tries_the_sample_with_the_most_tokens(tmp_path: Path) -> None:
    run = small_recipe(tmp_path / "base", tmp_path / "set", "0" * 64, family="qwen-edit-2511")
    folder: RunFolder = small_run(tmp_path / "run", run)

    def tried(*samples: Sample) -> str:
        index = Index(decided_by=decided_by(run), samples=samples, files={})
        Cache(folder.cache).write_index(index)
        return largest_alone(folder, run)[0].samples[0].picture

    one, two = sample("one", 1024, 1), sample("two", 1024, 2)
    assert tried(one, two) == tried(two, one) == "two"
    # Three small pictures are less than two large ones; what is held out is no matter.
    assert tried(one, sample("small", 768, 2), sample("held", 2048, 3, "held_out")) == "one"
