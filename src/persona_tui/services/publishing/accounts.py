"""Instagram accounts of personas: their tokens, encrypted, and whether they may publish at the moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, SecretStr
from sqlalchemy import Row, text
from sqlmodel import Session

from persona_tui.clients.instagram_login import Grant, LoginName
from persona_tui.errors import DuplicateName, NotAllowedNow, UnknownName
from persona_tui.models.account import InstagramAccount
from persona_tui.services import events
from persona_tui.services.inputs import Input, Line, told, validated
from persona_tui.services.publishing.grants import (
    account_row,
    seal_grant,
    unknown_account,
)
from persona_tui.services.safety import audit
from persona_tui.services.secrets import Keyring

AccountStatus = Literal["active", "paused", "restricted"]

Token = Annotated[SecretStr, Field(min_length=8, max_length=4096)]

CHECK_EVERY = timedelta(days=1)
"""How often Instagram is asked whether it still takes a token."""


class AccountInput(Input):
    """A persona's professional Instagram account, with a long-lived token."""

    persona_id: int
    ig_user_id: Annotated[str, Field(pattern=r"^[0-9]{5,32}$")]
    """The id to publish with; Graph's `/me` calls it `user_id`."""
    username: Line = ""
    token: Token
    root: Token | None = None
    """Under Facebook Login the user's token that `token`, the Page's, comes from."""
    token_expires_at: AwareDatetime | None = None
    login: LoginName = "instagram"
    page_id: Annotated[str, Field(pattern=r"^[0-9]{0,32}$")] = ""
    scopes: tuple[Line, ...] = ()


@dataclass(frozen=True)
class AccountView:
    """An account as it is shown; the token is not in it.

    Attributes:
        environment: `live` or `sandbox`, the installation's.
        status: `active`; `paused`: its token is dead; `restricted`: Instagram has stopped it.
        reason: why it is not active, for the operator.
        waiting: posts that are due or will be.
        days_left: whole days until the token's end; None: it has none, or nobody said when.
        published_today: posts that went out from here in the last 24 hours.
    """

    id: int
    persona_id: int
    persona: str
    environment: Literal["live", "sandbox"]
    login: LoginName
    ig_user_id: str
    username: str
    status: AccountStatus
    reason: str
    token_expires_at: datetime | None
    waiting: int
    page_id: str
    scopes: tuple[str, ...]
    token_obtained_at: datetime | None
    token_checked_at: datetime | None
    token_refreshed_at: datetime | None
    token_due_at: datetime | None
    token_trouble: str
    days_left: int | None
    published_today: int


_VIEW = (
    "SELECT a.id, a.persona_id, p.name, a.environment, a.login, a.ig_user_id, a.username, a.status,"
    " a.status_reason, a.token_expires_at, (SELECT count(*) FROM scheduling_posts s WHERE s.account_id = a.id"
    "  AND s.state NOT IN ('draft', 'awaiting_image', 'ready', 'published', 'failed', 'cancelled')),"
    " a.page_id, ARRAY(SELECT jsonb_array_elements_text(a.scopes)), a.token_obtained_at, a.token_checked_at,"
    " a.token_refreshed_at, a.token_due_at, a.token_trouble,"
    " floor(extract(epoch FROM a.token_expires_at - persona_now()) / 86400)::int,"
    " (SELECT count(*) FROM scheduling_posts s WHERE s.account_id = a.id"
    "  AND s.published_at > persona_now() - interval '24 hours')"
    " FROM instagram_accounts a JOIN personas p ON p.id = a.persona_id"
)


