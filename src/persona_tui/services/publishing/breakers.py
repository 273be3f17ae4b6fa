"""Circuit breakers: what fails for everybody is left alone for a while, not tried by every post.

`graph` is Instagram's service as a whole (failures that are no answer to a particular post: 5xx, time-outs,
no connection), `host:first` and `host:second` are the places from which Instagram fetches pictures. An
account's own trouble stops that account alone (`accounts.stop_account`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import ClientError, KeyRejected, ServiceRefused

GRAPH = "graph"
GRAPH_ANSWERS = (
    "NOT EXISTS (SELECT FROM circuit_breakers WHERE scope = 'graph' AND open_until > persona_now())"
)
"""SQL condition: Instagram's service is not left alone at the moment."""


@dataclass(frozen=True)
class BreakerPolicy:
    """When a breaker opens, and for how long.

    Attributes:
        failures: in a row after which it opens.
        pause: for which it stays open the first time; it doubles with each further failure.
        longest: that a pause grows to.
    """

    failures: int = 5
    pause: timedelta = timedelta(minutes=1)
    longest: timedelta = timedelta(minutes=15)


POLICIES = {
    # Short: an outage of our own line looks the same, and what is due goes on within a minute after it.
    GRAPH: BreakerPolicy(pause=timedelta(seconds=15), longest=timedelta(seconds=45)),
    "host": BreakerPolicy(failures=3, pause=timedelta(minutes=5), longest=timedelta(hours=1)),
}


@dataclass(frozen=True)
class OpenBreaker:
    """A breaker that keeps posts waiting."""

    scope: str
    open_until: datetime
    reason: str

    @property
    def sentence(self) -> str:
        """What rests, until when, and why."""
        names = {GRAPH: "Instagram", "host:first": "The media host", "host:second": "The second media host"}
        until = f"{self.open_until.astimezone(UTC):%H:%M} UTC"
        return f"{names[self.scope]} is left alone until {until}: {self.reason}"


def open_breakers(session: Session) -> tuple[OpenBreaker, ...]:
    """The breakers that are open now."""
    rows = session.execute(
        text(
            "SELECT scope, open_until, reason FROM circuit_breakers WHERE open_until > persona_now()"
            " ORDER BY scope"
        )
    )
    return tuple(OpenBreaker(*row) for row in rows)


def is_open(session: Session, scope: str) -> bool:
    """Whether nobody should try this now."""
    found = session.execute(
        text(
            "SELECT EXISTS (SELECT FROM circuit_breakers WHERE scope = :scope AND open_until > persona_now())"
        ),
        {"scope": scope},
    )
    return bool(found.scalar_one())


def note_success(session: Session, scope: str) -> None:
    """It works: the count begins anew."""
    session.execute(
        text(
            "UPDATE circuit_breakers SET failures = 0, open_until = NULL, reason = '',"
            " changed_at = persona_now() WHERE scope = :scope AND failures > 0"
        ),
        {"scope": scope},
    )


def note_failure(session: Session, scope: str, reason: str) -> None:
    """It failed; with the last failure that is allowed, and each one after it, the breaker opens for longer.

    Args:
        reason: for the operator, in words.
    """
    policy = POLICIES[scope.partition(":")[0]]
    session.execute(
        text(
            "INSERT INTO circuit_breakers AS b (scope, failures, reason) VALUES (:scope, 1, :reason)"
            " ON CONFLICT (scope) DO UPDATE SET failures = b.failures + 1, reason = excluded.reason,"
            " changed_at = persona_now(), open_until = CASE WHEN b.failures + 1 >= :allowed"
            "  THEN persona_now() + least(CAST(:longest AS interval),"
            "   CAST(:pause AS interval) * power(2, least(b.failures + 1 - :allowed, 20))) END"
        ),
        {
            "scope": scope,
            "reason": reason,
            "allowed": policy.failures,
            "pause": policy.pause,
            "longest": policy.longest,
        },
    )


def is_service_trouble(error: ClientError) -> bool:
    """Whether an error of a call to Instagram speaks of its service, not of a post or an account."""
    if isinstance(error, KeyRejected):
        return False
    if isinstance(error, ServiceRefused) and error.code is not None:
        return (error.status or 0) >= 500
    return True


__all__ = [
    "GRAPH",
    "GRAPH_ANSWERS",
    "POLICIES",
    "BreakerPolicy",
    "OpenBreaker",
    "is_open",
    "is_service_trouble",
    "note_failure",
    "note_success",
    "open_breakers",
]
