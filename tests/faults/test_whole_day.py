"""A whole day over real sockets: what was sent had passed the guard, and no secret is anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from sqlalchemy import text
from tests.support.day import ENDED, DayWorld, day_world, play_day
from tests.support.sandbox import SandboxProcess

from persona_tui.database.backup import backup
from persona_tui.database.engine import Database, open_database
from persona_tui.headless.demo import PERSONA
from persona_tui.runtime import Core
from persona_tui.services.library.photos import find_files, import_photos
from persona_tui.services.media import MediaStore
from persona_tui.services.planning.personas import find_persona
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.post_views import PostView, get_post
from persona_tui.services.publishing.winners import draft_for_winner
from persona_tui.services.safety.audit import first_break


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DayWorld, Database, PostView]]:
    """A day that has been played, and its database."""
    sandbox = SandboxProcess(tmp_path_factory.mktemp("day") / "sandbox")
    try:
        with day_world(sandbox) as world:
            post = asyncio.run(play_day(world.settings))
            database = open_database(world.settings)
            try:
                yield world, database, post
            finally:
                database.dispose()
    finally:
        sandbox.stop()


Played = tuple[DayWorld, Database, PostView]


@pytest.mark.long
def test_the_day_ends_with_one_post_that_says_what_it_is(played: Played) -> None:
    world, _, post = played
    assert post.state == "published", post.reason
    (entry,) = world.published()
    assert entry["media_id"] == post.media_id
    assert post.is_ai_generated
    assert post.caption and post.alt_text and 1 <= len(post.hashtags) <= 5


def test_r31_whatever_a_service_received_had_passed_the_guard(played: Played) -> None:
    world, database, _ = played
    with database.session_scope() as session:
        passed = set(
            session.execute(
                text("SELECT content_sha256 FROM audit_events WHERE action = 'guard.pass'")
            ).scalars()
        )
        assert first_break(session) is None
    # A workflow is judged as a whole, so its texts are not judged once more; a schema is our own.
    part_of_a_whole = {("comfyui", "text"), ("gemini", "schema")}
    for service in ("comfyui", "instagram", "gemini"):
        received = world.sandbox.ledger(service, "received")
        judged = [entry for entry in received if (service, entry["what"]) not in part_of_a_whole]
        assert judged, service
        assert [entry for entry in judged if entry["sha256"] not in passed] == [], service


def test_r26_the_token_is_in_no_file_of_the_installation(played: Played, tmp_path: Path) -> None:
    world, database, _ = played
    token = world.sandbox.token.encode()
    backup(database, world.settings, tmp_path / "persona.backup")
    files = [path for path in world.settings.data_dir.rglob("*") if path.is_file()]
    files += [path for path in world.settings.config_dir.rglob("*") if path.is_file()]
    assert world.settings.log_file in files
    found = [str(path) for path in [*files, tmp_path / "persona.backup"] if token in path.read_bytes()]
    assert found == []
    with database.connect("owner") as connection:
        dump = connection.execute("SELECT string_agg(a::text, ' ') FROM instagram_accounts a").fetchone()
    assert dump is not None and token.decode() not in dump[0] and token.hex() not in dump[0]


def test_a_real_photograph_ends_as_a_published_jpeg(played: Played, tmp_path: Path) -> None:
    world, database, _ = played
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "astronaut.png")
    media = MediaStore(world.settings)
    with database.session_scope() as session:
        persona_id = find_persona(session, PERSONA).id
    (done,) = import_photos(database.session_scope, media, persona_id, find_files(tmp_path))
    with database.session_scope() as session:
        post = draft_for_winner(session, photo_id=done.photo_id)
        posts.write_caption(session, post.id, "Up there, once.", ["space"], "A woman in a space suit.")
        posts.publish_now(session, post.id)
    ended = asyncio.run(_published(world, database, post.id))
    assert (ended.state, ended.is_ai_generated) == ("published", False), ended.reason
    fetched = world.sandbox.ledger("instagram", "container_created")[-1]
    assert fetched["ig_user_id"] and world.published()[-1]["media_id"] == ended.media_id


async def _published(world: DayWorld, database: Database, post_id: int) -> PostView:
    def look() -> PostView:
        with database.session_scope() as session:
            return get_post(session, post_id)

    core = Core(world.settings, kind="scheduler")
    await core.start()
    try:
        while (post := await asyncio.to_thread(look)).state not in ENDED:
            await asyncio.sleep(0.05)
        return post
    finally:
        await core.stop()
