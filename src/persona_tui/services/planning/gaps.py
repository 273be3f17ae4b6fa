"""The gap analysis: what each pillar needs in the coming days, and what it has.

Formula: fluffy-train's GapAnalyzer, with its defects mended: the days ahead count for every pillar, a
picture counts for its cluster's primary pillar alone, posts already scheduled in the window count as
covered, and only live posts take pictures away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from persona_tui.database.rows import Ask, through_session
from persona_tui.errors import InvalidRequest

if TYPE_CHECKING:
    # The first look at the Dashboard counts gaps before SQLAlchemy and the tables are loaded.
    from sqlmodel import Session

DAYS_AHEAD = 30

Status = Literal["exhausted", "critical", "low", "ready", "minimal"]
Urgency = Literal["high", "medium", "low", "normal"]


@dataclass(frozen=True)
class PillarGap:
    """A pillar's need and stock, in posts.

    Attributes:
        needed: posts that the window asks for.
        scheduled: live posts of the pillar from the start of today (on the audience's clock) to the
            window's end, those published today among them.
        available: pictures of the pillar that no live post holds.
        gap: needed − scheduled − available; negative is a surplus.
        clusters: clusters whose primary pillar this is.
    """

    pillar_id: int
    name: str
    weight: float
    priority: int
    needed: int
    scheduled: int
    available: int
    gap: int
    status: Status
    urgency: Urgency
    clusters: int


_STOCK = """
WITH held AS (
  SELECT photo_id, image_candidate_id FROM post_items WHERE persona_id = %(persona)s AND holds
), stock AS (
  SELECT a.pillar_id, count(DISTINCT a.cluster_id) AS clusters,
         count(m.id) FILTER (WHERE m.id IS NOT NULL
           AND NOT EXISTS (SELECT FROM held h WHERE h.photo_id = m.photo_id)
           AND NOT EXISTS (SELECT FROM held h WHERE h.image_candidate_id = m.image_candidate_id)) AS available
  FROM pillar_cluster_assignments a
  JOIN clusters c ON c.id = a.cluster_id AND c.status = 'active'
  LEFT JOIN cluster_candidates m ON m.cluster_id = a.cluster_id
    AND NOT EXISTS (SELECT FROM image_candidates i WHERE i.id = m.image_candidate_id AND i.status <> 'active')
    AND NOT EXISTS (SELECT FROM photos f WHERE f.id = m.photo_id
      AND (f.stage <> 'accepted' OR f.deleted_at IS NOT NULL))
  WHERE a.persona_id = %(persona)s AND a."primary"
  GROUP BY a.pillar_id
), planned AS (
  SELECT o.pillar_id, count(*) AS posts
  FROM scheduling_posts o JOIN personas e ON e.id = o.persona_id
  WHERE o.persona_id = %(persona)s AND o.state NOT IN ('draft', 'failed', 'cancelled', 'missed')
    AND coalesce(o.published_at, o.scheduled_at)
      >= date_trunc('day', %(now)s AT TIME ZONE e.zone) AT TIME ZONE e.zone
    AND coalesce(o.published_at, o.scheduled_at) < %(now)s + make_interval(days => %(days)s)
  GROUP BY o.pillar_id
)
SELECT p.id, p.name, p.weight, p.priority, p.target_posts_per_week, e.posts_per_week,
       coalesce(s.clusters, 0), coalesce(s.available, 0), coalesce(n.posts, 0)
FROM content_pillars p
JOIN personas e ON e.id = p.persona_id
LEFT JOIN stock s ON s.pillar_id = p.id
LEFT JOIN planned n ON n.pillar_id = p.id
WHERE p.persona_id = %(persona)s AND p.active
  AND (p.start_date IS NULL OR p.start_date <= (%(now)s AT TIME ZONE e.zone)::date)
  AND (p.end_date IS NULL OR p.end_date >= (%(now)s AT TIME ZONE e.zone)::date)
"""


def analyse(
    session: Session, persona_id: int, now: datetime, days: int = DAYS_AHEAD
) -> tuple[PillarGap, ...]:
    """Each current pillar's gap, the largest first; one statement, whatever the number of rows.

    Args:
        now: the instant from which `days` count, UTC.
        days: 1 to 366.

    Raises:
        InvalidRequest: days out of range.
    """
    if not 1 <= days <= 366:
        raise InvalidRequest(f"{days} days can't be planned.", hint="Choose 1 to 366 days.")
    return read_gaps(through_session(session), persona_id, now, days)


def read_gaps(ask: Ask, persona_id: int, now: datetime, days: int = DAYS_AHEAD) -> tuple[PillarGap, ...]:
    """As `analyse`, for days that are known to be in range, whichever way the database is asked."""
    rows = ask(_STOCK, {"persona": persona_id, "now": now, "days": days})
    gaps = [_gap(row, days) for row in rows]
    return tuple(sorted(gaps, key=lambda gap: (-gap.gap, -gap.priority, -gap.weight, gap.pillar_id)))


def record(session: Session, persona_id: int, gaps: tuple[PillarGap, ...], days: int = DAYS_AHEAD) -> int:
    """Keep an analysis, so that the ideas that follow can say why they were proposed.

    Returns:
        The id of the analysis.
    """
    from persona_tui.models.persona import GapAnalysis

    analysis = GapAnalysis(persona_id=persona_id, days_ahead=days, coverage=[asdict(gap) for gap in gaps])
    session.add(analysis)
    session.flush()
    return analysis.id


def posts_needed(weight: float, target_per_week: int | None, per_week: float, days: int) -> int:
    """Posts that a pillar needs in so many days: by its own target when set, else by weight."""
    if target_per_week is not None:
        return math.ceil(target_per_week * days / 7)
    total = math.ceil(per_week * days / 7)
    return math.ceil(total * weight / 100)


def _gap(row: Sequence[Any], days: int) -> PillarGap:
    identifier, name, weight, priority, target, per_week, clusters, available, scheduled = row
    needed = posts_needed(float(weight), target, float(per_week), days)
    gap = needed - scheduled - available
    return PillarGap(
        identifier,
        name,
        float(weight),
        priority,
        needed,
        scheduled,
        available,
        gap,
        _status(gap, available),
        _urgency(gap, available),
        clusters,
    )


def _status(gap: int, available: int) -> Status:
    if available == 0:
        return "exhausted"
    if gap > 5:
        return "critical"
    if gap > 0:
        return "low"
    return "ready" if available >= 3 else "minimal"


def _urgency(gap: int, available: int) -> Urgency:
    if gap > 5 or available == 0:
        return "high"
    if gap > 0:
        return "medium"
    return "low" if available >= 5 else "normal"
