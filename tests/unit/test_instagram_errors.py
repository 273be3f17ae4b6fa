"""Rulings that need no server: by step, by certainty that nothing was sent, by what is not known."""

from __future__ import annotations

import asyncio
import pickle
from datetime import timedelta

import pytest

from persona_tui.clients.instagram_errors import (
    InstagramError,
    InstagramTokenRejected,
    Step,
    Verdict,
    classify,
    container_ruling,
    sentence_for,
)
from persona_tui.errors import (
    ClientError,
    KeyRejected,
    NotAllowedNow,
    ServiceGarbled,
    ServiceTimeout,
    ServiceUnreachable,
)


def graph(code: int, subcode: int | None = None, **more: object) -> InstagramError:
    return InstagramError("no", status=400, code=code, subcode=subcode, **more)


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize(
    "error",
    [
        ServiceUnreachable("refused", sent=False),
        ServiceTimeout("while connecting", sent=False),
        NotAllowedNow("The lease is too short."),
    ],
)
def test_what_surely_was_not_sent_is_tried_again(error: Exception, step: Step) -> None:
    assert classify(error, step).verdict is Verdict.RETRY


@pytest.mark.parametrize(
    "error",
    [
        ServiceTimeout("no answer"),
        ServiceGarbled("html"),
        ClientError("reset"),
        KeyRejected("401 from a proxy", status=401),
        graph(190, 463),
        graph(9007, 2207027),
        graph(36003, 2207009),
        graph(24, 2207008),
        graph(77777),
        InstagramError("502", status=502),
        ValueError("a fault of our own"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_everything_else_at_publish_is_unknown(error: BaseException) -> None:
    assert classify(error, Step.PUBLISH).verdict is Verdict.AMBIGUOUS


def test_the_cause_shows_through_an_unknown_publish() -> None:
    assert classify(graph(190, 460), Step.PUBLISH).cause is Verdict.PAUSE_TOKEN
    stopped = classify(graph(4, 2207051), Step.PUBLISH)
    assert (stopped.cause, stopped.wait) == (Verdict.STOP, timedelta(hours=24))


@pytest.mark.parametrize(
    "numbers", [(100, 33), (24, 2207008), (24, 2207006), (9004, 2207052), (36003, 2207009), (9007, 2207027)]
)
def test_a_read_after_publishing_never_condemns_the_post(numbers: tuple[int, int]) -> None:
    assert classify(graph(*numbers), Step.READ).verdict is Verdict.IGNORE


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(190, Verdict.PAUSE_TOKEN), (17, Verdict.WAIT), (368, Verdict.STOP), (2, Verdict.RETRY)],
)
def test_a_read_still_tells_of_the_account(code: int, verdict: Verdict) -> None:
    assert classify(graph(code), Step.READ).verdict is verdict


def test_waits_are_what_instagram_asks_or_an_hour() -> None:
    assert classify(graph(80002), Step.CREATE).wait == timedelta(hours=1)
    assert classify(graph(4, regain_after=timedelta(minutes=9)), Step.CREATE).wait == timedelta(minutes=9)
    assert classify(graph(368, 123), Step.CREATE).wait == timedelta(hours=24)
    assert classify(graph(9, 2207042), Step.CREATE).wait is None


@pytest.mark.parametrize("code", [200, 230, 299])
def test_all_of_the_two_hundreds_are_permissions(code: int) -> None:
    assert classify(graph(code, 1), Step.CREATE).verdict is Verdict.STOP


def test_an_unknown_subcode_is_ruled_by_its_code() -> None:
    assert classify(graph(190, 999), Step.CREATE).verdict is Verdict.PAUSE_TOKEN
    assert classify(graph(36003, 1), Step.CREATE).verdict is Verdict.FIX
    assert classify(graph(4, 1), Step.CREATE).verdict is Verdict.WAIT


def test_an_unknown_code_is_retried_only_where_meta_calls_it_transient() -> None:
    assert classify(graph(77777, is_transient=True), Step.CREATE).verdict is Verdict.RETRY
    assert classify(graph(77777), Step.CREATE).verdict is Verdict.FIX
    assert sentence_for(None, None) == sentence_for(77777, 1)


@pytest.mark.parametrize(
    ("subcode", "verdict"),
    [
        (2207003, Verdict.RETRY_CREATE),
        (2207009, Verdict.FIX),
        (2207052, Verdict.RETRY_CREATE),
        (2207020, Verdict.NEW_CONTAINER),
        (2207050, Verdict.STOP),
        (2207999, Verdict.NEW_CONTAINER),
        (None, Verdict.NEW_CONTAINER),
    ],
)
def test_a_container_in_error_is_ruled_by_its_subcode(subcode: int | None, verdict: Verdict) -> None:
    assert container_ruling(subcode).verdict is verdict


def test_the_words_of_meta_are_never_matched() -> None:
    error = graph(9004, 2207052, user_message="กิจกรรมถูกจำกัด: spam, expired token, duplicate, 190")
    assert classify(error, Step.CREATE).verdict is Verdict.RETRY_CREATE


def test_errors_cross_a_process_boundary_whole() -> None:
    error = InstagramTokenRejected("no", status=400, code=190, subcode=463, fbtrace_id="A1", user_message="ท")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, KeyRejected)
    assert vars(again) == vars(error)
