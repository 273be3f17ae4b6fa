"""What is asked of Instagram on a post's way, and how an answer that says no ends the round."""

from __future__ import annotations

from typing import NoReturn

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_errors import Step, Verdict, classify
from persona_tui.clients.instagram_facts import ContainerState, ContainerStatus
from persona_tui.clients.instagram_media import NewContainer
from persona_tui.errors import ClientError, PersonaError
from persona_tui.services.publishing import attempts, containers
from persona_tui.services.publishing.hands import Hands
from persona_tui.services.publishing.hosting import blame_host
from persona_tui.services.publishing.outcome import Ending, WrongAccount, ending_of, is_unanswered

TRIES_BEFORE_ASKING = 2
_ENDS_THE_ROUND = frozenset({Verdict.PAUSE_TOKEN, Verdict.STOP, Verdict.WAIT})


async def ask_first(hands: Hands, client: InstagramClient) -> None:
    """After several failures in a row ask something harmless, before work is done and a container is made.

    While the line is cut, or answers are lost, a post is tried often and leaves nothing behind.

    Raises:
        RoundOver: no answer came.
    """
    tries = await hands.db(lambda session: attempts.tries_in_a_row(session, hands.claim.post_id))
    if tries < TRIES_BEFORE_ASKING:
        return
    try:
        await client.publishing_limit()
    except ClientError as problem:
        if not is_unanswered(problem):
            return  # what it means is told by the call that the post needs
        await hands.note(attempts.PROBE, ok=False, error=problem)
        wait = hands.policy.unanswered
        await hands.end(Ending("deferred", problem.message, attempts.RETRIED, wait=wait))


async def make_container(
    hands: Hands, client: InstagramClient, new: NewContainer, *, call: str, position: int | None = None
) -> str:
    """Have a container made and keep the answer; its id.

    Args:
        call: the answer's name in `publish_replies`.
        position: of the picture in a carousel, kept with it.

    Raises:
        RoundOver: Instagram said no.
    """
    facts = {} if position is None else {"position": position}
    try:
        creation_id = await client.create_container(new)
    except ClientError as problem:
        await hands.note(call, ok=False, error=problem, body=facts)
        if classify(problem, Step.CREATE).verdict is Verdict.RETRY_CREATE:
            await unfetched(hands, problem.message, position)
        await end_by(hands, client, problem, Step.CREATE)
    await hands.note(call, ok=True, body={"creation_id": creation_id, **facts})
    return creation_id


async def unfetched(hands: Hands, reason: str, position: int | None = None) -> None:
    """Instagram could not fetch the newest copy: its host has to answer for it."""
    claim = hands.claim
    await hands.db(
        lambda session: blame_host(session, claim.post_id, claim.attempt_id, reason, position=position)
    )


async def read_status(hands: Hands, client: InstagramClient, container: str) -> ContainerStatus | None:
    """A container's state; None when it can't be read now, which says nothing about it.

    Raises:
        RoundOver: the account is throttled, stopped, or has no valid token.
    """
    try:
        status = await client.container_status(container)
    except ClientError as problem:
        # Meta's one answer for a container that expired and for one that never was.
        gone = (problem.code, problem.subcode) == (24, 2207008)
        said = {"status_code": str(ContainerState.EXPIRED)} if gone else {}
        await hands.note(attempts.STATUS, ok=False, error=problem, body={"creation_id": container, **said})
        if classify(problem, Step.STATUS).verdict in _ENDS_THE_ROUND:
            await end_by(hands, client, problem, Step.STATUS)
        return ContainerStatus(ContainerState.EXPIRED, "") if gone else None
    body = {"creation_id": container, "status_code": str(status.status_code), "subcode": status.subcode}
    await hands.note(attempts.STATUS, ok=True, body=body)
    return status


async def seen_twice(hands: Hands, container: str, state: ContainerState) -> bool:
    """Whether this attempt has read that state twice: one reading may be wrong (R13)."""
    attempt_id = hands.claim.attempt_id
    seen = await hands.db(lambda session: containers.times_seen(session, attempt_id, container, state))
    return seen >= 2


async def end_by(hands: Hands, client: InstagramClient, problem: ClientError, step: Step) -> NoReturn:
    """End the round as the error asks for, once it is clear whether the token is at fault.

    Raises:
        RoundOver: always.
    """
    told: PersonaError = problem
    if classify(problem, step).verdict is Verdict.CHECK_ACCESS:
        told = await _access_problem(client) or problem
    await hands.end(ending_of(told, hands.policy, step=step))


async def _access_problem(client: InstagramClient) -> PersonaError | None:
    """Ask whose token it is; the error when it is dead or another account's."""
    try:
        facts = await client.me()
    except ClientError as problem:
        return problem if classify(problem, Step.READ).verdict is Verdict.PAUSE_TOKEN else None
    if facts.ig_user_id != client.ig_user_id:
        return WrongAccount(f"The token is of another account ({facts.username or facts.ig_user_id}).")
    return None


__all__ = ["ask_first", "end_by", "make_container", "read_status", "seen_twice", "unfetched"]
