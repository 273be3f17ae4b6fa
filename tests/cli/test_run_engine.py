"""What the engine does with runs, by commands: budgets, jobs, cancelling one and all."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_commands import told


@pytest.fixture(scope="module")
def made(shell: Shell) -> Shell:
    """An installation with two runs: the first with a budget."""
    assert shell("run", "create", "a bowl", "--pipeline", "one-step", "--max-pictures", "3").code == 0
    assert shell("run", "create", "a cup", "--pipeline", "one-step").code == 0
    return shell


def test_a_budget_is_shown_raised_and_taken_away(made: Shell) -> None:
    shown = made("run", "show", "1", "--json").json["run"]["budget"]
    spent = {"pictures": 0, "reserved": 0, "gpu_minutes": 0.0}
    assert shown == {"max_pictures": 3, "max_gpu_minutes": None, **spent}
    assert "pictures: 0 made of 3" in made("run", "show", "1").out
    raised = made("run", "budget", "1", "--max-gpu-minutes", "2.5", "--json").json
    assert (raised["max_pictures"], raised["max_gpu_minutes"]) == (3, 2.5)
    assert "GPU minutes: 0.00 of 2.5" in made("run", "budget", "1").out
    assert made("run", "budget", "1", "--unlimited", "--json").json["max_pictures"] is None


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("run", "budget", "99"), "99"),
        (("run", "budget", "1", "--max-pictures", "0"), "0 pictures"),
        (("run", "budget", "1", "--max-gpu-minutes=-2"), "-2 GPU minutes"),
        (("run", "create", "a bowl", "--pipeline", "one-step", "--max-pictures", "0"), "Max pictures"),
        (("run", "cancel-job", "99"), "99"),
        (("run", "jobs", "99"), "99"),
        (("run", "cancel"), "cancelled"),
        (("run", "cancel", "1", "--all"), "cancelled"),
    ],
)
def test_a_wrong_request_exits_with_2(made: Shell, arguments: tuple[str, ...], word: str) -> None:
    assert word in told(made, 2, *arguments)


@pytest.mark.long
def test_jobs_are_listed_and_everything_is_cancelled_after_a_question(made: Shell) -> None:
    assert made("run", "jobs", "--json").json == []
    assert made("run", "jobs", "1", "--live").code == 0
    asked = told(made, 1, "run", "cancel", "--all")
    assert "2 runs would be cancelled: nobody is there to ask." in asked
    assert {run["status"] for run in made("run", "list", "--json").json} == {"pending"}
    assert made("run", "cancel", "--all", "--yes").out == "✅ 2 runs are cancelled.\n"
    assert "failed" not in made("run", "cancel", "--all", "--yes").err
    assert {run["status"] for run in made("run", "list", "--json").json} == {"cancelled"}
    assert made("run", "budget", "1", "--max-pictures", "5").code == 1
