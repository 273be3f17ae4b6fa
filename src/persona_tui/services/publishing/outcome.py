"""What a failure means for the post and its account: pure rules, no database."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from persona_tui.clients.instagram_errors import Ruling, Step, Verdict, classify
from persona_tui.errors import (
    ClientError,
    GuardRefused,
    InvalidRequest,
    PersonaError,
    ServiceTimeout,
    ServiceUnreachable,
    SettingsError,
)
from persona_tui.services.publishing.attempts import RETRIED, STOPPED
from persona_tui.services.publishing.policy import PublishPolicy


class WrongAccount(PersonaError):
    """The token belongs to another Instagram account than the one it was stored for."""

    title = "Wrong account"
    hint = "Connect the account again with `persona-tui account add`."


@dataclass(frozen=True)
class Ending:
    """How a post leaves the publisher's hands.

    Attributes:
        state: where it goes.
        reason: why, for the operator.
        outcome: of the attempt.
        wait: until the next try; None with the outcome `retried`: the policy's back-off.
        tries: tries in a row after which it fails for good; None: its grace decides.
        stop_account: what becomes of the account.
        unanswered: a call was sent and no answer came, as when a line is cut.
    """

    state: str
    reason: str
    outcome: str
    wait: timedelta | None = None
    tries: int | None = None
    stop_account: Literal["paused", "restricted"] | None = None
    unanswered: bool = False


def ending_of(problem: PersonaError, policy: PublishPolicy, *, step: Step | None = None) -> Ending:
    """How the post ends this round after a failure before anything was sent.

    Args:
        step: of Instagram's calls; None: picture, guard, media host or disk failed.
    """
    if isinstance(problem, WrongAccount):
        return Ending("paused", problem.message, STOPPED, stop_account="paused")
    if isinstance(problem, ServiceUnreachable):
        # Nobody was bothered, so it is tried often: work goes on soon after the line is back.
        return Ending("deferred", problem.message, RETRIED, wait=policy.unreached)
    if step is not None:
        ending = _by_ruling(classify(problem, step), policy)
        return replace(ending, unanswered=is_unanswered(problem) and ending.outcome == RETRIED)
    words = f"{problem.message} {problem.hint}"
    if isinstance(problem, GuardRefused | InvalidRequest) and not isinstance(problem, SettingsError):
        return Ending("fix_needed", words, "refused")
    return Ending("deferred", words, RETRIED)


def is_unanswered(problem: PersonaError) -> bool:
    """Whether a call was sent, or could not be, and nothing came back at all."""
    return isinstance(problem, ServiceTimeout | ServiceUnreachable) or type(problem) is ClientError


def _by_ruling(ruling: Ruling, policy: PublishPolicy) -> Ending:
    sentence = ruling.sentence
    match ruling.verdict:
        case Verdict.FIX:
            return Ending("fix_needed", sentence, "refused")
        case Verdict.PAUSE_TOKEN:
            return Ending("paused", sentence, STOPPED, stop_account="paused")
        case Verdict.STOP:
            return Ending("paused", sentence, STOPPED, stop_account="restricted")
        case Verdict.WAIT:
            return Ending("deferred", sentence, "throttled", wait=ruling.wait or policy.quota_wait)
        case Verdict.QUOTA:
            return Ending("deferred", sentence, "quota", wait=policy.quota_wait)
        case Verdict.RETRY_CREATE | Verdict.NEW_CONTAINER | Verdict.CHECK_ACCESS:
            return Ending("deferred", sentence, RETRIED, tries=policy.fetch_tries)
    return Ending("deferred", sentence, RETRIED)


__all__ = ["Ending", "WrongAccount", "ending_of", "is_unanswered"]
