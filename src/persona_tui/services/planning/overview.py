"""What the Dashboard shows of a persona, read in a few statements however much there is.

The first look is read with the driver alone, before SQLAlchemy and the tables are loaded, so neither is
imported here at module level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from persona_tui.database.rows import Ask, through_driver, through_session
from persona_tui.services.planning import gaps
from persona_tui.services.planning.gaps import PillarGap
from persona_tui.services.planning.next_actions import NextAction, next_actions

if TYPE_CHECKING:
    import psycopg
    from sqlmodel import Session

    from persona_tui.services.generation.runs import RunView
    from persona_tui.services.leadership import Beat
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.planning.pillars import PillarView
    from persona_tui.services.voting.contest import OpenContest

GOING_OUT = (
    "claimed",
    "staged",
    "creating",
    "container",
    "publishable",
    "sending",
    "unknown",
    "reconciling",
)
"""States in which a post is being published: the tables' fenced states."""
NEEDS_PERSON = ("needs_human", "fix_needed", "missed", "paused", "failed")
"""States that a post leaves only by an act of the operator, the gravest first."""
PLANNED = ("scheduled", "deferred")
"""States in which a post waits for its time."""
OVERDUE_AFTER = timedelta(minutes=2)
"""A planned post that is due goes out at the next tick; later than this, something keeps it."""
RECENTLY = timedelta(days=7)
"""How long a published post is shown."""
UPCOMING_SHOWN, OTHERS_SHOWN = 5, 3
"""Posts shown of what is to come, and of the other parts."""
RUNS_SHOWN = 20


@dataclass(frozen=True)
class PersonaCounts:
    """A persona in numbers.

    Attributes:
        pillars: active ones.
        has_account: there is an account, not shut off by Instagram, to post to.
        overdue: posts whose time has passed and that are not out.
        upcoming: posts that wait for their time or are being published.
        needs_person: posts that only an act of the operator moves.
        ideas: pending and accepted ones.
        votes: steps of live runs that have pictures and no approval.
    """

    id: int
    name: str
    zone: str
    pillars: int
    has_account: bool
    overdue: int
    upcoming: int
    needs_person: int
    ideas: int
    votes: int


@dataclass(frozen=True)
class PostLine:
    """A post on one line; `at` is when it is due, or was published, in UTC."""

    id: int
    state: str
    at: datetime
    caption: str
    reason: str
    cluster: str


