"""Votes by commands: two to four pictures, undo, how it goes; pictures by their paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_tui.models.pipeline import ImageCandidate
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
    following = cast.json["next"]
    assert len(following["members"]) == 4 and all(Path(one["path"]).is_file() for one in following["members"])
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


def test_a_script_votes_with_one_command_a_vote(peopled: Shell, inside: Callable[[], Any]) -> None:
    make_pictures(inside, new_run(peopled))
    contest = contest_of(peopled)
    showing = peopled("vote", "next", contest, "--json").json
    for votes in (1, 2, 3):
        members = [str(one["member"]) for one in showing["members"]]
        told_now = peopled("vote", "cast", contest, *members, "--best", members[0], "--json").json
        assert told_now["votes"] == votes
        showing = told_now["next"]
        assert len(showing["members"]) == 2 and showing["repeat"] is False


def test_old_ratings_come_from_a_file(peopled: Shell, inside: Callable[[], Any], tmp_path: Path) -> None:
    run = new_run(peopled)
    make_pictures(inside, run)
    contest = contest_of(peopled)
    pictures = peopled("candidate", "list", run, "--json").json
    first, second, third = (one["picture"] for one in pictures[:3])
    kept = Path(pictures[2]["path"])
    (tmp_path / "beside.png").write_bytes(kept.read_bytes())
    file = tmp_path / "old.csv"
    file.write_text(f"picture,rating\n{first['id']}, 900\n{second['sha256']},1200.4\nbeside.png,1000\n")
    tried = peopled("vote", "import-ratings", contest, str(file), "--dry-run", "--json").json
    assert tried["ratings"][str(second["id"])] == 1200 and not tried["imported"]
    assert tried["ratings"][str(third["id"])] == 1000
    assert peopled("vote", "import-ratings", contest, str(file)).out == "✅ 3 old ratings taken.\n"
    best = peopled("vote", "stats", contest, "--json").json["members"][0]
    assert best["candidate_id"] == second["id"] and best["elo_score"] > 1000

    for words, problem in (
        ("999,1000", "Picture 999 does not take part"),
        ("999,1\nno.png,2", "Pictures 999, no.png do not take part"),
        (f"{kept.name},1\nC:\\\\old\\\\{kept.name},2", "rated twice"),
        (f"{first['id']},high", "has no rating"),
        (f"{first['id']},nan", "has no rating"),
        (f"{first['id']},1,2", "not two columns"),
        (f"{first['id']},1\n{first['id']},2", "rated twice"),
        (f"{first['id']},1\n{first['sha256']},2", "rated twice"),
        ("", "holds no rating"),
        ('{"1": ', "no JSON"),
    ):
        file.write_text(words)
        assert problem in told(peopled, 2, "vote", "import-ratings", contest, str(file))
    assert "can't be read" in told(peopled, 2, "vote", "import-ratings", contest, str(tmp_path / "none"))
    assert peopled("vote", "stats", contest, "--json").json["members"][0] == best

    with inside() as resources, resources.database.session_scope() as session:
        session.get_one(ImageCandidate, third["id"]).sha256 = second["sha256"]
    file.write_text(f"{second['sha256']},1")
    said = told(peopled, 2, "vote", "import-ratings", contest, str(file))
    assert f"is the file of several pictures: {second['id']}, {third['id']}." in said


def test_a_gallery_is_sorted_filtered_and_says_who_goes_on(peopled: Shell, inside: Callable[[], Any]) -> None:
    run = new_run(peopled)
    make_pictures(inside, run)
    contest = contest_of(peopled)
    members = [str(one["member"]) for one in peopled("vote", "next", contest, "--json").json["members"]]
    leader = peopled("vote", "cast", contest, *members, "--best", members[1], "--json").json["leader"]
    ranked = peopled("candidate", "list", run, "--top-k", "2", "--json").json
    assert ranked[0]["picture"]["id"] == leader and [one["rank"] for one in ranked] == list(
        range(1, len(ranked) + 1)
    )
    assert [one["advances"] for one in ranked][:3] == [True, True, False] and ranked[0]["votes"] == 1
    loser = ranked[-1]["picture"]["id"]
    peopled("candidate", "reject", str(loser))
    peopled("candidate", "flag", str(leader))
    for only, ids in (("rejected", [loser]), ("flagged", [leader]), ("advancing", [leader])):
        shown = peopled("candidate", "list", run, "-k", "1", "--only", only, "--json").json
        assert [one["picture"]["id"] for one in shown] == ids
    newest = [
        one["picture"]["id"] for one in peopled("candidate", "list", run, "--sort", "newest", "--json").json
    ]
    assert newest == sorted(newest, reverse=True)
    assert f"{leader}" in peopled("candidate", "list", run).out
    assert "no step 9" in told(peopled, 2, "candidate", "list", run, "--step", "9")
    assert "no run 999" in told(peopled, 2, "candidate", "list", "999")
    assert "0 pictures" in told(peopled, 2, "candidate", "list", run, "-k", "0")
