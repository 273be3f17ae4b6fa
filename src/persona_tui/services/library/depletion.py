"""When a cluster has no picture left to post, by the posting plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session


@dataclass(frozen=True)
class Forecast:
    """A cluster's outlook.

    Attributes:
        unposted: pictures that no live post holds.
        per_week: posts a week that its pillar draws from it, as long as all its clusters have some.
        empty_at: when the last one is used, UTC; None where no pillar draws from it.
    """

    cluster_id: int
    name: str
    unposted: int
    per_week: float
    empty_at: datetime | None


_STOCKS = """
WITH planned AS (
  SELECT o.pillar_id, count(*) AS posts FROM scheduling_posts o
  WHERE o.persona_id = :persona AND o.scheduled_at > :now
    AND o.state NOT IN ('draft', 'failed', 'cancelled', 'missed', 'published')
  GROUP BY o.pillar_id
), stock AS (
  SELECT k.id, k.name, k.status, count(m.id) FILTER (WHERE
      NOT EXISTS (SELECT FROM post_items h WHERE h.holds AND h.photo_id = m.photo_id) AND
      NOT EXISTS (SELECT FROM post_items h WHERE h.holds AND h.image_candidate_id = m.image_candidate_id)
    ) AS unposted
  FROM clusters k LEFT JOIN cluster_candidates m ON m.cluster_id = k.id
    AND NOT EXISTS (SELECT FROM image_candidates i WHERE i.id = m.image_candidate_id AND i.status <> 'active')
    AND NOT EXISTS (SELECT FROM photos f WHERE f.id = m.photo_id
                    AND (f.stage <> 'accepted' OR f.deleted_at IS NOT NULL))
  WHERE k.persona_id = :persona GROUP BY k.id, k.name, k.status
)
SELECT s.id, s.name, s.unposted, p.id AS pillar_id, coalesce(n.posts, 0) AS planned,
  CASE WHEN p.id IS NULL THEN 0 ELSE coalesce(p.target_posts_per_week, e.posts_per_week * p.weight / 100)
  END AS per_week
FROM stock s JOIN personas e ON e.id = :persona
LEFT JOIN pillar_cluster_assignments a ON a.cluster_id = s.id AND a."primary" AND s.status = 'active'
LEFT JOIN content_pillars p ON p.id = a.pillar_id AND p.active
LEFT JOIN planned n ON n.pillar_id = p.id
ORDER BY lower(s.name)
"""


def forecast(session: Session, persona_id: int, now: datetime) -> tuple[Forecast, ...]:
    """Each cluster's outlook, by name.

    A pillar posts as often as its target says, else by its weight among the persona's posts a week, and draws
    from the clusters whose primary pillar it is in turn. What is scheduled already has its picture, so
    drawing begins after it.

    Args:
        now: UTC.
    """
    rows = session.execute(text(_STOCKS), {"persona": persona_id, "now": now}).all()
    by_pillar: dict[int, list[tuple[int, int]]] = defaultdict(list)
    rates: dict[int, tuple[float, int]] = {}
    for row in rows:
        if row.pillar_id is not None and row.per_week > 0:
            by_pillar[row.pillar_id].append((row.id, row.unposted))
            rates[row.pillar_id] = (float(row.per_week), row.planned)
    weeks: dict[int, float] = {}
    shares: dict[int, float] = {}
    for pillar, stocks in by_pillar.items():
        rate, planned = rates[pillar]
        weeks |= {one: planned / rate + lasts for one, lasts in weeks_left(stocks, rate)}
        shares |= {one: rate / len(stocks) for one, _ in stocks}
    return tuple(
        Forecast(
            row.id,
            row.name,
            row.unposted,
            round(shares.get(row.id, 0.0), 2),
            now + timedelta(weeks=weeks[row.id]) if row.id in weeks else None,
        )
        for row in rows
    )


def weeks_left(stocks: Sequence[tuple[int, int]], per_week: float) -> tuple[tuple[int, float], ...]:
    """Weeks until each of several stocks is empty when they are drawn from in turn.

    The emptier ones end first; what they gave is then drawn from the others.

    Args:
        stocks: (id, pieces).
        per_week: pieces drawn a week from all of them, above 0.
    """
    left, passed, level = [], 0.0, 0
    ordered = sorted(stocks, key=lambda stock: stock[1])
    for place, (identifier, pieces) in enumerate(ordered):
        passed += (pieces - level) * (len(ordered) - place) / per_week
        level = pieces
        left.append((identifier, passed))
    return tuple(left)
