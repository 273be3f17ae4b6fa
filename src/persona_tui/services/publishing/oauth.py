"""A login at Meta in the operator's browser: where it leads back to, and the code that comes with it.

Where Meta lets a login lead back to plain http, it leads to a server on loopback that lives for one login:
a random port, a random path that only this login knows, a state that must come back, Host and Origin
checked (R28). Elsewhere it leads to an address of the operator's, and the code is pasted from there.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from persona_tui.clients.instagram_tokens import TokenClient
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.text import clean

LOOPBACK = "127.0.0.1"
LOGIN_SECONDS = 600.0
_LONGEST_REQUEST = 16_384
_READ_SECONDS = 5.0
_PAGE = (
    "<!doctype html><meta charset=utf-8><meta name=referrer content=no-referrer><title>persona-tui</title>"
    "<p>{words}</p>"
)


@dataclass(frozen=True)
class LoginAttempt:
    """One login that was begun.

    Attributes:
        page: to be opened in a browser.
        redirect: where Meta sends the browser afterwards.
        state: comes back with the code.
        verifier: of PKCE; None where the login has none.
    """

    page: str
    redirect: str
    state: str = field(repr=False)
    verifier: str | None = field(repr=False)


def begin_login(tokens: TokenClient, redirect: str, *, state: str | None = None) -> LoginAttempt:
    """Begin a login that leads back to `redirect`.

    Raises:
        AppMissing: the Meta app's id and secret are not set.
    """
    state = state or secrets.token_urlsafe(24)
    verifier = secrets.token_urlsafe(48) if tokens.login.pkce else None
    challenge = None
    if verifier is not None:
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    page = tokens.dialog_url(redirect=redirect, state=state, challenge=challenge)
    return LoginAttempt(page, redirect, state, verifier)


def pasted_code(pasted: str, attempt: LoginAttempt) -> SecretStr:
    """The code in what the operator pasted: the whole address that the browser ended at, or the code alone.

    Raises:
        InvalidRequest: it holds none, or belongs to another login.
    """
    words = pasted.strip()
    if "://" not in words and "code=" not in words:
        return _checked_code(words)
    return _code_in(parse_qs(urlsplit(words).query or words.partition("?")[2]), attempt.state)


def _code_in(answer: dict[str, list[str]], state: str) -> SecretStr:
    if not secrets.compare_digest(answer.get("state", [""])[-1].encode(), state.encode()):
        raise InvalidRequest("That answer belongs to another login.", hint="Begin the login again.")
    if "error" in answer:
        said = clean(answer.get("error_description", answer["error"])[-1], keep_lines=False)[:200]
        raise NotAllowedNow(f"The login was not granted: {said}.", hint="Begin again and agree at Meta.")
    return _checked_code(answer.get("code", [""])[-1])


def _checked_code(code: str) -> SecretStr:
    code = code.partition("#")[0].strip()
    if not 8 <= len(code) <= 2048 or not code.isascii() or any(letter.isspace() for letter in code):
        raise InvalidRequest(
            "There is no code in that.", hint="Paste the whole address that the browser ended at."
        )
    return SecretStr(code)


def required_redirect(url: str | None) -> str:
    """The address of the settings.

    Raises:
        NotAllowedNow: none is set.
    """
    if url is None:
        raise NotAllowedNow(
            "Instagram Login leads back to https addresses only, and none is set.",
            hint="Set PERSONA_INSTAGRAM__REDIRECT_URL to one that the Meta app knows, or paste a token.",
        )
    return url


class LoopbackRedirect:
    """A server on loopback that waits for one login to come back; an async context manager.

    Attributes:
        redirect: the address that the login leads back to.
        state: to be sent with the login.
    """

    def __init__(self) -> None:
        self.redirect = ""
        self.state = secrets.token_urlsafe(24)
        self._path = f"/{secrets.token_urlsafe(24)}"
        self._hosts: frozenset[str] = frozenset()
        self._code: asyncio.Future[SecretStr] | None = None
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._code = asyncio.get_running_loop().create_future()
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0, family=2, limit=_LONGEST_REQUEST)
        port = int(self._server.sockets[0].getsockname()[1])
        # Meta lets an app in development lead back to "localhost" by that name.
        self.redirect = f"http://localhost:{port}{self._path}"
        self._hosts = frozenset({f"localhost:{port}", f"{LOOPBACK}:{port}"})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None and self._code is not None
        self._server.close()
        self._code.cancel()

    async def code(self, seconds: float = LOGIN_SECONDS) -> SecretStr:
        """Wait for the login to come back.

        Raises:
            NotAllowedNow: it was refused at Meta, or did not come back in time.
            InvalidRequest: it came back without a code.
        """
        assert self._code is not None
        try:
            return await asyncio.wait_for(asyncio.shield(self._code), seconds)
        except TimeoutError:
            raise NotAllowedNow(
                "The login did not come back from the browser.", hint="Begin again, or paste a token."
            ) from None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; whatever is not the login coming back changes nothing."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            status, words = self._answer(head.decode("latin-1"))
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            status, words = "400 Bad Request", "That could not be read."
        body = _PAGE.format(words=words).encode()
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nConnection: close\r\n\r\n".encode()
        )
        writer.write(body)
        try:
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _answer(self, head: str) -> tuple[str, str]:
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        target = urlsplit(rest.partition(" ")[0])
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self._hosts or (origin is not None and origin != f"http://{host}"):
            return "403 Forbidden", "Not from there."
        if not secrets.compare_digest(target.path.encode(), self._path.encode()):
            return "404 Not Found", "There is nothing here."
        if method != "GET":
            return "405 Method Not Allowed", "Not that way."
        assert self._code is not None
        if self._code.done():
            return "410 Gone", "This login is over."
        try:
            self._code.set_result(_code_in(parse_qs(target.query), self.state))
        except InvalidRequest as problem:  # another page tried: the login goes on
            return "400 Bad Request", problem.message
        except NotAllowedNow as problem:
            self._code.set_exception(problem)
            return "200 OK", "Nothing was granted. You can close this page."
        return "200 OK", "Done. Go back to persona-tui; you can close this page."


__all__ = ["LoginAttempt", "LoopbackRedirect", "begin_login", "pasted_code", "required_redirect"]
