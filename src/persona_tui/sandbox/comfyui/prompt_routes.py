"""Routes of prompts: submit, queue, interrupt, history, jobs."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from persona_tui.sandbox.comfyui.jobs import BadQuery, list_jobs, one_job
from persona_tui.sandbox.comfyui.prompt_queue import QueueItem
from persona_tui.sandbox.comfyui.server_state import ServerState
from persona_tui.sandbox.comfyui.sockets import FEATURES
from persona_tui.sandbox.comfyui.validation import validate_prompt

TROUBLE = "500 Internal Server Error\n\nServer got itself in trouble"
SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
MAX_BODY = int(FEATURES["max_upload_size"])  # type: ignore[call-overload]


class TooLarge(Exception):
    """A body above the limit."""


def too_large() -> Response:
    """413, in aiohttp's words."""
    return Response(
        f"Maximum request body size {MAX_BODY} exceeded.", status_code=413, media_type="text/plain"
    )


async def body_of(request: Request) -> bytes:
    """The request's body.

    Raises:
        TooLarge: it is above 100 MiB.
    """
    if int(request.headers.get("content-length", "0")) > MAX_BODY:
        raise TooLarge
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise TooLarge
    return bytes(body)


async def get_prompt(state: ServerState, _request: Request) -> Response:
    """How many prompts run or wait."""
    return JSONResponse({"exec_info": {"queue_remaining": state.queue.remaining}})


async def post_prompt(state: ServerState, request: Request) -> Response:
    """Check a graph and let it wait; a malformed body is a 500, as upstream."""
    state.log.say("got prompt")
    try:
        asked = json.loads(await body_of(request))
    except TooLarge:
        return too_large()
    asked = asked if isinstance(asked, dict) else {}
    number = _number(state, asked)
    if "prompt" not in asked:
        told = "No prompt provided"
        return _rejected(state, {"type": "no_prompt", "message": told, "details": told, "extra_info": {}}, {})
    graph: dict[str, Any] = asked["prompt"]
    prompt_id = str(asked.get("prompt_id", uuid.uuid4()))
    workflow = _note_received(state, graph)
    verdict = validate_prompt(graph, state.folders, asked.get("partial_execution_targets"))
    if verdict.error is not None:
        return _rejected(state, verdict.error, verdict.node_errors)
    extra = {name: value for name, value in (asked.get("extra_data") or {}).items() if name not in SECRETS}
    if "client_id" in asked:
        extra["client_id"] = asked["client_id"]
    extra["create_time"] = int(time.time() * 1000)
    state.context.ledger.append(
        "queued", prompt_id=prompt_id, number=number, client_id=extra.get("client_id"), workflow=workflow
    )
    state.queue.put(QueueItem(number, prompt_id, graph, extra, verdict.outputs))
    return JSONResponse({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})


def _number(state: ServerState, asked: dict[str, Any]) -> float:
    if "number" in asked:
        return float(asked["number"])
    number = -state.number if asked.get("front") else state.number
    state.number += 1
    return number


def _rejected(state: ServerState, error: dict[str, Any], node_errors: dict[str, Any]) -> Response:
    state.context.ledger.append("rejected", type=error["type"])
    state.log.say(f"invalid prompt: {error}")
    return JSONResponse({"error": error, "node_errors": node_errors}, status_code=400)


def _note_received(state: ServerState, graph: dict[str, Any]) -> str:
    """Note the graph and the texts in it; returns the graph's hash."""
    for node in graph.values() if isinstance(graph, dict) else ():
        text = node.get("inputs", {}).get("text") if isinstance(node, dict) else None
        if isinstance(text, str):
            state.context.received.note("prompt", "text", text)
    return state.context.received.note("prompt", "workflow", graph)


async def get_queue(state: ServerState, _request: Request) -> Response:
    """Whole graphs of all that run or wait."""
    running = state.queue.running
    return JSONResponse(
        {
            "queue_running": [running.listed()] if running is not None else [],
            "queue_pending": [item.listed() for item in state.queue.pending],
        }
    )


async def post_queue(state: ServerState, request: Request) -> Response:
    """Forget waiting prompts: all, or some by id; the running one is left alone."""
    asked = await request.json()
    gone: list[str] = state.queue.clear() if asked.get("clear") else []
    gone += [prompt_id for prompt_id in asked.get("delete", ()) if state.queue.delete(prompt_id)]
    for prompt_id in gone:
        state.context.ledger.append("deleted", prompt_id=prompt_id)
    return Response()


async def post_interrupt(state: ServerState, request: Request) -> Response:
    """Stop the running prompt, or with an id only if that one runs."""
    try:
        asked = await request.json()
    except json.JSONDecodeError:
        asked = {}
    wanted, running = asked.get("prompt_id"), state.queue.running
    state.log.say(f"Interrupting prompt {wanted}" if wanted else "Global interrupt (no prompt_id specified)")
    if not wanted or (running is not None and running.prompt_id == wanted):
        state.executor.interrupt()
        state.context.ledger.append("interrupt", prompt_id=running.prompt_id if running is not None else None)
    return Response()


async def post_free(state: ServerState, request: Request) -> Response:
    """Free memory; with `free_memory` cached results are forgotten too."""
    asked = await request.json()
    if asked.get("free_memory", False):
        state.executor.free()
    state.context.ledger.append(
        "free", **{name: bool(asked.get(name)) for name in ("unload_models", "free_memory")}
    )
    return Response()


async def get_history(state: ServerState, request: Request) -> Response:
    """All that is done, or `max_items` of it."""
    limit, offset = request.query_params.get("max_items"), request.query_params.get("offset")
    return JSONResponse(
        state.queue.page(None if limit is None else int(limit), -1 if offset is None else int(offset))
    )


async def get_history_of(state: ServerState, request: Request) -> Response:
    """One prompt, by id; `{}` while it waits, runs or is unknown."""
    prompt_id = request.path_params["prompt_id"]
    entry = state.queue.history.get(prompt_id)
    return JSONResponse({} if entry is None else {prompt_id: entry})


async def post_history(state: ServerState, request: Request) -> Response:
    """Forget what is done: all, or some by id."""
    asked = await request.json()
    if asked.get("clear"):
        state.queue.history.clear()
    for prompt_id in asked.get("delete", ()):
        state.queue.history.pop(prompt_id, None)
    return Response()


async def get_jobs(state: ServerState, request: Request) -> Response:
    """The newer view of queue and history, filtered, sorted, in pages."""
    try:
        return JSONResponse(list_jobs(state.queue, request.query_params))
    except BadQuery as problem:
        return JSONResponse({"error": str(problem)}, status_code=400)


async def get_job(state: ServerState, request: Request) -> Response:
    """One job in full."""
    job = one_job(state.queue, request.path_params["job_id"])
    if job is None:
        return JSONResponse({"error": "Job not found"}, status_code=404)
    return JSONResponse(job)
