"""Item 2: datasets are folders with a manifest, split once and for all, and never there by half."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from persona_tui import boundaries
from persona_tui.database.engine import Database
from persona_tui.errors import DuplicateName, InvalidRequest, UnknownName
from persona_tui.gpu.training.manifest import read_manifest
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.media import MediaStore
from persona_tui.services.training.adding import AddInput, add_pictures, sources_at, sources_of
from persona_tui.services.training.captions import mended
from persona_tui.services.training.dataset_acts import adopt, give_role, mend_captions, remove_pictures
from persona_tui.services.training.dataset_check import Finding, check_dataset
from persona_tui.services.training.dataset_files import DatasetFolder
from persona_tui.services.training.datasets import (
    DatasetView,
    create_dataset,
    get_dataset,
    looks,
    open_dataset,
)
from persona_tui.services.training.splitting import Member, held_out_count, split
from persona_tui.settings import Settings
from tests.support.datasets import add_files, draw, draw_all, make_dataset
from tests.support.world import insert, make_persona


def findings_of(db: Database, dataset: DatasetView) -> tuple[Finding, ...]:
    with db.session_scope() as session:
        opened = open_dataset(session, dataset.id)
        return check_dataset(opened.manifest, opened.folder.path, looks(session, dataset.id), [64])


def errors_of(db: Database, dataset: DatasetView, level: str = "error") -> list[str]:
    return [finding.sentence for finding in findings_of(db, dataset) if finding.level == level]


def test_training_2_a_dataset_is_a_folder_that_tells_itself(db: Database, tmp_path: Path) -> None:
    dataset = make_dataset(db, tmp_path)
    added = add_files(db, dataset, [draw_all(tmp_path / "in", 14)], angle="front").dataset
    assert added.pictures == {"train": 11, "held_out": 3}
    manifest, sha256 = read_manifest(added.folder)
    assert sha256 == added.manifest_sha256
    assert manifest.trigger_word == "ohwx_mira" and manifest.subject == "fictional"
    assert {picture.angle for picture in manifest.pictures} == {"front"}
    assert all((added.folder / picture.file).is_file() for picture in manifest.pictures)
    assert errors_of(db, added) == []
    # The same pictures are split alike in another dataset, whatever the order in which they come.
    target = tmp_path / "copy"
    DatasetFolder(added.folder).export(target, manifest)
    assert (target / manifest.pictures[0].file).with_suffix(".txt").read_text() == "photo of ohwx_mira\n"
    other = create_dataset(
        db.session_scope, tmp_path / "datasets", dataset.persona_id, {"name": "again", "subject": "fictional"}
    )
    (target / "manifest.json").unlink()
    held = {picture.sha256 for picture in manifest.of_role("held_out")}
    again = add_files(db, other, sorted((target / "pictures").glob("*.png"), reverse=True)).dataset
    assert {one.sha256 for one in read_manifest(again.folder)[0].of_role("held_out")} == held
    with pytest.raises(DuplicateName):
        create_dataset(db.session_scope, tmp_path, dataset.persona_id, {"name": "again"})


def test_training_2_a_growing_dataset_keeps_its_split_and_its_snapshots(db: Database, tmp_path: Path) -> None:
    dataset = make_dataset(db, tmp_path)
    first = add_files(db, dataset, [draw_all(tmp_path / "in", 6)]).dataset
    snapshot = DatasetFolder(first.folder).snapshot(first.manifest_sha256)
    held = {one.sha256 for one in read_manifest(first.folder)[0].of_role("held_out")}
    later = add_files(db, first, [draw_all(tmp_path / "in", 30)])
    assert later.count("already there") == 6 and later.count("added") == 24
    manifest = read_manifest(first.folder)[0]
    assert {one.sha256 for one in manifest.of_role("held_out")} > held
    assert later.dataset.pictures["held_out"] == held_out_count(30)
    assert read_manifest(snapshot)[1] == first.manifest_sha256
    assert len(list((snapshot / "pictures").iterdir())) == 6


def test_training_2_what_belongs_together_is_held_out_together() -> None:
    alone = [Member(f"{n:064x}", look=n * 0x0123_4567_89AB_CDE) for n in range(1, 8)]
    pair = [Member("a" * 64, look=1 << 40), Member("b" * 64, look=(1 << 40) + 3)]
    child = Member("c" * 64, parent="a" * 64, look=-1, depth=1)
    for _ in range(2):
        roles = split([*alone, *pair, child])
        assert sum(role == "held_out" for role in roles.values()) == 2
        assert len({roles[one.sha256] for one in (*pair, child)}) == 1
    assert split([Member("a" * 64, "train"), Member("b" * 64, "held_out")]) == {}


def test_training_2_pictures_that_can_not_be_read_are_told_and_left_out(db: Database, tmp_path: Path) -> None:
    source = draw_all(tmp_path / "in", 5)
    whole = (source / "00.png").read_bytes()
    (source / "90 cut.png").write_bytes(whole[:200])
    (source / "91 empty.png").write_bytes(b"")
    (source / "92 words.jpg").write_text("no picture")
    (source / "93 again.png").write_bytes(whole)
    turned = Image.open(source / "01.png").resize((120, 80))
    exif = turned.getexif()
    exif[274] = 6
    turned.save(source / "94 turned.jpg", exif=exif)
    added = add_files(db, make_dataset(db, tmp_path), [source])
    told = {one.label: one.outcome for one in added.outcomes if one.outcome != "added"}
    assert told == {
        "90 cut.png": "failed",
        "91 empty.png": "failed",
        "92 words.jpg": "failed",
        "93 again.png": "already there",
    }
    assert sum(added.dataset.pictures.values()) == 6
    # A turned one is kept as it is to be seen: no trainer has to know of EXIF.
    with db.session_scope() as session:
        sizes = session.execute(
            text("SELECT file FROM dataset_images WHERE details ->> 'source' = '94 turned.jpg'")
        ).scalar_one()
    with Image.open(added.dataset.folder / sizes) as kept:
        assert (kept.format, kept.size) == ("PNG", (80, 120))
    with pytest.raises(UnknownName):
        sources_at([tmp_path / "nowhere"], AddInput())


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(boundary: str, number: int) -> Iterator[None]:
    """End what goes on at the n-th time that a boundary is reached."""
    times = itertools.count(1)

    def look(name: str) -> None:
        if name == boundary and next(times) == number:
            raise Killed

    boundaries.observe(look)
    try:
        with pytest.raises(Killed):
            yield
    finally:
        boundaries.observe(None)


def test_training_2_a_killed_addition_is_in_the_dataset_whole_or_not_at_all(
    db: Database, tmp_path: Path
) -> None:
    dataset = add_files(db, make_dataset(db, tmp_path), [draw_all(tmp_path / "in", 6)]).dataset
    before = (dataset.folder / "manifest.json").read_bytes()
    draw_all(tmp_path / "in", 9)
    with killed_at("commit:before", 2):
        add_files(db, dataset, [tmp_path / "in"])
    with db.session_scope() as session:
        assert get_dataset(session, dataset.id).pictures == dataset.pictures
        assert len(open_dataset(session, dataset.id).manifest.pictures) == 6
    with killed_at("commit:after", 2):
        add_files(db, dataset, [tmp_path / "in"])
    # The manifest that was committed takes its place with the next look.
    assert (dataset.folder / "manifest.json").read_bytes() == before
    with db.session_scope() as session:
        assert len(open_dataset(session, dataset.id).manifest.pictures) == 9


def test_training_2_a_manifest_that_was_edited_or_moved_is_noticed_and_taken_over(
    db: Database, tmp_path: Path
) -> None:
    dataset = add_files(db, make_dataset(db, tmp_path), [draw_all(tmp_path / "in", 8)]).dataset
    path = dataset.folder / "manifest.json"
    told = json.loads(path.read_text())
    told["subject"] = "unsaid"
    told["pictures"][0]["caption"] = "photo of ohwx_mira at a wheel"
    path.write_text(json.dumps(told))
    with pytest.raises(InvalidRequest, match="edited by hand"):
        errors_of(db, dataset)
    adopted = adopt(db.session_scope, dataset.id)
    assert adopted.changes == ("1 picture got another caption.",)
    assert adopted.dataset.subject == "fictional"
    moved = shutil.move(dataset.folder, tmp_path / "moved")
    with pytest.raises(InvalidRequest, match="There is no dataset in"):
        errors_of(db, dataset)
    assert "lies in" in adopt(db.session_scope, dataset.id, Path(moved)).changes[0]
    assert errors_of(db, dataset) == []
    # Another persona's dataset of the same name lies in a folder of its own.
    with db.session_scope() as session:
        olga = make_persona(session, "Olga", trigger_word="ohwx_olga").id
    other = create_dataset(db.session_scope, tmp_path / "datasets", olga, {"name": dataset.name})
    with pytest.raises(InvalidRequest, match="is the folder of another dataset"):
        adopt(db.session_scope, dataset.id, other.folder)
    (Path(moved) / "manifest.json").write_text('{"version": 2}')
    with pytest.raises(InvalidRequest, match=r"can't be used: version"):
        adopt(db.session_scope, dataset.id)


def test_training_2_what_speaks_against_a_dataset_is_said_in_a_sentence(db: Database, tmp_path: Path) -> None:
    dataset = make_dataset(db, tmp_path)
    few = add_files(db, dataset, [draw_all(tmp_path / "few", 3, caption=None)]).dataset
    found = errors_of(db, few)
    assert "There are 2 pictures to learn from and 1 held out; 5 is the least." in found
    assert any("without caption" in sentence for sentence in found)
    draw(tmp_path / "more/a.png", 50, caption="ohwx_mira and Ohwx_Mira again")
    draw(tmp_path / "more/b.png", 51, caption="somebody else")
    draw(tmp_path / "more/c.png", 52, side=20, caption="ohwx_mira")
    near = Image.open(draw(tmp_path / "more/d.png", 53, caption="ohwx_mira"))
    near.resize((90, 90)).save(tmp_path / "more/e.png")
    more = add_files(db, few, [tmp_path / "more"], role="train").dataset
    found = errors_of(db, more)
    assert any("more than once" in sentence for sentence in found)
    assert any("without the trigger word" in sentence for sentence in found)
    assert any("under half of 64 pixels" in sentence for sentence in found)
    assert any("look alike" in sentence for sentence in errors_of(db, more, "warning"))
    twin = next(one for one in read_manifest(more.folder)[0].pictures if one.caption == "")
    mend_captions(db.session_scope, more.id)
    assert not any("trigger" in sentence or "caption" in sentence for sentence in errors_of(db, more))
    give_role(db.session_scope, more.id, [twin.file], "held_out")
    (more.folder / read_manifest(more.folder)[0].pictures[0].file).write_bytes(b"other")
    assert any("bytes are others" in sentence for sentence in errors_of(db, more))
    # What a hint names can be typed.
    held = [one.file for one in read_manifest(more.folder)[0].pictures if one.role == "held_out"]
    give_role(db.session_scope, more.id, held, "train")
    hints = " ".join(finding.hint for finding in findings_of(db, more))
    assert "FILE --give held_out`" in hints and "`dataset remove PERSONA NAME FILE`" in hints
    smaller, count = remove_pictures(db.session_scope, more.id, [twin.sha256[:12]])
    assert count == 1 and sum(smaller.pictures.values()) == 7
    with pytest.raises(UnknownName):
        remove_pictures(db.session_scope, more.id, ["nobody.png"])


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("", "photo of ohwx person"),
        ("at a wheel", "ohwx person, at a wheel"),
        ("photo of ohwx and OHWX smiling", "photo of ohwx and smiling"),
        ("photo of Ohwx, smiling", "photo of ohwx, smiling"),
    ],
)
def test_training_2_captions_are_mended(caption: str, wanted: str) -> None:
    assert mended(caption, "ohwx", "person") == wanted


def test_training_2_pictures_come_from_the_library_too_and_stay_when_it_lets_them_go(
    db: Database, tmp_path: Path, settings: Settings
) -> None:
    dataset, media = make_dataset(db, tmp_path), MediaStore(settings)
    stored = media.put(draw(tmp_path / "a.png", 1).read_bytes())
    with db.session_scope() as session:
        photo = insert(
            session, "photos", persona_id=dataset.persona_id, sha256=stored.sha256, media_key=stored.key,
            format="PNG", width=96, height=96, byte_count=1, caption="ohwx_mira smiles",
        )  # fmt: skip
        refs = [PictureRef(photo_id=photo)]
        sources = sources_of(session, media, dataset.persona_id, refs, AddInput())
        stranger = make_persona(session, "Nils")
        with pytest.raises(UnknownName):
            sources_of(session, media, stranger.id, refs, AddInput())
    added = add_pictures(db.session_scope, dataset.id, sources)
    (picture,) = read_manifest(added.dataset.folder)[0].pictures
    assert (picture.caption, picture.sha256) == ("ohwx_mira smiles", stored.sha256)
    with db.session_scope() as session:
        session.execute(text("DELETE FROM photos"))
        assert session.execute(text("SELECT photo_id FROM dataset_images")).scalar_one() is None


def test_training_2_an_editor_learns_from_pairs(db: Database, tmp_path: Path) -> None:
    dataset = make_dataset(db, tmp_path, wheel="editor")
    results = draw_all(tmp_path / "after", 8, caption="make it brighter")
    for number in range(7):
        draw(tmp_path / f"before/{number:02}.png", 100 + number)
    draw(tmp_path / "before/06_1.png", 200)
    draw(tmp_path / "before/06_2.png", 201)
    added = add_files(db, dataset, [results], control=tmp_path / "before")
    assert [one.outcome for one in added.outcomes] == ["added"] * 7 + ["failed"]
    counts = sorted(len(one.control) for one in read_manifest(added.dataset.folder)[0].pictures)
    assert counts == [1] * 6 + [2]
    assert added.dataset.trigger_word == "" and errors_of(db, added.dataset) == []


def test_training_3_a_manifest_that_says_real_makes_no_fictional_dataset(
    db: Database, tmp_path: Path
) -> None:
    real = make_dataset(db, tmp_path, subject="real")
    real = add_files(db, real, [draw_all(tmp_path / "in", 6)]).dataset
    with db.session_scope() as session:
        olga = make_persona(session, "Olga", trigger_word="ohwx_olga").id
    values = {"name": real.name, "subject": "fictional"}
    fictional = create_dataset(db.session_scope, tmp_path / "datasets", olga, values)
    with pytest.raises(InvalidRequest, match="says that somebody real is in its pictures"):
        add_files(db, fictional, [real.folder])
    (tmp_path / "link").symlink_to(real.folder)
    with pytest.raises(InvalidRequest, match="is the folder of another dataset"):
        adopt(db.session_scope, fictional.id, tmp_path / "link")
    copy = shutil.copytree(real.folder, tmp_path / "copy")
    with pytest.raises(InvalidRequest, match="says that somebody real is in its pictures"):
        adopt(db.session_scope, fictional.id, Path(copy))
    # Where nobody says that it is fictional, a consent is asked for anyway.
    unsaid = create_dataset(db.session_scope, tmp_path / "datasets", olga, {"name": "v2"})
    assert add_files(db, unsaid, [real.folder]).count("added") == 6
