"""Tokens of both logins: got for a code, made long-lived, renewed, and asked whose they are.

Meta takes tokens and the app's secret in these calls as parameters; they go over TLS to Meta's own hosts
and stand in no error, log or header of ours. Sources: Meta's pages "Access Tokens", "Business Login for
Instagram" and "debug_token" (publishing reference, A.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr

from persona_tui.clients.graph import LIVE_HOSTS, Environment, GraphClient
from persona_tui.clients.instagram_errors import InstagramError
from persona_tui.clients.instagram_facts import id_in, is_id, list_in, next_cursor, whole_number
from persona_tui.clients.instagram_login import Grant, Login, secret_proof
from persona_tui.errors import NotAllowedNow, ServiceGarbled

SHORTEST_TOKEN = 16
LONGEST_LIFE = timedelta(days=100)
"""A longer life than this is none that Meta gives: another tool once stored an end 31 years ahead."""
SHORTEST_RENEWED = timedelta(days=1)
_MOST_PAGES = 500
_ABSURD_END = "Meta answered with an end of the token that can't be; the one in use stays."


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as it was answered.

    Attributes:
        lives_for: None: it has no end, or nothing was said of it.
        scopes: permissions that came with it; None: nothing was said of them.
    """

    token: SecretStr
    lives_for: timedelta | None = None
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reachable:
    """An Instagram account that a token leads to."""

    ig_user_id: str
    username: str
    grant: Grant = field(repr=False)
    page_id: str = ""
    page: str = ""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What Meta says of a token; None: it does not say.

    Attributes:
        lives_for: time left.
    """

    valid: bool
    scopes: tuple[str, ...] | None = None
    lives_for: timedelta | None = None


class AppMissing(NotAllowedNow):
    """A call needs the Meta app's own id and secret."""

    title = "No Meta app"
    hint = "Set PERSONA_INSTAGRAM__APP_ID and PERSONA_INSTAGRAM__APP_SECRET; the app's dashboard shows both."


