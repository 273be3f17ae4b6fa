"""Deleting a run: its rows in one transaction, its files after it, and nothing that anybody else names."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text
from sqlmodel import Session, select

from persona_tui.database.engine import Database
from persona_tui.errors import NotAllowedNow, StorageError, UnknownName
from persona_tui.models import metadata
from persona_tui.models.pipeline import ImageCandidate
from persona_tui.models.safety import AuditEvent
from persona_tui.services.generation import gates, run_acts, runs
from persona_tui.services.generation.deletion import (
    delete_run,
    deletion_preview,
    remove_files,
)
from persona_tui.services.generation.keeping import Fetched, Finished, keep
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.media import MediaStore
from persona_tui.services.publishing.posts import draft_for_winner
from persona_tui.services.removals import PICTURE_TABLES
from persona_tui.services.voting import contest
from persona_tui.settings import Settings
from tests.database.growing import add_persona, add_run, grow, take
from tests.database.test_generation_night import vote


def drawn(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 80), (shade, 90, 120)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def media(settings: Settings) -> MediaStore:
    return MediaStore(settings)


def give_files(session: Session, media: MediaStore, run_id: int) -> list[Path]:
    """Let the run's pictures be files in the store; originals and thumbnails."""
    files = []
    for row in session.exec(select(ImageCandidate).where(ImageCandidate.run_id == run_id)):
        stored = media.put(drawn(row.id))
        row.media_key, row.sha256 = stored.key, stored.sha256
        session.add(row)
        path = media.path(stored.key)
        assert path is not None
        files += [path, media.thumbnail(stored.key, stored.sha256)]
    session.commit()
    return files


def age(files: list[Path]) -> None:
    """Let the files be an hour old."""
    for file in files:
        then = file.stat().st_mtime - 3600
        os.utime(file, (then, then))


def ended_run(session: Session, **values: object) -> int:
    """A run with votes, a gate, children and a winner, completed."""
    run = add_run(session, **values)
    best = grow(session)[1]
    vote(session, run.steps[0].id, best, 2)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    gates.choose_winner(session, grow(session)[0], actor="operator")
    return run.id


