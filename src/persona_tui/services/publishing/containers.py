"""What the evidence of an open attempt says of its container: how often it was seen, how old it is."""

from __future__ import annotations

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram_facts import ContainerState
from persona_tui.services.publishing.attempts import CREATE, CREATE_CHILD, STATUS
from persona_tui.services.publishing.policy import CONTAINER_OVER


def name_container(session: Session, attempt_id: int, creation_id: str) -> None:
    """Write the container into the attempt."""
    session.execute(
        text("UPDATE publish_attempts SET creation_id = :creation WHERE id = :id"),
        {"id": attempt_id, "creation": creation_id},
    )


def looks(session: Session, attempt_id: int, creation_id: str) -> int:
    """How often the container's state was asked for."""
    return _count(session, attempt_id, "call = :call AND body ->> 'creation_id' = :creation", creation_id)


def times_seen(session: Session, attempt_id: int, creation_id: str, state: ContainerState) -> int:
    """How often the container was seen in this state."""
    seen = "call = :call AND body ->> 'creation_id' = :creation AND body ->> 'status_code' = :state"
    return _count(session, attempt_id, seen, creation_id, str(state))


def containers_made(session: Session, attempt_id: int) -> int:
    """How many containers the attempt has made."""
    made: int = session.execute(
        text("SELECT count(*) FROM publish_replies WHERE attempt_id = :id AND call = :call AND ok"),
        {"id": attempt_id, "call": CREATE},
    ).scalar_one()
    return made


def children_made(session: Session, attempt_id: int, position: int) -> int:
    """How many containers the attempt has made of that picture of a carousel."""
    made: int = session.execute(
        text(
            "SELECT count(*) FROM publish_replies WHERE attempt_id = :id AND call = :call AND ok"
            " AND body ->> 'position' = CAST(:position AS text)"
        ),
        {"id": attempt_id, "call": CREATE_CHILD, "position": str(position)},
    ).scalar_one()
    return made


def container_is_over(session: Session, post_id: int) -> bool:
    """Whether the post's container is older than 25 hours by the database's clock (R13)."""
    found = session.execute(
        text(
            "SELECT coalesce(container_created_at <= persona_now() - CAST(:life AS interval), false)"
            " FROM scheduling_posts WHERE id = :id"
        ),
        {"id": post_id, "life": CONTAINER_OVER},
    )
    return bool(found.scalar_one())


def write_intent(session: Session, attempt_id: int, creation_id: str, listed: list[str], quota: int) -> None:
    """Write down what is about to be sent, and what the account showed before.

    A second sending of the same container keeps the first one's time and baseline: what the first may
    have published must still count as new.
    """
    session.execute(
        text(
            "UPDATE publish_attempts SET creation_id = :creation, media_before = CASE WHEN sent_at IS NULL"
            " THEN to_jsonb(CAST(:listed AS text[])) ELSE media_before END,"
            " quota_before = CASE WHEN sent_at IS NULL THEN :quota ELSE quota_before END,"
            " sent_at = coalesce(sent_at, persona_now()) WHERE id = :id"
        ),
        {"id": attempt_id, "creation": creation_id, "listed": listed, "quota": quota},
    )


def _count(session: Session, attempt_id: int, where: str, creation_id: str, state: str | None = None) -> int:
    count: int = session.execute(
        text(f"SELECT count(*) FROM publish_replies WHERE attempt_id = :id AND {where}"),
        {"id": attempt_id, "call": STATUS, "creation": creation_id, "state": state},
    ).scalar_one()
    return count


__all__ = [
    "children_made",
    "container_is_over",
    "containers_made",
    "looks",
    "name_container",
    "times_seen",
    "write_intent",
]
