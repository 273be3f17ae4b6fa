"""Item 5: a training starts from a LoRA of ours, of the same base model and rank, as a training left it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, UnknownName
from persona_tui.pool import WorkPool
from persona_tui.services.loras.importing import LoraInput, import_loras
from persona_tui.services.loras.shelf import Shelf
from persona_tui.settings import Settings
from tests.database.test_training_3_plan import base_model, planned
from tests.support.datasets import add_files, draw_all, make_dataset
from tests.support.loras import FLUX_DIFFUSERS, QWEN, RANK, write_lora


@pytest.fixture
async def pool() -> AsyncIterator[WorkPool]:
    made = WorkPool()
    yield made
    await made.aclose()


async def test_training_5_a_lora_that_was_merged_resized_or_is_of_another_kind_is_no_parent(
    db: Database, settings: Settings, pool: WorkPool, tmp_path: Path
) -> None:
    base = base_model(tmp_path / "flux")
    dataset = add_files(db, make_dataset(db, tmp_path), [draw_all(tmp_path / "in", 9)]).dataset
    files = {
        "mine": {},
        "resized": {"metadata": {"ss_network_dim": "Dynamic", "ss_training_comment": "from 64"}, "fill": 2},
        "merged": {"metadata": {"modelspec.merged_from": "one, two"}, "fill": 3},
        "qwen": {"layers": QWEN},
    }
    paths = [
        write_lora(tmp_path / "loras", f"{name}.safetensors", **{"layers": FLUX_DIFFUSERS, **options})
        for name, options in files.items()
    ]
    shelf = Shelf(settings)
    assert [one.outcome for one in import_loras(db.session_scope, shelf, paths, LoraInput())] == [
        "imported"
    ] * 4

    async def plan(parent: str, rank: int = RANK) -> Path | None:
        made = await planned(db, settings, pool, dataset.id, base=base, parent=parent, rank=rank)
        assert f"It trains on from {parent}." in made.choices
        return made.run.parent

    assert await plan("mine@1") == shelf.path(next(shelf.path("").glob("mine*.safetensors")).name)
    for parent in ("resized@1", "merged@1"):
        with pytest.raises(InvalidRequest, match=f"{parent} was merged or resized"):
            await plan(parent)
    with pytest.raises(InvalidRequest, match="has rank 2, and the recipe 16") as refused:
        await plan("mine@1", 16)
    assert "--rank 2" in refused.value.hint
    with pytest.raises(InvalidRequest, match="is a LoRA of qwen-image"):
        await plan("qwen@1")
    with pytest.raises(UnknownName, match="There is no LoRA nobody@1"):
        await plan("nobody@1")
    next(shelf.path("").glob("mine*.safetensors")).unlink()
    with pytest.raises(InvalidRequest, match="The file of mine@1 is gone"):
        await plan("mine@1")
