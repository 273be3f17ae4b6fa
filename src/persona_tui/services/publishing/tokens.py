"""Tokens are kept alive: renewed long before they end, and never lost on the way.

A renewed token is stored at once, beside the one before it, which stays until Instagram has answered to the
new one; if it is refused, the old one comes back. Instagram is asked outside of any transaction: a look is
taken by moving its next date under the account's row lock, so that of several processes one takes it, and
what it finds is written only if the token is still the one that it took. A kill at any point leaves a token
that works, and a date from which the look is taken again.
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar

import structlog
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram_errors import Step, Verdict, classify
from persona_tui.clients.instagram_login import Grant, LoginName
from persona_tui.clients.instagram_tokens import TokenClient
from persona_tui.errors import ClientError, PersonaError
from persona_tui.services import events
from persona_tui.services.publishing.accounts import (
    CHECK_EVERY,
    AccountView,
    get_account,
    resume_account,
    stop_account,
)
from persona_tui.services.publishing.grants import (
    MakeClient,
    account_row,
    login_name,
    open_grant,
    seal_grant,
)
from persona_tui.services.publishing.staging import SessionScope
from persona_tui.services.safety import audit
from persona_tui.services.secrets import KeyMissing, Keyring, SecretUnreadable

log = structlog.get_logger("persona_tui.publishing")

R = TypeVar("R")
MakeTokenClient = Callable[[LoginName], TokenClient]

FIRST_RENEWAL = timedelta(days=30)
"""Age at which a token that the operator gave is renewed."""
NEXT_RENEWAL = timedelta(days=7)
"""Time between two renewals after that."""
YOUNGEST = timedelta(hours=24)
"""Instagram Login renews no token that is younger."""
ALARM_DAYS = 10
"""Whole days left under which the operator is told."""
LEASE = timedelta(minutes=5)
"""How long one look may take; after a kill the next one begins when it is over."""
UNCLEAR_AGAIN = timedelta(minutes=30)

_STILL_TAKEN = "Instagram refused a call with the token, though it still says whose it is."
_CHANGED = "The token was changed meanwhile."

Said = Literal["fine", "rejected", "unclear"]


@dataclass(frozen=True)
class TokenLook:
    """What came of looking at an account's token.

    Attributes:
        said: what Instagram said of the token that is in use now.
        renewed: whether it is a new one.
        trouble: what went wrong, in one sentence.
    """

    account_id: int
    said: Said
    renewed: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class _Case:
    """An account whose token is looked at.

    Attributes:
        sealed: the token as it is stored: what is found counts only while this stands.
        pending: a renewed token is in use that Instagram has not answered to yet.
        age: since the token was issued, as far as that is known.
        since_renewal: None: it is as the operator gave it.
        left: until its end; None: it has none, or nobody said when.
    """

    account: AccountView
    login: LoginName
    grant: Grant
    sealed: bytes
    pending: bool
    age: timedelta
    since_renewal: timedelta | None
    left: timedelta | None

    @property
    def renewable(self) -> bool:
        """Whether Meta would renew it."""
        if self.login == "facebook" and self.grant.root is None:
            return False
        too_young = self.login == "instagram" and self.age < YOUNGEST
        return not too_young and (self.left is None or self.left > timedelta(0))

    @property
    def renewal_due(self) -> bool:
        """Day 30, then weekly; sooner where it ends sooner, or nobody knows when."""
        if self.left is None and self.login == "instagram":
            return True
        if self.left is not None and self.left < FIRST_RENEWAL:
            return True
        if self.since_renewal is None:
            return self.age >= FIRST_RENEWAL
        return self.since_renewal >= NEXT_RENEWAL

    @property
    def just_rejected(self) -> bool:
        """A call of the publisher was refused with it, and nothing has been tried since."""
        return self.account.status == "paused" and not self.account.token_trouble

    @property
    def may_try_once(self) -> bool:
        """Whether a rejection is answered with a renewal: never twice in a row, nor within a day."""
        fresh = self.since_renewal is not None and self.since_renewal < YOUNGEST
        return self.renewable and not fresh and not self.account.token_trouble


class TokenKeeper:
    """Looks at every account's token once a day, and at once when one was rejected."""

    def __init__(
        self,
        scope: SessionScope,
        *,
        make_client: MakeClient,
        make_token_client: MakeTokenClient,
        keyring: Keyring,
    ) -> None:
        """Args:
        scope: opens a transaction.
        make_client: makes an account's client from its Instagram id, token and login.
        make_token_client: makes a client for the tokens of a login.
        """
        self._scope = scope
        self._make_client = make_client
        self._make_token_client = make_token_client
        self._keyring = keyring

    async def tick(self) -> tuple[TokenLook, ...]:
        """Look at all tokens that are due, one after the other, by the database's clock.

        Raises:
            DatabaseError: the database is away; the next round goes on.
        """
        looks: list[TokenLook] = []
        while (account_id := await self._db(_take_next)) is not None:
            looks.append(await self._look(account_id))
        return tuple(looks)

    async def look(self, account_id: int) -> TokenLook:
        """Look at one account's token now."""
        await self._db(lambda session: _look_again(session, account_id, LEASE))
        return await self._look(account_id)

    async def _db(self, work: Callable[[Session], R]) -> R:
        def in_thread() -> R:
            with self._scope() as session:
                return work(session)

        return await to_thread(in_thread)

    async def _look(self, account_id: int) -> TokenLook:
        try:
            case = await self._db(lambda session: self._read(session, account_id))
        except (KeyMissing, SecretUnreadable) as problem:
            words = problem.message
            await self._db(lambda session: _give_up(session, account_id, words))
            return TokenLook(account_id, "unclear", trouble=words)
        said, trouble = await self._ask(case)
        if said == "unclear":
            return await self._later(case, trouble)
        if case.pending:
            if said == "rejected":
                return await self._undo(case, trouble, then_look=True)
            await self._db(lambda session: _forget_previous(session, case))
        elif said == "rejected" or case.just_rejected:
            return await self._rejected(case, trouble or _STILL_TAKEN)
        renew = case.renewable and case.renewal_due and not case.pending
        await self._db(lambda session: _note_fine(session, case, LEASE if renew else CHECK_EVERY))
        return await self._renew(case) if renew else TokenLook(account_id, "fine")

    async def _rejected(self, case: _Case, sentence: str) -> TokenLook:
        """One attempt to renew a token that has not ended by its date; else the account waits for a login."""
        if case.may_try_once:
            look = await self._renew(case)
            if look.said != "rejected":
                return look
            sentence = f"{sentence} {look.trouble}"
        await self._db(lambda session: _give_up(session, case.account.id, sentence))
        return TokenLook(case.account.id, "rejected", trouble=sentence)

    async def _renew(self, case: _Case) -> TokenLook:
        """Renew the token; `rejected` says that it could not be, `unclear` that it is looked at again."""
        account_id = case.account.id
        try:
            async with self._make_token_client(case.login) as tokens:
                grant, lives_for = await tokens.renew(case.grant, case.account.ig_user_id)
        except PersonaError as problem:
            log.warning("token not renewed", account=account_id, problem=problem.message)
            words = f"The token could not be renewed: {problem.message}"
            if isinstance(problem, ClientError) and not problem.sent:
                return await self._later(case, words)
            await self._db(lambda session: _note_trouble(session, account_id, words))
            return TokenLook(account_id, "rejected", trouble=words)
        if not await self._db(lambda session: self._store(session, case, grant)):
            return TokenLook(account_id, "unclear", trouble=_CHANGED)
        new = await self._db(lambda session: self._read(session, account_id))
        said, trouble = await self._ask(new)
        if said == "unclear":  # both tokens stay; the next look finds out
            return TokenLook(account_id, said, renewed=True, trouble=trouble)
        if said == "rejected":
            return await self._undo(new, trouble, then_look=False)
        await self._db(lambda session: _forget_previous(session, new, lives_for))
        await self._db(lambda session: _note_fine(session, new, CHECK_EVERY))
        log.info("token renewed", account=account_id)
        return TokenLook(account_id, said, renewed=True)

    async def _undo(self, case: _Case, trouble: str, *, then_look: bool) -> TokenLook:
        """Instagram refuses the renewed token: the one before it is in use again."""
        account_id, words = case.account.id, f"The renewed token is refused, the old one stays: {trouble}"
        log.warning("renewed token refused", account=account_id)
        if not await self._db(lambda session: _back_to_previous(session, case)):
            return TokenLook(account_id, "unclear", trouble=_CHANGED)
        await self._db(lambda session: _note_trouble(session, account_id, words))
        return await self._look(account_id) if then_look else TokenLook(account_id, "rejected", trouble=words)

    async def _later(self, case: _Case, trouble: str) -> TokenLook:
        """Nothing could be found out: look again in a while."""
        await self._db(lambda session: _look_again(session, case.account.id, UNCLEAR_AGAIN))
        return TokenLook(case.account.id, "unclear", trouble=trouble)

    async def _ask(self, case: _Case) -> tuple[Said, str]:
        """Ask Instagram whose token it is: one GET."""
        try:
            client = self._make_client(
                case.account.ig_user_id, case.grant.token.get_secret_value(), case.login
            )
            try:
                facts = await client.me()
            finally:
                await client.aclose()
        except ClientError as problem:
            ruling = classify(problem, Step.READ)
            lost = case.login == "facebook" and (problem.code, problem.subcode) == (100, 33)
            dead = ruling.cause is Verdict.PAUSE_TOKEN or lost
            return ("rejected" if dead else "unclear"), ruling.sentence
        except PersonaError as problem:
            return "unclear", problem.message
        if facts.ig_user_id != case.account.ig_user_id:
            return "rejected", f"The token is of another account ({facts.username or facts.ig_user_id})."
        return "fine", ""

    def _read(self, session: Session, account_id: int) -> _Case:
        view, row = get_account(session, account_id), account_row(session, account_id)
        now: datetime = session.execute(text("SELECT persona_now()")).scalar_one()
        refreshed, ends = row.token_refreshed_at, row.token_expires_at
        return _Case(
            view,
            login_name(row),
            open_grant(self._keyring, row, row.token_key_id, row.token_ciphertext),
            row.token_ciphertext,
            row.previous_token_ciphertext is not None,
            now - (row.token_obtained_at or row.created_at),
            None if refreshed is None else now - refreshed,
            None if ends is None else ends - now,
        )

    def _store(self, session: Session, case: _Case, grant: Grant) -> bool:
        """Put the new token into use and keep the one before it; False: it is another one by now.

        The old one's end stands until Instagram has answered to the new one.
        """
        row = account_row(session, case.account.id, for_change=True)
        if row.token_ciphertext != case.sealed:
            return False
        now: datetime = session.execute(text("SELECT persona_now()")).scalar_one()
        row.previous_token_key_id, row.previous_token_ciphertext = row.token_key_id, row.token_ciphertext
        row.token_key_id, row.token_ciphertext = seal_grant(self._keyring, row, grant)
        row.token_obtained_at = row.token_refreshed_at = now
        row.token_due_at = now + LEASE
        session.flush()
        _record(session, case.account, "account.renew")
        return True