def rows_left(session: Session) -> dict[str, int]:
    tables = (
        "pipeline_runs pipeline_run_steps generation_slots comfyui_jobs image_candidates gate_members"
        " contests contest_members votes vote_items cluster_candidates post_items"
    )
    return {
        table: count
        for table in tables.split()
        if (count := session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
    }


def test_a_run_goes_with_its_tree_its_votes_and_its_files(
    db: Database, session: Session, media: MediaStore
) -> None:
    run_id = ended_run(session)
    files = give_files(session, media, run_id)
    age(files)
    assert len(files) == 12 and all(file.exists() for file in files)

    gone = delete_run(session, run_id, actor="Olga")
    session.commit()

    assert (gone.run_id, gone.pictures, rows_left(session)) == (run_id, 6, {})
    assert all(file.exists() for file in files)
    assert remove_files(db.session_scope, media) == 6
    assert not any(file.exists() for file in files)
    assert remove_files(db.session_scope, media) == 0
    event = session.exec(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert event is not None and (event.actor, event.action, event.details["pictures"]) == (
        "Olga",
        "run.delete",
        6,
    )
    with pytest.raises(UnknownName):
        delete_run(session, run_id, actor="Olga")


def test_a_rolled_back_deletion_removes_nothing(db: Database, session: Session, media: MediaStore) -> None:
    run_id = ended_run(session)
    files = give_files(session, media, run_id)
    age(files)
    delete_run(session, run_id, actor="operator")
    session.rollback()

    assert remove_files(db.session_scope, media) == 0
    assert all(file.exists() for file in files)
    assert runs.run_detail(session, run_id).status == "completed"


def test_a_file_that_another_run_names_or_that_was_stored_again_stays(
    db: Database, session: Session, media: MediaStore
) -> None:
    run_id = ended_run(session)
    files = give_files(session, media, run_id)
    age(files)
    mine = session.exec(select(ImageCandidate).order_by(ImageCandidate.id)).all()
    shared, again = mine[0], mine[1]
    twin = add_run(session)
    (other,) = [session.get_one(ImageCandidate, candidate) for candidate in grow(session)[:1]]
    assert other.run_id == twin.id
    other.media_key, other.sha256 = shared.media_key, shared.sha256
    session.add(other)
    keys = (media.path(shared.media_key), media.path(again.media_key))
    shade = again.id
    delete_run(session, run_id, actor="operator")
    session.commit()
    media.put(drawn(shade))  # an engine has just fetched the same picture and will name it in a moment

    assert remove_files(db.session_scope, media) == 4
    assert all(path is not None and path.exists() for path in keys)


def test_a_file_that_can_not_be_removed_is_tried_again(
    db: Database, session: Session, media: MediaStore
) -> None:
    run_id = ended_run(session)
    files = give_files(session, media, run_id)
    age(files)
    stuck = files[0]
    stuck.unlink()
    stuck.mkdir()  # a folder is not unlinked
    age([stuck])
    delete_run(session, run_id, actor="operator")
    session.commit()

    with pytest.raises(StorageError, match="can't be removed"):
        remove_files(db.session_scope, media)
    stuck.rmdir()
    assert remove_files(db.session_scope, media) == 6
    assert not any(file.exists() for file in files)


def test_a_picture_that_was_stored_in_vain_goes_after_a_while(
    db: Database, session: Session, media: MediaStore
) -> None:
    run = add_run(session)
    (job, *_) = take(session, 2)
    stored = media.put(drawn(7))
    path = media.path(stored.key)
    assert path is not None
    runs.cancel_run(session, run.id)
    assert keep(session, [Finished(job, (Fetched(0, stored),), {})]) == [()]
    session.commit()

    assert remove_files(db.session_scope, media, rest=60) == 0
    assert path.exists()
    assert remove_files(db.session_scope, media) == 1
    assert not path.exists()


def test_a_run_that_goes_on_is_not_deleted(session: Session) -> None:
    run = add_run(session)
    take(session, 1)
    with pytest.raises(NotAllowedNow, match="is running") as told:
        delete_run(session, run.id, actor="operator")
    assert told.value.hint.startswith("Cancel it first: `persona-tui run cancel")
    runs.cancel_run(session, run.id)
    delete_run(session, run.id, actor="operator")
    assert rows_left(session) == {}


def test_what_is_used_is_deleted_only_when_that_is_said(session: Session) -> None:
    persona = add_persona(session)
    cluster = create_cluster(session, persona, {"name": "Tea"})
    run_id = ended_run(session, persona_id=persona, cluster_id=cluster.id)
    winner = runs.run_detail(session, run_id).winner_id
    assert winner is not None
    draft = draft_for_winner(session, winner).id
    session.execute(
        text(
            "INSERT INTO scheduling_posts (persona_id, environment, state, run_id)"
            " SELECT :persona, environment, 'awaiting_image', :run FROM installation"
        ),
        {"persona": persona, "run": run_id},
    )

    found = deletion_preview(session, run_id)
    with pytest.raises(NotAllowedNow, match="Pictures of it are in Tea") as told:
        delete_run(session, run_id, actor="operator")
    delete_run(session, run_id, actor="operator", even_used=True)

    assert (found.clusters, len(found.loose_posts), found.live_posts) == (("Tea",), 2, ())
    assert "--even-used" in told.value.hint
    posts = session.execute(text("SELECT state, run_id FROM scheduling_posts")).all()
    assert [tuple(post) for post in posts] == [("draft", None), ("draft", None)]
    assert draft == found.loose_posts[0] and rows_left(session) == {}


def test_what_a_live_post_shows_is_never_deleted(session: Session) -> None:
    persona = add_persona(session)
    run_id = ended_run(session, persona_id=persona)
    winner = runs.run_detail(session, run_id).winner_id
    assert winner is not None
    post = draft_for_winner(session, winner).id
    session.execute(text("UPDATE scheduling_posts SET state = 'ready'"))

    assert deletion_preview(session, run_id).live_posts == (post,)
    with pytest.raises(NotAllowedNow, match=f"live or published posts: {post}"):
        delete_run(session, run_id, actor="operator", even_used=True)


def test_every_table_that_names_pictures_keeps_their_files() -> None:
    naming = {table.name for table in metadata.tables.values() if "media_key" in table.columns}

    assert naming - {"media_removals"} == set(PICTURE_TABLES)


@pytest.mark.parametrize("end", ["completed", "cancelled", "failed"])
def test_an_ended_run_is_reopened_and_keeps_its_winner(session: Session, end: str) -> None:
    run_id = ended_run(session)
    winner = runs.run_detail(session, run_id).winner_id
    session.execute(text("UPDATE pipeline_runs SET status = :end"), {"end": end})

    again = run_acts.reopen_run(session, run_id, actor="Olga")

    assert (again.status, again.winner_id, again.finished_at) == ("waiting", winner, None)
    with pytest.raises(NotAllowedNow, match="it has not ended"):
        run_acts.reopen_run(session, run_id)
    other = next(
        m
        for m in contest.standings(session, again.steps[1].contest_id or 0).members
        if m.candidate_id != winner
    )
    assert gates.choose_winner(session, other.candidate_id, actor="Olga").replaced_id == winner
    assert runs.run_detail(session, run_id).status == "completed"


def test_a_reopened_run_makes_what_was_left_open(session: Session) -> None:
    run = add_run(session)
    take(session, 2)
    cancelled = runs.cancel_run(session, run.id)
    assert (cancelled.status, cancelled.reason) == ("cancelled", "The operator cancelled it.")
    assert take(session, 9) == []

    again = run_acts.reopen_run(session, run.id)

    assert (again.status, again.reason) == ("running", "")
    assert len(grow(session)) == 4


def test_a_paused_run_is_approved_and_goes_on_only_when_resumed(session: Session) -> None:
    run = add_run(session)
    grow(session)
    runs.pause_run(session, run.id)
    with pytest.raises(NotAllowedNow, match="is paused"):
        run_acts.reopen_run(session, run.id)

    gates.approve(session, run.steps[0].id, 1, actor="operator")

    assert (runs.run_detail(session, run.id).status, take(session, 9)) == ("paused", [])
    runs.resume_run(session, run.id)
    assert len(grow(session)) == 2
