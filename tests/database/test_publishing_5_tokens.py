"""Item 5: tokens are renewed in time, never lost, and a dead one stops its own persona only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from persona_tui.clients.instagram_login import LoginName
from persona_tui.database.engine import Database
from persona_tui.services.doctor import _inside
from persona_tui.services.publishing.account_check import alarms
from persona_tui.services.publishing.accounts import AccountView, get_account, replace_token
from persona_tui.services.publishing.tokens import TokenLook
from tests.support.publishing import World, add_persona, make_world
from tests.support.publishing_sandbox import end_tokens, new_token

DAY = 24 * 3600.0
BOTH = pytest.mark.parametrize("login", ["instagram", "facebook"])


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def account(world: World, account_id: int | None = None) -> AccountView:
    with world.db.session_scope() as session:
        return get_account(session, account_id or world.account_id)


async def look(world: World) -> TokenLook:
    """What the keeper finds when it looks at the world's account."""
    return await world.token_keeper().look(world.account_id)


def renewals(world: World) -> int:
    return world.one("SELECT count(*) FROM audit_events WHERE action = 'account.renew'")


def rejected(subcode: int) -> dict[str, Any]:
    error = {"code": 190, "error_subcode": subcode, "message": "no", "type": "OAuthException"}
    return {"status": 400, "body": {"error": error}}


@BOTH
async def test_publishing_5_a_token_is_renewed_on_day_30_and_then_weekly(
    world: World, login: LoginName
) -> None:
    add_persona(world, "Bea", login)
    seen, renewed_on, passed = {world.token}, list[int](), 0.0
    for day in (1, 29, 30, 31, 36, 37, 38):
        world.advance_clocks(day * DAY + 60 - passed)
        passed = day * DAY + 60
        found = await look(world)
        assert found.said == "fine"
        if found.renewed:
            renewed_on.append(day)
            assert world.stored_token() not in seen
            seen.add(world.stored_token())
    assert renewed_on == [30, 37]
    assert (account(world).days_left or 0) >= 58
    assert world.one("SELECT count(*) FROM instagram_accounts WHERE previous_token_ciphertext IS NULL") == 2


async def test_publishing_5_an_end_that_nobody_knows_is_learned_once_the_token_is_a_day_old(
    world: World,
) -> None:
    add_persona(world, "Bea", "instagram")
    world.do("UPDATE instagram_accounts SET token_expires_at = NULL, token_due_at = NULL")
    assert not (await look(world)).renewed and account(world).days_left is None
    world.advance_clocks(DAY + 60)
    assert (await look(world)).renewed and account(world).days_left == 59


ABSURD = {"access_token": "IGAAnew-token-of-31-years", "expires_in": 978_307_200}


@pytest.mark.long(but=["empty", "31-years"])
@pytest.mark.parametrize(
    "answer",
    [{"access_token": "", "expires_in": 5_184_000}, ABSURD, {**ABSURD, "expires_in": 60}, {"ok": True}],
    ids=["empty", "31-years", "a-minute", "none"],
)
async def test_publishing_5_a_renewal_that_makes_no_sense_changes_nothing(
    world: World, answer: dict[str, Any]
) -> None:
    add_persona(world, "Bea", "instagram")
    before = account(world)
    world.advance_clocks(31 * DAY)
    world.plan("refresh_access_token", "garbage", body=answer)
    assert (await look(world)).trouble
    after = account(world)
    assert world.stored_token() == world.token and after.token_expires_at == before.token_expires_at
    assert (
        after.status == "active" and after.token_trouble and world.view(world.post().id).state == "scheduled"
    )
    world.advance_clocks(DAY)
    assert (await look(world)).renewed and account(world).token_trouble == ""


async def test_publishing_5_the_old_token_comes_back_when_the_new_one_is_refused(world: World) -> None:
    add_persona(world, "Bea", "instagram")
    world.advance_clocks(31 * DAY)
    world.plan("me", "fail_before", skip=1, **rejected(467))
    found = await look(world)
    assert "old one stays" in found.trouble
    assert world.stored_token() == world.token and account(world).status == "active"


