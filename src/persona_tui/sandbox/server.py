"""Start the stand-ins: one process, one loop, one uvicorn server each, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import secrets
import signal
import socket
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from persona_tui.errors import PersonaError
from persona_tui.sandbox.control import SandboxClock, SandboxOptions, control_app, make_context
from persona_tui.sandbox.gate import Credential, Gate

LOOPBACK = "127.0.0.1"
TOKEN_VARIABLE = "SANDBOX_TOKEN"
PARENT_CHECK_SECONDS = 0.5


@dataclass(frozen=True)
class StandIn:
    """One server of the sandbox: its name, the module with `create_app`, and where callers put the token."""

    name: str
    module: str
    credential: Credential


STAND_INS = (
    StandIn("comfyui", "persona_tui.sandbox.comfyui.app", "bearer"),
    StandIn("instagram", "persona_tui.sandbox.instagram.app", "bearer"),
    StandIn("gemini", "persona_tui.sandbox.gemini.app", "x-goog-api-key"),
    StandIn("media", "persona_tui.sandbox.media.app", "none"),
)


@dataclass(frozen=True)
class SandboxConfig:
    """What the command line and the environment ask for.

    Attributes:
        state: folder of all that outlives a restart.
        ports: name → port; 0 or absent: a free one is chosen.
        watch_parent: end when the process that started this one ends.
        token: the credential; None: a random one.
    """

    state: Path
    ports: Mapping[str, int] = field(default_factory=dict)
    watch_parent: bool = False
    token: str | None = field(default=None, repr=False)
    options: SandboxOptions = field(default_factory=SandboxOptions)


class PortTaken(PersonaError):
    """A port that was asked for can't be listened on."""

    title = "Port is taken"
    hint = "Choose another port, or leave it out and a free one is taken."


class _Connection(H11Protocol):
    """HTTP connection that gives each request a way to end it without an answer: `scope["state"]["drop"]`."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(transport)
        self.app_state = {**self.app_state, "drop": transport.close}


class _Server(uvicorn.Server):
    """uvicorn leaves signals alone: one handler stops all servers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(port: int, name: str) -> socket.socket:
    # Named as TCP, so that asyncio switches Nagle off: without it each answer waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as problem:
        listener.close()
        raise PortTaken(f"The sandbox can't listen on port {port} for {name}: {problem.strerror}.") from None
    listener.listen(128)
    return listener


async def serve(config: SandboxConfig) -> None:
    """Run the sandbox until SIGTERM, SIGINT or, where asked, the parent's end.

    Prints one line of JSON on stdout once every server answers: name → base URL of the four, `media_dir`,
    `token` and `pid`.

    Raises:
        PortTaken: a port that was asked for is in use.
    """
    token = config.token or secrets.token_urlsafe(24)
    listeners = {one.name: _listen(config.ports.get(one.name, 0), one.name) for one in STAND_INS}
    ports = {name: int(listener.getsockname()[1]) for name, listener in listeners.items()}
    addresses = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items()}
    clock = SandboxClock()
    servers = {one.name: _make_server(one, config, addresses, token, clock) for one in STAND_INS}
    stop = _stop_event()
    running = [asyncio.create_task(server.serve([listeners[name]])) for name, server in servers.items()]
    if config.watch_parent:
        running.append(asyncio.create_task(_watch_parent(stop)))
    await _until_started(servers, running)
    _announce(addresses, config.state / "public", token)
    await _until_stopped(stop, servers, running)


def _make_server(
    one: StandIn, config: SandboxConfig, addresses: Mapping[str, str], token: str, clock: SandboxClock
) -> _Server:
    context = make_context(
        one.name, config.state, addresses=addresses, token=token, clock=clock, options=config.options
    )
    app: Starlette = importlib.import_module(one.module).create_app(context)
    port = int(addresses[one.name].rpartition(":")[2])
    gate = Gate(app, control_app(context), port=port, token=token, credential=one.credential)
    return _Server(
        uvicorn.Config(
            gate,
            http=_Connection,
            ws="websockets-sansio",
            ws_max_size=1 << 20,
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )


def _announce(addresses: Mapping[str, str], media_dir: Path, token: str) -> None:
    line = {**addresses, "media_dir": str(media_dir), "token": token, "pid": os.getpid()}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _stop_event() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _until_started(servers: Mapping[str, _Server], running: list[asyncio.Task[None]]) -> None:
    while not all(server.started for server in servers.values()):
        for task in running:
            if task.done():
                task.result()
        await asyncio.sleep(0.005)


async def _until_stopped(
    stop: asyncio.Event, servers: Mapping[str, _Server], running: list[asyncio.Task[None]]
) -> None:
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    for server in servers.values():
        server.should_exit = True
    await asyncio.gather(*running)


async def _watch_parent(stop: asyncio.Event) -> None:
    """End with the parent: by the end of a stdin pipe at once, by a changed parent id within half a second.

    PR_SET_PDEATHSIG is not used: it fires at the end of the parent's *thread* that started this process.
    """
    parent = os.getppid()
    if stat.S_ISFIFO(os.fstat(0).st_mode) or stat.S_ISSOCK(os.fstat(0).st_mode):
        asyncio.get_running_loop().add_reader(0, _at_input, stop)
    while not stop.is_set() and os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PARENT_CHECK_SECONDS)
    stop.set()


def _at_input(stop: asyncio.Event) -> None:
    if not os.read(0, 4096):
        asyncio.get_running_loop().remove_reader(0)
        stop.set()
