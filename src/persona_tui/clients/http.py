"""One way to talk HTTP: timeouts, numbered boundaries, a last look, and errors without secrets."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Protocol

import httpx

from persona_tui.boundaries import reached
from persona_tui.errors import (
    ClientError,
    KeyRejected,
    ServiceGarbled,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)
from persona_tui.text import clean

LastLook = Callable[[], None]
Take = Callable[[bytes], object]
"""Is handed an answer's body, part by part."""

_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_TRACED = {
    "send_request_headers.started": "before_send",
    "send_request_body.complete": "after_send",
    "receive_response_body.complete": "after_reply",
}
LONGEST_CONNECT = 10.0
"""Seconds."""


class Progress:
    """Remembers how far a request got, so that a failure can say whether anything was sent.

    Attributes:
        sending: the first byte may have been written.
    """

    def __init__(self, last_look: LastLook | None) -> None:
        self.sending = False
        self._last_look = last_look

    def before_send(self) -> None:
        """There is a connection, and the first byte is about to be written."""
        if self._last_look is not None:
            self._last_look()
        reached("http:before_send")
        self.sending = True

    def after_send(self) -> None:
        """The last byte was written."""
        reached("http:after_send")

    def after_reply(self) -> None:
        """The answer was read."""
        reached("http:after_reply")

    async def trace(self, event: str, _info: dict[str, Any]) -> None:
        """What httpx's transport tells of a request."""
        moment = _TRACED.get(event.split(".", 1)[-1])
        if moment is not None:
            getattr(self, moment)()


class Wire(Protocol):
    """A way to one service: sends requests, and fails with httpx's errors."""

    async def exchange(
        self, method: str, path: str, progress: Progress, options: Mapping[str, Any]
    ) -> httpx.Response:
        """Send one request and read the whole answer.

        Args:
            progress: told how far it got.
            options: `params`, `json`, `data`, `files`, as httpx takes them.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: nothing was sent.
            httpx.HTTPError: any other failure.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


@cache
def _certificates() -> ssl.SSLContext:
    """One for the process: to read all certificates takes 75 ms, and each publication makes clients."""
    return httpx.create_ssl_context(trust_env=False)


class HttpxWire:
    """The wire of httpx."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        timeout: float,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        """Args as in `HttpService`."""
        self._transport = transport or httpx.AsyncHTTPTransport(verify=_certificates(), trust_env=False)
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=dict(headers),
            timeout=httpx.Timeout(timeout, connect=min(timeout, LONGEST_CONNECT)),
            follow_redirects=False,
            trust_env=False,
            transport=self._transport,
        )

    async def exchange(
        self, method: str, path: str, progress: Progress, options: Mapping[str, Any]
    ) -> httpx.Response:
        """What the client's own `request` does for one without redirects and authentication flows."""
        response = await self._begun(method, path, progress, options)
        try:
            await response.aread()
        finally:
            await response.aclose()
        if "set-cookie" in response.headers:
            self._client.cookies.extract_cookies(response)
        return response

    async def receive(self, path: str, progress: Progress, take: Take) -> httpx.Response:
        """GET, and hand the answer's body over in parts, as it comes; nothing of it is kept."""
        response = await self._begun("GET", path, progress, {})
        try:
            async for part in response.aiter_bytes():
                take(part)
        finally:
            await response.aclose()
        return response

    async def _begun(
        self, method: str, path: str, progress: Progress, options: Mapping[str, Any]
    ) -> httpx.Response:
        """An answer of which the head was read."""
        timeout = self._client.timeout.as_dict()
        request = self._client.build_request(
            method, path, extensions={"trace": progress.trace, "timeout": timeout}, **options
        )
        response = await self._transport.handle_async_request(request)
        response.request = request
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()


class HttpService:
    """An HTTP service with one base address.

    Raises from every call: `ServiceUnreachable` (nothing was sent), `ServiceTimeout`,
    `ServiceGarbled`, and from `request_json` also `KeyRejected` and `ServiceRefused`.
    No error carries the URL's query, a header or a body that was sent.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
        wire: Wire | None = None,
    ) -> None:
        """Args:
        name: what a person calls the service, for messages.
        base_url: scheme, host, port and path prefix.
        headers: sent with each request; may hold secrets.
        timeout: seconds for one call.
        transport: another way to the network for httpx, for tests.
        wire: another wire than that of httpx; it knows headers and timeout itself.
        """
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._wire = wire or HttpxWire(self.base_url, headers or {}, timeout, transport)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._wire.aclose()

    async def send(
        self, method: str, path: str, *, last_look: LastLook | None = None, **options: Any
    ) -> httpx.Response:
        """Send one request and read the whole answer, whatever its status.

        Args:
            last_look: called after connect and TLS, immediately before the first byte is written;
                what it raises ends the call with nothing sent.
        """
        progress = Progress(last_look)
        with self.in_own_words(progress):
            return await self._wire.exchange(method, path, progress, options)

    @contextmanager
    def in_own_words(self, progress: Progress) -> Iterator[None]:
        """What a wire of httpx raises as the errors of this service."""
        try:
            yield
        except _NOTHING_SENT as problem:
            raise ServiceUnreachable(
                f"{self.name} can't be reached at {self.base_url}: {_words(problem)}.", sent=False
            ) from None
        except httpx.TimeoutException:
            raise ServiceTimeout(f"{self.name} did not answer in time.", sent=progress.sending) from None
        except httpx.DecodingError:
            raise ServiceGarbled(f"{self.name} sent an answer that can't be decoded.") from None
        except httpx.HTTPError as problem:
            raise ClientError(
                f"The connection to {self.name} broke: {_words(problem)}.", sent=progress.sending
            ) from None

    async def request_json(
        self, method: str, path: str, *, last_look: LastLook | None = None, **options: Any
    ) -> Any:
        """Send one request and return the decoded JSON of a 2xx answer.

        Raises:
            KeyRejected: 401 or 403.
            ServiceRefused: any other status that is not 2xx; `status` is set.
            ServiceGarbled: a 2xx answer that is no JSON.
        """
        response = await self.send(method, path, last_look=last_look, **options)
        if not response.is_success:
            raise self.refusal(response)
        return self.decoded(response)

    def decoded(self, response: httpx.Response) -> Any:
        """The answer's JSON."""
        try:
            return response.json()
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise ServiceGarbled(
                f"{self.name} answered with something that is not JSON.", status=response.status_code
            ) from None

    def refusal(self, response: httpx.Response) -> ServiceRefused:
        """The error for an answer that is not 2xx; subclasses of services know more words."""
        kind = KeyRejected if response.status_code in {401, 403} else ServiceRefused
        return kind(f"{self.name} answered {response.status_code}.", status=response.status_code)


def _words(problem: Exception) -> str:
    words = re.sub(r"^\[Errno -?\d+\] ", "", clean(str(problem), keep_lines=False))
    return words[:200] or type(problem).__name__
