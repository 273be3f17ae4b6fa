"""Workflows as files: ComfyUI's API export, or a picture that carries the prompt it was made with."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from persona_tui.errors import InvalidRequest, UnknownName

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes; a picture with its prompt is far smaller."""
_PNG = b"\x89PNG\r\n\x1a\n"
_HINT = "Use ComfyUI's Export (API), or a PNG that ComfyUI saved."


def read_workflow(file: Path) -> dict[str, Any]:
    """The JSON object in a file, or in a PNG's text chunk `prompt`, where ComfyUI's SaveImage puts it.

    Raises:
        UnknownName: there is no such file.
        InvalidRequest: it can't be read, is too large, or holds no workflow.
    """
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise InvalidRequest(f"{file} is too large for a workflow.", hint=_HINT)
        content = file.read_bytes()
    except FileNotFoundError:
        raise UnknownName(f"There is no file {file}.", hint="Check the path.") from None
    except OSError as problem:
        raise InvalidRequest(
            f"{file} can't be read: {problem.strerror}.", hint="Check its permissions."
        ) from None
    text = _prompt_of(file, content) if content.startswith(_PNG) else content
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InvalidRequest(f"{file} is no workflow that can be read: {problem}.", hint=_HINT) from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"{file} is no workflow.", hint=_HINT)
    return document


def _prompt_of(file: Path, content: bytes) -> str:
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as picture:
            picture.load()  # text chunks may follow the pixels
            found = getattr(picture, "text", {}).get("prompt")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise InvalidRequest(f"{file} is a PNG that can't be read: {problem}.", hint=_HINT) from None
    if not found:
        raise InvalidRequest(
            f"{file} carries no prompt.",
            hint="ComfyUI writes it unless --disable-metadata is set, and most sites strip it.",
        )
    return str(found)
