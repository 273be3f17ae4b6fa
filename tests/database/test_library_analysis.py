"""Items 2 and 3 of the library: each kind of analysis on its own, and vectors of one model at a time."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr, ValidationError
from sqlalchemy import text

from persona_tui.clients.gemini import GeminiClient
from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.gpu import faces
from persona_tui.gpu.stand_in import projection
from persona_tui.services.library import analyses, builds, embeddings
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.library.tasks import VECTORS_LOOKS
from persona_tui.services.library.vision import Description
from persona_tui.services.media import MediaStore
from persona_tui.services.writers import Writer
from persona_tui.setting_sections import ClipSettings, GeminiSettings, VisionSettings
from persona_tui.settings import Settings
from tests.support.library import Workshop, add_photo, photograph
from tests.support.models import tiny_clip
from tests.support.sandbox import SandboxProcess
from tests.support.space import make_photo, make_subject
from tests.support.world import grow_run, insert, make_persona, make_plan

needs_faces = pytest.mark.skipif(
    not faces.is_installed(), reason="no extra faces: pip install 'persona-tui[faces]'"
)


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.close()


@pytest.fixture
def media(settings: Settings) -> MediaStore:
    return MediaStore(settings)


def rows(db: Database, statement: str, **values: object) -> list[tuple[Any, ...]]:
    with db.session_scope() as session:
        return [tuple(row) for row in session.execute(text(statement), values)]


def outcomes(db: Database, kind: str) -> list[tuple[str, str]]:
    """State and problem of each picture, in the order in which they came."""
    found = rows(db, "SELECT state, problem FROM analysis_outcomes WHERE kind = :kind ORDER BY id", kind=kind)
    return [(str(state), str(problem)) for state, problem in found]


def test_library_2_each_kind_has_an_outcome_of_its_own_and_one_lost_picture_spoils_nothing(
    db: Database, settings: Settings, media: MediaStore, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "is_installed", lambda: False)
    with db.session_scope() as session:
        persona = make_persona(session).id
        astronaut = add_photo(session, media, persona, photograph("astronaut"))
        add_photo(session, media, persona, photograph("coffee"))
        add_photo(session, media, persona, photograph("rocket"), stage="staged")
        analyses.queue(session, astronaut)
    lost = media.put(photograph("coffee"))
    for file in (media.path(lost.key), media.thumbnail(lost.key, lost.sha256)):
        assert file is not None
        file.unlink()
    workshop.work(db, settings)
    assert rows(db, "SELECT kind, state, count(*) FROM analysis_outcomes GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("embedding", "done", 1),
        ("embedding", "failed", 1),
        ("faces", "unknown", 2),
        ("measures", "done", 1),
        ("measures", "failed", 1),
        ("vision", "unknown", 2),
    ]
    ((sharpness, exposure, counted, details),) = rows(
        db, "SELECT sharpness, exposure, faces, details FROM picture_analyses"
    )
    assert sharpness > 0 and 0 < exposure < 1 and counted is None  # nobody looked: not 0
    assert math.isclose(sum(colour["share"] for colour in details["colours"]), 1)
    with db.session_scope() as session:
        seen = analyses.overview(session, persona, analyses.abilities(settings))
        assert analyses.retry(session, persona, ("measures",)) == 1
    assert seen.line == ("Failed: sharpness and colours 1, likeness 1. Unknown: faces 2, description 2.")
    assert "is gone" in seen.kinds[0].problem
    media.put(photograph("coffee"))
    workshop.work(db, settings)
    assert outcomes(db, "measures") == [("done", "")] * 2


def test_library_4_a_build_in_the_background_waits_for_the_vectors(
    db: Database, settings: Settings, media: MediaStore, workshop: Workshop
) -> None:
    with db.session_scope() as session:
        persona = make_persona(session).id
        for name in ("coffee", "chelsea"):
            for turn in range(6):
                add_photo(session, media, persona, turned(name, turn))
        builds.request_build(session, persona)
    workshop.work(db, settings)  # the build comes first, finds no vectors, and is put off
    assert rows(db, "SELECT count(*) FROM embeddings") == [(12,)]
    with db.session_scope() as session:
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'"))
    workshop.work(db, settings)
    assert rows(db, "SELECT count(*) FROM clusters") == [(2,)]


def test_library_4_a_build_begins_without_vectors_that_nobody_makes(
    db: Database, settings: Settings, media: MediaStore, workshop: Workshop
) -> None:
    with db.session_scope() as session:
        persona = make_persona(session).id
        for axis in (0, 1):
            make_subject(session, persona, axis, 6)
        here = embeddings.current_model(settings).hash
        session.execute(text("UPDATE embeddings SET model_hash = :hash"), {"hash": here})
        make_photo(session, persona, "never embedded")
        builds.request_build(session, persona, missing=1, looks=VECTORS_LOOKS)
    workshop.work(db, settings)
    assert rows(db, "SELECT count(*) FROM clusters") == [(2,)]


def turned(name: str, degrees: int) -> bytes:
    """A photograph, turned a little."""
    file = io.BytesIO()
    Image.open(io.BytesIO(photograph(name))).rotate(degrees).save(file, "JPEG", quality=92)
    return file.getvalue()


@needs_faces
def test_library_2_the_surest_face_counts_and_a_small_one_is_not_compared(
    db: Database, settings: Settings, media: MediaStore, workshop: Workshop
) -> None:
    small = io.BytesIO()
    Image.open(io.BytesIO(photograph("astronaut"))).resize((200, 200)).save(small, "PNG")
    with db.session_scope() as session:
        persona = make_persona(session).id
        for data in (photograph("astronaut"), small.getvalue(), photograph("coffee")):
            add_photo(session, media, persona, data)
        analyses.queue_kind(session, persona, "faces")
    workshop.work(db, settings)
    found = rows(
        db, "SELECT faces, cardinality(face_vector), details FROM picture_analyses ORDER BY photo_id"
    )
    assert [(count, numbers) for count, numbers, _ in found] == [(1, 128), (1, None), (0, None)]
    (face,) = found[0][2]["faces"]
    assert face["score"] >= 0.5 and face["top"] < 0.2  # the face; her helmet lies at two thirds


@needs_faces
def test_library_2_of_two_faces_the_surer_one_counts_not_the_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "LEAST_SCORE", 0.0)  # the helmet's score is 0.1
    astronaut = Image.open(io.BytesIO(photograph("astronaut"))).convert("RGB")
    scene = Image.new("RGB", (1000, 512), "grey")
    scene.paste(astronaut)
    scene.paste(astronaut.crop((100, 300, 260, 460)).resize((480, 480)), (515, 10))
    found = faces.find_faces(scene)
    assert found.best is not None
    assert max(face.height for face in found.found) > found.best.height
    assert found.best.left * 1000 < 512 * 0.4


def test_library_2_a_description_is_asked_in_one_call_of_what_passed_the_guard(
    db: Database, settings: Settings, media: MediaStore, workshop: Workshop, tmp_path: Path
) -> None:
    sandbox = SandboxProcess(tmp_path)
    asked = settings.model_copy(
        update={
            "vision": VisionSettings(by="gemini"),
            "gemini": GeminiSettings(base_url=sandbox.gemini, api_key=SecretStr(sandbox.token)),
        }
    )
    client = GeminiClient(SecretStr(sandbox.token), model="gemini-3.5-flash", base_url=sandbox.gemini)
    seers = (Writer("gemini-3.5-flash", client),)
    with db.session_scope() as session:
        persona = make_persona(session).id
        for name in ("astronaut", "coffee", "rocket"):
            add_photo(session, media, persona, photograph(name))
        analyses.queue_kind(session, persona, "vision")
    steer = {"outcome": "wrong_schema", "times": 1}
    headers = {"x-goog-api-key": sandbox.token}
    httpx.post(f"{sandbox.gemini}/sandbox/outcomes", json=steer, headers=headers).raise_for_status()
    workshop.work(db, asked, seers)
    states = sorted(outcomes(db, "vision"))
    assert [state for state, _ in states] == ["done", "done", "failed"]
    assert "can't be used" in states[2][1]
    described = rows(db, "SELECT caption, objects, aesthetic FROM picture_analyses ORDER BY photo_id")
    assert all(caption and objects and 1 <= taste <= 10 for caption, objects, taste in described)
    passed = "SELECT content_sha256 FROM audit_events WHERE action = 'guard.pass' AND subject LIKE 'photos:%'"
    received = sandbox.control("gemini", "GET", "received")
    pictures = {entry["sha256"] for entry in received if entry["what"] == "picture"}
    assert pictures == {sha256 for (sha256,) in rows(db, passed)} and len(pictures) == 3
    sandbox.stop()
    with db.session_scope() as session:
        analyses.retry(session, persona, ("vision",))
    workshop.work(db, asked, seers)
    workshop.run(lambda _pool: client.aclose())
    assert len(outcomes(db, "vision")) == 2  # nobody is there: the third goes on waiting
    later = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo' AND scheduled_at > now()"
    assert rows(db, later) == [(1,)]


def test_library_2_odd_answers_are_read_and_senseless_ones_refused() -> None:
    odd = Description.model_validate_json(
        '{"caption": "A cup\\u202e.", "objects": {"cup": "85 %", "table": 0.4}, "aesthetic": "7,5/10"}'
    )
    assert odd.caption == "A cup." and odd.aesthetic == 7.5
    assert [(seen.label, seen.confidence) for seen in odd.objects] == [("cup", 0.85), ("table", 0.4)]
    for wrong in (
        '{"caption": " ", "objects": [], "aesthetic": 5}',
        '{"caption": "A cup.", "objects": [{"label": "cup", "confidence": 7}], "aesthetic": 5}',
        '{"caption": "A cup.", "objects": [], "aesthetic": 11}',
        '{"caption": "A cup.", "objects": "cup", "aesthetic": 5}',
    ):
        with pytest.raises(ValidationError):
            Description.model_validate_json(wrong)


def test_library_3_a_change_of_model_embeds_photos_and_candidates_anew_and_mixes_nothing(
    db: Database, settings: Settings, media: MediaStore, workshop: Workshop, tmp_path: Path
) -> None:
    with db.session_scope() as session:
        plan = make_plan(session)
        photo = add_photo(session, media, plan.persona_id, photograph("astronaut"))
        (candidate,) = grow_run(session, plan, 1).candidates
        stored = media.put(photograph("coffee"))
        session.execute(
            text("UPDATE image_candidates SET media_key = :key, sha256 = :sha256"),
            {"key": stored.key, "sha256": stored.sha256},
        )
        analyses.queue_kind(session, plan.persona_id, "embedding")
    workshop.work(db, settings)
    stand_in = embeddings.current_model(settings)
    folder = workshop.in_child(tiny_clip, tmp_path / "clip")
    spoken = settings.model_copy(update={"clip": ClipSettings(checkpoint=folder)})
    model = embeddings.current_model(spoken)
    assert (stand_in.speaks, model.speaks) == (False, True)
    with db.session_scope() as session:
        assert analyses.queue_missing(session, analyses.abilities(spoken)) > 0
    workshop.work(db, spoken)
    kept = rows(db, "SELECT photo_id, image_candidate_id, persona_id, model_hash FROM embeddings ORDER BY id")
    assert kept == [
        (picture, generated, plan.persona_id, made.hash)
        for made in (stand_in, model)
        for picture, generated in ((photo.photo_id, None), (None, candidate))
    ]
    words = workshop.run(embeddings.text_vector, spoken, "a cup of coffee")
    assert words.shape == (512,) and math.isclose(float(np.linalg.norm(words)), 1, abs_tol=1e-4)
    with pytest.raises(NotAllowedNow) as refused:
        workshop.run(embeddings.text_vector, settings, "a cup of coffee")
    assert str(embeddings.clip_place(settings)) in refused.value.hint and "https://" in refused.value.hint


def test_library_3_weights_that_are_none_are_said_once_each_and_all_else_goes_on(
    db: Database, settings: Settings, media: MediaStore, workshop: Workshop, tmp_path: Path
) -> None:
    broken = tmp_path / "clip.pt"
    broken.write_bytes(b"no weights")
    spoilt = settings.model_copy(update={"clip": ClipSettings(checkpoint=broken)})
    with db.session_scope() as session:
        persona = make_persona(session).id
        analyses.queue(session, add_photo(session, media, persona, photograph("coffee")))
    workshop.work(db, spoilt)
    assert outcomes(db, "measures") == [("done", "")]
    ((state, problem),) = outcomes(db, "embedding")
    assert state == "unknown" and str(broken) in problem
    assert rows(db, "SELECT count(*) FROM embeddings") == [(0,)]
    with db.session_scope() as session:
        assert analyses.missing(
            session, persona, "embedding", analyses.abilities(settings)["embedding"], limit=9
        )


def test_library_3_a_vector_of_the_wrong_length_is_refused(db: Database, settings: Settings) -> None:
    model = embeddings.current_model(settings)
    unit = np.zeros(512, dtype=np.float32)
    unit[3] = 1
    with db.session_scope() as session:
        persona = make_persona(session).id
        photo = insert(
            session, "photos", persona_id=persona, sha256="a" * 64, media_key="-", format="JPEG",
            width=1, height=1, byte_count=1,
        )  # fmt: skip
        for wrong in (unit[:511], unit * 2, unit * np.nan):
            with pytest.raises(InvalidRequest):
                embeddings.store(session, model, [(PictureRef(photo_id=photo), wrong)])
        embeddings.store(
            session, model, [(PictureRef(photo_id=photo), unit), (PictureRef(photo_id=99), unit)]
        )
    assert rows(db, "SELECT photo_id, persona_id FROM embeddings") == [(photo, persona)]


def test_library_3_the_stand_ins_matrix_is_fixed_and_keeps_angles() -> None:
    matrix = projection()
    assert np.allclose(matrix.T @ matrix, np.eye(512), atol=1e-5)
    assert np.allclose(matrix[0, :3], (-0.02509177, -0.0463188, 0.0279103), atol=1e-6)
