"""The publisher over a real database and the sandbox: what goes out, when, and what is refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from persona_tui.clients.instagram import InstagramClient
from persona_tui.database.engine import Database
from persona_tui.logs import configure_logging
from persona_tui.pool import WorkPool
from persona_tui.services.clock_watch import boot_seconds
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.accounts import replace_token
from tests.support.publishing import PUBLISH_QUICKLY, World, add_persona, make_world
from tests.support.publishing_rows import drive_to

FAILED: dict[str, Any] = {"status": 200, "body": {"status_code": "ERROR", "status": "Error: something"}}
PATIENT = replace(PUBLISH_QUICKLY, backoff=(3600.0,), later_polls=(3600.0,))


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def graph_error(code: int, subcode: int | None = None, **more: Any) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": "no", "type": "OAuthException", **more}
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"status": 400, "body": {"error": error}}


# What goes out


async def test_a_due_post_goes_out_once_and_carries_its_media_id(world: World) -> None:
    post = world.post()
    report = await world.publish()
    (entry,) = world.published()
    out = world.view(post.id)
    assert report.published == (post.id,)
    assert (out.state, out.media_id) == ("published", entry["media_id"])
    assert entry["caption"] == f"Morning {post.id}\n\n#coffee" and entry["is_ai_generated"] is True
    assert out.permalink and out.published_at and out.caption_metadata["read_back"]["is_ai_generated"] is True
    (attempt,) = posts.post_detail(world.db_session(), post.id).attempts
    assert (attempt.open, attempt.outcome) == (False, "published")
    assert [reply.call for reply in attempt.replies][0::2] == ["create_container", "media_publish"]
    await world.publish()
    assert len(world.published()) == 1


async def test_a_photograph_goes_out_without_the_ai_label(world: World) -> None:
    with world.db.session_scope() as session:
        draft = posts.draft_for_winner(session, photo_id=world.photo(session))
        posts.publish_now(session, draft.id)
    await world.publish()
    (entry,) = world.published()
    assert entry["is_ai_generated"] is False and entry["alt_text"] is None


async def test_r31_everything_that_instagram_received_passed_the_guard(world: World) -> None:
    began = world.ledger_length()
    world.post()
    await world.publish()
    (entry,) = world.published()
    passed = {
        row[0] for row in world.rows("SELECT content_sha256 FROM audit_events WHERE action = 'guard.pass'")
    }
    received = world.received_since(began)
    assert len(received) == 3 and set(received) <= passed
    assert entry["picture_sha256"] in passed


async def test_posts_of_an_account_go_one_after_the_other_with_the_gap_between(world: World) -> None:
    first, second = world.post(), world.post()
    spaced = world.with_gap(60)
    assert (await spaced.publish()).published == (first.id,)
    assert (await spaced.publish()).published == ()
    world.advance_clocks(3601)
    assert (await spaced.publish()).published == (second.id,)


async def test_accounts_do_not_wait_for_each_other(world: World) -> None:
    first = world.post()
    world.plan("create_container", "fail_before", **graph_error(2))
    add_persona(world, "Bea")
    second = world.post()
    states = dict((await world.publish(policy=PATIENT)).ended)
    assert sorted(states) == [first.id, second.id]
    assert sorted(states.values()) == ["deferred", "published"]


async def test_many_publishers_at_once_publish_each_post_once(world: World) -> None:
    wanted = {world.post().id for _ in range(3)}
    add_persona(world, "Bea")
    wanted |= {world.post().id for _ in range(3)}
    crowd = [world.publisher(owner=f"elsewhere:boot:{n}:0") for n in range(4)]
    reports = await asyncio.gather(*(one.tick(world.now()) for one in crowd))
    out = [post_id for report in reports for post_id in report.published]
    assert sorted(out) == sorted(wanted)
    assert world.one("SELECT count(DISTINCT media_id) FROM scheduling_posts") == len(wanted)


async def test_nothing_goes_out_early_while_held_or_from_a_stopped_account(
    world: World,
) -> None:
    early = world.post(at=world.now() + timedelta(hours=1))
    world.post()
    world.do("UPDATE installation SET publishing_held = true")
    assert (await world.publish()).ended == ()
    world.do("UPDATE installation SET publishing_held = false")
    world.do("UPDATE instagram_accounts SET status = 'paused'")
    assert (await world.publish()).ended == ()
    world.do("UPDATE instagram_accounts SET status = 'active'")
    assert len((await world.publish()).published) == 1
    assert world.view(early.id).state == "scheduled" and len(world.published()) == 1


async def test_r04_a_leader_of_yesterday_claims_nothing(world: World) -> None:
    post = world.post()
    world.do("UPDATE installation SET leader_epoch = 7")
    assert (await world.publish(epoch=lambda: 6)).ended == ()
    assert (await world.publish(epoch=lambda: 7)).published == (post.id,)
    assert world.one("SELECT leader_epoch FROM scheduling_posts") == 7


async def test_a_post_whose_grace_is_over_is_missed_or_dropped(world: World) -> None:
    asked = world.post(grace_minutes=30)
    world.advance_clocks(31 * 60)
    assert (await world.publish()).missed == (asked.id,)
    assert world.view(asked.id).state == "missed"
    world.do("UPDATE personas SET late_policy = 'drop'")
    dropped = world.post(grace_minutes=30)
    world.advance_clocks(31 * 60)
    await world.publish()
    assert world.view(dropped.id).state == "cancelled" and world.published() == []


async def test_a_post_of_a_stopped_account_is_not_missed(world: World) -> None:
    post = world.post(grace_minutes=30)
    world.do("UPDATE instagram_accounts SET status = 'paused'")
    world.advance_clocks(31 * 60)
    assert (await world.publish()).missed == ()
    assert world.view(post.id).state == "scheduled"


# What Instagram says


@pytest.mark.parametrize(
    ("code", "subcode", "state", "account"),
    [
        (36003, 2207009, "fix_needed", "active"),
        (190, 463, "paused", "paused"),
        (25, 2207050, "paused", "restricted"),
        (4, None, "deferred", "active"),
        (9, 2207042, "deferred", "active"),
        (2, None, "deferred", "active"),
        (9004, 2207052, "deferred", "active"),
    ],
)
async def test_an_error_at_the_container_leads_where_it_must(
    world: World, code: int, subcode: int | None, state: str, account: str
) -> None:
    post = world.post()
    world.plan("create_container", "fail_before", **graph_error(code, subcode))
    await world.publish(policy=PATIENT)
    view = world.view(post.id)
    assert (view.state, world.one("SELECT status FROM instagram_accounts")) == (state, account)
    assert view.reason and world.published() == []


async def test_a_new_token_sets_the_stopped_posts_free(world: World) -> None:
    post = world.post()
    world.plan("create_container", "fail_before", **graph_error(190, 460))
    await world.publish()
    assert world.view(post.id).state == "paused"
    with world.db.session_scope() as session:
        replace_token(session, world.keyring, world.account_id, SecretStr(world.token))
    assert (await world.publish()).published == (post.id,)


async def test_what_may_pass_is_tried_again_and_waiting_posts_keep_their_order(world: World) -> None:
    first, second = world.post(), world.post()
    world.plan("create_container", "drop_before")
    await world.publish(policy=PATIENT)
    assert (world.view(first.id).state, world.view(second.id).state) == ("deferred", "scheduled")
    world.advance_clocks(3601)
    assert (await world.publish()).published == (first.id, second.id)


async def test_a_picture_that_instagram_never_fetches_fails_after_three_tries(world: World) -> None:
    post = world.post()
    world.plan("create_container", "fail_before", times=None, **graph_error(9004, 2207052))
    for _ in range(3):
        await world.publish()
    assert world.view(post.id).state == "failed"
    assert world.one("SELECT count(*) FROM publish_attempts") == 3
    world.clear_faults()
    with world.db.session_scope() as session:
        posts.retry(session, post.id)
    assert (await world.publish()).published == (post.id,)


async def test_a_full_quota_waits_with_its_container_and_then_uses_that_one(world: World) -> None:
    post = world.post()
    world.behave(quota_total=0)
    await world.publish(policy=replace(PUBLISH_QUICKLY, quota_wait=timedelta(hours=1)))
    waiting = world.view(post.id)
    assert waiting.state == "deferred" and waiting.creation_id
    world.behave(quota_total=50)
    world.advance_clocks(3601)
    assert (await world.publish()).published == (post.id,)
    assert [entry["container_id"] for entry in world.published()] == [waiting.creation_id]
    assert len(world.calls("container_created")) == 1


async def test_changed_words_never_go_out_in_the_old_container(world: World) -> None:
    post = world.post()
    world.behave(quota_total=0)
    await world.publish(policy=replace(PUBLISH_QUICKLY, quota_wait=timedelta(hours=1)))
    world.behave(quota_total=50)
    with world.db.session_scope() as session:
        posts.write_caption(session, post.id, "Better words")
        posts.retry(session, post.id)
    await world.publish()
    assert [entry["caption"] for entry in world.published()] == ["Better words"]


async def test_r13_a_container_that_failed_is_replaced_only_after_a_second_look(world: World) -> None:
    post = world.post()
    world.plan("container_status", "fail_before", times=1, **FAILED)
    assert (await world.publish()).published == (post.id,)
    assert len(world.calls("container_created")) == 1


async def test_r13_a_container_that_failed_twice_is_replaced(world: World) -> None:
    post = world.post()
    world.plan("container_status", "fail_before", times=2, **FAILED)
    assert (await world.publish()).published == (post.id,)
    assert len(world.calls("container_created")) == 2


async def test_r13_a_container_older_than_25_hours_is_replaced(world: World) -> None:
    post = world.post(grace_minutes=7 * 24 * 60)
    world.behave(container_seconds=3)
    await world.publish(policy=replace(PATIENT, polls=(0.0,)))
    assert world.view(post.id).state == "container"
    world.advance_clocks(25 * 3600 + 1)
    world.behave(container_seconds=0)
    assert (await world.publish()).published == (post.id,)
    assert len(world.calls("container_created")) == 2


async def test_a_slow_container_is_left_and_taken_up_again(world: World) -> None:
    post = world.post()
    world.behave(container_seconds=600)
    await world.publish(policy=PATIENT)
    assert world.view(post.id).state == "container"
    assert (await world.publish(policy=PATIENT)).ended == ()
    world.advance_clocks(3601)
    assert (await world.publish()).published == (post.id,)
    assert len(world.calls("container_created")) == 1


async def test_a_token_of_another_account_stops_the_account(world: World) -> None:
    post = world.post()
    add_persona(world, "Bea")  # whose id `/me` tells from now on
    world.plan("create_container", "fail_before", **graph_error(100, 33))
    await world.publish()
    assert world.view(post.id).state == "paused"
    assert "another account" in world.one(
        "SELECT status_reason FROM instagram_accounts WHERE status = 'paused'"
    )


# What our own side refuses


async def test_the_picture_is_prepared_in_the_work_pools_child(world: World) -> None:
    post = world.post()
    pool = WorkPool()
    try:
        assert (await world.publish(pool=pool)).published == (post.id,)
    finally:
        await pool.aclose()


async def test_a_photo_that_a_model_made_is_not_called_a_photograph(world: World) -> None:
    with world.db.session_scope() as session:
        photo = world.photo(session, made_by_model=True)
        post = posts.publish_now(session, posts.draft_for_winner(session, photo_id=photo).id)
    await world.publish()
    view = world.view(post.id)
    assert view.state == "fix_needed" and "label" in view.reason
    assert world.calls("container_created") == []


async def test_a_lost_original_waits_and_says_so(world: World) -> None:
    post = world.post()
    path = world.media.path(post.pictures[0].media_key)
    assert path is not None
    path.unlink()
    await world.publish(policy=PATIENT)
    view = world.view(post.id)
    assert view.state == "deferred" and "is gone" in view.reason


async def test_a_broken_media_host_is_found_before_instagram_is_asked(world: World) -> None:
    world.post()
    world.plan("media_get", "garbage", service="media")
    report = await world.publish(policy=PATIENT)
    assert [state for _, state in report.ended] == ["deferred"]
    assert world.calls("container_created") == []


async def test_a_missing_key_stops_the_account_and_says_what_to_do(world: World) -> None:
    post = world.post()
    for path in (world.folder / "config" / "keys").iterdir():
        path.unlink()
    await world.publish()
    view = world.view(post.id)
    assert view.state == "paused" and "account add" in view.reason


# R14: the last look


async def test_r14_a_lease_that_is_nearly_over_sends_nothing(world: World) -> None:
    post = world.post()
    clock = iter(range(10**6))
    began = boot_seconds()
    await world.publish(boot_clock=lambda: began + 100 * next(clock))
    assert world.calls("publish_called") == [] and world.view(post.id).state == "unknown"
    await world.reconcile()
    assert (await world.publish()).published == (post.id,)
    assert len(world.calls("container_created")) == 1


async def test_r14_who_was_overtaken_sends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    post = world.post()
    send = InstagramClient.publish

    async def overtaken(self: InstagramClient, container_id: str, **options: Any) -> str:
        world.overtake(post.id)
        return await send(self, container_id, **options)

    monkeypatch.setattr(InstagramClient, "publish", overtaken)
    await world.publish()
    assert world.calls("publish_called") == []
    monkeypatch.undo()
    assert (await world.publish()).lost == (post.id,)
    for _ in range(3):
        await world.reconcile()
    await world.publish()
    assert len(world.published()) == 1 and world.view(post.id).state == "published"


# R16, R20


@pytest.mark.parametrize("state", ["claimed", "staged", "creating"])
async def test_r16_what_a_dead_publisher_left_unsent_goes_out(world: World, state: str) -> None:
    post = world.post()
    drive_to(world, post.id, state, owner=world.dead_owner())
    report = await world.publish()
    assert report.released == (post.id,) and report.published == (post.id,)


@pytest.mark.parametrize("owner", ["", "another-machine:boot:1:1"])
async def test_r16_what_nobody_proves_dead_is_left_until_its_lease_runs_out(world: World, owner: str) -> None:
    post = world.post()
    drive_to(world, post.id, "sending", owner=owner)
    assert (await world.publish()).lost == ()
    world.advance_clocks(121)
    assert (await world.publish()).lost == (post.id,)
    assert world.view(post.id).state == "unknown"


async def test_r16_a_living_owners_post_is_left_alone(world: World) -> None:
    post = world.post()
    drive_to(world, post.id, "sending", owner=world.owner)
    report = await world.publish()
    assert (report.lost, world.view(post.id).state) == ((), "sending")


async def test_r20_a_live_account_has_no_place_in_a_sandbox(world: World) -> None:
    with pytest.raises(Exception, match="a live row"):
        world.do("UPDATE instagram_accounts SET environment = 'live'")
    with pytest.raises(Exception, match="keeps its environment"):
        world.do("UPDATE installation SET environment = 'live', clock_offset = '0'")


# Housekeeping, and nothing leaks


async def test_hosted_copies_go_after_a_day_but_not_those_of_posts_in_doubt(world: World) -> None:
    doubted = world.post()
    world.plan("media_publish", "drop_before")
    await world.publish()
    add_persona(world, "Bea")
    settled = world.post()
    await world.publish()
    world.advance_clocks(24 * 3600 + 1)
    await world.publish()
    kept = world.rows("SELECT post_id, key FROM media_objects WHERE deleted_at IS NULL")
    assert [row[0] for row in kept] == [doubted.id] and settled.id != doubted.id
    assert [path.name for path in world.sandbox.media_dir.iterdir() if path.name == kept[0][1]]


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    path = tmp_path / "logs" / "log.jsonl"
    configure_logging(path, level="DEBUG")
    yield path
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    structlog.reset_defaults()


async def test_r26_no_failure_lets_the_token_out(
    world: World, log_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    echo = graph_error(1, None, error_user_msg=f"token {world.token}")
    for name in ("Bea", "Cleo", "Dora"):
        world.post()
        add_persona(world, name)
    for call in ("create_container", "container_status", "list_media", "media_publish", "media"):
        world.plan(call, "fail_before", **echo)
        world.plan(call, "garbage", body=world.token)
        world.plan(call, "drop_before")
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            await world.publish()
            await world.reconcile()
    told = [*caplog.messages, log_file.read_text(), *world.everything_stored()]
    assert world.one("SELECT count(*) FROM publish_replies WHERE NOT ok") >= 4
    assert not [words for words in told if world.token in words]