def _take_next(session: Session) -> int | None:
    """The next account whose token is due, with the look taken by moving its date."""
    account_id: int | None = session.execute(_TAKE_NEXT, {"lease": LEASE}).scalar_one_or_none()
    return account_id


_TAKE_NEXT = text(
    "UPDATE instagram_accounts SET token_due_at = persona_now() + CAST(:lease AS interval)"
    " WHERE id = (SELECT a.id FROM instagram_accounts a"
    "  JOIN installation i ON i.environment = a.environment"
    "  WHERE (a.token_due_at IS NULL OR a.token_due_at <= persona_now()) AND NOT i.publishing_held"
    "  ORDER BY a.token_due_at NULLS FIRST, a.id LIMIT 1 FOR NO KEY UPDATE OF a SKIP LOCKED) RETURNING id"
)


def _look_again(session: Session, account_id: int, wait: timedelta) -> None:
    session.execute(
        text(
            "UPDATE instagram_accounts SET token_due_at = persona_now() + CAST(:wait AS interval)"
            " WHERE id = :id"
        ),
        {"id": account_id, "wait": wait},
    )


def _note_fine(session: Session, case: _Case, wait: timedelta) -> None:
    """Instagram took the token: a pause that its rejection had brought ends. `wait`: until the next look."""
    row = account_row(session, case.account.id, for_change=True)
    row.token_checked_at = session.execute(text("SELECT persona_now()")).scalar_one()
    row.token_due_at = row.token_checked_at + wait
    row.token_trouble = ""
    session.flush()
    events.emit(session, "account", row.id)
    if row.status == "paused":
        resume_account(session, row.id)


