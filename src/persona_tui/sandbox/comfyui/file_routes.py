"""Routes of files: view and upload."""

from __future__ import annotations

import hashlib
import io
import mimetypes

from PIL import Image
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from persona_tui.sandbox.comfyui.files import is_within
from persona_tui.sandbox.comfyui.prompt_routes import TooLarge, body_of, too_large
from persona_tui.sandbox.comfyui.server_state import ServerState
from persona_tui.sandbox.comfyui.uploads import BadUpload, parts_of, store

RISKY_TYPES = {"text/html", "text/html-sandboxed", "application/xhtml+xml", "text/javascript", "text/css"}


async def view(state: ServerState, request: Request) -> Response:
    """A file of input, output or temp; as it is, as a preview, or one of its channels."""
    query = request.query_params
    if "filename" not in query:
        return Response(status_code=404)
    name, folder = state.folders.annotated(query["filename"])
    if not name or name[0] == "/" or ".." in name:
        return Response(status_code=400)
    folder = folder or state.folders.of_type(query.get("type", "output"))
    if folder is None:
        return Response(status_code=400)
    target = folder / query.get("subfolder", "")
    if not is_within(folder, target):
        return Response(status_code=403)
    path = target / name.rpartition("/")[2]
    if not path.is_file():
        return Response(status_code=404)
    headers = {"Content-Disposition": f'filename="{path.name}"'}
    if "preview" in query:
        with Image.open(path) as image:
            return _preview(image, query["preview"], query.get("channel", ""), headers)
    if query.get("channel") in {"rgb", "a"}:
        with Image.open(path) as image:
            return Response(_channel(image, query["channel"]), media_type="image/png", headers=headers)
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    kind = "application/octet-stream" if kind in RISKY_TYPES else kind
    return FileResponse(path, headers=headers, media_type=kind)


def _preview(image: Image.Image, asked: str, channel: str, headers: dict[str, str]) -> Response:
    words = asked.split(";")
    form = words[0] if words[0] in {"webp", "jpeg"} and "a" not in channel else "webp"
    quality = int(words[-1]) if words[-1].isdigit() else 90
    encoded = io.BytesIO()
    plain = image.convert("RGB") if form == "jpeg" or channel == "rgb" else image
    plain.save(encoded, form, quality=quality)
    return Response(encoded.getvalue(), media_type=f"image/{form}", headers=headers)


def _channel(image: Image.Image, channel: str) -> bytes:
    if channel == "rgb":
        chosen = image.convert("RGB")
    else:
        chosen = Image.new("RGBA", image.size)
        chosen.putalpha(image.getchannel("A") if image.mode == "RGBA" else Image.new("L", image.size, 255))
    encoded = io.BytesIO()
    chosen.save(encoded, "PNG")
    return encoded.getvalue()


async def upload_image(state: ServerState, request: Request) -> Response:
    """Store the field `image`; the answer names what to use in LoadImage."""
    try:
        parts = parts_of(await body_of(request), request.headers.get("content-type", ""))
        answer, path = store(state.folders, parts)
    except TooLarge:
        return too_large()
    except BadUpload:
        return Response(status_code=400)
    data = parts["image"].data
    state.context.received.note("upload", "picture", data)
    state.context.ledger.append(
        "uploaded", name=path.name, sha256=hashlib.sha256(data).hexdigest(), size=len(data)
    )
    return JSONResponse(answer)
