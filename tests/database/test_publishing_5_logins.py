"""Item 5: both logins, from the first call to the item's address, over the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from persona_tui.clients.instagram_login import LoginName
from persona_tui.database.engine import Database
from tests.support.publishing import World, add_persona, make_world


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


@pytest.mark.parametrize(("login", "reads_caption"), [("instagram", False), ("facebook", True)])
async def test_publishing_5_each_login_publishes_under_its_own_token(
    world: World, login: LoginName, reads_caption: bool
) -> None:
    add_persona(world, "Bea", login)
    post = world.post()
    assert (await world.publish()).published == (post.id,)
    (entry,) = world.published()
    assert world.view(post.id).media_id == entry["media_id"]
    client = world.client(world.ig_user_id, world.token, login)
    facts = await client.media(entry["media_id"])
    await client.aclose()
    assert facts.caption == (entry["caption"] if reads_caption else None)
    assert world.token not in " ".join(world.everything_stored())


@pytest.mark.parametrize("login", ["instagram", "facebook"])
async def test_publishing_5_a_lost_answer_is_found_again_under_each_login(
    world: World, login: LoginName
) -> None:
    add_persona(world, "Bea", login)
    world.behave(unreadable_alt_text=1.0)
    post = world.post(alt_text="")
    world.plan("media_publish", "effect_then_drop")
    await world.publish()
    assert world.view(post.id).state == "unknown"
    await world.reconcile()
    (entry,) = world.published()
    assert (world.view(post.id).state, world.view(post.id).media_id) == ("published", entry["media_id"])
