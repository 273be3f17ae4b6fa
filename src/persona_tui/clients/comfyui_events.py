"""ComfyUI's websocket: what its frames say, as typed events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from persona_tui.clients.comfyui_facts import OutputFile, failure_words, files_in
from persona_tui.text import clean

PREVIEW_IMAGE = 1
PREVIEW_IMAGE_WITH_METADATA = 4
_LONGEST_HEADER = 64 * 1024
_PICTURE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


@dataclass(frozen=True)
class ComfyEvent:
    """Something that the server told.

    Attributes:
        prompt_id: the prompt it is about; None: about none, or the server does not say.
        type: the server's own name for it.
    """

    type: ClassVar[str] = ""
    prompt_id: str | None


@dataclass(frozen=True)
class Status(ComfyEvent):
    """How many prompts run or wait; the first event of each connection."""

    type: ClassVar[str] = "status"
    queue_remaining: int


@dataclass(frozen=True)
class ExecutionStart(ComfyEvent):
    """A prompt began."""

    type: ClassVar[str] = "execution_start"


@dataclass(frozen=True)
class ExecutionCached(ComfyEvent):
    """Nodes whose results are still there, so that they don't run again."""

    type: ClassVar[str] = "execution_cached"
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Executing(ComfyEvent):
    """A node began."""

    type: ClassVar[str] = "executing"
    node: str


@dataclass(frozen=True)
class Progress(ComfyEvent):
    """A node got to step `value` of `max`."""

    type: ClassVar[str] = "progress"
    node: str | None
    value: float
    max: float


@dataclass(frozen=True)
class Preview(ComfyEvent):
    """A JPEG or PNG of what is being made; the prompt is known from servers that send metadata."""

    type: ClassVar[str] = "preview"
    picture: bytes
    node: str | None = None


@dataclass(frozen=True)
class Executed(ComfyEvent):
    """An output node is done, or its cached result stands; `output` are the files that it names."""

    type: ClassVar[str] = "executed"
    node: str
    output: tuple[OutputFile, ...]


@dataclass(frozen=True)
class ExecutionSuccess(ComfyEvent):
    """A prompt is done; the history may show it a moment later."""

    type: ClassVar[str] = "execution_success"


@dataclass(frozen=True)
class ExecutionError(ComfyEvent):
    """A prompt failed; `message` is one sentence."""

    type: ClassVar[str] = "execution_error"
    node: str | None
    message: str


@dataclass(frozen=True)
class ExecutionInterrupted(ComfyEvent):
    """A prompt was interrupted."""

    type: ClassVar[str] = "execution_interrupted"
    node: str | None


@dataclass(frozen=True)
class Idle(ComfyEvent):
    """The last word on a prompt: nothing of it runs any more, and the history has it."""

    type: ClassVar[str] = "idle"


def parse_frame(frame: str | bytes) -> ComfyEvent | None:
    """The event in a frame; None for those that are unknown, of no interest, or malformed."""
    if isinstance(frame, bytes):
        return _preview(frame)
    try:
        told = json.loads(frame)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict) or not isinstance(told.get("data"), dict):
        return None
    read = _READERS.get(told["type"]) if isinstance(told.get("type"), str) else None
    return None if read is None else read(told["data"])


def _word(value: object) -> str | None:
    return clean(value, keep_lines=False) if isinstance(value, str) else None


def _status(data: Mapping[str, Any]) -> ComfyEvent | None:
    match data:
        case {"status": {"exec_info": {"queue_remaining": int() as remaining}}}:
            return Status(None, remaining)
    return None


def _start(data: Mapping[str, Any]) -> ComfyEvent | None:
    prompt_id = _word(data.get("prompt_id"))
    return None if prompt_id is None else ExecutionStart(prompt_id)


def _cached(data: Mapping[str, Any]) -> ComfyEvent | None:
    prompt_id, nodes = _word(data.get("prompt_id")), data.get("nodes")
    if prompt_id is None or not isinstance(nodes, list):
        return None
    return ExecutionCached(prompt_id, tuple(word for word in map(_word, nodes) if word is not None))


def _executing(data: Mapping[str, Any]) -> ComfyEvent | None:
    prompt_id, node = _word(data.get("prompt_id")), _word(data.get("node"))
    if node is not None:
        return Executing(prompt_id, node)
    return None if prompt_id is None else Idle(prompt_id)


def _progress(data: Mapping[str, Any]) -> ComfyEvent | None:
    match data:
        case {"value": int() | float() as value, "max": int() | float() as most}:
            return Progress(_word(data.get("prompt_id")), _word(data.get("node")), value, most)
    return None


def _executed(data: Mapping[str, Any]) -> ComfyEvent | None:
    prompt_id, node = _word(data.get("prompt_id")), _word(data.get("node"))
    if prompt_id is None or node is None:
        return None
    return Executed(prompt_id, node, files_in(data.get("output")))


def _success(data: Mapping[str, Any]) -> ComfyEvent | None:
    prompt_id = _word(data.get("prompt_id"))
    return None if prompt_id is None else ExecutionSuccess(prompt_id)


def _error(data: Mapping[str, Any]) -> ComfyEvent | None:
    prompt_id = _word(data.get("prompt_id"))
    if prompt_id is None:
        return None
    return ExecutionError(prompt_id, _word(data.get("node_id")), failure_words(data))


def _interrupted(data: Mapping[str, Any]) -> ComfyEvent | None:
    prompt_id = _word(data.get("prompt_id"))
    return None if prompt_id is None else ExecutionInterrupted(prompt_id, _word(data.get("node_id")))


_READERS = {
    "status": _status,
    "execution_start": _start,
    "execution_cached": _cached,
    "executing": _executing,
    "progress": _progress,
    "executed": _executed,
    "execution_success": _success,
    "execution_error": _error,
    "execution_interrupted": _interrupted,
}


def _preview(frame: bytes) -> ComfyEvent | None:
    """Big endian: event number; 1: format number, picture; 4: length of a JSON header, header, picture."""
    if len(frame) < 8:
        return None
    kind, second = int.from_bytes(frame[:4]), int.from_bytes(frame[4:8])
    if kind == PREVIEW_IMAGE:
        return _pictured(None, None, frame[8:])
    if kind != PREVIEW_IMAGE_WITH_METADATA or second > min(_LONGEST_HEADER, len(frame) - 8):
        return None
    try:
        header = json.loads(frame[8 : 8 + second])
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict):
        return None
    return _pictured(_word(header.get("prompt_id")), _word(header.get("node_id")), frame[8 + second :])


def _pictured(prompt_id: str | None, node: str | None, picture: bytes) -> ComfyEvent | None:
    return Preview(prompt_id, picture, node) if picture.startswith(_PICTURE_STARTS) else None
