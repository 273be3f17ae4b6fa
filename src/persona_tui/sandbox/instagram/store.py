"""What Instagram remembers: accounts, containers and media, in SQLite, so that a restart forgets nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persona_tui.sandbox.instagram.behaviour import Behaviour

DEFAULT_ACCOUNT = ("17841400000000001", "sandbox_studio")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    ig_user_id TEXT PRIMARY KEY, username TEXT NOT NULL, is_me INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS containers (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, ig_user_id TEXT NOT NULL REFERENCES accounts,
    kind TEXT NOT NULL, caption TEXT, alt_text TEXT, is_ai_generated INTEGER NOT NULL,
    picture_sha256 TEXT, children TEXT NOT NULL, created_at REAL NOT NULL, ready_at REAL NOT NULL,
    error_subcode INTEGER, extras TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS media (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, ig_user_id TEXT NOT NULL REFERENCES accounts,
    container_id TEXT, parent_id TEXT, media_type TEXT NOT NULL, caption TEXT, alt_text TEXT,
    alt_text_readable INTEGER NOT NULL, is_ai_generated INTEGER NOT NULL, picture_sha256 TEXT,
    published_at REAL NOT NULL, visible_at REAL NOT NULL, extras TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS comments (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, media_id TEXT NOT NULL, username TEXT NOT NULL,
    text TEXT NOT NULL, written_at REAL NOT NULL, visible_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS media_listed ON media (ig_user_id, published_at);
CREATE INDEX IF NOT EXISTS media_of_container ON media (container_id);
CREATE TABLE IF NOT EXISTS behaviour (one INTEGER PRIMARY KEY CHECK (one = 1), json TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Account:
    """A professional account. `is_me`: the one whose token is in use, as `/me` tells."""

    ig_user_id: str
    username: str
    is_me: bool


@dataclass(frozen=True, slots=True)
class Container:
    """A media container.

    Attributes:
        kind: IMAGE, CHILD, CAROUSEL, REELS or STORIES.
        picture_sha256: of the picture or the film.
        created_at, ready_at: Unix seconds of the sandbox.
        extras: what else was asked for, and what the crawler saw (`film`, `shape`).
    """

    id: str
    ig_user_id: str
    kind: str
    caption: str | None
    alt_text: str | None
    is_ai_generated: bool
    picture_sha256: str | None
    children: tuple[str, ...]
    created_at: float
    ready_at: float
    error_subcode: int | None
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment below a published item."""

    id: str
    media_id: str
    username: str
    text: str
    written_at: float
    visible_at: float


@dataclass(frozen=True, slots=True)
class Media:
    """A published item; `container_id` is None where a phone published it, `parent_id` set in a carousel.

    `extras`: tags, place and the like as they were asked for; `product` (FEED, REELS, STORY) among them.
    """

    id: str
    ig_user_id: str
    container_id: str | None
    parent_id: str | None
    media_type: str
    caption: str | None
    alt_text: str | None
    alt_text_readable: bool
    is_ai_generated: bool
    picture_sha256: str | None
    published_at: float
    visible_at: float
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def product(self) -> str:
        """Where it is shown: FEED, REELS or STORY."""
        return str(self.extras.get("product", "FEED"))


