"""What becomes of clusters by key: reviews, parts, samples, suggestions, and how long they last."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.library.embeddings import current_model
from persona_tui.services.library.membership import add_pictures
from persona_tui.services.library.pictures import PictureRef
from persona_tui.widgets.choice import ChoiceDialog
from tests.support.space import embed, make_photo
from tests.support.world import insert, make_plan
from tests.ui.clusters_world import Library, library_screen, opened
from tests.ui.quiet_core import QuietCore, asked, fill, form_opens, saved, says, shows, until
from tests.ui.support import said, screen_text


@pytest.fixture
def library(db: Database, tmp_path: Path) -> Library:
    with db.session_scope() as session:
        return Library(db, tmp_path, make_plan(session))


async def test_library_7_unsure_pictures_are_put_where_proposed_or_not_proposed_again(
    library: Library,
) -> None:
    with library.db.session_scope() as session:
        persona_id = library.plan.persona_id
        for name in ("shore", "sea"):
            ref = make_photo(session, persona_id, name)
            proposed = {"cluster_id": library.plan.cluster_id, "distance": 0.3, "state": "open"}
            insert(session, "cluster_reviews", persona_id=persona_id, **ref.columns, **proposed)
    async with opened(library) as pilot:
        await shows(pilot, "Unsure where")
        await pilot.press("down", "down", "enter")
        await shows(pilot, "UNSURE WHERE  (2 pictures)")
        assert "→ Wheel?" in screen_text(pilot)
        first = library_screen(pilot).picture
        await pilot.press("y")
        await says(pilot, "went where proposed.")
        members = "SELECT array_agg(photo_id) FROM cluster_candidates"
        assert first is not None and asked(library.db, members) == [first.ref.photo_id]
        await pilot.press("u")
        await says(pilot, "is in no cluster again.")
        assert asked(library.db, members) is None
        await shows(pilot, "UNSURE WHERE  (1 picture)")
        await pilot.press("x")
        await says(pilot, "is not proposed for it again.")
    assert asked(library.db, "SELECT count(*) FROM cluster_reviews WHERE state = 'open'") == 0
    assert asked(library.db, members) is None


async def test_library_7_a_cluster_says_how_long_it_lasts_and_is_split_and_sampled(library: Library) -> None:
    library.stock(4)
    folder = library.folder / "samples"
    async with opened(library) as pilot:
        await pilot.press("end")
        await shows(pilot, "WHEEL  (4 pictures, Studio, used up in")
        await pilot.press("E")
        await form_opens(pilot)
        await fill(pilot, folder=str(folder), count="3")
        await saved(pilot)
        await until(pilot, lambda: said(pilot).startswith("3 files in"))
        assert len(list(folder.iterdir())) == 3
        await pilot.press("enter", "space", "space", "v")
        await form_opens(pilot)
        await fill(pilot, name="Glazes")
        await saved(pilot)
        await says(pilot, "2 pictures left “Wheel” for a new cluster.")
        await shows(pilot, " Glazes ")
        assert "marked" not in screen_text(pilot)
    where = "(SELECT id FROM clusters WHERE name = :name)"
    count = f"SELECT count(*) FROM cluster_candidates WHERE cluster_id = {where}"
    assert [asked(library.db, count, name=name) for name in ("Wheel", "Glazes")] == [2, 2]


async def test_library_7_suggestions_lead_to_the_cluster_and_a_search_by_words_says_what_it_lacks(
    library: Library,
) -> None:
    with library.db.session_scope() as session:
        ref = make_photo(session, library.plan.persona_id, "sea")
        add_pictures(session, library.plan.cluster_id, [ref])
        here = current_model(QuietCore(library.db, library.folder).settings).hash
        embed(session, library.plan.persona_id, ref, [1.0], here)
    async with opened(library) as pilot:
        await shows(pilot, "sea.jpg")
        await pilot.press("g")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        assert "Wheel" in screen_text(pilot) and "1 picture" in screen_text(pilot)
        await pilot.press("enter")
        cluster = ("cluster", library.plan.cluster_id)
        await until(pilot, lambda: library_screen(pilot).shelves.current_key == cluster)
        await pilot.press("apostrophe", *"clay", "enter")
        await until(pilot, lambda: "CLIP" in screen_text(pilot))
        await pilot.press("escape")
        await shows(pilot, "WHEEL  (1 picture")
    assert asked(library.db, "SELECT count(*) FROM embeddings") == 1


async def test_library_4_a_build_by_key_says_for_how_many_vectors_it_waits(library: Library) -> None:
    library.stock(3)
    async with opened(library) as pilot:
        await pilot.press("b")
        await says(pilot, "The build waits for vectors of 3 pictures; it goes on by itself.")
        await pilot.press("b")
        await says(pilot, "A build waits already for vectors of 3 pictures; it goes on by itself.")
        here = current_model(QuietCore(library.db, library.folder).settings).hash
        with library.db.session_scope() as session:
            for (photo_id,) in session.execute(text("SELECT id FROM photos")).all():
                embed(session, library.plan.persona_id, PictureRef(photo_id), [1.0], here)
        await pilot.press("b")
        await says(pilot, "A build waits already; its clusters come here by themselves.")
    jobs = "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'library:build_clusters'"
    assert asked(library.db, jobs) == 1


async def test_library_2_7_a_narrow_screen_names_the_key_and_counts_clusters_without_a_pillar(
    library: Library,
) -> None:
    library.stock(2)
    with library.db.session_scope() as session:
        for name in ("Bowls", "Cups"):
            create_cluster(session, library.plan.persona_id, {"name": name})
    async with opened(library) as pilot:
        await shows(pilot, "[A] does it. To do:")
        await until(pilot, lambda: library_screen(pilot).shelves.seek(("loose", 0)))
        await shows(pilot, "NO PILLAR  (2 clusters)")
        assert "These clusters serve no pillar yet." in screen_text(pilot)
