"""What changed, told to every process after the commit: NOTIFY {topic, id} and one listener per process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import psycopg
from sqlmodel import Session

from persona_tui.database.driver import rows_of

Topic = Literal[
    "persona",
    "pillar",
    "idea",
    "run",
    "candidate",
    "vote",
    "cluster",
    "photo",
    "post",
    "account",
    "lora",
    "dataset",
    "consent",
    "training",
    "pipeline",
    "job",
    "leader",
]


@dataclass(frozen=True)
class DomainEvent:
    """Something with this topic and id changed; readers read again. `topic` None: anything may have."""

    topic: Topic | None
    id: int


def emit(session: Session, topic: Topic, identifier: int) -> None:
    """Tell all processes, if and when the session's transaction commits."""
    emit_all(session, ((topic, identifier),))


def emit_all(session: Session, told: Sequence[tuple[Topic, int]]) -> None:
    """Tell all processes several things at once, if and when the session's transaction commits."""
    rows_of(session, _NOTIFY, {"payloads": [payload(topic, identifier) for topic, identifier in told]})


def payload(topic: Topic, identifier: int) -> str:
    """What listeners are told, for statements that tell it themselves on `CHANNEL`."""
    return json.dumps({"topic": topic, "id": identifier})


CHANNEL = "'persona_events_' || current_schema()"
"""SQL for the channel that this schema's processes listen on."""


_NOTIFY = f"SELECT pg_notify({CHANNEL}, payload) FROM unnest(CAST(:payloads AS text[])) AS payload"


async def listen(conninfo: str, schema: str) -> AsyncIterator[DomainEvent]:
    """Yield events until the connection ends; the first one is an 'anything may have changed'.

    Raises:
        psycopg.OperationalError: the database went away; the caller waits and listens again.
    """
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    async with connection:
        channel = psycopg.sql.Identifier(f"persona_events_{schema}")
        await connection.execute(psycopg.sql.SQL("LISTEN {}").format(channel))
        yield DomainEvent(None, 0)
        async for notification in connection.notifies():
            told = json.loads(notification.payload)
            yield DomainEvent(cast(Topic, told["topic"]), int(told["id"]))
            await asyncio.sleep(0)
