"""Items 2 and 3 of the library: each kind of analysis on its own, and vectors of one model at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.gpu import faces
from persona_tui.services.library import analyses
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings
from tests.support.library import add_photo, photograph, work
from tests.support.world import make_persona


def rows(db: Database, statement: str, **values: object) -> list[tuple[Any, ...]]:
    with db.session_scope() as session:
        return [tuple(row) for row in session.execute(text(statement), values)]


@pytest.fixture
def media(settings: Settings) -> MediaStore:
    return MediaStore(settings)


def test_library_2_each_kind_has_an_outcome_of_its_own_and_one_lost_picture_spoils_nothing(
    db: Database, settings: Settings, media: MediaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "is_installed", lambda: False)
    with db.session_scope() as session:
        persona = make_persona(session).id
        astronaut = add_photo(session, media, persona, photograph("astronaut"))
        lost = add_photo(session, media, persona, photograph("coffee"))
        add_photo(session, media, persona, photograph("rocket"), stage="staged")
        analyses.queue(session, astronaut)
        analyses.queue(session, lost)
    for file in settings.media_dir.rglob("*"):
        key = rows(db, "SELECT sha256 FROM photos WHERE id = :id", id=lost.photo_id)[0][0]
        if file.is_file() and key in file.name:
            file.unlink()
    work(db, settings)
    found = rows(
        db,
        "SELECT kind, state, count(*) FROM analysis_outcomes GROUP BY 1, 2 ORDER BY 1, 2",
    )
    assert found == [
        ("embedding", "done", 1),
        ("embedding", "failed", 1),
        ("faces", "unknown", 2),
        ("measures", "done", 1),
        ("measures", "failed", 1),
        ("safety", "unknown", 2),
        ("vision", "unknown", 2),
    ]
    ((sharpness, exposure, counted, details),) = rows(
        db, "SELECT sharpness, exposure, faces, details FROM picture_analyses"
    )
    assert sharpness > 0 and 0 < exposure < 1 and counted is None  # unknown, not 0
    assert math.isclose(sum(colour["share"] for colour in details["colours"]), 1)
    with db.session_scope() as session:
        seen = analyses.overview(session, persona, analyses.abilities(settings))
        assert analyses.retry(session, persona, ("measures",)) == 1
    assert seen.line == (
        "Failed: sharpness and colours 1, likeness 1. Unknown: faces 2, safety 2, description 2."
    )
    assert "is gone" in seen.kinds[0].problem
    media.put(photograph("coffee"))
    work(db, settings)
    assert rows(db, "SELECT count(*) FROM analysis_outcomes WHERE kind = 'measures' AND state = 'done'") == [
        (2,)
    ]
