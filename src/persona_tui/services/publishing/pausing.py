"""The operator's pause of all publishing: nothing new goes out until it is taken back.

A pause stops claims and the last look before `media_publish`; what was sent already is still reconciled, and
what grows late meanwhile is judged by its grace once the pause is over.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import NotAllowedNow
from persona_tui.services import events
from persona_tui.services.safety import audit

MAY_PUBLISH = "NOT (SELECT publishing_held OR publishing_paused FROM installation)"
"""SQL condition: neither a restore nor the operator holds publishing back."""


def publishing_paused(session: Session) -> bool:
    """Whether the operator has paused all publishing."""
    return bool(session.execute(text("SELECT publishing_paused FROM installation")).scalar_one())


def pause_all(session: Session) -> None:
    """Let nothing more go out.

    Raises:
        NotAllowedNow: publishing is paused already.
    """
    _set(session, True, NotAllowedNow("Publishing is paused already.", hint="Resume it to go on."))


def resume_all(session: Session) -> None:
    """Let posts go out again.

    Raises:
        NotAllowedNow: publishing is not paused.
    """
    _set(session, False, NotAllowedNow("Publishing is not paused.", hint="Nothing to do."))


def _set(session: Session, paused: bool, refusal: NotAllowedNow) -> None:
    changed = session.execute(
        text(
            "UPDATE installation SET publishing_paused = :paused"
            " WHERE publishing_paused <> :paused RETURNING id"
        ),
        {"paused": paused},
    ).one_or_none()
    if changed is None:
        raise refusal
    action = "publishing.pause" if paused else "publishing.resume"
    audit.append(session, actor="operator", action=action, subject="installation:1")
    events.emit(session, "post", 0)


__all__ = ["MAY_PUBLISH", "pause_all", "publishing_paused", "resume_all"]
