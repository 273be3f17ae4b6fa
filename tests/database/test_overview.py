"""The Dashboard's data: what counts where, what is next, and in how many statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.planning.ideas import accept_idea
from persona_tui.services.planning.overview import DashboardView, all_personas, dashboard
from persona_tui.services.planning.pillars import update_pillar
from tests.support.world import (
    Planned,
    grow_run,
    insert,
    make_account,
    make_candidate,
    make_persona,
    make_plan,
    make_post,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def now_of(session: Session) -> datetime:
    return session.execute(text("SELECT persona_now()")).scalar_one()


def view_of(session: Session, persona_id: int | None) -> DashboardView:
    return dashboard(session, persona_id, now_of(session))


def put_posts(
    db: Database, plan: Planned, account: int, state: str, *moments: timedelta, **fields: Any
) -> list[int]:
    """Posts in a state, each due so long from now, as the publisher would have left them."""
    with db.session_scope() as session:
        posts = [make_post(session, plan, None, account, **fields) for _ in moments]
    with db.connect("owner") as connection:
        connection.execute("ALTER TABLE scheduling_posts DISABLE TRIGGER USER")
        for post, moment in zip(posts, moments, strict=True):
            connection.execute(
                "UPDATE scheduling_posts SET state = %(state)s::text, scheduled_at = persona_now() + %(due)s,"
                " published_at = CASE WHEN %(state)s::text = 'published' THEN persona_now() + %(due)s END,"
                " lease_until = persona_now() + interval '1 hour' WHERE id = %(post)s",
                {"state": state, "due": moment, "post": post},
            )
        connection.execute("ALTER TABLE scheduling_posts ENABLE TRIGGER USER")
        connection.commit()
    return posts


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    """The statements that are sent inside the block."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


@pytest.fixture
def plan(db: Database) -> Planned:
    with db.session_scope() as session:
        return make_plan(session)


@pytest.fixture
def account(db: Database, plan: Planned) -> int:
    with db.session_scope() as session:
        return make_account(session, plan.persona_id)


def test_posts_are_sorted_into_overdue_upcoming_and_just_published(
    db: Database, plan: Planned, account: int
) -> None:
    late = put_posts(db, plan, account, "scheduled", -3 * HOUR, -4 * HOUR, -HOUR, -2 * HOUR)
    missed = put_posts(db, plan, account, "missed", -2 * DAY)
    soon = put_posts(db, plan, account, "scheduled", *(n * HOUR for n in (6, 2, 3, 4, 5)))
    due = put_posts(db, plan, account, "scheduled", -timedelta(seconds=20))
    sending = put_posts(db, plan, account, "sending", -HOUR, creation_id="1")
    out = put_posts(db, plan, account, "published", *(-n * DAY for n in (1, 3, 2, 6, 30)))
    put_posts(db, plan, account, "cancelled", -HOUR)
    with db.session_scope() as session:
        view = view_of(session, plan.persona_id)
    assert [post.id for post in view.overdue.posts] == [missed[0], late[1], late[0]]
    assert view.overdue.count == 5
    assert [post.id for post in view.upcoming.posts] == [*sending, *due, *soon[1:4]]
    assert view.upcoming.count == 7
    assert [post.id for post in view.published.posts] == [out[0], out[2], out[1]]
    assert view.published.count == 4
    assert view.persona is not None
    assert (view.persona.overdue, view.persona.upcoming, view.persona.needs_person) == (5, 7, 1)


def test_posts_that_need_a_person_are_counted_by_state(db: Database, plan: Planned, account: int) -> None:
    put_posts(db, plan, account, "paused", DAY, 2 * DAY)
    asked = put_posts(db, plan, account, "needs_human", -DAY, -2 * DAY, caption="Two mugs")
    with db.session_scope() as session:
        view = view_of(session, plan.persona_id)
    assert (view.waiting["paused"].count, view.waiting["needs_human"].count) == (2, 2)
    assert view.waiting["needs_human"].first_id == asked[1]
    assert [action.kind for action in view.actions] == ["settle", "gap"]
    assert view.actions[0].sentence == "Settle 4 posts; the first may be out already"
    assert dict(view.actions[0].target) == {"post_id": asked[1]}


