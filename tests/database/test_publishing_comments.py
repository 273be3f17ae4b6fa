"""The first comment of a post that is out: once, whatever becomes of the answer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_login import LoginName
from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.comment_cases import retry_comment, write_comment
from persona_tui.services.publishing.comments import CommentReport, CommentRound
from persona_tui.services.publishing.formats import Format, set_format
from persona_tui.services.publishing.policy import CommentPolicy
from tests.support.publishing import World, add_persona, make_world

QUICK = CommentPolicy(rest=timedelta(0), quiet=timedelta(minutes=30), pauses=(0.0,), patience=30.0)
WORDS = "The cup is by @bea_makes_cups"


@pytest.fixture
async def world(db: Database, tmp_path: Path) -> World:
    """A post is out, and its first comment waits."""
    made = make_world(db, tmp_path)
    with made.db.session_scope() as session:
        draft = posts.draft_for_winner(session, made.candidate(session))
        posts.write_caption(session, draft.id, "Morning", ["coffee"], "A cup")
        set_format(session, draft.id, Format(first_comment=WORDS))
        posts.publish_now(session, draft.id)
    await made.publish()
    return made


async def comment(world: World) -> CommentReport:
    """One round of a fresh process."""
    round_ = CommentRound(
        world.db.session_scope,
        make_client=world.client,
        keyring=world.keyring,
        settings=world.settings,
        policy=QUICK,
    )
    return await round_.tick()


def state(world: World) -> tuple[str, str | None, str]:
    row = world.rows("SELECT comment_state, comment_id, comment_reason FROM scheduling_posts")[0]
    return (str(row[0]), row[1], str(row[2]))


async def test_publishing_6_a_first_comment_is_written_once_and_passed_the_guard(world: World) -> None:
    began = world.ledger_length()
    await comment(world)
    await comment(world)
    (entry,) = world.calls("commented")
    assert (entry["text"], entry["media_id"]) == (WORDS, world.published()[0]["media_id"])
    assert state(world) == ("posted", entry["comment_id"], "")
    passed = world.rows("SELECT content_sha256 FROM audit_events WHERE action = 'guard.pass'")
    assert {(digest,) for digest in world.received_since(began)} <= set(passed)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("effect_then_drop", {}),
        ("effect_then_error", {"status": 400, "body": {"error": {"code": 20, "error_subcode": 1772107}}}),
        ("garbage", {}),
    ],
)
async def test_publishing_10_a_comment_whose_answer_is_lost_is_found_and_never_doubled(
    world: World, kind: str, more: dict[str, Any]
) -> None:
    world.plan("create_comment", kind, **more)
    await comment(world)
    await comment(world)
    (entry,) = world.calls("commented")
    assert state(world) == ("posted", entry["comment_id"], "")


async def test_publishing_10_a_comment_that_shows_up_late_is_waited_for(world: World) -> None:
    world.behave(comment_delay=[20 * 60, 20 * 60])
    world.plan("create_comment", "effect_then_drop")
    await comment(world)
    assert state(world)[0] == "unknown"
    world.advance_clocks(10 * 60)
    await comment(world)
    assert state(world)[0] == "unknown" and len(world.calls("comment_called")) == 1
    world.advance_clocks(10 * 60)
    await comment(world)
    assert state(world) == ("posted", world.calls("commented")[0]["comment_id"], "")


async def test_publishing_10_a_comment_that_was_never_written_is_sent_again_after_the_quiet_time(
    world: World,
) -> None:
    world.plan("create_comment", "drop_before")
    await comment(world)
    assert state(world)[0] == "unknown" and world.calls("commented") == []
    world.advance_clocks(31 * 60)
    await comment(world)
    assert state(world)[0] == "posted" and len(world.calls("commented")) == 1


async def test_publishing_10_an_intent_that_a_dead_process_left_is_looked_for_before_anything_is_sent(
    world: World,
) -> None:
    await comment(world)
    world.do(
        "UPDATE scheduling_posts SET comment_state = 'sending', comment_id = NULL,"
        " comment_tried_at = persona_now()"
    )
    await comment(world)
    assert state(world)[0] == "sending"  # it may be under way
    world.advance_clocks(61)
    await comment(world)
    await comment(world)
    (entry,) = world.calls("commented")
    assert state(world) == ("posted", entry["comment_id"], "")


async def test_publishing_10_a_restored_database_does_not_write_it_again(world: World) -> None:
    await comment(world)
    world.do(
        "UPDATE scheduling_posts SET comment_state = 'waiting', comment_id = NULL, comment_tried_at = NULL"
    )
    await comment(world)
    assert state(world)[0] == "posted" and len(world.calls("comment_called")) == 1


async def test_publishing_6_a_missing_permission_fails_the_comment_alone_until_a_person_tries_again(
    world: World,
) -> None:
    refused = {"status": 403, "body": {"error": {"code": 10, "message": "no"}}}
    world.plan("create_comment", "fail_before", **refused)
    await comment(world)
    assert state(world)[0] == "failed" and "permission" in state(world)[2]
    assert world.one("SELECT status FROM instagram_accounts") == "active"
    (post_id,) = world.rows("SELECT id FROM scheduling_posts")[0]
    with world.db.session_scope() as session:
        retry_comment(session, post_id)
    await comment(world)
    assert state(world)[0] == "posted"
    with pytest.raises(NotAllowedNow, match="there already"), world.db.session_scope() as session:
        write_comment(session, post_id, "Another")


async def test_publishing_6_nothing_is_written_while_publishing_is_held_or_paused(world: World) -> None:
    for name in ("publishing_held", "publishing_paused"):
        world.do(f"UPDATE installation SET {name} = true")
        await comment(world)
        assert world.calls("comment_called") == []
        world.do(f"UPDATE installation SET {name} = false")


@pytest.mark.parametrize("login", ["instagram", "facebook"])
async def test_publishing_6_a_first_comment_is_written_under_the_accounts_own_login(
    db: Database, tmp_path: Path, login: LoginName
) -> None:
    world = make_world(db, tmp_path)
    add_persona(world, "Bea", login)
    post = world.post()
    with db.session_scope() as session:
        set_format(session, post.id, Format(first_comment=WORDS))
    await world.publish()
    used: list[str] = []

    def client(ig_user_id: str, token: str, name: LoginName = "instagram") -> InstagramClient:
        used.append(name)
        return world.client(ig_user_id, token, name)

    await CommentRound(
        db.session_scope, make_client=client, keyring=world.keyring, settings=world.settings, policy=QUICK
    ).tick()
    assert used == [login]
    assert world.one("SELECT comment_state FROM scheduling_posts WHERE id = :id", id=post.id) == "posted"
