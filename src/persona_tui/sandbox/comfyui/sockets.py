"""The websocket side: who listens, and messages sent in the order in which they were made."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import uuid
from collections.abc import Callable
from typing import Any

from PIL import Image
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from persona_tui.sandbox.faults import Fault, Faults

PREVIEW_IMAGE = 1
PREVIEW_IMAGE_WITH_METADATA = 4
JPEG = 1
FEATURES = {
    "supports_preview_metadata": True,
    "max_upload_size": 100 * 1024 * 1024,
    "extension": {"manager": {"supports_v4": True}},
}

Message = str | bytes


class Hub:
    """All open sockets by client id, and the one line of messages to them.

    Attributes:
        client_id: whose prompt runs; None: a prompt without one.
        last_node: the node that runs, told to a client that comes late.
    """

    def __init__(self, faults: Faults, remaining: Callable[[], int]) -> None:
        self._faults = faults
        self._remaining = remaining
        self._sockets: dict[str, WebSocket] = {}
        self._features: dict[str, dict[str, Any]] = {}
        self._line: asyncio.Queue[tuple[Message, str | None]] = asyncio.Queue()
        self.client_id: str | None = None
        self.last_node: str | None = None

    def tell(self, event: str, data: dict[str, Any], client_id: str | None) -> None:
        """Line up a message for one client, or with None for all."""
        self._line.put_nowait((_text(event, data), client_id))

    def tell_status(self) -> None:
        """Line up the number of prompts for all."""
        self.tell("status", {"status": self._status()}, None)

    def tell_preview(self, image: Image.Image, prompt_id: str, node_id: str) -> None:
        """Line up a preview picture for the client whose prompt runs, in the format that it asked for."""
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=95)
        flags = self._features.get(self.client_id or "", {})
        if flags.get("supports_preview_metadata") is True:
            metadata = {
                "node_id": node_id,
                "prompt_id": prompt_id,
                "display_node_id": node_id,
                "parent_node_id": None,
                "real_node_id": node_id,
                "image_type": "image/jpeg",
            }
            header = json.dumps(metadata).encode()
            frame = struct.pack(">II", PREVIEW_IMAGE_WITH_METADATA, len(header)) + header
        else:
            frame = struct.pack(">II", PREVIEW_IMAGE, JPEG)
        self._line.put_nowait((frame + jpeg.getvalue(), self.client_id))

    async def send_all(self) -> None:
        """Send what is lined up, for ever."""
        while True:
            message, client_id = await self._line.get()
            ids = list(self._sockets) if client_id is None else [client_id]
            for one in ids:
                socket = self._sockets.get(one)
                if socket is not None:
                    await _send(socket, message)

    def _status(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": self._remaining()}}

    async def serve(self, socket: WebSocket) -> None:
        """One connection from its start to its end.

        A second one with the same id takes the first one's place; when the first ends, it takes the second's
        registration with it, as upstream.
        """
        fault = self._faults.take("ws")
        if fault is not None and await _refused(socket, fault):
            return
        await socket.accept()
        client_id = socket.query_params.get("clientId") or uuid.uuid4().hex
        self._sockets[client_id] = socket
        self._features[client_id] = {}
        breaking = asyncio.create_task(_break(socket, fault)) if fault is not None else None
        try:
            await _send(socket, _text("status", {"status": self._status(), "sid": client_id}))
            if self.client_id == client_id and self.last_node is not None:
                await _send(socket, _text("executing", {"node": self.last_node}))
            await self._listen(socket, client_id)
        finally:
            if breaking is not None:
                breaking.cancel()
            self._sockets.pop(client_id, None)
            self._features.pop(client_id, None)

    async def _listen(self, socket: WebSocket, client_id: str) -> None:
        first = True
        while True:
            try:
                said = json.loads(await socket.receive_text())
            except (WebSocketDisconnect, RuntimeError):
                return
            except (ValueError, KeyError):
                continue
            if first and isinstance(said, dict) and said.get("type") == "feature_flags":
                self._features[client_id] = said.get("data") or {}
                await _send(socket, _text("feature_flags", FEATURES))
            first = False


def _text(event: str, data: dict[str, Any]) -> str:
    return json.dumps({"type": event, "data": data})


async def _send(socket: WebSocket, message: Message) -> None:
    """Send to a socket that may be gone."""
    try:
        if isinstance(message, str):
            await socket.send_text(message)
        else:
            await socket.send_bytes(message)
    except (WebSocketDisconnect, RuntimeError, OSError):
        return


async def _refused(socket: WebSocket, fault: Fault) -> bool:
    """Act out a fault that comes before the connection is open; True when there will be none."""
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
    if fault.kind == "fail_before":
        await socket.send_denial_response(Response(str(fault.body or ""), status_code=fault.status))
        return True
    if fault.kind == "drop_before":
        socket.scope["state"]["drop"]()
        return True
    return False


async def _break(socket: WebSocket, fault: Fault) -> None:
    """Act out a fault on an open connection: after `seconds` rubbish, or an end without a close frame."""
    await asyncio.sleep(fault.seconds)
    if fault.kind == "garbage":
        for rubbish in (
            "{not json",
            '"text"',
            '{"type":5}',
            b"\x00",
            b"\x00\x00\x00\x01",
            b"\x00\x00\x00\x09more",
        ):
            await _send(socket, rubbish)
    if fault.kind in {"effect_then_drop", "effect_then_error"}:
        socket.scope["state"]["drop"]()
