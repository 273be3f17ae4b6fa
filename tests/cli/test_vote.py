"""Votes by commands: two to four pictures, undo, how it goes; pictures by their paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_runs import make_pictures, new_run, told


def contest_of(shell: Shell) -> str:
    """The newest contest that waits for votes."""
    return str(max(one["contest_id"] for one in shell("vote", "list", "--json").json))


def test_a_contest_is_voted_on_without_a_screen(peopled: Shell, inside: Callable[[], Any]) -> None:
    make_pictures(inside, new_run(peopled))
    contest = contest_of(peopled)

    duel = peopled("vote", "next", contest, "--json").json
    grid = peopled("vote", "next", contest, "--grid", "--json").json
    assert len(duel["members"]) == 2 and len(grid["members"]) == 4 and not grid["repeat"]
    assert all(Path(one["path"]).is_file() for one in grid["members"])
    beside = grid["members"][3]["candidate"]
    shown = peopled("vote", "next", contest, "--show", "3", "--beside", str(beside), "--json").json["members"]
    assert len(shown) == 3 and beside in [one["candidate"] for one in shown]

    members = [str(one["member"]) for one in grid["members"]]
    cast = peopled("vote", "cast", contest, *members, "--best", members[2], "--ms", "900", "--json")
    assert (cast.code, cast.json["votes"]) == (0, 1)
    assert cast.json["leader"] == grid["members"][2]["candidate"]
    assert peopled("vote", "cast", contest, *members[:2], "--best", "none", "--json").json["votes"] == 2

    stats = peopled("vote", "stats", contest, "--json").json
    assert stats["members"][0]["candidate_id"] == cast.json["leader"]
    assert (stats["progress"]["votes"], stats["progress"]["median_ms"]) == (2, 900)
    assert "2 votes · P(best)" in peopled("vote", "stats", contest).out

    assert peopled("vote", "undo", contest, "--json").json["undone"] is not None
    assert peopled("vote", "undo", contest, "--json").json["undone"] == cast.json["vote"]
    assert peopled("vote", "undo", contest).out == "ℹ️  There is no vote to take back.\n"
    assert {one["elo_score"] for one in peopled("vote", "stats", contest, "--json").json["members"]} == {1000}


@pytest.mark.long
def test_what_can_not_be_voted_on_is_told(peopled: Shell, inside: Callable[[], Any]) -> None:
    make_pictures(inside, new_run(peopled))
    contest = contest_of(peopled)
    members = [str(one["member"]) for one in peopled("vote", "next", contest, "--json").json["members"]]
    assert "can't be 'left'" in told(peopled, 2, "vote", "cast", contest, *members, "--best", "left")
    assert "was not shown" in told(peopled, 2, "vote", "cast", contest, *members, "--best", "0")
    assert "two to four" in told(peopled, 2, "vote", "cast", contest, members[0], "--best", members[0])
    assert "does not take part" in told(peopled, 2, "vote", "next", contest, "--beside", "999")
    assert peopled("vote", "stats", contest, "--json").json["votes"] == 0
