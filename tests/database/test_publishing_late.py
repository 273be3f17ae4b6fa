"""Time (item 9): overdue posts, late policies, bulk acts with undo, clock changes, and the pause of all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow
from persona_tui.services.planning.slots import next_slot
from persona_tui.services.publishing import late, pausing, posts, slots
from tests.support.publishing import World, make_rows, make_world

GAP = timedelta(minutes=30)
find_slot = partial(next_slot, min_gap=GAP)


@pytest.fixture
def rows(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def overdue(world: World, *, hours: float = 9, state: str = "scheduled") -> int:
    """A post that should have gone out so many hours ago."""
    post = world.post()
    at = world.now() - timedelta(hours=hours)
    world.do(
        "UPDATE scheduling_posts SET scheduled_at = :at, wall_time = :wall WHERE id = :id",
        id=post.id,
        at=at,
        wall=at.replace(tzinfo=None).isoformat(timespec="minutes"),
    )
    if state != "scheduled":
        world.do("UPDATE scheduling_posts SET state = :state WHERE id = :id", id=post.id, state=state)
    return post.id


def test_publishing_9_missed_posts_are_moved_to_slots_that_keep_the_gap(rows: World) -> None:
    rows.do("UPDATE personas SET late_policy = 'reslot', posts_per_week = 50")
    missed = [overdue(rows, state="missed") for _ in range(3)]
    asked = overdue(rows, state="missed")
    rows.do("UPDATE scheduling_posts SET late_policy = 'ask' WHERE id = :id", id=asked)
    with rows.db.session_scope() as session:
        assert late.reslot_missed(session, rows.now(), find_slot) == tuple(missed)
    times = sorted(rows.view(post_id).scheduled_at for post_id in missed)  # type: ignore[type-var]
    assert all(rows.view(post_id).state == "scheduled" for post_id in missed)
    assert times[0] > rows.now() and all(b - a >= GAP for a, b in pairwise(times))  # type: ignore[operator]
    assert rows.view(asked).state == "missed"
    actors = rows.rows("SELECT DISTINCT actor FROM audit_events WHERE action = 'post.schedule'")
    assert ("scheduler",) in actors


def test_publishing_9_a_missed_post_without_a_free_slot_says_so_and_is_not_asked_again(rows: World) -> None:
    rows.do("UPDATE personas SET late_policy = 'reslot'")
    missed = overdue(rows, state="missed")

    def none_free(*_: object) -> slots.Slot:
        raise NotAllowedNow("No slot is free in the next 60 days.")

    for _ in range(2):
        with rows.db.session_scope() as session:
            assert late.reslot_missed(session, rows.now(), none_free) == ()
    assert rows.view(missed).reason.startswith("No new slot: No slot is free")


async def test_publishing_9_the_posts_own_policy_wins_over_the_personas(world: World) -> None:
    dropped, kept = overdue(world), overdue(world)
    world.do("UPDATE scheduling_posts SET late_policy = 'drop' WHERE id = :id", id=dropped)
    assert set((await world.publish()).missed) == {dropped, kept}
    assert (world.view(dropped).state, world.view(kept).state) == ("cancelled", "missed")
    assert world.published() == []


@pytest.mark.parametrize(
    ("act", "became"), [("now", "scheduled"), ("reslot", "scheduled"), ("drop", "cancelled")]
)
def test_publishing_9_an_act_on_many_is_done_post_by_post_and_undone(
    rows: World, act: late.LateAct, became: str
) -> None:
    chosen = [overdue(rows, state="missed"), overdue(rows, hours=2)]
    before = [rows.view(post_id) for post_id in chosen]
    with rows.db.session_scope() as session:
        assert [post.id for post in late.overdue_posts(session)] == chosen
        outcomes = late.carry_out(session, act, [*chosen, 10**9], rows.now(), find_slot)
    assert [outcome.done for outcome in outcomes] == [True, True, False]
    assert "There is no post" in outcomes[2].sentence
    assert {rows.view(post_id).state for post_id in chosen} == {became}
    with rows.db.session_scope() as session:
        assert all(outcome.done for outcome in late.undo(session, outcomes))
    after = [rows.view(post_id) for post_id in chosen]
    assert [(p.state, p.scheduled_at, p.wall_time) for p in after] == [
        (p.state, p.scheduled_at, p.wall_time) for p in before
    ]


def test_publishing_9_what_went_on_meanwhile_is_not_undone(rows: World) -> None:
    missed = overdue(rows, state="missed")
    with rows.db.session_scope() as session:
        outcomes = late.carry_out(session, "reslot", [missed], rows.now(), find_slot)
        posts.unschedule(session, missed)
        (kept,) = late.undo(session, outcomes)
    assert (kept.done, rows.view(missed).state) == (False, "ready")
    assert kept.sentence.startswith("It has gone on meanwhile.")


@pytest.mark.parametrize(
    ("wall", "zone", "at", "note"),
    [
        ("2027-03-14T02:30", "America/New_York", "2027-03-14T07:30+00:00", "skip 02:30 that night"),
        ("2026-11-01T01:30", "America/New_York", "2026-11-01T05:30+00:00", "twice that night"),
        ("2026-10-04T02:10", "Australia/Lord_Howe", "2026-10-03T15:40+00:00", "it goes out at 02:40"),
        ("2026-11-28T10:00", "Asia/Kathmandu", "2026-11-28T04:15+00:00", ""),
    ],
)  # fmt: skip
def test_publishing_9_clock_changes_are_resolved_and_told(wall: str, zone: str, at: str, note: str) -> None:
    slot = slots.resolve(datetime.fromisoformat(wall), zone)
    assert slot.at == datetime.fromisoformat(at)
    assert note in slot.note and bool(note) == bool(slot.note)


def test_publishing_9_a_new_zone_rule_moves_the_instant_and_keeps_the_wall_time(rows: World) -> None:
    at = datetime.now(UTC).replace(microsecond=0, second=0, minute=0) + timedelta(days=40)
    post = rows.post(at=at)
    steady = rows.post(at=at + timedelta(days=1))
    rows.do(
        "UPDATE scheduling_posts SET scheduled_at = scheduled_at - interval '1 hour' WHERE id = :id",
        id=post.id,
    )  # as it was computed under the old rule
    with rows.db.session_scope() as session:
        assert slots.follow_zone_rules(session) == (post.id,)
    moved = rows.view(post.id)
    assert (moved.scheduled_at, moved.wall_time) == (post.scheduled_at, post.wall_time)
    assert rows.view(steady.id).scheduled_at == steady.scheduled_at


async def test_publishing_12_nothing_goes_out_while_all_is_paused(world: World) -> None:
    due = world.post()
    late_one = overdue(world)
    with world.db.session_scope() as session:
        pausing.pause_all(session)
    report = await world.publish()
    assert (report.ended, report.missed, world.published()) == ((), (), [])
    with world.db.session_scope() as session:
        with pytest.raises(NotAllowedNow, match="paused already"):
            pausing.pause_all(session)
        pausing.resume_all(session)
    report = await world.publish()
    assert (report.published, report.missed) == ((due.id,), (late_one,))


def test_publishing_9_what_a_restore_left_is_never_moved_by_itself_or_among_others(rows: World) -> None:
    rows.do("UPDATE personas SET late_policy = 'reslot'")
    restored, missed = overdue(rows, state="missed"), overdue(rows, state="missed")
    rows.do(
        "UPDATE scheduling_posts SET reason = :reason WHERE id = :id",
        reason=f"{late.AFTER_RESTORE} no item carries its words.",
        id=restored,
    )
    with rows.db.session_scope() as session:
        assert late.reslot_missed(session, rows.now(), find_slot) == (missed,)
        (refused,) = late.carry_out(session, "now", [restored], rows.now(), find_slot)
    assert not refused.done and "may be out already" in refused.sentence
    assert rows.view(restored).state == "missed"
