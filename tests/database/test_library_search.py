"""Search: by picture, by what performed best, by words where the model knows them, in diverse order."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.services.library import analyses, neighbours
from persona_tui.services.library.embeddings import current_model
from persona_tui.services.library.pictures import PictureFilters, PictureRef
from persona_tui.services.library.search import Query, best_pictures, find_pictures, search
from persona_tui.settings import Settings
from tests.support.space import MODEL_HASH, embed, make_photo, make_subject, rows
from tests.support.world import Planned, grow_run, insert, make_account, make_plan, make_post


def find(session: Session, plan: Planned, query: Query, limit: int = 5, offset: int = 0) -> list[PictureRef]:
    page = find_pictures(session, plan.persona_id, MODEL_HASH, query, limit=limit, offset=offset)
    return [one.picture.ref for one in page.found]


def test_library_5_pictures_like_one_are_found_page_by_page_within_filters(session: Session) -> None:
    plan = make_plan(session)
    line = [
        make_photo(session, plan.persona_id, f"line {number}", flagged=number % 2 == 0) for number in range(8)
    ]
    for number, ref in enumerate(line):
        embed(
            session,
            plan.persona_id,
            ref,
            np.cos(number / 10) * np.eye(512)[0] + np.sin(number / 10) * np.eye(512)[1],
        )
    candidate = PictureRef(candidate_id=grow_run(session, plan, 1).candidates[0])
    embed(session, plan.persona_id, candidate, np.cos(0.15) * np.eye(512)[0] + np.sin(0.15) * np.eye(512)[1])
    stranger = make_plan(session, "Nora")
    embed(session, stranger.persona_id, make_photo(session, stranger.persona_id, "hers"), np.eye(512)[0])
    like = Query(like=line[0])
    assert find(session, plan, like, 3) == [line[1], candidate, line[2]]
    assert find(session, plan, like, 3, 3) == line[3:6]
    flagged = Query(like=line[0], filters=PictureFilters(flagged=True))
    assert find(session, plan, flagged) == line[2::2]
    assert find(session, plan, Query(diverse=True, filters=PictureFilters(kind="still")), 2) == [
        line[7],
        line[0],
    ]
    with pytest.raises(InvalidRequest):
        asyncio.run(search(None, None, Settings(), plan.persona_id, like, limit=10, offset=1000))  # type: ignore[arg-type]
    with pytest.raises(NotAllowedNow):
        find(session, plan, Query(like=make_photo(session, plan.persona_id, "not embedded")))
    assert rows(session, "SELECT count(*) FROM embeddings WHERE persona_id = :id", id=plan.persona_id) == [
        (9,)
    ]


def test_library_5_what_is_like_what_performed_best_goes_by_insights_then_by_ratings(
    session: Session,
) -> None:
    plan = make_plan(session)
    with pytest.raises(NotAllowedNow):
        best_pictures(session, plan.persona_id)
    near = make_subject(session, plan.persona_id, 3, 3)
    make_subject(session, plan.persona_id, 4, 3)
    best, good, voted = grow_run(session, plan, 3).candidates
    for candidate, axis in ((best, 3), (good, 4), (voted, 4)):
        embed(session, plan.persona_id, PictureRef(candidate_id=candidate), np.eye(512)[axis])
    rows(session, "UPDATE image_candidates SET elo_score = 1200 WHERE id = :id RETURNING id", id=voted)
    assert best_pictures(session, plan.persona_id) == ((PictureRef(candidate_id=voted),), "ratings")
    account = make_account(session, plan.persona_id)
    post = make_post(session, plan, best, account, scheduled_at="2026-11-01")
    for state in ("scheduled", "paused", "published"):
        rows(
            session,
            "UPDATE scheduling_posts SET state = :state, published_at = scheduled_at"
            " WHERE id = :id RETURNING id",
            state=state,
            id=post,
        )
    insert(session, "post_insights", post_id=post, metric="saved", value=9)
    found = find_pictures(session, plan.persona_id, MODEL_HASH, Query(best=True), limit=3)
    assert {one.picture.ref for one in found.found} == set(near)
    assert found.basis == "insights" and {one.resembles for one in found.found} == {
        PictureRef(candidate_id=best)
    }
    assert rows(session, "SELECT post_id FROM post_insights") == [(post,)]


def test_library_5_the_index_finds_what_a_look_at_all_finds(db: Database) -> None:
    """The way by the index is taken by hand: a library that would choose it takes a minute to make."""
    with db.session_scope() as session:
        plan = make_plan(session)
        refs = [ref for axis in range(6) for ref in make_subject(session, plan.persona_id, axis, 10)]
        assert neighbours.request_index(session, plan.persona_id, MODEL_HASH) is None
    for _ in range(2):
        neighbours.build_index(lambda: db.connect("owner", autocommit=True), plan.persona_id, MODEL_HASH)
    name = neighbours.index_name(plan.persona_id, MODEL_HASH)
    try:
        with db.session_scope() as session:
            assert neighbours.has_index(session, plan.persona_id, MODEL_HASH)
            conditions = neighbours.conditions_of(PictureFilters(posted=False))
            values = {"vector": neighbours.as_text(np.eye(512)[2]), "limit": 10}
            where = (session, plan.persona_id, MODEL_HASH, conditions, values)
            found, truth = neighbours._by_index(*where), neighbours._by_filter(*where)
            assert [one.ref for one in found] == [one.ref for one in truth]
            assert {one.ref for one in found} == set(refs[20:30])
            assert rows(session, "SHOW enable_seqscan") == [("on",)]
            assert rows(
                session, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)", name=name
            ) == [(True,)]
    finally:
        with db.connect("owner", autocommit=True) as owner:
            owner.execute(f"DROP INDEX {name}")


def test_library_5_words_need_a_model_that_knows_them(session: Session, settings: Settings) -> None:
    plan = make_plan(session)
    assert not current_model(settings).speaks
    with pytest.raises(NotAllowedNow) as refused:
        asyncio.run(search(None, None, settings, plan.persona_id, Query(words="a cat")))  # type: ignore[arg-type]
    assert "Fetch" in refused.value.hint
    said = np.eye(512)[1]
    make_subject(session, plan.persona_id, 0, 2)
    seen = make_subject(session, plan.persona_id, 1, 2)
    found = find_pictures(session, plan.persona_id, MODEL_HASH, Query(words="a cat"), said, limit=2)
    assert {one.picture.ref for one in found.found} == set(seen)
    assert rows(session, "SELECT count(*) FROM embeddings") == [(4,)]


def test_library_5_a_picture_without_a_vector_says_whether_one_comes_by_itself(session: Session) -> None:
    plan = make_plan(session)
    best = PictureRef(candidate_id=grow_run(session, plan, 1).candidates[0])
    rows(
        session,
        "UPDATE image_candidates SET elo_score = 1200 WHERE id = :id RETURNING id",
        id=best.candidate_id,
    )
    photo = make_photo(session, plan.persona_id, "new")
    staged = make_photo(session, plan.persona_id, "staged", stage="staged")

    def refused(query: Query) -> NotAllowedNow:
        with pytest.raises(NotAllowedNow) as caught:
            find_pictures(session, plan.persona_id, MODEL_HASH, query, limit=3)
        return caught.value

    assert "Run `photos analyse`" in refused(Query(best=True)).hint
    analyses.queue_kind(session, plan.persona_id, "measures")
    assert "has no vector yet" in refused(Query(like=photo)).message
    analyses.queue(session, photo)
    for query, name in (
        (Query(best=True), f"Candidate {best.candidate_id}"),
        (Query(like=photo), f"Photo {photo.photo_id}"),
    ):
        waits = refused(query)
        assert waits.message == f"{name} can't be compared yet: its vector is queued or being made."
        assert "by itself" in waits.hint and "photos analyse" not in waits.hint
    analyses.record(session, photo, "embedding", "failed", MODEL_HASH, "The file is cut off.")
    failed = refused(Query(like=photo))
    assert "The file is cut off." in failed.message and "--retry" in failed.hint
    assert "is staged" in refused(Query(like=staged)).message
