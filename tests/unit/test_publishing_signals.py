"""What the reconciler concludes from what it read, without any network."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from persona_tui.clients.instagram_facts import ContainerState, MediaFacts, PublishingLimit
from persona_tui.services.publishing.policy import ReconcilePolicy
from persona_tui.services.publishing.sending import until_quota_frees
from persona_tui.services.publishing.signals import (
    Ask,
    Bound,
    Expected,
    Likeness,
    Reading,
    SendAgain,
    Sent,
    Wait,
    candidates_in,
    judge,
    likeness,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
POLICY = ReconcilePolicy()
SENT = Sent(NOON, quota_before=3)
WORDS, LABEL, OPEN = Likeness.WORDS, Likeness.LABEL, Likeness.OPEN
FINISHED, PUBLISHED = ContainerState.FINISHED, ContainerState.PUBLISHED


def item(media_id: str = "1", **facts: Any) -> MediaFacts:
    given: dict[str, Any] = {
        "permalink": None,
        "timestamp": NOON,
        "media_type": "IMAGE",
        "caption": None,
        "alt_text": None,
        "is_ai_generated": None,
    }
    return MediaFacts(id=media_id, **{**given, **facts})


def reading(
    minutes: float,
    container: ContainerState | None = FINISHED,
    candidates: Mapping[str, Likeness] | None = None,
    quota: int | None = 3,
    *,
    listed: bool = True,
) -> Reading:
    return Reading(NOON + timedelta(minutes=minutes), container, candidates or {} if listed else None, quota)


def verdict(*readings: Reading, at: float | None = None) -> object:
    now = readings[-1].at if at is None else NOON + timedelta(minutes=at)
    return judge(readings, SENT, now, POLICY)


@pytest.mark.parametrize(
    ("facts", "expected", "alike"),
    [
        ({"alt_text": "A  cup\n"}, Expected("c", "A cup", True), WORDS),
        ({"alt_text": "A cup\u0301"}, Expected("c", "A cu\u0301p", True), None),
        ({"alt_text": "cafe\u0301"}, Expected("c", "caf\u00e9", True), WORDS),
        ({"caption": "c"}, Expected("c", "", False), WORDS),
        ({"caption": "other", "alt_text": "A cup"}, Expected("c", "A cup", True), None),
        ({"alt_text": "From the phone"}, Expected("c", "", True), None),
        ({"is_ai_generated": True}, Expected("c", "A cup", True), LABEL),
        ({"is_ai_generated": False}, Expected("c", "A cup", True), None),
        ({"is_ai_generated": True}, Expected("c", "", False), None),
        ({"is_ai_generated": False}, Expected("c", "", False), OPEN),
        ({}, Expected("c", "A cup", True), OPEN),
        ({"media_type": "VIDEO", "alt_text": "A cup"}, Expected("c", "A cup", True), None),
    ],
)
def test_an_item_is_ours_by_its_words_before_its_label(
    facts: dict[str, Any], expected: Expected, alike: Likeness | None
) -> None:
    assert likeness(item(**facts), expected) == alike


def test_known_items_and_those_from_before_are_no_candidates() -> None:
    items = [
        item("1"),
        item("2", timestamp=NOON - timedelta(minutes=2)),
        item("3", timestamp=None),
        item("4"),
    ]
    found = candidates_in(items, Expected("c", "", False), known={"1"}, since=NOON - timedelta(minutes=1))
    assert found == {"3": OPEN, "4": OPEN}


def test_publishing_3_what_shows_no_words_and_was_made_after_the_publication_is_no_candidate() -> None:
    later = {"timestamp": NOON + timedelta(minutes=3), "is_ai_generated": True}
    items = [item("1", is_ai_generated=True), item("2", **later), item("3", alt_text="A cup", **later)]
    window = {"known": (), "since": NOON, "until": NOON + timedelta(minutes=1)}
    assert candidates_in(items, Expected("c", "A cup", True), **window) == {"1": LABEL, "3": WORDS}


def test_words_bind_at_first_sight_even_against_other_signs() -> None:
    assert verdict(reading(0, FINISHED, {"7": WORDS, "8": LABEL})) == Bound("7", WORDS)


def test_two_items_with_our_words_are_a_persons_to_tell_apart() -> None:
    assert isinstance(verdict(reading(0, PUBLISHED, {"7": WORDS, "8": WORDS})), Ask)


def test_a_labelled_item_binds_once_it_has_been_the_only_one_for_long_enough() -> None:
    early, late = reading(1, PUBLISHED, {"7": LABEL}), reading(11, PUBLISHED, {"7": LABEL})
    assert verdict(early) == Wait()
    assert verdict(early, late) == Bound("7", LABEL)
    assert verdict(early, reading(6, PUBLISHED, {"7": LABEL, "8": LABEL}), late) == Wait()
    assert verdict(early, reading(6, listed=False), late) == Bound("7", LABEL)


def test_a_labelled_item_without_a_sign_of_publication_is_not_bound() -> None:
    assert verdict(*(reading(n * 5, FINISHED, {"7": LABEL}) for n in range(5))) == Wait()


def test_an_open_item_is_never_bound_by_itself() -> None:
    waiting = [reading(n * 2, PUBLISHED, {"7": OPEN}) for n in range(10)]
    assert verdict(*waiting) == Wait()
    assert isinstance(verdict(*waiting, at=20), Ask)


def test_it_is_sent_again_after_three_complete_quiet_looks_over_five_minutes() -> None:
    assert verdict(reading(0), reading(2)) == Wait()
    assert verdict(reading(0), reading(2), reading(4.9)) == Wait()
    assert verdict(reading(0), reading(2), reading(5)) == SendAgain()


@pytest.mark.parametrize(
    "look",
    [
        reading(3, None),
        reading(3, quota=None),
        reading(3, listed=False),
        reading(3, ContainerState.IN_PROGRESS),
    ],
)
def test_incomplete_looks_prove_nothing(look: Reading) -> None:
    assert verdict(reading(0), look, reading(5)) == Wait()
    assert verdict(reading(0), look, reading(5), reading(6)) == SendAgain()


def test_what_one_look_misses_another_makes_up_for_but_the_newest_is_whole() -> None:
    partial = [reading(0, quota=None), reading(2, None), reading(5, listed=False)]
    assert verdict(*partial) == Wait()
    assert verdict(*partial, reading(7), reading(8, listed=False)) == Wait()
    assert verdict(*partial, reading(7)) == SendAgain()


@pytest.mark.parametrize("last", [reading(30, PUBLISHED), reading(30, PUBLISHED, listed=False)])
def test_a_published_post_that_is_not_listed_yet_is_looked_for_longer(last: Reading) -> None:
    assert verdict(reading(0, PUBLISHED), last) == Wait()
    assert isinstance(verdict(reading(0, PUBLISHED), last, at=60), Ask)


@pytest.mark.parametrize(
    "sign",
    [
        reading(1, PUBLISHED),
        reading(1, quota=4),
        reading(1, candidates={"7": OPEN}),
        reading(1, None, quota=4),
    ],
)
def test_one_sign_of_publication_forbids_a_second_sending_for_ever(sign: Reading) -> None:
    quiet = [reading(n) for n in range(2, 19)]
    assert not isinstance(verdict(sign, *quiet), SendAgain)


def test_a_quota_that_fell_because_the_window_moved_is_quiet() -> None:
    assert verdict(reading(0, quota=2), reading(3, quota=2), reading(6, quota=2)) == SendAgain()


@pytest.mark.parametrize("state", [ContainerState.EXPIRED, ContainerState.ERROR])
def test_a_container_that_ended_asks_a_person_and_is_never_sent_again(state: ContainerState) -> None:
    assert verdict(reading(0, state), reading(3, state)) == Wait()
    assert isinstance(verdict(reading(0, state), reading(3, state), reading(6, state)), Ask)


def test_after_25_hours_a_person_is_asked() -> None:
    look = reading(1, None, quota=None, listed=False)
    assert verdict(look, at=25 * 60 - 1) == Wait()
    assert isinstance(verdict(look, at=25 * 60), Ask)


def test_a_reading_comes_back_from_the_evidence_as_it_was() -> None:
    for look in (reading(1, PUBLISHED, {"7": LABEL}, 4), reading(2, None, quota=None, listed=False)):
        assert Reading.from_json(look.at, look.as_json()) == look


def test_the_quota_frees_when_the_oldest_counted_post_leaves_the_window() -> None:
    limit = PublishingLimit(2, 2, timedelta(hours=24))
    listed = tuple(item(str(n), timestamp=NOON - timedelta(hours=n)) for n in range(4))
    assert until_quota_frees(limit, listed, NOON) == timedelta(hours=23)
    assert until_quota_frees(limit, listed[:1], NOON) is None
    assert until_quota_frees(PublishingLimit(0, 0, timedelta(hours=24)), listed, NOON) is None
