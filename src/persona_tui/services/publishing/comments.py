"""The first comment of a post that is out: written once, whatever becomes of the answer.

    waiting → sending → posted
                ↘ unknown → posted | sending | failed

Before each call the comments below the post are read: a comment of ours that is there is never written again,
so that neither a lost answer nor a restored database doubles it. The intent (`sending`, and when) is
committed before the call; whoever finds it old takes it for unknown. An unknown one is looked for, and sent
again only when it has not shown up for long. Error 20/1772107 means that Instagram did write it.
"""

from __future__ import annotations

import unicodedata
from asyncio import to_thread
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlmodel import Session

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_errors import Ruling, Step, Verdict, classify
from persona_tui.clients.instagram_facts import CommentFacts
from persona_tui.errors import ClientError, GuardRefused, PersonaError
from persona_tui.services.clock_watch import boot_seconds
from persona_tui.services.publishing import attempts
from persona_tui.services.publishing.accounts import keep_quiet, stop_account
from persona_tui.services.publishing.claims import LeaseLost
from persona_tui.services.publishing.comment_cases import (
    CommentCase,
    bind_comment,
    due_comments,
    move_comment,
    pass_comment,
    read_comment,
    still_mine,
    write_intent,
)
from persona_tui.services.publishing.crew import Crew
from persona_tui.services.publishing.grants import MakeClient, client_of
from persona_tui.services.publishing.policy import CommentPolicy, nth
from persona_tui.services.publishing.staging import SessionScope
from persona_tui.services.secrets import Keyring
from persona_tui.settings import Settings

log = structlog.get_logger("persona_tui.publishing")

R = TypeVar("R")

WRITTEN_ALL_THE_SAME = (20, 1772107)
"""Meta's error for an answer that it can't put into words: the comment stands there."""
_NO_PERMISSION = frozenset({3, 10, *range(200, 300)})
_REFUSED_FOR_GOOD = frozenset({Verdict.FIX, Verdict.CHECK_ACCESS})


@dataclass(frozen=True)
class CommentReport:
    """What a round did: (post id, state of its comment) of each that was looked at."""

    ended: tuple[tuple[int, str], ...] = ()


