"""Item 11: what is read of a run's folder for the screen, and what of a curve is drawn."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path

from tests.support.training import small_recipe, small_run

from persona_tui.gpu.training.durable import append_line
from persona_tui.gpu.training.folder import RunFolder
from persona_tui.gpu.training.manifest import FILE_NAME, Manifest, Picture, as_bytes
from persona_tui.gpu.training.memory import Peak, note_peak, noted_peak, together
from persona_tui.services.training.curves import Point, decimated
from persona_tui.services.training.following import RunFollower
from persona_tui.services.training.run_log import RunLog


def test_training_11_a_curve_is_drawn_with_two_points_a_column_and_no_peak_is_lost() -> None:
    chance = random.Random(1)
    points = [Point(step, chance.random()) for step in range(1, 5001)]
    points[1234] = Point(1235, 9.0)
    kept = decimated(points, 70)
    assert len(kept) == 140 and sorted(kept) == list(kept) and set(kept) <= set(points)
    for column in range(70):
        first, last = 1 + 5000 * column / 70, 1 + 5000 * (column + 1) / 70
        values = [value for step, value in points if first <= step < last]
        shown = [value for step, value in kept if first <= step < last]
        assert (min(values), max(values)) == (min(shown), max(shown))
    assert decimated(points[:140], 70) == tuple(points[:140])
    # Steps may be far apart: then there are columns without any.
    assert len(decimated([Point(1, 0.5), Point(2, 0.4), Point(1000, 0.1)], 1)) == 2


def test_training_11_only_what_is_new_is_read_and_what_is_cut_off_waits(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = RunLog(folder.log_file, folder.evaluation_file)
    assert not log.read_new()
    for step in (1, 2, 3):
        folder.log("step", step=step, loss=float(step), seconds=0.5)
    with folder.log_file.open("a") as file:
        file.write('{"event": "step", "step": 4, "loss": 4.0, ')
    assert log.read_new() and log.losses == (Point(1, 1.0), Point(2, 2.0), Point(3, 3.0))
    with folder.log_file.open("a") as file:
        file.write('"seconds": 0.5}\n[1]\nnonsense\n')
    assert log.read_new() and log.losses[-1] == Point(4, 4.0)
    assert not log.read_new()
    folder.log("rollback", step=5, to=2, message="The loss was no number.")
    folder.log("step", step=3, loss=0.25, seconds=1.5)
    folder.evaluation_file.write_text(json.dumps({"step": 3, "likeness": 0.5, "broken": [1]}) + "\n")
    assert log.read_new()
    assert log.losses == (Point(1, 1.0), Point(2, 2.0), Point(3, 0.25))
    assert log.scores("likeness") == (Point(3, 0.5),) and log.scores("broken") == ()
    assert (log.seconds_per_step, log.happenings[-1].words) == (0.5, "The loss was no number.")
    # Another log in its place, as after a restore, is begun anew.
    folder.log_file.unlink()
    folder.log("step", step=1, loss=7.0, seconds=0.5)
    assert log.read_new() and log.losses == (Point(1, 7.0),)


def test_training_11_a_run_whose_folder_is_gone_is_told_as_it_was(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path / "base", tmp_path / "data", "0" * 64, steps=40)
    folder = small_run(tmp_path / "run", recipe)
    follower = RunFollower(folder.path)
    assert (follower.look().sign, follower.look().steps) == ("resting", 40)
    folder.note(status="training")
    folder.log("step", step=1, loss=0.5, seconds=2.0)
    assert follower.look().sign == "silent"
    with folder.locked():
        folder.order("pause", steps=11)
        look = follower.look()
        assert (look.sign, look.steps, look.wanted.want, look.seconds_left) == ("alive", 11, "pause", 20.0)
        folder.path.rename(tmp_path / "elsewhere")
        gone = follower.look()
        assert (gone.sign, gone.step, gone.steps, gone.losses) == ("gone", 1, 11, look.losses)
    (tmp_path / "elsewhere").rename(folder.path)
    assert follower.look().sign == "resting"  # it was to pause
    folder.order("run")
    assert follower.look().sign == "silent"


def test_training_11_an_evaluation_is_told_in_words_and_faceless_samples_too(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path / "base", tmp_path / "data", "0" * 64, steps=40)
    folder = small_run(tmp_path / "run", recipe)
    folder.log("evaluated", step=3, loss=1.5137957731882732, likeness=None, held_out=4)
    told = {"step": 3, "likeness": None, "outcomes": {"no face": 9}}
    folder.evaluation_file.write_text(json.dumps(told) + "\n")
    folder.log("proposed", step=3, front=[3], by="likeness", alike=[1, 2])
    folder.log("evaluated", step=4, front=[], passed=0.25, pictures=["a", "b"])
    look = RunFollower(folder.path).look()
    assert [one.words for one in look.happenings] == [
        "loss 1.51, held out 4",
        "by likeness; not surely worse: 1, 2",
        "recognised 25%, pictures a, b",
    ]
    assert look.likeness == () and look.faceless == (Point(3, 9.0),)


def test_training_11_samples_are_named_by_what_they_were_drawn_of(tmp_path: Path) -> None:
    first, second = "ab" * 32, "cd" * 32
    pictures = (
        Picture(file="pictures/1.png", sha256=first, caption="ohwx_mira at a window", role="held_out"),
        Picture(file="pictures/2.png", sha256=second, caption="Photo of ohwx_mira laughing"),
    )
    (tmp_path / "data").mkdir()
    manifest = Manifest(
        name="v1", persona="Mira", created_at=datetime(2026, 11, 1, tzinfo=UTC), pictures=pictures
    )
    (tmp_path / "data" / FILE_NAME).write_bytes(as_bytes(manifest))
    recipe = small_recipe(tmp_path / "base", tmp_path / "data", "0" * 64, steps=40, trigger="ohwx_mira")
    folder = small_run(tmp_path / "run", recipe)
    place = folder.samples / "step-3"
    place.mkdir(parents=True)
    asked = (
        f"class-{first[:8]}-seed1-at1", f"trigger-{first[:8]}-seed1-at0.6", f"trigger-{first[:8]}-seed1-at1",
        f"trigger-{second[:8]}-seed2-at1", f"trigger-{'ef' * 4}-seed1-at1",
    )  # fmt: skip
    for name in asked:
        (place / f"{name}.png").touch()
    assert [one.words for one in RunFollower(folder.path).look().samples] == [
        "at a window, seed 1",
        "Photo of … laughing, seed 2",
        "picture efef, seed 1",
        "no trigger word: at a window, seed 1",
        "at a window, seed 1, × 0.6",
    ]


def test_training_11_pictures_that_are_encoded_are_no_steps(tmp_path: Path) -> None:
    recipe = small_recipe(tmp_path / "base", tmp_path / "data", "0" * 64, steps=40)
    folder, follower = small_run(tmp_path / "run", recipe), RunFollower(tmp_path / "run")
    folder.note(status="encoding")
    for number in (1, 2):
        folder.log("encoded", done=number, of=12)
    look = follower.look()
    assert (look.step, look.encoded, look.happenings) == (0, (2, 12), ())


def test_training_11_the_time_left_goes_by_the_uptime_that_nobody_sets(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = RunLog(folder.log_file, folder.evaluation_file)
    # Half a second a step, and half a second between them; the clock is set by a day in the middle.
    lines = [
        {"at": f"2026-11-{29 + (step > 5)}T12:00:00+00:00", "event": "step", "step": step, "loss": 1.0}
        | {"seconds": 0.5, "up": 1000.0 + step}
        for step in range(1, 11)
    ]
    folder.log_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert log.read_new() and (log.seconds_per_step, log.seconds_left(7)) == (0.5, 7.0)
    # A log from before that was written is told by its steps alone.
    folder.log("began", stage="training")
    folder.log("step", step=11, loss=1.0, seconds=2.0)
    assert log.read_new() and log.seconds_left(7) == 14.0


def test_training_7_the_held_out_loss_is_told_for_each_noise_level(tmp_path: Path) -> None:
    folder = small_run(tmp_path, small_recipe(tmp_path / "base", tmp_path / "data", "0" * 64))
    assert RunFollower(folder.path).look().held_out == ()
    for step in (0, 3):
        losses = {"0.9375": 0.5 + step, "0.0625": 1.5}
        append_line(folder.evaluation_file, json.dumps({"step": step, "loss": losses, "validation_loss": 1}))
    assert RunFollower(folder.path).look().held_out == ((0.0625, 1.5), (0.9375, 3.5))
    append_line(folder.evaluation_file, json.dumps({"step": 6, "loss": {"high": 1}, "validation_loss": 1}))
    assert RunFollower(folder.path).look().held_out == ((0.0625, 1.5), (0.9375, 3.5))


def test_training_5_the_peak_of_each_card_is_kept(tmp_path: Path) -> None:
    folder = small_run(tmp_path, small_recipe(tmp_path / "base", tmp_path / "data", "0" * 64))

    def note(*each: int, side: int = 0) -> Peak | None:
        note_peak(folder, "train", together([Peak(one, on_cpu=True, side=side) for one in each]))
        return noted_peak(folder, "train")

    assert note(100, 300, 200, side=64) == Peak(300, on_cpu=True, side=64, each=(100, 300, 200))
    # One grows while the largest does not; on another number of cards each is counted anew.
    assert note(150, 250, 200) == Peak(300, on_cpu=True, side=64, each=(150, 300, 200))
    assert note(150, 400) == Peak(400, on_cpu=True, side=64, each=(150, 400))
    assert note(500) == Peak(500, on_cpu=True, side=64)
    note(150, 400)
    assert RunFollower(folder.path).look().peaks == (150, 400)
