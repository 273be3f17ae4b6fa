"""A post in doubt, with all that the database knows about it: for the reconciler and for a person's look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram_facts import ContainerState
from persona_tui.services import events
from persona_tui.services.publishing.attempts import LOOK, PUBLISH, READ, Reply, replies_of_open_attempt
from persona_tui.services.publishing.claims import Claim, abandoned, take_over
from persona_tui.services.publishing.listings import expected_of
from persona_tui.services.publishing.owners import IsDead
from persona_tui.services.publishing.signals import Expected, Reading, Sent

DOUBT_STATES = ("unknown", "reconciling")


@dataclass(frozen=True)
class Case:
    """A post whose sending ended in doubt.

    Attributes:
        claim: the post; owned only where `take_case` made it.
        sent_at: of the first publish call.
        known: ids that can't be the post: listed before, bound to other posts, or candidates of others.
        replies: the attempt's evidence, oldest first.
        account_status: of its account.
        now: the database's clock when this was read.
    """

    claim: Claim
    expected: Expected
    sent: Sent
    sent_at: datetime
    known: frozenset[str]
    replies: tuple[Reply, ...]
    account_status: str
    now: datetime

    @property
    def media_id(self) -> str | None:
        """The item that Instagram named in an answer to this container's sending (R15)."""
        for reply in self.replies:
            if reply.call == PUBLISH and reply.ok and reply.body.get("creation_id") == self.claim.creation_id:
                return str(reply.body["media_id"])
        return None

    @property
    def surely_unsent(self) -> bool:
        """Whether the last publish call provably left no byte on the wire."""
        calls = [reply for reply in self.replies if reply.call == PUBLISH]
        return bool(calls) and not calls[-1].ok and calls[-1].body.get("sent") is False

    @property
    def published_by(self) -> datetime | None:
        """When the container first said that it is published; None: it has not."""
        said = (reading.at for reading in self.readings if reading.container is ContainerState.PUBLISHED)
        return next(said, None)

    @property
    def readings(self) -> list[Reading]:
        """The looks at Instagram since the last publish call ended, the newest last."""
        last = max((reply.id for reply in self.replies if reply.call == PUBLISH), default=0)
        return [
            Reading.from_json(reply.received_at, reply.body)
            for reply in self.replies
            if reply.id > last and reply.ok and reply.call in {READ, LOOK}
        ]


def cases_waiting(session: Session, is_dead: IsDead) -> list[tuple[int, int]]:
    """Posts in doubt that nobody works on and that are to be looked at now: id and fence."""
    return [(post_id, fence) for post_id, _, fence in abandoned(session, DOUBT_STATES, is_dead)]


def take_case(session: Session, post_id: int, fence: int, *, lease: timedelta, owner: str) -> Case | None:
    """Own a post in doubt, or None when another was quicker."""
    taken = take_over(session, post_id, fence)
    if taken is None:
        return None
    session.execute(
        text(
            "UPDATE scheduling_posts SET state = 'reconciling', lease_owner = :owner,"
            " lease_until = persona_now() + CAST(:lease AS interval) WHERE id = :id"
        ),
        {"id": post_id, "owner": owner, "lease": lease},
    )
    session.execute(
        text("UPDATE publish_attempts SET fence = :fence, owner = :owner WHERE post_id = :id AND open"),
        {"id": post_id, "fence": taken, "owner": owner},
    )
    events.emit(session, "post", post_id)
    return read_case(session, post_id)


def read_case(session: Session, post_id: int) -> Case | None:
    """A post with an open attempt that was sent; None when it has none."""
    row = session.execute(_CASE, {"post": post_id}).mappings().one_or_none()
    if row is None:
        return None
    claim = Claim(
        post_id,
        row["account_id"],
        row["persona_id"],
        row["attempt_id"],
        row["fence"],
        row["state"],
        row["kind"],
        row["creation_id"],
        row["now"] - row["made_at"],
        was_sent=True,
    )
    expected = expected_of(
        row["kind"],
        row["caption"],
        row["hashtags"],
        row["alt_text"],
        labelled=row["is_ai_generated"],
        pictures=row["pictures"],
    )
    known = frozenset(row["media_before"]) | _taken_elsewhere(session, claim)
    return Case(
        claim,
        expected,
        Sent(row["made_at"], row["quota_before"]),
        row["sent_at"],
        known,
        replies_of_open_attempt(session, post_id),
        row["status"],
        row["now"],
    )


# A generated picture is always sent with its label, whatever the post's row says.
_CASE = text(
    "SELECT p.account_id, p.persona_id, t.id AS attempt_id, p.fence, p.state, p.kind, p.creation_id,"
    " coalesce(p.container_created_at, t.sent_at) AS made_at, t.sent_at, t.media_before, t.quota_before,"
    " p.caption, p.hashtags, p.alt_text, p.is_ai_generated OR EXISTS (SELECT FROM post_items i"
    "   WHERE i.post_id = p.id AND i.image_candidate_id IS NOT NULL) AS is_ai_generated,"
    " (SELECT count(*) FROM post_items i WHERE i.post_id = p.id) AS pictures,"
    " a.status, persona_now() AS now"
    " FROM scheduling_posts p JOIN publish_attempts t ON t.post_id = p.id AND t.open"
    " JOIN instagram_accounts a ON a.id = p.account_id"
    " WHERE p.id = :post AND t.sent_at IS NOT NULL AND p.creation_id IS NOT NULL"
)


def _taken_elsewhere(session: Session, claim: Claim) -> frozenset[str]:
    """Items of other posts, and those that may be posts of this account that wait for a person (R17)."""
    rows = session.execute(
        text(
            "SELECT media_id FROM scheduling_posts WHERE media_id IS NOT NULL AND id <> :post"
            " UNION SELECT jsonb_object_keys(r.body -> 'candidates') FROM publish_replies r"
            " JOIN publish_attempts t ON t.id = r.attempt_id AND t.open"
            " JOIN scheduling_posts p ON p.id = t.post_id"
            " WHERE p.account_id = :account AND p.id <> :post AND p.state IN ('needs_human', 'paused')"
            " AND r.call IN (:read, :look) AND jsonb_typeof(r.body -> 'candidates') = 'object'"
        ),
        {"post": claim.post_id, "account": claim.account_id, "read": READ, "look": LOOK},
    )
    return frozenset(rows.scalars().all())


__all__ = ["Case", "cases_waiting", "read_case", "take_case"]
