"""Comments below published items: writing one, and reading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from persona_tui.sandbox.control import SandboxContext
from persona_tui.sandbox.instagram.errors import refused
from persona_tui.sandbox.instagram.fields import Field, graph_time, pick
from persona_tui.sandbox.instagram.parameters import text
from persona_tui.sandbox.instagram.store import Account, Comment, Media, Store

MAX_COMMENT = 2200
_PAGE, _LARGEST_PAGE = 25, 50


@dataclass(frozen=True)
class Comments:
    """The calls about comments."""

    context: SandboxContext
    store: Store

    def create(self, item: Media, account: Account, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`POST /{media_id}/comments`. What is written is on disk and in the ledger on return.

        Raises:
            Refused: as Meta would; 20/1772107 after the comment was written, where `fields` came along.
        """
        words = text(asked, "message")
        self.context.ledger.append("comment_called", ig_user_id=account.ig_user_id, media_id=item.id)
        if not words or len(words) > MAX_COMMENT:
            raise refused(100, None, "(#100) message must hold 1 to 2200 characters")
        if item.product == "STORY":
            raise refused(100, None, "(#100) A story takes no comments")
        self.context.received.note("create_comment", "text", words)
        now = self._now()
        delay = self.context.rng.uniform(*self.store.behaviour().comment_delay)
        comment_id = self.store.add_comment(item.id, account.username, words, now=now, visible_at=now + delay)
        self.context.ledger.append(
            "commented",
            ig_user_id=account.ig_user_id,
            media_id=item.id,
            comment_id=comment_id,
            text=words,
        )
        if "fields" in asked:
            raise refused(20, 1772107)
        return {"id": comment_id}

    def listing(self, item: Media, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`GET /{media_id}/comments`, newest first; `after` is the place in the list."""
        found = self.store.comments_of(item.id, now=self._now())
        begin = int(asked["after"]) if str(asked.get("after", "")).isdigit() else 0
        size = min(max(int(asked.get("limit", _PAGE)), 1), _LARGEST_PAGE)
        shown = found[begin : begin + size]
        fields = asked.get("fields") or "timestamp,text,id"
        answer: dict[str, Any] = {"data": [pick(fields, _fields(one), "IGComment") for one in shown]}
        if begin + size < len(found):
            answer["paging"] = {"cursors": {"after": str(begin + size)}, "next": "more"}
        return answer

    def _now(self) -> float:
        return self.context.clock.now().timestamp()


def _fields(comment: Comment) -> dict[str, Field]:
    return {
        "id": lambda: comment.id,
        "text": lambda: comment.text,
        "timestamp": lambda: graph_time(comment.written_at),
        "username": lambda: comment.username,
    }
