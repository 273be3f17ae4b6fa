"""What ComfyUI answers, as frozen values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from persona_tui.errors import ServiceGarbled
from persona_tui.text import clean

PromptStatus = Literal["running", "success", "error", "interrupted"]
LONGEST_WORDS = 400
LOG_ENTRIES = 300
"""What a server keeps of its log."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+")


@dataclass(frozen=True)
class Submitted:
    """A prompt that waits in the queue.

    Attributes:
        prompt_id: the id under which the server knows it.
        number: its place: lower ones run first; None where the server does not say.
    """

    prompt_id: str
    number: float | None


@dataclass(frozen=True)
class QueueState:
    """Ids of the prompts on a server; those that wait in the order in which they will run."""

    running: tuple[str, ...]
    pending: tuple[str, ...]


@dataclass(frozen=True)
class OutputFile:
    """A file on the server.

    Attributes:
        filename, subfolder: its place in the folder of its type.
        type: `output`, `temp` (gone at the server's next start) or `input`.
    """

    filename: str
    subfolder: str = ""
    type: str = "output"


@dataclass(frozen=True)
class LogLine:
    """A line of a server's log.

    Attributes:
        at: by the server's clock, as it writes it; tells the line from another one with the same words. Empty
            where the server gives none.
    """

    at: str
    words: str


@dataclass(frozen=True)
class LogTail:
    """The end of a server's log, the newest line last.

    Attributes:
        is_full: it holds as many entries as a server keeps, so that older ones may have fallen out.
    """

    lines: tuple[LogLine, ...]
    is_full: bool


@dataclass(frozen=True)
class HistoryEntry:
    """What became of a prompt.

    Attributes:
        status: `running` means in the queue: it waits or runs.
        outputs: node id → files; a cached prompt may name files that are gone.
        message: what went wrong in one sentence, for `error` and `interrupted`.
        seconds: from its start to its end by the server's clock; None where the server does not say.
    """

    prompt_id: str
    status: PromptStatus
    outputs: Mapping[str, tuple[OutputFile, ...]] = field(default_factory=dict)
    message: str | None = None
    seconds: float | None = None

    @property
    def files(self) -> tuple[OutputFile, ...]:
        """The files of all nodes."""
        return tuple(file for files in self.outputs.values() for file in files)


@dataclass(frozen=True)
class Device:
    """A card of the server; memory in bytes."""

    name: str
    type: str
    vram_total: int
    vram_free: int


@dataclass(frozen=True)
class SystemStats:
    """A server's version and cards."""

    version: str
    devices: tuple[Device, ...]


def shortened(words: str, limit: int = LONGEST_WORDS) -> str:
    """Words from outside on one line, cut to a readable length."""
    line = clean(words, keep_lines=False)
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def mapping_in(value: object, what: str) -> Mapping[str, Any]:
    """The JSON object that an answer must be.

    Raises:
        ServiceGarbled: it is something else.
    """
    if not isinstance(value, dict):
        raise ServiceGarbled(f"ComfyUI's answer on {what} is not an object.")
    return value


def submitted_in(answer: object) -> Submitted:
    """The answer of POST /prompt.

    Raises:
        ServiceGarbled: it names no prompt.
    """
    match answer:
        case {"prompt_id": str() as prompt_id, "number": int() | float() as number}:
            return Submitted(clean(prompt_id, keep_lines=False), float(number))
        case {"prompt_id": str() as prompt_id}:
            return Submitted(clean(prompt_id, keep_lines=False), None)
    raise ServiceGarbled("ComfyUI took the workflow but named no prompt.")


def queue_in(answer: object) -> QueueState:
    """The answer of GET /queue; items are [number, prompt id, graph, …], not sorted.

    Raises:
        ServiceGarbled: it has another shape.
    """
    lists = mapping_in(answer, "its queue")
    running, pending = (_queue_items(lists.get(f"queue_{name}")) for name in ("running", "pending"))
    return QueueState(tuple(one for _, one in running), tuple(one for _, one in sorted(pending)))


def _queue_items(items: object) -> list[tuple[float, str]]:
    if not isinstance(items, list):
        raise ServiceGarbled("ComfyUI's queue can't be read.")
    found = []
    for item in items:
        match item:
            case [int() | float() as number, str() as prompt_id, *_]:
                found.append((float(number), prompt_id))
            case _:
                raise ServiceGarbled("ComfyUI's queue can't be read.")
    return found


