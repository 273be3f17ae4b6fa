"""What an account's calls stand on: its token, at rest under AES-GCM (R26), and clients that carry it."""

from __future__ import annotations

import json
from typing import Protocol

from pydantic import SecretStr
from sqlmodel import Session

from persona_tui.clients.instagram import InstagramClient
from persona_tui.clients.instagram_login import Grant, LoginName
from persona_tui.errors import UnknownName
from persona_tui.logs import register_secret
from persona_tui.models.account import InstagramAccount
from persona_tui.services.secrets import Keyring


class MakeClient(Protocol):
    """Makes a client of an account; the caller closes it."""

    def __call__(self, ig_user_id: str, token: str, login: LoginName = "instagram") -> InstagramClient:
        """Args:
        token: in clear.
        login: how it was come by.
        """
        ...


def account_row(session: Session, account_id: int, *, for_change: bool = False) -> InstagramAccount:
    """The account's row; `for_change` locks it, though not against posts that are linked to it meanwhile.

    Raises:
        UnknownName: there is none of that id.
    """
    # NO KEY UPDATE: posts that are linked to the account meanwhile don't wait.
    lock = {"key_share": True} if for_change else None
    account = session.get(InstagramAccount, account_id, with_for_update=lock, populate_existing=True)
    if account is None:
        raise unknown_account(account_id)
    return account


def open_grant(keyring: Keyring, account: InstagramAccount, key_id: str, sealed: bytes) -> Grant:
    """What `seal_grant` closed; raises `KeyMissing` and `SecretUnreadable`."""
    plain = keyring.decrypt(key_id, sealed, associated=_associated(account))
    if not plain.startswith("{"):
        return Grant(SecretStr(plain))
    both = json.loads(plain)
    for secret in both.values():
        register_secret(secret)
    return Grant(SecretStr(both["token"]), SecretStr(both["root"]))


def seal_grant(keyring: Keyring, account: InstagramAccount, grant: Grant) -> tuple[str, bytes]:
    """The key's id and the encrypted grant: a token as it is, or with its root as JSON."""
    plain = grant.token.get_secret_value()
    if grant.root is not None:
        register_secret(plain)
        register_secret(grant.root.get_secret_value())
        plain = json.dumps({"token": plain, "root": grant.root.get_secret_value()})
    return keyring.encrypt(plain, associated=_associated(account))


def account_grant(session: Session, keyring: Keyring, account_id: int) -> Grant:
    """What the account's calls stand on, in clear; never put it into a text that leaves this process.

    Raises:
        UnknownName: no such account.
        KeyMissing, SecretUnreadable: it can't be opened.
    """
    account = account_row(session, account_id)
    return open_grant(keyring, account, account.token_key_id, account.token_ciphertext)


def account_token(session: Session, keyring: Keyring, account_id: int) -> SecretStr:
    """The token of the account's calls in clear; raises as `account_grant`."""
    return account_grant(session, keyring, account_id).token


def client_of(
    session: Session, keyring: Keyring, make_client: MakeClient, account_id: int
) -> InstagramClient:
    """A client of the account under its own login; raises as `account_grant`, and `WrongEnvironment`."""
    account = account_row(session, account_id)
    token = account_token(session, keyring, account_id)
    return make_client(account.ig_user_id, token.get_secret_value(), login_name(account))


def login_name(account: InstagramAccount) -> LoginName:
    """How the account's token was come by."""
    return "facebook" if account.login == "facebook" else "instagram"


def _associated(account: InstagramAccount) -> str:
    return f"{account.id}:{account.environment}"


def unknown_account(account_id: int) -> UnknownName:
    """The error for an id that no account has."""
    return UnknownName(f"There is no account {account_id}.", hint="`persona-tui account list` shows them.")


__all__ = [
    "MakeClient",
    "account_grant",
    "account_row",
    "account_token",
    "client_of",
    "login_name",
    "open_grant",
    "seal_grant",
    "unknown_account",
]
