"""Copies of pictures where Instagram can fetch them: on the first media host, else on the second."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.media_host import Extension, HostedPicture, MediaHostError
from persona_tui.errors import ClientError, PersonaError, StorageError
from persona_tui.models.post import MediaObject
from persona_tui.passed import Passed
from persona_tui.services.publishing import attempts, breakers
from persona_tui.services.publishing.hands import Hands, HostName

log = structlog.get_logger("persona_tui.publishing")


async def host_picture(
    hands: Hands, passed: Passed[bytes] | Passed[Path], position: int, extension: Extension = "jpg"
) -> HostedPicture:
    """Put a picture or film where Instagram can fetch it, remember the copy, and look at it from outside.

    A host whose breaker is open is left out, as long as another is there; what fails on one is tried on the
    next. One from which Instagram could not fetch this post comes behind the other.

    Raises:
        PersonaError: no host takes or shows it; what the first one said.
        LeaseLost: the post is another's by now.
    """
    trouble: PersonaError | None = None
    turns = partial(_in_turn, hosts=hands.tools.hosts, post_id=hands.claim.post_id)
    for name in await hands.db(turns):
        scope = f"host:{name}"
        try:
            hosted = await _put(hands, name, passed, position, extension)
        except (ClientError, StorageError) as problem:
            words = problem.message
            log.warning("media host failed", host=name, post=hands.claim.post_id, problem=words)
            await hands.db(partial(breakers.note_failure, scope=scope, reason=words))
            trouble = trouble or problem
            continue
        return hosted
    raise trouble or MediaHostError("No media host is set.", sent=False)


def blame_host(
    session: Session, post_id: int, attempt_id: int, reason: str, *, position: int | None = None
) -> None:
    """Instagram could not fetch the post's newest copy, though we could: it counts against its host.

    Args:
        position: of the picture in a carousel.
    """
    name = _host_of_newest(session, post_id, position)
    if name is not None:
        breakers.note_failure(session, f"host:{name}", reason)
        attempts.append_reply(session, attempt_id, attempts.FETCH, ok=False, body={"host": name})


def credit_host(session: Session, post_id: int) -> None:
    """Instagram has taken the post's newest copy in; that we can see one ourselves is no proof of it."""
    name = _host_of_newest(session, post_id)
    if name is not None and not breakers.is_open(session, f"host:{name}"):
        breakers.note_success(session, f"host:{name}")


def _host_of_newest(session: Session, post_id: int, position: int | None = None) -> str | None:
    found: str | None = session.execute(
        text(
            "SELECT host FROM media_objects WHERE post_id = :post"
            " AND position = coalesce(CAST(:position AS int), position) ORDER BY id DESC LIMIT 1"
        ),
        {"post": post_id, "position": position},
    ).scalar_one_or_none()
    return found


def _in_turn(session: Session, hosts: Iterable[HostName], post_id: int) -> list[HostName]:
    """The hosts to try; where all breakers are open, the first of them, for somebody has to find out."""
    rows = session.execute(_UNFETCHED, {"post": post_id, "call": attempts.FETCH}).all()
    unfetched = {row.host: row.times for row in rows}
    ordered = sorted(hosts, key=lambda name: unfetched.get(name, 0))
    well = [name for name in ordered if not breakers.is_open(session, f"host:{name}")]
    return well or ordered[:1]


_UNFETCHED = text(
    "SELECT r.body ->> 'host' AS host, count(*) AS times FROM publish_replies r"
    " JOIN publish_attempts t ON t.id = r.attempt_id WHERE t.post_id = :post AND r.call = :call GROUP BY 1"
)


async def _put(
    hands: Hands,
    name: HostName,
    passed: Passed[bytes] | Passed[Path],
    position: int,
    extension: Extension,
) -> HostedPicture:
    host = await to_thread(hands.tools.hosts[name])
    hosted = await host.put(passed, extension=extension)
    post_id = hands.claim.post_id
    await hands.db(lambda session: note_hosted(session, post_id, hosted, position, name))
    await hands.renew()
    await host.check(hosted)
    return hosted


def note_hosted(session: Session, post_id: int, hosted: HostedPicture, position: int, host: HostName) -> None:
    """Remember a copy, so that housekeeping can take it away; its address may be a secret and is not kept."""
    environment = session.execute(text("SELECT environment FROM installation")).scalar_one()
    session.add(
        MediaObject(
            post_id=post_id,
            position=position,
            environment=environment,
            host=host,
            key=hosted.key,
            sha256=hosted.sha256,
            byte_count=hosted.size,
        )
    )
    session.flush()


__all__ = ["blame_host", "credit_host", "host_picture", "note_hosted"]
