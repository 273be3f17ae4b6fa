"""Carousels, stories and reels over a real database and the sandbox: how each goes out, once and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from persona_tui.database.engine import Database
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.formats import Format, UserTag, set_format
from persona_tui.services.publishing.winners import draft_post
from tests.support.publishing import World, make_world


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def carousel(world: World, count: int = 3, **format: Any) -> posts.PostView:
    """A carousel of generated pictures that is due."""
    with world.db.session_scope() as session:
        refs = [PictureRef(candidate_id=world.candidate(session)) for _ in range(count)]
        draft = draft_post(session, refs, "carousel")
        posts.write_caption(session, draft.id, f"Morning {draft.id}", ["coffee"], "Three cups")
        set_format(session, draft.id, Format(kind="carousel", **format))
        return posts.publish_now(session, draft.id)


async def test_publishing_6_a_carousel_goes_out_as_one_post_with_label_and_caption_on_the_whole(
    world: World,
) -> None:
    post = carousel(
        world,
        user_tags=(UserTag("anna", 0.5, 0.25, position=2),),
        collaborators=("bea",),
        location_id="7640348500",
    )
    assert (await world.publish()).published == (post.id,)
    (entry,) = world.published()
    view = world.view(post.id)
    assert view.media_id == entry["media_id"] and entry["media_type"] == "CAROUSEL_ALBUM"
    assert entry["caption"] == view.full_caption and entry["is_ai_generated"] is True
    assert entry["child_alt_texts"] == ["Three cups"] * 3
    assert [tags and tags[0]["username"] for tags in entry["child_tags"]] == [[], "anna", []]
    assert (entry["collaborators"], entry["location_id"]) == (["bea"], "7640348500")
    made = world.calls("container_created")
    assert [one["kind"] for one in made] == ["CHILD"] * 3 + ["CAROUSEL"]
    assert len({tuple(one["shape"]) for one in made[:3]}) == 1
    assert view.caption_metadata["read_back"]["alt_text"] == "Three cups"
    assert world.rows("SELECT position FROM media_objects ORDER BY position") == [(1,), (2,), (3,)]