def add_account(session: Session, keyring: Keyring, values: AccountInput | Mapping[str, Any]) -> AccountView:
    """Connect an account to a persona, in the environment of this installation.

    Raises:
        InvalidRequest: a field can't be used.
        UnknownName: no such persona.
        DuplicateName: the account is connected already, or the persona has another one.
    """
    data = values if isinstance(values, AccountInput) else validated(AccountInput, values)
    environment = session.execute(text("SELECT environment FROM installation")).scalar_one()
    account = InstagramAccount(
        persona_id=data.persona_id,
        environment=environment,
        login=data.login,
        ig_user_id=data.ig_user_id,
        username=data.username.removeprefix("@"),
        token_ciphertext=b"",
        token_key_id="",
        page_id=data.page_id,
        scopes=list(data.scopes),
    )
    with told(session, _sentences(data)):
        session.add(account)
    _take(session, keyring, account, Grant(data.token, data.root), data.token_expires_at)
    session.flush()
    _record(session, account, "account.add")
    return get_account(session, account.id)


def list_accounts(session: Session, persona_id: int | None = None) -> tuple[AccountView, ...]:
    """All accounts, or a persona's, by persona."""
    rows = session.execute(
        text(
            f"{_VIEW} WHERE CAST(:persona AS bigint) IS NULL OR a.persona_id = :persona"
            " ORDER BY lower(p.name), a.id"
        ).bindparams(persona=persona_id)
    )
    return tuple(_view(row) for row in rows)


def get_account(session: Session, account_id: int) -> AccountView:
    """One account.

    Raises:
        UnknownName: there is none of that id.
    """
    row = session.execute(text(f"{_VIEW} WHERE a.id = :id"), {"id": account_id}).one_or_none()
    if row is None:
        raise unknown_account(account_id)
    return _view(row)


def account_of_persona(session: Session, persona_id: int) -> AccountView | None:
    """The account that a persona's posts go to: its active or paused one, else a restricted one."""
    accounts = list_accounts(session, persona_id)
    usable = [account for account in accounts if account.status != "restricted"]
    return next(iter([*usable, *accounts]), None)


def replace_token(
    session: Session,
    keyring: Keyring,
    account_id: int,
    token: SecretStr,
    *,
    root: SecretStr | None = None,
    expires_at: datetime | None = None,
    login: LoginName | None = None,
    page_id: str | None = None,
    scopes: tuple[str, ...] | None = None,
) -> AccountView:
    """Give an account a new token; a pause ends with it, and the posts that it had stopped are due again.

    Args:
        login, page_id, scopes: None leaves what is known.

    Raises:
        UnknownName: no such account.
        InvalidRequest: that is no token.
    """
    checked = validated(_TokenInput, {"token": token, "root": root, "expires_at": expires_at})
    account = account_row(session, account_id, for_change=True)
    account.login = login or account.login
    account.page_id = account.page_id if page_id is None else page_id
    account.scopes = account.scopes if scopes is None else list(scopes)
    _take(session, keyring, account, Grant(checked.token, checked.root), checked.expires_at)
    session.flush()
    _record(session, account, "account.token")
    return (
        resume_account(session, account_id)
        if account.status == "paused"
        else get_account(session, account_id)
    )


class _TokenInput(Input):
    token: Token
    root: Token | None = None
    expires_at: AwareDatetime | None = None


def remove_account(session: Session, account_id: int) -> None:
    """Forget an account that has no posts; its token goes with it.

    Raises:
        UnknownName: no such account.
        NotAllowedNow: posts were made for it.
    """
    account = account_row(session, account_id, for_change=True)
    used = NotAllowedNow(
        "Posts belong to this account, so it stays in the books.",
        hint="Its posts can be cancelled; a persona's next account is added beside a restricted one.",
    )
    _record(session, account, "account.remove", details={"ig_user_id": account.ig_user_id})
    with told(
        session, {"fk_scheduling_posts_account_environment": used, "fk_scheduling_posts_account_id": used}
    ):
        session.delete(account)


def stop_account(
    session: Session, account_id: int, status: Literal["paused", "restricted"], reason: str
) -> None:
    """Let nothing more of this account go out until `replace_token` or `resume_account`.

    The first pause has the token looked at soon: one attempt to renew it is left (`tokens.TokenKeeper`).
    """
    account = account_row(session, account_id, for_change=True)
    if (account.status, account.status_reason) == (status, reason):
        return
    if status == "paused" and account.status == "active":
        account.token_due_at, account.token_trouble = None, ""
    account.status, account.status_reason = status, reason
    session.flush()
    _record(session, account, f"account.{status}", actor="publisher", details={"reason": reason})


