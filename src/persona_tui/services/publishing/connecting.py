"""An account is connected: whose a token is and what it may do is shown before anything is stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pydantic import SecretStr
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram_errors import (
    InstagramError,
    InstagramTokenRejected,
    Step,
    Verdict,
    classify,
)
from persona_tui.clients.instagram_login import INSTAGRAM, Login, LoginName, login_of
from persona_tui.clients.instagram_tokens import AppMissing, IssuedToken, Reachable, TokenClient
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.logs import register_secret
from persona_tui.services.publishing.accounts import AccountView, add_account, list_accounts, replace_token
from persona_tui.services.publishing.grants import MakeClient
from persona_tui.services.publishing.oauth import LoginAttempt
from persona_tui.services.publishing.tokens import MakeTokenClient
from persona_tui.services.secrets import Keyring

_WRONG_APP = frozenset({1, 101})
"""Codes by which Meta refuses the app itself, not the token."""


@dataclass(frozen=True)
class Found:
    """An account that a login leads to, as it is shown before it is stored.

    Attributes:
        scopes: permissions as far as they are known.
        missing: permissions that it can't publish without.
        lacking: permissions for first comments and figures.
        lives_for: of the token; None: no end, or unknown.
    """

    login: LoginName
    account: Reachable
    scopes: tuple[str, ...]
    missing: tuple[str, ...]
    lacking: tuple[str, ...]
    lives_for: timedelta | None

    @property
    def sentence(self) -> str:
        """Whose it is, and until when the token is good."""
        page = f" of the Page {self.account.page}" if self.account.page else ""
        days = f", its token for {self.lives_for.days} days" if self.lives_for is not None else ""
        return f"@{self.account.username} ({self.account.ig_user_id}){page}{days}"


async def find_by_token(
    make_token_client: MakeTokenClient, make_client: MakeClient, login: LoginName, token: SecretStr
) -> tuple[Found, ...]:
    """The accounts that a pasted token leads to; a short-lived one is made long-lived first.

    Raises:
        ClientError: Meta does not take it, or can't be asked.
        AppMissing: Facebook Login without the Meta app's id and secret.
        NotAllowedNow: it leads to no Instagram account.
    """
    register_secret(token.get_secret_value())
    async with make_token_client(login) as tokens:
        issued = await _long_lived(tokens, token)
        return await _found(tokens, make_client, issued)


async def find_by_code(
    make_token_client: MakeTokenClient,
    make_client: MakeClient,
    login: LoginName,
    code: SecretStr,
    attempt: LoginAttempt,
) -> tuple[Found, ...]:
    """The accounts that a login in the browser leads to; raises as `find_by_token`."""
    register_secret(code.get_secret_value())
    async with make_token_client(login) as tokens:
        short = await tokens.exchange_code(code, redirect=attempt.redirect, verifier=attempt.verifier)
        register_secret(short.token.get_secret_value())
        issued = await tokens.lengthen(short.token)
        register_secret(issued.token.get_secret_value())
        return await _found(tokens, make_client, IssuedToken(issued.token, issued.lives_for, short.scopes))


async def _long_lived(tokens: TokenClient, token: SecretStr) -> IssuedToken:
    """The token, lengthened where it is short-lived; one from the dashboard is long-lived already."""
    try:
        issued = await tokens.lengthen(token)
    except AppMissing:
        if tokens.login is not INSTAGRAM:
            raise
        return IssuedToken(token)
    except InstagramError as problem:
        if isinstance(problem, InstagramTokenRejected) or problem.code in _WRONG_APP:
            raise
        return IssuedToken(token)
    register_secret(issued.token.get_secret_value())
    return issued


async def _found(tokens: TokenClient, make_client: MakeClient, issued: IssuedToken) -> tuple[Found, ...]:
    login = tokens.login
    accounts = await tokens.reach(issued.token)
    if not accounts:
        raise NotAllowedNow(
            "This login leads to no Instagram account.",
            hint="The account must be professional and linked to a Page that you chose at the login.",
        )
    for account in accounts:
        register_secret(account.grant.token.get_secret_value())
    facts = await tokens.facts(accounts[0].grant)
    scopes, lives_for = issued.scopes, issued.lives_for
    if facts is not None:
        scopes, lives_for = facts.scopes, lives_for or facts.lives_for
    if scopes is None:
        scopes = await probe_scopes(make_client, login, accounts[0])
        lacking: tuple[str, ...] = ()  # nothing short of a comment would show it
    else:
        lacking = tuple(name for name in login.wanted if name not in scopes)
    missing = tuple(name for name in login.needed if name not in scopes)
    return tuple(Found(login.name, one, scopes, missing, lacking, lives_for) for one in accounts)


async def probe_scopes(make_client: MakeClient, login: Login, account: Reachable) -> tuple[str, ...]:
    """Instagram Login names a pasted token's permissions nowhere: the publishing limit shows them."""
    basic, publish = login.needed
    client = make_client(account.ig_user_id, account.grant.token.get_secret_value(), login.name)
    try:
        await client.publishing_limit()
    except InstagramError as problem:
        if classify(problem, Step.READ).cause is not Verdict.STOP:
            raise
        return (basic,)
    finally:
        await client.aclose()
    return basic, publish


def keep_found(session: Session, keyring: Keyring, persona_id: int, found: Found) -> AccountView:
    """Store what was shown: a new account of the persona, or the new token of one that is known.

    Raises:
        InvalidRequest: it may not publish.
        UnknownName: no such persona.
        DuplicateName: the account is another persona's, or the persona has another one.
    """
    if found.missing:
        raise InvalidRequest(
            f"The token lacks {' and '.join(found.missing)}.",
            hint=f"Log in again with {login_of(found.login).title} and grant it.",
        )
    account, grant = found.account, found.account.grant
    now = session.execute(text("SELECT persona_now()")).scalar_one()
    expires_at = None if found.lives_for is None else now + found.lives_for
    known = next(
        (one for one in list_accounts(session, persona_id) if one.ig_user_id == account.ig_user_id), None
    )
    if known is not None:
        return replace_token(
            session,
            keyring,
            known.id,
            grant.token,
            root=grant.root,
            expires_at=expires_at,
            login=found.login,
            page_id=account.page_id,
            scopes=found.scopes,
        )
    values = {
        "persona_id": persona_id,
        "ig_user_id": account.ig_user_id,
        "username": account.username,
        "token": grant.token,
        "root": grant.root,
        "token_expires_at": expires_at,
        "login": found.login,
        "page_id": account.page_id,
        "scopes": found.scopes,
    }
    return add_account(session, keyring, values)


__all__ = ["Found", "find_by_code", "find_by_token", "keep_found", "probe_scopes"]
