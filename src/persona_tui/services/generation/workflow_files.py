"""Workflows as files: ComfyUI's API export, its editor's own format, or a picture that carries either."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from persona_tui.errors import InvalidRequest, UnknownName

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes; a picture with its prompt is far smaller."""
_PNG = b"\x89PNG\r\n\x1a\n"
_BARE = re.compile(r'"(?:[^"\\]|\\.)*"|(\{\{\s*[^{}"]*?\s*\}\})')
"""A text, or a placeholder outside of one."""
_HINT = "Use a workflow that ComfyUI saved or exported, or a PNG that it saved."


def read_workflow(file: Path) -> dict[str, Any]:
    """The JSON object in a file, or in the text chunk of a PNG into which ComfyUI's SaveImage puts it.

    A PNG's `prompt` is what the server ran; where only the editor's `workflow` is there, that is taken.

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
    except IsADirectoryError:
        raise InvalidRequest(
            f"{file} is a folder, and no workflow.",
            hint=f"Name the files in it, one for each step, in the order of the steps: {file}/first.json …",
        ) from None
    except OSError as problem:
        raise InvalidRequest(
            f"{file} can't be read: {problem.strerror}.", hint="Check its permissions."
        ) from None
    text = _prompt_of(file, content) if content.startswith(_PNG) else _decoded(file, content)
    return read_json(text, str(file))


def read_json(text: str, what: str) -> dict[str, Any]:
    """The JSON object in a text; bare placeholders, `"seed": {{seed}}`, are put in quotes.

    As whole values they take their variable's type all the same.

    Args:
        what: stands at the start of the error's sentence.

    Raises:
        InvalidRequest: it is no JSON object.
    """
    try:
        document = _parsed(text)
    except (ValueError, RecursionError) as problem:
        raise InvalidRequest(f"{what} is no workflow that can be read: {problem}.", hint=_HINT) from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"{what} is no workflow.", hint=_HINT)
    return document


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        with_quotes = _BARE.sub(
            lambda match: f'"{match.group(1)}"' if match.group(1) else match.group(), text
        )
        if with_quotes == text:
            raise
        return json.loads(with_quotes)


def _decoded(file: Path, content: bytes) -> str:
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as problem:
        raise InvalidRequest(f"{file} is no workflow that can be read: {problem}.", hint=_HINT) from None


def _prompt_of(file: Path, content: bytes) -> str:
    from PIL import Image

    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as picture:
            picture.load()  # text chunks may follow the pixels
            texts = getattr(picture, "text", {})
            found = texts.get("prompt") or texts.get("workflow")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise InvalidRequest(f"{file} is a PNG that can't be read: {problem}.", hint=_HINT) from None
    if not found:
        raise InvalidRequest(
            f"{file} carries no prompt.",
            hint="ComfyUI writes it unless --disable-metadata is set, and most sites strip it.",
        )
    return str(found)
