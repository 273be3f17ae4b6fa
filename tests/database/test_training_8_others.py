"""Faces of other personas, which a training's threshold is found from."""

from __future__ import annotations

import json

from sqlmodel import Session

from persona_tui.gpu import faces
from persona_tui.services.training.others import EACH, other_faces
from persona_tui.services.training.thresholds import thresholds_of
from tests.support.space import make_photo
from tests.support.world import insert, make_persona


def test_training_8_the_others_are_faces_of_other_personas(session: Session) -> None:
    mine, other, third = (make_persona(session, name).id for name in ("Mira", "Olga", "Timo"))

    def face(persona_id: int, number: int, model: str = faces.MODEL, **stage: str) -> None:
        photo = make_photo(session, persona_id, f"{persona_id} {number}", **stage).photo_id
        insert(
            session, "picture_analyses", photo_id=photo, face_model=model, face_vector=[float(number)] * 128
        )

    face(mine, 1)
    for number in range(20, 20 + EACH + 2):
        face(other, number)
    face(other, 50, model="another model")
    face(third, 60)
    face(third, 61, stage="rejected")
    found = {round(vector[0]) for vector in other_faces(session, mine)}
    assert found == {*range(22, 22 + EACH), 60}
    assert {1.0, 60.0} <= {vector[0] for vector in other_faces(session, other)}


def test_training_8_the_newest_threshold_of_each_scorer_is_the_personas(session: Session) -> None:
    mira, olga = (make_persona(session, name).id for name in ("Mira", "Olga"))

    def evaluated(persona_id: int, folder: str, *scores: dict[str, object]) -> int:
        told = {"persona_id": persona_id, "name": folder, "folder": f"/{folder}", "subject": "fictional"}
        dataset = insert(session, "datasets", **told)
        told = {"persona_id": persona_id, "dataset_id": dataset, "base_family": "flux1"}
        run = insert(session, "training_runs", **told, folder=f"/run-{folder}")
        for step, score in enumerate(scores):
            told = {"training_run_id": run, "step": step, "file_path": str(step)}
            insert(session, "checkpoints", **told, scores=json.dumps(score))
        return run

    first = evaluated(mira, "a", {"scorer": "dlib", "threshold": 0.4, "calibrated_on": 0})
    evaluated(olga, "b", {"scorer": "dlib", "threshold": 0.9, "calibrated_on": 9})
    arcface = {"scorer": "arcface", "threshold": 0.3, "calibrated_on": 12}
    second = evaluated(
        mira, "c", arcface, {"scorer": "dlib", "threshold": 0.44, "calibrated_on": 36},
        {"scorer": "dlib", "threshold": None}, {},
    )  # fmt: skip
    found = {one.scorer: (one.least, one.pairs, one.run_id) for one in thresholds_of(session, mira)}
    assert found == {"arcface": (0.3, 12, second), "dlib": (0.44, 36, second)}
    assert first not in {one.run_id for one in thresholds_of(session, mira)}