class Store:
    """The database file. Each writing method is one durable transaction."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; a new one has the default account."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)
        self._add_missing_columns()
        if not self.accounts():
            self.add_account(*DEFAULT_ACCOUNT, is_me=True)

    def _add_missing_columns(self) -> None:
        """A file of an older sandbox knows single pictures alone."""
        for table in ("containers", "media"):
            columns = {row["name"] for row in self._connection.execute(f"PRAGMA table_info({table})")}
            if "extras" not in columns:
                self._connection.execute(
                    f"ALTER TABLE {table} ADD COLUMN extras TEXT NOT NULL DEFAULT '{{}}'"
                )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def accounts(self) -> list[Account]:
        """All accounts."""
        rows = self._connection.execute("SELECT * FROM accounts ORDER BY rowid")
        return [Account(row["ig_user_id"], row["username"], bool(row["is_me"])) for row in rows]

    def account(self, ig_user_id: str) -> Account | None:
        """The account of that id."""
        row = self._connection.execute(
            "SELECT * FROM accounts WHERE ig_user_id = ?", (ig_user_id,)
        ).fetchone()
        return None if row is None else Account(row["ig_user_id"], row["username"], bool(row["is_me"]))

    def add_account(self, ig_user_id: str, username: str, *, is_me: bool = False) -> None:
        """Add an account or change its name; at most one account is me."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            if is_me:
                self._connection.execute("UPDATE accounts SET is_me = 0")
            self._connection.execute(
                "INSERT INTO accounts VALUES (?, ?, ?) ON CONFLICT (ig_user_id) DO UPDATE "
                "SET username = excluded.username, is_me = excluded.is_me",
                (ig_user_id, username, is_me),
            )

    def behaviour(self) -> Behaviour:
        """How the stand-in behaves."""
        row = self._connection.execute("SELECT json FROM behaviour").fetchone()
        return Behaviour() if row is None else Behaviour.model_validate_json(row["json"])

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """Behave like this from now on."""
        self._connection.execute(
            "INSERT INTO behaviour VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET json = excluded.json",
            (behaviour.model_dump_json(),),
        )

    def next_container_id(self) -> str:
        """An id that no container has had, in the shape of Meta's."""
        return f"1799{self._next('containers'):013d}"

    def next_media_ids(self, count: int) -> list[str]:
        """Ids that no media has had, in the shape of Meta's."""
        first = self._next("media")
        return [f"1806{first + more:013d}" for more in range(count)]

    def _next(self, table: str) -> int:
        (highest,) = self._connection.execute(f"SELECT coalesce(max(n), 0) FROM {table}").fetchone()
        return int(highest) + 1

    def add_container(self, container: Container) -> None:
        """Remember a new container."""
        self._connection.execute(
            "INSERT INTO containers VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                container.id,
                container.ig_user_id,
                container.kind,
                container.caption,
                container.alt_text,
                container.is_ai_generated,
                container.picture_sha256,
                json.dumps(container.children),
                container.created_at,
                container.ready_at,
                container.error_subcode,
                json.dumps(container.extras),
            ),
        )

    def container(self, container_id: str) -> Container | None:
        """The container of that id."""
        row = self._connection.execute("SELECT * FROM containers WHERE id = ?", (container_id,)).fetchone()
        if row is None:
            return None
        facts = dict(row)
        del facts["n"]
        facts["children"] = tuple(json.loads(facts["children"]))
        facts["extras"] = json.loads(facts["extras"])
        facts["is_ai_generated"] = bool(facts["is_ai_generated"])
        return Container(**facts)

    def containers_since(self, ig_user_id: str, moment: float) -> int:
        """How many containers the account made after that moment."""
        (count,) = self._connection.execute(
            "SELECT count(*) FROM containers WHERE ig_user_id = ? AND created_at > ?", (ig_user_id, moment)
        ).fetchone()
        return int(count)

    def add_media(self, items: list[Media]) -> None:
        """Remember what was published together: all of it or nothing."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for item in items:
                self._connection.execute(
                    "INSERT INTO media VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        item.id,
                        item.ig_user_id,
                        item.container_id,
                        item.parent_id,
                        item.media_type,
                        item.caption,
                        item.alt_text,
                        item.alt_text_readable,
                        item.is_ai_generated,
                        item.picture_sha256,
                        item.published_at,
                        item.visible_at,
                        json.dumps(item.extras),
                    ),
                )

    def _media(self, where: str, *values: object) -> list[Media]:
        rows = self._connection.execute(f"SELECT * FROM media WHERE {where}", values)
        return [_media_from(row) for row in rows]

    def media(self, media_id: str) -> Media | None:
        """The item of that id."""
        return next(iter(self._media("id = ?", media_id)), None)

    def media_of_container(self, container_id: str) -> list[Media]:
        """What was published from that container, first first; children of a carousel left out."""
        return self._media("container_id = ? AND parent_id IS NULL ORDER BY n", container_id)

    def children_of(self, media_id: str) -> list[Media]:
        """A carousel's items in order."""
        return self._media("parent_id = ? ORDER BY n", media_id)

    def listed(
        self, ig_user_id: str, *, now: float, since: float, until: float, stories: bool = False
    ) -> list[Media]:
        """What the account's listing of posts, or of stories, shows at `now`, newest first."""
        product = "= 'STORY'" if stories else "<> 'STORY'"
        return self._media(
            "ig_user_id = ? AND parent_id IS NULL AND visible_at <= ? AND published_at BETWEEN ? AND ? "
            f"AND coalesce(extras ->> '$.product', 'FEED') {product} "
            "ORDER BY published_at DESC, n DESC LIMIT 10000",
            ig_user_id,
            now,
            since,
            until,
        )

    def published_since(self, ig_user_id: str, moment: float) -> int:
        """How many posts the account made through the API after that moment."""
        return len(
            self._media(
                "ig_user_id = ? AND container_id IS NOT NULL AND parent_id IS NULL AND published_at > ?",
                ig_user_id,
                moment,
            )
        )

    def all_published(self) -> list[Media]:
        """All items that are no carousel's children, oldest first."""
        return self._media("parent_id IS NULL ORDER BY n")

    def add_comment(self, media_id: str, username: str, text: str, *, now: float, visible_at: float) -> str:
        """Remember a comment; its id, in the shape of Meta's."""
        comment_id = f"1784{self._next('comments'):013d}"
        self._connection.execute(
            "INSERT INTO comments VALUES (NULL, ?, ?, ?, ?, ?, ?)",
            (comment_id, media_id, username, text, now, visible_at),
        )
        return comment_id

    def comments_of(self, media_id: str, *, now: float) -> list[Comment]:
        """The comments below an item that show at `now`, newest first."""
        rows = self._connection.execute(
            "SELECT id, media_id, username, text, written_at, visible_at FROM comments"
            " WHERE media_id = ? AND visible_at <= ? ORDER BY n DESC",
            (media_id, now),
        )
        return [Comment(*row) for row in rows]


def _media_from(row: sqlite3.Row) -> Media:
    facts = dict(row)
    del facts["n"]
    for name in ("alt_text_readable", "is_ai_generated"):
        facts[name] = bool(facts[name])
    facts["extras"] = json.loads(facts["extras"])
    return Media(**facts)
