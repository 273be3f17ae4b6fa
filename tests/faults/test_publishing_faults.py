"""T1 to T20 in short: the same cases as benchmarks/faults.py plays in thousands, with its harness."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from benchmarks.faults_parts.plan import BY_THE_MACHINE, PLAYS
from benchmarks.faults_parts.stage import ROOT, Stage
from benchmarks.faults_parts.words import KINDS

from persona_tui.database.engine import Database

QUICKEST = 15.0
"""Seconds: rows that took longer are left to the benchmark."""


@pytest.fixture(scope="module")
def standing(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all tests: its child reads the whole product before it forks."""
    made = Stage(database, tmp_path_factory.mktemp("stage"))
    yield made
    made.close()


@pytest.fixture
def stage(db: Database, standing: Stage) -> Stage:
    """The stage over a database with nothing in it."""
    del db
    return standing


def play(stage: Stage, test: str, **case: Any) -> dict[str, Any]:
    """One case, with what no case may do."""
    row = PLAYS[test](stage, **case)
    assert (row.get("doubled", 0), row.get("lost", 0), row.get("wrong", 0)) == (0, 0, 0), row
    assert not row.get("broken"), row
    return row


@pytest.mark.long(but=["17-single-None", "63-reel-facebook"])
@pytest.mark.parametrize(
    ("n", "kind", "account"),
    [(17, "single", None), (63, "reel", "facebook"), (400, "carousel", "instagram")],
)
def test_publishing_t1_killed_at_a_boundary_it_is_out_once(
    stage: Stage, n: int, kind: str, account: str | None
) -> None:
    row = play(stage, "T1", seed=5, n=n, kind=kind, account=account)
    assert row["hit"] and row["exit"] == 0 and row["published"] == 1


@pytest.mark.long(but=["instagram-carousel", "facebook-single"])
@pytest.mark.parametrize("kind", ["single", "carousel", "reel"])
@pytest.mark.parametrize("account", ["instagram", "facebook"])
def test_publishing_t2_published_and_the_answer_lost(stage: Stage, account: str, kind: str) -> None:
    row = play(stage, "T2", seed=4, account=account, kind=kind, personas=2, each=1)
    assert row["published"] == row["posts"] == 2 and row["faults"] > 0


@pytest.mark.long(but=["facebook"])
@pytest.mark.parametrize("account", [None, "facebook"])
def test_publishing_t3_not_published_and_the_answer_lost(stage: Stage, account: str | None) -> None:
    row = play(stage, "T3", seed=3, account=account, personas=4)
    assert row["published"] == row["posts"] == 4 and row["containers"] == 4


@pytest.mark.long(but=["instagram"])
@pytest.mark.parametrize("account", ["instagram", "facebook"])
def test_publishing_t4_states_and_listings_lag_behind(stage: Stage, account: str) -> None:
    assert play(stage, "T4", seed=4, account=account, personas=3)["published"] == 3


@pytest.mark.long(but=["True"])
@pytest.mark.parametrize("heard", [True, False])
def test_publishing_t5_a_day_without_instagram(stage: Stage, heard: bool) -> None:
    row = play(stage, "T5", seed=5, heard=heard, personas=2)
    assert row["published"] == 2 and row["unresolved"] == (0 if heard else 2)


def test_publishing_t6_two_schedulers_stopped_longer_than_their_leases(stage: Stage) -> None:
    row = play(stage, "T6", seed=6, processes=2, posts=4)
    assert row["fenced_writes"] == 0 and row["published"] == 4 and row["stops"] > 0


def test_publishing_t7_the_line_is_cut(stage: Stage) -> None:
    row = play(stage, "T7", seed=7, personas=1, each=4)
    assert row["published"] == 4 and row["cuts"] > 0


@pytest.mark.long(but=["throttle"])
@pytest.mark.parametrize("kind", ["throttle", "errors"])
def test_publishing_t8_storms(stage: Stage, kind: str) -> None:
    row = play(stage, "T8", seed=8, kind=kind, personas=2)
    assert row["published"] == row["posts"] and row["faults"] > 0


def test_publishing_t9_the_live_quota_counts(stage: Stage) -> None:
    row = play(stage, "T9", seed=9, total=3)
    assert (row["in_24_hours"], row["published"]) == (3, 6)


