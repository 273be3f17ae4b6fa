"""The alternative: a loop of httpx and a websocket that keeps a server two deep and downloads each picture.

No database, no check of what came, no thumbnail, no care for a crash: the least that fetches all pictures.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any
from urllib.parse import quote

import httpx
from websockets.asyncio.client import ClientConnection, connect

from generation_parts.studio import Graph, Server, fresh_colour

DEPTH = 2


class BareLoop:
    """Makes so many pictures of one graph; `seconds`: from the first prompt to the last byte."""

    def __init__(self, server: Server, graph: Graph, pictures: int) -> None:
        self.seconds = 0.0
        self._server = server
        self._graph = json.dumps(graph)
        self._left = pictures
        self._wanted = pictures
        self._downloads: list[asyncio.Task[None]] = []
        self._colour = 0
        self._client_id = uuid.uuid4().hex

    async def run(self) -> float:
        """Run it; returns pictures per second."""
        headers = {"Authorization": f"Bearer {self._server.token}"} if self._server.token else {}
        address = f"ws{self._server.url.removeprefix('http')}/ws?clientId={quote(self._client_id)}"
        transport = httpx.AsyncHTTPTransport(verify=False, trust_env=False)
        client = httpx.AsyncClient(
            base_url=self._server.url, headers=headers, transport=transport, timeout=30
        )
        async with (
            client,
            connect(address, additional_headers=headers, proxy=None, compression=None) as socket,
        ):
            began = time.perf_counter()
            for _ in range(DEPTH):
                await self._send(client)
            await self._follow(client, socket)
            await asyncio.gather(*self._downloads)
            self.seconds = time.perf_counter() - began
        return self._wanted / self.seconds

    async def _follow(self, client: httpx.AsyncClient, socket: ClientConnection) -> None:
        done = 0
        while done < self._wanted:
            frame = await socket.recv()
            if isinstance(frame, bytes):
                continue
            told = json.loads(frame)
            if told["type"] == "executed":
                for file in told["data"]["output"]["images"]:
                    self._downloads.append(asyncio.create_task(_download(client, file)))
            elif told["type"] == "execution_success":
                done += 1
                await self._send(client)
            elif told["type"] == "execution_error":
                raise SystemExit(f"The server failed: {told['data'].get('exception_message')}")

    async def _send(self, client: httpx.AsyncClient) -> None:
        if not self._left:
            return
        self._left -= 1
        if self._left % 50 == 0 or not self._colour:
            self._colour = fresh_colour()
        body = {"prompt": self._filled(), "prompt_id": str(uuid.uuid4()), "client_id": self._client_id}
        (await client.post("/prompt", json=body)).raise_for_status()

    def _filled(self) -> Any:
        words = {
            '"{{color}}"': str(self._colour),
            '"{{seed}}"': str(time.monotonic_ns() % (1 << 53)),
            "{{job_id}}": uuid.uuid4().hex[:16],
            "{{prompt}}": "a celadon vase",
        }
        graph = self._graph
        for placeholder, value in words.items():
            graph = graph.replace(placeholder, value)
        return json.loads(graph)


async def _download(client: httpx.AsyncClient, file: dict[str, str]) -> None:
    answer = await client.get("/view", params=file)
    answer.raise_for_status()
    if not answer.content.startswith(b"\x89PNG"):
        raise SystemExit("The server gave no picture.")
