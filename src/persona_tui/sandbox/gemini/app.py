"""The application of the Gemini stand-in: generateContent, models, and OpenAI's chat completions.

Faults name the calls `generate_content`, `list_models`, `get_model` and `chat_completions`. What a model
may do beyond failing is steered at `/sandbox/outcomes`: the next answers are blocked, cut or wrapped.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from persona_tui.sandbox.control import SandboxContext
from persona_tui.sandbox.gemini import wire
from persona_tui.sandbox.gemini.answers import Question, answer
from persona_tui.sandbox.gemini.wire import BadRequest, gemini_error, openai_error

Outcome = Literal["prompt_blocked", "answer_blocked", "cut", "empty", "fenced", "wrong_schema"]


class OutcomeInput(BaseModel):
    """What the next answers turn out to be."""

    model_config = ConfigDict(extra="forbid")

    outcome: Outcome
    times: int = Field(default=1, ge=1, le=1000)


def create_app(context: SandboxContext) -> Starlette:
    """The stand-in's routes."""
    context.faults.error_body = json.loads(bytes(gemini_error(500, "Internal error encountered.").body))
    service = _Service(context)
    routes = [
        Route("/sandbox/outcomes", service.steer, methods=["POST", "DELETE"]),
        Route("/v1/chat/completions", service.chat, methods=["POST"]),
        Route("/{version:str}/models", service.list_models, methods=["GET"]),
        Route("/{version:str}/models/{name:path}", service.get_model, methods=["GET"]),
        Route("/{version:str}/models/{call:path}", service.call_model, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    # Google answers a wrong key with 400, not with 401.
    app.state.unauthorized = lambda _reason: gemini_error(
        400, "API key not valid. Please pass a valid API key.", reason="API_KEY_INVALID"
    )
    return app


class _Service:
    def __init__(self, context: SandboxContext) -> None:
        self._context = context
        self._outcomes: deque[Outcome] = deque()

    async def steer(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._outcomes.clear()
        else:
            try:
                wanted = OutcomeInput.model_validate_json(await request.body())
            except ValidationError as problem:
                return gemini_error(400, str(problem))
            self._outcomes.extend([wanted.outcome] * wanted.times)
        return JSONResponse({"outcomes": list(self._outcomes)})

    async def list_models(self, _request: Request) -> Response:
        async def effect() -> Response:
            # Gemini and OpenAI have this path in common, and clients of each ignore the other's fields.
            names = [model.name for model in wire.GEMINI_MODELS] + list(wire.LOCAL_MODELS)
            return JSONResponse(
                {
                    "models": [wire.gemini_model(model) for model in wire.GEMINI_MODELS],
                    "object": "list",
                    "data": [{"id": name, "object": "model", "owned_by": "library"} for name in names],
                }
            )

        return await self._context.faults.around("list_models", effect)

    async def get_model(self, request: Request) -> Response:
        name = str(request.path_params["name"])

        async def effect() -> Response:
            for model in wire.GEMINI_MODELS:
                if model.name == name:
                    return JSONResponse(wire.gemini_model(model))
            if name in wire.LOCAL_MODELS:
                return JSONResponse({"id": name, "object": "model", "owned_by": "library"})
            return _no_model(name, str(request.path_params["version"]))

        return await self._context.faults.around("get_model", effect)

    async def call_model(self, request: Request) -> Response:
        version = str(request.path_params["version"])
        name, _, method = str(request.path_params["call"]).rpartition(":")
        body = await _json(request)

        async def effect() -> Response:
            if method != "generateContent" or name not in {model.name for model in wire.GEMINI_MODELS}:
                return _no_model(name, version)
            try:
                return await self._generate(wire.read_gemini(name, body))
            except BadRequest as problem:
                return gemini_error(400, str(problem))

        return await self._context.faults.around("generate_content", effect)

    async def _generate(self, question: Question) -> Response:
        self._note("generate_content", question)
        outcome = self._next_outcome()
        try:
            text, finish = await self._write(question, outcome)
        except OSError:
            return gemini_error(400, "Unable to process input image. Please retry or report.")
        if outcome == "prompt_blocked":
            return wire.gemini_prompt_blocked(question)
        return wire.gemini_answer(question, text, finish)

    async def chat(self, request: Request) -> Response:
        body = await _json(request)

        async def effect() -> Response:
            try:
                question = wire.read_openai(body)
            except (BadRequest, KeyError, TypeError, AttributeError) as problem:
                return openai_error(400, str(problem))
            if question.model not in wire.LOCAL_MODELS:
                return openai_error(
                    404, f'model "{question.model}" not found, try pulling it first', "api_error"
                )
            return await self._complete(question)

        return await self._context.faults.around("chat_completions", effect)

    async def _complete(self, question: Question) -> Response:
        self._note("chat_completions", question)
        try:
            text, finish = await self._write(question, self._next_outcome())
        except OSError:
            return openai_error(400, "failed to decode image")
        finish = {"MAX_TOKENS": "length", "SAFETY": "content_filter"}.get(finish, "stop")
        created = int(self._context.clock.now().timestamp())
        return wire.openai_answer(question, text or "", finish, created)

    async def _write(self, question: Question, outcome: Outcome | None) -> tuple[str | None, str]:
        """The answer's text and Gemini's word for how it ended; None for text that was blocked."""
        await asyncio.sleep(self._context.options.latency)
        use, text = answer(question, self._context.rng)
        facts: dict[str, Any] = {"model": question.model, "use": use, "outcome": outcome or "answer"}
        self._context.ledger.append("generated", pictures=len(question.pictures), **facts)
        if outcome in {"prompt_blocked", "answer_blocked"}:
            return None, "SAFETY"
        if outcome == "cut":
            return text[: len(text) * 2 // 3], "MAX_TOKENS"
        if (begun := wire.cut(text, question.longest)) is not None:
            return begun, "MAX_TOKENS"
        shaped = {
            "empty": "",
            "fenced": f"Here is the JSON you asked for:\n```json\n{text}\n```\nLet me know!",
            "wrong_schema": json.dumps({"something": "else"}),
        }
        return shaped.get(outcome or "", text), "STOP"

    def _next_outcome(self) -> Outcome | None:
        return self._outcomes.popleft() if self._outcomes else None

    def _note(self, call: str, question: Question) -> None:
        for text in question.texts:
            what = "schema" if wire.repeats_schema(text, question.schema) else "text"
            self._context.received.note(call, what, text)
        for picture in question.pictures:
            self._context.received.note(call, "picture", picture)


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError:
        return None


def _no_model(name: str, version: str) -> Response:
    return gemini_error(
        404,
        f"models/{name} is not found for API version {version}, or is not supported for generateContent. "
        "Call ModelService.ListModels to see the list of available models and their supported methods.",
    )
