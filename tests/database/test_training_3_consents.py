"""Item 3: nothing is trained unless the dataset is fictional or names a consent that holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.gpu.training.manifest import read_manifest
from persona_tui.services.safety.consents import add_consent, list_consents, withdraw_consent
from persona_tui.services.training.datasets import get_dataset, say_subject
from tests.database.test_rules import refused
from tests.support.datasets import make_dataset
from tests.support.world import insert, make_persona

GIVEN = {"subject": "Ana Reis", "evidence": "signed letter of 3 March"}
TRAIN = (
    "INSERT INTO training_runs (persona_id, dataset_id, base_family, folder, status)"
    " VALUES (:persona, :dataset, 'flux1', gen_random_uuid()::text, 'training')"
)


def test_training_3_a_consent_is_recorded_withdrawn_once_and_audited(session: Session) -> None:
    persona = make_persona(session)
    consent = add_consent(session, persona.id, GIVEN)
    assert (consent.state, consent.scope) == ("valid", "training")
    refused(session, "UPDATE consents SET subject = 'Eve'", "consent_kept")
    gone = withdraw_consent(session, consent.id, "she asked for it")
    assert (gone.state, gone.withdrawn_reason) == ("withdrawn", "she asked for it")
    with pytest.raises(NotAllowedNow):
        withdraw_consent(session, consent.id)
    refused(session, "UPDATE consents SET withdrawn_at = NULL, withdrawn_reason = ''", "consent_kept")
    refused(session, "DELETE FROM consents", "append_only")
    acts = session.execute(text("SELECT action FROM audit_events WHERE action LIKE 'consent%' ORDER BY id"))
    assert acts.scalars().all() == ["consent.add", "consent.withdraw"]
    with pytest.raises(InvalidRequest, match="run out already"):
        add_consent(session, persona.id, {**GIVEN, "expires_at": datetime.now(UTC) - timedelta(days=1)})
    with pytest.raises(InvalidRequest, match="Evidence"):
        add_consent(session, persona.id, {"subject": "Ana Reis", "evidence": ""})


def test_training_3_a_real_person_is_trained_by_consent_alone(db: Database, tmp_path: Path) -> None:
    scope = db.session_scope
    dataset = make_dataset(db, tmp_path, subject="unsaid")
    with scope() as session:
        mine = add_consent(session, dataset.persona_id, GIVEN)
        publishing = add_consent(session, dataset.persona_id, {**GIVEN, "scope": "publishing"})
        stranger = add_consent(session, make_persona(session, "Nils").id, GIVEN)
    with pytest.raises(UnknownName):
        say_subject(scope, dataset.id, "real", stranger.id)
    with pytest.raises(InvalidRequest, match="for publishing, not for training"):
        say_subject(scope, dataset.id, "real", publishing.id)
    said = say_subject(scope, dataset.id, "unsaid", mine.id)
    assert (said.subject, said.consent_id) == ("real", mine.id)
    assert read_manifest(said.folder)[0].subject == "real"
    with scope() as session:
        withdraw_consent(session, mine.id)
    with pytest.raises(InvalidRequest, match="withdrawn"):
        say_subject(scope, dataset.id, "real", mine.id)
    # What shows somebody who has taken it back does not become fictional.
    for other in ("fictional", "unsaid"):
        with pytest.raises(InvalidRequest, match="pictures of Ana Reis, whose consent"):
            say_subject(scope, dataset.id, other)
    with scope() as session:
        assert {one.state for one in list_consents(session, dataset.persona_id)} == {"withdrawn", "valid"}
        session.execute(text("UPDATE personas SET fictional = false"))
    with pytest.raises(InvalidRequest, match="real person"):
        say_subject(scope, dataset.id, "fictional")


@pytest.mark.parametrize("subject", ["unsaid", "fictional", "real"])
def test_training_3_the_database_lets_no_run_begin_without_it(
    db: Database, tmp_path: Path, subject: str
) -> None:
    dataset = make_dataset(db, tmp_path, subject=subject)
    values = {"persona": dataset.persona_id, "dataset": dataset.id}
    with db.session_scope() as session:
        if subject == "fictional":
            session.execute(text(TRAIN), values)
            return
        refused(session, TRAIN, "training_consent", **values)
        # What is only planned may wait for its consent.
        run = insert(
            session, "training_runs", persona_id=dataset.persona_id, dataset_id=dataset.id,
            base_family="flux1", folder="elsewhere",
        )  # fmt: skip
        refused(session, "UPDATE training_runs SET status = 'encoding'", "training_consent")
        if subject == "unsaid":
            return
    for ended in ("withdrawn", "expired"):
        soon = {"expires_at": datetime.now(UTC) + timedelta(hours=1)} if ended == "expired" else {}
        with db.session_scope() as session:
            consent = add_consent(session, dataset.persona_id, {**GIVEN, **soon})
        say_subject(db.session_scope, dataset.id, "real", consent.id)
        with db.session_scope() as session:
            session.execute(text("UPDATE training_runs SET status = 'encoding'"))
            session.execute(text("UPDATE training_runs SET status = 'paused' WHERE id = :run"), {"run": run})
        with pytest.raises(DBAPIError, match="no consent"), db.session_scope() as session:
            if ended == "expired":
                session.execute(text("UPDATE installation SET clock_offset = interval '2 hours'"))
            else:
                withdraw_consent(session, consent.id)
            session.execute(text("UPDATE training_runs SET status = 'training'"))
    with db.session_scope() as session:
        assert get_dataset(session, dataset.id).runs == 1
