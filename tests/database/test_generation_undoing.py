"""Taking things back: approvals, rejections that shut gates, winners; nothing is made for a shut gate."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from persona_tui.errors import NotAllowedNow
from persona_tui.models.library import ClusterCandidate
from persona_tui.models.pipeline import GateMember, ImageCandidate
from persona_tui.models.safety import AuditEvent
from persona_tui.services.generation import gates, jobs, runs
from persona_tui.services.generation.progress import RunStepView
from persona_tui.services.library.clusters import add_picture, create_cluster
from persona_tui.services.publishing.posts import draft_for_winner
from tests.database.growing import add_persona, add_run, finish, grow, status, take
from tests.support.world import insert


def steps(session: Session, run_id: int) -> tuple[RunStepView, ...]:
    return runs.run_detail(session, run_id).steps


def places(session: Session, run_id: int) -> list[tuple[int, str, int]]:
    """How many places each step has in each state."""
    rows = session.execute(
        text(
            "SELECT st.position, s.state, count(*) FROM generation_slots s"
            " JOIN pipeline_run_steps st ON st.id = s.run_step_id WHERE s.run_id = :run"
            " GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"run": run_id},
    )
    return [tuple(row) for row in rows]


def test_an_approval_is_taken_back_and_what_waited_is_withdrawn(session: Session) -> None:
    run = add_run(session)
    first, *_ = grow(session)
    step_id = run.steps[0].id
    gates.approve(session, step_id, 1, actor="operator")
    (job,) = take(session, 1)

    undone = gates.unapprove(session, step_id, actor="Olga")

    assert (undone.withdrawn, undone.night_ended) == (2, False)
    assert finish(session, job) == ()
    assert places(session, run.id) == [(1, "filled", 4), (2, "withdrawn", 2)]
    one, two = steps(session, run.id)
    assert (one.approved, two.is_open, two.open, two.in_flight) == (False, False, 0, 0)
    assert session.exec(select(GateMember)).all() == []
    assert status(session, run.id) == "waiting"
    assert take(session, 9) == []
    last = session.exec(select(AuditEvent).order_by(AuditEvent.id.desc())).first()
    assert last is not None and (last.actor, last.action) == ("Olga", "gate.unapprove")

    gates.approve_these(session, step_id, [first], actor="operator", reason="it is sharp")
    assert places(session, run.id) == [(1, "filled", 4), (2, "open", 2)]
    assert steps(session, run.id)[0].approval_reason == "it is sharp"
    assert {session.get_one(ImageCandidate, one).parent_id for one in grow(session)} == {first}


def test_places_that_an_early_approval_closed_open_again(session: Session) -> None:
    run = add_run(session)
    (job, *_) = take(session, 2)
    finish(session, job)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    assert places(session, run.id) == [(1, "filled", 1), (1, "withdrawn", 3), (2, "open", 2)]

    gates.unapprove(session, run.steps[0].id, actor="operator")

    assert places(session, run.id) == [(1, "filled", 1), (1, "open", 3), (2, "withdrawn", 2)]
    assert status(session, run.id) == "running"
    assert len(grow(session)) == 3


def test_an_approval_stays_once_something_came_of_it(session: Session) -> None:
    run = add_run(session)
    grow(session)
    first, second = (step.id for step in run.steps)
    with pytest.raises(NotAllowedNow, match="is not approved"):
        gates.unapprove(session, first, actor="operator")
    gates.approve(session, first, 1, actor="operator")
    (job, _) = take(session, 2)
    assert jobs.move(session, job, ("submitted",), "running")

    with pytest.raises(NotAllowedNow, match="A server is making 1 pictures of refine"):
        gates.unapprove(session, first, actor="operator")
    (child,) = finish(session, job)
    with pytest.raises(NotAllowedNow, match="1 pictures of refine were made from it already"):
        gates.unapprove(session, first, actor="operator")
    grow(session)
    gates.approve(session, second, 1, actor="operator")
    with pytest.raises(NotAllowedNow, match="Step 2, refine, is approved too"):
        gates.unapprove(session, first, actor="operator")
    gates.choose_winner(session, child, actor="operator")
    with pytest.raises(NotAllowedNow, match="is completed"):
        gates.unapprove(session, second, actor="operator")


def test_what_a_server_works_on_is_stopped_when_that_is_said(session: Session) -> None:
    run = add_run(session)
    grow(session)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    (job, _) = take(session, 2)
    assert jobs.move(session, job, ("submitted",), "storing")

    assert gates.unapprove(session, run.steps[0].id, actor="operator", stop=True).withdrawn == 2
    assert finish(session, job) == ()


def test_rejected_children_do_not_hold_an_approval(session: Session) -> None:
    run = add_run(session)
    (root, *_) = grow(session)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    left, right = grow(session)
    gates.reject(session, left)
    gates.reject(session, right)

    gates.unapprove(session, run.steps[0].id, actor="operator")

    assert places(session, run.id) == [(1, "filled", 4), (2, "withdrawn", 2)]
    with pytest.raises(NotAllowedNow, match=f"Picture {root}, from which it grew, does not go on now"):
        gates.unreject(session, left)
    gates.approve_these(session, run.steps[0].id, [root], actor="operator", reason="")
    gates.unreject(session, left)
    assert places(session, run.id) == [(1, "filled", 4), (2, "filled", 1), (2, "open", 1)]


def test_taking_the_last_members_rejection_back_passes_the_gate_again(session: Session) -> None:
    run = add_run(session, steps={1: {"top_k": 2}})
    grow(session)
    one, two = gates.approve(session, run.steps[0].id, 2, actor="Olga").candidate_ids
    children = grow(session)
    gates.reject(session, two)
    gates.reject(session, one)
    assert [step.approved for step in steps(session, run.id)] == [False, False]
    refills = take(session, 9)
    assert {job.position for job in refills} == {1}

    back = gates.unreject(session, one)

    mine = [child for child in children if session.get_one(ImageCandidate, child).parent_id == one]
    assert set(back.candidate_ids) == {one, *mine}
    first = steps(session, run.id)[0]
    assert (first.approved_by, first.open, first.in_flight) == ("Olga", 0, 0)
    members = session.exec(select(GateMember.image_candidate_id).order_by(GateMember.rank)).all()
    assert list(members) == [one, two]
    assert [finish(session, job) for job in refills] == [(), ()]
    gates.unreject(session, two)
    assert places(session, run.id) == [(1, "filled", 4), (2, "filled", 4)]


def test_a_picture_comes_back_beside_those_that_were_approved_meanwhile(session: Session) -> None:
    run = add_run(session)
    one, other, *_ = grow(session)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    children = grow(session)
    gates.reject(session, one)
    grow(session)
    gates.approve_these(session, run.steps[0].id, [other], actor="operator", reason="")

    assert gates.unreject(session, one).candidate_ids == (one,)

    assert session.get_one(ImageCandidate, children[0]).status == "rejected"
    assert places(session, run.id) == [(1, "filled", 4), (2, "open", 2), (2, "withdrawn", 2)]
    gates.unapprove(session, run.steps[0].id, actor="operator")
    gates.approve_these(session, run.steps[0].id, [one, other], actor="operator", reason="")
    assert gates.unreject(session, children[0]).candidate_ids == (children[0],)
    assert places(session, run.id) == [(1, "filled", 4), (2, "filled", 1), (2, "open", 3)]


def test_a_picture_that_is_being_stored_when_its_parent_is_rejected_is_not_kept(session: Session) -> None:
    run = add_run(session, steps={1: {"top_k": 2}})
    grow(session)
    kept, gone = gates.approve(session, run.steps[0].id, 2, actor="operator").candidate_ids
    storing = take(session, 4)
    for job in storing:
        assert jobs.move(session, job, ("submitted",), "storing")

    gates.reject(session, gone)

    made = [candidate for job in storing for candidate in finish(session, job)]
    assert {session.get_one(ImageCandidate, one).parent_id for one in made} == {kept}
    assert places(session, run.id) == [
        (1, "filled", 3),
        (1, "withdrawn", 1),
        (2, "filled", 2),
        (2, "withdrawn", 2),
    ]


def test_both_pictures_of_a_place_stay_when_a_rejection_is_taken_back_after_the_refill(
    session: Session,
) -> None:
    run = add_run(session)
    victim = grow(session)[0]
    gates.reject(session, victim)
    (fresh,) = grow(session)

    gates.unreject(session, victim)
    step = steps(session, run.id)[0]
    assert (step.active, step.wanted, step.rejected) == (5, 5, 0)  # five pictures for four places
    gates.reject(session, victim)
    step = steps(session, run.id)[0]
    assert (step.active, step.wanted, step.rejected) == (4, 4, 1)

    assert session.get_one(ImageCandidate, fresh).status == "active"
    assert places(session, run.id) == [(1, "filled", 4)]
    gates.reject(session, fresh)
    assert places(session, run.id) == [(1, "filled", 3), (1, "open", 1)]


def won(session: Session) -> tuple[int, int, list[int]]:
    """A run with a cluster and a winner; its id, the cluster's, and the last step's pictures."""
    persona = add_persona(session)
    cluster = create_cluster(session, persona, {"name": "Tea"})
    run = add_run(session, persona_id=persona, cluster_id=cluster.id)
    grow(session)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    pictures = grow(session)
    gates.choose_winner(session, pictures[0], actor="operator")
    return run.id, cluster.id, pictures


def links(session: Session) -> set[int | None]:
    return {link.image_candidate_id for link in session.exec(select(ClusterCandidate))}


def test_a_winner_is_taken_back_and_the_run_waits_again(session: Session) -> None:
    run_id, _, pictures = won(session)

    undone = gates.unchoose_winner(session, run_id, actor="operator")

    run = runs.run_detail(session, run_id)
    assert (undone.candidate_id, undone.notes) == (pictures[0], ())
    assert (run.status, run.winner_id, run.finished_at) == ("waiting", None, None)
    assert links(session) == set()
    with pytest.raises(NotAllowedNow, match="has no winner"):
        gates.unchoose_winner(session, run_id, actor="operator")


def test_a_winner_that_a_post_uses_stays_in_the_cluster_and_that_is_said(session: Session) -> None:
    run_id, _, (first, second) = won(session)
    post = draft_for_winner(session, first)

    changed = gates.choose_winner(session, second, actor="operator")
    undone = gates.unchoose_winner(session, run_id, actor="operator")

    assert changed.notes == (f"Picture {first} stays in the cluster: post {post.id} has it.",)
    assert (changed.kept_for_posts, undone.kept_for_posts) == ((post.id,), ())
    assert links(session) == {first}
    session.execute(text("UPDATE scheduling_posts SET state = 'cancelled'"))
    gates.choose_winner(session, first, actor="operator")
    assert gates.unchoose_winner(session, run_id, actor="operator").notes == ()
    assert links(session) == set()


def test_a_link_made_by_hand_outlives_the_title(session: Session) -> None:
    run_id, cluster_id, (_, second) = won(session)
    add_picture(session, cluster_id, candidate_id=second)
    gates.choose_winner(session, second, actor="operator")

    gates.unchoose_winner(session, run_id, actor="operator")

    assert links(session) == {second}


def waiting_post(session: Session, run_id: int | None, idea_id: int | None = None) -> int:
    """A post that waits for a picture of the run, or of the idea."""
    row = session.execute(
        text(
            "INSERT INTO scheduling_posts (persona_id, environment, state, run_id, content_suggestion_id)"
            " SELECT (SELECT min(id) FROM personas), environment, 'awaiting_image', :run, :idea"
            " FROM installation RETURNING id"
        ),
        {"run": run_id, "idea": idea_id},
    )
    return int(row.scalar_one())


def shown_by(session: Session, post_id: int) -> tuple[str, int | None]:
    row = session.execute(
        text(
            "SELECT p.state, t.image_candidate_id FROM scheduling_posts p"
            " LEFT JOIN post_items t ON t.post_id = p.id WHERE p.id = :post"
        ),
        {"post": post_id},
    ).one()
    return row[0], row[1]


def test_posts_that_wait_get_the_picture_also_when_it_is_chosen_anew_after_the_end(session: Session) -> None:
    run_id, _, (first, second) = won(session)
    early = waiting_post(session, run_id)
    gates.choose_winner(session, first, actor="operator")
    late = waiting_post(session, run_id)

    view = gates.choose_winner(session, second, actor="operator")

    assert shown_by(session, early) == ("ready", first)
    assert shown_by(session, late) == ("ready", second)
    assert (view.given_to_posts, view.kept_for_posts) == ((late,), (early,))
    assert view.notes[1] == f"post {late} waited for it and has it now."


def test_a_post_that_waits_for_the_runs_idea_gets_its_picture(session: Session) -> None:
    run_id, _, (first, _) = won(session)
    persona = runs.run_detail(session, run_id).persona_id
    pillar = insert(session, "content_pillars", persona_id=persona, name="Tea")
    idea = insert(
        session, "content_suggestions", persona_id=persona, pillar_id=pillar, title="Tea", prompt="tea"
    )
    session.execute(text("UPDATE pipeline_runs SET content_suggestion_id = :idea"), {"idea": idea})
    of_idea, of_nothing = waiting_post(session, None, idea), waiting_post(session, None)

    gates.choose_winner(session, first, actor="operator")

    assert shown_by(session, of_idea) == ("ready", first)
    assert shown_by(session, of_nothing) == ("awaiting_image", None)
