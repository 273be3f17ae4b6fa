"""Item 3: what follows from a probe that finds another figure than the plan; the stages are stand-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow
from persona_tui.gpu.nvml import Card, CardProcess
from persona_tui.pool import WorkPool
from persona_tui.services import lease
from persona_tui.services.training import plan as planning
from persona_tui.services.training import probing
from persona_tui.services.training.fitting import DoesNotFit
from persona_tui.services.training.plan import Plan
from persona_tui.services.training.probing import NotProbed, Probe, proven_plan
from persona_tui.services.training.recipe import PlanInput
from persona_tui.services.training.start import Starter
from persona_tui.settings import Settings
from tests.database.test_training_3_plan import base_model
from tests.support.datasets import add_files, draw_all, make_dataset
from tests.support.training_stage import tiny_shapes

GIB = 1 << 30
CARD = Card(0, "NVIDIA GeForce RTX 4090", 24 * GIB, 0, 0, 40, "575", "GPU-0")


class Bench:
    """Plans and probes of one dataset on one card."""

    def __init__(self, db: Database, settings: Settings, tmp_path: Path) -> None:
        self.db, self.base, self.said = db, base_model(tmp_path / "flux"), list[str]()
        self.dataset = add_files(db, make_dataset(db, tmp_path), [draw_all(tmp_path / "in", 9)]).dataset
        self.card, self.pool = CARD, WorkPool()
        away = "http://127.0.0.1:9"
        self.starter = Starter(
            db.session_scope, settings, lambda: {away: ComfyUIClient(away)},
            cards=lambda: (self.card,), stages="tests.support.training_stage",
        )  # fmt: skip

    async def prove(self, name: str, **given: object) -> tuple[Plan, tuple[Probe, ...]]:
        told = {"family": "flux1", "base": self.base, "buckets": (64,), "name": name, **given}
        return await proven_plan(
            self.starter, self.pool, self.dataset.id, PlanInput.model_validate(told), self.said.append
        )

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with self.db.session_scope() as session:
            return [tuple(row) for row in session.execute(text(query))]

    def held(self) -> tuple[lease.Lease, ...]:
        with self.db.session_scope() as session:
            return lease.held_here(session)


@pytest.fixture
async def bench(
    db: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    monkeypatch.setattr(probing, "plan_training", partial(planning.plan_training, count=tiny_shapes))
    made = Bench(db, settings, tmp_path)
    yield made
    await made.pool.aclose()


async def test_training_3_a_way_that_outgrows_the_card_is_left_for_the_next(bench: Bench) -> None:
    plan, probes = await bench.prove("outgrows")
    # Unquantised without checkpointing, then with it, then in 8 bits.
    first, second, last = probes
    assert second.outgrew and second.run.checkpointing and not first.run.checkpointing
    assert first.outgrew and not first.fits and first.run.quantisation == "none"
    # More than all that the card has was wanted; what it had given until then says nothing.
    assert first.measured == first.has and "it wanted more than 23.71 GiB" in first.sentence
    assert last.fits and last.run == plan.run and plan.run.quantisation != "none"
    assert "it fits into 23.71. A step took 0.2 s." in bench.said[-1]
    assert plan.run.quantisation == "int8"
    assert bench.rows("SELECT quantisation, outgrew FROM memory_readings ORDER BY id") == [
        ("none", True), ("none", True), ("int8", False),
    ]  # fmt: skip
    assert bench.rows("SELECT id FROM training_runs") == [(plan.run_id,)] and bench.held() == ()


async def test_training_3_what_was_asked_for_and_does_not_fit_is_refused(bench: Bench) -> None:
    with pytest.raises(DoesNotFit):
        await bench.prove("outgrows", quantisation="none")
    assert bench.rows("SELECT id FROM training_runs") == [] and bench.held() == ()


async def test_training_3_a_probe_that_is_killed_or_finds_no_room_leaves_nothing(
    bench: Bench,
) -> None:
    with pytest.raises(NotProbed, match="ended by SIGKILL in the stage probe"):
        await bench.prove("killed")
    bench.card = replace(CARD, memory_used=24 * GIB, processes=(CardProcess(1, 24 * GIB),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("persona_tui.services.training.draining._FREE_SECONDS", 0.0)
        with pytest.raises(NotAllowedNow, match=r"has 0\.0 GiB free"):
            await bench.prove("other")
    assert bench.rows("SELECT id FROM memory_readings") == [] and bench.held() == ()
    assert list((bench.starter.settings.data_dir / "probes").iterdir()) == []
