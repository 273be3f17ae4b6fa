"""Run one prompt after another: cached results, the real order of events, the history entry."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from persona_tui.sandbox.comfyui.node_runs import NodeCall, Studio
from persona_tui.sandbox.comfyui.node_types import NodeType
from persona_tui.sandbox.comfyui.nodes import NODE_TYPES
from persona_tui.sandbox.comfyui.prompt_queue import PromptQueue, QueueItem
from persona_tui.sandbox.comfyui.sockets import Hub
from persona_tui.sandbox.faults import Faults

LONGEST_NAP = 0.1
PREVIEW_METHODS = {"auto", "latent2rgb", "taesd"}


class Interrupted(Exception):
    """The running prompt was interrupted."""


@dataclass(frozen=True)
class Result:
    """What a node left behind: its outputs, and for an output node what the history shows."""

    outputs: tuple[Any, ...]
    ui: dict[str, Any] | None


def _is_link(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def _type_of(graph: Mapping[str, Any], node_id: str) -> NodeType:
    return NODE_TYPES[graph[node_id]["class_type"]]


class Executor:
    """The one worker; keeps the results of the last prompt's nodes."""

    def __init__(self, queue: PromptQueue, hub: Hub, studio: Studio, faults: Faults) -> None:
        self._faults = faults
        self._queue = queue
        self._hub = hub
        self._studio = studio
        self._cache: dict[str, Result] = {}
        self._forget = False
        self._interrupted = False

    def interrupt(self) -> None:
        """Stop the running prompt at its next step; without one nothing happens."""
        self._interrupted = True

    def free(self) -> None:
        """Forget cached results before the next prompt."""
        self._forget = True

    async def work(self) -> None:
        """Run prompts, for ever."""
        while True:
            item = await self._queue.take()
            run, began = _Run(item, self._hub, self._studio, self), time.perf_counter()
            await run.execute()
            self._queue.done(item, run.history())
            if self._hub.client_id is not None:
                self._hub.tell("executing", {"node": None, "prompt_id": item.prompt_id}, self._hub.client_id)
            self._studio.log.say(f"Prompt executed in {time.perf_counter() - began:.2f} seconds")

    async def act_out(self) -> None:
        """The fault that is planned for this prompt, once its first node runs: `execute`.

        `slow` takes `seconds` more, in which it can be interrupted; `fail_before` fails with the text `body`.

        Raises:
            Interrupted: it was, while it took its time.
            RuntimeError: it was to fail.
        """
        fault = self._faults.take("execute", named=True)
        if fault is None:
            return
        if fault.kind == "slow":
            ends = time.monotonic() + fault.seconds
            while (left := ends - time.monotonic()) > 0:
                self.raise_if_interrupted()
                await asyncio.sleep(min(left, LONGEST_NAP))
        elif fault.kind == "fail_before":
            raise RuntimeError(fault.body or "planned fault")

    def start(self) -> None:
        """Begin a prompt: an interrupt that came between two prompts does not count."""
        self._interrupted = False
        if self._forget:
            self._cache, self._forget = {}, False

    def raise_if_interrupted(self) -> None:
        """Called between steps."""
        if self._interrupted:
            self._interrupted = False
            raise Interrupted

    def keep_only(self, keys: set[str]) -> None:
        """Drop the results that the prompt about to run has no use for."""
        self._cache = {key: result for key, result in self._cache.items() if key in keys}

    def cached(self, key: str) -> Result | None:
        """The result under a signature."""
        return self._cache.get(key)

    def keep(self, key: str, result: Result) -> None:
        """Keep a result for the next prompt."""
        self._cache[key] = result


