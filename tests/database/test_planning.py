"""Personas, pillars, gaps and ideas on a real database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import DuplicateName, GuardRefused, InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.services.planning import ideas
from persona_tui.services.planning.gaps import analyse, posts_needed
from persona_tui.services.planning.personas import (
    create_persona,
    delete_persona,
    find_persona,
    update_persona,
)
from persona_tui.services.planning.pillars import create_pillar, list_pillars, update_pillar
from persona_tui.services.planning.slots import next_slot
from persona_tui.services.safety.audit import first_break
from tests.support.world import grow_run, insert, make_account, make_persona, make_plan, make_post

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def now_of(session: Session) -> datetime:
    return session.execute(text("SELECT persona_now()")).scalar_one()


def test_an_unknown_persona_lists_the_known_ones(session: Session) -> None:
    make_persona(session, "Mira")
    with pytest.raises(UnknownName) as caught:
        find_persona(session, "Nobody")
    assert "Mira" in caught.value.hint
    assert find_persona(session, "  mira ").name == "Mira"


def test_a_name_is_taken_in_any_case(session: Session) -> None:
    make_persona(session, "Mira")
    with pytest.raises(DuplicateName):
        make_persona(session, "MIRA")


@pytest.mark.parametrize(
    ("field", "value"),
    [("age", 17), ("name", " "), ("zone", "Mars/Base"), ("posts_per_week", 0), ("nonsense", 1)],
)
def test_a_bad_field_is_named(session: Session, field: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create_persona(session, {"name": "Mira", "age": 30} | {field: value})
    assert field.replace("_", " ").lower() in caught.value.message.lower()


def test_a_refused_description_leaves_no_persona_but_an_audit_event(db: Database) -> None:
    with pytest.raises(GuardRefused), db.session_scope() as session:
        create_persona(session, {"name": "X", "age": 30, "description": "nude teen"})
    with db.session_scope() as session:
        assert session.execute(text("SELECT count(*) FROM personas")).scalar_one() == 0
        actions = session.execute(text("SELECT action FROM audit_events")).scalars().all()
        assert actions == ["guard.refuse"]
        assert first_break(session) is None


def test_control_characters_never_reach_a_row(session: Session) -> None:
    made = make_persona(session, "Mi\x1b[31mra\u202e", description="a\x07b")
    assert made.name == "Mira" and made.description == "ab"


def test_a_persona_with_content_is_kept(session: Session) -> None:
    plan = make_plan(session)
    with pytest.raises(NotAllowedNow):
        delete_persona(session, plan.persona_id)
    empty = make_persona(session, "Empty")
    delete_persona(session, empty.id)
    with pytest.raises(UnknownName):
        find_persona(session, "Empty")


def test_a_change_keeps_the_other_fields(session: Session) -> None:
    made = make_persona(session, zone="Europe/Berlin")
    changed = update_persona(session, made.id, {"posts_per_week": 5})
    assert (changed.zone, changed.posts_per_week, changed.age) == ("Europe/Berlin", 5.0, 31)


def test_weights_over_100_say_how_much_is_left(session: Session) -> None:
    persona = make_persona(session).id
    create_pillar(session, persona, {"name": "A", "weight": 70})
    with pytest.raises(InvalidRequest) as caught:
        create_pillar(session, persona, {"name": "B", "weight": 40})
    assert "30 %" in caught.value.hint
    small = create_pillar(session, persona, {"name": "B", "weight": 30})
    with pytest.raises(InvalidRequest):
        update_pillar(session, small.id, {"weight": 31})


def test_an_end_before_the_start_is_refused(session: Session) -> None:
    persona = make_persona(session).id
    with pytest.raises(InvalidRequest, match="end must be after the start"):
        create_pillar(session, persona, {"name": "A", "start_date": "2026-12-24", "end_date": "2026-12-01"})
    with pytest.raises(InvalidRequest, match="Start date"):
        create_pillar(session, persona, {"name": "A", "start_date": "Christmas"})


def test_posts_needed_follow_the_formula() -> None:
    assert posts_needed(40, None, 3, 30) == 6  # ceil(ceil(3 × 30/7) × 0.4)
    assert posts_needed(0, 2, 3, 30) == 9  # ceil(2 × 30/7), the weight does not matter
    assert posts_needed(0, 2, 3, 7) == 2


def test_gaps_count_stock_and_scheduled_posts_and_forget_failed_ones(session: Session) -> None:
    plan = make_plan(session, weight=40)
    run = grow_run(session, plan, pictures=4)
    for candidate in run.candidates:
        insert(
            session,
            "cluster_candidates",
            persona_id=plan.persona_id,
            cluster_id=plan.cluster_id,
            image_candidate_id=candidate,
        )
    account = make_account(session, plan.persona_id)
    scheduled = make_post(session, plan, run.candidates[0], account)
    now = now_of(session)
    session.execute(
        text("UPDATE scheduling_posts SET state = 'scheduled', scheduled_at = :at WHERE id = :id"),
        {"at": now + timedelta(days=2), "id": scheduled},
    )
    make_post(session, plan, run.candidates[1], account)  # a draft burns nothing
    (gap,) = analyse(session, plan.persona_id, now)
    assert (gap.needed, gap.scheduled, gap.available, gap.gap) == (6, 1, 3, 2)
    assert (gap.status, gap.urgency) == ("low", "medium")
    session.execute(text("UPDATE scheduling_posts SET state = 'cancelled' WHERE id = :id"), {"id": scheduled})
    (gap,) = analyse(session, plan.persona_id, now)
    assert (gap.scheduled, gap.available, gap.gap) == (0, 4, 2)


def test_a_shared_cluster_counts_for_its_primary_pillar_alone(session: Session) -> None:
    plan = make_plan(session)
    other = create_pillar(session, plan.persona_id, {"name": "Other", "weight": 40}).id
    insert(
        session,
        "pillar_cluster_assignments",
        persona_id=plan.persona_id,
        pillar_id=other,
        cluster_id=plan.cluster_id,
    )
    run = grow_run(session, plan)
    insert(
        session,
        "cluster_candidates",
        persona_id=plan.persona_id,
        cluster_id=plan.cluster_id,
        image_candidate_id=run.candidates[0],
    )
    stock = {gap.pillar_id: gap.available for gap in analyse(session, plan.persona_id, NOW)}
    assert stock == {plan.pillar_id: 1, other: 0}


def test_only_current_pillars_have_gaps(session: Session) -> None:
    persona = make_persona(session).id
    create_pillar(session, persona, {"name": "Past", "weight": 10, "end_date": date(2026, 1, 1)})
    create_pillar(session, persona, {"name": "Off", "weight": 10, "active": False})
    create_pillar(session, persona, {"name": "Now", "weight": 10})
    assert [gap.name for gap in analyse(session, persona, NOW)] == ["Now"]
    assert len(list_pillars(session, persona)) == 3
    with pytest.raises(InvalidRequest):
        analyse(session, persona, NOW, 0)


async def test_without_a_language_model_ideas_are_templates_that_say_so(db: Database) -> None:
    with db.session_scope() as session:
        plan = make_plan(session)
    made = await ideas.propose_ideas(db.session_scope, (), plan.persona_id, plan.pillar_id, count=6, now=NOW)
    assert len({idea.title for idea in made}) == 6
    assert {idea.written_by for idea in made} == {"template"}
    again = await ideas.propose_ideas(db.session_scope, (), plan.persona_id, plan.pillar_id, count=3, now=NOW)
    assert not {idea.title for idea in again} & {idea.title for idea in made}


async def test_an_accepted_idea_has_a_cluster_of_its_own(db: Database) -> None:
    with db.session_scope() as session:
        plan = make_plan(session)
    (idea,) = await ideas.propose_ideas(
        db.session_scope, (), plan.persona_id, plan.pillar_id, count=1, now=NOW
    )
    with db.session_scope() as session:
        accepted = ideas.accept_idea(session, idea.id)
        assert ideas.accept_idea(session, idea.id).cluster_id == accepted.cluster_id
        row = session.execute(
            text(
                'SELECT c.name, c.ai_prompt, a.pillar_id, a."primary" FROM clusters c'
                " JOIN pillar_cluster_assignments a ON a.cluster_id = c.id WHERE c.id = :id"
            ),
            {"id": accepted.cluster_id},
        ).one()
    assert tuple(row) == (idea.title, idea.prompt, plan.pillar_id, True)
    with db.session_scope() as session:
        ideas.mark_used(session, idea.id)
    with pytest.raises(NotAllowedNow), db.session_scope() as session:
        ideas.reject_idea(session, idea.id)


def test_slots_keep_the_windows_and_the_gap(session: Session) -> None:
    plan = make_plan(session)
    update_persona(session, plan.persona_id, {"zone": "Europe/Berlin", "posts_per_week": 7})
    now = now_of(session)
    first = next_slot(session, plan.persona_id, now, min_gap=timedelta(hours=1))
    account = make_account(session, plan.persona_id)
    post = make_post(session, plan, grow_run(session, plan).candidates[0], account)
    session.execute(
        text("UPDATE scheduling_posts SET state = 'scheduled', scheduled_at = :at WHERE id = :id"),
        {"at": first.at, "id": post},
    )
    second = next_slot(session, plan.persona_id, now, min_gap=timedelta(hours=1))
    assert second.at - first.at >= timedelta(hours=18)
    assert first.wall_time[11:13] in {"09", "10", "11", "17", "18"}
    assert first.zone == "Europe/Berlin"
