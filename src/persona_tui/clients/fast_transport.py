"""A way to the network over aiohttp, for the one server that is asked twice for each picture.

It costs half the processor time of httpx's own transport. What is told apart by errors stays: whether
anything was sent decides whether a job may be sent again, so each failure keeps httpx's name for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeAlias

import aiohttp
import httpx
from yarl import URL

KEEP_ALIVE = 5.0
"""Seconds that a connection waits for its next use, as httpx has it."""
CONNECTIONS = 100

Trace: TypeAlias = Callable[[str, dict[str, Any]], Awaitable[None]]
_AUTOMATIC = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class FastTransport(httpx.AsyncBaseTransport):
    """httpx's requests and answers over aiohttp; heeds `trace` and `timeout`."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tls: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer with its body still to be read.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: nothing was sent.
            httpx.TransportError: any other failure.
        """
        trace: Trace | None = request.extensions.get("trace")
        body = await request.aread()
        with _in_httpx_words():
            answer = await self._session_here().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw],
                data=body or None,
                skip_auto_headers=_AUTOMATIC,
                allow_redirects=False,
                timeout=_timeout(request.extensions.get("timeout", {})),
                ssl=self._trusted() if request.url.scheme == "https" else True,
                trace_request_ctx=trace,
            )
        return httpx.Response(
            answer.status, headers=list(answer.raw_headers), stream=_Body(answer, trace), request=request
        )

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _session_here(self) -> aiohttp.ClientSession:
        """The running loop's session: connections can't be used from another loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trace_configs=[_boundaries()],
            )
        return self._session

    def _trusted(self) -> ssl.SSLContext:
        """The certificates, read when they are first needed: that takes longer than most calls."""
        if self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        return self._tls


class _Body(httpx.AsyncByteStream):
    """An answer's body as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse, trace: Trace | None) -> None:
        self._answer = answer
        self._trace = trace

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _in_httpx_words():
            async for chunk in self._answer.content.iter_any():
                yield chunk
        if self._trace is not None:
            await self._trace("http11.receive_response_body.complete", {})

    async def aclose(self) -> None:
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


def _boundaries() -> aiohttp.TraceConfig:
    """Tells a request's `trace` of its moments, under the names that httpx's own transport gives them."""

    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _facts: object) -> None:
        if (trace := context.trace_request_ctx) is not None:
            await trace("http11.send_request_headers.started", {})

    async def sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _facts: object) -> None:
        if (trace := context.trace_request_ctx) is not None:
            await trace("http11.send_request_body.complete", {})

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(connected)
    config.on_connection_create_end.append(connected)
    config.on_request_headers_sent.append(sent)
    return config


def _timeout(asked: dict[str, float | None]) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(
        total=None, connect=asked.get("pool"), sock_connect=asked.get("connect"), sock_read=asked.get("read")
    )


@contextmanager
def _in_httpx_words() -> Iterator[None]:
    """aiohttp's failures as httpx's; what was certainly never sent is a failure to connect."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise httpx.ConnectTimeout("no connection in time") from None
    except aiohttp.ClientConnectorError as problem:
        raise httpx.ConnectError(_why(problem)) from None
    except (aiohttp.ServerTimeoutError, TimeoutError):
        raise httpx.ReadTimeout("no answer in time") from None
    except aiohttp.ServerDisconnectedError:
        raise httpx.RemoteProtocolError("it was closed before an answer came") from None
    except aiohttp.ClientPayloadError:
        raise httpx.RemoteProtocolError("it ended within an answer") from None
    except aiohttp.ClientOSError as problem:
        raise httpx.ReadError(os.strerror(problem.errno) if problem.errno else "it was lost") from None
    except aiohttp.InvalidURL:
        raise httpx.UnsupportedProtocol("the address can't be read") from None
    except aiohttp.ClientError:
        raise httpx.RemoteProtocolError("what answers speaks no HTTP") from None


def _why(problem: aiohttp.ClientConnectorError) -> str:
    """Why no connection came about, without the address, which the caller says."""
    cause = problem.os_error
    if isinstance(cause, ssl.SSLError):
        return cause.reason or "TLS failed"
    if isinstance(cause, socket.gaierror):
        return str(cause.strerror or "the name is unknown")
    return os.strerror(cause.errno) if cause.errno else "no connection"
