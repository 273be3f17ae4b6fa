"""The publisher over a real database and the sandbox: what goes out, when, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from persona_tui.database.engine import Database
from tests.support.publishing import World, make_world


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


async def test_a_due_post_goes_out_once_and_carries_its_media_id(world: World) -> None:
    post = world.post()
    report = await world.publish()
    (entry,) = world.published()
    out = world.view(post.id)
    assert report.published == (post.id,)
    assert (out.state, out.media_id) == ("published", entry["media_id"])
    assert entry["caption"] == "Morning 1\n\n#coffee" and entry["is_ai_generated"] is True
    assert out.permalink and out.published_at and out.caption_metadata["read_back"]["is_ai_generated"] is True
