"""Item 3: a plan reckons with the sizes that pictures fill, and with the host's memory as it is now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from persona_tui.cli.train_plan import _plan_lines
from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.gpu.host_memory import HostMemory
from persona_tui.gpu.nvml import Card
from persona_tui.gpu.training.buckets import buckets_for, filled
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.planner import step_work
from persona_tui.models.training import TrainingRun
from persona_tui.pool import WorkPool
from persona_tui.services import lease
from persona_tui.services.training.duration import foreseen
from persona_tui.services.training.fitting import DoesNotFit, fit
from persona_tui.services.training.plan import Plan, plan_training
from persona_tui.services.training.recipe import PlanInput
from persona_tui.services.training.runs import get_training
from persona_tui.services.training.start import How, Starter, start_training
from persona_tui.services.training.watch import TrainingWatch
from persona_tui.settings import Settings
from tests.database.test_training_3_plan import FLUX, base_model, memory, recipe
from tests.support.datasets import add_files, draw, draw_all, make_dataset
from tests.support.training_stage import tiny_shapes

GIB = 1 << 30
CARD = Card(0, "NVIDIA GeForce RTX 4090", 24 * GIB, 0, 0, 40, "575", "GPU-0")


def test_training_3_the_sizes_that_pictures_fill_give_each_the_same_buckets() -> None:
    asked = (512, 768, 1024)
    assert filled([(600, 600), (500, 900)], asked) == (512,)
    # A tenth of enlargement is no blur; a picture smaller than all sizes gets the smallest.
    assert filled([(700, 700)], asked) == (512, 768) and filled([(300, 300)], asked) == (512,)
    assert filled([(600, 600), (1200, 1100)], asked) == asked and filled([], asked) == asked
    for picture in ((300, 400), (600, 600), (760, 540), (1024, 1024), (4000, 900)):
        for others in ([], [(600, 600)], [(900, 800)], [(2000, 2000)]):
            assert buckets_for(picture, filled([picture, *others], asked)) == buckets_for(picture, asked)


def test_training_3_each_process_takes_the_hosts_memory_for_itself() -> None:
    one = memory(80, ram=14)
    assert fit(FLUX, recipe(), one).prediction.ram < 14 * GIB
    with pytest.raises(DoesNotFit, match=r"takes 26\.9 GiB of the machine's memory; 14\.0 GiB are available"):
        fit(FLUX, recipe(), replace(one, processes=2))
    limited = replace(one, ram=HostMemory(2 * GIB, "/docker/4f"))
    with pytest.raises(DoesNotFit, match=r"2\.0 GiB are available within the limit .* /docker/4f\."):
        fit(FLUX, recipe(), limited)


class Bench:
    """A dataset, a card, and the memory that the host says it has."""

    def __init__(self, db: Database, settings: Settings, tmp_path: Path) -> None:
        self.db, self.settings, self.memory, self.cards = db, settings, HostMemory(64 * GIB), (CARD,)
        self.tmp_path, self.base, self.pool = tmp_path, base_model(tmp_path / "flux"), WorkPool()
        self.starter = Starter(
            db.session_scope, settings, lambda: {"http://127.0.0.1:9": ComfyUIClient("http://127.0.0.1:9")},
            cards=lambda: self.cards, memory=lambda: self.memory, stages="tests.support.training_stage",
        )  # fmt: skip

    async def plan(self, dataset: int, **given: object) -> Plan:
        values = PlanInput.model_validate({"family": "flux1", "base": self.base, **given})
        return await plan_training(
            self.db.session_scope, self.pool, self.settings, dataset, values,
            cards=lambda: self.cards, count=tiny_shapes, memory=lambda: self.memory,
        )  # fmt: skip


@pytest.fixture
async def bench(db: Database, settings: Settings, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(db, settings, tmp_path)
    yield made
    await made.pool.aclose()


async def test_training_3_a_size_that_no_picture_fills_costs_nothing(bench: Bench) -> None:
    source = draw_all(bench.tmp_path / "in", 14, side=96)
    dataset = add_files(bench.db, make_dataset(bench.db, bench.tmp_path), [source]).dataset
    plan = await bench.plan(dataset.id, buckets=(64, 96, 128, 256))
    assert plan.run.buckets == (64, 96) and set(plan.by_side) == {"64", "96"}
    assert plan.choices[0] == "No picture fills 128 or 256 pixels: 96 is the largest size."
    assert plan.folder is not None and RunFolder(plan.folder).run().buckets == (64, 96)
    small = await bench.plan(dataset.id, buckets=(64, 96))
    assert plan.prediction == small.prediction and "No picture" not in " ".join(small.choices)
    # One picture that fills it is enough.
    add_files(
        bench.db, dataset, [draw(bench.tmp_path / "more" / "a.png", 200, side=128, caption="ohwx_mira")]
    )
    assert (await bench.plan(dataset.id, buckets=(64, 96, 128, 256))).run.buckets == (64, 96, 128)


async def test_training_3_memory_that_is_gone_by_the_start_is_told(bench: Bench) -> None:
    db = bench.db
    dataset = add_files(db, make_dataset(db, bench.tmp_path), [draw_all(bench.tmp_path / "in", 14)]).dataset
    bench.cards = (CARD, replace(CARD, index=1, uuid="GPU-1"))
    plan = await bench.plan(dataset.id, buckets=(64,), accumulation=2, steps=3)
    assert plan.run_id is not None
    bench.memory = HostMemory(GIB, "/user.slice/tui")
    with pytest.raises(DoesNotFit) as refused:
        await start_training(bench.starter, plan.run_id, accept_licence=True)
    assert (refused.value.title, refused.value.exit_code) == ("Too little RAM", 1)
    assert "1.0 GiB are available within the limit of the control group /user.slice/tui" in str(refused.value)
    assert refused.value.hint == "Raise that limit, or end what else runs in it."

    def view() -> tuple[str, int | None, tuple[lease.Lease, ...]]:
        with db.session_scope() as session:
            one = get_training(session, plan.run_id or 0)
            return one.status, one.predicted_ram, lease.held_here(session)

    assert view() == ("planned", plan.ram, ())
    # Two processes take twice as much; one of them takes again what was planned.
    bench.memory = HostMemory(plan.ram * 3 // 2)
    for _ in range(2):
        with pytest.raises(DoesNotFit, match="of the machine's memory"):
            await start_training(bench.starter, plan.run_id, how=How(cards="0,1"))
        assert view()[1] == plan.ram * 2
    begun = await start_training(bench.starter, plan.run_id, how=How(cards="0"))
    assert begun.status == "encoding" and begun.predicted_ram == plan.ram
    while lease.living(begun.holder) is not None:
        await asyncio.sleep(0.05)


async def test_training_3_the_time_counts_in_what_a_step_costs(bench: Bench) -> None:
    db = bench.db
    dataset = add_files(db, make_dataset(db, bench.tmp_path), [draw_all(bench.tmp_path / "in", 14)]).dataset
    bench.cards = ()
    light = await bench.plan(dataset.id, buckets=(64,), steps=100, preset="style")
    assert light.seconds is None and foreseen(light, ()) is None
    with db.session_scope() as session:
        session.execute(
            text(
                "UPDATE training_runs SET status = 'done', attempt = 1, finished_at = now(),"
                """ prediction = prediction || '{"seconds": 500.0}' WHERE id = :id"""
            ),
            {"id": light.run_id},
        )
    again = await bench.plan(dataset.id, buckets=(64,), steps=200, preset="style")
    assert again.seconds == pytest.approx(1000)
    # Class preservation: forward without the LoRA, forward and back with it, beside forward and back.
    kept = await bench.plan(dataset.id, buckets=(64,), steps=200, preset="likeness")
    assert kept.run.preservation and kept.seconds == pytest.approx(1000 * 5 / 2)
    assert step_work(recipe(preservation=1, class_prompt="person")) == step_work(recipe()) * 7 / 3
    batches = await bench.plan(dataset.id, buckets=(64,), steps=200, preset="style", batch=2, accumulation=2)
    assert batches.seconds == pytest.approx(4000)
    larger = step_work(recipe(buckets=(1024,))) / step_work(recipe(buckets=(512,)))
    assert larger == (64 * 64 + 512) / (32 * 32 + 512)
    told = foreseen(kept, ())
    assert told is not None and told.why == "as trainings of this kind took here"


async def test_training_3_the_time_of_a_run_that_was_resumed_counts_too(bench: Bench) -> None:
    db = bench.db
    dataset = add_files(db, make_dataset(db, bench.tmp_path), [draw_all(bench.tmp_path / "in", 14)]).dataset
    bench.cards = ()
    first = await bench.plan(dataset.id, buckets=(64,), steps=6, preset="style")
    assert first.run_id is not None
    assert "time: not known before its first steps" in list(_plan_lines(first, ()))
    watch, taken = TrainingWatch(bench.starter), []
    for how in (How(), How(steps=12)):
        begun = await start_training(bench.starter, first.run_id, accept_licence=True, how=how)
        while lease.living(begun.holder) is not None:
            await asyncio.sleep(0.05)
        await watch.catch_up(take_up=False)
        planned = await bench.plan(dataset.id, buckets=(64,), steps=120, preset="style")
        assert planned.seconds is not None
        with db.session_scope() as session:
            row = session.get_one(TrainingRun, first.run_id)
            taken.append(row.prediction["seconds"])
            assert planned.seconds == pytest.approx(row.prediction["seconds"] * 120 / row.total_steps)
    assert taken[0] < taken[1]
