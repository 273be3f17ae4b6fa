"""Planned and drawn faults of a stand-in: what goes wrong at which call, before or after its effect."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

Effect = Callable[[], Awaitable[Response]]
FaultKind = Literal[
    "fail_before", "drop_before", "effect_then_drop", "effect_then_error", "slow", "slow_reply", "garbage"
]
GARBAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"


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


class Mix(BaseModel):
    """Faults drawn at every call, beside what is planned.

    What strikes the k-th call of a name is a function of the seed, the name and k alone: calls that overtake
    each other change nothing, and a run can be played again.
    """

    model_config = ConfigDict(extra="forbid")

    seed: int
    chance: float = Field(gt=0, le=1)
    """Of each kind at each call; the kinds' chances add up."""
    kinds: tuple[FaultKind, ...] = get_args(FaultKind)
    calls: tuple[str, ...] = ()
    """Names of calls; none: any."""
    answers: tuple[tuple[int, Any], ...] = ()
    """(status, body) that the kinds with an error answer draw from; none: 500 in the stand-in's words."""
    seconds: float = Field(default=0.02, ge=0, le=3600)

    def drawn(self, call: str, number: int) -> Fault | None:
        """What strikes the so-manieth call of that name."""
        rng = random.Random(f"{self.seed}:{call}:{number}")
        place = int(rng.random() / self.chance)
        if place >= len(self.kinds):
            return None
        status, body = rng.choice(self.answers) if self.answers else (500, None)
        return Fault(call=call, kind=self.kinds[place], status=status, body=body, seconds=self.seconds)


class Notes(Protocol):
    """Where a strike is written down."""

    def append(self, event: str, **facts: Any) -> object:
        """Note an event."""
        ...


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

    def __init__(self, ledger: Notes, rng: random.Random) -> None:
        self._ledger = ledger
        self._rng = rng
        self.planned: list[Fault] = []
        self._mixes: tuple[Mix, ...] = ()
        self._calls: Counter[str] = Counter()
        self.error_body: Any = {"error": "planned fault"}

    def plan(self, fault: Fault) -> None:
        """Add a fault behind those planned before."""
        self.planned.append(fault)

    def mix(self, *mixes: Mix) -> None:
        """Draw from these from now on, the first that names the call; calls are counted from one again."""
        self._mixes = mixes
        self._calls.clear()

    def clear(self) -> None:
        """Forget all that has not struck yet, and draw no more."""
        self.planned.clear()
        self._mixes = ()

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
        return None if named else self._draw(call)

    def _draw(self, call: str) -> Fault | None:
        mix = next((one for one in self._mixes if not one.calls or call in one.calls), None)
        if mix is None:
            return None
        self._calls[call] += 1
        fault = mix.drawn(call, self._calls[call])
        if fault is not None:
            self._ledger.append("fault", call=call, kind=fault.kind)
        return fault

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
