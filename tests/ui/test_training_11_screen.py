"""Item 11: a training is planned, started and watched by key, at both sizes, and survives its folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from textual.pilot import Pilot

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.database.engine import Database
from persona_tui.gpu.training.pulse import WAITS_FOR_SPACE, Pulse
from persona_tui.resources import Resources
from persona_tui.screens.loras import LorasScreen
from persona_tui.screens.training_samples import SampleGrid
from persona_tui.services import lease
from persona_tui.services.training import plan as planning
from persona_tui.services.training import probing
from persona_tui.services.training.runs import TrainingView, get_training, list_trainings
from persona_tui.services.training.start import Starter
from persona_tui.services.training.watch import TrainingWatch
from persona_tui.widgets.capped_scroll import CappedScroll
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.legend import Legend
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.viewer import ViewerDialog
from tests.database.test_training_3_plan import base_model
from tests.support.datasets import add_files, draw_all, make_dataset
from tests.support.training_stage import tiny_shapes
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, fill, form_opens, saved, says, shows, until
from tests.ui.support import screen_text, settle
from tests.ui.training_world import add_training, evaluate, plan_dialog, write_steps

SMALL, LARGE = (80, 24), (200, 50)


async def test_training_11_a_run_is_watched_and_its_folder_may_vanish(
    db: Database, quiet_core: QuietCore, plan: object, tmp_path: Path
) -> None:
    with db.session_scope() as session:
        _, folder = add_training(session, plan.persona_id, tmp_path / "run", best_step=100)  # type: ignore[attr-defined]
    folder.note(status="encoding")
    folder.log("encoded", done=3, of=12)
    async with app_over(quiet_core).run_test(size=SMALL) as pilot:
        with folder.locked():
            await settle(pilot)
            await pilot.press("f9")
            await shows(pilot, "3/12 pictures")
            folder.note(status="training")
            write_steps(folder, 1, 420)
            folder.log("slow", step=310, reasons=["The card slows down because it is hot."])
            await shows(pilot, "420/1000")
            await shows(pilot, "14 min 30 s")
            await shows(pilot, "Loss")
            assert "trains" in screen_text(pilot) and "No likeness was measured yet." in screen_text(pilot)
            for key in ("[p] pause", "[x] stop", "[v] next panel", "[Tab] other part", "[v]  curves "):
                assert key in screen_text(pilot)
            for step, likeness in ((100, 0.3), (200, 0.42)):
                evaluate(folder, step, likeness, ("portrait", "street"))
            write_steps(folder, 421, 430)
            await shows(pilot, "430/1000")
            await shows(pilot, "Likeness  0.42")
            await shows(pilot, "100% reach 0.40")

            await pilot.press("v", "tab")
            grid = pilot.app.screen.query_one(SampleGrid)
            await until(pilot, lambda: grid.current is not None and grid.current.step == 200)
            await until(pilot, lambda: all(pane.loaded for pane in grid.query(PicturePane) if pane.alt))
            await pilot.press("left", "enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, ViewerDialog))
            assert "step 100, portrait" in screen_text(pilot)
            await pilot.press("escape", "v")
            await shows(pilot, "The card slows down because it is hot.")

            await pilot.resize_terminal(*LARGE)
            await shows(pilot, "SAMPLES")
            assert "proposed" not in screen_text(pilot)  # made by hand of step 100, before anything was
            folder.note(proposed={"step": 200, "front": [200], "by": "likeness", "alike": [150]})
            await shows(pilot, "step 200 is proposed (150 not surely worse), the LoRA is of step 100")
            await shows(pilot, "│ 200 proposed")
            for words in ("CURVES", "Loss", "Likeness", "200 street", "LOG", "slow"):
                assert words in screen_text(pilot)

            await pilot.press("p")
            await says(pilot, "mira keeps what it has done and rests; [r] goes on.")
            assert folder.control().want == "pause"
            await shows(pilot, "pausing")
        folder.path.rename(tmp_path / "elsewhere")
        await shows(pilot, "no folder")
        assert "--folder FOLDER" in screen_text(pilot) and "430/1000" in screen_text(pilot)
        (tmp_path / "elsewhere").rename(folder.path)
        await shows(pilot, "paused")  # as it was to, and nobody takes it up
        folder.order("run")
        await shows(pilot, "silent")


async def test_training_6_a_full_disk_is_told_with_its_folder_and_without_a_time_left(
    db: Database, quiet_core: QuietCore, plan: Planned, tmp_path: Path
) -> None:
    with db.session_scope() as session:
        _, folder = add_training(session, plan.persona_id, tmp_path / "run")
    folder.note(status="training")
    write_steps(folder, 1, 420)
    async with app_over(quiet_core).run_test(size=LARGE) as pilot:
        with folder.locked():
            beating = Pulse(folder.heartbeat_file)
            beating.moved(420, "training")
            beating.beat()
            await settle(pilot)
            await pilot.press("f9")
            await shows(pilot, "14 min 30 s left")
            beating.waiting(WAITS_FOR_SPACE)
            beating.beat()
            await shows(pilot, "disk full")
            await shows(pilot, "There is no room left on the disk of")
            assert "Free some: it goes on by itself." in screen_text(pilot)
            assert "14 min 30 s" not in screen_text(pilot)
            beating.waiting("training")
            beating.beat()
            await shows(pilot, "14 min 30 s left")
            assert "no room" not in screen_text(pilot)
            beating.close()


async def test_training_11_curves_are_drawn_without_colours_too(
    db: Database, quiet_core: QuietCore, plan: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with db.session_scope() as session:
        _, folder = add_training(session, plan.persona_id, tmp_path / "run")  # type: ignore[attr-defined]
    write_steps(folder, 1, 40)
    async with app_over(quiet_core).run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("f9")
        await shows(pilot, "40/1000")
        await shows(pilot, "lately")


async def test_training_11_a_training_waits_in_line_for_a_card_that_is_taken(
    db: Database, quiet_core: QuietCore, plan: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = Starter(db.session_scope, quiet_core.settings, dict, cards=tuple)
    monkeypatch.setattr(Resources, "trainings", starter)
    (here,) = lease.places(())
    with db.session_scope() as session:
        run_id, _ = add_training(
            session,
            plan.persona_id,
            tmp_path / "run",
            status="planned",
            card=here.name,
            base_family="qwen-image",
        )
        held = lease.take(session, here, "training", starter.locks, cards=tuple)

    def status() -> str:
        with db.session_scope() as session:
            return get_training(session, run_id).status

    async with app_over(quiet_core).run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("f9")
        await shows(pilot, "planned")
        await pilot.press("s")
        await shows(pilot, "CPU is in use by training since")
        await pilot.press("n")
        await settle(pilot)
        assert status() == "planned"
        await pilot.press("s")
        await shows(pilot, "In line, it begins by itself")
        await pilot.press("enter")
        await says(pilot, "mira begins when its card is free")
        await shows(pilot, "◌  queued")
        assert status() == "queued" and "It begins by itself when its card is free" in screen_text(pilot)
        await pilot.press("x")
        await says(pilot, "mira waits for no card any more.")
        await shows(pilot, "◌  planned")
        await pilot.press("w")
        await shows(pilot, "◌  queued")
    with db.session_scope() as session:
        lease.release(session, held)


@pytest.mark.long
async def test_training_11_a_long_plan_leaves_no_hole_in_its_dialog(quiet_core: QuietCore) -> None:
    async with app_over(quiet_core).run_test(size=SMALL) as pilot:
        dialog = plan_dialog(choices=tuple(f"Decision {number}." for number in range(20)))
        pilot.app.push_screen(dialog)
        await settle(pilot)
        frame, legend = dialog.query_one("#frame").region, dialog.query_one(Legend).region
        assert legend.bottom == frame.bottom - 1
        assert dialog.query_one(CappedScroll).max_scroll_y > 0


async def test_training_11_a_training_is_planned_started_and_leaves_a_lora(
    db: Database, quiet_core: QuietCore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stages are the product's own processes without torch; the base model is counted without it, too.
    monkeypatch.setattr(
        planning, "plan_training", partial(planning.plan_training, count=tiny_shapes, cards=tuple)
    )
    monkeypatch.setattr(probing, "plan_training", planning.plan_training)
    starter = Starter(
        db.session_scope, quiet_core.settings, lambda: {"http://127.0.0.1:9": ComfyUIClient("http://127.0.0.1:9")},
        cards=tuple, stages="tests.support.training_stage",
    )  # fmt: skip
    monkeypatch.setattr(Resources, "trainings", starter)
    empty = make_dataset(db, tmp_path)
    async with app_over(quiet_core).run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("f9")
        await shows(pilot, "No trainings yet.")
        assert "[n] new training" in screen_text(pilot) and "dataset create" in screen_text(pilot)
        await pilot.press("n")
        await form_opens(pilot)
        await fill(pilot, base=str(tmp_path / "base"), steps="12")
        await pilot.press("ctrl+s")
        await shows(pilot, "❌")
        assert "Reckoning" not in screen_text(pilot)

        add_files(db, empty, [draw_all(tmp_path / "in", 9, side=288)])
        base_model(tmp_path / "base")
        await saved(pilot)
        await shows(pilot, "Start this training?")
        for words in ("FLUX.1-dev", "12 steps, rank 16", "nobody real", "GiB of memory", "not known before"):
            assert words in screen_text(pilot)
        assert "may not be used commercially" in screen_text(pilot)
        await pilot.press("enter")
        await settle(pilot)
        with db.session_scope() as session:
            assert list_trainings(session) == ()

        await pilot.press("n")
        await form_opens(pilot)
        (tmp_path / "run.toml").write_text("lr = 0.0003\nsteps = 900\n")
        typed = {"base": str(tmp_path / "base"), "steps": "12", "name": "Mira face"}
        await fill(pilot, **typed, rank="8", buckets="256, high", recipe=str(tmp_path / "run.toml"))
        await pilot.press("ctrl+s")
        await shows(pilot, "Must be numbers")
        for wrong in ("-5", "1", "4096"):
            await fill(pilot, buckets=wrong)
            await pilot.press("ctrl+s")
            await shows(pilot, "Must be multiples of 16 from 16 to 2048")
        await fill(pilot, buckets="256 512", recipe="0")
        await pilot.press("ctrl+s")
        await shows(pilot, "The recipe 0 can't be read")
        await fill(pilot, recipe=str(tmp_path / "run.toml"))
        await saved(pilot)
        await shows(pilot, "12 steps, rank 8  mlp layers, learning rate 0.0003")
        assert "ure fills 512 pixels: 256 is the largest size." in screen_text(pilot)
        await shows(pilot, "[b] probe")
        await pilot.press("b")
        await shows(pilot, "Two steps took 0.75 GiB of the machine's memory")
        # The line breaks wherever the machine's memory has it break.
        assert "it fits into" in " ".join(screen_text(pilot).replace("┃", " ").split())
        await pilot.press("c")
        await shows(pilot, "Compiled blocks: 4 steps/s.")
        for words in ("Without options: 2 steps/s.", "is proposed: --compile."):
            assert words in screen_text(pilot)
        await pilot.press("down", "j")
        await shows(pilot, "Options: compiled blocks  as it was timed")
        await pilot.press("y")
        await shows(pilot, "/12")
        await says(pilot, "trains, also while this app is closed.")

        view = await registered(pilot, db, TrainingWatch(starter))
        assert view.config["compile"] is True
        await pilot.press("ctrl+r")
        await shows(pilot, "done")
        await shows(pilot, f"made {view.lora}")
        await pilot.press("l")
        await until(pilot, lambda: isinstance(pilot.app.screen, LorasScreen))
        step = f"step {view.best_step}"
        await shows(pilot, f"Learnt: training 1, {step}, the average of its weights: likeness 0.12")
        await pilot.press("f9")
        await shows(pilot, "[n] new training")
        await pilot.press("n")
        await form_opens(pilot)
        form = pilot.app.screen
        assert isinstance(form, FormDialog)
        assert str(tmp_path / "base") in [row.raw() for row in form.rows if row.field.name == "base"]
    with db.session_scope() as session:
        query = "SELECT count(*) FROM audit_events WHERE action = 'licence.acknowledge'"
        assert session.connection().exec_driver_sql(query).scalar() == 1


async def registered(pilot: Pilot[None], db: Database, watch: TrainingWatch) -> TrainingView:
    """Watch the only training, as whoever leads does, until its LoRA is there."""
    while True:
        await watch.tick()
        with db.session_scope() as session:
            (view,) = list_trainings(session)
        if view.lora_id is not None:
            return view
        assert view.status != "failed", view.trouble
        await pilot.pause(0.05)
