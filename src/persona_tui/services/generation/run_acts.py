"""Acts on a run as a whole: reopening it, and saying who passes its gates at night."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.models.pipeline import NIGHT_POLICIES
from persona_tui.services.generation import progress, tree
from persona_tui.services.generation.runs import RunDetail, run_detail

ENDED = ("completed", "cancelled", "failed")
"""Statuses out of which a run is reopened."""


def reopen_run(session: Session, run_id: int, *, actor: str = "operator") -> RunDetail:
    """Go on with a run that has ended: open places are filled, gates and winner can be chosen anew.

    The winner keeps its title, and its place in the cluster, until another one is chosen.

    Raises:
        UnknownName: there is no such run.
        NotAllowedNow: it has not ended.
    """
    run = progress.lock_run(session, run_id)
    if run.status not in ENDED:
        hint = "Resume it." if run.status == "paused" else "It goes on as it is."
        raise NotAllowedNow(f"Run {run_id} is {run.status}: it has not ended.", hint=hint)
    session.execute(
        text(
            "UPDATE generation_slots SET state = 'open', failures = 0"
            " WHERE run_id = :run AND state = 'failed'"
        ),
        {"run": run_id},
    )
    before = run.status
    run.status, run.reason, run.finished_at = "running", "", None
    session.add(run)
    tree.settle_slots(session, run_id)
    progress.refresh_run(session, run)
    tree.record_act(session, run, actor, "run.reopen", f"pipeline_runs:{run_id}", [], was=before)
    return run_detail(session, run_id)


def set_night(
    session: Session, run_id: int, policy: str, at: datetime | None = None, *, actor: str = "operator"
) -> RunDetail:
    """Say who passes a run's gates while nobody is there.

    Args:
        policy: `off` nobody; `sure` the night mode, once the ranking is sure enough; `at` the night mode,
            from a time on.
        at: that time, with its zone; only for `at`.

    Raises:
        UnknownName: there is no such run.
        InvalidRequest: there is no such policy, or its time is missing or has no zone.
        NotAllowedNow: the run is completed or cancelled.
    """
    if policy not in NIGHT_POLICIES:
        raise InvalidRequest(
            f"The night mode can't be {policy!r}.", hint=f"Choose {', '.join(NIGHT_POLICIES)}."
        )
    if (policy == "at") != (at is not None) or (at is not None and at.tzinfo is None):
        raise InvalidRequest(
            "The night mode needs a time with its zone when it is `at`, and only then.",
            hint="For example 23:00.",
        )
    run = progress.lock_run(session, run_id)
    if run.status in ("completed", "cancelled"):
        raise NotAllowedNow(f"Run {run_id} is {run.status}.", hint="Reopen the run first.")
    run.night, run.night_at = policy, at
    session.add(run)
    progress.refresh_run(session, run)
    moment = None if at is None else at.isoformat()
    tree.record_act(session, run, actor, "run.night", f"pipeline_runs:{run_id}", [], policy=policy, at=moment)
    return run_detail(session, run_id)


def night_moment(words: str, zone: str, now: datetime) -> datetime:
    """Read from when on gates may be passed: a time of day, or a day and time.

    Args:
        words: `23:00`, its next one on the zone's clock; or ISO, `2026-11-24T23:00`, with or without offset.
        zone: IANA name.
        now: with its zone.

    Raises:
        InvalidRequest: it is no time.
    """
    here = ZoneInfo(zone)
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", words.strip()):
            hour, minute = map(int, words.split(":"))
            today = now.astimezone(here)
            moment = datetime.combine(today.date(), clock_time(hour, minute), tzinfo=here)
            if moment < today:
                moment = datetime.combine(today.date() + timedelta(days=1), moment.timetz())
        else:
            moment = datetime.fromisoformat(words.strip())
    except ValueError:
        raise InvalidRequest(
            f"{words!r} is no time.", title="Bad date", hint="Write it as 23:00 or 2026-11-24T23:00."
        ) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=here)).astimezone(UTC)
