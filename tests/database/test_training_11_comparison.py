"""Item 11: two versions are voted on blind, pair by pair, and the votes say how likely one is the better."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from math import isclose

import numpy as np
import pytest
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.services.generation.lora_comparison import PROMPTS, create_comparison
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.loras.registry import add_version, remove_lora
from persona_tui.services.voting import contest as voting
from persona_tui.services.voting.comparison import (
    Pair,
    cast_pair,
    comparison_state,
    comparisons,
    next_pair,
    p_better,
    undo_pair,
    verdicts,
)
from tests.database.test_rules import refused
from tests.support.world import digest, insert, make_persona

SITTING = uuid.uuid4()


@dataclass(frozen=True)
class Two:
    """A persona's two versions for one base model."""

    persona_id: int
    old: int
    new: int


def version(session: Session, persona_id: int | None, name: str = "mira", **facts: str) -> int:
    row = add_version(
        session,
        name=name,
        version=None,
        persona_id=persona_id,
        model_type="character",
        family=facts.get("family", "sdxl"),
        trigger_word=facts.get("trigger", ""),
        sha256=digest(f"{name} {uuid.uuid4()}"),
        file_name_of=lambda name, number: f"{name}-{number}.safetensors",
        details={},
    )
    return int(row.id)


@pytest.fixture
def two(session: Session) -> Two:
    ensure_examples(session)
    mira = make_persona(session)
    old, new = (version(session, mira.id, trigger=word) for word in ("ohwx", "mrvx"))
    return Two(mira.id, old, new)


def planned(session: Session, two: Two, **more: object) -> int:
    values = {"persona_id": two.persona_id, "lora_id": two.new, "beside_id": two.old, **more}
    return create_comparison(session, values).contest_id


def pictured(session: Session, contest_id: int, two: Two, *, alike: bool = False, only: int = 99) -> None:
    """Both pictures of each pair, as `make_pairs` keeps them."""
    state = comparison_state(session, contest_id)
    plan = session.execute(
        text("SELECT prompts, seeds FROM lora_comparisons WHERE id = :id"), {"id": state.id}
    ).one()
    pairs = [(prompt, seed) for seed in plan.seeds for prompt in range(len(plan.prompts))]
    for prompt, seed in pairs[:only]:
        for lora in (two.new, two.old):
            name = f"{contest_id} {prompt} {seed} {'' if alike else lora}"
            picture = insert(
                session,
                "lora_comparison_pictures",
                comparison_id=state.id,
                lora_model_id=lora,
                prompt_index=prompt,
                seed=seed,
                media_key=f"{digest(name)}.png",
                sha256=digest(name),
            )
            insert(session, "contest_members", contest_id=contest_id, comparison_picture_id=picture)


def made_by(session: Session, member: int) -> int:
    query = (
        "SELECT p.lora_model_id FROM contest_members m"
        " JOIN lora_comparison_pictures p ON p.id = m.comparison_picture_id WHERE m.id = :id"
    )
    return int(session.execute(text(query), {"id": member}).scalar_one())


def voted(session: Session, contest_id: int, pair: Pair, chosen_lora: int | None) -> int:
    shown = (pair.left.member_id, pair.right.member_id)
    chosen = next((one for one in shown if made_by(session, one) == chosen_lora), None)
    return cast_pair(session, contest_id, shown, chosen, sitting=SITTING, response_ms=900)


def test_training_11_each_pair_is_shown_once_blind_and_on_either_side(session: Session, two: Two) -> None:
    contest = planned(session, two, seeds=4)
    assert next_pair(session, contest) is None
    assert comparison_state(session, contest).planned == 4 * len(PROMPTS)
    pictured(session, contest, two)
    rng, seen, lefts = np.random.default_rng(3), set(), []
    while (pair := next_pair(session, contest, rng)) is not None:
        assert made_by(session, pair.left.member_id) != made_by(session, pair.right.member_id)
        assert (pair.prompt, pair.seed) not in seen
        seen.add((pair.prompt, pair.seed))
        lefts.append(made_by(session, pair.left.member_id))
        voted(session, contest, pair, {0: two.old, 1: None}.get(len(seen) % 6, two.new))
    assert len(seen) == 12 and {prompt for prompt, _ in seen} == set(PROMPTS)
    assert set(lefts) == {two.old, two.new}
    state = comparison_state(session, contest)
    assert (state.won, state.lost, state.even, state.complete) == (8, 2, 2, True)
    (one,) = [verdict for verdict in verdicts(session) if verdict.lora_id == two.new]
    assert (one.lora, one.beside, one.n) == ("mira@2", "mira@1", 12)
    assert one.p_better is not None and one.p_better > 0.96
    assert one.p_better == pytest.approx(p_better(8, 2))
    assert one.turned().p_better == pytest.approx(1 - one.p_better)


def test_training_11_the_chance_of_being_better_is_the_posteriors() -> None:
    assert p_better(0, 0) == 0.5 and p_better(1, 0) == 0.75 and p_better(0, 1) == 0.25
    # By numerical integration of the posterior above one half.
    x = (np.arange(200_000) + 0.5) / 200_000
    for won, lost in ((3, 1), (9, 2), (40, 31)):
        density = x**won * (1 - x) ** lost
        assert isclose(p_better(won, lost), density[x > 0.5].sum() / density.sum(), abs_tol=1e-6)


