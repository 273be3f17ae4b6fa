"""Frames of ComfyUI's websocket, healthy and hostile."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import pytest

from persona_tui.clients.comfyui import (
    ComfyEvent,
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionInterrupted,
    ExecutionStart,
    ExecutionSuccess,
    Idle,
    OutputFile,
    Preview,
    Progress,
    Status,
)
from persona_tui.clients.comfyui_events import parse_frame

JPEG = b"\xff\xd8\xff\xe0picture"
FILE = {"filename": "a_00001_.png", "subfolder": "s", "type": "output"}

OUT_OF_MEMORY = {
    "prompt_id": "p",
    "node_id": "3",
    "node_type": "KSampler",
    "exception_type": "torch.OutOfMemoryError",
    "exception_message": "out of memory\nTIPS: …",
}
OUT_OF_MEMORY_WORDS = "The prompt failed at node 3 (KSampler): OutOfMemoryError: out of memory TIPS: …."

HEALTHY: list[tuple[str, dict[str, Any], ComfyEvent]] = [
    ("status", {"status": {"exec_info": {"queue_remaining": 3}}, "sid": "x"}, Status(None, 3)),
    ("execution_start", {"prompt_id": "p", "timestamp": 1}, ExecutionStart("p")),
    ("execution_cached", {"prompt_id": "p", "nodes": ["1", "2"]}, ExecutionCached("p", ("1", "2"))),
    ("executing", {"prompt_id": "p", "node": "3", "display_node": "3"}, Executing("p", "3")),
    ("executing", {"node": "3"}, Executing(None, "3")),
    ("executing", {"prompt_id": "p", "node": None}, Idle("p")),
    ("progress", {"value": 2, "max": 20, "prompt_id": "p", "node": "3"}, Progress("p", "3", 2, 20)),
    ("executed", {"node": "9", "output": {"images": [FILE]}, "prompt_id": "p"},
     Executed("p", "9", (OutputFile("a_00001_.png", "s", "output"),))),
    ("executed", {"node": "9", "output": None, "prompt_id": "p"}, Executed("p", "9", ())),
    ("execution_success", {"prompt_id": "p"}, ExecutionSuccess("p")),
    ("execution_interrupted", {"prompt_id": "p", "node_id": "3"}, ExecutionInterrupted("p", "3")),
    ("execution_error", OUT_OF_MEMORY, ExecutionError("p", "3", OUT_OF_MEMORY_WORDS)),
]  # fmt: skip


def frame(kind: str, data: object) -> str:
    return json.dumps({"type": kind, "data": data})


@pytest.mark.parametrize(("kind", "data", "event"), HEALTHY)
def test_known_frames_become_events(kind: str, data: dict[str, Any], event: ComfyEvent) -> None:
    assert parse_frame(frame(kind, data)) == event
    assert event.type in {kind, "idle"}


@pytest.mark.parametrize("kind", ["progress_state", "feature_flags", "crystools.monitor", "", "__class__"])
def test_unknown_frames_are_ignored(kind: str) -> None:
    assert parse_frame(frame(kind, {"prompt_id": "p", "node": "1"})) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", "null", '{"type": []}', '{"type": "status"}', "[" * 100_000]
)
def test_what_is_no_message_is_ignored(text: str) -> None:
    assert parse_frame(text) is None


def test_any_value_in_any_place_is_survived() -> None:
    draw = random.Random(7)
    odd = [
        None,
        5,
        -1.5,
        True,
        "",
        "x" * 5000,
        [],
        [[]],
        {},
        {"a": 1},
        "\x1b[31m",
        "\x00",
        float("nan"),
        10**400,
    ]
    for kind, data, _ in HEALTHY * 60:
        changed = {key: draw.choice(odd) if draw.random() < 0.5 else value for key, value in data.items()}
        event = parse_frame(frame(kind, changed))
        assert event is None or isinstance(event, ComfyEvent)


def test_words_from_the_server_are_cleaned() -> None:
    evil = "\x1b]0;owned\x07bad\u202e\x9b31m"
    event = parse_frame(
        frame("execution_error", {"prompt_id": evil, "exception_message": evil, "node_id": evil})
    )
    assert event == ExecutionError("bad", "bad", "The prompt failed: bad.")


def test_long_words_are_shortened() -> None:
    event = parse_frame(frame("execution_error", {"prompt_id": "p", "exception_message": "word " * 5000}))
    assert isinstance(event, ExecutionError)
    assert len(event.message) < 500


def test_previews_come_with_and_without_metadata() -> None:
    header = json.dumps({"prompt_id": "p", "node_id": "3", "image_type": "image/jpeg"}).encode()
    assert parse_frame(struct.pack(">II", 1, 1) + JPEG) == Preview(None, JPEG, None)
    assert parse_frame(struct.pack(">II", 4, len(header)) + header + JPEG) == Preview("p", JPEG, "3")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        struct.pack(">II", 1, 1),
        struct.pack(">II", 1, 1) + b"no picture",
        struct.pack(">II", 2, 1) + JPEG,
        struct.pack(">II", 3, 1) + b"1text",
        struct.pack(">II", 4, 0xFFFFFFFF) + JPEG,
        struct.pack(">II", 4, 2) + b"[]" + JPEG,
        struct.pack(">II", 4, 2) + b"{}" + b"no picture",
        struct.pack(">II", 4, 3) + b"\xff\xff\xff" + JPEG,
    ],
)
def test_other_binary_frames_are_ignored(data: bytes) -> None:
    assert parse_frame(data) is None


def test_random_bytes_are_survived() -> None:
    draw = random.Random(3)
    for _ in range(500):
        data = struct.pack(">I", draw.choice([1, 4, 4, 9])) + draw.randbytes(draw.randint(0, 60))
        event = parse_frame(data)
        assert event is None or isinstance(event, Preview)