def test_pillars_carry_their_clusters_stock_and_gap(db: Database, plan: Planned) -> None:
    with db.session_scope() as session:
        run = grow_run(session, plan, 3)
        for candidate in run.candidates:
            insert(
                session,
                "cluster_candidates",
                persona_id=plan.persona_id,
                cluster_id=plan.cluster_id,
                image_candidate_id=candidate,
            )
        create_cluster(session, plan.persona_id, {"name": "Loose"})
        view = view_of(session, plan.persona_id)
        update_pillar(session, plan.pillar_id, {"active": False})
        off = view_of(session, plan.persona_id)
    (branch,) = view.pillars
    assert [cluster.name for cluster in branch.clusters] == ["Wheel"]
    assert (branch.pictures, branch.unposted) == (3, 3)
    assert branch.gap is not None
    assert branch.gap.gap == branch.gap.needed - 3
    assert [cluster.name for cluster in view.unlinked] == ["Loose"]
    assert off.pillars[0].gap is None


def test_next_actions_follow_the_day(db: Database) -> None:
    """Each thing that happens brings its own action; what is more urgent comes first."""

    def kinds(session: Session) -> list[str]:
        return [action.kind for action in view_of(session, persona).actions]

    with db.session_scope() as session:
        before = view_of(session, None)
        persona = make_persona(session).id
        assert kinds(session) == ["setup", "setup"]
    assert [(a.icon, a.mode, dict(a.target)) for a in before.actions] == [
        ("🔴", "personas", {"new_persona": 1})
    ]
    with db.session_scope() as session:
        first = view_of(session, persona).actions
        assert [set(action.target) for action in first] == [
            {"persona_id", "new_pillar"},
            {"persona_id", "connect"},
        ]
        pillar = insert(session, "content_pillars", persona_id=persona, name="Studio", weight=40)
        (gap, connect) = view_of(session, persona).actions
        assert gap.sentence == "Fill the gap in Studio: 6 pictures missing"
        assert (gap.mode, dict(gap.target)) == ("ideas", {"pillar_id": pillar, "propose": 1})
        assert connect.sentence == "Connect an Instagram account to post to"
        idea = insert(
            session, "content_suggestions", persona_id=persona, pillar_id=pillar, title="Glaze", prompt="p"
        )
        assert kinds(session) == ["ideas", "gap", "setup"]
        cluster = accept_idea(session, idea).cluster_id
        assert cluster is not None
        accepted = view_of(session, persona).actions[0]
        assert accepted.sentence == "Make pictures of “Glaze”, which is accepted"
        assert dict(accepted.target) == {"idea_id": idea}
        plan = Planned(persona, pillar, cluster)
        run = grow_run(session, plan, 4)
        post = make_post(session, plan, run.candidates[0], None, cluster_id=cluster)
        vote, caption, _ = view_of(session, persona).actions
        assert (vote.kind, vote.mode, dict(vote.target)) == ("vote", "vote", {"run_id": run.run_id})
        assert vote.sentence.startswith("Vote on 4 pictures of “run ")
        assert (caption.kind, dict(caption.target)) == ("caption", {"post_id": post, "caption": 1})
        assert caption.sentence == "Caption the draft: “Glaze”"
        session.execute(text("UPDATE pipeline_runs SET status = 'completed'"))
        session.execute(text("UPDATE scheduling_posts SET caption = 'A mug.', state = 'ready'"))
        connect, ideas, _ = view_of(session, persona).actions
        assert connect.sentence == "Connect an Instagram account so that a post can be scheduled"
        make_account(session, persona)
        schedule = view_of(session, persona).actions[0]
        assert (schedule.kind, dict(schedule.target)) == ("schedule", {"post_id": post})
        assert ideas.kind == "ideas"


