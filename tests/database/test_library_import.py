"""Item 1 of the library: what an import makes of every kind of file, and what it goes on from."""

from __future__ import annotations

import io
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pillow_heif
import pytest
import skimage.data
from PIL import Image, ImageCms
from sqlalchemy import text

from persona_tui import boundaries
from persona_tui.database.engine import Database, open_database
from persona_tui.services.library.booking import FileOutcome
from persona_tui.services.library.files import look_into
from persona_tui.services.library.imports import Import, ImportPlan
from persona_tui.services.library.near import near_pairs
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings
from tests.support.world import make_plan

CAT = Image.fromarray(skimage.data.chelsea())


class World:
    """A persona, a media store, and a folder to import from."""

    def __init__(self, db: Database, settings: Settings, folder: Path) -> None:
        self.db, self.media, self.folder = db, MediaStore(settings), folder
        folder.mkdir()
        with db.session_scope() as session:
            self.plan = make_plan(session)

    def run(self, **options: Any) -> list[FileOutcome]:
        """Import the folder."""
        values = {"accept": False} | options
        plan = ImportPlan(self.plan.persona_id, self.folder, **values)
        return list(Import(self.db.session_scope, self.media, plan))

    def rows(self, query: str, **values: object) -> list[Any]:
        """What the database says."""
        with self.db.session_scope() as session:
            return list(session.execute(text(query), values).all())


@pytest.fixture
def world(db: Database, settings: Settings, tmp_path: Path) -> World:
    return World(db, settings, tmp_path / "inbox")


@pytest.fixture
def reads() -> Iterator[list[str]]:
    """Files read, as they are read."""
    seen: list[str] = []
    boundaries.observe(lambda boundary: seen.append(boundary) if boundary == "file:read" else None)
    yield seen
    boundaries.observe(None)


