"""What the settings' screen reads: the accounts, whether publishing is held, and where things lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from textual.content import Content

from persona_tui import __version__

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.actions import Registry
    from persona_tui.services.publishing.accounts import AccountView
    from persona_tui.services.publishing.restore import Hold
    from persona_tui.settings import Settings

ACCOUNT_STATES = {
    "active": ("✅ active", "$success"),
    "paused": ("💤 paused", "$warning"),
    "restricted": ("🚫 restricted", "$error"),
}


@dataclass(frozen=True)
class Publishing:
    """The accounts, and why nothing is published if it is held."""

    accounts: tuple[AccountView, ...]
    hold: Hold | None


def load_publishing(session: Session) -> Publishing:
    """Read accounts and hold."""
    from persona_tui.services.publishing.accounts import list_accounts
    from persona_tui.services.publishing.restore import publishing_hold

    return Publishing(list_accounts(session), publishing_hold(session))


def places(settings: Settings) -> Content:
    """The version, and where data and log lie, on one line."""
    log = settings.log_file.relative_to(settings.data_dir)
    pairs = (("Version ", __version__), ("  Data ", settings.data_dir), ("  Log ", f"{log} in it"))
    return Content("").join(Content.assemble((label, "$dim"), str(value)) for label, value in pairs)


def publishing_lines(publishing: Publishing, registry: Registry, now: datetime) -> Iterator[Content]:
    """The hold with the key that ends it, and a line for each account."""
    if publishing.hold is not None:
        yield Content.assemble(
            ("[", "$dim"),
            (registry.label("settings.confirm"), "$title bold"),
            ("] ", "$dim"),
            (f"⚠  Publishing is held. {publishing.hold.reason}", "$warning"),
        )
    for account in publishing.accounts:
        yield _account(account, now)
    if not publishing.accounts:
        yield Content.assemble(
            ("Account ", "$dim"), "none yet; ", ("`persona-tui account add` connects one", "$dim")
        )


def _account(account: AccountView, now: datetime) -> Content:
    state, style = ACCOUNT_STATES.get(account.status, (account.status, ""))
    facts = [account.persona, *([account.environment] if account.environment == "sandbox" else [])]
    facts += [f"{account.waiting} waiting"] if account.waiting else []
    if account.token_expires_at is not None:
        days = (account.token_expires_at - now).days
        facts.append(f"token expires in {days} days" if days >= 0 else "token has expired")
    return Content.assemble(
        ("Account ", "$dim"),
        (state, style),
        f" @{account.username or account.ig_user_id}  ",
        (", ".join(facts), "$dim"),
        (f"  {account.reason}" if account.reason else "", "$warning"),
    )
