"""Graphs, a server to run them on, and helpers that wait without guessing times."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from PIL import Image

from persona_tui.clients.comfyui import ComfyEvent, ComfyUIClient, HistoryEntry, Idle
from persona_tui.passed import Passed
from persona_tui.services.safety import guard
from tests.support.sandbox import SandboxProcess

T = TypeVar("T", str, bytes, Mapping[str, Any])
V = TypeVar("V")
Graph = dict[str, Any]

DEADLINE_SECONDS = 150.0
_fresh = itertools.count(int(time.time() * 1000))


@dataclass(frozen=True)
class Server:
    """A ComfyUI to test against: the sandbox's or a real one.

    Attributes:
        folder: where its `models`, `input` and `output` are; None: not told.
        real: whether it is ComfyUI itself.
    """

    url: str
    token: str | None
    folder: Path | None = None
    real: bool = False

    def client(self, **options: Any) -> ComfyUIClient:
        """The product's own client."""
        return ComfyUIClient(self.url, self.token, **options)

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request without the client, to look at the protocol itself."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        return httpx.request(
            method, self.url + path, headers=headers, timeout=30, trust_env=False, verify=False, **options
        )


def real_server() -> Server | None:
    """The real ComfyUI that PERSONA_TEST_COMFYUI_URL names, if any."""
    url = os.environ.get("PERSONA_TEST_COMFYUI_URL")
    folder = os.environ.get("PERSONA_TEST_COMFYUI_DIR")
    return Server(url.rstrip("/"), None, Path(folder) if folder else None, real=True) if url else None


@pytest.fixture(params=["sandbox", "real"])
def server(request: pytest.FixtureRequest) -> Server:
    """The stand-in, and the real server where one is named."""
    if request.param == "sandbox":
        process: SandboxProcess = request.getfixturevalue("sandbox")
        return Server(process.comfyui, process.token, process.state / "comfyui")
    real = real_server()
    if real is None:
        pytest.skip("PERSONA_TEST_COMFYUI_URL is not set")
    return real


def passed(value: T) -> Passed[T]:
    """A value as if the guard had let it through."""
    return Passed(value, seal=guard._SEAL)


def new_id() -> str:
    """A prompt's or client's id."""
    return str(uuid.uuid4())


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """One node of a graph in API format."""
    return {"class_type": kind, "inputs": inputs}


def plain(side: int = 16, *, color: int | None = None, batch: int = 1) -> dict[str, Any]:
    """A picture of one colour; by default one that no cache knows."""
    chosen = next(_fresh) % 0xFFFFFF if color is None else color
    return node("EmptyImage", width=side, height=side, batch_size=batch, color=chosen)


def save(source: str = "1", prefix: str = "persona-test/plain") -> dict[str, Any]:
    """Save what a node made."""
    return node("SaveImage", images=[source, 0], filename_prefix=prefix)


def small_graph(**options: Any) -> Graph:
    """A new picture, saved."""
    return {"1": plain(**options), "2": save()}


def long_graph(saves: int = 12) -> Graph:
    """Many steps between which a server can be interrupted."""
    graph: Graph = {"1": plain(1024)}
    return graph | {str(number + 2): save(prefix=f"persona-test/long{number}") for number in range(saves)}


def painting(prompt: str = "a celadon vase in morning light", seed: int = 1, **changes: Any) -> Graph:
    """Text to picture, as the demo's pipelines do it; for the sandbox alone."""
    graph = {
        "4": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
        "5": node("EmptyLatentImage", width=64, height=80, batch_size=1),
        "6": node("CLIPTextEncode", text=prompt, clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "3": node(
            "KSampler", model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0],
            seed=seed, steps=4, cfg=7.0, sampler_name="euler", scheduler="normal", denoise=1.0,
        ),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="painting"),
    }  # fmt: skip
    for number, changed in changes.items():
        graph[number.removeprefix("node")] = changed
    return graph


def png(side: int = 24, colour: tuple[int, int, int] = (10, 120, 200)) -> bytes:
    """A small PNG."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, "PNG")
    return file.getvalue()


def log_mark(server: Server) -> str:
    """The time of the newest line in the server's log; the log keeps 300 and forgets the oldest."""
    entries = server.raw("GET", "/internal/logs/raw").json()["entries"]
    return str(entries[-1]["t"]) if entries else ""


def lost_keys(server: Server, since: str) -> list[str]:
    """The LoRA keys of which the log says after a mark that the server has no place for them."""
    entries = server.raw("GET", "/internal/logs/raw").json()["entries"]
    lines = "".join(entry["m"] for entry in entries if entry["t"] > since).splitlines()
    mark = "lora key not loaded: "
    return [line.removeprefix(mark) for line in lines if line.startswith(mark)]


async def until(look: Callable[[], Awaitable[V | None]]) -> V:
    """Look again and again until there is something."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (found := await look()) is None:
            await asyncio.sleep(0.02)
    return found


async def ended(client: ComfyUIClient, prompt_id: str) -> HistoryEntry:
    """The history entry of a prompt that is waited for."""

    async def look() -> HistoryEntry | None:
        entry = await client.history(prompt_id)
        return None if entry is None or entry.status == "running" else entry

    return await until(look)


async def run(client: ComfyUIClient, graph: Graph, **options: Any) -> HistoryEntry:
    """Submit and wait for the end."""
    prompt_id = options.pop("prompt_id", None) or new_id()
    await client.submit(
        passed(graph), prompt_id=prompt_id, client_id=options.pop("client_id", "tests"), **options
    )
    return await ended(client, prompt_id)


async def events_until_idle(events: AsyncIterator[ComfyEvent], prompt_id: str) -> list[ComfyEvent]:
    """What is told up to the last word on a prompt."""
    told = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for event in events:
            told.append(event)
            if isinstance(event, Idle) and event.prompt_id == prompt_id:
                break
    return told
