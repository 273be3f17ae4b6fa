"""Item 5 in the app: an account connected step by step, checked, stopped and given a new token."""

from __future__ import annotations

from pathlib import Path

import httpx
from pydantic import SecretStr
from textual.widgets import Input

from persona_tui.database.engine import Database
from persona_tui.screens.accounts import AccountsScreen
from persona_tui.services.publishing.accounts import stop_account
from persona_tui.settings import InstagramSettings
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.reader import TextDialog
from tests.support.publishing import World, add_persona, make_world
from tests.support.publishing_sandbox import end_tokens, new_token
from tests.ui.quiet_core import QuietCore, app_over, asked, fill, form_opens, saved, says, shows, until
from tests.ui.support import screen_text

LARGE = (160, 48)


def core_of(world: World, folder: Path) -> QuietCore:
    instagram: InstagramSettings = world.settings.instagram
    return QuietCore(world.db, folder, instagram=instagram)


async def test_publishing_5_an_account_is_connected_checked_and_revived_in_the_app(
    db: Database, tmp_path: Path
) -> None:
    world = make_world(db, tmp_path)
    add_persona(world, "Bea", "instagram")
    world.do("DELETE FROM instagram_accounts WHERE id <> :id", id=world.account_id)
    world.do("DELETE FROM personas WHERE id <> :id", id=world.persona_id)
    end_tokens(world.ig_user_id, 460)
    with db.session_scope() as session:
        stop_account(session, world.account_id, "paused", "The token died with a change of the password.")
    token = new_token(world.ig_user_id, seconds=3600)
    app = app_over(core_of(world, tmp_path))
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: "Dashboard" in screen_text(pilot))
        await shows(pilot, "@bea is paused")
        await pilot.press("ctrl+y")
        await until(pilot, lambda: isinstance(app.screen, AccountsScreen))
        await shows(pilot, "⏸ paused")
        await pilot.press("k")
        await shows(pilot, "token: ")
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        await shows(pilot, "Generate token")
        await pilot.press("escape")
        await pilot.press("n")
        await form_opens(pilot)
        await fill(pilot, token=token)
        assert app.screen.query_one(Input).password and token not in screen_text(pilot)
        await saved(pilot)
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await shows(pilot, f"@bea ({world.ig_user_id}), its token for 60 days")
        assert token not in app.export_screenshot()
        assert asked(db, "SELECT status FROM instagram_accounts") == "paused"  # kept only after the yes
        await pilot.press("y")
        await says(pilot, "posts as @bea")
        await shows(pilot, "● active")
        await pilot.press("k")
        await shows(pilot, "0 of 50 posts used")
        pasted = world.stored_token()
        await pilot.press("n")
        await form_opens(pilot)
        await saved(pilot)  # without a token: by the browser
        await shows(pilot, "Log in at Meta")
        async with httpx.AsyncClient(trust_env=False, verify=False, follow_redirects=True) as browser:
            assert "close this page" in (await browser.get(app.clipboard)).text
        await shows(pilot, "Is it this one?")
        await pilot.press("y")
        await until(pilot, lambda: world.stored_token() != pasted)
    stored = SecretStr(world.stored_token())
    assert stored.get_secret_value() not in (token, world.token)
    assert asked(db, "SELECT status FROM instagram_accounts") == "active"
    words = " ".join(world.everything_stored())
    assert not [secret for secret in (token, stored.get_secret_value()) if secret in words]
