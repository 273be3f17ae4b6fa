"""Faces of other personas, which a training's threshold is found from."""

from __future__ import annotations

from sqlmodel import Session

from persona_tui.gpu import faces
from persona_tui.services.training.others import EACH, other_faces
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
