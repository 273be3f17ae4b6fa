"""Photos and candidates read as one, and listed page by page."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlmodel import Session

from persona_tui.errors import InvalidRequest
from persona_tui.services.library.clusters import add_picture
from persona_tui.services.library.pictures import (
    Order,
    PictureFilters,
    PictureRef,
    count_pictures,
    list_pictures,
    read_pictures,
)
from tests.support.space import make_photo, rows
from tests.support.world import Planned, digest, grow_run, insert, make_account, make_plan, make_post


@pytest.fixture
def plan(session: Session) -> Planned:
    """Seven photos, of which four count, and four candidates, of which three do."""
    made = make_plan(session)
    for number in range(4):
        make_photo(session, made.persona_id, f"sea {number}", caption="100 % salt" if number == 2 else "")
    make_photo(session, made.persona_id, "waiting", stage="staged")
    make_photo(session, made.persona_id, "blurred", stage="rejected", reject_reason="blurred")
    make_photo(session, made.persona_id, "gone", deleted_at="2026-01-01")
    grown = grow_run(session, made)
    rows(
        session,
        "UPDATE image_candidates SET status = 'rejected' WHERE id = :id RETURNING id",
        id=grown.candidates[0],
    )
    rows(
        session,
        "UPDATE image_candidates SET elo_score = 1100 WHERE id = :id RETURNING id",
        id=grown.candidates[1],
    )
    add_picture(session, made.cluster_id, candidate_id=grown.candidates[1])
    add_picture(session, made.cluster_id, photo_id=1)
    insert(session, "picture_analyses", photo_id=1, faces=2)
    insert(session, "run_loras", run_id=grown.run_id, lora_model_id=_lora(session), weight=1)
    make_post(session, made, grown.candidates[2], make_account(session, made.persona_id), state="ready")
    return made


def _lora(session: Session) -> int:
    kind = {"model_type": "character", "base_family": "flux", "file_path": "m.safetensors"}
    return insert(session, "lora_models", name="mira", sha256=digest("lora"), **kind)


@pytest.mark.parametrize("order", ["newest", "oldest", "taken", "rating"])
def test_library_4_both_kinds_are_listed_as_one_page_by_page(
    session: Session, plan: Planned, order: Order
) -> None:
    whole = list_pictures(session, plan.persona_id, order=order).pictures
    paged, after = [], None
    while True:
        page = list_pictures(session, plan.persona_id, order=order, limit=2, after=after)
        paged += page.pictures
        if (after := page.end) is None:
            break
    assert paged == list(whole) == list(read_pictures(session, [one.ref for one in whole]))
    back, before = list_pictures(session, plan.persona_id, order=order, limit=2, backwards=True), []
    while back.start is not None:
        before = [*back.pictures, *before]
        back = list_pictures(session, plan.persona_id, order=order, limit=2, after=back.start, backwards=True)
    assert [*back.pictures, *before] == paged, "from the last one to the first"
    assert count_pictures(session, plan.persona_id) == len({one.ref for one in whole}) == 7


@pytest.mark.parametrize(
    ("filters", "photos", "candidates"),
    [
        (PictureFilters(), {1, 2, 3, 4}, {2, 3, 4}),
        (PictureFilters(stage="staged"), {5}, set()),
        (PictureFilters(stage="rejected"), {6}, {1}),
        (PictureFilters(stage="deleted"), {7}, set()),
        (PictureFilters(unclustered=True), {2, 3, 4}, {3, 4}),
        (PictureFilters(cluster_id=1), {1}, {2}),
        (PictureFilters(pillar_id=1, kind="generated"), set(), {2}),
        (PictureFilters(pillar_id=2), set(), set()),
        (PictureFilters(posted=True), set(), {3}),
        (PictureFilters(posted=False, kind="still"), {1, 2, 3, 4}, set()),
        (PictureFilters(rating_min=1050), set(), {2}),
        (PictureFilters(faces_min=1, faces_max=2), {1}, set()),
        (PictureFilters(faces_max=1), set(), set()),
        (PictureFilters(flagged=True), set(), set()),
        (PictureFilters(lora_model_id=1, pipeline_id=1), set(), {2, 3, 4}),
        (PictureFilters(pipeline_id=2), set(), set()),
        (PictureFilters(text_in_name="SEA 3"), {4}, set()),
        (PictureFilters(text_in_name="0 %"), {3}, set()),
        (PictureFilters(text_in_name="a bowl", posted=False), set(), {2, 4}),
        (PictureFilters(until=datetime(2000, 1, 1, tzinfo=UTC)), set(), set()),
    ],
)
def test_library_5_each_filter_finds_its_pictures_and_no_other(
    session: Session, plan: Planned, filters: PictureFilters, photos: set[int], candidates: set[int]
) -> None:
    found = {one.ref for one in list_pictures(session, plan.persona_id, filters).pictures}
    wanted = {PictureRef(photo_id=one) for one in photos} | {
        PictureRef(candidate_id=one) for one in candidates
    }
    assert found == wanted
    assert count_pictures(session, plan.persona_id, filters) == len(wanted)


def test_library_4_a_picture_says_where_it_lies_and_what_it_is(session: Session, plan: Planned) -> None:
    in_cluster = PictureFilters(cluster_id=plan.cluster_id)
    first, second = list_pictures(session, plan.persona_id, in_cluster, order="cluster").pictures
    assert (first.ref, first.kind, first.rating, first.stage) == (
        PictureRef(candidate_id=2),
        "generated",
        1100,
        "accepted",
    )
    assert (second.label, second.kind, second.rating, second.cluster_ids) == (
        "sea 0.jpg",
        "still",
        None,
        (1,),
    )
    (rejected,) = read_pictures(session, [PictureRef(candidate_id=1)])
    assert (
        rejected.stage
        == rows(session, "SELECT status FROM image_candidates WHERE id = 1")[0][0]
        == "rejected"
    )
    with pytest.raises(InvalidRequest):
        list_pictures(session, plan.persona_id, order="cluster")
    with pytest.raises(InvalidRequest):
        PictureRef(photo_id=1, candidate_id=1)
