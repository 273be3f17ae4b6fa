"""Item 3: a plan is proven by two real steps of a tiny base model, and the next one counts them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from persona_tui.services import lease
from persona_tui.services.lease import places
from tests.cli.conftest import Shell
from tests.support.datasets import draw_all
from tests.support.tiny_pipelines import tiny_pipeline

MIB = 1 << 20


@pytest.fixture(scope="module")
def planning(peopled: Shell, tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, tuple[str, ...]]:
    """A shell whose persona has a dataset, and the words of a plan on a tiny base model."""
    source = draw_all(tmp_path_factory.mktemp("in"), 9, side=600)
    assert peopled("dataset", "create", "Mira", "v1", "--trigger", "ohwx_mira", "--fictional").code == 0
    assert peopled("dataset", "add", "Mira", "v1", str(source)).code == 0
    base = tiny_pipeline("flux1", tmp_path_factory.mktemp("base"))
    plan = ("train", "plan", "Mira", "v1", "--family", "flux1", "--base", str(base), "--steps", "60")
    return peopled, (*plan, "--rank", "4", "--optimizer", "adamw", "--size", "64")


@pytest.mark.long
@pytest.mark.timeout(300)
def test_training_3_a_probe_proves_a_plan_and_calibrates_the_next(
    planning: tuple[Shell, tuple[str, ...]], inside: Callable[[], Any]
) -> None:
    shell, plan = planning
    before = shell(*plan, "--look", "--json").json
    assert before["probes"] == [] and before["factor"] == 1.0
    said = shell(*plan, "--probe", "--json")
    assert said.code == 0, said.err
    (probe,) = said.json["probes"]
    assert len(probe["seconds"]) == 2 and probe["fits"] and probe["on_cpu"] and not probe["outgrew"]
    # A process with torch and diffusers in it, and no more than this machine has.
    assert 150 * MIB < probe["measured"] < probe["has"] and probe["encode"] > 150 * MIB
    assert probe["planned"] == probe["reckoned"] == before["ram"]
    assert probe["ratio"] == pytest.approx(probe["measured"] / probe["reckoned"])
    factor = min(max(probe["ratio"], 0.5), 2.0)
    assert said.json["factor"] == pytest.approx(factor) and said.json["run_id"] is not None
    assert said.json["ram"] == pytest.approx(before["ram"] * factor, rel=1e-6)
    assert any("a reading of these very settings" in words for words in said.json["choices"])
    assert "Two steps took" in said.err and "it fits into" in said.err
    with inside() as resources, resources.database.session_scope() as session:
        rows = session.execute(text("SELECT source, measured, settings ->> 'side' FROM memory_readings"))
        assert [tuple(row) for row in rows] == [("probe", probe["measured"], "64")]
        assert lease.held_here(session) == ()
        assert list((resources.settings.data_dir / "probes").iterdir()) == []
    # What is planned in other settings is corrected too, and says by what.
    other = shell(*plan, "--rank", "8", "--look").out
    assert "By a reading of this base model in this quantisation it takes" in other


@pytest.mark.long
@pytest.mark.timeout(300)
def test_training_3_a_probe_that_can_not_be_taken_says_why(
    planning: tuple[Shell, tuple[str, ...]], inside: Callable[[], Any], tmp_path: Path
) -> None:
    shell, plan = planning
    with inside() as resources:
        locks = resources.trainings.locks
        with resources.database.session_scope() as session:
            held = lease.take(session, places(())[0], "training", locks, cards=tuple)
        said = shell(*plan, "--probe")
        assert said.code == 1 and "in use by training since" in said.err
        with resources.database.session_scope() as session:
            lease.release(session, held)
        with lease.locked(lease.lock_file(locks, held.card)):
            said = shell(*plan, "--probe")
        assert said.code == 1 and "holds the card" in said.err
        with resources.database.session_scope() as session:
            assert lease.held_here(session) == ()
    # A child that fails tells its own sentence.
    said = shell(
        *plan, "--probe", "--optimizer", "prodigy", "--seed", "3", PYTHONPATH=str(_without_prodigy(tmp_path))
    )
    assert said.code == 1 and "The stage probe failed: Prodigy is not installed." in said.err


def _without_prodigy(folder: Path) -> Path:
    """A folder that, first on the path, makes Prodigy look as if it were not installed."""
    (folder / "sitecustomize.py").write_text(
        "import importlib.util as u\nfound = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'prodigyopt' else found(name, *a)\n"
    )
    return folder
