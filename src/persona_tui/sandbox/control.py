"""What all stand-ins share: a clock, planned faults, a ledger of what happened, and the routes to them."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from persona_tui.passed import content_hash
from persona_tui.sandbox.faults import Fault, Faults, Mix


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
    """The routes `/_sandbox/{faults,mix,seed,ledger,clock,received}` of one stand-in."""

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

    async def mix_faults(request: Request) -> Response:
        try:
            mixes = [Mix.model_validate(one) for one in await request.json()]
        except ValidationError as problem:
            return _refused(problem.errors(include_url=False, include_context=False))
        context.faults.mix(*mixes)
        return JSONResponse({"mixes": len(mixes)})

    async def sow(request: Request) -> Response:
        match await request.json():
            case {"seed": int() as seed}:
                context.rng.seed(seed)
                return JSONResponse({"seed": seed})
            case _:
                return _refused('{"seed": whole number}')

    async def ledger(request: Request) -> Response:
        event, since = request.query_params.get("event"), int(request.query_params.get("since", "0"))
        later = context.ledger.entries[since:]
        return JSONResponse([entry for entry in later if event is None or entry["event"] == event])

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
            Route("/_sandbox/mix", mix_faults, methods=["POST"]),
            Route("/_sandbox/seed", sow, methods=["POST"]),
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
