"""What all stand-ins share: a clock, planned faults, a ledger of what happened, and the routes to them."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from persona_tui.passed import content_hash

Effect = Callable[[], Awaitable[Response]]
FaultKind = Literal[
    "fail_before", "drop_before", "effect_then_drop", "effect_then_error", "slow", "slow_reply", "garbage"
]
GARBAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


class SandboxClock:
    """The sandbox's time: the machine's, moved by an offset; one for all stand-ins."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.now(UTC) + self.offset

    def advance(self, seconds: float) -> None:
        """Move on (or, with a negative number, back) by so many seconds."""
        self.offset += timedelta(seconds=seconds)

    def set(self, moment: datetime) -> None:
        """Make it that moment now; time flows on from there."""
        self.offset = moment.astimezone(UTC) - datetime.now(UTC)


class Fault(BaseModel):
    """One planned fault.

    Kinds: `fail_before` answers `status` and `body`, nothing happens; `drop_before` closes the connection
    without an answer, nothing happens; `effect_then_drop`: the effect happens, the connection closes
    without an answer; `effect_then_error`: the effect happens, the answer is `status` and `body`;
    `slow` waits `seconds`, then the effect and its answer; `slow_reply`: the effect, then the wait, then
    the answer; `garbage`: the effect happens, the answer is 200 with `body` (default: a proxy's HTML page).
    """

    model_config = ConfigDict(extra="forbid")

    call: str
    """Name of the call, or `*` for any; `*` does not mean `execute`, the run of a prompt in ComfyUI."""
    kind: FaultKind
    times: int | None = Field(default=1, ge=1)
    """How often it strikes; None: for ever."""
    skip: int = Field(default=0, ge=0)
    """Matching calls let through before the first strike."""
    probability: float = Field(default=1.0, gt=0, le=1)
    """Chance to strike at a matching call, drawn from the sandbox's seed."""
    status: int = Field(default=500, ge=200, le=599)
    body: Any = None
    """JSON value, or a string sent as it is; None: what the stand-in says for an internal error."""
    seconds: float = Field(default=1.0, ge=0, le=3600)


class Ledger:
    """Append-only list of what really happened: the ground truth that tests compare with."""

    def __init__(self, clock: SandboxClock, path: Path | None = None) -> None:
        """Args:
        clock: stamps the entries.
        path: JSON Lines file that outlives the process; entries in it are read back.
        """
        self._clock = clock
        self._path = path
        self.entries: list[dict[str, Any]] = []
        if path is not None and path.exists():
            self.entries = [json.loads(line) for line in _whole_lines(path)]

    def append(self, event: str, **facts: Any) -> dict[str, Any]:
        """Note an event with facts that JSON can hold; the entry returned adds number `n` and time `at`."""
        entry = {"n": len(self.entries), "at": self._clock.now().isoformat(), "event": event, **facts}
        self.entries.append(entry)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        return entry

    def of(self, event: str) -> list[dict[str, Any]]:
        """The entries of one kind, oldest first."""
        return [entry for entry in self.entries if entry["event"] == event]


def _whole_lines(path: Path) -> list[str]:
    """The file's lines; the tail that a kill left unfinished is cut off the file."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    return whole.splitlines()


class Received:
    """SHA-256 of each text, picture and workflow that a stand-in was sent."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def note(self, call: str, what: str, value: str | bytes | Mapping[str, Any]) -> str:
        """Write the value's `passed.content_hash` to the ledger.

        Args:
            call: name of the call that brought it.
            what: `text`, `picture` or `workflow`.
        """
        digest = content_hash(value)
        self._ledger.append("received", call=call, what=what, sha256=digest)
        return digest

    def entries(self) -> list[dict[str, Any]]:
        """All notes, oldest first: {n, at, event, call, what, sha256}."""
        return self._ledger.of("received")


