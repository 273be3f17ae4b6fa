"""Item 1 of the library under bad input: a sentence for each file, and nothing imported by half."""

from __future__ import annotations

import multiprocessing
import os
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from persona_tui import boundaries
from persona_tui.database.engine import Database, open_database
from persona_tui.errors import InvalidRequest, NotAllowedNow, StorageError, UnknownName
from persona_tui.services.library import staging, watch
from persona_tui.services.library.files import look_into
from persona_tui.services.library.imports import Import, ImportPlan
from persona_tui.services.media import MediaStore
from persona_tui.services.publishing import posts
from persona_tui.services.publishing.winners import draft_for_winner
from persona_tui.services.removals import remove_files
from persona_tui.settings import Settings
from tests.database.test_library_import import CAT, World, film
from tests.support.users import NOBODY, in_child

_processes = multiprocessing.get_context("forkserver")


@pytest.fixture
def world(db: Database, settings: Settings, tmp_path: Path) -> World:
    return World(db, settings, tmp_path / "inbox")


def noise(seed: int, side: int = 600) -> Image.Image:
    """A picture that no format makes short."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8))


def _bomb(path: Path) -> None:
    head = b"IHDR" + struct.pack(">IIBBBBB", 12_500, 10_000, 8, 2, 0, 0, 0)
    chunks = (head, b"IDAT" + zlib.compress(bytes(1_000_000)), b"IEND")
    parts = [struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _cut(path: Path) -> None:
    CAT.save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-9000])


def _cut_film(path: Path) -> None:
    film(path)
    path.write_bytes(path.read_bytes()[:800])


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("empty.jpg", Path.touch, "The file is empty."),
        ("cut.jpg", _cut, "That is no picture"),
        ("words.heic", lambda path: path.write_text("ftypheic"), "That is no picture"),
        ("bomb.png", _bomb, "12500×10000 pixels, too many"),
        ("cut.mp4", _cut_film, "That is no film"),
        ("pipe.png", os.mkfifo, "it is no plain file"),
        ("gone.png", lambda path: path.symlink_to("nowhere.png"), "No such file"),
    ],
)
def test_library_1_a_bad_file_is_told_and_the_good_one_goes_in(
    world: World, name: str, make: Callable[[Path], object], words: str
) -> None:
    make(world.folder / name)
    CAT.save(world.folder / "good.png")
    outcomes = {done.name: done for done in world.run()}
    assert outcomes["good.png"].outcome == "imported"
    assert outcomes[name].outcome == "failed"
    assert words in outcomes[name].sentence
    query = "SELECT outcome, photo_id IS NULL FROM photo_import_files ORDER BY outcome"
    assert world.rows(query) == [("failed", True), ("imported", False)]
    assert world.rows("SELECT original_name FROM photos") == [("good.png",)]


def test_library_1_a_folder_without_permission_is_told(world: World) -> None:
    world.folder.chmod(0o755)
    shut = world.folder / "shut"
    shut.mkdir()
    CAT.save(shut / "cat.png")
    shut.chmod(0o700)
    for folder in world.folder.parents:
        folder.chmod(folder.stat().st_mode | 0o011) if folder.stat().st_uid == os.getuid() else None
    said = in_child(lambda: repr([(one.below, one.problem) for one in look_into(world.folder)]), uid=NOBODY)
    assert said == "[(b'shut', 'Permission denied')]"
    assert [done.outcome for done in world.run()] == ["imported"], "who may read it imports it"
    assert world.rows("SELECT outcome FROM photo_import_files") == [("imported",)]


@pytest.mark.parametrize("always", [False, True])
def test_library_1_a_file_that_changes_while_it_is_read(world: World, always: bool) -> None:
    file = world.folder / "growing.png"
    CAT.save(file)
    changes = []

    def change(boundary: str) -> None:
        if boundary == "file:read" and (always or not changes):
            changes.append(boundary)
            CAT.rotate(5 * len(changes)).save(file)

    boundaries.observe(change)
    try:
        (done,) = world.run()
    finally:
        boundaries.observe(None)
    if always:
        assert (done.outcome, done.sentence) == ("failed", "The file changes while it is read.")
        assert world.rows("SELECT count(*) FROM photos") == [(0,)]
    else:
        ((key,),) = world.rows("SELECT media_key FROM photos")
        assert world.media.get(key) == file.read_bytes(), "what is there now, not what was there at first"


def _import_beside(settings: Settings, persona_id: int, folder: Path, cluster_id: int) -> None:
    database = open_database(settings)
    plan = ImportPlan(persona_id, folder, accept=True, cluster_id=cluster_id)
    done = list(Import(database.session_scope, MediaStore(settings), plan))
    assert not [one for one in done if one.outcome == "failed"]


def test_library_1_two_processes_import_the_same_folder_at_once(world: World) -> None:
    for number in range(30):
        CAT.rotate(11 * number).resize((200, 130)).save(world.folder / f"{number:02}.jpg")
    settings = world.db.settings
    told = (settings, world.plan.persona_id, world.folder, world.plan.cluster_id)
    children = [_processes.Process(target=_import_beside, args=told) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    query = (
        "SELECT (SELECT count(*) FROM photos), (SELECT count(*) FROM cluster_candidates),"
        " (SELECT count(*) FROM audit_events WHERE action = 'photo.import'),"
        " (SELECT count(DISTINCT path_bytes) FROM photo_import_files WHERE photo_id IS NOT NULL)"
    )
    assert world.rows(query) == [(30, 30, 30, 30)]


def test_library_1_a_full_disk_stops_the_import_and_it_goes_on_later(world: World) -> None:
    CAT.resize((60, 40)).save(world.folder / "a.png")
    noise(1).save(world.folder / "b.png")
    CAT.resize((50, 40)).save(world.folder / "c.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))  # the kernel refuses longer files
    try:
        with pytest.raises(StorageError, match="can't be written") as stopped:
            world.run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "goes on where it stopped" in stopped.value.hint
    left = "SELECT state, (SELECT count(*) FROM photo_import_files) FROM photo_imports"
    assert world.rows(left) == [("stopped", 1)]
    parts = list(world.db.settings.data_dir.rglob(".part-*"))
    assert not parts, "no half file stays"
    assert [done.outcome for done in world.run()] == ["already there", "imported", "imported"]
    assert world.rows(left) == [("done", 3)]


def test_library_1_a_reference_stays_where_it_is_and_must_stay_the_same(world: World) -> None:
    file = world.folder / "cat.png"
    CAT.save(file)
    data = file.read_bytes()
    (done,) = world.run(kept="reference", accept=True)
    ((key, sha256, kept, source),) = world.rows("SELECT media_key, sha256, kept, source_path FROM photos")
    assert (done.outcome, kept, source, world.media.get(key)) == ("imported", "reference", str(file), data)
    assert world.media.path(key) == file and world.media.thumbnail(key, sha256).exists()
    CAT.rotate(3).save(file)
    with pytest.raises(StorageError, match=r"The original cat\.png was changed since"):
        world.media.get(key)
    file.unlink()
    with pytest.raises(StorageError, match=r"cat\.png can't be read: No such file") as gone:
        world.media.get(key)
    assert str(world.folder) in gone.value.hint
    file.write_bytes(data)
    with world.db.session_scope() as session:
        staging.delete(session, world.plan.persona_id, [done.photo_id or 0], actor="operator")
    with world.db.session_scope() as session:
        assert staging.remove_deleted(session, -1) == 1
    remove_files(world.db.session_scope, world.media)
    assert world.rows("SELECT count(*) FROM photos") == [(0,)]
    assert file.read_bytes() == data, "the original is not ours to remove"
    assert world.media.path(key) is None


def test_library_1_pictures_wait_for_a_look_and_are_decided_on(world: World) -> None:
    for number in range(3):
        CAT.rotate(50 * number).save(world.folder / f"{number}.png")
    persona, cluster = world.plan.persona_id, world.plan.cluster_id
    ids = [done.photo_id or 0 for done in world.run(cluster_id=cluster)]
    with world.db.session_scope() as session:
        assert staging.staged_ids(session, persona) == tuple(ids)
        assert staging.accept(session, persona, ids[:2], actor="operator") == 2
        assert staging.reject(session, persona, ids[1:], "too\x1b[31m dark", actor="operator") == 2
        assert staging.write_caption(session, persona, ids[0], " A cat. ", actor="operator") == "A cat."
        with pytest.raises(UnknownName, match="999"):
            staging.accept(session, persona, [999], actor="operator")
        with pytest.raises(InvalidRequest):
            staging.reject(session, persona, ids, "x" * 301, actor="operator")
    query = "SELECT stage, reject_reason, caption FROM photos ORDER BY id"
    dark = ("rejected", "too dark", "")
    assert world.rows(query) == [("accepted", "", "A cat."), dark, dark]
    again = world.run()
    assert [done.outcome for done in again] == ["already there"] * 3
    assert "rejected: too dark" in again[1].sentence


def test_library_1_a_deleted_photo_comes_back_until_its_files_are_removed(world: World) -> None:
    film(world.folder / "clip.mp4")
    CAT.save(world.folder / "cat.png")
    done = world.run(accept=True, cluster_id=world.plan.cluster_id)
    persona, ids = world.plan.persona_id, [one.photo_id or 0 for one in done]
    keys = world.rows("SELECT media_key FROM photos UNION SELECT poster_key FROM photos WHERE kind = 'video'")
    with world.db.session_scope() as session:
        assert staging.delete(session, persona, ids, actor="operator") == 2
        assert staging.remove_deleted(session, 30) == 0
        session.execute(text("DELETE FROM procrastinate_jobs"))
        assert staging.restore(session, persona, ids, actor="operator") == 2
    queued = "SELECT args FROM procrastinate_jobs WHERE task_name = 'library:analyse_persona'"
    assert world.rows(queued) == [({"persona_id": persona},)], "what is missing on them is measured"
    assert world.rows("SELECT count(*) FROM cluster_candidates") == [(2,)], "they are where they were"
    with world.db.session_scope() as session:
        staging.delete(session, persona, ids, actor="operator")
    assert "photos restore" in world.run(accept=True)[0].sentence
    with world.db.session_scope() as session:
        assert staging.remove_deleted(session, -1) == 2
    assert remove_files(world.db.session_scope, world.media) == 3
    for (key,) in keys:
        path = world.media.path(key)
        assert path is not None and not path.exists()
    assert world.rows("SELECT count(*) FROM photos") == [(0,)]
    assert [one.outcome for one in world.run(accept=True)] == ["imported"] * 2, "asked for again it is"


def test_library_1_a_watched_folder_is_looked_into_again_and_again(world: World) -> None:
    (world.folder / "bad.png").write_text("no picture")
    CAT.save(world.folder / "old.png")
    then = time.time() - 60
    for file in world.folder.iterdir():
        os.utime(file, (then, then))
    CAT.rotate(90).save(world.folder / "half copied.png")
    persona = world.plan.persona_id
    with world.db.session_scope() as session:
        watch.watch(session, persona, world.folder, accept=True, cluster_id=world.plan.cluster_id)
        with pytest.raises(InvalidRequest, match="is no folder"):
            watch.watch(session, persona, world.folder / "bad.png", accept=True)
    watcher, reads = watch.Watcher(world.db.session_scope, world.media), []
    assert "bad.png of a watched folder can't be imported: " in watcher.look()
    query = "SELECT original_name FROM photos ORDER BY id"
    assert world.rows(query) == [("old.png",)]
    os.utime(world.folder / "half copied.png", (then, then))
    boundaries.observe(lambda boundary: reads.append(boundary) if boundary == "file:read" else None)
    try:
        assert "bad.png of a watched folder can't be imported: " in watcher.look()  # though it is not read
    finally:
        boundaries.observe(None)
    assert world.rows(query) == [("old.png",), ("half copied.png",)] and len(reads) == 1
    (world.folder / "bad.png").unlink()
    assert watcher.look() == ""
    world.folder.rename(world.folder.with_name("elsewhere"))
    assert "is gone" in watcher.look()
    with world.db.session_scope() as session:
        watch.unwatch(session, persona, world.folder)
        assert watch.watched(session) == ()


def test_library_1_what_a_post_uses_is_not_deleted(world: World) -> None:
    CAT.save(world.folder / "cat.png")
    (done,) = world.run(accept=True)
    persona, photo = world.plan.persona_id, done.photo_id or 0
    with world.db.session_scope() as session:
        post = draft_for_winner(session, photo_id=photo)
        with pytest.raises(NotAllowedNow, match=f"photo {photo}"):
            staging.delete(session, persona, [photo], actor="operator")
        posts.cancel(session, post.id)
        assert staging.delete(session, persona, [photo], actor="operator") == 1
        with pytest.raises(NotAllowedNow):
            draft_for_winner(session, photo_id=photo)
    with world.db.session_scope() as session:
        assert staging.remove_deleted(session, -1) == 1
    assert world.rows("SELECT count(*), (SELECT count(*) FROM post_items) FROM photos") == [(0, 0)]
