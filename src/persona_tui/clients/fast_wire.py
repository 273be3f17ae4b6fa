"""A wire over aiohttp, for the one server that is asked twice for each picture.

It costs a quarter of the processor time of httpx's. What is told apart by errors stays: whether anything was
sent decides whether a job may be sent again, so each failure gets the name that it has with httpx.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx

from persona_tui.clients.http import LONGEST_CONNECT, Progress
from persona_tui.errors import ServiceGarbled

KEEP_ALIVE = 5.0
"""Seconds that a connection waits for its next use, as httpx has it."""
CONNECTIONS = 100


class FastWire:
    """Sends requests over aiohttp's connections; no answer fills the memory."""

    def __init__(
        self, name: str, base_url: str, headers: Mapping[str, str], timeout: float, *, largest_answer: int
    ) -> None:
        """Args:
        name, base_url, headers, timeout: as in `HttpService`.
        largest_answer: bytes of an answer's body that are read at most.
        """
        self._name = name
        self._base_url = base_url
        # Unpacked answers could be far larger than what is read.
        self._headers = {**headers, "Accept-Encoding": "identity", "User-Agent": "persona-tui"}
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=timeout, sock_connect=min(timeout, LONGEST_CONNECT), sock_read=timeout
        )
        self._largest_answer = largest_answer
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def exchange(
        self, method: str, path: str, progress: Progress, options: Mapping[str, Any]
    ) -> httpx.Response:
        """Send one request and read the whole answer.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: nothing was sent.
            httpx.TransportError: any other failure.
            ServiceGarbled: the answer is too large.
        """
        asked = {**options, "data": _form(options)} if "files" in options else options
        plain = {name: value for name, value in asked.items() if name != "files"}
        with _in_httpx_words():
            async with self._session_here().request(
                method, self._base_url + path, allow_redirects=False, trace_request_ctx=progress, **plain
            ) as answer:
                body = await self._body(answer)
        progress.after_reply()
        return httpx.Response(answer.status, headers=list(answer.raw_headers), content=body)

    async def aclose(self) -> None:
        """Close all connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > self._largest_answer:
                answer.close()
                raise ServiceGarbled(
                    f"{self._name}'s answer is larger than {self._largest_answer >> 20} MiB."
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _session_here(self) -> aiohttp.ClientSession:
        """The running loop's session: connections can't be used from another loop."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._loop = loop
            # Loading the certificates takes longer than most calls; plain HTTP has no use for them.
            tls = httpx.create_ssl_context(trust_env=False) if self._base_url.startswith("https:") else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE, ssl=tls),
                headers=self._headers,
                # A proxy's cookies, whether it has a name or only an address.
                cookie_jar=aiohttp.CookieJar(unsafe=True),
                auto_decompress=False,
                timeout=self._timeout,
                trace_configs=[_moments()],
            )
        return self._session


def _form(options: Mapping[str, Any]) -> aiohttp.FormData:
    """httpx's `data` and `files` as a form."""
    form = aiohttp.FormData()
    for name, value in options.get("data", {}).items():
        form.add_field(name, value)
    for name, (file_name, content) in options["files"].items():
        kind = mimetypes.guess_type(file_name)[0] or "application/octet-stream"
        form.add_field(name, content, filename=file_name, content_type=kind)
    return form


def _moments() -> aiohttp.TraceConfig:
    """Tells a request's progress of its moments."""

    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _facts: object) -> None:
        context.trace_request_ctx.before_send()

    async def sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _facts: object) -> None:
        # Told when the headers are on their way; a small body goes with them in this turn of the loop.
        asyncio.get_running_loop().call_soon(context.trace_request_ctx.after_send)

    config = aiohttp.TraceConfig()
    config.on_connection_reuseconn.append(connected)
    config.on_connection_create_end.append(connected)
    config.on_request_headers_sent.append(sent)
    return config


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
    except aiohttp.ClientConnectionError:
        raise httpx.ReadError("it was lost") from None
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