class _Run:
    """One prompt's execution."""

    def __init__(self, item: QueueItem, hub: Hub, studio: Studio, executor: Executor) -> None:
        self._item = item
        self._graph = item.graph
        self._hub = hub
        self._studio = studio
        self._executor = executor
        self._messages: list[list[Any]] = []
        self._ui: dict[str, Any] = {}
        self._executed: list[str] = []
        self._done: dict[str, Result] = {}
        self._progress: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, str] = {}
        self._success = True

    def history(self) -> dict[str, Any]:
        """`outputs`, `meta` and `status` of the history entry."""
        return {
            "outputs": self._ui,
            "status": {
                "status_str": "success" if self._success else "error",
                "completed": self._success,
                "messages": self._messages,
            },
            "meta": {
                node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
                for node in self._ui
            },
        }

    async def execute(self) -> None:
        """Run all that the prompt's outputs need."""
        self._executor.start()
        self._hub.client_id = self._item.extra_data.get("client_id")
        self._say("execution_start", {"prompt_id": self._item.prompt_id})
        self._keys = {node: self._signature(node, {}) for node in self._graph}
        self._executor.keep_only(set(self._keys.values()))
        known = [node for node in self._graph if self._executor.cached(self._keys[node])]
        self._say("execution_cached", {"nodes": known, "prompt_id": self._item.prompt_id})
        for node in self._order():
            try:
                await self._execute_node(node)
            except Interrupted:
                self._studio.log.say("Processing interrupted")
                self._fail(node, "execution_interrupted", {}, broadcast=True)
                break
            except Exception as problem:
                self._studio.log.say(f"!!! Exception during processing !!! {problem}")
                self._studio.log.say(traceback.format_exc().rstrip())
                self._fail(node, "execution_error", self._told(node, problem), broadcast=False)
                break
        else:
            self._say("execution_success", {"prompt_id": self._item.prompt_id})
        self._hub.last_node = None
        status = self._messages[-1][0].removeprefix("execution_")
        self._studio.ledger.append("finished", prompt_id=self._item.prompt_id, status=status)

    def _say(self, event: str, data: dict[str, Any], *, broadcast: bool = False) -> None:
        stamped = {**data, "timestamp": int(time.time() * 1000)}
        self._messages.append([event, stamped])
        if self._hub.client_id is not None or broadcast:
            self._hub.tell(event, stamped, self._hub.client_id)

    def _fail(self, node: str, event: str, more: dict[str, Any], *, broadcast: bool) -> None:
        self._success = False
        told = {
            "prompt_id": self._item.prompt_id,
            "node_id": node,
            "node_type": self._graph[node]["class_type"],
            "executed": self._executed,
            **more,
        }
        self._say(event, told, broadcast=broadcast)

    def _told(self, node: str, problem: Exception) -> dict[str, Any]:
        kind = type(problem)
        inputs = self._graph[node]["inputs"]
        hidden = {"PROMPT": str(self._graph), "EXTRA_PNGINFO": self._item.extra_data.get("extra_pnginfo")}
        asked = {name: hidden[kind] for name, kind in _type_of(self._graph, node).hidden.items()}
        return {
            "exception_message": f"{problem}\n",
            "exception_type": kind.__qualname__
            if kind.__module__ == "builtins"
            else f"{kind.__module__}.{kind.__qualname__}",
            "traceback": traceback.format_tb(problem.__traceback__)[-1:],
            "current_inputs": {name: [_printable(value)] for name, value in (inputs | asked).items()},
            "current_outputs": list(self._graph),
        }

    def _signature(self, node: str, seen: dict[str, str]) -> str:
        """A key that is equal for nodes that must give equal results, whatever their ids are."""
        if node in seen:
            return seen[node]
        seen[node] = "cycle"
        node_type, inputs = _type_of(self._graph, node), self._graph[node].get("inputs", {})
        changed = node_type.changed(self._studio.folders, inputs) if node_type.changed else False
        parts: list[Any] = [node_type.name, changed]
        for name in sorted(inputs):
            value = inputs[name]
            if _is_link(value) and value[0] in self._graph:
                parts.append([name, "link", self._signature(value[0], seen), value[1]])
            else:
                parts.append([name, value])
        seen[node] = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()
        return seen[node]

    def _order(self) -> list[str]:
        """The order of execution: outputs as soon as they can, then what feeds an output, then the rest."""
        waits: dict[str, set[str]] = {}
        stack = list(self._item.outputs)
        while stack:
            node = stack.pop(0)
            if node in waits:
                continue
            links = [value[0] for value in self._graph[node]["inputs"].values() if _is_link(value)]
            needed = [one for one in dict.fromkeys(links) if not self._executor.cached(self._keys[one])]
            waits[node] = set(needed)
            stack += needed
        order = []
        while waits:
            ready = [node for node in waits if not waits[node]]
            chosen = self._friendliest(ready, waits)
            del waits[chosen]
            for others in waits.values():
                others.discard(chosen)
            order.append(chosen)
        return order

    def _friendliest(self, ready: list[str], waits: Mapping[str, set[str]]) -> str:
        def feeds_output(node: str) -> bool:
            return any(
                node in needs and _type_of(self._graph, other).output_node for other, needs in waits.items()
            )

        for wanted in (lambda node: _type_of(self._graph, node).output_node, feeds_output):
            for node in ready:
                if wanted(node):
                    return node
        return ready[0]

    async def _execute_node(self, node: str) -> None:
        cached = self._executor.cached(self._keys[node])
        if cached is not None:
            self._take_from_cache(node, cached)
            return
        self._set_progress(node, 0.0, 1.0, "running")
        client_id = self._hub.client_id
        if client_id is not None:
            self._hub.last_node = node
            self._hub.tell(
                "executing",
                {"node": node, "display_node": node, "prompt_id": self._item.prompt_id},
                client_id,
            )
        self._executor.raise_if_interrupted()
        if not self._executed:
            await self._executor.act_out()
        node_type = _type_of(self._graph, node)
        returned = await node_type.run(self._call(node), **self._inputs(node, node_type))
        result = Result((), returned) if node_type.output_node else Result(tuple(returned), None)
        if result.ui is not None:
            self._ui[node] = result.ui
            self._tell_executed(node, result.ui)
        self._done[node] = result
        self._executor.keep(self._keys[node], result)
        self._set_progress(node, None, None, "finished")
        self._executed.append(node)

    def _take_from_cache(self, node: str, cached: Result) -> None:
        """Without a client id the output of a cached node is lost: the fault of v0.8.0, kept on purpose."""
        if self._hub.client_id is not None:
            self._tell_executed(node, cached.ui)
            if cached.ui is not None:
                self._ui[node] = cached.ui
        self._set_progress(node, 1, 1, "finished")

    def _tell_executed(self, node: str, output: dict[str, Any] | None) -> None:
        if self._hub.client_id is not None:
            told = {"node": node, "display_node": node, "output": output, "prompt_id": self._item.prompt_id}
            self._hub.tell("executed", told, self._hub.client_id)

    def _inputs(self, node: str, node_type: NodeType) -> dict[str, Any]:
        """The declared inputs with links followed; what is not declared is ignored."""
        given = self._graph[node]["inputs"]
        values = {}
        for name in node_type.inputs:
            if name in given:
                value = given[name]
                values[name] = self._output(value[0], value[1]) if _is_link(value) else value
        return values

    def _output(self, node: str, slot: int) -> Any:
        result = self._done.get(node) or self._executor.cached(self._keys[node])
        assert result is not None
        return result.outputs[slot]

    def _call(self, node: str) -> NodeCall:
        extra = self._item.extra_data

        def progress(value: int, maximum: int, preview: Image.Image | None) -> None:
            self._executor.raise_if_interrupted()
            self._set_progress(node, value, maximum, "running")
            told = {"value": value, "max": maximum, "prompt_id": self._item.prompt_id, "node": node}
            self._hub.tell("progress", told, self._hub.client_id)
            if preview is not None:
                self._hub.tell_preview(preview, self._item.prompt_id, node)

        return NodeCall(
            studio=self._studio,
            prompt_id=self._item.prompt_id,
            node_id=node,
            graph=self._graph,
            extra_pnginfo=extra.get("extra_pnginfo"),
            previews=extra.get("preview_method") in PREVIEW_METHODS,
            progress=progress,
        )

    def _set_progress(self, node: str, value: float | None, maximum: float | None, state: str) -> None:
        entry = self._progress.setdefault(node, {"value": 0, "max": 1})
        entry["max"] = entry["max"] if maximum is None else maximum
        entry["value"] = entry["max"] if value is None else value
        entry |= {
            "state": state, "node_id": node, "prompt_id": self._item.prompt_id, "display_node_id": node,
            "parent_node_id": None, "real_node_id": node,
        }  # fmt: skip
        told = {"prompt_id": self._item.prompt_id, "nodes": self._progress}
        self._hub.tell("progress_state", told, self._hub.client_id)


def _printable(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | bool | str) else str(value)
