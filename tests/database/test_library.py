"""Real photographs: imported once, measured in the background, never touched."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
from PIL import Image
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, StorageError, UnknownName
from persona_tui.services.library.analysis import measure
from persona_tui.services.library.clusters import cluster_pictures, list_clusters
from persona_tui.services.library.photos import find_files, import_photos, list_photos
from persona_tui.services.media import MediaStore, write_durably
from persona_tui.settings import Settings
from tests.support.world import make_plan


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "photos"
    (place / "deep").mkdir(parents=True)
    Image.fromarray(skimage.data.astronaut()).save(place / "astronaut.jpg")
    Image.fromarray(skimage.data.chelsea()).save(place / "deep" / "cat.png")
    Image.fromarray(skimage.data.coffee()).save(place / "coffee.webp")
    (place / "notes.txt").write_text("no picture")
    (place / "broken.jpg").write_bytes(b"\xff\xd8 this is no picture")
    return place


def test_a_folder_is_imported_once_and_measured(db: Database, settings: Settings, folder: Path) -> None:
    media = MediaStore(settings)
    with db.session_scope() as session:
        plan = make_plan(session)
    files = find_files(folder)
    before = {file: file.read_bytes() for file in files}
    first = list(import_photos(db.session_scope, media, plan.persona_id, files, cluster_id=plan.cluster_id))
    assert sorted(done.outcome for done in first) == ["failed", "imported", "imported", "imported"]
    assert next(done for done in first if done.outcome == "failed").path.name == "broken.jpg"
    again = list(import_photos(db.session_scope, media, plan.persona_id, files, cluster_id=plan.cluster_id))
    assert sorted(done.outcome for done in again) == ["already there"] * 3 + ["failed"]
    assert {file: file.read_bytes() for file in files} == before
    with db.session_scope() as session:
        photos = list_photos(session, plan.persona_id)
        assert {photo.original_name for photo in photos} == {"astronaut.jpg", "cat.png", "coffee.webp"}
        (cluster,) = list_clusters(session, plan.persona_id)
        assert (cluster.pictures, cluster.unposted) == (3, 3)
        assert len(cluster_pictures(session, plan.cluster_id)) == 3
    assert all(media.thumbnail(photo.media_key, photo.sha256).exists() for photo in photos)
    with db.session_scope() as session:
        waiting = session.execute(text("SELECT task_name FROM procrastinate_jobs")).scalars().all()
    assert waiting == ["library:analyse_persona"]  # one for all three


def test_a_sharper_picture_scores_higher_and_a_brighter_one_is_brighter(tmp_path: Path) -> None:
    astronaut = Image.fromarray(skimage.data.astronaut())
    from PIL import ImageEnhance, ImageFilter

    def encoded(image: Image.Image) -> bytes:
        path = tmp_path / "x.png"
        image.save(path)
        return path.read_bytes()

    plain = measure(encoded(astronaut))
    blurred = measure(encoded(astronaut.filter(ImageFilter.GaussianBlur(4))))
    bright = measure(encoded(ImageEnhance.Brightness(astronaut).enhance(1.5)))
    assert blurred.sharpness < plain.sharpness / 3
    assert plain.exposure < bright.exposure <= 1


def test_missing_and_empty_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(UnknownName):
        find_files(tmp_path / "nowhere")
    with pytest.raises(InvalidRequest):
        find_files(tmp_path)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        write_durably(tmp_path / "file" / "x.png", b"data")


def test_the_same_picture_is_stored_once_and_damage_is_refused(settings: Settings, folder: Path) -> None:
    media = MediaStore(settings)
    data = (folder / "astronaut.jpg").read_bytes()
    stored = media.put(data)
    assert media.put(data).key == stored.key
    assert media.get(stored.key) == data
    with pytest.raises(InvalidRequest):
        media.put(data[: len(data) // 2])
    with pytest.raises(StorageError):
        media.get("00/00/none.jpg")
