"""Routes that tell about the server: nodes, models, versions."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from persona_tui.sandbox.comfyui.files import MODEL_FOLDERS, is_within
from persona_tui.sandbox.comfyui.nodes import NODE_TYPES
from persona_tui.sandbox.comfyui.server_state import ServerState
from persona_tui.sandbox.comfyui.sockets import FEATURES

VERSION = "0.8.0"
GIB = 1024**3


async def object_info(state: ServerState, _request: Request) -> Response:
    """All node types."""
    return JSONResponse({name: one.info(state.folders) for name, one in NODE_TYPES.items()})


async def object_info_of(state: ServerState, request: Request) -> Response:
    """One node type; `{}` for an unknown one."""
    name = request.path_params["node_class"]
    return JSONResponse({name: NODE_TYPES[name].info(state.folders)} if name in NODE_TYPES else {})


async def system_stats(_state: ServerState, _request: Request) -> Response:
    """Versions and memory; the card is made up."""
    return JSONResponse(
        {
            "system": {
                "os": sys.platform,
                "ram_total": 32 * GIB,
                "ram_free": 20 * GIB,
                "comfyui_version": VERSION,
                "required_frontend_version": "1.35.9",
                "installed_templates_version": None,
                "required_templates_version": "0.7.67",
                "python_version": platform.python_version(),
                "pytorch_version": "none (sandbox)",
                "embedded_python": False,
                "argv": ["sandbox"],
            },
            "devices": [
                {
                    "name": "sandbox",
                    "type": "cuda",
                    "index": 0,
                    "vram_total": 24 * GIB,
                    "vram_free": 22 * GIB,
                    "torch_vram_total": 0,
                    "torch_vram_free": 0,
                }
            ],
        }
    )


async def model_folders(_state: ServerState, _request: Request) -> Response:
    """Kinds of models."""
    return JSONResponse(list(MODEL_FOLDERS))


async def models_of(state: ServerState, request: Request) -> Response:
    """Models of one kind; 404 for an unknown kind."""
    folder = request.path_params["folder"]
    if folder not in MODEL_FOLDERS:
        return Response(status_code=404)
    return JSONResponse(state.folders.model_names(folder))


async def embeddings(state: ServerState, _request: Request) -> Response:
    """Names of textual inversions, without their suffix."""
    return JSONResponse([str(Path(name).with_suffix("")) for name in state.folders.model_names("embeddings")])


async def features(_state: ServerState, _request: Request) -> Response:
    """What the server supports."""
    return JSONResponse(FEATURES)


async def logs(state: ServerState, _request: Request) -> Response:
    """The newest lines of the log as one text."""
    return JSONResponse(state.log.text)


async def raw_logs(state: ServerState, _request: Request) -> Response:
    """The newest lines of the log, each with its time, and the size of the terminal."""
    return JSONResponse({"entries": list(state.log.entries), "size": {"cols": 80, "rows": 24}})


async def view_metadata(state: ServerState, request: Request) -> Response:
    """The `__metadata__` of a safetensors file; 404 without any."""
    root = state.folders.models / request.path_params["folder"]
    path = root / request.query_params.get("filename", "")
    if not is_within(state.folders.models, path) or path.suffix != ".safetensors" or not path.is_file():
        return Response(status_code=404)
    with path.open("rb") as file:
        header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), 1 << 20)))
    metadata = header.get("__metadata__")
    return Response(status_code=404) if metadata is None else JSONResponse(metadata)