def test_training_11_a_vote_is_taken_back_and_none_is_counted_twice(session: Session, two: Two) -> None:
    contest = planned(session, two, seeds=1, prompts=["tea", "tea ", "rain"])
    pictured(session, contest, two)
    first = next_pair(session, contest)
    assert first is not None
    vote = voted(session, contest, first, two.new)
    with pytest.raises(NotAllowedNow, match="voted on already"):
        voted(session, contest, first, two.old)
    second = next_pair(session, contest)
    assert second is not None and second.prompt != first.prompt
    mixed = (first.left.member_id, second.right.member_id)
    with pytest.raises(InvalidRequest, match="no pair"):
        cast_pair(session, contest, mixed, None, sitting=SITTING)
    with pytest.raises(InvalidRequest, match="was not shown"):
        shown = (second.left.member_id, second.right.member_id)
        cast_pair(session, contest, shown, first.left.member_id, sitting=SITTING)
    assert undo_pair(session, contest, sitting=uuid.uuid4()) is None
    assert undo_pair(session, contest, sitting=SITTING) == vote
    assert undo_pair(session, contest, sitting=SITTING) is None
    state = comparison_state(session, contest)
    assert (state.planned, state.voted, state.to_vote) == (2, 0, 2) and verdicts(session) == ()
    voted(session, contest, first, two.old)
    assert comparison_state(session, contest).lost == 1


def test_training_11_what_the_server_made_alike_is_not_voted_on(session: Session, two: Two) -> None:
    contest = planned(session, two, seeds=2, prompts=["tea"])
    pictured(session, contest, two, alike=True, only=1)
    state = comparison_state(session, contest)
    assert (state.ready, state.alike, state.to_vote) == (1, 1, 0) and not state.complete
    assert next_pair(session, contest) is None


def test_training_11_comparisons_of_two_versions_add_up_over_new_seeds(session: Session, two: Two) -> None:
    first = planned(session, two, seeds=2, prompts=["tea"], seed=7)
    turned = Two(two.persona_id, two.new, two.old)
    second = planned(session, turned, seeds=2, prompts=["tea"])
    assert session.execute(text("SELECT seeds FROM lora_comparisons ORDER BY id")).scalars().all() == [
        [7, 8],
        [9, 10],
    ]
    for contest in (first, second):
        pictured(session, contest, two)
        for _ in range(2):
            pair = next_pair(session, contest)
            assert pair is not None
            voted(session, contest, pair, two.new)
    assert [(one.contest_id, one.won, one.lost) for one in comparisons(session, two.new)] == [
        (second, 0, 2),
        (first, 2, 0),
    ]
    (one,) = [verdict for verdict in verdicts(session) if verdict.lora_id == two.new]
    assert (one.won, one.lost, one.even) == (4, 0, 0)


def test_training_11_what_can_not_be_compared_is_refused(session: Session, two: Two) -> None:
    stranger = version(session, make_persona(session, "Nils").id, "nils")
    other = version(session, two.persona_id, "mira flux", family="flux")
    for beside, words in (
        (two.new, "can't be compared"),
        (stranger, "likeness of Nils"),
        (other, "compared"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            planned(session, Two(two.persona_id, beside, two.new))
    with pytest.raises(InvalidRequest):
        planned(session, two, seeds=0)
    with pytest.raises(UnknownName, match="no comparison"):
        next_pair(session, 999)
    assert comparisons(session) == ()


def test_training_11_a_picture_belongs_to_its_own_comparison(session: Session, two: Two) -> None:
    mine, other = planned(session, two), planned(session, two)
    pictured(session, mine, two, only=1)
    picture = session.execute(text("SELECT min(id) FROM lora_comparison_pictures")).scalar_one()
    session.execute(text("DELETE FROM contest_members"))
    refused(
        session,
        "INSERT INTO contest_members (contest_id, comparison_picture_id) VALUES (:contest, :picture)",
        "contest_member_fits",
        contest=other,
        picture=picture,
    )
    refused(
        session,
        "INSERT INTO lora_comparisons (persona_id, lora_model_id, beside_id, pipeline_id, prompts, seeds)"
        " SELECT persona_id, lora_model_id, lora_model_id, pipeline_id, prompts, seeds FROM lora_comparisons",
        "ck_lora_comparisons_two_loras",
    )


def test_training_11_a_version_that_goes_takes_its_comparisons_along(session: Session, two: Two) -> None:
    contest = planned(session, two, seeds=1)
    pictured(session, contest, two)
    pair = next_pair(session, contest)
    assert pair is not None
    voted(session, contest, pair, two.new)
    remove_lora(session, two.old)
    left = [
        session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        for table in ("contests", "votes", "lora_comparison_pictures", "media_removals")
    ]
    assert left == [0, 0, 0, 2 * len(PROMPTS)]


def test_training_11_a_comparison_is_no_contest_of_candidates(session: Session, two: Two) -> None:
    contest = planned(session, two)
    pictured(session, contest, two)
    assert voting.next_showing(session, contest) is None
    assert voting.open_contests(session) == ()
