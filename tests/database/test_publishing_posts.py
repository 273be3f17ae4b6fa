"""What an operator may do with a post, and what the database and the services refuse in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.errors import DuplicateName, GuardRefused, InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.post import FENCED_STATES
from persona_tui.services.publishing import accounts, posts
from persona_tui.services.publishing.grants import account_token
from persona_tui.services.publishing.transitions import PostBusy
from persona_tui.services.publishing.wording import WordsRefused
from persona_tui.services.safety import audit
from persona_tui.services.secrets import SecretUnreadable
from tests.support.publishing import World, make_rows
from tests.support.publishing_rows import drive_to, make_persona
from tests.support.world import digest, insert

TOMORROW = timedelta(days=1)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path)


def draft(world: World, session: Session) -> posts.PostView:
    return posts.draft_for_winner(session, world.candidate(session))


# Drafts


def test_a_draft_inherits_what_its_picture_belongs_to(world: World, session: Session) -> None:
    candidate = world.candidate(session)
    cluster = session.execute(
        text("INSERT INTO clusters (persona_id, name) VALUES (:p, 'Wheel') RETURNING id"),
        {"p": world.persona_id},
    ).scalar_one()
    pillars = [
        session.execute(
            text("INSERT INTO content_pillars (persona_id, name, weight) VALUES (:p, :n, 10) RETURNING id"),
            {"p": world.persona_id, "n": name},
        ).scalar_one()
        for name in ("other", "primary")
    ]
    for pillar in pillars:
        session.execute(
            text(
                'INSERT INTO pillar_cluster_assignments (persona_id, pillar_id, cluster_id, "primary")'
                " VALUES (:p, :pillar, :cluster, :primary)"
            ),
            {"p": world.persona_id, "pillar": pillar, "cluster": cluster, "primary": pillar == pillars[1]},
        )
    session.execute(text("UPDATE pipeline_runs SET cluster_id = :c"), {"c": cluster})
    view = posts.draft_for_winner(session, candidate)
    assert (view.cluster, view.pillar, view.persona, view.state) == ("Wheel", "primary", "Ada", "draft")
    assert view.run_id is not None and view.zone == "Europe/Berlin" and view.environment == "sandbox"
    assert [picture.image_candidate_id for picture in view.pictures] == [candidate]


def test_asking_twice_gives_the_same_draft(world: World, session: Session) -> None:
    candidate = world.candidate(session)
    first = posts.draft_for_winner(session, candidate)
    assert posts.draft_for_winner(session, candidate).id == first.id


def test_what_a_model_made_or_changed_is_labelled_and_a_photograph_is_not(
    world: World, session: Session
) -> None:
    assert draft(world, session).is_ai_generated
    assert not posts.draft_for_winner(session, photo_id=world.photo(session)).is_ai_generated
    assert posts.draft_for_winner(session, photo_id=world.photo(session), edited=True).is_ai_generated


def test_a_rejected_picture_an_unknown_one_and_one_of_nobody_make_no_draft(
    world: World, session: Session
) -> None:
    rejected, nobodys = world.candidate(session), world.candidate(session)
    session.execute(text("UPDATE image_candidates SET status = 'rejected' WHERE id = :id"), {"id": rejected})
    session.execute(text("UPDATE image_candidates SET persona_id = NULL WHERE id = :id"), {"id": nobodys})
    with pytest.raises(NotAllowedNow, match="rejected"):
        posts.draft_for_winner(session, rejected)
    with pytest.raises(NotAllowedNow, match="no persona"):
        posts.draft_for_winner(session, nobodys)
    with pytest.raises(UnknownName):
        posts.draft_for_winner(session, 999_999)
    with pytest.raises(InvalidRequest):
        posts.draft_for_winner(session)


def test_a_runs_winner_reaches_the_post_that_waits_for_it(world: World, session: Session) -> None:
    candidate = world.candidate(session)
    run = session.execute(
        text("SELECT run_id FROM image_candidates WHERE id = :id"), {"id": candidate}
    ).scalar_one()
    waiting = session.execute(
        text(
            "INSERT INTO scheduling_posts (persona_id, environment, state, run_id)"
            " VALUES (:p, 'sandbox', 'awaiting_image', :run) RETURNING id"
        ),
        {"p": world.persona_id, "run": run},
    ).scalar_one()
    (view,) = posts.attach_winner(session, run, candidate)
    assert view is not None and (view.id, view.state, len(view.pictures)) == (waiting, "ready", 1)
    assert posts.attach_winner(session, run, candidate) == ()


def test_training_9_a_post_says_which_of_its_loras_may_not_be_used_commercially(
    world: World, session: Session
) -> None:
    candidate = world.candidate(session)
    post = posts.draft_for_winner(session, candidate)
    run = session.execute(text("SELECT run_id FROM image_candidates WHERE id = :c"), {"c": candidate})
    run_id, fields = run.scalar_one(), {"model_type": "character", "base_family": "flux"}
    for version, mark, weight in ((1, "true", 0.8), (2, "false", 0.7), (3, "true", 0.0)):
        file = {"file_path": f"{version}.safetensors", "sha256": digest(f"lora {version}")}
        details = f'{{"non_commercial": {mark}}}'
        lora = insert(session, "lora_models", name="ada", version=version, details=details, **file, **fields)
        insert(session, "run_loras", run_id=run_id, lora_model_id=lora, weight=weight, position=version)
    said = [one for one in posts.get_post(session, post.id).warnings if "commercial" in one]
    assert said == ["Made with ada@1, whose base model's licence forbids commercial use."]


# Words


def test_a_caption_is_cleaned_and_makes_a_draft_ready(world: World, session: Session) -> None:
    post = draft(world, session)
    view = posts.write_caption(
        session,
        post.id,
        "Tea\x1b[2J first\u202e.",
        ["#Tea", "tea", "slow morning"],
        "A cup\n\x07there",
        {"model": "x"},
    )
    assert view.full_caption == "Tea first.\n\n#Tea #slowmorning"
    assert (view.alt_text, view.state, view.warnings) == ("A cup there", "ready", ())
    assert view.caption_metadata == {"model": "x", "written_by": "operator"}


@pytest.mark.parametrize(
    ("caption", "hashtags", "alt_text", "said"),
    [
        ("x" * 2195, ["tea"], "", "2,201 characters"),
        ("🫖" * 1101, [], "", "2,202 characters"),
        ("x", [], "y" * 1001, "1,001 characters"),
        ("a #one", ["two", "three", "four", "five", "six"], "", "6 hashtags"),
        (" ".join(f"@friend{n}" for n in range(21)), [], "", "21 accounts"),
    ],
)
def test_words_that_instagram_would_refuse_are_refused_first(
    world: World, session: Session, caption: str, hashtags: list[str], alt_text: str, said: str
) -> None:
    with pytest.raises(WordsRefused, match=said):
        posts.write_caption(session, draft(world, session).id, caption, hashtags, alt_text)


def test_words_at_the_limit_pass(world: World, session: Session) -> None:
    view = posts.write_caption(session, draft(world, session).id, "x" * 2194, ["tea"], "y" * 1000)
    assert len(view.full_caption) == 2200


def test_the_guard_refuses_a_caption_and_remembers_that(world: World) -> None:
    with world.db.session_scope() as session:
        post = draft(world, session)
    with pytest.raises(GuardRefused), world.db.session_scope() as session:
        posts.write_caption(session, post.id, "a sexy schoolgirl")
    assert world.view(post.id).caption == ""
    assert world.one("SELECT count(*) FROM audit_events WHERE action = 'guard.refuse'") == 1


# Times


def test_a_post_is_scheduled_on_the_personas_clock(world: World, session: Session) -> None:
    post = draft(world, session)
    view = posts.schedule(session, post.id, datetime(2030, 7, 1, 16, tzinfo=UTC))
    assert (view.state, view.zone, view.wall_time) == ("scheduled", "Europe/Berlin", "2030-07-01T18:00")
    assert view.account_id == world.account_id
    later = posts.reschedule(session, post.id, datetime(2030, 12, 1, 16, tzinfo=UTC), "America/New_York")
    assert (later.state, later.wall_time) == ("scheduled", "2030-12-01T11:00")


def test_a_missing_caption_warns_and_does_not_stop(world: World, session: Session) -> None:
    view = posts.schedule(session, draft(world, session).id, world.clock(session) + TOMORROW)
    assert view.state == "scheduled" and any("no caption" in warning for warning in view.warnings)


def test_naive_past_and_impossible_times_are_told(world: World, session: Session) -> None:
    post, now = draft(world, session), world.clock(session)
    with pytest.raises(InvalidRequest, match="no time zone"):
        posts.schedule(session, post.id, datetime(2030, 1, 1))
    with pytest.raises(InvalidRequest, match="past"):
        posts.schedule(session, post.id, now - timedelta(minutes=5))
    with pytest.raises(InvalidRequest, match="IANA"):
        posts.schedule(session, post.id, now + TOMORROW, "Mars/Olympus")
    assert posts.get_post(session, post.id).state == "draft"


def test_without_account_or_picture_nothing_is_scheduled(world: World, session: Session) -> None:
    now = world.clock(session)
    empty = session.execute(
        text("INSERT INTO scheduling_posts (persona_id, environment) VALUES (:p, 'sandbox') RETURNING id"),
        {"p": world.persona_id},
    ).scalar_one()
    with pytest.raises(NotAllowedNow, match="no picture"):
        posts.schedule(session, empty, now + TOMORROW)
    lonely = make_persona(session, "Bea")
    candidate = world.candidate(session, persona_id=lonely)
    with pytest.raises(NotAllowedNow, match="no Instagram account"):
        posts.schedule(session, posts.draft_for_winner(session, candidate).id, now + TOMORROW)


def test_a_picture_is_in_one_live_post_unless_a_repost_is_allowed(world: World, session: Session) -> None:
    candidate, at = world.candidate(session), world.clock(session) + TOMORROW
    posts.schedule(session, posts.draft_for_winner(session, candidate).id, at)
    second = posts.draft_for_winner(session, candidate).id
    with pytest.raises(NotAllowedNow, match="already in another live post"), session.begin_nested():
        posts.schedule(session, second, at)
    assert posts.schedule(session, second, at, repost=True).state == "scheduled"


def test_a_cancelled_post_frees_its_picture_and_can_come_back(world: World, session: Session) -> None:
    candidate, at = world.candidate(session), world.clock(session) + TOMORROW
    first = posts.schedule(session, posts.draft_for_winner(session, candidate).id, at)
    assert posts.cancel(session, first.id).state == "cancelled"
    assert posts.schedule(session, posts.draft_for_winner(session, candidate).id, at).state == "scheduled"
    assert posts.reopen(session, first.id).state == "draft"


def test_a_post_comes_off_the_calendar_and_a_draft_goes_away(world: World, session: Session) -> None:
    post = posts.schedule(session, draft(world, session).id, world.clock(session) + TOMORROW)
    assert posts.unschedule(session, post.id).scheduled_at is None
    posts.delete_draft(session, post.id)
    with pytest.raises(UnknownName):
        posts.get_post(session, post.id)


def test_a_scheduled_post_is_not_deleted(world: World, session: Session) -> None:
    post = posts.schedule(session, draft(world, session).id, world.clock(session) + TOMORROW)
    with pytest.raises(NotAllowedNow, match="Only drafts"):
        posts.delete_draft(session, post.id)


def test_the_next_acts_come_from_the_table(world: World, session: Session) -> None:
    post = draft(world, session)
    acts = {(act.act, act.to_state) for act in posts.post_detail(session, post.id).acts}
    assert acts == {("complete", "ready"), ("schedule", "scheduled"), ("cancel", "cancelled")}
    with pytest.raises(NotAllowedNow) as refusal:
        posts.unschedule(session, posts.cancel(session, post.id).id)
    assert "reopen" in refusal.value.hint


def test_every_act_of_the_operator_is_audited_and_told_to_all(world: World, session: Session) -> None:
    with world.db.connect(autocommit=True) as listener:
        listener.execute(f"LISTEN persona_events_{world.db.schema}")
        post = posts.publish_now(session, draft(world, session).id)
        posts.cancel(session, post.id)
        session.commit()
        told = [note.payload for note in listener.notifies(timeout=0.5)]
    assert told.count(f'{{"topic": "post", "id": {post.id}}}') >= 1
    trail = world.rows(
        "SELECT action FROM audit_events WHERE subject = :s ORDER BY id", s=f"scheduling_posts:{post.id}"
    )
    assert [row[0] for row in trail] == ["post.draft", "post.schedule", "post.cancel"]
    assert audit.first_break(session) is None


# R18: nothing is done to a post that is on its way or may be out

_ACTS: dict[str, Callable[[Session, int], object]] = {
    "cancel": posts.cancel,
    "publish_now": posts.publish_now,
    "unschedule": posts.unschedule,
    "delete": posts.delete_draft,
    "reopen": posts.reopen,
    "retry": posts.retry,
    "words": lambda session, post_id: posts.write_caption(session, post_id, "other words"),
    "reschedule": lambda session, post_id: posts.reschedule(
        session, post_id, datetime(2030, 1, 1, tzinfo=UTC)
    ),
    "adopt": lambda session, post_id: posts.adopt(session, post_id, "123"),
    "mark": posts.mark_not_published,
}


@pytest.mark.parametrize("state", FENCED_STATES)
def test_r18_a_post_in_the_publishers_hands_is_left_alone(world: World, session: Session, state: str) -> None:
    post = world.post()
    drive_to(world, post.id, state)
    before = world.rows("SELECT * FROM scheduling_posts")
    for name, act in _ACTS.items():
        with pytest.raises(NotAllowedNow):
            act(session, post.id)
        session.rollback()
        assert world.rows("SELECT * FROM scheduling_posts") == before, name


def test_r18_a_post_that_needs_a_human_only_gets_an_answer(world: World, session: Session) -> None:
    post = world.post()
    drive_to(world, post.id, "needs_human")
    for name in set(_ACTS) - {"adopt"}:
        with pytest.raises(NotAllowedNow):
            _ACTS[name](session, post.id)
        session.rollback()
    assert [act.act for act in posts.post_detail(session, post.id).acts] == ["adopt", "mark not published"]


def test_r18_unknown_needs_a_human_and_missed_keep_the_picture(world: World, session: Session) -> None:
    post = world.post()
    candidate = post.pictures[0].image_candidate_id
    for state in ("unknown", "needs_human"):
        drive_to(world, post.id, state)
        other = posts.draft_for_winner(session, candidate)
        with pytest.raises(NotAllowedNow, match="already in another live post"):
            posts.schedule(session, other.id, datetime(2030, 1, 1, tzinfo=UTC))
        session.rollback()


def test_an_operator_who_comes_late_is_told_that_the_post_is_on_its_way(
    world: World, session: Session
) -> None:
    post = world.post()
    drive_to(world, post.id, "container")
    with pytest.raises(PostBusy, match="being published right now"):
        posts.cancel(session, post.id)


def test_a_post_that_needs_a_human_is_adopted_once(world: World, session: Session) -> None:
    first, second = world.post(), world.post()
    drive_to(world, first.id, "needs_human")
    drive_to(world, second.id, "needs_human")
    view = posts.adopt(session, first.id, "18060000000000123")
    assert (view.state, view.media_id) == ("published", "18060000000000123")
    session.commit()
    with pytest.raises(NotAllowedNow, match="Another post has that media id"):
        posts.adopt(session, second.id, "18060000000000123")
    session.rollback()
    with pytest.raises(InvalidRequest, match="digits"):
        posts.adopt(session, second.id, "https://instagram.com/p/x")


# Accounts


def test_r26_a_token_is_bound_to_its_account_and_environment(world: World, session: Session) -> None:
    assert account_token(session, world.keyring, world.account_id).get_secret_value() == world.token
    other = make_persona(session, "Bea")
    account = accounts.add_account(
        session,
        world.keyring,
        {"persona_id": other, "ig_user_id": "17840000000000999", "token": "IGAAanother-token"},
    )
    session.execute(
        text(
            "UPDATE instagram_accounts a SET token_ciphertext = b.token_ciphertext FROM instagram_accounts b"
            " WHERE a.id = :mine AND b.id = :other"
        ),
        {"mine": world.account_id, "other": account.id},
    )
    with pytest.raises(SecretUnreadable):
        account_token(session, world.keyring, world.account_id)


def test_an_account_is_connected_once_and_a_persona_has_one(world: World, session: Session) -> None:
    again = {
        "persona_id": make_persona(session, "Bea"),
        "ig_user_id": world.ig_user_id,
        "token": "IGAAanother-token",
    }
    with pytest.raises(DuplicateName, match="connected already"), session.begin_nested():
        accounts.add_account(session, world.keyring, again)
    second = {"persona_id": world.persona_id, "ig_user_id": "17840000000000999", "token": "IGAAanother-token"}
    with pytest.raises(DuplicateName, match="has an Instagram account"), session.begin_nested():
        accounts.add_account(session, world.keyring, second)
    with pytest.raises(UnknownName, match="no such persona"), session.begin_nested():
        accounts.add_account(session, world.keyring, {**second, "persona_id": 999_999})


@pytest.mark.parametrize(
    "wrong",
    [{"ig_user_id": "../me"}, {"token": "short"}, {"token_expires_at": datetime(2030, 1, 1)}, {"colour": 1}],
)
def test_account_input_from_outside_is_checked(
    world: World, session: Session, wrong: dict[str, object]
) -> None:
    given = {"persona_id": world.persona_id, "ig_user_id": "17840000000000999", "token": "IGAAanother-token"}
    with pytest.raises(InvalidRequest) as refusal:
        accounts.add_account(session, world.keyring, {**given, **wrong})
    assert "short" not in refusal.value.message.replace("shorter", "")


def test_a_new_token_ends_a_pause(world: World, session: Session) -> None:
    accounts.stop_account(session, world.account_id, "paused", "The token has expired.")
    (paused,) = accounts.list_accounts(session)
    assert (paused.status, paused.reason) == ("paused", "The token has expired.")
    view = accounts.replace_token(session, world.keyring, world.account_id, SecretStr("IGAAanother-token"))
    assert (view.status, view.reason) == ("active", "")
    assert account_token(session, world.keyring, view.id).get_secret_value() == "IGAAanother-token"