def film(path: Path, *, frames: int = 48) -> None:
    """A film with one keyframe, each of whose frames is a little brighter, with sound."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"g": "1000", "crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream("aac", rate=8000)
        for number in range(frames):
            level = np.full((64, 96, 3), 20 + 4 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(level, format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.time_base = 8000, Fraction(1, 8000)
        container.mux(sound.encode(silence))
        container.mux(stream.encode())
        container.mux(sound.encode())


def test_library_1_every_kind_is_upright_and_told(world: World) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    exif.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09", 0x9011: "+02:00"})
    CAT.save(world.folder / "turned.jpg", exif=exif)
    pillow_heif.from_pillow(CAT).save(world.folder / "phone.heic", exif=exif.tobytes())
    CAT.convert("CMYK").save(world.folder / "print.jpg")
    Image.fromarray(np.asarray(CAT.convert("L")).astype(np.uint16) * 257).save(world.folder / "deep.png")
    small = CAT.resize((90, 60))
    small.save(world.folder / "moving.webp", save_all=True, append_images=[small.rotate(9)])
    CAT.resize((120, 80)).save(world.folder / "scan.TIFF")

    outcomes = {done.name: done for done in world.run()}

    assert {done.outcome for done in outcomes.values()} == {"imported"}, outcomes
    found = {row.original_name: row for row in world.rows("SELECT * FROM photos")}
    told = {name: (row.format, row.width, row.height, row.details) for name, row in found.items()}
    assert told == {
        "turned.jpg": ("JPEG", 300, 451, {}),
        "phone.heic": ("HEIF", 300, 451, {}),
        "print.jpg": ("JPEG", 451, 300, {"mode": "CMYK"}),
        "deep.png": ("PNG", 451, 300, {"mode": "I;16"}),
        "moving.webp": ("WEBP", 90, 60, {"frames": 2}),
        "scan.TIFF": ("TIFF", 120, 80, {}),
    }
    assert found["turned.jpg"].taken_at == datetime(2024, 5, 6, 5, 8, 9, tzinfo=UTC)
    assert {row.stage for row in found.values()} == {"staged"}
    for row in found.values():
        with Image.open(world.media.thumbnail(row.media_key, row.sha256)) as shown:
            assert (shown.mode, shown.size) == ("RGB", (row.width, row.height))
            expected = CAT.rotate(-90, expand=True) if row.width < row.height else CAT
            assert np.abs(_coarse(shown) - _coarse(expected)).mean() < 12, row.original_name


def _coarse(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L").resize((9, 9))).astype(int)


def test_library_1_a_wide_gamut_becomes_srgb(world: World) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    plain, srgb = Image.new("RGB", (64, 64), (30, 160, 60)), ImageCms.createProfile("sRGB")
    green = ImageCms.profileToProfile(plain, srgb, lab, outputMode="LAB")
    assert green is not None
    green.save(world.folder / "lab.tiff", icc_profile=lab.tobytes())
    (done,) = world.run()
    assert done.outcome == "imported", done
    ((key, sha256, details),) = world.rows("SELECT media_key, sha256, details FROM photos")
    assert details["mode"] == "LAB" and details["profile"]
    with Image.open(world.media.thumbnail(key, sha256)) as small:
        assert np.abs(np.array(small.getpixel((32, 32))) - (30, 160, 60)).max() < 6


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_library_1_a_film_is_told_and_shown_by_its_middle_frame(world: World, suffix: str) -> None:
    film(world.folder / f"clip.{suffix}")
    (done,) = world.run(accept=True)
    assert done.outcome == "imported", done
    ((row),) = world.rows("SELECT * FROM photos")
    assert (row.kind, row.format, row.width, row.height) == ("video", suffix.upper(), 96, 64)
    assert row.duration_seconds == pytest.approx(2.0, abs=0.2)
    assert row.details == {"codec": "h264", "frames_per_second": 24.0, "sound": "aac"}
    with Image.open(io.BytesIO(world.media.get(row.poster_key))) as poster:
        assert np.asarray(poster).mean() == pytest.approx(20 + 4 * 24, abs=6)
    thumbnail = world.media.thumbnail(row.media_key, row.sha256)
    thumbnail.unlink()
    assert world.media.thumbnail(row.media_key, row.sha256).exists(), "made again from the film"
    assert world.media.get(row.media_key) == (world.folder / f"clip.{suffix}").read_bytes()


def test_library_1_what_is_unchanged_is_not_read_again(world: World, reads: list[str]) -> None:
    for number in range(3):
        CAT.rotate(40 * number).save(world.folder / f"{number}.png")
    world.run(accept=True)
    assert len(reads) == 3
    again = world.run(accept=True, cluster_id=world.plan.cluster_id)
    assert {done.outcome for done in again} == {"already there"} and len(reads) == 3
    CAT.rotate(10).save(world.folder / "1.png")
    assert [done.outcome for done in world.run(accept=True)] == ["already there", "imported", "already there"]
    assert len(reads) == 4
    query = "SELECT (SELECT count(*) FROM photos), (SELECT count(*) FROM cluster_candidates)"
    assert world.rows(query) == [(4, 3)]


def test_library_1_a_killed_import_goes_on_where_it_was(world: World, reads: list[str]) -> None:
    for number in range(12):
        CAT.rotate(25 * number).save(world.folder / f"{number:02}.jpg")
    child = os.fork()
    if child == 0:
        commits = []

        def die(boundary: str) -> None:
            commits.extend([boundary] if boundary == "commit:before" else [])
            if len(commits) == 6:
                os.kill(os.getpid(), signal.SIGKILL)

        world.db = open_database(world.db.settings)  # connections are not shared with a fork
        boundaries.observe(die)
        world.run(accept=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    ((booked,),) = world.rows("SELECT count(*) FROM photos")
    assert 0 < booked < 12
    assert world.rows("SELECT state FROM photo_imports") == [("running",)]
    outcomes = world.run(accept=True)
    assert sum(done.outcome == "imported" for done in outcomes) == 12 - booked == len(reads)
    assert world.rows("SELECT state, (SELECT count(*) FROM photos) FROM photo_imports") == [("done", 12)]


def test_library_1_near_duplicates_are_shown_and_kept(world: World) -> None:
    CAT.save(world.folder / "a.png")
    CAT.resize((220, 146)).save(world.folder / "b.jpg", quality=60)
    Image.fromarray(skimage.data.astronaut()).save(world.folder / "c.jpg")
    first, alike, other = world.run(accept=True)
    assert (alike.near_id, other.near_id) == (first.photo_id, None)
    with world.db.session_scope() as session:
        pairs = near_pairs(session, world.plan.persona_id)
    assert [(pair.photo_id, pair.other_id) for pair in pairs] == [(first.photo_id, alike.photo_id)]
    assert world.rows("SELECT count(*) FROM photos") == [(3,)]


def test_library_1_names_of_every_alphabet_and_of_none(world: World) -> None:
    names = ["Ærø.png", "日本.png", "עברית.png", "😀 e\u0301.png", "a\x1b[31mb.png"]
    for number, name in enumerate(names):
        CAT.rotate(30 * number).save(world.folder / "x.png")
        (world.folder / "x.png").rename(world.folder / name)
    CAT.rotate(200).save(world.folder / "x.png")
    (world.folder / "x.png").rename(world.folder / os.fsdecode(b"caf\xe9.png"))
    outcomes = world.run()
    assert [done.outcome for done in outcomes] == ["imported"] * 6, outcomes
    query = (
        "SELECT p.original_name, f.path_bytes FROM photos p JOIN photo_import_files f ON f.photo_id = p.id"
    )
    found = {name: bytes(path) for name, path in world.rows(query)}
    assert set(found) == {"Ærø.png", "日本.png", "עברית.png", "😀 e\u0301.png", "ab.png", "caf\\xe9.png"}
    assert found["caf\\xe9.png"] == b"caf\xe9.png"
    assert {done.outcome for done in world.run()} == {"already there"}


def test_library_1_links_in_a_circle_are_followed_once(world: World) -> None:
    deep = world.folder / "deep"
    deep.mkdir()
    CAT.save(deep / "cat.png")
    (deep / "up").symlink_to(world.folder)
    (deep / "self.png").symlink_to("self.png")
    (world.folder / "linked.png").symlink_to(deep / "cat.png")
    outcomes = {str(done.path.relative_to(world.folder)): done for done in world.run()}
    assert sorted(outcomes) == ["deep/cat.png", "deep/self.png", "linked.png"]
    assert "symbolic links" in outcomes["deep/self.png"].sentence
    assert world.rows("SELECT count(*) FROM photos") == [(1,)]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_library_1_fifty_thousand_files_in_one_folder(world: World) -> None:
    CAT.resize((30, 20)).save(world.folder / "00000.jpg")
    for number in range(1, 50_000):
        os.link(world.folder / "00000.jpg", world.folder / f"{number:05}.jpg")
    began = time.monotonic()
    assert next(look_into(world.folder)).below == b"00000.jpg"
    listing = time.monotonic() - began
    outcomes = world.run(accept=True)
    assert len(outcomes) == 50_000 and listing < 60
    query = "SELECT count(*), count(DISTINCT photo_id), (SELECT count(*) FROM photos) FROM photo_import_files"
    assert world.rows(query) == [(50_000, 1, 1)]
