"""The one call that can't be taken back: `media_publish`, with its intent written before and a last look.

Whatever does not answer with a media id is in doubt, an error of Instagram's included: posts have gone out
behind 400s and 500s (publishing reference, A.6). The reconciler clears it up.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_errors import Step, Verdict, classify
from persona_tui.clients.instagram_facts import MediaFacts, PublishingLimit
from persona_tui.errors import ClientError, PersonaError
from persona_tui.services.publishing import attempts, containers
from persona_tui.services.publishing.accounts import stop_account
from persona_tui.services.publishing.cases import read_case
from persona_tui.services.publishing.claims import LeaseLost, still_mine
from persona_tui.services.publishing.hands import Hands, RoundOver
from persona_tui.services.publishing.listings import listed as listed_items
from persona_tui.services.publishing.listings import with_first_words
from persona_tui.services.publishing.outcome import Ending, ending_of
from persona_tui.services.publishing.policy import CALL_TIMEOUT, nth
from persona_tui.services.publishing.results import bind, keep_read_back

log = structlog.get_logger("persona_tui.publishing")

BASELINE = 100
"""How many of the account's newest items are noted before the call."""


async def send(hands: Hands, client: InstagramClient) -> NoReturn:
    """Publish the post's container and bind the post to what came of it.

    Raises:
        RoundOver: it was published, is in doubt, or waits.
        LeaseLost: the post is another's by now.
    """
    listed, quota = await _baseline(hands, client)
    attempt_id, container = hands.claim.attempt_id, hands.container
    await hands.advance(
        "sending",
        also=lambda session: containers.write_intent(session, attempt_id, container, listed, quota),
    )
    if hands.claim.was_sent:
        await _bind_late_answer(hands, client)
    try:
        media_id = await client.publish(container, last_look=lambda: _last_look(hands))
    except PersonaError as problem:
        await _lose_track(hands, problem)
    log.info("published", post=hands.claim.post_id, media_id=media_id, creation_id=container)
    await hands.note(attempts.PUBLISH, ok=True, body={"media_id": media_id, "creation_id": container})
    await _bind(hands, client, media_id)
    raise RoundOver


async def _bind_late_answer(hands: Hands, client: InstagramClient) -> None:
    """Whoever sent it before may have had its answer meanwhile: then there is nothing to send (R15)."""
    case = await hands.db(lambda session: read_case(session, hands.claim.post_id))
    if case is not None and case.media_id is not None:
        await _bind(hands, client, case.media_id)
        raise RoundOver


def _last_look(hands: Hands) -> None:
    """Called with the connection open, immediately before the request's first byte (R14).

    Raises:
        LeaseLost: too little of the lease is left for the call, the post is another's, or publishing is held.
    """
    margin = CALL_TIMEOUT + hands.policy.send_margin
    if hands.deadline - hands.tools.boot_clock() < margin.total_seconds():
        raise LeaseLost("Too little of the lease is left for the call.")
    with hands.tools.scope() as session:
        if not still_mine(session, hands.claim, margin):
            raise LeaseLost("The post is in other hands, or publishing is held.")


async def _baseline(hands: Hands, client: InstagramClient) -> tuple[list[str], int]:
    """What the account shows before the call: ids of its newest items, and posts used of its quota."""
    try:
        listed = await listed_items(client, hands.claim.kind, limit=BASELINE)
        limit = await client.publishing_limit()
    except ClientError as problem:
        await _leave_unread(hands, problem)
    if limit.quota_usage >= limit.quota_total:
        await _wait_for_quota(hands, limit, listed)
    return [item.id for item in listed], limit.quota_usage


async def _leave_unread(hands: Hands, problem: ClientError) -> NoReturn:
    ruling = classify(problem, Step.READ)
    stops = ruling.verdict in {Verdict.PAUSE_TOKEN, Verdict.STOP, Verdict.WAIT}
    # What was sent before stays publishable, whatever the account's trouble: it may be out already.
    if stops and not hands.claim.was_sent:
        await hands.end(ending_of(problem, hands.policy, step=Step.READ))
    await hands.leave(ruling.wait or nth(hands.policy.backoff, 0), ruling.sentence)


async def _wait_for_quota(hands: Hands, limit: PublishingLimit, listed: tuple[MediaFacts, ...]) -> NoReturn:
    now = await hands.db(_now)
    wait = until_quota_frees(limit, listed, now) or hands.policy.quota_wait
    reason = f"The account has used its {limit.quota_total} posts of the day."
    if hands.claim.was_sent:
        await hands.leave(wait, reason)
    await hands.end(Ending("deferred", reason, "quota", wait=wait))


def until_quota_frees(
    limit: PublishingLimit, listed: tuple[MediaFacts, ...], now: datetime
) -> timedelta | None:
    """How long until the oldest of the last `quota_total` posts leaves the window; None: can't be told."""
    times = sorted((item.timestamp for item in listed if item.timestamp is not None), reverse=True)
    if limit.quota_total < 1 or len(times) < limit.quota_total:
        return None
    wait = times[limit.quota_total - 1] + limit.quota_duration - now
    return wait if wait > timedelta(0) else None


async def _lose_track(hands: Hands, problem: PersonaError) -> NoReturn:
    await hands.note(attempts.PUBLISH, ok=False, error=problem)
    ruling = classify(problem, Step.PUBLISH)
    account_id = hands.claim.account_id

    def stop(session: Session) -> None:
        if ruling.cause is Verdict.PAUSE_TOKEN:
            stop_account(session, account_id, "paused", ruling.sentence)
        elif ruling.cause is Verdict.STOP:
            stop_account(session, account_id, "restricted", ruling.sentence)

    await _doubt(hands, ruling.sentence, stop)
    raise RoundOver


async def _doubt(hands: Hands, reason: str, also: Callable[[Session], None] | None = None) -> None:
    await hands.advance("unknown", also=also, lease=timedelta(0), owner="", reason=reason)


async def _bind(hands: Hands, client: InstagramClient, media_id: str) -> None:
    claim = hands.claim
    try:
        hands.claim = await hands.db(lambda session: bind(session, claim, media_id, found_by="reply"))
    except IntegrityError:
        await _doubt(hands, "Instagram named an item that another post is bound to.")
        return
    await _read_back(hands, client, media_id)


async def _read_back(hands: Hands, client: InstagramClient, media_id: str) -> None:
    """Address, label and alternative text as the world sees them; a read that fails changes nothing."""
    post_id = hands.claim.post_id
    try:
        facts = await with_first_words(client, await client.media(media_id))
    except ClientError as problem:
        log.info("a published post can't be read back", post=post_id, problem=problem.message)
        return
    await hands.db(lambda session: keep_read_back(session, post_id, facts))


def _now(session: Session) -> datetime:
    now: datetime = session.execute(text("SELECT persona_now()")).scalar_one()
    return now


__all__ = ["BASELINE", "send", "until_quota_frees"]
