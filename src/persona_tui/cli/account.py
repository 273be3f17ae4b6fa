"""`persona-tui account`: add, token, list, check, resume, remove."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from persona_tui.cli.frame import (
    AsJson,
    PersonaName,
    group,
    note,
    persona_of,
    require_consent,
    resources,
    session,
    show,
    table,
)

if TYPE_CHECKING:
    from persona_tui.resources import Resources
    from persona_tui.services.publishing.accounts import AccountView

commands = group("Instagram accounts; tokens are kept encrypted.")

AccountId = Annotated[int, typer.Argument(metavar="ACCOUNT", help="The account's number in `account list`.")]
OneOrAll = Annotated[int | None, typer.Argument(metavar="[ACCOUNT]", help="One account; default: all.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Store without asking.")]
FromStdin = Annotated[bool, typer.Option("--token-stdin", help="Read the token from stdin.")]
Browser = Annotated[bool, typer.Option("--browser", help="Log in through the browser instead of a token.")]
Chosen = Annotated[str, typer.Option("--account", help="Which one, where the login leads to several.")]
LoginChoice = Annotated[str, typer.Option("--login", help="`instagram`, or `facebook` with a linked Page.")]


@commands.command("add")
def add(
    persona: PersonaName,
    login: LoginChoice = "instagram",
    browser: Browser = False,
    token_stdin: FromStdin = False,
    account: Chosen = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Connect an account: says what to click at Meta, asks whose the token is, then keeps it encrypted.

    The token is typed unseen, read from stdin, or taken from PERSONA_ACCOUNT_TOKEN. It is never taken as an
    argument, since arguments are seen by others.
    """
    from persona_tui.cli.account_login import connect

    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            persona_id = persona_of(opened_session, persona).id
        kept = connect(opened, persona_id, login, browser=browser, stdin=token_stdin, chosen=account, yes=yes)
    show(kept, as_json, lambda: [f"✅ {kept.username} ({kept.environment}) publishes for {persona}."])


@commands.command("token")
def token(
    account: AccountId,
    login: Annotated[str, typer.Option("--login", help="Default: the account's.")] = "",
    browser: Browser = False,
    token_stdin: FromStdin = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give an account a new token; a pause ends with it, and its posts are due again."""
    from persona_tui.cli.account_login import connect
    from persona_tui.services.publishing.accounts import get_account

    with resources() as opened:
        with opened.database.session_scope() as opened_session:
            view = get_account(opened_session, account)
        kept = connect(
            opened,
            view.persona_id,
            login or view.login,
            browser=browser,
            stdin=token_stdin,
            chosen=view.ig_user_id,
            yes=yes,
        )
    show(kept, as_json, lambda: [f"✅ {kept.username} has a new token and is {kept.status}."])


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """All accounts: status, days left, permissions, posts today, what comes next; tokens are never shown."""
    from persona_tui.services.publishing.account_check import next_act
    from persona_tui.services.publishing.accounts import list_accounts

    with session() as opened:
        accounts = list_accounts(opened)
    if as_json:
        from persona_tui.cli.frame import plain

        show([{**plain(one), "next": next_act(one)} for one in accounts], as_json)
        return
    for line in _listed(accounts):
        print(line)


def _listed(accounts: tuple[AccountView, ...]) -> Iterator[str]:
    from persona_tui.services.publishing.account_check import next_act

    yield from table(
        [
            "account",
            "persona",
            "username",
            "login",
            "status",
            "days",
            "rights",
            "today",
            "waiting",
            "checked",
        ],
        (
            [
                one.id,
                one.persona,
                one.username,
                f"{one.login} ({one.environment})",
                one.status,
                one.days_left,
                len(one.scopes) or None,
                one.published_today,
                one.waiting,
                one.token_checked_at,
            ]
            for one in accounts
        ),
    )
    for one in accounts:
        yield f"{one.id}: {one.reason} {next_act(one)}".replace(":  ", ": ")


@commands.command("check")
def check(
    account: Annotated[
        int | None, typer.Argument(metavar="[ACCOUNT]", help="One account; default: all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask Instagram about each account, line by line: whose token, posts left, permissions, end, status."""
    with resources() as opened:
        found = asyncio.run(_check(opened, account))
    if not found and not as_json:
        note("ℹ️  No account yet. Add one: persona-tui account add PERSONA")
    show(found, as_json, lambda: _checked(found))
    if any(not one["ok"] for one in found):
        raise typer.Exit(1)


async def _check(opened: Resources, account_id: int | None) -> list[dict[str, Any]]:
    from persona_tui.errors import PersonaError
    from persona_tui.services.publishing.account_check import Finding, check_account
    from persona_tui.services.publishing.accounts import get_account, list_accounts
    from persona_tui.services.publishing.grants import account_grant

    found: list[dict[str, Any]] = []
    with opened.database.session_scope() as opened_session:
        accounts = list_accounts(opened_session) if account_id is None else None
        accounts = accounts or ((get_account(opened_session, account_id),) if account_id else ())
    for one in accounts:
        try:
            with opened.database.session_scope() as opened_session:
                grant = account_grant(opened_session, opened.keyring, one.id)
            findings = await check_account(opened.instagram_client, opened.token_client, one, grant)
        except PersonaError as problem:
            findings = (Finding("token", "fail", f"{problem.message} {problem.hint}"),)
        failed = next((finding for finding in findings if finding.state == "fail"), None)
        said = failed or next((finding for finding in findings if finding.about == "quota"), findings[0])
        found.append(
            {
                "account": one.username,
                "id": one.id,
                "ok": failed is None,
                "sentence": said.sentence,
                "findings": findings,
            }
        )
    return found


_MARKS = {"ok": "✅", "warn": "⚠️ ", "fail": "❌"}


def _checked(found: list[dict[str, Any]]) -> Iterator[str]:
    for one in found:
        yield f"{'✅' if one['ok'] else '❌'} {one['account']}: {one['sentence']}"
        for finding in one["findings"]:
            yield f"   {_MARKS[finding.state]} {finding.about}: {finding.sentence}"


@commands.command("resume")
def resume(account: AccountId, as_json: AsJson = False) -> None:
    """Let an account publish again, once Instagram has lifted a restriction."""
    from persona_tui.services.publishing.accounts import resume_account

    with session() as opened:
        view = resume_account(opened, account)
    waiting = "1 post waits" if view.waiting == 1 else f"{view.waiting} posts wait"
    show(view, as_json, lambda: [f"✅ {view.username} is active; {waiting}."])


@commands.command("remove")
def remove(account: AccountId, yes: Yes = False, as_json: AsJson = False) -> None:
    """Forget an account that no post was made for, and its token."""
    from persona_tui.services.publishing.accounts import get_account, remove_account

    with session() as opened:
        view = get_account(opened, account)
        require_consent(yes, f"Forget @{view.username} and its token?", refusal="Nothing was removed")
        remove_account(opened, account)
    show({"removed": account}, as_json, lambda: [f"✅ {view.username} is forgotten."])
