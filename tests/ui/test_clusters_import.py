"""What comes into the library by key: photos from a folder, with what fails, and new clusters."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from textual.pilot import Pilot

from persona_tui.database.engine import Database
from persona_tui.screens.clusters_import import ImportPanel
from persona_tui.services.library.clusters import create_cluster, list_clusters
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.reader import TextDialog
from tests.support.world import make_plan
from tests.ui.clusters_world import Library, library_screen, opened
from tests.ui.quiet_core import asked, fill, form_opens, saved, until
from tests.ui.support import said, screen_text, settle


@pytest.fixture
def library(db: Database, tmp_path: Path) -> Library:
    with db.session_scope() as session:
        return Library(db, tmp_path, make_plan(session))


async def at_once(pilot: Pilot[None]) -> None:
    """Choose that the photos count without a look."""
    form = pilot.app.screen
    assert isinstance(form, FormDialog)
    next(row for row in form.rows if row.field.name == "accept").control.focus()
    await pilot.press("right")


async def test_a_folder_is_imported_and_what_fails_is_named(library: Library) -> None:
    library.drop(3)
    (library.inbox / "broken.png").write_bytes(b"no picture")
    async with opened(library) as pilot:
        await pilot.press("end", "i")
        await form_opens(pilot)
        await fill(pilot, path=str(library.inbox / "missing"))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "There is no folder" in " ".join(screen_text(pilot).split()))
        await fill(pilot, path=str(library.inbox))
        await at_once(pilot)
        await saved(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, TextDialog))
        text = screen_text(pilot)
        assert "1 file failed" in text and "broken.png" in text and "That is no picture" in text
        await pilot.press("escape")
        await settle(pilot)
        assert said(pilot) == "3 photos imported, 1 file failed."
        assert "3/3" in screen_text(pilot)
    assert asked(library.db, "SELECT count(*) FROM cluster_candidates") == 3
    assert stat.S_ISREG((library.inbox / "walk_01.png").stat().st_mode), "the originals stay"


@pytest.mark.long
async def test_an_import_stops_between_two_files_and_goes_on_when_repeated(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.drop(6)
    async with opened(library) as pilot:
        panel, pressed = library_screen(pilot).query_one(ImportPanel), []
        say = panel._say

        def stop_after_two(tally: object) -> None:
            say(tally)  # type: ignore[arg-type]
            if tally.imported == 2:  # type: ignore[attr-defined]
                pressed.append(panel.running and library_screen(pilot).step_back())

        monkeypatch.setattr(panel, "_say", stop_after_two)
        await pilot.press("i")
        await form_opens(pilot)
        await fill(pilot, path=str(library.inbox))
        await saved(pilot)
        await until(pilot, lambda: said(pilot).startswith("Stopped"))
        assert pressed == [True]
        assert said(pilot) == "Stopped: 2 photos imported, to be looked at."
        assert asked(library.db, "SELECT count(*) FROM photos") == 2
        monkeypatch.undo()
        await pilot.press("i")
        await form_opens(pilot)
        await fill(pilot, path=str(library.inbox))
        await saved(pilot)
        await until(pilot, lambda: said(pilot) == "4 photos imported, to be looked at, 2 there already.")
        assert not panel.running


@pytest.mark.long
async def test_a_cluster_is_made_renamed_and_given_a_pillar(library: Library) -> None:
    async with opened(library) as pilot:
        await pilot.press("n")
        await form_opens(pilot)
        await fill(pilot, name="wheel", prompt="hands and clay")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "There is a cluster called 'wheel' already." in screen_text(pilot))
        await fill(pilot, name="Harbour")
        await saved(pilot)
        await until(pilot, lambda: "HARBOUR  (" in screen_text(pilot))
        assert "Cluster “Harbour” is there. i imports photos into it." in said(pilot)
        await pilot.press("e")
        await form_opens(pilot)
        await fill(pilot, name="Harbour walks")
        await saved(pilot)
        await until(pilot, lambda: "Harbour walks" in screen_text(pilot))
        await pilot.press("a")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await until(pilot, lambda: said(pilot) == "“Harbour walks” serves Studio now.")
        await pilot.press("w")
        await settle(pilot)
        assert "hands and clay" in screen_text(pilot)
    with library.db.session_scope() as session:
        made = next(one for one in list_clusters(session, library.plan.persona_id) if one.name != "Wheel")
        assert (made.name, made.pillar, made.ai_prompt) == ("Harbour walks", "Studio", "hands and clay")


@pytest.mark.long
async def test_a_picture_is_put_into_another_cluster_as_well(library: Library) -> None:
    library.stock(1)
    with library.db.session_scope() as session:
        other = create_cluster(session, library.plan.persona_id, {"name": "Zinnias"}).id
    async with opened(library) as pilot:
        await pilot.press("C")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(pilot, lambda: said(pilot).startswith("walk_01.png is in “Zinnias” as well."))
        rows = "SELECT count(*) FROM cluster_candidates WHERE photo_id = 1"
        assert asked(library.db, rows) == 2
        await pilot.press("u", "c")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("down", "enter")
        await until(pilot, lambda: said(pilot).startswith("walk_01.png is in “Zinnias” now."))
    assert asked(library.db, "SELECT cluster_id FROM cluster_candidates WHERE photo_id = 1") == other
