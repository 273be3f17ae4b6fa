"""R1: a database that went back in time, was copied or moved publishes nothing until a person confirms."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow
from persona_tui.services.publishing.accounts import replace_token
from persona_tui.services.publishing.restore import (
    IncarnationReport,
    RestoreOutcome,
    RestoreSurvey,
    check_incarnation,
    confirm_restore,
    machine_id,
    survey_restore,
)
from tests.support.publishing import World, make_world
from tests.support.publishing_rows import drive_to

HOME = Path("/data/persona-tui")
DAYS = timedelta(days=1)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def check(world: World, *, data_dir: Path = HOME, machine: str = "this") -> IncarnationReport:
    with world.db.session_scope() as session:
        return check_incarnation(session, world.folder / "incarnation.json", data_dir, machine=machine)


async def survey(world: World) -> RestoreSurvey:
    return await survey_restore(world.db.session_scope, make_client=world.client, keyring=world.keyring)


async def confirm(world: World) -> RestoreOutcome:
    shown = await survey(world)
    with world.db.session_scope() as session:
        return confirm_restore(session, shown, world.folder / "incarnation.json", HOME, machine="this")


def restored(world: World) -> None:
    """What `db restore` leaves behind: another incarnation, held since the backup."""
    world.do(
        "UPDATE installation SET incarnation_id = 'restored-x', publishing_held = true,"
        " held_reason = 'restored', held_since = persona_now()"
    )


def test_r01_the_first_start_writes_both_and_the_second_finds_them_equal(world: World) -> None:
    assert check(world).state == "first"
    assert world.one("SELECT incarnation_id FROM installation") != ""
    assert check(world) == IncarnationReport("same")
    assert (world.folder / "incarnation.json").stat().st_mode & 0o777 == 0o600


def test_r01_this_machine_has_a_stable_name_that_is_not_its_id() -> None:
    assert machine_id() == machine_id()
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        if path.exists() and path.read_text().strip():
            assert path.read_text().strip() not in machine_id()


@pytest.mark.parametrize(
    "change", ["restored", "other machine", "moved", "no record", "rolled back", "record broken"]
)
async def test_r01_any_difference_pauses_every_unfinished_post_and_holds(world: World, change: str) -> None:
    world.do("UPDATE installation SET leader_epoch = 5")
    check(world)
    due, later = world.post(), world.post(at=world.now() + DAYS)
    machine, data_dir = "this", HOME
    if change == "restored":
        restored(world)
    elif change == "other machine":
        machine = "that"
    elif change == "moved":
        data_dir = Path("/data/copy")
    elif change == "no record":
        (world.folder / "incarnation.json").unlink()
    elif change == "rolled back":
        world.do("UPDATE installation SET leader_epoch = 4")
    else:
        (world.folder / "incarnation.json").write_text("{")
    report = check(world, machine=machine, data_dir=data_dir)
    assert (report.state, report.held, report.paused) == ("changed", True, (due.id, later.id))
    assert [world.view(post.id).state for post in (due, later)] == ["paused", "paused"]
    assert (await world.publish()).ended == () and world.published() == []


@pytest.mark.parametrize(
    "state", ["claimed", "container", "publishable", "sending", "unknown", "needs_human"]
)
async def test_r01_a_post_that_was_on_its_way_is_paused_and_its_owner_overtaken(
    world: World, state: str
) -> None:
    check(world)
    post = world.post()
    drive_to(world, post.id, state, owner=world.owner)
    restored(world)
    check(world)
    assert world.view(post.id).state == "paused"
    assert (await world.publish()).ended == ()
    outcome = await confirm(world)
    sent = state in {"sending", "unknown", "needs_human"}
    assert (outcome.in_doubt, outcome.missed) == (((post.id,), ()) if sent else ((), (post.id,)))


def test_r01_an_empty_database_on_a_new_machine_is_simply_taken(world: World) -> None:
    check(world)
    assert check(world, machine="that").state == "same"


async def test_r01_what_was_published_after_the_backup_is_never_published_again(world: World) -> None:
    check(world)
    out_since = world.post(alt_text="A cup")
    later = world.post(at=world.now() + DAYS, alt_text="A vase")
    await world.publish()
    (entry,) = world.published()
    world.go_back_before_publishing(out_since.id)
    restored(world)
    check(world)
    outcome = await confirm(world)
    assert (outcome.published, outcome.scheduled) == ((out_since.id,), (later.id,))
    bound = world.view(out_since.id)
    assert (bound.state, bound.media_id) == ("published", entry["media_id"]) and bound.permalink
    assert check(world) == IncarnationReport("same")
    world.advance_clocks(24 * 3600 + 1)
    assert (await world.publish()).published == (later.id,)
    assert len(world.published()) == 2


async def test_r01_an_unexplained_item_keeps_the_posts_to_come_paused(world: World) -> None:
    check(world)
    due, later = world.post(), world.post(at=world.now() + DAYS)
    restored(world)
    check(world)
    phone = world.phone_post()
    (account,) = (await survey(world)).accounts
    assert [item.id for item in account.unexplained] == [phone]
    outcome = await confirm(world)
    assert (outcome.missed, outcome.still_paused) == ((due.id,), (later.id,))
    assert not world.one("SELECT publishing_held FROM installation")


async def test_r01_an_account_that_cant_be_read_keeps_its_posts_paused(world: World) -> None:
    check(world)
    due, later = world.post(), world.post(at=world.now() + DAYS)
    restored(world)
    check(world)
    world.plan("list_media", "drop_before")
    outcome = await confirm(world)
    assert outcome.still_paused == (due.id, later.id)
    assert (await world.publish()).ended == ()


async def test_r01_a_new_token_does_not_set_restored_posts_free(world: World) -> None:
    check(world)
    post = world.post()
    world.plan(
        "create_container",
        "fail_before",
        status=400,
        body={"error": {"code": 190, "message": "x"}},
    )
    await world.publish()
    restored(world)
    check(world)
    world.plan("list_media", "drop_before")
    await confirm(world)
    with world.db.session_scope() as session:
        replace_token(session, world.keyring, world.account_id, SecretStr(world.token))
    assert world.view(post.id).state == "paused"


def test_r01_data_folders_on_one_machine_keep_records_of_their_own(world: World) -> None:
    check(world, data_dir=Path("/data/demo"))
    world.do("UPDATE installation SET incarnation_id = ''")
    check(world)
    world.post()
    assert check(world).state == "same"
    assert set(json.loads((world.folder / "incarnation.json").read_text())) == {str(HOME), "/data/demo"}


async def test_r01_an_old_survey_and_one_without_need_confirm_nothing(world: World) -> None:
    check(world)
    world.post()
    with pytest.raises(NotAllowedNow, match="not held"):
        await survey(world)
    restored(world)
    check(world)
    shown = await survey(world)
    world.advance_clocks(16 * 60)
    with pytest.raises(NotAllowedNow, match="15 minutes"), world.db.session_scope() as session:
        confirm_restore(session, shown, world.folder / "incarnation.json", HOME, machine="this")
    assert world.one("SELECT publishing_held FROM installation")
