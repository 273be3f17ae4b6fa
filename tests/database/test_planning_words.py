"""Words that are written in the background for posts that are planned many at once."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow
from persona_tui.models.library import Cluster
from persona_tui.services import jobs
from persona_tui.services.library.clusters import add_picture, rename_cluster, spoken_name
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.media import MediaStore
from persona_tui.services.planning.captions import propose_caption
from persona_tui.services.planning.picture_acts import schedule_posts
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.winners import draft_for_winner
from persona_tui.settings import Settings
from tests.support.library import add_photo, photograph
from tests.support.world import insert, make_account, make_plan

GAP = timedelta(minutes=30)


def built_cluster(session: Session, persona_id: int, name: str, said: str | None) -> int:
    """A cluster as a build leaves it."""
    details = json.dumps({"given": name, "said": said})
    return insert(session, "clusters", persona_id=persona_id, name=name, origin="built", details=details)


def test_the_number_that_a_build_gave_is_not_for_the_public(session: Session) -> None:
    plan = make_plan(session)
    own = session.get_one(Cluster, plan.cluster_id)
    group = session.get_one(Cluster, built_cluster(session, plan.persona_id, "Group 6", None))
    part = session.get_one(Cluster, built_cluster(session, plan.persona_id, "Old kiln 2", "Old kiln"))
    assert (spoken_name(own), spoken_name(group), spoken_name(part)) == ("Wheel", None, "Old kiln")
    rename_cluster(session, group.id, "Group 7")  # the operator's own words
    assert spoken_name(group) == "Group 7"


async def test_a_template_names_no_unnamed_cluster_and_uses_what_was_seen(
    db: Database, settings: Settings
) -> None:
    media = MediaStore(settings)
    with db.session_scope() as session:
        plan = make_plan(session)
        ref = add_photo(session, media, plan.persona_id, photograph("coffee"))
        insert(session, "picture_analyses", photo_id=ref.photo_id, caption="A cup of coffee on a table.")
        add_picture(session, built_cluster(session, plan.persona_id, "Group 6", None), photo_id=ref.photo_id)
        post = draft_for_winner(session, photo_id=ref.photo_id)
    made = await propose_caption(db.session_scope, (), media, post.id, max_hashtags=5)
    assert "Group" not in f"{made.caption} {made.hashtags} {made.alt_text}"
    assert made.alt_text == "A cup of coffee on a table."


def scheduled_pictures(session: Session, media: MediaStore) -> tuple[int, list[PictureRef]]:
    plan = make_plan(session)
    make_account(session, plan.persona_id)
    names = ("coffee", "chelsea", "rocket")
    return plan.persona_id, [add_photo(session, media, plan.persona_id, photograph(name)) for name in names]


def test_pictures_in_live_posts_are_left_out_and_the_others_get_words(
    db: Database, settings: Settings
) -> None:
    media, now = MediaStore(settings), datetime.now(UTC)
    with db.session_scope() as session:
        _, refs = scheduled_pictures(session, media)
        first = schedule_posts(session, refs[:1], now, GAP)
        posts.write_caption(session, first.posts[0].id, "My own words", alt_text="A cup")
    with db.session_scope() as session:
        done = schedule_posts(session, refs, now, GAP)
    assert done.taken == (refs[0],) and len(done.posts) == 2
    with pytest.raises(NotAllowedNow, match="live post"), db.session_scope() as session:
        schedule_posts(session, refs, now, GAP)

    work(db, settings, media)
    with db.session_scope() as session:
        words = session.execute(
            text(
                "SELECT caption, alt_text, caption_metadata ->> 'written_by'"
                " FROM scheduling_posts ORDER BY id"
            )
        ).all()
    assert tuple(words[0]) == ("My own words", "A cup", "operator")
    assert [row[2] for row in words[1:]] == ["template", "template"]
    assert all(row[0] and row[1] for row in words)


def test_words_for_a_post_that_is_gone_or_out_are_not_written(db: Database, settings: Settings) -> None:
    media, now = MediaStore(settings), datetime.now(UTC)
    with db.session_scope() as session:
        _, refs = scheduled_pictures(session, media)
        done = schedule_posts(session, refs, now, GAP)
        posts.cancel(session, done.posts[0].id)
    work(db, settings, media)
    with db.session_scope() as session:
        rows = session.execute(text("SELECT state, caption <> '' FROM scheduling_posts ORDER BY id")).all()
    assert [tuple(row) for row in rows] == [("cancelled", False), ("scheduled", True), ("scheduled", True)]


def work(db: Database, settings: Settings, media: MediaStore) -> None:
    """Work on jobs until none waits; captions need no child process."""

    async def until_idle() -> None:
        app = jobs.make_worker_app(db.conninfo())
        tools = jobs.JobTools(db.session_scope, media, NoPool(), settings, NoPool())
        async with app.open_async():
            await app.run_worker_async(
                wait=False, install_signal_handlers=False, additional_context={"tools": tools}
            )

    asyncio.run(until_idle())


class NoPool:
    """A pool that nobody may ask."""

    async def run(self, work: object, /, *arguments: object) -> object:
        """Refuse."""
        raise AssertionError(work)
