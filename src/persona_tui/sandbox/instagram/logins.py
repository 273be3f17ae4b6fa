"""Both logins as Meta's servers speak them: dialog, codes, exchange, renewal, and whose a token is.

The Meta app of the sandbox has the id `APP_ID` and the sandbox's bearer as its secret. The routes here
stand outside of the gate's bearer, as Meta's do: each checks the app's secret, a code or a token itself.
Faults are planned by the names `exchange_code`, `exchange_token`, `refresh_access_token`, `debug_token` and
`me_accounts`. Steering, under the sandbox's bearer: `POST /sandbox/tokens`, `POST /sandbox/token_ends`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Scope

from persona_tui.sandbox.control import SandboxContext
from persona_tui.sandbox.instagram.errors import refused
from persona_tui.sandbox.instagram.fields import pick
from persona_tui.sandbox.instagram.store import Account, Store
from persona_tui.sandbox.instagram.tokens import (
    LONG_SECONDS,
    PUBLISH_SCOPES,
    SCOPES,
    SHORT_SECONDS,
    YOUNGEST_SECONDS,
    Issued,
    LoginName,
    TokenKind,
    Tokens,
    caller,
)

APP_ID = "2000000000000001"
CODE_SECONDS = 600.0
OPEN_PATHS = frozenset(
    {"/oauth/authorize", "/dialog/oauth", "/oauth/access_token", "/access_token", "/debug_token"}
)
_PUBLISHING = frozenset({"create_container", "media_publish", "publishing_limit"})
_PAGE = 25


class NewToken(BaseModel):
    """A token to issue, as a person would get it at Meta."""

    model_config = ConfigDict(extra="forbid")

    ig_user_ids: tuple[str, ...] = Field(min_length=1)
    login: LoginName = "instagram"
    kind: TokenKind = "account"
    seconds: float | None = LONG_SECONDS
    age: float = Field(default=0, ge=0)
    """Seconds since it was issued; its end is counted from then."""
    scopes: tuple[str, ...] | None = None


class TokenEnd(BaseModel):
    """Tokens of an account to end (or, without a subcode, to revive)."""

    model_config = ConfigDict(extra="forbid")

    ig_user_id: str
    subcode: int | None = None
    token: str | None = None


@dataclass(frozen=True)
class _Code:
    login: LoginName
    ig_user_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str | None
    expires_at: float


class Logins:
    """Tokens and the calls about them."""

    def __init__(self, context: SandboxContext, store: Store) -> None:
        self.context = context
        self.store = store
        self.tokens = Tokens(context.state_dir / "tokens.sqlite")
        self._codes: dict[str, _Code] = {}

    # The gate, and every call of the graph

    def lets_in(self, scope: Scope) -> bool:
        """Whether a call without the sandbox's bearer may go on to the app, which then looks closer."""
        path = "/" + str(scope["path"]).lstrip("/")
        if path.startswith("/v") and path.count("/") > 1:
            path = path[path.index("/", 1) :]
        own = secrets.compare_digest(_given(scope).encode(), self.context.token.encode())
        return own or path in OPEN_PATHS or self._token_of(scope) is not None

    def token_of(self, request: Request) -> Issued | None:
        """The token of a call; None: it came under the sandbox's bearer."""
        return self._token_of(request.scope)

    def _token_of(self, scope: Scope) -> Issued | None:
        return self.tokens.find(_given(scope))

    def check(self, token: Issued, call: str, ig_user_id: str | None, proof: str | None) -> None:
        """Raises:
        Refused: the token is dead, is not for this account or this call, or the app's proof is wrong.
        """
        token.refuse_if_dead(self._now())
        if ig_user_id is not None and ig_user_id not in token.ig_user_ids:
            raise refused(100, 33)
        if call in _PUBLISHING and not set(PUBLISH_SCOPES) & set(token.scopes):
            raise refused(10)
        if token.login == "facebook" and proof is not None and proof != self._proof(token.token):
            raise refused(100, None, "Invalid appsecret_proof provided in the API argument")

    def _proof(self, token: str) -> str:
        return hmac.new(self.context.token.encode(), token.encode(), hashlib.sha256).hexdigest()

    def _now(self) -> float:
        return self.context.clock.now().timestamp()

    # The dialog

    async def authorize(self, request: Request) -> Response:
        """The owner agrees at once: back to the redirect address with a code and the state."""
        asked = request.query_params
        login: LoginName = "facebook" if request.url.path.endswith("/dialog/oauth") else "instagram"
        redirect = asked.get("redirect_uri", "")
        if asked.get("client_id") != APP_ID or asked.get("response_type", "code") != "code":
            return Response("Invalid platform app", status_code=400)
        if not _may_lead_to(redirect):
            return Response("Invalid redirect_uri", status_code=400)
        account = next(one for one in self.store.accounts() if one.is_me)
        code = secrets.token_urlsafe(24)
        granted = tuple(name for name in SCOPES[login] if name in asked.get("scope", ""))
        self._codes[code] = _Code(
            login,
            account.ig_user_id,
            redirect,
            granted,
            asked.get("code_challenge"),
            self._now() + CODE_SECONDS,
        )
        answer = urlencode({"code": code, "state": asked.get("state", "")})
        joint = "&" if urlsplit(redirect).query else "?"
        return RedirectResponse(f"{redirect}{joint}{answer}#_", status_code=302)

    # Codes and tokens

    async def code_for_token(self, request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`oauth/access_token`: a code, or with Facebook a short-lived token, for a token."""
        self._check_app(asked)
        if asked.get("grant_type") == "fb_exchange_token":
            return self._lengthened(self._alive(asked.get("fb_exchange_token"), "facebook"))
        code = self._codes.pop(str(asked.get("code", "")).removesuffix("#_"), None)
        if code is None or self._now() >= code.expires_at:
            raise refused(100, None, "This authorization code has been used or has expired")
        if code.redirect_uri != asked.get("redirect_uri"):
            raise refused(100, None, "Error validating verification code: redirect_uri differs")
        if code.challenge is not None and code.challenge != _challenge(str(asked.get("code_verifier", ""))):
            raise refused(100, None, "Invalid code_verifier")
        kind: TokenKind = "account" if code.login == "instagram" else "user"
        token = self._issue(code.login, kind, (code.ig_user_id,), code.scopes, SHORT_SECONDS)
        if code.login == "facebook":
            return _told(token, self._now())
        permissions = ",".join(token.scopes)
        return {"access_token": token.token, "user_id": int(code.ig_user_id), "permissions": permissions}

    async def lengthen(self, _request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`access_token` of Instagram Login: a short-lived token for one of 60 days."""
        self._check_app(asked, with_id=False)
        if asked.get("grant_type") != "ig_exchange_token":
            raise refused(100, None, "(#100) grant_type must be ig_exchange_token")
        own = asked.get("access_token") == self.context.token
        token = None if own else self._alive(asked.get("access_token"), "instagram")
        if token is None or not token.is_short:
            raise refused(100, None, "Unsupported request: the token is long-lived already")
        return self._lengthened(token)

    async def refresh(self, _request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`refresh_access_token`: 60 more days for a token that is a day old and alive."""
        if asked.get("grant_type") != "ig_refresh_token":
            raise refused(100, None, "(#100) grant_type must be ig_refresh_token")
        held = caller()
        if held is None:  # the sandbox's own bearer has no end
            return {
                "access_token": self.context.token,
                "token_type": "bearer",
                "expires_in": int(LONG_SECONDS),
            }
        token = self._alive(held.token, "instagram")
        if token.is_short or self._now() - token.issued_at < YOUNGEST_SECONDS:
            raise refused(100, None, "(#100) The access token is too young to be refreshed")
        return self._lengthened(token)

    async def debug(self, _request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`debug_token`, under the app's own token."""
        if asked.get("access_token") != f"{APP_ID}|{self.context.token}":
            raise refused(190, None, "Invalid OAuth access token signature")
        token = self.tokens.find(str(asked.get("input_token")))
        if token is None or token.login != "facebook":
            return {"data": {"is_valid": False, "error": refused(190).error.body()["error"], "scopes": []}}
        ended = token.expires_at is not None and self._now() >= token.expires_at
        return {
            "data": {
                "app_id": APP_ID,
                "type": token.kind.upper(),
                "is_valid": not ended and token.dead_subcode is None,
                "issued_at": int(token.issued_at),
                "expires_at": 0 if token.expires_at is None else int(token.expires_at),
                "data_access_expires_at": int(token.issued_at + 90 * 24 * 3600),
                "scopes": list(token.scopes),
            }
        }

    async def pages(self, _request: Request, asked: Mapping[str, Any]) -> dict[str, Any]:
        """`me/accounts`: the pages that the user may act for, each with a token of its own."""
        user = caller()
        if user is None or user.kind != "user":
            raise refused(100, None, "(#100) Tried accessing nonexisting field (accounts)")
        start = int(asked.get("after", "0"))
        accounts = [self.store.account(one) for one in user.ig_user_ids]
        known = [account for account in accounts if account is not None]
        found = [self._page(user, account) for account in known[start : start + _PAGE]]
        answer: dict[str, Any] = {"data": found}
        if start + _PAGE < len(known):
            answer["paging"] = {
                "cursors": {"after": str(start + _PAGE)},
                "next": "https://graph.facebook.com/",
            }
        return answer

    def _page(self, user: Issued, account: Account) -> dict[str, Any]:
        # Pages of a long-lived user token have tokens without an end.
        seconds = SHORT_SECONDS if user.is_short else None
        token = self._issue("facebook", "page", (account.ig_user_id,), user.scopes, seconds)
        return {
            "id": page_id(account.ig_user_id),
            "name": f"{account.username} on Facebook",
            "access_token": token.token,
            "instagram_business_account": {"id": account.ig_user_id, "username": account.username},
        }

    def me(self, token: Issued, fields: str | None) -> dict[str, Any] | None:
        """`/me` under Facebook Login: the user or the page; None: Instagram's own `/me` answers."""
        if token.login == "instagram":
            return None
        node_id = page_id(token.ig_user_ids[0]) if token.kind == "page" else "7000000000000001"
        return pick(fields, {"id": lambda: node_id, "name": lambda: "Sandbox"}, token.kind.title())

    def _check_app(self, asked: Mapping[str, Any], *, with_id: bool = True) -> None:
        if with_id and str(asked.get("client_id")) != APP_ID:
            raise refused(100, None, "(#100) Invalid client_id")
        if not secrets.compare_digest(str(asked.get("client_secret", "")), self.context.token):
            raise refused(1, None, "Error validating client secret.")

    def _alive(self, token: object, login: LoginName) -> Issued:
        found = self.tokens.find(str(token))
        if found is None or found.login != login:
            raise refused(190)
        found.refuse_if_dead(self._now())
        return found

    def _lengthened(self, token: Issued) -> dict[str, Any]:
        new = self._issue(token.login, token.kind, token.ig_user_ids, token.scopes, LONG_SECONDS)
        return _told(new, self._now())

    def _issue(
        self,
        login: LoginName,
        kind: TokenKind,
        ig_user_ids: tuple[str, ...],
        scopes: tuple[str, ...],
        seconds: float | None,
    ) -> Issued:
        token = self.tokens.issue(login, kind, ig_user_ids, scopes=scopes, now=self._now(), seconds=seconds)
        self.context.ledger.append("token_issued", login=login, kind=kind, ig_user_id=ig_user_ids[0])
        return token

    # Steering

    async def new_token(self, request: Request) -> Response:
        """Issue a token; answers it in clear."""
        new = NewToken.model_validate(await request.json())
        token = self.tokens.issue(
            new.login,
            new.kind,
            new.ig_user_ids,
            scopes=SCOPES[new.login] if new.scopes is None else new.scopes,
            now=self._now() - new.age,
            seconds=new.seconds,
        )
        return JSONResponse({"token": token.token})

    async def end_tokens(self, request: Request) -> Response:
        """End or revive tokens."""
        end = TokenEnd.model_validate(await request.json())
        return JSONResponse({"ended": self.tokens.end(end.ig_user_id, end.subcode, token=end.token)})


def _given(scope: Scope) -> str:
    """The token of a call: from its header, else from the query, where Meta takes it as well."""
    _, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    if not given:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        given = next(iter(query.get("access_token", [])), "")
    return given.strip()


def page_id(ig_user_id: str) -> str:
    """The id of the Facebook Page that an account is linked to."""
    return f"1050{ig_user_id[-11:]}"


def _told(token: Issued, now: float) -> dict[str, Any]:
    answer: dict[str, Any] = {"access_token": token.token, "token_type": "bearer"}
    if token.expires_at is not None:
        answer["expires_in"] = round(token.expires_at - now)
    return answer


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _may_lead_to(redirect: str) -> bool:
    parts = urlsplit(redirect)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
    )
