"""The line between the product and the sandbox, which can be cut: a TCP relay in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import urlsplit

Mode = Literal["up", "refused", "reset", "cut"]
MODES: tuple[Mode, ...] = ("refused", "reset", "cut")
"""Nobody listens; the connection is reset as soon as it is made; the request arrives, its answer does not."""
_ABORT = struct.pack("ii", 1, 0)


class Cable:
    """Relays to one address until it is told otherwise.

    Attributes:
        address: where the near end listens.
        mode: what happens to connections; set by `switch`.
    """

    def __init__(self, far: str) -> None:
        self._far = urlsplit(far)
        self.mode: Mode = "up"
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._do(self._listen(0))
        self.address = f"http://127.0.0.1:{self.port}"

    def switch(self, mode: Mode) -> None:
        """From now on; what is open breaks."""
        self._do(self._switch(mode))

    def close(self) -> None:
        """End the thread."""
        self._do(self._switch("refused"))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, work: Coroutine[Any, Any, int]) -> int:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _switch(self, mode: Mode) -> int:
        self.mode = mode
        for writer in list(self._open):
            _reset(writer)
        if mode == "refused" and self._server is not None:
            self._server.close()
            self._server = None
        elif mode != "refused" and self._server is None:
            await self._listen(self.port)
        return 0

    async def _listen(self, port: int) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self.mode == "reset":
                _reset(writer)
                return
            far_reader, far_writer = await asyncio.open_connection(self._far.hostname, self._far.port)
            back = asyncio.create_task(self._carry(far_reader, writer, answer=True))
            await self._carry(reader, far_writer, answer=False)
            far_writer.close()
            await back
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer: bool
    ) -> None:
        near, far = f":{self.port}".encode(), f":{self._far.port}".encode()
        with suppress(OSError):
            while data := await reader.read(65536):
                if answer and self.mode == "cut":
                    _reset(writer)
                    return
                # The sandbox lets in who names its own port.
                writer.write(data if answer else data.replace(b"127.0.0.1" + near, b"127.0.0.1" + far, 1))
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    line = writer.get_extra_info("socket")
    if line is not None:
        with suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()
