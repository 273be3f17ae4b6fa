"""Each rule that the database holds, broken by raw SQL as a bug would break it."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from persona_tui.database.engine import Database
from tests.support.world import (
    Planned,
    digest,
    grow_run,
    insert,
    make_account,
    make_persona,
    make_plan,
    make_post,
)


def constraint_of(problem: DBAPIError) -> str:
    """The name of the rule that refused."""
    assert isinstance(problem.orig, psycopg.Error)
    return problem.orig.diag.constraint_name or ""


def refused(session: Session, statement: str, rule: str, **values: object) -> None:
    """The statement, or the commit after it, is refused by exactly this rule."""
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        session.execute(text(statement), values)
        session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    assert constraint_of(caught.value) == rule
    session.execute(text("SET CONSTRAINTS ALL DEFERRED"))


@pytest.fixture
def plan(session: Session) -> Planned:
    return make_plan(session)


def test_one_winner_per_run(session: Session, plan: Planned) -> None:
    run = grow_run(session, plan)
    win = "UPDATE image_candidates SET winner = true, winner_at = persona_now() WHERE id = :id"
    session.execute(text(win), {"id": run.candidates[0]})
    refused(session, win, "uq_image_candidates_winner", id=run.candidates[1])


def test_a_rejected_candidate_does_not_win(session: Session, plan: Planned) -> None:
    run = grow_run(session, plan)
    refused(
        session,
        "UPDATE image_candidates SET winner = true, winner_at = persona_now(), status = 'rejected'"
        " WHERE id = :id",
        "ck_image_candidates_winner_active",
        id=run.candidates[0],
    )


def test_one_primary_pillar_per_cluster(session: Session, plan: Planned) -> None:
    other = insert(session, "content_pillars", persona_id=plan.persona_id, name="Other")
    refused(
        session,
        'INSERT INTO pillar_cluster_assignments (persona_id, pillar_id, cluster_id, "primary")'
        " VALUES (:persona, :pillar, :cluster, true)",
        "uq_pillar_cluster_assignments_primary",
        persona=plan.persona_id,
        pillar=other,
        cluster=plan.cluster_id,
    )


def test_one_primary_lora_per_persona_type_and_family(session: Session, plan: Planned) -> None:
    for version in (1, 2):
        model = insert(
            session,
            "lora_models",
            name="mira",
            version=version,
            model_type="character",
            base_family="flux1",
            file_path="x",
            sha256=digest(str(version)),
        )
        values = {"persona": plan.persona_id, "model": model}
        statement = (
            "INSERT INTO persona_lora_mappings (persona_id, lora_model_id, model_type, base_family, weight,"
            " \"primary\") VALUES (:persona, :model, 'character', 'flux1', 0.8, true)"
        )
        if version == 1:
            session.execute(text(statement), values)
        else:
            refused(session, statement, "uq_persona_lora_mappings_primary", **values)


def test_a_lora_of_one_persona_does_not_serve_another(session: Session, plan: Planned) -> None:
    other = make_persona(session, "Nils")
    model = insert(
        session,
        "lora_models",
        persona_id=plan.persona_id,
        name="mira",
        model_type="character",
        base_family="flux1",
        file_path="x",
        sha256=digest("1"),
    )
    refused(
        session,
        "INSERT INTO persona_lora_mappings (persona_id, lora_model_id, model_type, base_family, weight)"
        " VALUES (:persona, :model, 'character', 'flux1', 0.8)",
        "lora_mapping_fits",
        persona=other.id,
        model=model,
    )


def test_active_pillar_weights_stay_within_100(session: Session, plan: Planned) -> None:
    insert(session, "content_pillars", persona_id=plan.persona_id, name="Half", weight=60)
    refused(
        session,
        "INSERT INTO content_pillars (persona_id, name, weight) VALUES (:persona, 'Drop', 0.01)",
        "pillar_weights_at_most_100",
        persona=plan.persona_id,
    )
    insert(session, "content_pillars", persona_id=plan.persona_id, name="Off", weight=90, active=False)
    refused(
        session, "UPDATE content_pillars SET active = true WHERE name = 'Off'", "pillar_weights_at_most_100"
    )


def test_racing_pillars_do_not_pass_100_together(db: Database) -> None:
    with db.session_scope() as session:
        persona = make_persona(session).id
    outcomes: list[str] = []
    barrier = threading.Barrier(2)

    def add(name: str) -> None:
        try:
            with db.session_scope() as session:
                insert(session, "content_pillars", persona_id=persona, name=name, weight=60)
                barrier.wait(5)
            outcomes.append("in")
        except DBAPIError as problem:
            outcomes.append(constraint_of(problem))

    threads = [threading.Thread(target=add, args=(name,)) for name in ("A", "B")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(outcomes) == ["in", "pillar_weights_at_most_100"]


def test_a_persona_is_an_adult(session: Session) -> None:
    refused(
        session,
        "INSERT INTO personas (name, age, fictional) VALUES ('Kid', 17, true)",
        "ck_personas_age_adult",
    )


@pytest.mark.parametrize("shown", [1, 5])
def test_a_vote_shows_two_to_four(session: Session, plan: Planned, shown: int) -> None:
    run = grow_run(session, plan, pictures=5)
    vote = (
        "WITH v AS (INSERT INTO votes (contest_id, session)"
        " VALUES (:contest, gen_random_uuid()) RETURNING id)"
        " INSERT INTO vote_items (vote_id, contest_id, contest_member_id, side)"
        " SELECT v.id, :contest, m.id, row_number() OVER (ORDER BY m.id) FROM v,"
        " (SELECT id FROM contest_members WHERE contest_id = :contest ORDER BY id LIMIT :shown) m"
    )
    rule = "vote_picture_count" if shown == 1 else "ck_vote_items_side_range"
    refused(session, vote, rule, contest=run.contest_id, shown=shown)


def test_a_vote_names_members_of_its_contest(session: Session, plan: Planned) -> None:
    mine, other = grow_run(session, plan), grow_run(session, plan)
    refused(
        session,
        "WITH v AS (INSERT INTO votes (contest_id, session)"
        " VALUES (:contest, gen_random_uuid()) RETURNING id)"
        " INSERT INTO vote_items (vote_id, contest_id, contest_member_id, side)"
        " SELECT v.id, :contest, :stranger, 1 FROM v",
        "fk_vote_items_member",
        contest=mine.contest_id,
        stranger=other.members[0],
    )


def test_a_contest_takes_pictures_of_its_step_alone(session: Session, plan: Planned) -> None:
    mine, other = grow_run(session, plan), grow_run(session, plan)
    refused(
        session,
        "INSERT INTO contest_members (contest_id, image_candidate_id) VALUES (:contest, :stranger)",
        "contest_member_fits",
        contest=mine.contest_id,
        stranger=other.candidates[0],
    )


@pytest.mark.parametrize("act", ["UPDATE votes SET voter = 'x'", "DELETE FROM votes"])
def test_votes_are_append_only(session: Session, plan: Planned, act: str) -> None:
    run = grow_run(session, plan)
    session.execute(
        text(
            "WITH v AS (INSERT INTO votes (contest_id, session)"
            " VALUES (:contest, gen_random_uuid()) RETURNING id)"
            " INSERT INTO vote_items (vote_id, contest_id, contest_member_id, side)"
            " SELECT v.id, :contest, m.id, row_number() OVER () FROM v,"
            " (SELECT id FROM contest_members WHERE contest_id = :contest LIMIT 2) m"
        ),
        {"contest": run.contest_id},
    )
    refused(session, act, "append_only")


def test_a_slot_is_taken_once(session: Session, plan: Planned) -> None:
    run = grow_run(session, plan)
    refused(
        session,
        "INSERT INTO generation_slots (run_id, run_step_id, slot_no) VALUES (:run, :step, 1)",
        "uq_generation_slots_place",
        run=run.run_id,
        step=run.run_step_id,
    )


def test_a_jobs_output_is_stored_once(session: Session, plan: Planned) -> None:
    run = grow_run(session, plan)
    refused(
        session,
        "INSERT INTO image_candidates (run_id, run_step_id, persona_id, slot_id, job_id, media_key, sha256,"
        " width, height, seed) SELECT run_id, run_step_id, persona_id, slot_id, job_id, media_key, sha256,"
        " width, height, seed FROM image_candidates WHERE id = :id",
        "uq_image_candidates_job_id_output_index",
        id=run.candidates[0],
    )


def test_what_is_linked_belongs_to_one_persona(session: Session, plan: Planned) -> None:
    stranger = make_plan(session, "Nils")
    run = grow_run(session, plan)
    refused(
        session,
        "INSERT INTO pillar_cluster_assignments (persona_id, pillar_id, cluster_id)"
        " VALUES (:p, :pillar, :cluster)",
        "fk_pillar_cluster_assignments_pillar_id_persona_id",
        p=plan.persona_id,
        pillar=stranger.pillar_id,
        cluster=plan.cluster_id,
    )
    refused(
        session,
        "UPDATE pipeline_runs SET cluster_id = :cluster WHERE id = :run",
        "fk_pipeline_runs_cluster_id_persona_id",
        cluster=stranger.cluster_id,
        run=run.run_id,
    )
    refused(
        session,
        "INSERT INTO cluster_candidates (persona_id, cluster_id, image_candidate_id) VALUES (:p, :c, :i)",
        "fk_cluster_candidates_image_candidate_id_persona_id",
        p=stranger.persona_id,
        c=stranger.cluster_id,
        i=run.candidates[0],
    )
    refused(
        session,
        "INSERT INTO scheduling_posts (persona_id, environment, pillar_id) VALUES (:p, 'sandbox', :pillar)",
        "fk_scheduling_posts_pillar_id_persona_id",
        p=plan.persona_id,
        pillar=stranger.pillar_id,
    )
    dataset = insert(session, "datasets", persona_id=plan.persona_id, name="d", folder="/x")
    refused(
        session,
        "INSERT INTO dataset_images (dataset_id, persona_id, sha256) VALUES (:d, :p, :sha)",
        "fk_dataset_images_dataset_id_persona_id",
        d=dataset,
        p=stranger.persona_id,
        sha=digest("x"),
    )


def test_a_run_without_persona_has_no_cluster(session: Session, plan: Planned) -> None:
    run = grow_run(session, None)
    refused(
        session,
        "UPDATE pipeline_runs SET cluster_id = :cluster WHERE id = :run",
        "ck_pipeline_runs_cluster_has_persona",
        cluster=plan.cluster_id,
        run=run.run_id,
    )


def test_a_membership_is_one_picture(session: Session, plan: Planned) -> None:
    refused(
        session,
        "INSERT INTO cluster_candidates (persona_id, cluster_id) VALUES (:p, :c)",
        "ck_cluster_candidates_one_picture",
        p=plan.persona_id,
        c=plan.cluster_id,
    )


def schedule(session: Session, post: int) -> None:
    session.execute(
        text("UPDATE scheduling_posts SET state = 'scheduled', scheduled_at = persona_now() WHERE id = :id"),
        {"id": post},
    )
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
    session.execute(text("SET CONSTRAINTS ALL DEFERRED"))


def test_a_scheduled_post_has_a_picture(session: Session, plan: Planned) -> None:
    account = make_account(session, plan.persona_id)
    post = make_post(session, plan, None, account)
    refused(
        session,
        "UPDATE scheduling_posts SET state = 'scheduled', scheduled_at = persona_now() WHERE id = :id",
        "post_picture_count",
        id=post,
    )


def test_a_carousel_has_two_to_ten(session: Session, plan: Planned) -> None:
    account = make_account(session, plan.persona_id)
    run = grow_run(session, plan)
    post = make_post(session, plan, run.candidates[0], account, kind="carousel")
    refused(
        session,
        "UPDATE scheduling_posts SET state = 'scheduled', scheduled_at = persona_now() WHERE id = :id",
        "post_picture_count",
        id=post,
    )


def test_a_picture_is_in_one_live_post_per_account(session: Session, plan: Planned) -> None:
    account = make_account(session, plan.persona_id)
    run = grow_run(session, plan)
    first = make_post(session, plan, run.candidates[0], account)
    second = make_post(session, plan, run.candidates[0], account)
    schedule(session, first)
    refused(
        session,
        "UPDATE scheduling_posts SET state = 'scheduled', scheduled_at = persona_now() WHERE id = :id",
        "uq_post_items_live_picture",
        id=second,
    )
    session.execute(text("UPDATE scheduling_posts SET state = 'cancelled' WHERE id = :id"), {"id": first})
    schedule(session, second)


def test_a_repost_is_possible_where_it_is_allowed(session: Session, plan: Planned) -> None:
    account = make_account(session, plan.persona_id)
    run = grow_run(session, plan)
    schedule(session, make_post(session, plan, run.candidates[0], account))
    schedule(session, make_post(session, plan, run.candidates[0], account, repost_allowed=True))


def claim(session: Session, post: int) -> None:
    session.execute(
        text(
            "UPDATE scheduling_posts SET state = 'claimed', fence = fence + 1,"
            " lease_until = persona_now() + interval '2 minutes' WHERE id = :id"
        ),
        {"id": post},
    )
    session.execute(text("SELECT set_config('persona.fence', '1', true)"))


@pytest.fixture
def claimed(session: Session, plan: Planned) -> int:
    account = make_account(session, plan.persona_id)
    post = make_post(session, plan, grow_run(session, plan).candidates[0], account)
    schedule(session, post)
    claim(session, post)
    return post


def test_one_post_per_account_is_on_its_way(session: Session, plan: Planned, claimed: int) -> None:
    account = session.execute(
        text("SELECT account_id FROM scheduling_posts WHERE id = :id"), {"id": claimed}
    ).scalar_one()
    other = make_post(session, plan, grow_run(session, plan).candidates[1], account)
    schedule(session, other)
    refused(
        session,
        "UPDATE scheduling_posts SET state = 'claimed', fence = 1, lease_until = persona_now()"
        " WHERE id = :id",
        "uq_scheduling_posts_account_serial",
        id=other,
    )


def test_a_post_moves_only_as_the_table_says(session: Session, claimed: int) -> None:
    refused(
        session,
        "UPDATE scheduling_posts SET state = 'published', published_at = persona_now() WHERE id = :id",
        "post_transition",
        id=claimed,
    )


def test_an_owned_post_changes_under_its_fence_alone(session: Session, claimed: int) -> None:
    session.execute(text("SELECT set_config('persona.fence', '0', true)"))
    refused(session, "UPDATE scheduling_posts SET state = 'staged' WHERE id = :id", "post_fence", id=claimed)
    refused(
        session,
        "UPDATE scheduling_posts SET fence = fence + 1 WHERE id = :id",
        "post_lease",
        id=claimed,
    )


def move(session: Session, post: int, *states: str) -> None:
    for state in states:
        session.execute(
            text("UPDATE scheduling_posts SET state = :state WHERE id = :id"), {"state": state, "id": post}
        )


def test_r13_a_post_that_was_sent_gets_no_second_container(session: Session, claimed: int) -> None:
    move(session, claimed, "staged", "creating")
    session.execute(
        text("UPDATE scheduling_posts SET creation_id = 'c1', state = 'container' WHERE id = :id"),
        {"id": claimed},
    )
    move(session, claimed, "publishable")
    insert(
        session,
        "publish_attempts",
        post_id=claimed,
        number=1,
        environment="sandbox",
        fence=1,
        owner="me",
        creation_id="c1",
    )
    session.execute(text("UPDATE publish_attempts SET sent_at = persona_now()"))
    move(session, claimed, "sending", "unknown", "reconciling", "publishable")
    rule = "post_maybe_published"
    refused(session, "UPDATE scheduling_posts SET state = 'creating' WHERE id = :id", rule, id=claimed)
    refused(session, "UPDATE scheduling_posts SET creation_id = 'c2' WHERE id = :id", rule, id=claimed)
    refused(session, "UPDATE scheduling_posts SET state = 'scheduled' WHERE id = :id", rule, id=claimed)


def test_r15_replies_are_never_changed(session: Session, claimed: int) -> None:
    attempt = insert(
        session,
        "publish_attempts",
        post_id=claimed,
        number=1,
        environment="sandbox",
        fence=1,
        owner="me",
    )
    insert(session, "publish_replies", attempt_id=attempt, call="media_publish", ok=True)
    refused(session, "UPDATE publish_replies SET ok = false", "append_only")
    refused(session, "DELETE FROM publish_replies", "append_only")


def test_one_open_attempt_per_post(session: Session, claimed: int) -> None:
    row = {"post_id": claimed, "environment": "sandbox", "fence": 1, "owner": "me"}
    insert(session, "publish_attempts", number=1, **row)
    refused(
        session,
        "INSERT INTO publish_attempts (post_id, number, environment, fence, owner)"
        " VALUES (:post_id, 2, :environment, :fence, :owner)",
        "uq_publish_attempts_open",
        **row,
    )


def test_r20_live_rows_do_not_enter_a_sandbox(session: Session, plan: Planned) -> None:
    refused(
        session,
        "INSERT INTO instagram_accounts (persona_id, environment, ig_user_id, token_ciphertext, token_key_id)"
        " VALUES (:p, 'live', '1', '', '')",
        "environment_matches",
        p=plan.persona_id,
    )
    refused(
        session,
        "INSERT INTO scheduling_posts (persona_id, environment) VALUES (:p, 'live')",
        "environment_matches",
        p=plan.persona_id,
    )
    make_account(session, plan.persona_id)
    refused(session, "UPDATE installation SET environment = 'live'", "environment_kept")


def test_r07_the_clock_is_moved_in_a_sandbox_alone(session: Session) -> None:
    before = session.execute(text("SELECT persona_now()")).scalar_one()
    session.execute(text("UPDATE installation SET clock_offset = interval '3 hours'"))
    after = session.execute(text("SELECT persona_now()")).scalar_one()
    assert timedelta(hours=3) <= after - before < timedelta(hours=3, minutes=1)
    refused(
        session,
        "UPDATE installation SET environment = 'live'",
        "ck_installation_clock_only_in_sandbox",
    )


def test_the_audit_trail_is_append_only(session: Session, plan: Planned) -> None:
    assert session.execute(text("SELECT count(*) FROM audit_events")).scalar_one() > 0
    for act in ("UPDATE audit_events SET actor = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"):
        with pytest.raises(DBAPIError), session.begin_nested():
            session.execute(text(act))


def test_a_published_post_is_never_deleted(session: Session, claimed: int) -> None:
    refused(session, "DELETE FROM scheduling_posts WHERE id = :id", "post_kept", id=claimed)


def test_one_holder_per_card(session: Session) -> None:
    lease = {"card": "host:GPU-1", "holder": "a", "purpose": "training"}
    statement = (
        "INSERT INTO gpu_leases (card, holder, purpose, lease_until)"
        " VALUES (:card, :holder, :purpose, persona_now())"
    )
    session.execute(text(statement), lease)
    refused(session, statement, "uq_gpu_leases_held", **lease)


def test_a_pipeline_step_is_never_changed(session: Session, plan: Planned) -> None:
    grow_run(session, plan)
    refused(session, "UPDATE pipeline_steps SET name = 'x'", "append_only")


def test_two_scheduled_posts_of_two_accounts_do_not_meet(session: Session) -> None:
    for name, ig_user_id in (("Mira", "1"), ("Nils", "2")):
        plan = make_plan(session, name)
        account = make_account(session, plan.persona_id, ig_user_id)
        post = make_post(session, plan, grow_run(session, plan).candidates[0], account)
        schedule(session, post)
        claim(session, post)
    owned = session.execute(
        text("SELECT count(*) FROM scheduling_posts WHERE state = 'claimed'")
    ).scalar_one()
    assert owned == 2


def test_a_place_a_policy_and_a_removal_have_their_words(session: Session, plan: Planned) -> None:
    run = grow_run(session, plan)
    refused(
        session,
        "UPDATE generation_slots SET state = 'hidden' WHERE run_id = :run",
        "ck_generation_slots_state_known",
        run=run.run_id,
    )
    session.execute(text("UPDATE generation_slots SET state = 'withdrawn'"))
    refused(
        session,
        "UPDATE pipeline_runs SET night = 'always' WHERE id = :run",
        "ck_pipeline_runs_night_known",
        run=run.run_id,
    )
    for night, moment in (("at", "NULL"), ("sure", "persona_now()"), ("off", "persona_now()")):
        refused(
            session,
            f"UPDATE pipeline_runs SET night = '{night}', night_at = {moment} WHERE id = :run",
            "ck_pipeline_runs_night_dated",
            run=run.run_id,
        )
    note = "INSERT INTO media_removals (media_key, sha256) VALUES ('a.png', :sha256)"
    refused(session, note, "ck_media_removals_sha256_form", sha256="A" * 64)
    session.execute(text(note), {"sha256": digest("a")})
    refused(session, note, "uq_media_removals_media_key", sha256=digest("a"))
