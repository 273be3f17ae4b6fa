"""A post's moment: an instant, and the wall time of a zone that it was planned on.

Clock changes make some wall times skip and others come twice. A skipped one moves forward by the change, of a
doubled one the first is meant (PEP 495's fold=0); both are told to the operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services import events
from persona_tui.services.safety import audit

log = structlog.get_logger("persona_tui.publishing")


@dataclass(frozen=True)
class Slot:
    """An instant with the clock it was planned on.

    Attributes:
        at: UTC.
        zone: IANA zone.
        wall_time: ISO, as the zone's clock shows it.
        note: what a clock change makes of the time that was asked for; empty on other days.
    """

    at: datetime
    zone: str
    wall_time: str
    note: str = ""


def resolve(wall: datetime, zone: str) -> Slot:
    """The instant of a wall time: a time that a clock change skips moves forward, a doubled one is the first.

    Args:
        wall: naive local time.
    """
    place = ZoneInfo(zone)
    at = wall.replace(tzinfo=place, fold=0).astimezone(UTC)
    shown = at.astimezone(place).replace(tzinfo=None)
    note = clock_note(wall, zone)
    return Slot(at, zone, shown.isoformat(timespec="minutes"), note)


def clock_note(wall: datetime, zone: str) -> str:
    """What a clock change makes of a wall time, as a sentence; empty where none is near.

    Args:
        wall: naive local time.
    """
    place = ZoneInfo(zone)
    first, second = (wall.replace(tzinfo=place, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return ""
    shown = first.astimezone(UTC).astimezone(place).replace(tzinfo=None)
    if shown != wall:
        return f"The clocks of {zone} skip {wall:%H:%M} that night: it goes out at {shown:%H:%M}."
    again = second.astimezone(UTC) - first.astimezone(UTC)
    minutes = round(again.total_seconds() / 60)
    return (
        f"The clocks of {zone} show {wall:%H:%M} twice that night:"
        f" it goes out the first time, {minutes} minutes before the second."
    )


def follow_zone_rules(session: Session) -> tuple[int, ...]:
    """Move planned posts whose instant no longer shows the wall time they were planned on.

    A country changed its clock, and newer zone data says so.

    Returns:
        The posts that were moved.
    """
    rows = session.execute(
        text(
            "SELECT id, persona_id, scheduled_at, zone, wall_time FROM scheduling_posts"
            " WHERE state IN ('scheduled', 'deferred') AND wall_time <> '' AND scheduled_at > persona_now()"
            " ORDER BY id FOR UPDATE SKIP LOCKED"
        )
    ).all()
    moved = [row for row in rows if _shown(row.scheduled_at, row.zone) != row.wall_time]
    for row in moved:
        slot = resolve(datetime.fromisoformat(row.wall_time), row.zone)
        if slot.at == row.scheduled_at:
            continue
        session.execute(
            text("UPDATE scheduling_posts SET scheduled_at = :at WHERE id = :id"),
            {"at": slot.at, "id": row.id},
        )
        audit.append(
            session,
            actor="scheduler",
            action="post.zone_rules",
            persona_id=row.persona_id,
            subject=f"scheduling_posts:{row.id}",
            details={"before": row.scheduled_at.astimezone(UTC).isoformat(), "at": slot.at.isoformat()},
        )
        events.emit(session, "post", row.id)
        log.warning("zone rules changed", post=row.id, zone=row.zone, wall_time=row.wall_time)
    return tuple(row.id for row in moved)


def _shown(at: datetime, zone: str) -> str:
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat(timespec="minutes")


__all__ = ["Slot", "clock_note", "follow_zone_rules", "resolve"]
