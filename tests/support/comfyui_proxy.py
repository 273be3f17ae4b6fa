"""A proxy before a ComfyUI that misbehaves as real ones do: it is put between engine and sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """One listening proxy.

    Attributes:
        url: where it listens.
        mute_events: answer the websocket's handshake, and then say nothing and pass nothing on: half open.
        mute_streams: how many websockets were held that way.
    """

    url: str
    target: tuple[str, int]
    mute_events: bool = False
    mute_streams: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: passed on as it is, but for what the proxy is told to do."""
        head = self._readdressed(await reader.readuntil(b"\r\n\r\n"))
        upstream_reader, upstream_writer = await asyncio.open_connection(*self.target)
        upstream_writer.write(head)
        if self.mute_events and head.startswith(b"GET /ws"):
            self.mute_streams += 1
            writer.write(await upstream_reader.readuntil(b"\r\n\r\n"))
            await writer.drain()
            await reader.read()  # until the other side gives up
            upstream_writer.close()
            writer.close()
            return
        await asyncio.gather(
            _pump(reader, upstream_writer, self._readdressed), _pump(upstream_reader, writer, bytes)
        )

    def _readdressed(self, request: bytes) -> bytes:
        """The request with the server's own address in its head, which the sandbox checks."""
        host, port = self.target
        return request.replace(self.url.removeprefix("http://").encode(), f"{host}:{port}".encode())


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]
) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(change(data))
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[Proxy]:
    """A proxy on a free port before the server at `url`."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    proxy = Proxy("", (parts.hostname, parts.port))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