def files_in(output: object) -> tuple[OutputFile, ...]:
    """The files that a node's output names, whatever the kind: images, gifs, audio …"""
    if not isinstance(output, dict):
        return ()
    listed = [
        one for kind in output.values() if isinstance(kind, list) for one in kind if isinstance(one, dict)
    ]
    return tuple(
        OutputFile(_line(one["filename"]), _line(one.get("subfolder")), _line(one.get("type")) or "output")
        for one in listed
        if isinstance(one.get("filename"), str)
    )


def _line(value: object) -> str:
    return clean(value, keep_lines=False) if isinstance(value, str) else ""


def entry_in(prompt_id: str, answer: object) -> HistoryEntry | None:
    """The prompt's entry in the answer of GET /history/{id}; None while there is none.

    Raises:
        ServiceGarbled: it has another shape.
    """
    told = mapping_in(answer, "its history").get(prompt_id)
    if told is None:
        return None
    entry = mapping_in(told, "a prompt")
    nodes = mapping_in(entry.get("outputs") or {}, "a prompt's outputs")
    outputs = {node: files for node, output in nodes.items() if (files := files_in(output))}
    status, message = _outcome(entry.get("status"))
    return HistoryEntry(prompt_id, status, outputs, message, _seconds(entry.get("status")))


def _seconds(told: object) -> float | None:
    """From the first to the last of the status's messages that carry a time in milliseconds."""
    times = []
    for message in (told.get("messages") or []) if isinstance(told, dict) else []:
        match message:
            case [str(), {"timestamp": int() | float() as at}]:
                times.append(at)
    return round((max(times) - min(times)) / 1000, 3) if len(times) > 1 else None


def _outcome(told: object) -> tuple[PromptStatus, str | None]:
    """An interrupted prompt is an error too; only the name of its last message tells them apart."""
    status = told if isinstance(told, dict) else {}
    if status.get("status_str") != "error":
        return "success", None
    for message in reversed(status.get("messages") or []):
        match message:
            case ["execution_interrupted", dict() as data]:
                return "interrupted", f"The prompt was interrupted{_at_node(data)}."
            case ["execution_error", dict() as data]:
                return "error", failure_words(data)
    return "error", "The server says that the prompt failed, not why."


def _at_node(data: Mapping[str, Any]) -> str:
    node, kind = _line(data.get("node_id")), _line(data.get("node_type"))
    return f" at node {node} ({kind})" if node and kind else ""


def failure_words(data: Mapping[str, Any]) -> str:
    """One sentence for the data of an execution_error."""
    words = shortened(str(data.get("exception_message") or "no reason given")).rstrip(".")
    kind = _line(data.get("exception_type")).rpartition(".")[2]
    reason = f"{kind}: {words}" if kind and kind != "Exception" else words
    return f"The prompt failed{_at_node(data)}: {reason}."


def log_in(answer: object) -> LogTail:
    """The end of a server's log: `{"entries": [{"t", "m"}]}`, or one text of `time - line`."""
    match answer:
        case str():
            pieces = [_dated(line) for line in answer.splitlines()]
        case {"entries": list() as entries}:
            pieces = [
                (str(one.get("t", "")), one["m"])
                for one in entries
                if isinstance(one, dict) and isinstance(one.get("m"), str)
            ]
        case _:
            pieces = []
    lines = (
        LogLine(at, clean(line, keep_lines=False)) for at, piece in pieces for line in piece.splitlines()
    )
    return LogTail(tuple(line for line in lines if line.words), len(pieces) >= LOG_ENTRIES)


def _dated(line: str) -> tuple[str, str]:
    """A line of the log as one text, with its time apart; a line may have none."""
    at, parting, words = line.partition(" - ")
    return (at, words) if parting and _TIME.fullmatch(at) else ("", line)


def stats_in(answer: object) -> SystemStats:
    """The answer of GET /system_stats.

    Raises:
        ServiceGarbled: it is not that of a ComfyUI.
    """
    told = mapping_in(answer, "its version")
    system = told.get("system")
    if not isinstance(system, dict):
        raise ServiceGarbled("The server answers, but not as a ComfyUI does.")
    listed = told.get("devices")
    devices = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return SystemStats(
        _line(system.get("comfyui_version")) or "unknown", tuple(_device(one) for one in devices)
    )


def _device(told: Mapping[str, Any]) -> Device:
    total, free = (told.get(name) for name in ("vram_total", "vram_free"))
    return Device(
        _line(told.get("name")),
        _line(told.get("type")),
        total if isinstance(total, int) else 0,
        free if isinstance(free, int) else 0,
    )
