"""Carousels, stories and reels, over a real database and the sandbox: how each goes out, once and whole."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from persona_tui.database.engine import Database
from persona_tui.errors import StorageError
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.media import MediaStore
from persona_tui.services.media_stores import Bucket, Folder, References
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.film_rules import FilmNotAccepted, clean_film
from persona_tui.services.publishing.formats import (
    Format,
    FormatRefused,
    UserTag,
    parse_tag,
    refuse_unfit,
    set_format,
    written_tag,
)
from persona_tui.services.publishing.preview import preview_post
from persona_tui.services.publishing.winners import draft_post
from persona_tui.settings import Settings
from tests.support.films import film
from tests.support.publishing import ThreadPool, World, make_world


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_world(db, tmp_path)


def graph_error(code: int, subcode: int) -> dict[str, Any]:
    error = {"code": code, "error_subcode": subcode, "message": "no", "type": "OAuthException"}
    return {"status": 400, "body": {"error": error}}


async def test_publishing_6_a_carousel_goes_out_as_one_post_with_label_and_caption_on_the_whole(
    world: World,
) -> None:
    post = world.carousel(
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


async def test_publishing_10_a_failed_item_alone_is_made_anew_and_a_resumed_post_makes_none_again(
    world: World,
) -> None:
    post = world.carousel(10)
    world.plan("create_container", "fail_before", skip=3, **graph_error(9004, 2207052))
    await world.publish()
    assert world.view(post.id).state == "deferred"
    kept = world.one("SELECT child_creation_ids FROM scheduling_posts")
    assert [bool(one) for one in kept] == [True] * 3 + [False] * 7
    await world.publish()
    (entry,) = world.published()
    assert (world.view(post.id).media_id, len(entry["children"])) == (entry["media_id"], 10)
    assert len(world.calls("container_created")) == 11
    assert world.one("SELECT child_creation_ids FROM scheduling_posts")[:3] == kept[:3]


async def test_publishing_10_an_item_that_turns_to_error_is_made_anew_alone(world: World) -> None:
    post = world.carousel(4)
    failed = {"status": 200, "body": {"status_code": "ERROR", "status": "Error: 2207053", "id": "1"}}
    world.plan("container_status", "fail_before", skip=2, **failed)  # the third of four, and again
    world.plan("container_status", "fail_before", skip=3, **failed)
    await world.publish()
    (entry,) = world.published()
    assert world.view(post.id).media_id == entry["media_id"]
    assert [one["kind"] for one in world.calls("container_created")].count("CHILD") == 5
    assert len(set(entry["children"])) == 4


async def test_publishing_10_slow_items_are_polled_and_never_made_twice(world: World) -> None:
    post = world.carousel()
    world.behave(container_seconds=3600)
    await world.publish()
    assert (world.view(post.id).state, world.calls("publish_called")) == ("deferred", [])
    world.advance_clocks(3600)
    await world.publish()
    await world.settle(post.id)
    world.advance_clocks(3600)
    await world.settle(post.id)
    assert [one["kind"] for one in world.calls("container_created")] == ["CHILD"] * 3 + ["CAROUSEL"]
    assert len(world.published()) == 1


async def test_publishing_10_a_carousel_whose_answer_is_lost_is_known_by_its_pictures_words(
    world: World,
) -> None:
    post = world.carousel()
    world.plan("media_publish", "effect_then_drop")
    await world.publish()
    world.phone_post(alt_text="Three cups")  # the same words on a single picture
    view = await world.settle(post.id)
    (entry,) = world.published()
    assert (view.state, view.media_id) == ("published", entry["media_id"])
    found = "SELECT details ->> 'found_by' FROM audit_events WHERE action = 'post.publish'"
    assert world.one(found) == "words"


async def test_publishing_6_a_story_goes_out_upright_without_words_and_is_found_among_the_stories(
    world: World,
) -> None:
    with world.db.session_scope() as session:
        story = draft_post(session, [PictureRef(candidate_id=world.candidate(session))], "story")
        with pytest.raises(FormatRefused, match="no words"):
            posts.write_caption(session, story.id, "No")
        posts.publish_now(session, story.id)
    world.plan("media_publish", "effect_then_drop")
    await world.publish()
    world.phone_post()
    view = await world.settle(story.id)
    (entry,) = world.published()
    assert (view.state, view.media_id) == ("published", entry["media_id"])
    assert (entry["product"], entry["caption"], entry["is_ai_generated"]) == ("STORY", None, True)
    width, height = world.calls("container_created")[0]["shape"]
    assert abs(width / height - 9 / 16) < 0.01


@pytest.mark.parametrize(("kind", "product"), [("story", "STORY"), ("reel", "REELS")])
async def test_publishing_3_without_words_an_item_is_told_from_a_later_one_by_when_it_was_made(
    world: World, kind: str, product: str
) -> None:
    if kind == "reel":
        post_id = world.reel().id
    else:
        with world.db.session_scope() as session:
            post_id = draft_post(session, [PictureRef(candidate_id=world.candidate(session))], "story").id
            posts.publish_now(session, post_id)
    world.behave(listing_delay=(600, 600))
    world.plan("media_publish", "effect_then_drop")
    await world.publish()
    await world.reconcile()
    world.behave(listing_delay=(0, 0))
    world.advance_clocks(300)
    # For minutes the only item like ours, and listed before it: with the label, of the same kind.
    world.phone_post(product=product, is_ai_generated=True)
    await world.reconcile()
    assert world.view(post_id).state == "unknown"
    world.advance_clocks(300)
    await world.reconcile()
    (entry,) = world.published()
    assert (world.view(post_id).state, world.view(post_id).media_id) == ("published", entry["media_id"])


@pytest.mark.parametrize("answer_lost", [False, True])
async def test_publishing_6_a_reel_goes_out_from_a_film_without_its_metadata(
    world: World, answer_lost: bool
) -> None:
    with world.db.session_scope() as session:
        reel = draft_post(session, [PictureRef(photo_id=world.film(session, film()))], "reel", edited=True)
        posts.write_caption(session, reel.id, "A turn of the wheel")
        tag = UserTag("anna")
        set_format(
            session, reel.id, Format(kind="reel", share_to_feed=False, cover_ms=1500, user_tags=(tag,))
        )
        posts.publish_now(session, reel.id)
    if answer_lost:
        world.plan("media_publish", "effect_then_drop")
    await world.publish()
    view = await world.settle(reel.id)
    (entry,) = world.published()
    assert (view.state, view.media_id, entry["product"]) == ("published", entry["media_id"], "REELS")
    assert (entry["share_to_feed"], entry["thumb_offset"]) == ("false", "1500")
    assert entry["user_tags"] == [{"username": "anna"}]
    (key,) = world.rows("SELECT key FROM media_objects")[0]
    sent = (world.site.media_dir / key).read_bytes()
    assert b"secret" in film() and b"secret" not in sent and sent.find(b"moov") < sent.find(b"mdat")


@pytest.mark.parametrize(
    ("change", "story", "sentence"),
    [
        ({"seconds": 2.0}, False, "runs 2.0 s"),
        ({"rate": 12}, False, "12.00 frames"),
        ({"codec": "mpeg4"}, False, "coded as mpeg4"),
        ({"seconds": 61.0, "rate": 23}, True, "a story takes 3 to 60 s"),
    ],
)
def test_publishing_6_a_film_against_the_limits_is_refused_with_a_sentence(
    tmp_path: Path, change: dict[str, Any], story: bool, sentence: str
) -> None:
    given, made = tmp_path / "given.mp4", tmp_path / "made.mp4"
    given.write_bytes(film(**change))
    with pytest.raises(FilmNotAccepted, match=sentence):
        clean_film(given, made, story=story)
    given.write_bytes(film()[:3000])
    with pytest.raises(FilmNotAccepted, match="read to its end"):
        clean_film(given, made, story=False)


@pytest.mark.parametrize("place", ["folder", "bucket", "reference"])
def test_publishing_6_a_films_original_is_a_file_wherever_it_lies(tmp_path: Path, place: str) -> None:
    data, here = film(), tmp_path / "here.mp4"
    here.write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    store = {"folder": Folder(tmp_path / "store"), "bucket": Bucket("memory:///")}.get(place)
    store = store or References(tmp_path / "store")
    key = f"aa/bb/{sha256}.mp4"
    with pytest.raises(StorageError):
        store.fetch(key, tmp_path)
    if isinstance(store, References):
        store.point(key, here)
    else:
        store.take(key, io.BytesIO(data), sha256)
    assert store.fetch(key, tmp_path).read_bytes() == data
    here.write_bytes(b"another")
    if place == "reference":
        with pytest.raises(StorageError, match="was changed since"):
            store.fetch(key, tmp_path)


def test_publishing_6_films_on_their_way_leave_nothing_behind(tmp_path: Path) -> None:
    media = MediaStore(Settings(data_dir=tmp_path))
    left = tmp_path / "on-its-way" / "of-a-process-that-was-killed"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    with media.workspace() as folder:
        (folder / "film.mp4").touch()
        assert list(left.parent.iterdir()) == [folder]
    assert list(left.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("films", "format", "sentence"),
    [
        ([False], Format("carousel"), "2 to 10 pictures; this one has 1"),
        ([False] * 11, Format("carousel"), "this one has 11"),
        ([False], Format("reel"), "made of a film"),
        ([True], Format("single"), "this has a film"),
        ([False], Format("story", location_id="1"), "A story has no place"),
        ([False], Format("story", first_comment="Hello"), "A story has no comments"),
        ([False], Format(cover_ms=1), "Only a reel"),
        ([False], Format(location_id="Berlin"), "digits alone"),
        ([False], Format(collaborators=("a", "b", "c", "d")), "At most 3 collaborators"),
        ([False], Format(collaborators=("a", "A")), "named twice"),
        ([False], Format(user_tags=(UserTag("a b", 0.5, 0.5),)), "no Instagram name"),
        ([False], Format(user_tags=(UserTag("a"),)), "needs a place"),
        ([False], Format(user_tags=(UserTag("a", 0.5, 1.5),)), "from 0 to 1"),
        ([False], Format(user_tags=(UserTag("a", 0.5, 0.5, 2),)), "no picture 2"),
        ([True], Format("reel", user_tags=(UserTag("a", 0.5, 0.5),)), "without a place"),
    ],
)
def test_publishing_6_what_meta_would_refuse_is_refused_before_with_a_sentence(
    films: list[bool], format: Format, sentence: str
) -> None:
    with pytest.raises(FormatRefused, match=sentence):
        refuse_unfit(format, films=films)


def test_publishing_6_a_tag_is_read_as_it_is_written() -> None:
    for typed in ("@anna:0.5,0.25:2", "@anna:0.5,0.25", "@anna"):
        assert written_tag(parse_tag(typed)) == typed
    with pytest.raises(FormatRefused, match="is no tag"):
        parse_tag("@anna:left")


async def test_publishing_7_the_preview_is_the_very_file_that_goes_out(world: World, tmp_path: Path) -> None:
    post = world.carousel(2)
    scope, pool = world.db.session_scope, ThreadPool()
    seen = await preview_post(scope, world.media, pool, tmp_path / "previews", post.id)
    assert [one.sha256 for one in seen] == [hashlib.sha256(one.path.read_bytes()).hexdigest() for one in seen]
    assert {one.source_type for one in seen} == {"trainedAlgorithmicMedia"}
    await world.settle(post.id)
    hosted = world.rows("SELECT sha256 FROM media_objects ORDER BY position")
    assert [one.sha256 for one in seen] == [row[0] for row in hosted]


async def test_publishing_7_a_padded_post_goes_out_padded(world: World, tmp_path: Path) -> None:
    post = world.post()
    wide = Image.new("RGB", (2000, 500), "teal")
    out = io.BytesIO()
    wide.save(out, "PNG")
    world.media.path(post.pictures[0].media_key).write_bytes(out.getvalue())
    with world.db.session_scope() as session:
        set_format(session, post.id, Format(fit="pad"))
    (padded,) = await preview_post(
        world.db.session_scope, world.media, ThreadPool(), tmp_path / "previews", post.id
    )
    assert "Padded 2000 × 500 to 1.91 wide to high." in padded.notes
    await world.settle(post.id)
    assert world.one("SELECT sha256 FROM media_objects") == padded.sha256
