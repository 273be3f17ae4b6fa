"""R27: what comes from outside can't command a terminal: it is cleaned where it enters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from PIL import Image
from pydantic import BaseModel

from persona_tui.cli.frame import table
from persona_tui.database.engine import Database
from persona_tui.passed import Passed
from persona_tui.services.library.photos import find_files, import_photos, list_photos
from persona_tui.services.media import MediaStore
from persona_tui.services.planning.ideas import propose_ideas
from persona_tui.services.writers import Writer
from persona_tui.settings import Settings
from tests.support.world import make_plan

HOSTILE = "a\x1b]0;owned\x07b\x1b[31m\x9b2Jc\u202ed\u200be\x00"


class HostileModel:
    """A language model that answers with escape sequences."""

    async def generate(
        self,
        system: Passed[str],
        prompt: Passed[str],
        *,
        pictures: Sequence[Passed[bytes]] = (),
        schema: type[BaseModel],
    ) -> Any:
        idea = {"title": HOSTILE, "description": HOSTILE, "prompt": HOSTILE}
        return schema.model_validate({"ideas": [idea]})


async def test_r27_a_language_models_words_are_cleaned(db: Database) -> None:
    with db.session_scope() as session:
        plan = make_plan(session)
    (idea,) = await propose_ideas(
        db.session_scope,
        [Writer("hostile", HostileModel())],
        plan.persona_id,
        plan.pillar_id,
        count=1,
        now=datetime(2026, 11, 22, tzinfo=UTC),
    )
    assert (idea.title, idea.description, idea.prompt, idea.written_by) == ("abcde",) * 3 + ("hostile",)


def test_r27_a_files_name_is_cleaned(db: Database, settings: Settings, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").rename(tmp_path / "a\x1b[31mb\u202e.jpg")
    with db.session_scope() as session:
        plan = make_plan(session)
    list(import_photos(db.session_scope, MediaStore(settings), plan.persona_id, find_files(tmp_path)))
    with db.session_scope() as session:
        assert [photo.original_name for photo in list_photos(session, plan.persona_id)] == ["ab.jpg"]


@pytest.mark.parametrize("hostile", [HOSTILE, "\x1bP1;1|x\x1b\\", "\x90q\x9c", "\x1b_Gi=1;AAAA\x1b\\"])
def test_r27_a_table_prints_no_escape(hostile: str) -> None:
    assert all(
        ord(sign) >= 32 and not 127 <= ord(sign) < 160 for line in table(["h"], [[hostile]]) for sign in line
    )
