"""When a cluster has no picture left to post, by the posting plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.services.library.clusters import ClusterView, list_clusters


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


_RATES = """
SELECT p.id, coalesce(p.target_posts_per_week, e.posts_per_week * p.weight / 100) AS per_week,
       (SELECT count(*) FROM scheduling_posts o
        WHERE o.persona_id = :persona AND o.pillar_id = p.id AND o.scheduled_at > :now
          AND o.state NOT IN ('draft', 'failed', 'cancelled', 'missed', 'published')) AS planned
FROM content_pillars p JOIN personas e ON e.id = p.persona_id
WHERE p.persona_id = :persona AND p.active
"""


def forecast(
    session: Session, persona_id: int, now: datetime, clusters: Sequence[ClusterView] | None = None
) -> tuple[Forecast, ...]:
    """Each cluster's outlook, by name.

    A pillar posts as often as its target says, else by its weight among the persona's posts a week, and draws
    from the clusters whose primary pillar it is in turn. What is scheduled already has its picture, so
    drawing begins after it.

    Args:
        now: UTC.
        clusters: all of the persona's, where they were read already.
    """
    if clusters is None:
        clusters = list_clusters(session, persona_id)
    rows = session.execute(text(_RATES), {"persona": persona_id, "now": now})
    rates = {row.id: (float(row.per_week), row.planned) for row in rows if row.per_week > 0}
    by_pillar: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for cluster in clusters:
        pillar = cluster.pillar_id
        if cluster.status == "active" and pillar is not None and pillar in rates:
            by_pillar[pillar].append((cluster.id, cluster.unposted))
    weeks: dict[int, float] = {}
    shares: dict[int, float] = {}
    for pillar, stocks in by_pillar.items():
        rate, planned = rates[pillar]
        weeks |= {one: planned / rate + lasts for one, lasts in weeks_left(stocks, rate)}
        shares |= {one: rate / len(stocks) for one, _ in stocks}
    return tuple(
        Forecast(
            cluster.id,
            cluster.name,
            cluster.unposted,
            round(shares.get(cluster.id, 0.0), 2),
            now + timedelta(weeks=weeks[cluster.id]) if cluster.id in weeks else None,
        )
        for cluster in clusters
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
