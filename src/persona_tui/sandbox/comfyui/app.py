"""The ComfyUI stand-in's application: every route, under its own path and under /api."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from persona_tui.sandbox.comfyui import file_routes, info_routes, prompt_routes
from persona_tui.sandbox.comfyui.server_state import ServerState, make_state
from persona_tui.sandbox.control import SandboxContext

Handler = Callable[[ServerState, Request], Awaitable[Response]]

# (method, path, name for planned faults, handler)
ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/prompt", "get_prompt", prompt_routes.get_prompt),
    ("POST", "/prompt", "prompt", prompt_routes.post_prompt),
    ("GET", "/queue", "queue", prompt_routes.get_queue),
    ("POST", "/queue", "delete_pending", prompt_routes.post_queue),
    ("POST", "/interrupt", "interrupt", prompt_routes.post_interrupt),
    ("POST", "/free", "free", prompt_routes.post_free),
    ("GET", "/history", "history", prompt_routes.get_history),
    ("GET", "/history/{prompt_id}", "history", prompt_routes.get_history_of),
    ("POST", "/history", "delete_history", prompt_routes.post_history),
    ("GET", "/view", "view", file_routes.view),
    ("POST", "/upload/image", "upload", file_routes.upload_image),
    ("GET", "/object_info", "object_info", info_routes.object_info),
    ("GET", "/object_info/{node_class}", "object_info", info_routes.object_info_of),
    ("GET", "/system_stats", "system_stats", info_routes.system_stats),
    ("GET", "/models", "models", info_routes.model_folders),
    ("GET", "/models/{folder}", "models", info_routes.models_of),
    ("GET", "/embeddings", "models", info_routes.embeddings),
    ("GET", "/features", "features", info_routes.features),
    ("GET", "/view_metadata/{folder}", "models", info_routes.view_metadata),
)
NOT_UNDER_API: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/internal/logs", "logs", info_routes.logs),
    ("GET", "/internal/logs/raw", "logs", info_routes.raw_logs),
)
ONLY_UNDER_API: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/api/jobs", "jobs", prompt_routes.get_jobs),
    ("GET", "/api/jobs/{job_id}", "jobs", prompt_routes.get_job),
)


def create_app(context: SandboxContext) -> Starlette:
    """The application of a server that has just been started."""
    state = make_state(context)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with state.running():
            yield

    routes: list[BaseRoute] = []
    for prefix in ("", "/api"):
        routes.append(WebSocketRoute(f"{prefix}/ws", state.hub.serve))
        routes += [
            _route(state, method, prefix + path, call, handler) for method, path, call, handler in ROUTES
        ]
    routes += [_route(state, *one) for one in (*NOT_UNDER_API, *ONLY_UNDER_API)]
    context.faults.error_body = prompt_routes.TROUBLE
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={404: _no_route, 405: _no_method})


def _no_route(_request: Request, _problem: Exception) -> Response:
    """aiohttp, as ComfyUI starts it, says nothing."""
    return Response(status_code=404)


def _no_method(_request: Request, _problem: Exception) -> Response:
    return Response("405: Method Not Allowed", status_code=405, media_type="text/plain")


def _route(state: ServerState, method: str, path: str, call: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        async def effect() -> Response:
            try:
                return await handler(state, request)
            except Exception:
                # Upstream answers 500 to all that it did not expect, bad JSON included.
                logging.getLogger("uvicorn.error").debug("500 for %s %s", method, path, exc_info=True)
                state.context.ledger.append("trouble", call=call)
                return Response(prompt_routes.TROUBLE, status_code=500, media_type="text/plain")

        return await state.context.faults.around(call, effect)

    return Route(path, endpoint, methods=[method])
