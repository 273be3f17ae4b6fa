"""Watched folders of photos and of LoRAs, looked into by one process."""

from __future__ import annotations

import os
from pathlib import Path

from persona_tui.database.engine import Database
from persona_tui.services.folder_watch import FolderWatch
from persona_tui.services.library import watch as photos
from persona_tui.services.loras import watching as loras
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings
from tests.support.loras import write_lora
from tests.support.world import make_persona


def test_a_bad_photo_keeps_no_lora_from_being_offered(
    db: Database, settings: Settings, tmp_path: Path
) -> None:
    pictures, models = tmp_path / "pictures", tmp_path / "models"
    pictures.mkdir()
    (pictures / "bad.png").write_text("no picture")
    write_lora(models, "mira.safetensors")
    for file in (pictures / "bad.png", models / "mira.safetensors"):
        os.utime(file, (1, 1))
    with db.session_scope() as session:
        photos.watch(session, make_persona(session).id, pictures, accept=True)
        loras.watch(session, models)
    said = FolderWatch(db.session_scope, MediaStore(settings)).look()
    assert "bad.png of a watched folder can't be imported" in said
    with db.session_scope() as session:
        assert [Path(one.path).name for one in loras.offers(session)] == ["mira.safetensors"]
