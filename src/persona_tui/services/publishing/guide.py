"""What to click at Meta until a token is there, step by step, for both logins.

Menus as in Meta's guides "Get started" of the Instagram API with Instagram Login and with Facebook Login,
autumn 2026; Meta renames them now and then.
"""

from __future__ import annotations

from persona_tui.clients.instagram_login import Login

_FIRST = (
    "In the Instagram app: Settings > Account type: make the account professional (creator or business).",
    "At developers.facebook.com: My Apps > Create app > Other > Business. It may stay in development mode.",
)
_INSTAGRAM = (
    "In the app: add the product Instagram, then open 'API setup with Instagram login'.",
    "App roles > Roles: add the account as an Instagram tester; accept the invitation in the Instagram app"
    " (Settings > Website permissions > Tester invites).",
    "Back in 'API setup with Instagram login': Add account, log in, agree to all permissions.",
    "Press 'Generate token' beside the account and copy it: it is good for 60 days and renewed from here.",
)
_FACEBOOK = (
    "Link the account to a Facebook Page that you manage (Page settings > Linked accounts > Instagram).",
    "In the app: add the product 'Facebook Login for Business'.",
    "Write App ID and App secret (App settings > Basic) into PERSONA_INSTAGRAM__APP_ID and"
    " PERSONA_INSTAGRAM__APP_SECRET.",
    "Tools > Graph API Explorer: choose the app, 'User token', and the permissions {scopes}.",
    "Press 'Generate access token', choose the Page and the account, and copy the token: it is made"
    " long-lived here, and the Page's own token is derived from it.",
)
_BROWSER = (
    "Or log in through the browser: that needs the app's id and secret, and the address that it leads back to"
    " among the app's valid redirect addresses.",
)


def steps(login: Login) -> tuple[str, ...]:
    """The steps from nothing to a token, one sentence each."""
    own = _INSTAGRAM if login.name == "instagram" else _FACEBOOK
    scopes = ", ".join((*login.needed, *login.wanted))
    return (*_FIRST, *(step.replace("{scopes}", scopes) for step in own), *_BROWSER)


__all__ = ["steps"]
