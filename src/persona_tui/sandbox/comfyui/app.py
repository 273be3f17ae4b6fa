"""The ComfyUI stand-in's application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from persona_tui.sandbox.control import SandboxContext


def create_app(context: SandboxContext) -> Starlette:
    """ComfyUI's routes."""

    async def effect() -> Response:
        return JSONResponse({"system": {"comfyui_version": "0.8.0"}, "devices": []})

    async def system_stats(_request: Request) -> Response:
        return await context.faults.around("system_stats", effect)

    return Starlette(routes=[Route("/system_stats", system_stats)])
