"""The times of publishing in one place: leases, polls, pauses, patience."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from persona_tui.settings import Environment

CONTAINER_OVER = timedelta(hours=25)
"""A container lives 24 hours; an hour later, by our server's clock, nobody can publish it any more (R13)."""
CALL_TIMEOUT = timedelta(seconds=30)
"""Longest that one call to Instagram takes, as `InstagramClient` holds it."""


@dataclass(frozen=True)
class PublishPolicy:
    """How the publisher goes about it.

    Attributes:
        lease: how long a publisher owns a post without renewing.
        send_margin: lease that must be left, beyond a call's longest time, when `media_publish` is written.
        polls: seconds before each look at a new container within one round.
        later_polls: seconds until the next rounds' looks at a container that takes long; the last repeats.
        backoff: seconds before the next try after a failure that may pass; the last repeats.
        near_throttle: rest of an account whose call budget is nearly used, where Instagram names none.
        unreached: pause after a call that found no line to the service.
        unanswered: longest pause after a call that got no answer, for the first tries.
        container_tries: containers made for one try of a post, at most.
        fetch_tries: tries after which a picture that Instagram can't fetch is a failure.
        quota_wait: wait for a free place in the daily quota when it can't be computed.
        keep_hosted: how long a published picture stays where Instagram fetched it.
        patience: seconds that a round waits for its posts; slower ones go on by themselves.
        at_once: accounts worked on at a time.
    """

    lease: timedelta = timedelta(seconds=120)
    send_margin: timedelta = timedelta(seconds=15)
    polls: tuple[float, ...] = (2, 5, 10)
    later_polls: tuple[float, ...] = (30, 60, 60, 60, 300)
    backoff: tuple[float, ...] = (30, 60, 120, 300, 900)
    near_throttle: timedelta = timedelta(minutes=5)
    unreached: timedelta = timedelta(seconds=30)
    unanswered: timedelta = timedelta(seconds=45)
    container_tries: int = 3
    fetch_tries: int = 3
    quota_wait: timedelta = timedelta(hours=1)
    keep_hosted: timedelta = timedelta(hours=24)
    patience: float = 10.0
    at_once: int = 8

    @classmethod
    def of(cls, environment: Environment) -> PublishPolicy:
        """The sandbox is quicker: its pictures are ready in a moment."""
        if environment == "live":
            return cls()
        return cls(
            polls=(0.1, 0.2, 0.3, 0.5, 1),
            later_polls=(1, 2, 5),
            backoff=(1, 2, 5, 15),
            unreached=timedelta(seconds=2),
        )


@dataclass(frozen=True)
class ReconcilePolicy:
    """How the reconciler makes sure.

    Attributes:
        quiet_reads: looks without a sign of publication that a second `media_publish` needs.
        quiet_for: time that they must span.
        pauses: seconds before each look after a sending; the last repeats.
        unread: pause after a look in which nothing could be read.
        settle: how long a published item that shows no words of ours must stay the only possible one.
        ask_published: when a published post whose item can't be told apart goes to the operator.
        ask_unseen: the same, where its item has not been listed or has not been alone for long enough.
        skew: how far Instagram's clock may be behind ours.
        lease: how long a reconciler owns a post.
        resend_after: pause before the publisher sends what was proven unsent.
        patience, at_once: as in `PublishPolicy`.
    """

    quiet_reads: int = 3
    quiet_for: timedelta = timedelta(minutes=5)
    pauses: tuple[float, ...] = (5, 10, 30, 60, 120, *12 * (150,), *6 * (300,), 900)
    unread: timedelta = timedelta(seconds=45)
    settle: timedelta = timedelta(minutes=10)
    ask_published: timedelta = timedelta(minutes=20)
    ask_unseen: timedelta = timedelta(minutes=60)
    skew: timedelta = timedelta(seconds=60)
    lease: timedelta = timedelta(seconds=120)
    resend_after: timedelta = timedelta(seconds=5)
    patience: float = 10.0
    at_once: int = 8

    @classmethod
    def of(cls, environment: Environment) -> ReconcilePolicy:
        """The sandbox is quicker, unless it was told to behave badly."""
        if environment == "live":
            return cls()
        return cls(
            quiet_for=timedelta(seconds=5),
            pauses=(0.3, 0.5, 1, 2),
            settle=timedelta(seconds=5),
            resend_after=timedelta(0),
        )


@dataclass(frozen=True)
class CommentPolicy:
    """How first comments are written.

    Attributes:
        rest: between two tries of which the first surely wrote nothing.
        send_within: from the written intent to the request's first byte, at most.
        over: age at which an intent belongs to nobody any more; longer than `send_within` and a call.
        quiet: how long a comment must not show up below the post before it is sent again.
        give_up: when one that can't be looked for goes to the operator.
        sends: calls that may have written it, at most.
        pauses: seconds between two looks at one post; the last repeats.
        patience, at_once: as in `PublishPolicy`.
    """

    rest: timedelta = timedelta(seconds=60)
    send_within: timedelta = timedelta(seconds=15)
    over: timedelta = CALL_TIMEOUT + timedelta(seconds=30)
    quiet: timedelta = timedelta(minutes=30)
    give_up: timedelta = timedelta(hours=25)
    sends: int = 3
    pauses: tuple[float, ...] = (5, 30, 60, 120, 300)
    patience: float = 5.0
    at_once: int = 8

    @classmethod
    def of(cls, environment: Environment) -> CommentPolicy:
        """The sandbox is quicker, unless it was told to behave badly."""
        if environment == "live":
            return cls()
        return cls(rest=timedelta(seconds=1), quiet=timedelta(seconds=10), pauses=(0.3, 1, 2))


def nth(pauses: tuple[float, ...], n: int) -> timedelta:
    """The n-th pause, counted from 0; the last one repeats."""
    return timedelta(seconds=pauses[min(n, len(pauses) - 1)])


__all__ = ["CALL_TIMEOUT", "CONTAINER_OVER", "CommentPolicy", "PublishPolicy", "ReconcilePolicy", "nth"]
