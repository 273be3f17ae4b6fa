"""The door in front of every stand-in: who may come in, and from where (R28)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Literal

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

Credential = Literal["bearer", "x-goog-api-key", "none"]
Unauthorized = Callable[[str], Response]

LetsIn = Callable[[Scope], bool]

CONTROL_PREFIX = "/_sandbox/"
STEERING_PREFIX = "/sandbox/"


class Gate:
    """ASGI application that checks Host, Origin and credential, then hands on to stand-in or control.

    A browser page that was lured to a loopback port fails at the Host (DNS rebinding), at the Origin
    (cross-site request) and at the credential, which is new at every start.
    """

    def __init__(
        self, app: Starlette, control: Starlette, *, port: int, token: str, credential: Credential
    ) -> None:
        """Args:
        app: the stand-in; `app.state.unauthorized(reason)` may make its answer to a wrong credential, and
            `app.state.lets_in(scope)` lets in what carries a credential that the app itself has issued.
        control: answers all paths under /_sandbox/, always under the bearer.
        port: the port that is listened on; part of every allowed Host.
        token: the one credential.
        credential: where the stand-in's callers put it.
        """
        self._app = app
        self._control = control
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
        self._token = token
        self._credential = credential

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's scope: lifespan, http or websocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._inner(scope)(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            await refusal(scope, receive, send)

    def _inner(self, scope: Scope) -> Starlette:
        return self._control if _is_control(scope) else self._app

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts:
            return Response(status_code=403)
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return Response(status_code=403)
        if self._lets_in(headers, "bearer" if _is_control(scope) else self._credential):
            return None
        by_app: LetsIn | None = getattr(self._app.state, "lets_in", None)
        if by_app is not None and not _is_inside(scope) and by_app(scope):
            return None
        return self._unauthorized("The sandbox's token is missing or wrong.", control=_is_control(scope))

    def _lets_in(self, headers: Headers, credential: Credential) -> bool:
        if credential == "none":
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        given = given.strip() if scheme.lower() == "bearer" else ""
        if credential != "bearer" and credential in headers:
            # A bearer does as well: Gemini's port also speaks the OpenAI-compatible protocol.
            given = headers[credential]
        return secrets.compare_digest(given.encode(), self._token.encode())

    def _unauthorized(self, reason: str, *, control: bool) -> Response:
        own_words: Unauthorized | None = getattr(self._app.state, "unauthorized", None)
        if own_words is not None and not control:
            return own_words(reason)
        return JSONResponse({"error": reason}, status_code=401, headers={"WWW-Authenticate": "Bearer"})


def _is_inside(scope: Scope) -> bool:
    """Whether only who started the sandbox may call there."""
    return str(scope["path"]).startswith((CONTROL_PREFIX, STEERING_PREFIX))


def _is_control(scope: Scope) -> bool:
    return str(scope["path"]).startswith(CONTROL_PREFIX)