def keep_quiet(session: Session, account_id: int, wait: timedelta) -> None:
    """Leave an account alone for so long, since Instagram throttles it or is about to."""
    session.execute(_KEEP_QUIET, {"id": account_id, "wait": wait})


_KEEP_QUIET = text(
    "UPDATE instagram_accounts"
    " SET quiet_until = greatest(quiet_until, persona_now() + CAST(:wait AS interval)) WHERE id = :id"
)


def resume_account(session: Session, account_id: int) -> AccountView:
    """Let an account publish again, after its token was replaced or Instagram lifted a restriction.

    Raises:
        UnknownName: no such account.
        NotAllowedNow: the persona has another account by now.
    """
    account = account_row(session, account_id, for_change=True)
    other = NotAllowedNow(
        "The persona has another active account by now.", hint="Only one account of a persona may publish."
    )
    with told(session, {"uq_instagram_accounts_persona": other}):
        account.status, account.status_reason = "active", ""
    for post_id in session.execute(_RESUMED, {"account": account_id}).scalars().all():
        events.emit(session, "post", post_id)
    _record(session, account, "account.resume")
    return get_account(session, account_id)


# Only what the account's own trouble had stopped: what a restore paused waits for the operator (R1).
_RESUMED = text(
    "UPDATE scheduling_posts p SET state = 'scheduled', reason = ''"
    " WHERE p.account_id = :account AND p.state = 'paused' AND 'account stopped' = ("
    "  SELECT outcome FROM publish_attempts t WHERE t.post_id = p.id ORDER BY number DESC LIMIT 1)"
    " AND NOT (SELECT publishing_held FROM installation) RETURNING p.id"
)


def _take(
    session: Session, keyring: Keyring, account: InstagramAccount, grant: Grant, expires_at: datetime | None
) -> None:
    """The token that the operator gives, which Instagram has just answered to."""
    account.token_key_id, account.token_ciphertext = seal_grant(keyring, account, grant)
    account.previous_token_key_id, account.previous_token_ciphertext = "", None
    account.token_expires_at = expires_at
    now = session.execute(text("SELECT persona_now()")).scalar_one()
    account.token_obtained_at = account.token_checked_at = now
    account.token_refreshed_at, account.token_trouble = None, ""
    account.token_due_at = now + CHECK_EVERY


def _view(row: Row[Any]) -> AccountView:
    values = dict(zip(_FIELDS, row, strict=True))
    return AccountView(**{**values, "scopes": tuple(values["scopes"])})


_FIELDS = tuple(field.name for field in fields(AccountView))


def _record(
    session: Session,
    account: InstagramAccount,
    action: str,
    *,
    actor: str = "operator",
    details: Mapping[str, Any] | None = None,
) -> None:
    audit.append(
        session,
        actor=actor,
        action=action,
        persona_id=account.persona_id,
        subject=f"instagram_accounts:{account.id}",
        details=details,
    )
    events.emit(session, "account", account.id)


def _sentences(data: AccountInput) -> dict[str, Any]:
    instead = "Replace its token instead of adding it again."
    return {
        "fk_instagram_accounts_persona_id": UnknownName(
            "There is no such persona.", hint="`persona-tui persona list` shows them."
        ),
        "uq_instagram_accounts_environment_ig_user_id": DuplicateName(
            f"The Instagram account {data.ig_user_id} is connected already.", hint=instead
        ),
        "uq_instagram_accounts_persona": DuplicateName(
            "This persona has an Instagram account already.", hint=instead
        ),
    }


__all__ = [
    "CHECK_EVERY",
    "AccountInput",
    "AccountStatus",
    "AccountView",
    "account_of_persona",
    "add_account",
    "get_account",
    "keep_quiet",
    "list_accounts",
    "remove_account",
    "replace_token",
    "resume_account",
    "stop_account",
]
