"""What is well with an account and what is not, line by line; and what an account's row says by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlmodel import Session

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_errors import InstagramError, Step, Verdict, classify
from persona_tui.clients.instagram_login import Grant, Login, login_of
from persona_tui.clients.instagram_tokens import AppMissing
from persona_tui.errors import PersonaError
from persona_tui.services.publishing.accounts import AccountView, list_accounts
from persona_tui.services.publishing.grants import MakeClient
from persona_tui.services.publishing.tokens import ALARM_DAYS, MakeTokenClient


@dataclass(frozen=True)
class Finding:
    """One thing about an account.

    Attributes:
        about: token, permissions, quota, end or status.
    """

    about: str
    state: Literal["ok", "warn", "fail"]
    sentence: str


async def check_account(
    make_client: MakeClient, make_token_client: MakeTokenClient, account: AccountView, grant: Grant
) -> tuple[Finding, ...]:
    """Ask Instagram about an account: whose token it is, permissions, posts left, end. Changes nothing."""
    login = login_of(account.login)
    client = make_client(account.ig_user_id, grant.token.get_secret_value(), account.login)
    try:
        found = [await _token(client, account)]
        if found[0].state == "ok":
            quota, may_publish = await _quota(client)
            found += [quota, await _permissions(make_token_client, login, account, grant, may_publish)]
    finally:
        await client.aclose()
    return (*found, _end(account), _status(account))


async def _token(client: InstagramClient, account: AccountView) -> Finding:
    try:
        facts = await client.me()
    except PersonaError as problem:
        return Finding("token", "fail", problem.message)
    if facts.ig_user_id != account.ig_user_id:
        return Finding("token", "fail", f"It is of another account: {facts.username or facts.ig_user_id}.")
    return Finding("token", "ok", f"Instagram takes it as @{facts.username}.")


async def _quota(client: InstagramClient) -> tuple[Finding, bool | None]:
    """Posts used, and whether the token may publish; None: that can't be told."""
    try:
        limit = await client.publishing_limit()
    except PersonaError as problem:
        barred = isinstance(problem, InstagramError) and classify(problem, Step.READ).cause is Verdict.STOP
        return Finding("quota", "fail", problem.message), False if barred else None
    left = limit.quota_total - limit.quota_usage
    words = f"{limit.quota_usage} of {limit.quota_total} posts used in 24 hours."
    return Finding("quota", "ok" if left > 0 else "warn", words), True


async def _permissions(
    make_token_client: MakeTokenClient,
    login: Login,
    account: AccountView,
    grant: Grant,
    may_publish: bool | None,
) -> Finding:
    scopes: tuple[str, ...] | None = account.scopes or None
    try:
        async with make_token_client(login.name) as tokens:
            facts = await tokens.facts(grant)
    except AppMissing:
        facts = None
    except PersonaError as problem:
        return Finding("permissions", "warn", problem.message)
    if facts is not None and facts.scopes is not None:
        scopes = facts.scopes
    missing = [name for name in login.needed if scopes is not None and name not in scopes]
    if missing or may_publish is False:
        names = " and ".join(missing) or login.needed[1]
        return Finding("permissions", "fail", f"It lacks {names}: log in again and grant it.")
    lacking = [name for name in login.wanted if scopes is not None and name not in scopes]
    if scopes is None:
        return Finding("permissions", "ok" if may_publish else "warn", "It may publish; Meta names no more.")
    if lacking:
        return Finding("permissions", "warn", f"It may publish, but lacks {' and '.join(lacking)}.")
    return Finding("permissions", "ok", "It may publish, comment and read figures.")


def _end(account: AccountView) -> Finding:
    days = account.days_left
    if days is None:
        words = "It has no end." if account.login == "facebook" else "Nobody said when it ends."
        return Finding("end", "ok", words)
    if days < 0:
        return Finding("end", "fail", "It has ended: log in again.")
    state: Literal["ok", "warn"] = "warn" if days < ALARM_DAYS else "ok"
    return Finding("end", state, f"It is good for {days} more days.")


def _status(account: AccountView) -> Finding:
    if account.status == "active":
        return Finding("status", "ok", f"Active. {next_act(account)}")
    return Finding("status", "fail", f"{account.status.capitalize()}: {account.reason} {next_act(account)}")


def next_act(account: AccountView) -> str:
    """What happens next with the account, or what its operator should do."""
    if account.status == "restricted":
        return "Open the Instagram app, clear it up there, then resume the account."
    if account.status == "paused":
        return "Give it a new token; its posts stay due."
    if account.days_left is not None and account.days_left < ALARM_DAYS:
        return "Log in again soon: the token could not be renewed."
    if account.token_trouble:
        return f"{account.token_trouble} It is tried again."
    if account.token_due_at is not None:
        return f"Looked at again on {account.token_due_at:%Y-%m-%d}."
    return "Looked at in the next round."


def alarms(session: Session, persona_id: int | None = None) -> tuple[str, ...]:
    """One sentence for each account of which the operator should know: stopped, or its token ends soon."""
    return tuple(
        sentence for account in list_accounts(session, persona_id) if (sentence := alarm(account)) is not None
    )


def alarm(account: AccountView) -> str | None:
    """What the operator should know of the account; None: all is well."""
    name = f"@{account.username or account.ig_user_id}"
    if account.status != "active":
        return f"{name} is {account.status}: {account.reason or 'see the account.'}"
    if account.days_left is not None and account.days_left < 0:
        return f"{name}: the token has ended. Log in again."
    if account.days_left is not None and account.days_left < ALARM_DAYS:
        trouble = f" {account.token_trouble}" if account.token_trouble else " Log in again."
        return f"{name}: the token ends in {account.days_left} days.{trouble}"
    return None


__all__ = ["Finding", "alarm", "alarms", "check_account", "next_act"]