class DroppedConnection(Response):
    """Not an answer: closes the TCP connection without a byte."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        scope["state"]["drop"]()
        while (await receive())["type"] != "http.disconnect":
            pass


class Faults:
    """The planned faults of one stand-in, tried in the order in which they were planned.

    A stand-in may set `error_body` to what its protocol says on an internal error.
    """

    def __init__(self, ledger: Ledger, rng: random.Random) -> None:
        self._ledger = ledger
        self._rng = rng
        self.planned: list[Fault] = []
        self.error_body: Any = {"error": "planned fault"}

    def plan(self, fault: Fault) -> None:
        """Add a fault behind those planned before."""
        self.planned.append(fault)

    def clear(self) -> None:
        """Forget all that has not struck yet."""
        self.planned.clear()

    def take(self, call: str, *, named: bool = False) -> Fault | None:
        """The fault that strikes this call, if any; counts it down and writes it to the ledger.

        Args:
            named: leave alone what is planned for any call: this is none that comes from outside.
        """
        for fault in self.planned:
            if fault.call != call and (named or fault.call != "*"):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.probability < 1 and self._rng.random() >= fault.probability:
                continue
            self._count_down(fault)
            self._ledger.append("fault", call=call, kind=fault.kind)
            return fault
        return None

    def _count_down(self, fault: Fault) -> None:
        if fault.times is None:
            return
        fault.times -= 1
        if fault.times == 0:
            self.planned.remove(fault)

    async def around(self, call: str, effect: Effect) -> Response:
        """Run a call's effect under the next planned fault, if one strikes.

        Args:
            call: the stand-in's name for the call, such as `prompt` or `media_publish`.
            effect: does the work and makes the answer.
        """
        fault = self.take(call)
        if fault is None:
            return await effect()
        if fault.kind == "fail_before":
            return self._error(fault)
        if fault.kind == "drop_before":
            return DroppedConnection()
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
            return await effect()
        answer = await effect()
        if fault.kind == "slow_reply":
            await asyncio.sleep(fault.seconds)
            return answer
        if fault.kind == "effect_then_drop":
            return DroppedConnection()
        if fault.kind == "effect_then_error":
            return self._error(fault)
        return Response(GARBAGE if fault.body is None else _as_text(fault.body), media_type="text/html")

    def _error(self, fault: Fault) -> Response:
        body = self.error_body if fault.body is None else fault.body
        if isinstance(body, str):
            return Response(body, status_code=fault.status, media_type="text/plain")
        return JSONResponse(body, status_code=fault.status)


def _as_text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)


@dataclass(frozen=True)
class SandboxOptions:
    """How the sandbox was started.

    Attributes:
        seed: the seed of everything random in the sandbox.
        image_size: width and height that all painted pictures get, or None: as asked.
        latency: seconds that one piece of generating takes (a prompt of ComfyUI, an answer of Gemini).
    """

    seed: int = 0
    image_size: tuple[int, int] | None = None
    latency: float = 0.03


@dataclass(frozen=True)
class SandboxContext:
    """All that a stand-in is given; `sandbox/<name>/app.py` has `create_app(context) -> Starlette`.

    The frame (`server.py`, `gate.py`) stands in front of the app: it has already checked the credential
    (`Authorization: Bearer <token>`; Gemini: `x-goog-api-key`; media: none), the Host and the Origin, and
    it answers `/_sandbox/*` itself. A stand-in that wants its protocol's own words for a refused credential
    sets `app.state.unauthorized = lambda reason: Response`. Lifespan handlers of the app are run.

    Attributes:
        name: `comfyui`, `instagram`, `gemini` or `media`.
        state_dir: this stand-in's own folder (exists); outlives restarts.
        media_dir: folder that the media server shows to the "world" (exists).
        addresses: name → base URL of all four servers, e.g. `addresses["media"]`.
        clock: the sandbox's time, one for all stand-ins; use it for expiry and timestamps.
        faults: run every call's effect as `await context.faults.around("call_name", effect)`.
        ledger: note what really happened: `context.ledger.append("published", media_id=…)`.
        received: note each text, picture and workflow that arrives: `received.note(call, "text", caption)`.
        token: the credential that the gate asks for.
        rng: randomness seeded from the options' seed and the name.
        options: how the sandbox was started.
    """

    name: str
    state_dir: Path
    media_dir: Path
    addresses: Mapping[str, str]
    clock: SandboxClock
    faults: Faults
    ledger: Ledger
    received: Received
    token: str = field(repr=False)
    rng: random.Random
    options: SandboxOptions


def make_context(
    name: str,
    root: Path,
    *,
    addresses: Mapping[str, str],
    token: str,
    clock: SandboxClock | None = None,
    options: SandboxOptions | None = None,
) -> SandboxContext:
    """A stand-in's context below the state folder `root`; makes the folders.

    Args:
        addresses: name → base URL of the servers that run.
        clock: shared by all stand-ins of one start.
    """
    options = options or SandboxOptions()
    clock = clock or SandboxClock()
    state_dir, media_dir = root / name, root / "public"
    state_dir.mkdir(parents=True, exist_ok=True)
    media_dir.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(clock, state_dir / "ledger.jsonl")
    return SandboxContext(
        name=name,
        state_dir=state_dir,
        media_dir=media_dir,
        addresses=addresses,
        clock=clock,
        faults=Faults(ledger, random.Random(f"{options.seed}:{name}:faults")),
        ledger=ledger,
        received=Received(ledger),
        token=token,
        rng=random.Random(f"{options.seed}:{name}"),
        options=options,
    )


def control_app(context: SandboxContext) -> Starlette:
    """The routes `/_sandbox/{faults,ledger,clock,received}` of one stand-in."""

    async def list_faults(_request: Request) -> Response:
        return JSONResponse([fault.model_dump() for fault in context.faults.planned])

    async def plan_faults(request: Request) -> Response:
        asked = await request.json()
        try:
            faults = [Fault.model_validate(one) for one in (asked if isinstance(asked, list) else [asked])]
        except ValidationError as problem:
            return _refused(problem.errors(include_url=False, include_context=False))
        for fault in faults:
            context.faults.plan(fault)
        return JSONResponse({"planned": len(context.faults.planned)})

    async def clear_faults(_request: Request) -> Response:
        context.faults.clear()
        return JSONResponse({"planned": 0})

    async def ledger(request: Request) -> Response:
        event, since = request.query_params.get("event"), int(request.query_params.get("since", "0"))
        entries = context.ledger.entries if event is None else context.ledger.of(event)
        return JSONResponse([entry for entry in entries if entry["n"] >= since])

    async def received(_request: Request) -> Response:
        return JSONResponse(context.received.entries())

    async def read_clock(_request: Request) -> Response:
        return JSONResponse({"now": context.clock.now().isoformat(), "offset": _offset(context)})

    async def move_clock(request: Request) -> Response:
        match await request.json():
            case {"offset": int() | float() as seconds}:
                context.clock.offset = timedelta(seconds=seconds)
            case {"advance": int() | float() as seconds}:
                context.clock.advance(seconds)
            case {"now": str() as moment} if _is_aware(moment):
                context.clock.set(datetime.fromisoformat(moment))
            case _:
                return _refused('{"offset": seconds}, {"advance": seconds} or {"now": "ISO time with zone"}')
        return await read_clock(request)

    return Starlette(
        routes=[
            Route("/_sandbox/faults", list_faults, methods=["GET"]),
            Route("/_sandbox/faults", plan_faults, methods=["POST"]),
            Route("/_sandbox/faults", clear_faults, methods=["DELETE"]),
            Route("/_sandbox/ledger", ledger, methods=["GET"]),
            Route("/_sandbox/received", received, methods=["GET"]),
            Route("/_sandbox/clock", read_clock, methods=["GET"]),
            Route("/_sandbox/clock", move_clock, methods=["POST"]),
        ]
    )


def _refused(reason: str | Sequence[Any]) -> Response:
    return JSONResponse({"error": reason}, status_code=400)


def _offset(context: SandboxContext) -> float:
    return context.clock.offset.total_seconds()


def _is_aware(moment: str) -> bool:
    try:
        return datetime.fromisoformat(moment).tzinfo is not None
    except ValueError:
        return False
