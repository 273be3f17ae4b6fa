"""Tokens that the stand-in has issued: whose they are, what they may do, and when they die."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from persona_tui.sandbox.instagram.errors import refused

LoginName = Literal["instagram", "facebook"]
TokenKind = Literal["account", "user", "page"]

SHORT_SECONDS = 3600.0
LONG_SECONDS = 60 * 24 * 3600.0
YOUNGEST_SECONDS = 24 * 3600.0
"""A token of Instagram Login is renewed only from this age on."""

SCOPES: dict[LoginName, tuple[str, ...]] = {
    "instagram": (
        "instagram_business_basic",
        "instagram_business_content_publish",
        "instagram_business_manage_comments",
        "instagram_business_manage_insights",
    ),
    "facebook": (
        "instagram_basic",
        "instagram_content_publish",
        "instagram_manage_comments",
        "instagram_manage_insights",
        "pages_read_engagement",
        "pages_show_list",
    ),
}
PUBLISH_SCOPES = ("instagram_business_content_publish", "instagram_content_publish")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, login TEXT NOT NULL, kind TEXT NOT NULL, ig_user_ids TEXT NOT NULL,
    scopes TEXT NOT NULL, issued_at REAL NOT NULL, expires_at REAL, dead_subcode INTEGER);
"""
_PREFIX = {"account": "IGAA", "user": "EAAU", "page": "EAAP"}


@dataclass(frozen=True, slots=True)
class Issued:
    """A token. `expires_at` is None for one without an end; `dead_subcode` says why it was ended early."""

    token: str
    login: LoginName
    kind: TokenKind
    ig_user_ids: tuple[str, ...]
    scopes: tuple[str, ...]
    issued_at: float
    expires_at: float | None
    dead_subcode: int | None

    def refuse_if_dead(self, now: float) -> None:
        """Raises:
        Refused: 190, with the subcode of its death.
        """
        if self.dead_subcode is not None:
            raise refused(190, self.dead_subcode)
        if self.expires_at is not None and now >= self.expires_at:
            raise refused(190, 463)

    @property
    def is_short(self) -> bool:
        """Whether it was issued for hours, not weeks."""
        return self.expires_at is not None and self.expires_at - self.issued_at <= SHORT_SECONDS


_caller: ContextVar[Issued | None] = ContextVar("caller", default=None)


@contextmanager
def called_with(token: Issued | None) -> Iterator[None]:
    """The block answers a call that carries this token; None: the sandbox's own bearer."""
    mark = _caller.set(token)
    try:
        yield
    finally:
        _caller.reset(mark)


def caller() -> Issued | None:
    """The token of the call that is being answered."""
    return _caller.get()


class Tokens:
    """The tokens' file. Each writing method is one durable transaction."""

    def __init__(self, path: Path) -> None:
        """Open or make the file."""
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def issue(
        self,
        login: LoginName,
        kind: TokenKind,
        ig_user_ids: tuple[str, ...],
        *,
        scopes: tuple[str, ...],
        now: float,
        seconds: float | None,
    ) -> Issued:
        """A new token; `seconds`: how long it lives, None without an end."""
        token = Issued(
            f"{_PREFIX[kind]}{secrets.token_hex(24)}",
            login,
            kind,
            ig_user_ids,
            scopes,
            now,
            None if seconds is None else now + seconds,
            None,
        )
        self._connection.execute(
            "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                token.token,
                login,
                kind,
                json.dumps(ig_user_ids),
                json.dumps(scopes),
                token.issued_at,
                token.expires_at,
            ),
        )
        return token

    def find(self, token: str) -> Issued | None:
        """The token as it was issued."""
        row = self._connection.execute("SELECT * FROM tokens WHERE token = ?", (token,)).fetchone()
        if row is None:
            return None
        facts = dict(row)
        for name in ("ig_user_ids", "scopes"):
            facts[name] = tuple(json.loads(facts[name]))
        return Issued(**facts)

    def end(self, ig_user_id: str, subcode: int | None, *, token: str | None = None) -> int:
        """End the account's tokens, or the one named, with 190 and this subcode; None revives them."""
        ended = self._connection.execute(
            "UPDATE tokens SET dead_subcode = ? WHERE ig_user_ids LIKE ? AND token = coalesce(?, token)",
            (subcode, f'%"{ig_user_id}"%', token),
        )
        return ended.rowcount
