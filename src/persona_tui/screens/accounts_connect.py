"""Connecting an account in the app: what to click at Meta, a token or a login, whose it is, then yes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from persona_tui.screens.accounts_lines import guide_text
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import ChoiceField, SecretField
from persona_tui.widgets.form import FormDialog, Values
from persona_tui.widgets.reader import TextDialog

if TYPE_CHECKING:
    from pydantic import SecretStr

    from persona_tui.clients.instagram_login import LoginName
    from persona_tui.resources import Resources
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.publishing.accounts import AccountView
    from persona_tui.services.publishing.connecting import Found
    from persona_tui.services.publishing.oauth import LoginAttempt

LOGIN_CHOICES = (("instagram", "Instagram Login"), ("facebook", "Facebook Login (with a Page)"))
ABOUT = (
    "Paste the token that Meta's dashboard shows, or leave it empty to log in through the browser. Meta is"
    " asked whose it is before anything is kept; then it is kept encrypted."
)
BACK_BY_ITSELF = (
    "The page's address is in the clipboard and below. Open it on this machine, log in and agree: this dialog"
    " closes by itself. If the browser ends at an error, paste the address that it ended at."
)
PASTE_IT = (
    "The page's address is in the clipboard and below. Open it, log in and agree; then paste the address that"
    " the browser ended at."
)


async def show_guide(screen: PersonaScreen) -> None:
    """What to click at Meta, for both logins."""
    from persona_tui.clients.instagram_login import LOGINS
    from persona_tui.services.publishing.guide import steps

    text = guide_text([(login.title, steps(login)) for login in LOGINS.values()])
    await screen.ask(TextDialog("What to click at Meta", text))


async def connect_account(
    screen: PersonaScreen, persona_id: int, name: str, *, known: AccountView | None = None
) -> AccountView | None:
    """Lead the operator from nothing to a stored account.

    Args:
        name: of the persona.
        known: the account that gets a new token; None: any, and the steps at Meta are shown first.

    Returns:
        The account; None when the operator thought better of it.
    """
    from persona_tui.services.publishing.connecting import keep_found

    if known is None:
        await show_guide(screen)
    found = await _found(screen, name, known)
    one = None if found is None else await _chosen(screen, found, known)
    if one is None:
        return None
    lacking = f"It lacks {' and '.join(one.lacking)}." if one.lacking else ""
    question = f"{name} posts as {one.sentence}. Keep it?"
    if not await screen.ask(ConfirmDialog(question, lacking, title="Is it this one?", yes="Keep", no="No")):
        return None
    return await screen.act(keep_found, screen.shell.core.resources.keyring, persona_id, one)


async def _found(screen: PersonaScreen, name: str, known: AccountView | None) -> tuple[Found, ...] | None:
    """What a token or a login leads to; None: given up."""
    from pydantic import SecretStr

    from persona_tui.clients.instagram_login import login_of
    from persona_tui.services.publishing.connecting import find_by_token

    resources, found = screen.shell.core.resources, list[tuple["Found", ...]]()

    async def submit(typed: Values) -> None:
        token, login = typed["token"], login_of(typed["login"])
        if token:
            clients = resources.token_client, resources.instagram_client
            found.append(await find_by_token(*clients, login.name, SecretStr(token)))

    fields = [
        ChoiceField(
            name="login", label="Login", choices=LOGIN_CHOICES, value=known.login if known else "instagram"
        ),
        SecretField(name="token", label="Token", hint="Empty: log in through the browser."),
    ]
    form = FormDialog(f"Instagram account of {name}", fields, about=ABOUT, submit=submit)
    typed = await screen.ask(form)
    if typed is None:
        return None
    return found[-1] if found else await _by_browser(screen, resources, login_of(typed["login"]).name)


async def _chosen(screen: PersonaScreen, found: tuple[Found, ...], known: AccountView | None) -> Found | None:
    """The account that is meant; asks where the login leads to several."""
    if known is not None:
        found = tuple(one for one in found if one.account.ig_user_id == known.ig_user_id) or found
    if len(found) == 1:
        return found[0]
    choices = [Choice(one, f"@{one.account.username}", one.account.page) for one in found]
    chosen = await screen.ask(ChoiceDialog("Which account?", choices))
    return None if chosen is None else chosen.value


async def _by_browser(
    screen: PersonaScreen, resources: Resources, name: LoginName
) -> tuple[Found, ...] | None:
    from persona_tui.clients.instagram_login import login_of
    from persona_tui.services.publishing import connecting, oauth

    settings = screen.shell.settings
    async with resources.token_client(name) as tokens:
        if login_of(name).loopback or settings.environment == "sandbox":
            async with oauth.LoopbackRedirect() as back:
                attempt = oauth.begin_login(tokens, back.redirect, state=back.state)
                code = await _code(screen, attempt, back)
        else:
            attempt = oauth.begin_login(tokens, oauth.required_redirect(settings.instagram.redirect_url))
            code = await _code(screen, attempt, None)
    if code is None:
        return None
    screen.flash("Asking Meta whose it is…", "busy", seconds=60)
    clients = resources.token_client, resources.instagram_client
    return await connecting.find_by_code(*clients, name, code, attempt)


async def _code(screen: PersonaScreen, attempt: LoginAttempt, back: object) -> SecretStr | None:
    """The code of the login: by the loopback server, or pasted, whichever comes first."""
    from persona_tui.services.publishing.oauth import LoopbackRedirect, pasted_code

    codes: list[SecretStr] = []

    async def submit(typed: Values) -> None:
        codes.append(pasted_code(typed["address"], attempt))

    about = f"{BACK_BY_ITSELF if back else PASTE_IT}\n\n{attempt.page}"
    field = SecretField(name="address", label="Address", required=True)
    form = FormDialog("Log in at Meta", [field], about=about, submit=submit)
    screen.app.copy_to_clipboard(attempt.page)
    if not isinstance(back, LoopbackRedirect):
        await screen.ask(form)
        return codes[-1] if codes else None
    coming = asyncio.create_task(back.code())
    coming.add_done_callback(lambda task: task.cancelled() or form.call_later(_close, form))
    try:
        await screen.ask(form)
        if codes or not coming.done():
            return codes[-1] if codes else None
        return coming.result()
    finally:
        coming.cancel()


def _close(form: FormDialog) -> None:
    """Close it from outside of its own keys; `dismiss` itself would be awaited, which Textual forbids."""
    form.dismiss(None)
