"""How a command comes by an account's token: typed unseen, piped, from the environment, or by the browser."""

from __future__ import annotations

import asyncio
import os
import sys
from getpass import getpass

import typer
from pydantic import SecretStr

from persona_tui.cli.frame import note
from persona_tui.clients.instagram_login import LoginName, login_of
from persona_tui.errors import InvalidRequest
from persona_tui.resources import Resources
from persona_tui.services.publishing import connecting, guide, oauth
from persona_tui.services.publishing.accounts import AccountView

FROM_ENVIRONMENT = "PERSONA_ACCOUNT_TOKEN"


def connect(
    opened: Resources, persona_id: int, login: str, *, browser: bool, stdin: bool, chosen: str, yes: bool
) -> AccountView:
    """Come by a token, show whose it is, and store it.

    Args:
        chosen: user name or id of the account, where the login leads to several.
        yes: store without asking.

    Raises:
        PersonaError: there is no token, Meta refuses it, or it is not the persona's.
    """
    name = login_of(login).name
    if browser:
        found = asyncio.run(_by_browser(opened, name))
    else:
        token = SecretStr(_token(name, from_stdin=stdin))
        found = asyncio.run(
            connecting.find_by_token(opened.token_client, opened.instagram_client, name, token)
        )
    one = _choose(found, chosen)
    note(f"It is {one.sentence}.")
    if one.lacking:
        note(f"⚠️  It lacks {' and '.join(one.lacking)}: no first comments or figures without them.")
    if not yes and not one.missing and sys.stdin.isatty():
        typer.confirm("Store it?", default=True, abort=True, err=True)
    with opened.database.session_scope() as session:
        return connecting.keep_found(session, opened.keyring, persona_id, one)


def _token(login: LoginName, *, from_stdin: bool) -> str:
    given = os.environ.get(FROM_ENVIRONMENT, "").strip()
    if not from_stdin and given:
        return given
    if not from_stdin and not sys.stdin.isatty():
        raise InvalidRequest(
            "There is no terminal to type the token at.",
            hint=f"Pipe it in with --token-stdin, or set {FROM_ENVIRONMENT}.",
        )
    if not from_stdin:
        for number, step in enumerate(guide.steps(login_of(login)), 1):
            note(f"{number}. {step}")
    token = (sys.stdin.readline() if from_stdin else getpass("Token (not shown): ")).strip()
    if not token:
        raise InvalidRequest("The token is empty.", hint="Paste it once; it is kept encrypted.")
    return token


def _choose(found: tuple[connecting.Found, ...], chosen: str) -> connecting.Found:
    """The account that is meant; asks where the login leads to several."""
    wanted = chosen.removeprefix("@").casefold()
    if wanted:
        named = [one for one in found if wanted in {one.account.ig_user_id, one.account.username.casefold()}]
        if named:
            return named[0]
        raise InvalidRequest(
            f"This login does not lead to {chosen}.",
            hint=f"It leads to {', '.join(one.account.username for one in found)}.",
        )
    if len(found) == 1:
        return found[0]
    if not sys.stdin.isatty():
        names = ", ".join(one.account.username for one in found)
        raise InvalidRequest("This login leads to several accounts.", hint=f"Say --account: {names}.")
    for place, one in enumerate(found, 1):
        note(f"{place}. {one.sentence}")
    number: int = typer.prompt("Which one?", type=int, err=True)
    if not 1 <= number <= len(found):
        raise InvalidRequest("There is no such line.", hint=f"1 to {len(found)}.")
    return found[number - 1]


async def _by_browser(opened: Resources, name: LoginName) -> tuple[connecting.Found, ...]:
    login, settings = login_of(name), opened.settings
    async with opened.token_client(name) as tokens:
        if login.loopback or settings.environment == "sandbox":
            async with oauth.LoopbackRedirect() as back:
                attempt = oauth.begin_login(tokens, back.redirect, state=back.state)
                note(f"Open this page, log in and agree; this command waits:\n{attempt.page}")
                code = await back.code()
        else:
            redirect = oauth.required_redirect(settings.instagram.redirect_url)
            attempt = oauth.begin_login(tokens, redirect)
            note(f"Open this page, log in and agree:\n{attempt.page}")
            words = "Paste the address that the browser ended at (not shown): "
            code = oauth.pasted_code(await asyncio.to_thread(getpass, words), attempt)
    return await connecting.find_by_code(opened.token_client, opened.instagram_client, name, code, attempt)