def test_a_complete_contest_comes_before_a_fuller_one_that_still_grows(session: Session) -> None:
    plan = make_plan(session)
    grow_run(session, plan, 6)
    complete = grow_run(session, plan, 2)
    session.execute(
        text("UPDATE pipeline_runs SET status = 'waiting' WHERE id = :id"), {"id": complete.run_id}
    )
    first = view_of(session, plan.persona_id).actions[0]
    assert dict(first.target) == {"run_id": complete.run_id}
    assert first.sentence.endswith(", and 1 more")


def test_one_picture_is_no_contest_until_the_step_is_complete(session: Session) -> None:
    plan = make_plan(session)
    run = grow_run(session, plan, 1)
    assert "vote" not in [action.kind for action in view_of(session, plan.persona_id).actions]
    session.execute(text("UPDATE pipeline_runs SET status = 'waiting' WHERE id = :id"), {"id": run.run_id})
    assert view_of(session, plan.persona_id).actions[0].sentence.startswith("Vote on 1 picture of")


def test_held_publishing_comes_before_everything(db: Database, plan: Planned, account: int) -> None:
    put_posts(db, plan, account, "missed", -DAY)
    with db.session_scope() as session:
        session.execute(text("UPDATE installation SET publishing_held = true, held_reason = 'A restore.'"))
        view = view_of(session, plan.persona_id)
    assert [(action.kind, action.mode) for action in view.actions[:2]] == [
        ("settle", "settings"),
        ("settle", "posts"),
    ]
    assert view.waiting["held"].first_title == "A restore."


def test_nothing_due_leaves_no_action(session: Session) -> None:
    plan = make_plan(session, weight=0)
    make_account(session, plan.persona_id)
    assert view_of(session, plan.persona_id).actions == ()


def test_another_personas_things_are_not_shown(db: Database, plan: Planned, account: int) -> None:
    put_posts(db, plan, account, "scheduled", -DAY, DAY)
    with db.session_scope() as session:
        grow_run(session, plan)
        other = make_plan(session, "Lena", weight=0)
        make_account(session, other.persona_id, "99")
        view = view_of(session, other.persona_id)
    assert (view.overdue.count, view.upcoming.count, view.runs, view.contests) == (0, 0, (), ())
    assert view.actions == ()
    assert [(p.name, p.overdue, p.upcoming, p.votes, p.pillars) for p in view.personas] == [
        ("Lena", 0, 0, 0, 1),
        ("Mira", 1, 1, 1, 1),
    ]


def test_a_persona_that_is_gone_shows_what_belongs_to_none(session: Session) -> None:
    make_plan(session)
    view = view_of(session, 10_000)
    assert view.persona is None
    assert [persona.name for persona in view.personas] == ["Mira"]
    assert view.actions == ()


def test_an_account_shut_off_by_instagram_is_none(session: Session) -> None:
    plan = make_plan(session)
    make_account(session, plan.persona_id)
    assert all_personas(session, now_of(session))[0].has_account
    session.execute(text("UPDATE instagram_accounts SET status = 'restricted'"))
    assert not all_personas(session, now_of(session))[0].has_account


def test_the_number_of_statements_does_not_grow_with_the_rows(
    db: Database, plan: Planned, account: int
) -> None:
    def statements() -> int:
        with db.session_scope() as session:
            now = now_of(session)
            with counted(db) as sent:
                dashboard(session, plan.persona_id, now)
        return len(sent)

    with db.session_scope() as session:
        ensure_examples(session)
        grow_run(session, plan)
    few = statements()
    put_posts(db, plan, account, "scheduled", *(n * HOUR for n in range(20)))
    with db.session_scope() as session:
        for number in range(8):
            run = grow_run(session, plan, 3)
            make_candidate(session, run.run_id, run.run_step_id, plan.persona_id, 10)
            other = make_plan(session, f"Other {number}")
            grow_run(session, other)
    assert statements() == few <= 13
