"""A plan copied into a database of its own, to be played against the sandbox; and what came of it.

The copy holds personas, accounts, pictures and posts, nothing else; it is a sandbox's, whatever the original
is, and no token of the original gets into it (R20).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

PLANNED_STATES = ("scheduled", "deferred", "missed")
"""Posts that go out by themselves, or would once somebody says when."""

_PERSONAS = "SELECT * FROM {source}.personas WHERE id = ANY(%s) ORDER BY id"
_POSTS = (
    "SELECT p.*, EXISTS (SELECT FROM {source}.post_items i WHERE i.post_id = p.id"
    "  AND i.image_candidate_id IS NOT NULL) AS generated FROM {source}.scheduling_posts p"
    " WHERE p.state = ANY(%s) AND p.scheduled_at < %s AND p.account_id IS NOT NULL ORDER BY p.id"
)
_ACCOUNTS = "SELECT * FROM {source}.instagram_accounts WHERE id = ANY(%s) ORDER BY id"
_PICTURES = (
    "SELECT i.post_id, i.position, i.sha256, coalesce(f.persona_id, c.persona_id) AS persona_id,"
    " coalesce(f.media_key, c.media_key) AS media_key, coalesce(f.format, 'PNG') AS format,"
    " coalesce(f.width, c.width) AS width, coalesce(f.height, c.height) AS height,"
    " coalesce(f.byte_count, 0) AS byte_count, coalesce(f.kind, 'still') AS kind,"
    " coalesce(f.kept, 'copy') AS kept, coalesce(f.source_path, '') AS source_path,"
    " f.poster_key, f.poster_sha256, f.duration_seconds, coalesce(f.details, '{{}}'::jsonb) AS details"
    " FROM {source}.post_items i LEFT JOIN {source}.photos f ON f.id = i.photo_id"
    " LEFT JOIN {source}.image_candidates c ON c.id = i.image_candidate_id"
    " WHERE i.post_id = ANY(%s) ORDER BY i.post_id, i.position"
)
_ITEM_COLUMNS = {"post_id", "position", "sha256", "persona_id"}
_NOT_COPIED = frozenset(
    {"cluster_id", "pillar_id", "content_suggestion_id", "run_id", "campaign_id", "creation_id", "media_id"}
    | {"container_created_at", "lease_until", "lease_owner", "leader_epoch", "fence", "published_at"}
    | {"child_creation_ids", "comment_id", "comment_tried_at", "generated"}
)


@dataclass(frozen=True)
class PlannedAccount:
    """An account of the plan, without its token."""

    id: int
    persona_id: int
    ig_user_id: str
    username: str
    login: str


@dataclass(frozen=True)
class CopiedPlan:
    """What was copied."""

    accounts: tuple[PlannedAccount, ...]
    posts: tuple[int, ...]


@dataclass(frozen=True)
class RehearsedPost:
    """What became of a post.

    Attributes:
        planned_at, wall_time, zone: as it was planned at the beginning.
        state: at the end of the days.
        published_at: on the rehearsal's clock.
        late_seconds: after its planned moment; None where it did not go out.
        reason: why it is in its state, for the operator.
    """

    id: int
    persona: str
    username: str
    kind: str
    planned_at: datetime
    wall_time: str
    zone: str
    state: str
    published_at: datetime | None
    late_seconds: float | None
    reason: str


@dataclass(frozen=True)
class Rehearsal:
    """A plan that was played.

    Attributes:
        doubled: containers that the sandbox's ledger shows published more than once.
        lost: posts that the database calls published and the ledger does not know.
        ended: how many posts ended in each state.
        seconds: that it took.
    """

    begun_at: datetime
    days: int
    posts: tuple[RehearsedPost, ...]
    doubled: int
    lost: int
    ended: dict[str, int]
    seconds: float

    @property
    def smooth(self) -> bool:
        """Whether all went out, once each."""
        return set(self.ended) <= {"published"} and not self.doubled and not self.lost


def copy_plan(
    connection: psycopg.Connection[Any], source: str, target: str, *, until: datetime
) -> CopiedPlan:
    """Copy what is planned before a moment into a fresh, migrated schema; accounts are the caller's.

    Args:
        connection: as the owner of both schemas; the transaction is the caller's.
        until: on the source's clock.
    """
    copier = _Copier(connection, source, target)
    posts = copier.read(_POSTS, [list(PLANNED_STATES), until])
    accounts = copier.read(_ACCOUNTS, [sorted({post["account_id"] for post in posts})])
    persona_ids = sorted({post["persona_id"] for post in posts})
    for persona in copier.read(_PERSONAS, [persona_ids]):
        copier.insert("personas", persona)
    return CopiedPlan(
        tuple(
            PlannedAccount(one["id"], one["persona_id"], one["ig_user_id"], one["username"], one["login"])
            for one in accounts
        ),
        tuple(post["id"] for post in posts),
    )


def copy_posts(
    connection: psycopg.Connection[Any],
    source: str,
    target: str,
    plan: CopiedPlan,
    account_ids: dict[int, int],
) -> None:
    """Copy the plan's posts and pictures, once its accounts are there.

    Args:
        account_ids: the accounts' ids in the source and in the copy.
    """
    copier = _Copier(connection, source, target)
    posts = copier.read(
        "SELECT * FROM {source}.scheduling_posts WHERE id = ANY(%s) ORDER BY id", [list(plan.posts)]
    )
    pictures = copier.read(_PICTURES, [list(plan.posts)])
    generated = {
        row["id"]
        for row in copier.read(
            "SELECT DISTINCT post_id AS id FROM {source}.post_items"
            " WHERE post_id = ANY(%s) AND image_candidate_id IS NOT NULL",
            [list(plan.posts)],
        )
    }
    for post in posts:
        values = {name: value for name, value in post.items() if name not in _NOT_COPIED}
        values |= {
            "account_id": account_ids[post["account_id"]],
            "environment": "sandbox",
            "state": "scheduled",
            "reason": "",
            "is_ai_generated": post["is_ai_generated"] or post["id"] in generated,
        }
        copier.insert("scheduling_posts", values)
        for picture in (one for one in pictures if one["post_id"] == post["id"]):
            copier.put_picture(picture)


class _Copier:
    def __init__(self, connection: psycopg.Connection[Any], source: str, target: str) -> None:
        self._connection = connection
        self._names = {"source": sql.Identifier(source), "target": sql.Identifier(target)}
        self._photos: dict[tuple[int, str], int] = {}

    def read(self, statement: str, values: Sequence[object]) -> list[dict[str, Any]]:
        query = sql.SQL(statement).format(**self._names)
        with self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, values).fetchall()

    def insert(self, table: str, values: dict[str, Any]) -> None:
        self._insert(table, values, returning=False)

    def put_picture(self, picture: dict[str, Any]) -> None:
        """A post's picture, whatever it was, becomes a photo of the copy: one for each file."""
        key = (picture["persona_id"], picture["sha256"])
        if key not in self._photos:
            facts = {name: value for name, value in picture.items() if name not in {"post_id", "position"}}
            self._photos[key] = self._insert("photos", facts, returning=True)
        item = {name: picture[name] for name in _ITEM_COLUMNS}
        self.insert("post_items", {**item, "photo_id": self._photos[key]})

    def _insert(self, table: str, values: dict[str, Any], *, returning: bool) -> int:
        from psycopg.types.json import Jsonb

        statement = sql.SQL("INSERT INTO {}.{} ({}) VALUES ({})").format(
            self._names["target"],
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        )
        given = [Jsonb(value) if isinstance(value, dict | list) else value for value in values.values()]
        ending = sql.SQL(" RETURNING id") if returning else sql.SQL("")
        cursor = self._connection.execute(statement + ending, given)
        row = cursor.fetchone() if returning else None
        return int(row[0]) if row is not None else 0


