"""Lost, wrong and late answers to `media_publish`: never doubled, never lost, never bound to another item."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.publishing import RECONCILE_QUICKLY, World, make_world

from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.cases import cases_waiting, take_case

CAREFUL = replace(RECONCILE_QUICKLY, quiet_for=timedelta(minutes=5), settle=timedelta(minutes=10))


def refusal(code: int, subcode: int | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": "no", "type": "OAuthException"}
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"status": 400, "body": {"error": error}}


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def lose_answer(world: World, kind: str = "effect_then_drop", **more: Any) -> None:
    world.plan("media_publish", kind, **more)


@pytest.mark.long(but=["effect_then_drop-more0", "fail_before-more4"])
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("effect_then_drop", {}),
        ("effect_then_error", {"status": 500}),
        ("effect_then_error", refusal(4, 2207051)),
        ("garbage", {}),
        ("fail_before", {"status": 503}),
        ("fail_before", refusal(9007, 2207027)),
        ("drop_before", {}),
    ],
)
async def test_whatever_is_answered_the_post_is_out_once_and_rightly_bound(
    world: World, kind: str, more: dict[str, Any]
) -> None:
    post = world.post()
    lose_answer(world, kind, **more)
    await world.publish()
    assert world.view(post.id).state == "unknown"
    world.do("UPDATE instagram_accounts SET status = 'active'")
    view = await world.settle(post.id)
    (entry,) = world.published()
    assert (view.state, view.media_id) == ("published", entry["media_id"])
    assert len(world.calls("container_created")) == 1
    assert len(world.calls("publish_called")) == 1  # a fault before the effect is no call that was heard


async def test_r16_a_post_that_a_dead_reconciler_held_is_taken_up(world: World) -> None:
    post = world.post()
    lose_answer(world)
    await world.publish()
    with world.db.session_scope() as session:
        ((post_id, fence),) = cases_waiting(session, is_dead=lambda _: False)
        take_case(session, post_id, fence, lease=timedelta(minutes=2), owner=world.dead_owner())
    assert world.view(post.id).state == "reconciling"
    assert (await world.reconcile(is_dead=lambda _: False)).settled == ()
    assert (await world.reconcile()).settled == ((post.id, "published"),)


async def test_a_second_answer_lost_after_the_first_was_without_effect(world: World) -> None:
    post = world.post()
    lose_answer(world, "drop_before")
    lose_answer(world, "effect_then_drop")
    view = await world.settle(post.id)
    assert [entry["media_id"] for entry in world.published()] == [view.media_id]


async def test_a_phone_post_in_the_same_minute_is_never_taken_for_ours(world: World) -> None:
    post = world.post()
    world.behave(foreign_posts=1.0, unreadable_alt_text=1.0)
    lose_answer(world)
    view = await world.settle(post.id)
    (entry,), (foreign,) = world.published(), world.calls("foreign_post")
    assert view.media_id == entry["media_id"] != foreign["media_id"]


@pytest.mark.long
async def test_late_listings_and_stale_states_never_lead_to_a_second_publication(world: World) -> None:
    post = world.post()
    world.behave(listing_delay=[600, 600], second_publish="publish_again")
    lose_answer(world)
    await world.publish()
    world.behave(stale_status=1.0)
    for _ in range(5):
        await world.reconcile(policy=CAREFUL)
        world.advance_clocks(120)
    assert world.view(post.id).state == "unknown" and len(world.calls("publish_called")) == 1
    view = await world.settle(post.id)
    assert [entry["media_id"] for entry in world.published()] == [view.media_id]


async def test_nothing_is_sent_again_before_the_quiet_time_is_over(world: World) -> None:
    post = world.post()
    lose_answer(world, "drop_before")
    await world.publish()
    for _ in range(6):
        await world.reconcile(policy=CAREFUL)
        await world.publish()
    assert world.calls("publish_called") == [] and world.view(post.id).state == "unknown"
    world.advance_clocks(301)
    await world.reconcile(policy=CAREFUL)
    assert (await world.publish()).published == (post.id,)


async def test_an_unlabelled_post_without_words_is_left_to_a_person(world: World) -> None:
    with world.db.session_scope() as session:
        photo = posts.draft_for_winner(session, photo_id=world.photo(session))
        posts.publish_now(session, photo.id)
    lose_answer(world)
    await world.publish()
    world.phone_post()
    await world.reconcile()
    assert world.view(photo.id).state == "unknown"
    world.advance_clocks(20 * 60)
    await world.reconcile()
    assert world.view(photo.id).state == "needs_human"
    listing = await world.reconciler().look(photo.id)
    assert len(listing.items) == 2
    (entry,) = world.published()
    with world.db.session_scope() as session:
        adopted = posts.adopt(session, photo.id, entry["media_id"])
    assert (adopted.state, adopted.media_id) == ("published", entry["media_id"])


@pytest.mark.long
async def test_r17_one_in_doubt_holds_its_account_up_until_25_hours_are_over(world: World) -> None:
    doubted = world.post(grace_minutes=7 * 24 * 60)
    following = world.post(alt_text="Another cup", grace_minutes=7 * 24 * 60)
    lose_answer(world, "drop_before")
    await world.publish()
    world.plan("container_status", "drop_before", times=None)
    world.plan("list_media", "drop_before", times=None)
    for _ in range(4):
        await world.reconcile()
        await world.publish()
    assert (world.view(doubted.id).state, world.view(following.id).state) == ("unknown", "scheduled")
    world.advance_clocks(25 * 3600)
    await world.reconcile()
    assert world.view(doubted.id).state == "needs_human"
    world.clear_faults()
    assert (await world.publish()).published == (following.id,)


async def test_r17_what_may_be_the_post_in_doubt_is_never_taken_for_the_next_one(world: World) -> None:
    def photo() -> int:
        with world.db.session_scope() as session:
            draft = posts.draft_for_winner(session, photo_id=world.photo(session))
            return posts.publish_now(session, draft.id).id

    doubted, following = photo(), photo()
    lose_answer(world)
    await world.publish()
    world.phone_post()
    world.advance_clocks(20 * 60)
    for _ in range(2):
        await world.reconcile(policy=replace(RECONCILE_QUICKLY, ask_published=timedelta(0)))
    assert world.view(doubted).state == "needs_human"
    lose_answer(world)
    await world.publish()
    listing = await world.reconciler().look(following)
    assert [item.facts.id for item in listing.items] == [world.published()[1]["media_id"]]


async def test_r13_an_expired_container_that_was_sent_is_never_made_again(world: World) -> None:
    post = world.post(grace_minutes=7 * 24 * 60)
    lose_answer(world, "drop_before")
    await world.publish()
    world.advance_clocks(24 * 3600 + 1)
    for _ in range(3):
        await world.reconcile()
    assert world.view(post.id).state == "needs_human"
    assert len(world.calls("container_created")) == 1


async def test_r18_marking_as_not_published_demands_a_look_and_a_dead_container(world: World) -> None:
    post = world.post(grace_minutes=7 * 24 * 60)
    lose_answer(world, "drop_before")
    await world.publish()
    world.advance_clocks(24 * 3600 + 1)
    for _ in range(3):
        await world.reconcile()

    def mark() -> posts.PostView:
        with world.db.session_scope() as session:
            return posts.mark_not_published(session, post.id)

    with pytest.raises(NotAllowedNow, match="Nobody has looked"):
        mark()
    await world.reconciler().look(post.id)
    world.advance_clocks(16 * 60)
    with pytest.raises(NotAllowedNow, match="Nobody has looked"):
        mark()
    listing = await world.reconciler().look(post.id)
    assert (listing.container, listing.items) == ("EXPIRED", ())
    assert mark().state == "ready"
    with world.db.session_scope() as session:
        posts.publish_now(session, post.id)
    assert (await world.publish()).published == (post.id,)
    assert len(world.published()) == 1


async def test_r18_a_live_container_is_not_marked_as_not_published(world: World) -> None:
    post = world.post()
    lose_answer(world, "drop_before")
    await world.publish()
    world.plan("publishing_limit", "drop_before", times=None)
    world.phone_post(alt_text="A cup by the window")
    world.phone_post(alt_text="A cup by the window")
    await world.reconcile()
    assert world.view(post.id).state == "needs_human"
    await world.reconciler().look(post.id)
    with pytest.raises(NotAllowedNow, match="could still appear"), world.db.session_scope() as session:
        posts.mark_not_published(session, post.id)


async def test_a_dead_token_at_the_publish_call_stops_the_account_and_loses_nothing(world: World) -> None:
    post = world.post()
    lose_answer(world, "effect_then_error", **refusal(190, 463))
    await world.publish()
    assert world.view(post.id).state == "unknown"
    assert world.one("SELECT status FROM instagram_accounts") == "paused"
    await world.reconcile()
    assert world.view(post.id).state == "unknown"
    world.do("UPDATE instagram_accounts SET status = 'active'")
    with world.db.session_scope() as session:
        posts.reconcile_now(session, post.id)
    view = await world.settle(post.id)
    assert [entry["media_id"] for entry in world.published()] == [view.media_id]