class TokenClient:
    """Calls about the tokens of one login; a context manager that closes its connections.

    Raises from every call: as `InstagramClient`, and `AppMissing`.
    """

    def __init__(
        self,
        login: Login,
        *,
        app_id: str | None,
        app_secret: SecretStr | None,
        base_url: str | None = None,
        api_version: str = "v26.0",
        environment: Environment = "live",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Args:
        app_id, app_secret: of the Meta app; what needs them says so.
        base_url: of the sandbox; None: Meta's own hosts.

        Raises:
            WrongEnvironment: that is no address for this environment.
        """
        self.login = login
        self._app_id = app_id
        self._app_secret = app_secret
        self._base_url = base_url
        self._version = api_version
        self._options: dict[str, Any] = {
            "api_version": api_version,
            "environment": environment,
            "transport": transport,
        }
        self._graph = _Calls(base_url or login.host, LIVE_HOSTS, self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._graph.aclose()

    def dialog_url(self, *, redirect: str, state: str, challenge: str | None) -> str:
        """The page on which the account's owner agrees.

        Args:
            redirect: where Meta sends the browser afterwards, with the code.
            state: comes back with it.
            challenge: of PKCE; sent where the login takes one.
        """
        asked = {
            "client_id": self._app()[0],
            "redirect_uri": redirect,
            "response_type": "code",
            "scope": ",".join((*self.login.needed, *self.login.wanted)),
            "state": state,
        }
        if self.login.pkce and challenge is not None:
            asked |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        page = self.login.dialog.format(version=self._version)
        if self._base_url is not None:
            path = "dialog/oauth" if self.login.name == "facebook" else "oauth/authorize"
            page = f"{self._base_url.rstrip('/')}/{path}"
        return f"{page}?{urlencode(asked)}"

    async def exchange_code(self, code: SecretStr, *, redirect: str, verifier: str | None) -> IssuedToken:
        """A short-lived token for the code that the dialog gave."""
        app_id, app_secret = self._app()
        form = {
            "client_id": app_id,
            "client_secret": self._graph.clear(app_secret),
            "redirect_uri": redirect,
            "code": self._graph.clear(code),
        }
        if self.login.name == "facebook":
            if verifier is not None:
                form["code_verifier"] = verifier
            return _issued(await self._graph.ask("oauth/access_token", form))
        calls = _Calls(
            self._base_url or self.login.code_host, frozenset({"api.instagram.com"}), self._options
        )
        for secret in (app_secret, code):
            calls.clear(secret)
        try:
            return _issued(
                await calls.post("oauth/access_token", {**form, "grant_type": "authorization_code"})
            )
        finally:
            await calls.aclose()

    async def lengthen(self, token: SecretStr) -> IssuedToken:
        """A token of 60 days for a short-lived one; Facebook also lengthens a long-lived one once more."""
        app_id, app_secret = self._app()
        secret, plain = self._graph.clear(app_secret), self._graph.clear(token)
        if self.login.name == "facebook":
            asked = {
                "grant_type": "fb_exchange_token",
                "client_id": app_id,
                "client_secret": secret,
                "fb_exchange_token": plain,
            }
            return _issued(await self._graph.ask("oauth/access_token", asked))
        asked = {"grant_type": "ig_exchange_token", "client_secret": secret, "access_token": plain}
        return _issued(await self._graph.ask("access_token", asked, versioned=False))

    async def reach(self, token: SecretStr) -> tuple[Reachable, ...]:
        """The Instagram accounts that the token leads to: one, or under Facebook Login one for each Page."""
        if self.login.name == "facebook":
            return await self._pages(token)
        answer = await self._graph.ask("me", {"fields": "user_id,username", **self._as(token)})
        listed = answer.get("data")
        if isinstance(listed, list) and listed and isinstance(listed[0], dict):
            answer = listed[0]  # Meta's documentation shows a list, the service a plain object
        name = self._graph.shown(answer.get("username"))
        return (Reachable(id_in(answer, "user_id" if "user_id" in answer else "id"), name, Grant(token)),)

    async def _pages(self, user: SecretStr) -> tuple[Reachable, ...]:
        fields = "id,name,access_token,instagram_business_account{id,username}"
        asked = {"fields": fields, **self._as(user)}
        found: list[Reachable] = []
        seen = 0
        while True:
            answer = await self._graph.ask("me/accounts", asked)
            pages = list_in(answer, "data")
            seen += len(pages)
            found += [one for one in (self._reachable(page, user) for page in pages) if one is not None]
            after = next_cursor(answer)
            if not pages or after is None or seen >= _MOST_PAGES:
                return tuple(found)
            asked["after"] = after

    def _reachable(self, page: Mapping[str, Any], user: SecretStr) -> Reachable | None:
        """The page's Instagram account; None: it has none, or the user may not act for it."""
        account = page.get("instagram_business_account")
        if not isinstance(account, dict) or not is_id(account.get("id")):
            return None
        if not isinstance(page.get("access_token"), str):
            return None
        token = _issued(page).token
        self._graph.clear(token)
        return Reachable(
            str(account["id"]),
            self._graph.shown(account.get("username")),
            Grant(token, user),
            id_in(page, "id"),
            self._graph.shown(page.get("name")),
        )

    async def renew(self, grant: Grant, ig_user_id: str) -> tuple[Grant, timedelta | None]:
        """A new grant for one that is alive, and how long it lives.

        Instagram Login: `ig_refresh_token`, for a token that is 24 hours old or older. Facebook Login: the
        user's token exchanged, and the Page's derived from it anew.

        Raises:
            NotAllowedNow: it can't be renewed, or no longer leads to that account.
        """
        if self.login.name == "instagram":
            asked = {"grant_type": "ig_refresh_token", "access_token": self._graph.clear(grant.token)}
            new = _issued(await self._graph.ask("refresh_access_token", asked, versioned=False))
            return Grant(new.token), _lasting(new)
        if grant.root is None:
            raise NotAllowedNow(
                "A Page's token that was given alone can't be renewed.", hint="Log in again when it dies."
            )
        user = await self.lengthen(grant.root)
        accounts = await self.reach(user.token)
        mine = next((one for one in accounts if one.ig_user_id == ig_user_id), None)
        if mine is None:
            raise NotAllowedNow(
                "The renewed login no longer leads to this account.",
                hint="Look whether its Page is still linked and you still have a role on it.",
            )
        return mine.grant, _lasting(user)

    async def facts(self, grant: Grant) -> TokenFacts | None:
        """What Meta says of the token; None under Instagram Login, where it says nothing."""
        if self.login.name == "instagram":
            return None
        app_id, app_secret = self._app()
        token = grant.root or grant.token
        asked = {
            "input_token": self._graph.clear(token),
            "access_token": f"{app_id}|{self._graph.clear(app_secret)}",
        }
        data = (await self._graph.ask("debug_token", asked)).get("data")
        if not isinstance(data, dict):
            raise ServiceGarbled("Meta did not say what it knows of the token.")
        scopes = data.get("scopes")
        issued, ends = whole_number(data.get("issued_at")), whole_number(data.get("expires_at"))
        lives = timedelta(seconds=ends - issued) if ends and issued and ends > issued else None
        return TokenFacts(
            data.get("is_valid") is True,
            tuple(str(name) for name in scopes) if isinstance(scopes, list) else None,
            lives,
        )

    def _as(self, token: SecretStr) -> dict[str, str]:
        """Parameters by which a call is the token's."""
        asked = {"access_token": self._graph.clear(token)}
        if self.login.proves and self._app_secret is not None:
            asked["appsecret_proof"] = secret_proof(self._app_secret, token)
        return asked

    def _app(self) -> tuple[str, SecretStr]:
        if self._app_id is None or self._app_secret is None:
            raise AppMissing(f"{self.login.title} needs the Meta app's id and secret for this.")
        return self._app_id, self._app_secret


class _Calls(GraphClient):
    """One host, calls that each carry their own credential."""

    def __init__(self, base_url: str, hosts: frozenset[str], options: Mapping[str, Any]) -> None:
        super().__init__(None, base_url=base_url, hosts=hosts, **options)

    def clear(self, secret: SecretStr) -> str:
        """The secret for a call; masked from now on in whatever is shown."""
        return self._kept_out(secret)

    def shown(self, value: object) -> str:
        """A text of Meta's, fit to be shown."""
        return self._outside_text(value)

    async def ask(self, path: str, params: Mapping[str, str], *, versioned: bool = True) -> dict[str, Any]:
        """GET."""
        return await self._call("GET", path, params=dict(params), versioned=versioned)

    async def post(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        """POST outside of the versions."""
        answer = await self._call("POST", path, data=dict(form), versioned=False)
        listed = answer.get("data")
        return listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else answer


def _issued(answer: Mapping[str, Any]) -> IssuedToken:
    """The token in an answer.

    Raises:
        ServiceGarbled: there is none that could be one.
    """
    token = answer.get("access_token")
    if not isinstance(token, str) or len(token) < SHORTEST_TOKEN or not token.isascii() or " " in token:
        raise ServiceGarbled("Meta answered without a usable token; the one in use stays.", status=200)
    seconds = whole_number(answer.get("expires_in"))
    if seconds is not None and not 0 < seconds <= LONGEST_LIFE.total_seconds():
        raise ServiceGarbled(_ABSURD_END, status=200)
    lives_for = None if seconds is None else timedelta(seconds=seconds)
    granted = answer.get("permissions")
    names = granted.split(",") if isinstance(granted, str) else granted
    scopes = tuple(str(name).strip() for name in names) if isinstance(names, list) else None
    return IssuedToken(SecretStr(token), lives_for, scopes)


def _lasting(new: IssuedToken) -> timedelta | None:
    """The life of a renewed token, which is given for weeks.

    Raises:
        ServiceGarbled: it would be over within a day.
    """
    if new.lives_for is not None and new.lives_for < SHORTEST_RENEWED:
        raise ServiceGarbled(_ABSURD_END, status=200)
    return new.lives_for


__all__ = [
    "AppMissing",
    "InstagramError",
    "IssuedToken",
    "Reachable",
    "TokenClient",
    "TokenFacts",
]