class CommentRound:
    """Writes first comments, of all accounts."""

    def __init__(
        self,
        scope: SessionScope,
        *,
        make_client: MakeClient,
        keyring: Keyring,
        settings: Settings,
        policy: CommentPolicy | None = None,
        boot_clock: Callable[[], float] = boot_seconds,
    ) -> None:
        """Args:
        scope: opens a transaction.
        make_client: makes an account's client from its Instagram id, token and login.
        policy: times; default: those of the settings' environment.
        boot_clock: seconds that go on in suspend, for tests.
        """
        self._scope = scope
        self._make_client = make_client
        self._keyring = keyring
        self._policy = policy or CommentPolicy.of(settings.environment)
        self._boot_clock = boot_clock
        self._crew: Crew[tuple[int, str]] = Crew(self._policy.at_once)
        self._looks: dict[int, tuple[int, float]] = {}

    async def tick(self) -> CommentReport:
        """One round by the database's clock: write what waits, look for what is unknown.

        Raises:
            DatabaseError: the database is away; the next round goes on.
        """
        for post_id in await self._db(lambda session: due_comments(session, self._policy)):
            if not self._crew.busy(post_id) and self._may_look(post_id):
                self._crew.begin(post_id, partial(self._serve, post_id))
        return CommentReport(await self._crew.collect(self._policy.patience))

    async def aclose(self, patience: float = 10.0) -> None:
        """Let comments under way end."""
        await self._crew.aclose(patience)

    def _may_look(self, post_id: int) -> bool:
        """Whether the pause since the last look is over; more and more time lies between two looks."""
        count, earliest = self._looks.get(post_id, (0, 0.0))
        clock = self._boot_clock()
        if clock < earliest:
            return False
        self._looks[post_id] = (count + 1, clock + nth(self._policy.pauses, count).total_seconds())
        return True

    async def _db(self, work: Callable[[Session], R]) -> R:
        def in_thread() -> R:
            with self._scope() as session:
                return work(session)

        return await to_thread(in_thread)

    # One comment

    async def _serve(self, post_id: int) -> tuple[int, str]:
        case = await self._db(lambda session: read_comment(session, post_id))
        if case is None:
            return post_id, "gone"
        state = await self._with_client(case)
        if state in {"posted", "failed"}:
            self._looks.pop(post_id, None)
        return post_id, state

    async def _with_client(self, case: CommentCase) -> str:
        if case.state == "sending":
            reason = "The program ended while the comment was being written."
            return await self._settle(case, "unknown", reason)
        try:
            client = await to_thread(self._client_of, case.account_id)
        except PersonaError as problem:
            return await self._settle(case, case.state, problem.message)
        try:
            return await self._go_on(case, client)
        finally:
            await client.aclose()

    def _client_of(self, account_id: int) -> InstagramClient:
        with self._scope() as session:
            return client_of(session, self._keyring, self._make_client, account_id)

    async def _go_on(self, case: CommentCase, client: InstagramClient) -> str:
        found = await _read(client.comments(case.media_id))
        if isinstance(found, PersonaError):
            return await self._unreadable(case, found)
        ours = _ours(found, case)
        if ours is not None:
            return await self._posted(case, ours.id, found_by="listing")
        if case.state == "unknown":
            assert case.tried_at is not None
            if case.now - case.tried_at < self._policy.quiet:
                return "unknown"
            if case.sends >= self._policy.sends:
                reason = f"It was sent {case.sends}× and never showed up. Look at the post."
                return await self._settle(case, "failed", reason)
        return await self._send(case, client)

    async def _unreadable(self, case: CommentCase, problem: PersonaError) -> str:
        ruling = classify(problem, Step.STATUS)
        await self._stop_by(case, ruling, problem)
        refused = _is_refusal(problem, ruling)
        if case.state == "waiting" and refused:
            return await self._settle(case, "failed", ruling.sentence)
        if case.tried_at is not None and case.now - case.tried_at >= self._policy.give_up:
            reason = f"Nobody could find out whether it was written. {ruling.sentence}"
            return await self._settle(case, "failed", reason)
        return await self._settle(case, case.state, ruling.sentence)

    async def _send(self, case: CommentCase, client: InstagramClient) -> str:
        try:
            words = await self._db(lambda session: pass_comment(session, case))
        except GuardRefused as refused:
            return await self._settle(case, "failed", refused.message)
        intent = await self._db(lambda session: write_intent(session, case))
        if intent is None:
            return "taken"
        deadline = self._boot_clock() + self._policy.send_within.total_seconds()
        try:
            comment_id = await client.create_comment(
                case.media_id, words, last_look=lambda: self._last_look(intent, deadline)
            )
        except PersonaError as problem:
            await self._note(intent, ok=False, error=problem)
            return await self._after_trouble(intent, client, problem)
        await self._note(intent, ok=True, body={"comment_id": comment_id})
        return await self._posted(intent, comment_id, found_by="reply")

    def _last_look(self, intent: CommentCase, deadline: float) -> None:
        """Immediately before the request's first byte (R14).

        Raises:
            LeaseLost: too much time went by, another took it for unknown, or publishing is held.
        """
        if self._boot_clock() > deadline:
            raise LeaseLost("Too much time went by before the call.")
        with self._scope() as session:
            if not still_mine(session, intent, self._policy):
                raise LeaseLost("The comment is in other hands, or publishing is held.")

    async def _after_trouble(
        self, intent: CommentCase, client: InstagramClient, problem: PersonaError
    ) -> str:
        ruling = classify(problem, Step.PUBLISH)
        if ruling.verdict is Verdict.RETRY:
            return await self._settle(intent, "waiting", ruling.sentence)
        await self._stop_by(intent, ruling, problem)
        found = await _read(client.comments(intent.media_id))
        ours = None if isinstance(found, PersonaError) else _ours(found, intent)
        if ours is not None:
            return await self._posted(intent, ours.id, found_by="listing")
        if isinstance(problem, ClientError) and (problem.code, problem.subcode) == WRITTEN_ALL_THE_SAME:
            return await self._posted(intent, None, found_by="error 20/1772107")
        state = "failed" if _is_refusal(problem, ruling) else "unknown"
        return await self._settle(intent, state, getattr(problem, "message", ruling.sentence))

    async def _stop_by(self, case: CommentCase, ruling: Ruling, problem: PersonaError) -> None:
        """What the answer means for the account; a missing permission for comments stops nothing else."""

        def work(session: Session) -> None:
            if ruling.cause is Verdict.PAUSE_TOKEN:
                stop_account(session, case.account_id, "paused", ruling.sentence)
            elif ruling.cause is Verdict.STOP and not _lacks_permission(problem):
                stop_account(session, case.account_id, "restricted", ruling.sentence)
            elif ruling.cause is Verdict.WAIT:
                keep_quiet(session, case.account_id, ruling.wait or self._policy.quiet)

        await self._db(work)

    async def _note(self, case: CommentCase, **facts: Any) -> None:
        attempt_id = case.attempt_id
        if attempt_id is not None:
            await self._db(
                lambda session: attempts.append_reply(session, attempt_id, attempts.COMMENT, **facts)
            )

    async def _posted(self, case: CommentCase, comment_id: str | None, *, found_by: str) -> str:
        log.info("first comment written", post=case.post_id, comment_id=comment_id, found_by=found_by)
        await self._db(lambda session: bind_comment(session, case, comment_id, found_by))
        return "posted"

    async def _settle(self, case: CommentCase, state: str, reason: str) -> str:
        moved = await self._db(lambda session: move_comment(session, case, state, reason))
        return state if moved else "taken"


async def _read(call: Awaitable[R]) -> R | PersonaError:
    try:
        return await call
    except PersonaError as problem:
        return problem


def _is_refusal(problem: PersonaError, ruling: Ruling) -> bool:
    """Whether Instagram said no to this comment, so that trying again is for a person to decide."""
    return ruling.cause in _REFUSED_FOR_GOOD or _lacks_permission(problem)


def _lacks_permission(problem: PersonaError) -> bool:
    return isinstance(problem, ClientError) and problem.code in _NO_PERMISSION


def _ours(comments: Iterable[CommentFacts], case: CommentCase) -> CommentFacts | None:
    """The comment that says what ours says and is not someone else's."""
    for comment in comments:
        same_words = comment.text is not None and _plain(comment.text) == _plain(case.words)
        someone_else = comment.username and case.username and comment.username != case.username
        if same_words and not someone_else:
            return comment
    return None


def _plain(words: str) -> str:
    return " ".join(unicodedata.normalize("NFC", words).split())


__all__ = ["CommentReport", "CommentRound"]
