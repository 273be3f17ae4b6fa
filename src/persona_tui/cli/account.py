"""`persona-tui account`: add, list, check."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    group,
    note,
    persona_of,
    resources,
    session,
    show,
    table,
)

UNKNOWN_ID = "0"
"""Stands for the account's id while the token is asked whose it is."""

commands = group("Instagram accounts; tokens are kept encrypted.")


@commands.command("add")
def add(
    persona: PersonaName,
    token_stdin: Annotated[bool, typer.Option("--token-stdin", help="Read the token from stdin.")] = False,
    as_json: AsJson = False,
) -> None:
    """Connect an account: asks Instagram who the token belongs to, then keeps it encrypted.

    The token comes from the Meta app's dashboard (Instagram > API setup with Instagram login > Generate
    token). It is never taken as an argument, since arguments are seen by others.
    """
    from pydantic import SecretStr

    from persona_tui.logs import register_secret
    from persona_tui.services.publishing.accounts import account_of_persona, add_account, replace_token

    token = _token(token_stdin)
    register_secret(token)
    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            persona_id = persona_of(opened_session, persona).id

        async def ask() -> tuple[str, str]:
            client = opened.instagram_client(UNKNOWN_ID, token)
            try:
                facts = await client.me()
            finally:
                await client.aclose()
            return facts.ig_user_id, facts.username

        ig_user_id, username = asyncio.run(ask())
        with opened.database.session_scope() as opened_session:
            known = account_of_persona(opened_session, persona_id)
            if known is not None and known.ig_user_id == ig_user_id:
                account = replace_token(opened_session, opened.keyring, known.id, SecretStr(token))
            else:
                account = add_account(
                    opened_session,
                    opened.keyring,
                    {
                        "persona_id": persona_id,
                        "ig_user_id": ig_user_id,
                        "username": username,
                        "token": SecretStr(token),
                    },
                )
    show(
        account, as_json, lambda: [f"✅ {account.username} ({account.environment}) publishes for {persona}."]
    )


def _token(from_stdin: bool) -> str:
    from getpass import getpass

    from persona_tui.errors import InvalidRequest

    if not from_stdin and not sys.stdin.isatty():
        raise InvalidRequest(
            "There is no terminal to type the token at.", hint="Pipe it in with --token-stdin."
        )
    token = (sys.stdin.readline() if from_stdin else getpass("Token (not shown): ")).strip()
    if not token:
        raise InvalidRequest("The token is empty.", hint="Paste it once; it is kept encrypted.")
    return token


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """All accounts; tokens are never shown."""
    from persona_tui.services.publishing.accounts import list_accounts

    with session() as opened:
        accounts = list_accounts(opened)
    show(
        accounts,
        as_json,
        lambda: table(
            ["account", "persona", "username", "environment", "status", "token until", "waiting"],
            (
                [a.id, a.persona, a.username, a.environment, a.status, a.token_expires_at, a.waiting]
                for a in accounts
            ),
        ),
    )


@commands.command("check")
def check(as_json: AsJson = False) -> None:
    """Ask Instagram whether each account's token works, and how many posts are left today."""
    from persona_tui.errors import ClientError
    from persona_tui.services.publishing.accounts import account_token, list_accounts

    found: list[dict[str, object]] = []
    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            accounts = [
                (account, account_token(opened_session, opened.keyring, account.id))
                for account in list_accounts(opened_session)
            ]

        async def ask() -> None:
            for account, token in accounts:
                client = opened.instagram_client(account.ig_user_id, token.get_secret_value())
                try:
                    limit = await client.publishing_limit()
                    words = f"{limit.quota_usage} of {limit.quota_total} posts used"
                    found.append({"account": account.username, "ok": True, "sentence": words})
                except ClientError as problem:
                    found.append({"account": account.username, "ok": False, "sentence": problem.message})
                finally:
                    await client.aclose()

        asyncio.run(ask())
    if not found and not as_json:
        note("ℹ️  No account yet. Add one: persona-tui account add PERSONA")
    show(
        found,
        as_json,
        lambda: [f"{'✅' if one['ok'] else '❌'} {one['account']}: {one['sentence']}" for one in found],
    )
    if any(not one["ok"] for one in found):
        raise typer.Exit(1)
