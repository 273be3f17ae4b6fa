"""The two logins that lead to an Instagram account: what differs between them, as data.

Sources: Meta's guides "Instagram API with Instagram Login" and "Instagram API with Facebook Login"
(publishing reference, A.1 and A.8).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from persona_tui.errors import InvalidRequest

LoginName = Literal["instagram", "facebook"]


@dataclass(frozen=True, slots=True)
class Login:
    """One of Meta's two ways to an account.

    Attributes:
        host: where all calls with its tokens go.
        dialog: the page on which the account's owner agrees; `{version}` is filled in.
        code_host: where the code from that page is changed for a token.
        reads_caption: captions can be read back.
        proves: calls carry `appsecret_proof`.
        pkce: the dialog takes a code challenge.
        loopback: the dialog leads back to a plain http address of this machine.
        needed: permissions without which nothing is published.
        wanted: permissions for first comments and figures.
    """

    name: LoginName
    title: str
    host: str
    dialog: str
    code_host: str
    reads_caption: bool
    proves: bool
    pkce: bool
    loopback: bool
    needed: tuple[str, ...]
    wanted: tuple[str, ...]


INSTAGRAM = Login(
    name="instagram",
    title="Instagram Login",
    host="https://graph.instagram.com",
    dialog="https://www.instagram.com/oauth/authorize",
    code_host="https://api.instagram.com",
    # Meta on IG Media's caption: "Facebook Login only".
    reads_caption=False,
    proves=False,
    pkce=False,
    loopback=False,
    needed=("instagram_business_basic", "instagram_business_content_publish"),
    wanted=("instagram_business_manage_comments", "instagram_business_manage_insights"),
)
FACEBOOK = Login(
    name="facebook",
    title="Facebook Login",
    host="https://graph.facebook.com",
    dialog="https://www.facebook.com/{version}/dialog/oauth",
    code_host="https://graph.facebook.com",
    reads_caption=True,
    proves=True,
    pkce=True,
    # Meta lets an app in development mode lead back to http://localhost.
    loopback=True,
    needed=("instagram_basic", "instagram_content_publish", "pages_read_engagement", "pages_show_list"),
    wanted=("instagram_manage_comments", "instagram_manage_insights"),
)
LOGINS: dict[str, Login] = {login.name: login for login in (INSTAGRAM, FACEBOOK)}


@dataclass(frozen=True, slots=True)
class Grant:
    """What an account's calls stand on.

    Attributes:
        token: carried by every call.
        root: under Facebook Login the user's token, from which `token`, the Page's, was derived; None where
            only a Page's or a system user's token was given, which has no end and can't be renewed.
    """

    token: SecretStr
    root: SecretStr | None = None


def login_of(name: str) -> Login:
    """The login of that name.

    Raises:
        InvalidRequest: there is none.
    """
    try:
        return LOGINS[name]
    except KeyError:
        raise InvalidRequest(
            f"There is no login called {name[:40]}.", hint="Use instagram or facebook."
        ) from None


def secret_proof(app_secret: SecretStr, token: SecretStr) -> str:
    """`appsecret_proof`: hex HMAC-SHA256 of the token under the app's secret."""
    key = app_secret.get_secret_value().encode()
    return hmac.new(key, token.get_secret_value().encode(), hashlib.sha256).hexdigest()


__all__ = ["FACEBOOK", "INSTAGRAM", "LOGINS", "Grant", "Login", "LoginName", "login_of", "secret_proof"]