@pytest.mark.long(but=["facebook-media_publish"])
@pytest.mark.parametrize("at", ["list_media", "media_publish"])
@pytest.mark.parametrize("account", ["instagram", "facebook"])
def test_publishing_t10_a_dead_token_pauses_one_persona_alone(stage: Stage, account: str, at: str) -> None:
    assert play(stage, "T10", seed=10, at=at, account=account)["paused"] == 1


def test_publishing_t12_clocks_that_jump_and_days_of_23_hours(stage: Stage) -> None:
    assert play(stage, "T12", seed=12, count=6)["early"] == 0
    play(stage, "T12", seed=12, zone="Australia/Lord_Howe")


@pytest.mark.long(but=["unfetched", "child_late"])
@pytest.mark.parametrize(
    "kind", ["down", "wrong_type", "forbidden", "second", "unfetched", "child", "child_late"]
)
def test_publishing_t13_the_media_host_fails(stage: Stage, kind: str) -> None:
    play(stage, "T13", seed=13, kind=kind)


@pytest.mark.long(but=["crash"])
@pytest.mark.parametrize("kind", ["crash", "locked", "wal", "full"])
def test_publishing_t14_no_publish_call_without_a_written_intent(stage: Stage, kind: str) -> None:
    row = play(stage, "T14", seed=14, kind=kind)
    assert row["unwritten"] == row["false_alarms"] == row["unresolved"] == 0 and row["published"] == 4


@pytest.mark.long(but=["refused", "too_long"])
@pytest.mark.parametrize("kind", KINDS)
def test_publishing_t16_no_post_waits_for_a_writer_and_none_breaks_a_rule(stage: Stage, kind: str) -> None:
    assert play(stage, "T16", seed=16, kind=kind)["violations"] == 0


def test_publishing_t17_whatever_comes_in_what_goes_out_keeps_the_rules(stage: Stage) -> None:
    play(stage, "T17", seed=17, files=12)


def test_publishing_t18_a_day_of_a_soak(stage: Stage) -> None:
    row = play(stage, "T18", seed=18, days=1, personas=1)
    assert row["published"] == 3


def test_publishing_t20_a_restored_backup_doubles_nothing(stage: Stage) -> None:
    row = play(stage, "T20", seed=20, posts=5)
    assert row["went_out"] == row["published"] == 5 and row["held"]


@pytest.mark.long
def test_publishing_t11_posts_due_after_an_outage(stage: Stage) -> None:
    row = PLAYS["T11"](stage, seed=11, personas=4, each=10)
    assert (row["doubled"], row["lost"], row["wrong"]) == (0, 0, 0)
    assert row["shortest_gap_minutes"] >= 29.9


@pytest.mark.long
@pytest.mark.parametrize("how", ["stopped", "locked"])
def test_publishing_t15_a_scheduler_that_hangs_is_started_again(stage: Stage, how: str) -> None:
    assert play(stage, "T15", seed=15, how=how, seconds=6.0)["silent"]


@pytest.mark.long
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_publishing_12_the_standby_takes_over(stage: Stage, how: str) -> None:
    play(stage, "T21", seed=21, how=how)


@pytest.mark.long
def test_publishing_t19_the_usual_designs_lose_posts(stage: Stage) -> None:
    theirs = [PLAYS["T19"](stage, seed=19, design=design, posts=20) for design in ("retry", "job_store")]
    assert sum(row["lost"] + row["doubled"] for row in theirs) > 0
    play(stage, "T19", seed=19, design="ours", posts=6)


@pytest.mark.long(but=["3-of-the-quickest"])
@pytest.mark.parametrize(
    ("count", "among"), [pytest.param(3, 40, id="3-of-the-quickest"), pytest.param(20, None, id="20")]
)
def test_publishing_r24_rows_of_the_published_results_come_out_again(
    stage: Stage, count: int, among: int | None
) -> None:
    kept = json.loads((ROOT / "docs" / "reliability.json").read_text())
    rows = [row for row in kept["rows"] if row["wall"] < QUICKEST and row["test"] not in BY_THE_MACHINE]
    rows.sort(key=lambda row: float(row["wall"]))
    for row in random.Random().sample(rows[:among], count):
        again = PLAYS[row["test"]](stage, **row["case"])
        for name in ("posts", "doubled", "lost", "wrong", "broken"):
            assert again.get(name) == row["result"].get(name), (row["test"], row["case"], name)
