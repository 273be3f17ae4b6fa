"""Static files of the sandbox's public folder, as a plain web host shows them: GET and HEAD, no listing."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from persona_tui.sandbox.control import SandboxContext

CONTENT_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".mp4": "video/mp4",
}


def create_app(context: SandboxContext) -> Starlette:
    """The media host's one route. Faults name it `media_get`; each fetch is noted as `fetched`."""

    async def show(request: Request) -> Response:
        path = str(request.path_params["path"])

        async def effect() -> Response:
            file = public_file(context.media_dir, path)
            status = 404 if file is None else 200
            agent = request.headers.get("user-agent", "")
            context.ledger.append("fetched", method=request.method, path=path, status=status, agent=agent)
            if file is None:
                return PlainTextResponse("Not Found", status_code=404)
            return FileResponse(file, media_type=CONTENT_TYPES[file.suffix.lower()])

        return await context.faults.around("media_get", effect)

    return Starlette(routes=[Route("/{path:path}", show, methods=["GET", "HEAD"])])


def public_file(root: Path, path: str) -> Path | None:
    """The picture at that path below `root`; None for anything else, links that lead outside included."""
    if "\0" in path or "\\" in path or any(part.startswith(".") for part in path.split("/")):
        return None
    try:
        inside = root.resolve()
        file = (inside / path.lstrip("/")).resolve()
        shown = file.is_relative_to(inside) and file.suffix.lower() in CONTENT_TYPES and file.is_file()
    except (OSError, RuntimeError):  # too long a name; a link that leads to itself
        return None
    return file if shown else None
