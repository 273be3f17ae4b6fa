"""The first look at the Dashboard: read with the driver alone, and the open database handed on."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.database.link import DatabaseLink
from persona_tui.database.migrate import schema_state
from persona_tui.errors import DatabaseUnavailable, SettingsError
from persona_tui.models.persona import Persona
from persona_tui.models.post import FENCED_STATES
from persona_tui.resources import Resources
from persona_tui.screens.first_look import Opening
from persona_tui.services.planning.overview import GOING_OUT, FirstLook, all_personas, dashboard, first_look
from persona_tui.settings import Settings
from tests.support.database import throwaway_database
from tests.support.world import grow_run, make_account, make_persona, make_plan, make_post


def look_at(db: Database, persona_id: int | None = None) -> FirstLook:
    with db.connect(autocommit=True) as connection:
        return first_look(connection, persona_id)


def test_it_tells_what_the_dashboard_tells(db: Database) -> None:
    with db.session_scope() as session:
        plan = make_plan(session)
        account = make_account(session, plan.persona_id)
        for hours, candidate in zip((-3, 4), grow_run(session, plan, 2).candidates, strict=True):
            post = make_post(session, plan, candidate, account, caption="Tea")
            session.execute(
                text(
                    "UPDATE scheduling_posts SET state = 'scheduled',"
                    " scheduled_at = persona_now() + make_interval(hours => :hours) WHERE id = :post"
                ),
                {"hours": hours, "post": post},
            )
    look = look_at(db, plan.persona_id)
    with db.session_scope() as session:
        full = dashboard(session, plan.persona_id, look.view.now)
    assert look.view.persona == full.persona
    assert look.view.personas == full.personas
    assert (look.view.overdue, look.view.upcoming) == (full.overdue, full.upcoming)
    assert (full.overdue.count, full.upcoming.count) == (1, 1)
    assert look.gaps == tuple(branch.gap for branch in full.pillars)


def test_a_session_sees_what_it_has_not_flushed(db: Database) -> None:
    with db.session_scope() as session:
        made = make_persona(session)
        session.get_one(Persona, made.id).name = "Renamed"
        now = session.execute(text("SELECT persona_now()")).scalar_one()
        session.get_one(Persona, made.id).name = "Again"
        assert [persona.name for persona in all_personas(session, now)] == ["Again"]


def test_without_a_persona_in_hand_it_takes_the_first_by_name(db: Database) -> None:
    assert look_at(db).view.persona is None
    with db.session_scope() as session:
        make_persona(session, name="Zora")
        ada = make_persona(session, name="Ada").id
    for gone in (None, 10**9):
        persona = look_at(db, gone).view.persona
        assert persona is not None
        assert persona.id == ada


def test_what_goes_out_is_what_the_tables_fence() -> None:
    assert GOING_OUT == FENCED_STATES


@pytest.mark.long
def test_an_empty_schema_is_not_looked_at_but_made_by_what_follows() -> None:
    with throwaway_database(migrated=False) as database:
        opening = Opening(database.settings)
        assert opening.look(lambda _sentence: None, None) is None
        link = DatabaseLink.open(database.settings)
        with Resources.open(database.settings, link=link) as opened:
            assert opened.database.server is link.server
            assert schema_state(opened.database) == "current"
        assert opening.look(lambda _sentence: None, None) is not None


def test_a_start_that_fails_lets_go_of_the_database_it_was_given(db: Database) -> None:
    with db.session_scope() as session:
        make_account(session, make_plan(session).persona_id)
    other = db.settings.model_copy(update={"environment": "live"})
    link = DatabaseLink.open(other)
    with pytest.raises(SettingsError):
        Resources.open(other, link=link)
    assert link.server is None or not link.server.is_held


def test_a_database_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_DATABASE_URL", "postgresql://u:s3cret@127.0.0.1:1/persona")
    with pytest.raises(DatabaseUnavailable) as refusal:
        Opening(Settings(environment="sandbox")).look(lambda _sentence: None, None)
    assert "s3cret" not in str(refusal.value)