@dataclass(frozen=True)
class PostPart:
    """The first posts of a part, and how many there are in all."""

    posts: tuple[PostLine, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class Waiting:
    """Things of one kind that wait for the operator.

    Attributes:
        kind: a post's state, `uncaptioned`, `captioned`; `pending` or `accepted` for ideas; `held` when
            nothing is published until the operator confirms.
        count: how many.
        first_id: the one to begin with: the oldest post, the newest idea.
        first_title: its words, or empty; for `held` the reason.
    """

    kind: str
    count: int
    first_id: int
    first_title: str


@dataclass(frozen=True)
class PillarBranch:
    """A pillar with the clusters whose primary pillar it is.

    Attributes:
        gap: None when the pillar is switched off or out of its dates.
        pictures: all that its clusters hold.
        unposted: those that no live post holds.
    """

    pillar: PillarView
    gap: PillarGap | None
    clusters: tuple[ClusterView, ...]

    @property
    def pictures(self) -> int:
        return sum(cluster.pictures for cluster in self.clusters)

    @property
    def unposted(self) -> int:
        return sum(cluster.unposted for cluster in self.clusters)


@dataclass(frozen=True)
class DashboardView:
    """All that the Dashboard shows.

    Attributes:
        persona: whose day it is; None when there is no persona.
        personas: all of them, by name.
        pillars: the highest priority first.
        unlinked: clusters without a primary pillar.
        runs: that are being generated or wait for votes, the newest first.
        contests: that wait for votes, the fullest first.
        processes: that work on this database, the leader first.
        actions: at most three, the most urgent first; empty when nothing is due.
        alarms: accounts of the persona that are stopped, or whose token ends soon.
    """

    now: datetime
    persona: PersonaCounts | None
    personas: tuple[PersonaCounts, ...]
    processes: tuple[Beat, ...]
    overdue: PostPart = PostPart()
    upcoming: PostPart = PostPart()
    published: PostPart = PostPart()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    pillars: tuple[PillarBranch, ...] = ()
    unlinked: tuple[ClusterView, ...] = ()
    runs: tuple[RunView, ...] = ()
    contests: tuple[OpenContest, ...] = ()
    actions: tuple[NextAction, ...] = ()
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class FirstLook:
    """What the Dashboard shows at once, while the rest of the program is still being loaded.

    Attributes:
        view: with personas and posts, and without all else.
        gaps: of the persona's current pillars, the largest first.
    """

    view: DashboardView
    gaps: tuple[PillarGap, ...] = ()


_STATES: dict[str, Any] = {
    "fenced": list(GOING_OUT),
    "planned": list(PLANNED),
    "person": list(NEEDS_PERSON),
}

_PERSONAS = """
SELECT p.id, p.name, p.zone,
       (SELECT count(*) FROM content_pillars c WHERE c.persona_id = p.id AND c.active),
       EXISTS (SELECT FROM instagram_accounts a JOIN installation i ON i.environment = a.environment
               WHERE a.persona_id = p.id AND a.status <> 'restricted'),
       coalesce(s.overdue, 0), coalesce(s.upcoming, 0), coalesce(s.person, 0),
       (SELECT count(*) FROM content_suggestions d
        WHERE d.persona_id = p.id AND d.status IN ('pending', 'accepted')),
       coalesce(v.steps, 0)
FROM personas p
LEFT JOIN (
  SELECT persona_id,
         count(*) FILTER (WHERE state <> ALL (%(fenced)s) AND scheduled_at < %(late)s) AS overdue,
         count(*) FILTER (WHERE state = ANY (%(fenced)s)
                          OR state = ANY (%(planned)s) AND scheduled_at >= %(late)s) AS upcoming,
         count(*) FILTER (WHERE state = ANY (%(person)s)) AS person
  FROM scheduling_posts
  WHERE state = ANY (%(fenced)s) OR state = ANY (%(planned)s) OR state = ANY (%(person)s)
  GROUP BY persona_id
) s ON s.persona_id = p.id
LEFT JOIN (
  SELECT r.persona_id, count(*) AS steps
  FROM pipeline_runs r JOIN pipeline_run_steps t ON t.run_id = r.id
  WHERE r.status IN ('pending', 'running', 'waiting') AND t.approved_at IS NULL
    AND EXISTS (SELECT FROM image_candidates c WHERE c.run_step_id = t.id AND c.status = 'active')
  GROUP BY r.persona_id
) v ON v.persona_id = p.id
WHERE p.archived_at IS NULL
ORDER BY lower(p.name)
"""

_POSTS = """
WITH parts AS (
  SELECT id, state, caption, reason, cluster_id,
         CASE WHEN state = 'published' THEN published_at ELSE scheduled_at END AS at,
         CASE WHEN state = 'published' THEN 'published'
              WHEN state = ANY (%(fenced)s)
                OR state = ANY (%(planned)s) AND scheduled_at >= %(late)s THEN 'upcoming'
              ELSE 'overdue' END AS part
  FROM scheduling_posts
  WHERE persona_id = %(persona)s
    AND (state = 'published' AND published_at > %(recently)s
         OR state = ANY (%(fenced)s)
         OR (state = ANY (%(planned)s) OR state = ANY (%(person)s) AND scheduled_at < %(late)s)
            AND scheduled_at IS NOT NULL)
), placed AS (
  SELECT parts.*, count(*) OVER (PARTITION BY part) AS total, row_number() OVER (
    PARTITION BY part
    ORDER BY CASE WHEN part = 'published' THEN at END DESC, at, id) AS place
  FROM parts
)
SELECT d.part, d.total, d.id, d.state, d.at, d.caption, d.reason, coalesce(c.name, '')
FROM placed d LEFT JOIN clusters c ON c.id = d.cluster_id
WHERE d.place <= CASE d.part WHEN 'upcoming' THEN %(upcoming)s ELSE %(others)s END
ORDER BY d.part, d.place
"""

_WAITING = """
SELECT kind, count(*), (array_agg(id ORDER BY scheduled_at NULLS LAST, id))[1],
       (array_agg(title ORDER BY scheduled_at NULLS LAST, id))[1]
FROM (
  SELECT p.id, p.scheduled_at, coalesce(nullif(p.caption, ''), c.name, '') AS title,
         CASE WHEN p.state = ANY (%(person)s) THEN p.state
              WHEN p.caption = '' THEN 'uncaptioned' ELSE 'captioned' END AS kind
  FROM scheduling_posts p LEFT JOIN clusters c ON c.id = p.cluster_id
  WHERE p.persona_id = %(persona)s
    AND (p.state = ANY (%(person)s)
         OR p.state IN ('draft', 'ready') AND EXISTS (SELECT FROM post_items i WHERE i.post_id = p.id))
) posts GROUP BY kind
UNION ALL
SELECT status, count(*), max(id), (array_agg(title ORDER BY id DESC))[1]
FROM content_suggestions WHERE persona_id = %(persona)s AND status IN ('pending', 'accepted')
GROUP BY status
UNION ALL
SELECT 'held', 1, id, held_reason FROM installation WHERE publishing_held
UNION ALL
SELECT 'all paused', 1, id, '' FROM installation WHERE publishing_paused
"""


def all_personas(session: Session, now: datetime) -> tuple[PersonaCounts, ...]:
    """Every persona in numbers, by name; one statement.

    Args:
        now: the database's clock, UTC.
    """
    return _personas(through_session(session), now)


def first_look(connection: psycopg.Connection[Any], persona_id: int | None = None) -> FirstLook:
    """A persona's posts and gaps in 4 statements, at the database's own time.

    Args:
        persona_id: whose; None, or an id that is gone, takes the first persona.
    """
    ask = through_driver(connection)
    now = ask("SELECT persona_now()", {})[0][0]
    personas = _personas(ask, now)
    persona = next((found for found in personas if found.id == persona_id), next(iter(personas), None))
    view = DashboardView(now, persona, personas, ())
    if persona is None:
        return FirstLook(view)
    return FirstLook(_with_posts(ask, view, persona.id), gaps.read_gaps(ask, persona.id, now))


def dashboard(session: Session, persona_id: int | None, now: datetime) -> DashboardView:
    """A persona's day in at most 13 statements, however many rows there are.

    Args:
        persona_id: whose; None, or an id that is gone, gives only what belongs to no persona.
        now: the database's clock, UTC.
    """
    from persona_tui.services.leadership import list_processes
    from persona_tui.services.publishing.account_check import alarms

    personas = all_personas(session, now)
    persona = next((found for found in personas if found.id == persona_id), None)
    view = DashboardView(now, persona, personas, list_processes(session))
    if persona is not None:
        view = replace(_filled(session, view, persona.id), alarms=alarms(session, persona.id))
    return replace(view, actions=next_actions(view))


def pillar_tree(
    session: Session, persona_id: int, now: datetime, days: int = gaps.DAYS_AHEAD
) -> tuple[tuple[PillarBranch, ...], tuple[ClusterView, ...]]:
    """A persona's pillars with their clusters and gaps, and the clusters without a pillar; 3 statements.

    Args:
        now: the database's clock, UTC.
        days: over which gaps are counted, 1 to 366.

    Raises:
        InvalidRequest: days out of range.
    """
    from persona_tui.services.library import clusters
    from persona_tui.services.planning import pillars

    by_pillar: dict[int | None, list[ClusterView]] = {}
    for cluster in clusters.list_clusters(session, persona_id):
        by_pillar.setdefault(cluster.pillar_id, []).append(cluster)
    gap_of = {gap.pillar_id: gap for gap in gaps.analyse(session, persona_id, now, days)}
    branches = tuple(
        PillarBranch(pillar, gap_of.get(pillar.id), tuple(by_pillar.get(pillar.id, ())))
        for pillar in pillars.list_pillars(session, persona_id)
    )
    return branches, tuple(by_pillar.get(None, ()))


def _filled(session: Session, view: DashboardView, persona_id: int) -> DashboardView:
    from persona_tui.services.generation import runs
    from persona_tui.services.voting import contest

    ask = through_session(session)
    branches, unlinked = pillar_tree(session, persona_id, view.now)
    return replace(
        _with_posts(ask, view, persona_id),
        waiting=_waiting(ask, persona_id),
        pillars=branches,
        unlinked=unlinked,
        runs=runs.list_runs(session, persona_id, ["pending", "running", "waiting"], limit=RUNS_SHOWN),
        contests=contest.open_contests(session, persona_id),
    )


def _personas(ask: Ask, now: datetime) -> tuple[PersonaCounts, ...]:
    return tuple(PersonaCounts(*row) for row in ask(_PERSONAS, _STATES | {"late": now - OVERDUE_AFTER}))


def _with_posts(ask: Ask, view: DashboardView, persona_id: int) -> DashboardView:
    parts = _parts(ask, persona_id, view.now)
    return replace(
        view,
        overdue=parts.get("overdue", PostPart()),
        upcoming=parts.get("upcoming", PostPart()),
        published=parts.get("published", PostPart()),
    )


def _parts(ask: Ask, persona_id: int, now: datetime) -> dict[str, PostPart]:
    """The parts that have posts, by name."""
    limits = {"upcoming": UPCOMING_SHOWN, "others": OTHERS_SHOWN}
    moments = {"late": now - OVERDUE_AFTER, "recently": now - RECENTLY}
    lines: dict[str, list[PostLine]] = {}
    counts: dict[str, int] = {}
    for part, count, *facts in ask(_POSTS, _STATES | limits | moments | {"persona": persona_id}):
        lines.setdefault(part, []).append(PostLine(*facts))
        counts[part] = count
    return {part: PostPart(tuple(posts), counts[part]) for part, posts in lines.items()}


def _waiting(ask: Ask, persona_id: int) -> dict[str, Waiting]:
    rows = ask(_WAITING, {"person": list(NEEDS_PERSON), "persona": persona_id})
    return {kind: Waiting(kind, *facts) for kind, *facts in rows}


__all__ = [
    "NEEDS_PERSON",
    "DashboardView",
    "FirstLook",
    "NextAction",
    "PersonaCounts",
    "PillarBranch",
    "PostLine",
    "PostPart",
    "Waiting",
    "all_personas",
    "dashboard",
    "first_look",
    "pillar_tree",
]
