"""Night mode: what it passes, what it leaves to the operator, how it is marked and taken back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageFilter
from sqlmodel import Session, col, select

from persona_tui.database.engine import Database
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.models.pipeline import GateMember, ImageCandidate
from persona_tui.models.safety import AuditEvent
from persona_tui.services.generation import gates, run_acts, runs
from persona_tui.services.generation.night import ACTOR, Decision, Night, decide, due_gates, undo_night
from persona_tui.services.generation.picture_score import probability_by_scores, technical_quality
from persona_tui.services.media import MediaStore
from persona_tui.services.voting import contest
from persona_tui.settings import Settings
from tests.database.growing import add_run, finish, grow, status, take

PAST = datetime(2020, 1, 1, tzinfo=UTC)


def photo(blur: float = 0.0) -> Image.Image:
    return Image.fromarray(skimage.data.coffee()).filter(ImageFilter.GaussianBlur(blur))


def encoded(picture: Image.Image, folder: Path, name: str) -> bytes:
    picture.save(folder / name)
    return (folder / name).read_bytes()


@pytest.fixture
def media(settings: Settings) -> MediaStore:
    return MediaStore(settings)


def show(session: Session, media: MediaStore, candidates: list[int], folder: Path, *blurs: float) -> None:
    """Let these candidates be real pictures, blurred by so many pixels."""
    for candidate, blur in zip(candidates, blurs, strict=True):
        stored = media.put(encoded(photo(blur), folder, f"{candidate}.png"))
        row = session.get_one(ImageCandidate, candidate)
        row.media_key, row.sha256 = stored.key, stored.sha256
        session.add(row)
    session.commit()


def vote(session: Session, step_id: int, best: int, times: int) -> None:
    """Let one picture win so often against each other one."""
    contest_id = contest.contest_of_step(session, step_id)
    members = {m.candidate_id: m.id for m in contest.standings(session, contest_id).members}
    for other in members.keys() - {best}:
        for _ in range(times):
            shown = [members[other], members[best]]
            contest.cast(session, contest_id, shown, members[best], sitting=uuid.uuid4())
    session.commit()


def night(db: Database, media: MediaStore, **options: Any) -> Night:
    return Night(db.session_scope, media, **{"patience": 0.0, **options})


def members(session: Session) -> list[int]:
    return list(session.exec(select(GateMember.image_candidate_id).order_by(col(GateMember.rank))))


def test_without_a_policy_nothing_is_passed(db: Database, session: Session, media: MediaStore) -> None:
    run = add_run(session)
    vote(session, run.steps[0].id, grow(session)[1], 9)

    assert night(db, media).tick() == ()
    assert status(session, run.id) == "waiting"


def test_sure_votes_pass_a_gate_and_it_is_marked(db: Database, session: Session, media: MediaStore) -> None:
    run = add_run(session, night="sure")
    best = grow(session)[2]
    vote(session, run.steps[0].id, best, 9)

    assert night(db, media).tick() == (run.id,)
    assert night(db, media).tick() == ()

    step = runs.run_detail(session, run.id).steps[0]
    assert (members(session), step.approved_by) == ([best], ACTOR)
    assert (
        step.approval_reason.startswith("By the votes it is ")
        and "sure that the best 1 go on" in step.approval_reason
    )
    event = session.exec(select(AuditEvent).order_by(col(AuditEvent.id).desc())).first()
    assert event is not None and (event.actor, event.action) == (ACTOR, "gate.approve")
    assert event.details["reason"] == step.approval_reason
    assert {session.get_one(ImageCandidate, one).parent_id for one in grow(session)} == {best}


def test_unsure_votes_are_left_to_the_operator_until_the_time_comes(
    db: Database, session: Session, media: MediaStore
) -> None:
    run = add_run(session, night="sure")
    one, two, *_ = grow(session)
    contest_id = contest.contest_of_step(session, run.steps[0].id)
    ids = {m.candidate_id: m.id for m in contest.standings(session, contest_id).members}
    contest.cast(session, contest_id, [ids[one], ids[two]], ids[two], sitting=uuid.uuid4())
    session.commit()
    assert night(db, media).tick() == ()

    soon = datetime.now(UTC) + timedelta(hours=1)
    run_acts.set_night(session, run.id, "at", soon)
    session.commit()
    assert night(db, media).tick() == ()
    run_acts.set_night(session, run.id, "at", PAST)
    session.commit()

    assert night(db, media).tick() == (run.id,)
    assert members(session) == [two]


def test_where_nobody_votes_the_sharper_picture_goes_on(
    db: Database, session: Session, media: MediaStore, tmp_path: Path
) -> None:
    run = add_run(session, night="sure")
    candidates = grow(session)
    show(session, media, candidates, tmp_path, 9, 9.5, 0, 10)

    assert night(db, media, patience=600).tick() == ()  # somebody may still come and vote
    assert night(db, media).tick() == (run.id,)

    assert members(session) == [candidates[2]]
    reason = runs.run_detail(session, run.id).steps[0].approval_reason
    assert reason.startswith("Nobody voted; by technical quality (0.")


def test_scores_that_are_close_pass_only_when_the_time_has_come(
    db: Database, session: Session, media: MediaStore, tmp_path: Path
) -> None:
    run = add_run(session, night="sure")
    candidates = grow(session)
    show(session, media, candidates, tmp_path, 1.1, 1.0, 1.2, 1.3)
    (media.path(session.get_one(ImageCandidate, candidates[0]).media_key) or tmp_path).unlink()
    thumbnail = media.thumbnail("", session.get_one(ImageCandidate, candidates[0]).sha256)
    thumbnail.unlink()
    assert night(db, media).tick() == ()

    run_acts.set_night(session, run.id, "at", PAST)
    session.commit()

    assert night(db, media).tick() == (run.id,)
    assert members(session) == [candidates[1]]


def test_a_gate_waits_for_all_its_pictures_and_the_winner_for_the_operator(
    db: Database, session: Session, media: MediaStore
) -> None:
    run = add_run(session, night="at", night_at=PAST, steps={1: {"top_k": 4}})
    finish(session, take(session, 1)[0])
    session.commit()
    assert night(db, media).tick() == ()
    grow(session)
    session.commit()

    assert night(db, media).tick() == (run.id,)
    assert len(members(session)) == 4
    assert runs.run_detail(session, run.id).steps[0].approval_reason == "All 4 pictures go on."
    grow(session)
    session.commit()
    assert status(session, run.id) == "waiting"
    assert night(db, media).tick() == ()
    assert runs.run_detail(session, run.id).winner_id is None


def test_what_changed_while_the_scores_were_made_is_looked_at_anew(
    db: Database, session: Session, media: MediaStore, tmp_path: Path
) -> None:
    run = add_run(session, night="at", night_at=PAST)
    candidates = grow(session)
    show(session, media, candidates, tmp_path, 0, 5, 5, 5)

    def interrupted(data: bytes) -> float:
        if session.get_one(ImageCandidate, candidates[0]).status == "active":
            gates.reject(session, candidates[0])
            session.commit()
        return technical_quality(data)

    assert night(db, media, score=interrupted).tick() == ()
    assert members(session) == []
    assert status(session, run.id) == "running"


def test_the_nights_decisions_are_taken_back_with_what_grew_from_them(
    db: Database, session: Session, media: MediaStore
) -> None:
    run = add_run(session, night="at", night_at=PAST, steps={1: {"top_k": 4}})
    roots = grow(session)
    session.commit()
    with pytest.raises(NotAllowedNow, match="night mode passed no gate"):
        undo_night(session, run.id)
    session.rollback()
    night(db, media).tick()
    children = grow(session)[:7]
    session.commit()

    undone = undo_night(session, run.id, actor="Olga")

    assert (undone.steps, set(undone.rejected) >= set(children)) == ((1,), True)
    detail = runs.run_detail(session, run.id)
    assert (detail.night, detail.status) == ("off", "waiting")
    assert [(step.approved, step.active, step.open) for step in detail.steps] == [
        (False, 4, 0),
        (False, 0, 0),
    ]
    session.commit()
    assert night(db, media).tick() == ()
    gates.approve(session, run.steps[0].id, 4, actor="Olga")
    assert gates.unreject(session, children[0]).candidate_ids == (children[0],)
    assert members(session) == roots


def test_a_persons_later_approval_stands_in_the_way_of_undoing_the_night(
    db: Database, session: Session, media: MediaStore
) -> None:
    run = add_run(session, night="at", night_at=PAST)
    grow(session)
    session.commit()
    night(db, media).tick()
    grow(session)
    gates.approve(session, run.steps[1].id, 1, actor="Olga")

    with pytest.raises(NotAllowedNow, match="was approved by Olga since"):
        undo_night(session, run.id)
    gates.unapprove(session, run.steps[1].id, actor="Olga")
    undo_night(session, run.id)
    assert [step.approved for step in runs.run_detail(session, run.id).steps] == [False, False]


def test_taking_the_nights_approval_back_by_hand_ends_the_night(
    db: Database, session: Session, media: MediaStore
) -> None:
    run = add_run(session, night="at", night_at=PAST)
    grow(session)
    session.commit()
    night(db, media).tick()

    assert gates.unapprove(session, run.steps[0].id, actor="Olga").night_ended
    session.commit()
    assert night(db, media).tick() == ()


def test_a_policy_needs_its_time_and_a_run_that_goes_on(session: Session) -> None:
    run = add_run(session)
    with pytest.raises(InvalidRequest, match="can't be 'always'"):
        run_acts.set_night(session, run.id, "always")
    for policy, at in (("at", None), ("sure", PAST), ("at", datetime(2026, 1, 1))):
        with pytest.raises(InvalidRequest, match="needs a time with its zone"):
            run_acts.set_night(session, run.id, policy, at)
    with pytest.raises(InvalidRequest, match="needs a time when it is `at`"):
        runs.create_run(session, {"pipeline": "two-step", "prompt": "tea", "night": "at"})
    view = run_acts.set_night(session, run.id, "at", PAST)
    assert (view.night, view.night_at) == ("at", PAST)
    assert run_acts.set_night(session, run.id, "off").night_at is None
    runs.cancel_run(session, run.id)
    with pytest.raises(NotAllowedNow, match="is cancelled"):
        run_acts.set_night(session, run.id, "sure")


def test_technical_quality_prefers_sharp_and_well_exposed_pictures(tmp_path: Path) -> None:
    sharp = technical_quality(encoded(photo(), tmp_path, "sharp.png"))
    soft = technical_quality(encoded(photo(6), tmp_path, "soft.png"))
    dark = technical_quality(encoded(photo().point(lambda level: level // 12), tmp_path, "dark.png"))
    noise = np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)

    assert 0 <= dark < soft < sharp <= 1
    assert technical_quality(encoded(Image.fromarray(noise), tmp_path, "noise.png")) <= 1
    assert technical_quality(encoded(Image.new("RGB", (1, 1)), tmp_path, "dot.png")) >= 0


def test_scores_are_sure_only_when_they_are_apart() -> None:
    assert probability_by_scores([0.9, 0.3, 0.2], 1) > 0.95
    assert probability_by_scores([0.50, 0.49, 0.48], 1) < 0.6
    assert probability_by_scores([0.5, 0.4], 2) == 1.0


def test_a_decision_is_the_same_for_the_same_votes_and_scores(session: Session) -> None:
    run = add_run(session, night="at", night_at=PAST)
    grow(session)
    (gate,) = due_gates(session, patience=0)
    scores = {picture.sha256: 0.2 * at for at, picture in enumerate(gate.pictures)}

    first, again = decide(gate, scores), decide(gate, scores)

    assert isinstance(first, Decision) and first == again
    assert first.candidate_ids == (gate.pictures[-1].candidate_id,)
    assert gate.run_id == run.id