_WHAT_BECAME = (
    "SELECT p.id, n.name AS persona, coalesce(a.username, '') AS username, p.kind, p.state, p.published_at,"
    " p.reason, p.creation_id, p.scheduled_at, p.wall_time, p.zone FROM scheduling_posts p"
    " JOIN personas n ON n.id = p.persona_id LEFT JOIN instagram_accounts a ON a.id = p.account_id"
    " ORDER BY p.id"
)


def read_outcome(
    connection: psycopg.Connection[Any],
    planned: dict[int, tuple[datetime, str, str]],
    ledger: Sequence[dict[str, Any]],
    *,
    begun_at: datetime,
    days: int,
    seconds: float,
) -> Rehearsal:
    """What became of the copy's posts, held against the sandbox's ledger.

    Args:
        planned: each post's moment, wall time and zone at the beginning.
        ledger: the sandbox's entries `published`.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_WHAT_BECAME).fetchall()
    out = Counter(str(entry["container_id"]) for entry in ledger)
    posts = [_rehearsed(row, *planned[row["id"]], begun_at) for row in rows]
    published = [row for row in rows if row["state"] == "published"]
    return Rehearsal(
        begun_at,
        days,
        tuple(sorted(posts, key=lambda post: (post.planned_at, post.id))),
        sum(count - 1 for count in out.values() if count > 1),
        sum(row["creation_id"] not in out for row in published),
        dict(Counter(post.state for post in posts)),
        round(seconds, 1),
    )


def _rehearsed(
    row: dict[str, Any], planned_at: datetime, wall_time: str, zone: str, begun_at: datetime
) -> RehearsedPost:
    published_at = row["published_at"]
    due = max(planned_at, begun_at)
    late = max((published_at - due) / timedelta(seconds=1), 0.0) if published_at is not None else None
    return RehearsedPost(
        row["id"],
        row["persona"],
        row["username"],
        row["kind"],
        planned_at,
        wall_time,
        zone,
        row["state"],
        published_at,
        round(late, 1) if late is not None else None,
        row["reason"],
    )


__all__ = [
    "CopiedPlan",
    "PlannedAccount",
    "Rehearsal",
    "RehearsedPost",
    "copy_plan",
    "copy_posts",
    "read_outcome",
]
