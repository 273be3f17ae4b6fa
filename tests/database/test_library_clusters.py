"""Clusters that are built, grow by new pictures, are merged, split, reordered and named."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import DuplicateName, InvalidRequest, NotAllowedNow
from persona_tui.models.library import Cluster
from persona_tui.pool import WorkPool
from persona_tui.services.library import (
    assigning,
    builds,
    depletion,
    membership,
    merging,
    naming,
    samples,
)
from persona_tui.services.library.clusters import (
    add_picture,
    create_cluster,
    find_cluster,
    list_clusters,
    set_usable,
    spoken_name,
)
from persona_tui.services.library.embeddings import current_model
from persona_tui.services.library.pictures import PictureFilters, list_pictures
from persona_tui.services.media import MediaStore
from persona_tui.services.planning.pillars import create_pillar
from persona_tui.settings import Settings
from tests.support.publishing_rows import picture
from tests.support.space import MODEL_HASH, embed, make_photo, make_subject, rows
from tests.support.world import grow_run, insert, make_account, make_plan, make_post


@pytest.fixture
async def pool() -> AsyncIterator[WorkPool]:
    async with aclosing(WorkPool()) as made:
        yield made


def test_library_4_numbers_in_the_names_of_clusters_are_ordered_as_numbers(session: Session) -> None:
    plan = make_plan(session)
    for name in ("Group 10", "group 2", "Group 1", "12 bowls", "Bowls"):
        create_cluster(session, plan.persona_id, {"name": name})
    names = [one.name for one in list_clusters(session, plan.persona_id)]
    assert names == ["12 bowls", "Bowls", "Group 1", "group 2", "Group 10", "Wheel"]


async def test_library_4_clusters_are_built_and_grow_by_new_pictures(db: Database, pool: WorkPool) -> None:
    with db.session_scope() as session:
        plan = make_plan(session)
        persona = plan.persona_id
        mine = make_subject(session, persona, 0, 6)
        membership.add_pictures(session, plan.cluster_id, mine[:5])
        make_subject(session, persona, 1, 8)
        generated = grow_run(session, plan, 6)
        for number, candidate in enumerate(generated.candidates):
            ref = membership.PictureRef(candidate_id=candidate)
            embed(session, persona, ref, np.eye(512)[2] + np.eye(512)[10 + number] * 0.1)
        lone = make_photo(session, persona, "lone")
        embed(session, persona, lone, np.eye(512)[9])
        create_cluster(session, persona, {"name": "group 1"})

    built = await builds.build_clusters(db.session_scope, pool, persona, MODEL_HASH)
    assert [(one.name, one.pictures, one.origin) for one in built.made] == [
        ("Group 2", 8, "built"),
        ("Group 3", 6, "built"),
    ]
    assert (built.joined, built.to_review, built.apart, built.waiting) == (1, 0, 1, 0)
    with db.session_scope() as session:
        assert [spoken_name(session.get_one(Cluster, one.id)) for one in built.made] == [None, None]
        assert find_cluster(session, persona, "Wheel").pictures == 6
        new = make_photo(session, persona, "new")
        embed(session, persona, new, np.eye(512)[1] + np.eye(512)[40] * 0.1)
        between = make_photo(session, persona, "between")
        embed(session, persona, between, np.eye(512)[1] + np.eye(512)[2] * 0.99)
        rows(session, "UPDATE cluster_candidates SET display_order = display_order RETURNING id")

        make_photo(session, persona, "without a vector")

    again = await builds.build_clusters(db.session_scope, pool, persona, MODEL_HASH)
    assert (again.made, again.waiting) == ((), 1)
    with db.session_scope() as session:
        assert rows(
            session,
            "SELECT c.name, m.details ->> 'by' FROM cluster_candidates m JOIN clusters c"
            " ON c.id = m.cluster_id WHERE m.photo_id = :id",
            id=new.photo_id,
        ) == [("Group 2", "assigned")]
        apart = list_pictures(session, persona, PictureFilters(unclustered=True)).pictures
        assert {one.ref for one in apart} > {lone, between}


def test_library_4_pictures_move_in_order_and_back(session: Session) -> None:
    plan = make_plan(session)
    first, second, third = make_subject(session, plan.persona_id, 0, 3)
    other = create_cluster(session, plan.persona_id, {"name": "Kiln"})
    membership.add_pictures(session, plan.cluster_id, [first, second, third])
    before = _members(session)
    change = membership.move_pictures(session, [third, first], into=other.id)
    assert _members(session) == [
        (other.id, third.photo_id),
        (other.id, first.photo_id),
        (plan.cluster_id, second.photo_id),
    ]
    membership.undo(session, change)
    assert sorted(_members(session)) == sorted(before)
    membership.place_before(session, plan.cluster_id, [third, second], before=first)
    assert [photo for _, photo in _members(session)] == [third.photo_id, second.photo_id, first.photo_id]
    membership.place_before(session, plan.cluster_id, [third])
    in_order = PictureFilters(cluster_id=plan.cluster_id)
    listed = list_pictures(session, plan.persona_id, in_order, order="cluster").pictures
    assert [one.ref for one in listed] == [second, first, third]
    with pytest.raises(InvalidRequest):
        stranger = make_photo(session, make_plan(session, "Nora").persona_id, "hers")
        membership.add_pictures(session, plan.cluster_id, [stranger])


def test_library_4_what_was_taken_out_is_not_put_back_by_itself_and_reviews_are_decided(
    session: Session,
) -> None:
    plan = make_plan(session)
    refs = make_subject(session, plan.persona_id, 0, 4)
    other = create_cluster(session, plan.persona_id, {"name": "Kiln"})
    membership.add_pictures(session, plan.cluster_id, refs)
    membership.remove_pictures(session, plan.cluster_id, refs[:1])
    sure = assigning.Placing(plan.cluster_id, 0.1, other.id, 0.9, sure=True, near=True)
    unsure = assigning.Placing(plan.cluster_id, 0.4, other.id, 0.5, sure=False, near=True)
    news = make_subject(session, plan.persona_id, 1, 3)
    placed = [(refs[0], sure), *((ref, unsure) for ref in news)]
    assert assigning._store(session, plan.persona_id, placed) == assigning.Assigned(0, 3, 1)
    assert assigning._store(session, plan.persona_id, placed) == assigning.Assigned(0, 0, 4)
    one, two, three = assigning.list_reviews(session, plan.persona_id)
    assert (one.picture.ref, one.cluster, one.other, one.other_distance) == (news[0], "Wheel", "Kiln", 0.5)
    assigning.take_review(session, one.id)
    assigning.take_review(session, two.id, into=other.id)
    assigning.dismiss_review(session, three.id)
    with pytest.raises(NotAllowedNow):
        assigning.dismiss_review(session, one.id)
    states = rows(session, "SELECT state FROM cluster_reviews WHERE distance > 0 ORDER BY id")
    assert states == [("taken",), ("dismissed",), ("dismissed",)]
    assert assigning._store(session, plan.persona_id, placed) == assigning.Assigned(0, 0, 4)


def test_library_4_merged_clusters_take_their_posts_and_pillars_along(session: Session) -> None:
    plan = make_plan(session)
    kept = create_cluster(session, plan.persona_id, {"name": "Kiln"})
    pillar = create_pillar(session, plan.persona_id, {"name": "Fire", "weight": 10})
    refs = make_subject(session, plan.persona_id, 0, 3)
    membership.add_pictures(session, plan.cluster_id, refs)
    membership.add_pictures(session, kept.id, refs[:1])
    grown = grow_run(session, plan)
    post = make_post(session, plan, grown.candidates[0], None, cluster_id=plan.cluster_id)
    merged = merging.merge_clusters(session, kept.id, [plan.cluster_id])
    assert (merged.pictures, merged.pillar_id) == (3, plan.pillar_id)
    assert rows(session, "SELECT cluster_id FROM scheduling_posts WHERE id = :id", id=post) == [(kept.id,)]
    assert rows(session, "SELECT action FROM audit_events")[-1] == ("cluster.merge",)
    part, change = merging.split_off(session, kept.id, refs[1:], "Glaze")
    assert (part.pictures, part.pillar_id, part.name) == (2, plan.pillar_id, "Glaze")
    with pytest.raises(DuplicateName), session.begin_nested():
        merging.split_off(session, part.id, refs[1:2], "kiln")
    with pytest.raises(InvalidRequest):
        merging.merge_clusters(session, kept.id, [kept.id])
    membership.undo(session, change)
    assert pillar.id and [one.pictures for one in list_clusters(session, plan.persona_id)] == [0, 3]


def test_library_4_clusters_that_are_small_big_or_nearly_one_are_named(session: Session) -> None:
    plan = make_plan(session)
    twin = create_cluster(session, plan.persona_id, {"name": "Twin"})
    for cluster, axis, count in ((plan.cluster_id, 0, 51), (twin.id, 0, 5)):
        for number in range(count):
            ref = make_photo(session, plan.persona_id, f"{cluster} {number}")
            embed(session, plan.persona_id, ref, np.eye(512)[axis] + np.eye(512)[5 + number] * 0.3)
            add_picture(session, cluster, photo_id=ref.photo_id)
    few = create_cluster(session, plan.persona_id, {"name": "Few"})
    found = merging.suggestions(session, plan.persona_id, MODEL_HASH)
    assert {(one.name, one.why) for one in found} == {
        ("Few", "too small"),
        ("Wheel", "too big"),
        ("Wheel", "nearly one"),
    }
    set_usable(session, few.id, usable=False)
    names = {one.name for one in merging.suggestions(session, plan.persona_id, MODEL_HASH)}
    assert names == {"Wheel"} and rows(session, "SELECT status FROM clusters WHERE id = :id", id=few.id) == [
        ("unusable",)
    ]


def _members(session: Session) -> list[tuple[int, int]]:
    return [
        (cluster, photo)
        for cluster, photo in rows(
            session,
            "SELECT cluster_id, photo_id FROM cluster_candidates ORDER BY cluster_id DESC, display_order, id",
        )
    ]


async def test_library_4_names_are_proposed_taken_dismissed_and_unique(
    db: Database, settings: Settings
) -> None:
    with db.session_scope() as session:
        plan = make_plan(session)
        persona = plan.persona_id
        ids = []
        for name, label in (("Group 1", "bowl"), ("Group 2", "bowl"), ("Group 3", "person")):
            ids.append(insert(session, "clusters", persona_id=persona, name=name, origin="built"))
            for number in range(3):
                ref = make_photo(session, persona, f"{name} {number}")
                membership.add_pictures(session, ids[-1], [ref])
                seen = json.dumps(
                    [{"label": label, "confidence": 0.9}, {"label": "kiln", "confidence": 0.8}][
                        : 1 + (number == 0)
                    ]
                )
                insert(session, "picture_analyses", photo_id=ref.photo_id, objects=seen)
    model = current_model(settings)
    found = await naming.propose_names(db.session_scope, WorkPool(), persona, model)
    assert [(one.cluster_id, one.name, one.by) for one in found] == [
        (ids[0], "Bowl & Kiln", "objects"),
        (ids[1], "Bowl", "objects"),
        (ids[2], "Kiln", "objects"),
    ]
    with db.session_scope() as session:
        assert naming.take_name(session, ids[0]).name == "Bowl & Kiln"
        assert naming.dismiss_name(session, ids[1]).name == "Group 2"
        with pytest.raises(NotAllowedNow):
            naming.take_name(session, ids[1])
    again = await naming.propose_names(db.session_scope, WorkPool(), persona, model, cluster_ids=ids[1:2])
    assert again == ()
    with db.session_scope() as session:
        names = rows(session, "SELECT name, proposed_name FROM clusters ORDER BY id")
    assert names == [("Wheel", ""), ("Bowl & Kiln", ""), ("Group 2", ""), ("Group 3", "Kiln")]


def test_library_4_a_cluster_is_empty_when_the_plan_has_used_it_up(session: Session) -> None:
    plan = make_plan(session, weight=50)
    rows(session, "UPDATE personas SET posts_per_week = 4 RETURNING id")
    pillar = plan.pillar_id
    rare = create_cluster(session, plan.persona_id, {"name": "Rare"}, pillar_id=pillar)
    free = create_cluster(session, plan.persona_id, {"name": "Free"})
    for cluster, axis, count in ((plan.cluster_id, 0, 6), (rare.id, 1, 2), (free.id, 2, 1)):
        membership.add_pictures(session, cluster, make_subject(session, plan.persona_id, axis, count))
    grown = grow_run(session, plan)
    held = make_post(session, plan, grown.candidates[0], make_account(session, plan.persona_id))
    membership.add_pictures(
        session, plan.cluster_id, [membership.PictureRef(candidate_id=grown.candidates[0])]
    )
    now = datetime(2026, 11, 1, tzinfo=UTC)
    rows(
        session,
        "UPDATE scheduling_posts SET state = 'scheduled', scheduled_at = '2026-11-03'"
        " WHERE id = :id RETURNING id",
        id=held,
    )
    found = {one.name: one for one in depletion.forecast(session, plan.persona_id, now)}
    assert [(name, found[name].unposted, found[name].per_week) for name in ("Free", "Rare", "Wheel")] == [
        ("Free", 1, 0.0),
        ("Rare", 2, 1.0),
        ("Wheel", 6, 1.0),
    ]
    assert found["Free"].empty_at is None
    assert found["Rare"].empty_at == now + timedelta(weeks=2.5)
    assert found["Wheel"].empty_at == now + timedelta(weeks=4.5)
    assert rows(session, "SELECT count(*) FROM post_items WHERE holds") == [(1,)]


def test_library_4_samples_are_written_with_a_films_poster(
    session: Session, settings: Settings, tmp_path: Path
) -> None:
    plan = make_plan(session)
    media = MediaStore(settings)
    still = media.put(picture(1))
    refs = [
        make_photo(session, plan.persona_id, "still", media_key=still.key),
        make_photo(
            session,
            plan.persona_id,
            "film",
            kind="video",
            media_key=still.key,
            poster_key=still.key,
            poster_sha256=still.sha256,
        ),
    ]
    embed(session, plan.persona_id, refs[1], np.eye(512)[0])
    membership.add_pictures(session, plan.cluster_id, refs)
    chosen = samples.choose_samples(session, plan.cluster_id, MODEL_HASH, 2)
    copies = samples.export_samples(chosen, media, tmp_path / "out")
    links = samples.export_samples(chosen[:1], media, tmp_path / "links", "link")
    assert [path.name for path in copies] == ["001 photo 2.png", "001 photo 2 poster.png", "002 photo 1.png"]
    assert copies[2].read_bytes() == media.get(still.key) and links[0].is_symlink()
    with pytest.raises(InvalidRequest):
        samples.choose_samples(
            session, create_cluster(session, plan.persona_id, {"name": "Empty"}).id, MODEL_HASH, 2
        )
    assert rows(session, "SELECT count(*) FROM cluster_candidates") == [(2,)]