def _note_trouble(session: Session, account_id: int, words: str) -> None:
    row = account_row(session, account_id, for_change=True)
    row.token_trouble = words[:500]
    session.flush()
    _look_again(session, row.id, CHECK_EVERY)
    events.emit(session, "account", row.id)


def _give_up(session: Session, account_id: int, words: str) -> None:
    """Only a new login helps; Instagram is still asked every day, since an owner may lift a checkpoint."""
    row = account_row(session, account_id, for_change=True)
    if row.status == "active":
        stop_account(session, account_id, "paused", words)
    row.token_trouble = words[:500]
    session.flush()
    _look_again(session, account_id, CHECK_EVERY)


def _forget_previous(session: Session, case: _Case, lives_for: timedelta | None = None) -> None:
    """Instagram has answered to the renewed token.

    Args:
        lives_for: how long it lives; None: unknown, and the old one's end stands until the next renewal.
    """
    row = account_row(session, case.account.id, for_change=True)
    if row.token_ciphertext != case.sealed:
        return
    row.previous_token_key_id, row.previous_token_ciphertext = "", None
    if lives_for is not None and row.token_refreshed_at is not None:
        row.token_expires_at = row.token_refreshed_at + lives_for
    session.flush()


def _back_to_previous(session: Session, case: _Case) -> bool:
    row = account_row(session, case.account.id, for_change=True)
    if row.token_ciphertext != case.sealed or row.previous_token_ciphertext is None:
        return False
    row.token_key_id, row.token_ciphertext = row.previous_token_key_id, row.previous_token_ciphertext
    row.previous_token_key_id, row.previous_token_ciphertext = "", None
    session.flush()
    _record(session, case.account, "account.renewal_undone")
    return True


def _record(session: Session, account: AccountView, action: str) -> None:
    audit.append(
        session,
        actor="publisher",
        action=action,
        persona_id=account.persona_id,
        subject=f"instagram_accounts:{account.id}",
    )
    events.emit(session, "account", account.id)


__all__ = ["ALARM_DAYS", "TokenKeeper", "TokenLook"]
