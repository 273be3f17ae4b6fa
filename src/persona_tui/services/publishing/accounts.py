"""Instagram accounts of personas: their tokens, encrypted, and whether they may publish at the moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, SecretStr
from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import DuplicateName, NotAllowedNow, UnknownName
from persona_tui.models.post import InstagramAccount
from persona_tui.services import events
from persona_tui.services.inputs import Input, Line, told, validated
from persona_tui.services.safety import audit
from persona_tui.services.secrets import Keyring

AccountStatus = Literal["active", "paused", "restricted"]

Token = Annotated[SecretStr, Field(min_length=8, max_length=4096)]


class AccountInput(Input):
    """A persona's professional Instagram account, with a long-lived token."""

    persona_id: int
    ig_user_id: Annotated[str, Field(pattern=r"^[0-9]{5,32}$")]
    """The id to publish with; Graph's `/me` calls it `user_id`."""
    username: Line = ""
    token: Token
    token_expires_at: AwareDatetime | None = None
    login: Literal["instagram", "facebook"] = "instagram"


@dataclass(frozen=True)
class AccountView:
    """An account as it is shown; the token is not in it.

    Attributes:
        environment: `live` or `sandbox`, the installation's.
        status: `active`; `paused`: its token is dead; `restricted`: Instagram has stopped it.
        reason: why it is not active, for the operator.
        waiting: posts that are due or will be.
    """

    id: int
    persona_id: int
    persona: str
    environment: Literal["live", "sandbox"]
    login: str
    ig_user_id: str
    username: str
    status: AccountStatus
    reason: str
    token_expires_at: datetime | None
    waiting: int


_VIEW = (
    "SELECT a.id, a.persona_id, p.name, a.environment, a.login, a.ig_user_id, a.username, a.status,"
    " a.status_reason, a.token_expires_at, (SELECT count(*) FROM scheduling_posts s WHERE s.account_id = a.id"
    "  AND s.state NOT IN ('draft', 'awaiting_image', 'ready', 'published', 'failed', 'cancelled'))"
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
        token_expires_at=data.token_expires_at,
    )
    with told(session, _sentences(data)):
        session.add(account)
    _seal(keyring, account, data.token)
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
    return tuple(AccountView(*row) for row in rows)


def get_account(session: Session, account_id: int) -> AccountView:
    """One account.

    Raises:
        UnknownName: there is none of that id.
    """
    row = session.execute(text(f"{_VIEW} WHERE a.id = :id"), {"id": account_id}).one_or_none()
    if row is None:
        raise _unknown(account_id)
    return AccountView(*row)


def account_of_persona(session: Session, persona_id: int) -> AccountView | None:
    """The account that a persona's posts go to: its active or paused one, else a restricted one."""
    accounts = list_accounts(session, persona_id)
    usable = [account for account in accounts if account.status != "restricted"]
    return next(iter([*usable, *accounts]), None)


def account_token(session: Session, keyring: Keyring, account_id: int) -> SecretStr:
    """The account's token in clear; never put it into a text that leaves this process.

    Raises:
        UnknownName: no such account.
        KeyMissing, SecretUnreadable: it can't be opened.
    """
    account = _row(session, account_id)
    return SecretStr(
        keyring.decrypt(account.token_key_id, account.token_ciphertext, associated=_associated(account))
    )


def replace_token(
    session: Session,
    keyring: Keyring,
    account_id: int,
    token: SecretStr,
    *,
    expires_at: datetime | None = None,
) -> AccountView:
    """Give an account a new token; a pause ends with it, and the posts that it had stopped are due again.

    Raises:
        UnknownName: no such account.
        InvalidRequest: that is no token.
    """
    checked = validated(_TokenInput, {"token": token, "expires_at": expires_at})
    account = _row(session, account_id, for_change=True)
    _seal(keyring, account, checked.token)
    account.token_expires_at = checked.expires_at
    session.flush()
    _record(session, account, "account.token")
    return (
        resume_account(session, account_id)
        if account.status == "paused"
        else get_account(session, account_id)
    )


class _TokenInput(Input):
    token: Token
    expires_at: AwareDatetime | None = None


def stop_account(
    session: Session, account_id: int, status: Literal["paused", "restricted"], reason: str
) -> None:
    """Let nothing more of this account go out until `replace_token` or `resume_account`."""
    account = _row(session, account_id, for_change=True)
    if (account.status, account.status_reason) == (status, reason):
        return
    account.status, account.status_reason = status, reason
    session.flush()
    _record(session, account, f"account.{status}", actor="publisher", details={"reason": reason})


def resume_account(session: Session, account_id: int) -> AccountView:
    """Let an account publish again, after its token was replaced or Instagram lifted a restriction.

    Raises:
        UnknownName: no such account.
        NotAllowedNow: the persona has another account by now.
    """
    account = _row(session, account_id, for_change=True)
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


def _row(session: Session, account_id: int, *, for_change: bool = False) -> InstagramAccount:
    # NO KEY UPDATE: posts that are linked to the account meanwhile don't wait.
    lock = {"key_share": True} if for_change else None
    account = session.get(InstagramAccount, account_id, with_for_update=lock, populate_existing=True)
    if account is None:
        raise _unknown(account_id)
    return account


def _seal(keyring: Keyring, account: InstagramAccount, token: SecretStr) -> None:
    account.token_key_id, account.token_ciphertext = keyring.encrypt(
        token.get_secret_value(), associated=_associated(account)
    )


def _associated(account: InstagramAccount) -> str:
    return f"{account.id}:{account.environment}"


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


def _unknown(account_id: int) -> UnknownName:
    return UnknownName(f"There is no account {account_id}.", hint="`persona-tui account list` shows them.")


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
    "AccountInput",
    "AccountStatus",
    "AccountView",
    "account_of_persona",
    "account_token",
    "add_account",
    "get_account",
    "list_accounts",
    "replace_token",
    "resume_account",
    "stop_account",
]
