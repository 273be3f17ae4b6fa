"""Gates: what goes on, what is rejected and taken back, and what wins."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import text
from sqlmodel import Session, select

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.library import ClusterCandidate
from persona_tui.models.pipeline import GateMember, ImageCandidate
from persona_tui.models.safety import AuditEvent
from persona_tui.services.generation import gates, pipelines, runs
from persona_tui.services.generation.progress import RunStepView
from persona_tui.services.generation.tree import list_candidates
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.publishing.posts import draft_for_winner
from persona_tui.services.voting import contest
from tests.database.growing import add_persona, add_run, finish, grow, rate, status, take


def steps(session: Session, run_id: int) -> tuple[RunStepView, ...]:
    return runs.run_detail(session, run_id).steps


def three_steps(session: Session) -> str:
    """A pipeline of three steps: 4 pictures, 2 of each that goes on, 2 of each that goes on."""
    pipelines.ensure_examples(session)
    plan = pipelines.export_pipeline(session, "two-step")
    third = plan.steps[1].model_copy(update={"name": "finish"})
    pipelines.import_pipeline(
        session, plan.model_copy(update={"name": "three-step", "steps": (*plan.steps, third)})
    )
    return "three-step"


def statuses(session: Session, run_id: int) -> dict[int, str]:
    return {candidate.id: candidate.status for candidate in list_candidates(session, run_id)}


def test_a_preview_shows_who_goes_on_what_it_costs_and_what_speaks_against_it(session: Session) -> None:
    run = add_run(session)
    one, two, three, four = grow(session)
    rate(session, {one: 990, two: 1100, three: 1050, four: 990})

    preview = gates.gate_preview(session, run.steps[0].id, 3)

    assert preview.candidate_ids == (two, three, one)
    assert (preview.cost, preview.available) == (6, 4)
    assert preview.warnings == (
        "4 of 4 pictures have fewer than 5 votes.",
        "Places 3 and 4 have the same rating: the older picture goes on.",
    )
    assert gates.gate_preview(session, run.steps[0].id, 9).warnings[0] == "There are only 4 pictures."


def test_votes_that_were_taken_back_do_not_count_in_a_preview(session: Session) -> None:
    run = add_run(session)
    one, two, *_ = grow(session)
    contest_id = contest.contest_of_step(session, run.steps[0].id)
    members = {m.candidate_id: m.id for m in contest.standings(session, contest_id).members}
    sitting = uuid.uuid4()
    for _ in range(2):
        contest.cast(session, contest_id, [members[one], members[two]], members[two], sitting=sitting)
    contest.undo(session, contest_id, sitting=sitting)

    votes = {m.candidate_id: m.votes for m in gates.gate_preview(session, run.steps[0].id, 4).members}

    assert sorted(votes.values()) == [0, 0, 1, 1]
    assert votes[one] == votes[two] == 1
    assert gates.gate_preview(session, run.steps[0].id, 1).candidate_ids == (two,)


def test_an_approval_stores_its_members_and_opens_their_places(session: Session) -> None:
    run = add_run(session)
    one, two, three, four = grow(session)
    rate(session, {three: 1200, one: 1100})

    done = gates.approve(session, run.steps[0].id, 2, actor="operator")

    members = session.exec(select(GateMember).order_by(GateMember.rank)).all()
    assert [member.image_candidate_id for member in members] == [three, one] == list(done.candidate_ids)
    assert done.opened == 4
    first, second = steps(session, run.id)
    assert (first.approved, first.top_k, second.is_open, second.wanted, second.open) == (True, 2, True, 4, 4)
    assert status(session, run.id) == "running"
    rate(session, {two: 2000, four: 1900})
    parents = [session.get_one(ImageCandidate, child).parent_id for child in grow(session)]
    assert sorted(parents[:2]) == sorted(parents[2:]) == sorted([three, one])


def test_an_approval_needs_its_turn_its_pictures_and_enough_of_them(session: Session) -> None:
    run = add_run(session)
    first, second = (step.id for step in run.steps)
    job = take(session, 1)[0]

    with pytest.raises(NotAllowedNow, match="An earlier step is not approved"):
        gates.approve(session, second, 1, actor="operator")
    with pytest.raises(NotAllowedNow, match="no picture that could go on") as told:
        gates.approve(session, first, 1, actor="operator")
    assert told.value.hint == "Wait for the first one."
    finish(session, job)
    pictures = grow(session)
    with pytest.raises(InvalidRequest, match="5 pictures can't go on: there are 4"):
        gates.approve(session, first, 5, actor="operator")
    with pytest.raises(InvalidRequest, match="0 pictures"):
        gates.approve(session, first, 0, actor="operator")
    gates.approve(session, first, 1, actor="operator")
    with pytest.raises(NotAllowedNow, match="approved already"):
        gates.approve(session, first, 1, actor="operator")
    with pytest.raises(UnknownName):
        gates.gate_preview(session, 10**9, 1)
    assert len(pictures) == 3


def test_approving_early_is_warned_about_and_stops_what_is_under_way(session: Session) -> None:
    run = add_run(session)
    first, second, *_ = take(session, 3)
    (picture,) = finish(session, first)

    preview = gates.gate_preview(session, run.steps[0].id, 1)
    done = gates.approve(session, run.steps[0].id, 1, actor="operator")

    assert preview.warnings == ("3 of 4 pictures are still to come; they will not be made.",)
    assert (done.candidate_ids, done.stopped, done.opened) == ((picture,), 2, 2)
    assert finish(session, second) == ()
    step = steps(session, run.id)[0]
    assert (step.wanted, step.active, step.open, step.in_flight, step.unseen) == (1, 1, 0, 0, 0)
    assert {session.get_one(ImageCandidate, one).parent_id for one in grow(session)} == {picture}


def test_a_preview_says_how_sure_the_votes_are(session: Session) -> None:
    run = add_run(session)
    one, two, *_ = grow(session)
    step_id = run.steps[0].id
    contest_id = contest.contest_of_step(session, step_id)
    members = {m.candidate_id: m.id for m in contest.standings(session, contest_id).members}
    assert gates.gate_preview(session, step_id, 1).probability is None

    contest.cast(session, contest_id, [members[one], members[two]], members[two], sitting=uuid.uuid4())
    unsure = gates.gate_preview(session, step_id, 1)
    for other in members.keys() - {two}:
        for _ in range(9):
            shown = [members[other], members[two]]
            contest.cast(session, contest_id, shown, members[two], sitting=uuid.uuid4())
    sure = gates.gate_preview(session, step_id, 1)

    assert unsure.probability is not None and 0.25 < unsure.probability < 0.8
    assert unsure.warnings == (
        f"It is only {unsure.probability:.0%} sure that this is the best picture; more votes tell.",
    )
    assert sure.probability is not None and sure.probability > 0.8
    assert sure.warnings == ()
    assert gates.gate_preview(session, step_id, 4).probability == 1.0


def test_a_preview_counts_pictures_and_minutes_until_the_runs_end(session: Session) -> None:
    run = add_run(session, pipeline=three_steps(session), steps={1: {"top_k": 2}, 2: {"top_k": 3}})
    grow(session)
    step_id = run.steps[0].id
    unknown = gates.gate_preview(session, step_id, 2)
    session.execute(
        text(
            "UPDATE image_candidates SET provenance = jsonb_build_object('seconds', 30) WHERE run_id = :run"
        ),
        {"run": run.id},
    )
    gates.approve(session, step_id, 2, actor="operator")
    grow(session)

    rest = gates.gate_preview(session, steps(session, run.id)[1].id, 1)

    assert (unknown.cost, unknown.rest_pictures) == (4, 4 + 3 * 2)
    assert (unknown.minutes, unknown.rest_minutes) == (None, None)
    assert (rest.cost, rest.rest_pictures, rest.minutes) == (2, 2, None)


def test_a_step_without_a_picture_is_not_approved(session: Session) -> None:
    run = add_run(session)
    for candidate in grow(session):
        gates.reject(session, candidate)
    session.execute(text("UPDATE generation_slots SET state = 'failed'"))

    with pytest.raises(NotAllowedNow, match="no picture that could go on"):
        gates.approve(session, run.steps[0].id, 1, actor="operator")


def test_the_last_step_can_be_approved_and_opens_nothing(session: Session) -> None:
    run = add_run(session)
    grow(session)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    grow(session)

    assert gates.gate_preview(session, run.steps[1].id, 1).cost == 0
    assert gates.approve(session, run.steps[1].id, 1, actor="operator").opened == 0
    assert status(session, run.id) == "waiting"


def test_a_rejected_picture_is_replaced_by_another_one(session: Session) -> None:
    run = add_run(session)
    victim = grow(session)[1]
    seeds = {candidate.seed for candidate in list_candidates(session, run.id)}

    gates.reject(session, victim)
    after = status(session, run.id)
    (fresh,) = grow(session)

    assert after == "running"
    assert session.get_one(ImageCandidate, fresh).seed not in seeds
    step = steps(session, run.id)[0]
    assert (step.active, step.rejected, step.wanted) == (4, 1, 4)


def test_a_replacement_that_is_under_way_does_not_hold_up_the_gate(session: Session) -> None:
    run = add_run(session)
    gates.reject(session, grow(session)[0])
    (job,) = take(session, 1)

    gates.approve(session, run.steps[0].id, 1, actor="operator")

    assert finish(session, job) == ()
    assert steps(session, run.id)[0].active == 3


def test_rejecting_takes_the_whole_branch_and_cancels_its_jobs(session: Session) -> None:
    run = add_run(session, steps={1: {"top_k": 2}})
    grow(session)
    kept, gone = gates.approve(session, run.steps[0].id, 2, actor="operator").candidate_ids
    jobs = take(session, 3)
    made = [id_ for job in jobs[:2] for id_ in finish(session, job)]
    children = {session.get_one(ImageCandidate, id_).parent_id: id_ for id_ in made}

    rejected = gates.reject(session, gone)

    assert rejected.candidate_ids == (gone, children[gone])
    assert {statuses(session, run.id)[id_] for id_ in (gone, children[gone])} == {"rejected"}
    assert statuses(session, run.id)[children[kept]] == "active"
    second = steps(session, run.id)[1]
    assert second.wanted == 2
    live = session.execute(
        text(
            "SELECT count(*) FROM comfyui_jobs j JOIN generation_slots s ON s.id = j.slot_id"
            " WHERE s.parent_id = :gone AND j.state NOT IN ('done', 'cancelled')"
        ),
        {"gone": gone},
    )
    assert live.scalar_one() == 0
    later = [*grow(session), *finish(session, jobs[2])]
    assert {session.get_one(ImageCandidate, id_).parent_id for id_ in later} == {kept}


def test_a_rejected_member_of_a_gate_is_not_silently_replaced(session: Session) -> None:
    run = add_run(session)
    grow(session)
    one, _ = gates.approve(session, run.steps[0].id, 2, actor="operator").candidate_ids

    gates.reject(session, one)

    first, second = steps(session, run.id)
    assert (first.approved, first.open, second.wanted) == (True, 0, 2)
    assert len(session.exec(select(GateMember)).all()) == 2


def test_a_gate_whose_members_are_all_rejected_is_shut_again(session: Session) -> None:
    run = add_run(session)
    pictures = grow(session)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    gates.reject(session, pictures[0])

    first, second = steps(session, run.id)
    assert (first.approved, first.open, second.is_open) == (False, 1, False)
    grow(session)
    assert gates.approve(session, run.steps[0].id, 1, actor="operator").candidate_ids == (pictures[1],)


def test_taking_a_rejection_back_restores_what_went_with_it_and_nothing_else(session: Session) -> None:
    run = add_run(session)
    (root, *_) = grow(session)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    left, right = grow(session)
    gates.reject(session, left)
    (fresh,) = grow(session)
    before = statuses(session, run.id)
    gates.reject(session, root)
    assert {statuses(session, run.id)[id_] for id_ in (root, left, right, fresh)} == {"rejected"}

    with pytest.raises(NotAllowedNow, match=f"rejected together with picture {root}"):
        gates.unreject(session, right)
    with pytest.raises(NotAllowedNow, match=f"Picture {root}, from which it grew, is rejected"):
        gates.unreject(session, left)
    back = gates.unreject(session, root)

    assert set(back.candidate_ids) == {root, right, fresh}
    assert statuses(session, run.id) == before
    assert gates.unreject(session, left).candidate_ids == (left,)
    assert steps(session, run.id)[0].rejected == 0
    assert steps(session, run.id)[0].open == 0


def test_taking_a_rejection_back_stops_the_replacement(session: Session) -> None:
    run = add_run(session)
    victim = grow(session)[0]
    gates.reject(session, victim)
    (job,) = take(session, 1)

    gates.unreject(session, victim)

    assert finish(session, job) == ()
    step = steps(session, run.id)[0]
    assert (step.active, step.open, step.in_flight) == (4, 0, 0)
    assert status(session, run.id) == "waiting"


def won(session: Session, **values: object) -> tuple[int, list[int]]:
    """A run with two pictures in its last step."""
    run = add_run(session, **values)
    grow(session)
    gates.approve(session, run.steps[0].id, 1, actor="operator")
    return run.id, grow(session)


def test_a_winner_ends_the_run_and_joins_its_cluster(session: Session) -> None:
    persona = add_persona(session)
    cluster = create_cluster(session, persona, {"name": "Tea"})
    run_id, (first, _) = won(session, persona_id=persona, cluster_id=cluster.id)

    view = gates.choose_winner(session, first, actor="operator")

    run = runs.run_detail(session, run_id)
    assert (view.candidate_id, view.cluster_id, view.replaced_id) == (first, cluster.id, None)
    assert (run.status, run.winner_id) == ("completed", first)
    assert run.finished_at is not None
    link = session.exec(select(ClusterCandidate)).one()
    assert (link.image_candidate_id, link.cluster_id) == (first, cluster.id)
    assert link.details == {"rating": 1000, "pipeline": "two-step", "run": run_id}


def test_another_winner_takes_the_place_of_the_first(session: Session) -> None:
    persona = add_persona(session)
    cluster = create_cluster(session, persona, {"name": "Tea"})
    run_id, (first, second) = won(session, persona_id=persona, cluster_id=cluster.id)
    gates.choose_winner(session, first, actor="operator")

    assert gates.choose_winner(session, second, actor="operator").replaced_id == first
    assert gates.choose_winner(session, second, actor="operator").replaced_id is None

    assert [c.id for c in list_candidates(session, run_id) if c.winner] == [second]
    assert [link.image_candidate_id for link in session.exec(select(ClusterCandidate))] == [second]


def test_a_former_winner_that_a_live_post_shows_stays_in_the_cluster(session: Session) -> None:
    persona = add_persona(session)
    cluster = create_cluster(session, persona, {"name": "Tea"})
    _, (first, second) = won(session, persona_id=persona, cluster_id=cluster.id)
    gates.choose_winner(session, first, actor="operator")
    post = draft_for_winner(session, first)
    session.execute(text("UPDATE scheduling_posts SET state = 'ready' WHERE id = :id"), {"id": post.id})

    gates.choose_winner(session, second, actor="operator")

    links = {link.image_candidate_id for link in session.exec(select(ClusterCandidate))}
    assert links == {first, second}


def test_a_run_without_a_cluster_has_a_winner_all_the_same(session: Session) -> None:
    run_id, (first, _) = won(session)

    assert gates.choose_winner(session, first, actor="operator").cluster_id is None
    assert runs.run_detail(session, run_id).winner_id == first
    assert session.exec(select(ClusterCandidate)).all() == []


def test_only_an_active_picture_of_the_last_step_wins_and_is_then_not_rejected(
    session: Session,
) -> None:
    run_id, (first, second) = won(session)
    root = list_candidates(session, run_id)[0].id
    gates.reject(session, second)

    with pytest.raises(NotAllowedNow, match="Only a picture of the last step, refine"):
        gates.choose_winner(session, root, actor="operator")
    with pytest.raises(NotAllowedNow, match="rejected picture can't win"):
        gates.choose_winner(session, second, actor="operator")
    gates.choose_winner(session, first, actor="operator")
    with pytest.raises(NotAllowedNow, match="winner is part of that branch"):
        gates.reject(session, root)


def test_the_operators_acts_are_in_the_trail(session: Session) -> None:
    _, (first, second) = won(session)
    gates.reject(session, second)
    gates.unreject(session, second)
    gates.choose_winner(session, first, actor="Olga")

    trail = session.exec(select(AuditEvent).where(AuditEvent.actor != "guard").order_by(AuditEvent.id)).all()
    assert [event.action for event in trail] == [
        "gate.approve",
        "candidate.reject",
        "candidate.unreject",
        "run.winner",
    ]
    assert trail[-1].actor == "Olga"


def test_a_job_with_several_pictures_fills_one_place(session: Session) -> None:
    run = add_run(session)
    (job, *rest) = take(session, 4)

    pictures = finish(session, job, pictures=3)

    step = steps(session, run.id)[0]
    assert (len(pictures), step.active, step.in_flight, len(rest)) == (3, 3, 3, 3)
    gates.reject(session, pictures[0])
    assert steps(session, run.id)[0].open == 0
    gates.reject(session, pictures[1])
    gates.reject(session, pictures[2])
    assert steps(session, run.id)[0].open == 1