async def test_publishing_5_both_tokens_stay_until_instagram_has_answered(world: World) -> None:
    add_persona(world, "Bea", "instagram")
    world.advance_clocks(31 * DAY)
    world.plan("me", "drop_before", skip=1)
    assert (await look(world)).said == "unclear"
    kept = "SELECT count(*) FROM instagram_accounts WHERE previous_token_ciphertext IS NOT NULL"
    assert world.stored_token() != world.token and world.one(kept) == 1
    world.advance_clocks(301)
    assert (await look(world)).said == "fine" and world.one(kept) == 0


# T10, short: the token dies between create and publish


@pytest.mark.parametrize(("login", "subcode"), [("instagram", 463), ("facebook", 460)])
async def test_publishing_5_t10_a_renewal_saves_the_post_when_its_token_dies_on_the_way(
    world: World, login: LoginName, subcode: int
) -> None:
    ada = replace(world)
    add_persona(world, "Bea", login)
    world.advance_clocks(2 * DAY)
    post = world.post()
    world.plan("list_media", "fail_before", **rejected(subcode))
    await world.publish()
    other = ada.post()
    await world.publish()
    assert (world.view(post.id).state, world.view(other.id).state) == ("paused", "published")
    assert (await look(world)).renewed and account(world).status == "active"
    await world.publish()
    assert world.view(post.id).state == "published"
    assert len(world.published()) == 1 and len(world.calls("container_created")) == 1


@BOTH
async def test_publishing_5_t10_a_dead_token_pauses_its_persona_until_the_next_login(
    world: World, login: LoginName
) -> None:
    first = world.account_id
    add_persona(world, "Bea", login)
    bea, bea_id = world.account_id, world.ig_user_id
    post = world.post()
    end_tokens(bea_id, 460)
    await world.publish()
    assert (await look(world)).said == "rejected"
    paused = account(world, bea)
    assert paused.status == "paused" and paused.token_trouble and paused.waiting == 1
    assert (account(world, first).status, world.view(post.id).state) == ("active", "paused")
    assert (await look(world)).said == "rejected" and renewals(world) == 0
    kind = "account" if login == "instagram" else "page"
    token = SecretStr(new_token(bea_id, login=login, kind=kind))
    with world.db.session_scope() as session:
        replace_token(session, world.keyring, bea, token)
    for _ in range(2):
        await world.publish()
    assert world.view(post.id).state == "published" and len(world.published()) == 1


async def test_publishing_5_a_lifted_checkpoint_ends_the_pause_by_itself(world: World) -> None:
    add_persona(world, "Bea", "instagram")
    post = world.post()
    end_tokens(world.ig_user_id, 459)
    await world.publish()
    assert (await look(world)).said == "rejected" and account(world).status == "paused"
    end_tokens(world.ig_user_id, None)
    assert (await look(world)).said == "fine" and account(world).status == "active"
    await world.publish()
    assert world.view(post.id).state == "published"


async def test_publishing_5_r26_no_failed_renewal_lets_a_token_out(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    add_persona(world, "Bea", "instagram")
    world.advance_clocks(31 * DAY)
    secret = world.sandbox.token
    echo = {"code": 1, "message": f"no {world.token}", "error_user_msg": secret, "type": "OAuthException"}
    with caplog.at_level("DEBUG"):
        world.plan("refresh_access_token", "fail_before", status=400, body={"error": echo})
        assert "could not be renewed" in (await look(world)).trouble
        world.plan("refresh_access_token", "garbage", body=world.token)
        assert "could not be renewed" in (await look(world)).trouble
        assert (await look(world)).renewed
    told = "\n".join([*caplog.messages, *capfd.readouterr(), *world.everything_stored()])
    assert not [token for token in (world.token, world.stored_token(), secret) if token in told]


async def test_publishing_5_an_alarm_comes_under_ten_days(world: World) -> None:
    def told(days: float) -> tuple[str, ...]:
        ends = "persona_now() + make_interval(secs => :s)"
        world.do(f"UPDATE instagram_accounts SET token_expires_at = {ends}", s=days * DAY)
        with world.db.session_scope() as session:
            return alarms(session)

    assert told(10.5) == ()
    assert "ends in 9 days" in told(9.5)[0]
    assert "has ended" in told(-1)[0]
    assert next(check for check in _inside(world.db) if check.name == "accounts").state == "fail"
