"""The next free slot for a post: inside the day's windows on the audience's clock, clear of other posts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.persona import Persona
from persona_tui.services.publishing.slots import Slot, resolve

WINDOWS = ((time(9, 0), time(12, 0)), (time(17, 0), time(19, 0)))
"""Windows of a day on the audience's clock."""
STEP = timedelta(minutes=30)
LEAD = timedelta(minutes=15)
HORIZON_DAYS = 60


def parse_when(words: str, zone: str, now: datetime) -> Slot:
    """Read 'now', ISO local time (2026-11-24T18:00), or ISO with an offset.

    Raises:
        InvalidRequest: not a time, or in the past.
    """
    if words.strip().lower() == "now":
        return Slot(
            now, zone, now.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat(timespec="minutes")
        )
    try:
        moment = datetime.fromisoformat(words.strip())
    except ValueError:
        raise InvalidRequest(
            f"{words!r} is no time.", title="Bad date", hint="Write it as 2026-11-24T18:00, or `now`."
        ) from None
    if moment.tzinfo is None:
        slot = resolve(moment, zone)
    else:
        local = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        slot = Slot(moment.astimezone(UTC), zone, local.isoformat(timespec="minutes"))
    if slot.at < now - timedelta(minutes=1):
        raise InvalidRequest(f"{words} is in the past.", title="Bad date", hint="Choose a later time.")
    return slot


def next_slot(session: Session, persona_id: int, now: datetime, *, min_gap: timedelta) -> Slot:
    """The first slot that keeps the gap to the persona's other posts and its pace of posts per week.

    Raises:
        NotAllowedNow: none is free in the next 60 days.
    """
    persona = session.get(Persona, persona_id)
    if persona is None:
        raise UnknownName(f"There is no persona {persona_id}.")
    taken = [
        row[0]
        for row in session.execute(
            text(
                "SELECT coalesce(published_at, scheduled_at) FROM scheduling_posts"
                " WHERE persona_id = :persona AND state NOT IN ('draft', 'failed', 'cancelled', 'missed')"
                " AND coalesce(published_at, scheduled_at) > :since"
            ),
            {"persona": persona_id, "since": now - timedelta(days=7)},
        )
    ]
    pace = timedelta(days=7) / max(float(persona.posts_per_week), 1.0) * 0.75
    for gap in (max(pace, min_gap), min_gap):
        slot = _first_free(persona.zone, taken, now, gap)
        if slot is not None:
            return slot
    raise NotAllowedNow(
        "No slot is free in the next 60 days.", hint="Lower the pace or choose a time yourself."
    )


def _first_free(zone: str, taken: Iterable[datetime], now: datetime, gap: timedelta) -> Slot | None:
    busy = sorted(taken)
    today = now.astimezone(ZoneInfo(zone)).date()
    for offset in range(HORIZON_DAYS):
        for wall in _walls(today + timedelta(days=offset)):
            slot = resolve(wall, zone)
            if slot.at >= now + LEAD and all(abs(slot.at - other) >= gap for other in busy):
                return slot
    return None


def _walls(day: date) -> Iterable[datetime]:
    for start, end in WINDOWS:
        wall = datetime.combine(day, start)
        while wall < datetime.combine(day, end):
            yield wall
            wall += STEP
