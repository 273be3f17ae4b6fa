"""ComfyUI's answers, made into sentences and values."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from persona_tui.clients.comfyui_facts import (
    HistoryEntry,
    OutputFile,
    entry_in,
    queue_in,
    stats_in,
    submitted_in,
)
from persona_tui.clients.comfyui_refusals import WorkflowRejected, choices_in, refusal_of, rejection_of
from persona_tui.errors import KeyRejected, ServiceGarbled, ServiceRefused

LORAS = ["mira-v1.safetensors", "mira-v2.safetensors", "style/ink.safetensors", "zeta.safetensors"]


def unknown_name(config: object, details: str, value: str = "mira.safetensors") -> dict[str, Any]:
    extra = {"input_name": "lora_name", "input_config": config, "received_value": value}
    error = {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": details,
        "extra_info": extra,
    }
    return {"7": {"errors": [error], "dependent_outputs": ["9"], "class_type": "LoraLoader"}}


FAILED = {
    "type": "prompt_outputs_failed_validation",
    "message": "Prompt outputs failed validation",
    "details": "",
}


@pytest.mark.parametrize(
    "config",
    [[LORAS, {}], [LORAS], ["COMBO", {"options": LORAS}], None],
    ids=["list", "bare", "COMBO", "details"],
)
def test_an_unknown_name_is_told_with_the_nearest(config: object) -> None:
    nodes = unknown_name(config, f"lora_name: 'mira.safetensors' not in {LORAS}")
    assert rejection_of(FAILED, nodes).message == (
        "Node 7 (LoraLoader): input lora_name is 'mira.safetensors', which the server does not have; "
        "it has mira-v2.safetensors, mira-v1.safetensors, zeta.safetensors and 1 more."
    )


def test_a_server_without_any_says_so() -> None:
    nodes = unknown_name([[], {}], "lora_name: 'mira.safetensors' not in []")
    assert rejection_of(FAILED, nodes).message.endswith("which the server does not have; it has none.")


def test_further_findings_are_counted() -> None:
    nodes = unknown_name([LORAS], "") | {"8": {"errors": [{"type": "x"}, {"type": "y"}], "class_type": "K"}}
    problem = rejection_of(FAILED, nodes)
    assert problem.message.endswith(" There are 2 more.")
    assert problem.node_errors == nodes
    assert isinstance(problem, ServiceRefused)


def test_an_unknown_kind_of_finding_is_told_in_the_servers_words() -> None:
    error = {"type": "new_kind", "message": "Something new", "details": "about\nit"}
    assert rejection_of(FAILED, {"1": {"errors": [error], "class_type": "Node"}}).message == (
        "Node 1 (Node): Something new: about it."
    )


def test_a_strange_body_never_breaks_the_telling() -> None:
    draw = random.Random(11)
    odd: list[Any] = [None, 0, "", "x", [], {}, [[]], {"errors": 5}, {"errors": [5]}, {"errors": [{}]}]
    for _ in range(400):
        error = {key: draw.choice(odd) for key in ("type", "message", "details", "extra_info")}
        extra = {key: draw.choice(odd) for key in ("input_name", "input_config", "received_value")}
        inner = {
            "type": draw.choice(["value_not_in_list", "value_smaller_than_min", "x"]),
            "extra_info": extra,
        }
        nodes = draw.choice([*odd, {"1": draw.choice(odd)}, {"1": {"errors": [inner]}}])
        problem = rejection_of(error, nodes)
        assert problem.message.endswith(".")
        assert problem.status == 400


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (httpx.Response(401, text="no"), KeyRejected, "refused the key (401)"),
        (httpx.Response(403), KeyRejected, "refused the key (403)"),
        (httpx.Response(302, headers={"location": "https://x/?token=canary"}), ServiceRefused, "leads on"),
        (httpx.Response(413, text="Too big"), ServiceRefused, "takes no upload of that size: Too big."),
        (httpx.Response(502, html="<html>Bad</html>"), ServiceRefused, "answered 502: a web page"),
        (httpx.Response(429, text="slow down"), ServiceRefused, "answered 429: slow down."),
        (httpx.Response(404), ServiceRefused, "answered 404: no words."),
        (httpx.Response(400, json={"error": "Invalid status"}), ServiceRefused, "answered 400: "),
        (httpx.Response(400, content=b"\xff\xfe{"), ServiceRefused, "answered 400: "),
    ],
)
def test_other_refusals_are_told_too(
    response: httpx.Response, kind: type[ServiceRefused], words: str
) -> None:
    problem = refusal_of(response)
    assert type(problem) is kind
    assert words in problem.message
    assert problem.status == response.status_code
    assert "canary" not in str(problem)


def test_a_missing_node_class_names_the_remedy() -> None:
    error = {
        "type": "missing_node_type",
        "message": "Cannot execute because node FaceDetailer does not exist.",
        "details": "Node ID '#12'",
    }
    problem = rejection_of(error, {})
    assert problem.message == "The server has no node class FaceDetailer (node 12)."
    assert "Install the custom node" in problem.hint
    assert isinstance(problem, WorkflowRejected)


@pytest.mark.parametrize("config", [None, 5, [], ["INT", {}], ["COMBO"], ["COMBO", {"options": 5}]])
def test_inputs_without_choices_have_none(config: object) -> None:
    assert choices_in(config) == []


def test_the_queue_is_sorted_by_number() -> None:
    pending = [[-52, "c", {}, {}, []], [51.0, "b", {}], [50, "a", {}]]
    state = queue_in({"queue_running": [[49, "r", {}, {}, []]], "queue_pending": pending})
    assert (state.running, state.pending) == (("r",), ("c", "a", "b"))


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"queue_running": []}, {"queue_running": [5], "queue_pending": []}]
)
def test_another_shape_of_queue_is_garbage(answer: object) -> None:
    with pytest.raises(ServiceGarbled):
        queue_in(answer)


def history(**entry: Any) -> dict[str, Any]:
    return {"p": entry}


def test_an_old_servers_entry_without_status_counts_as_success() -> None:
    outputs = {
        "9": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}], "animated": [False]}
    }
    assert entry_in("p", history(outputs=outputs)) == HistoryEntry(
        "p", "success", {"9": (OutputFile("a.png"),)}
    )


def test_other_kinds_of_output_are_files_too() -> None:
    outputs = {"5": {"gifs": [{"filename": "v.mp4", "type": "temp"}]}, "6": {"text": ["hello"]}, "7": None}
    entry = entry_in("p", history(outputs=outputs, status={"status_str": "success"}))
    assert entry is not None
    assert entry.outputs == {"5": (OutputFile("v.mp4", "", "temp"),)}
    assert entry.files == (OutputFile("v.mp4", "", "temp"),)


@pytest.mark.parametrize(
    ("messages", "status", "words"),
    [
        ([["execution_start", {}], ["execution_interrupted", {"node_id": "3", "node_type": "KSampler"}]],
         "interrupted", "The prompt was interrupted at node 3 (KSampler)."),
        ([["execution_error", {"node_id": "3", "node_type": "K", "exception_message": "boom ü\n",
                               "exception_type": "RuntimeError"}]],
         "error", "The prompt failed at node 3 (K): RuntimeError: boom ü."),
        ([], "error", "The server says that the prompt failed, not why."),
        ([5, ["execution_error"], None], "error", "The server says that the prompt failed, not why."),
        (None, "error", "The server says that the prompt failed, not why."),
    ],
)  # fmt: skip
def test_failures_and_interrupts_are_told_apart_by_the_last_message(
    messages: object, status: str, words: str
) -> None:
    told = {"status_str": "error", "completed": False, "messages": messages}
    entry = entry_in("p", history(outputs={}, status=told))
    assert entry is not None
    assert (entry.status, entry.message) == (status, words)


def test_no_entry_is_none_and_another_shape_is_garbage() -> None:
    assert entry_in("p", {}) is None
    assert entry_in("p", {"q": {}}) is None
    for answer in (None, [], {"p": 5}, {"p": {"outputs": 5}}):
        with pytest.raises(ServiceGarbled):
            entry_in("p", answer)


def test_file_names_are_cleaned() -> None:
    outputs = {"9": {"images": [{"filename": "a\x1b[31m\u202e.png", "subfolder": "s\x00"}]}}
    entry = entry_in("p", history(outputs=outputs))
    assert entry is not None
    assert entry.files == (OutputFile("a.png", "s"),)


def test_stats_of_a_stranger_are_refused() -> None:
    assert stats_in({"system": {"comfyui_version": "0.8.0"}}).devices == ()
    assert stats_in({"system": {}, "devices": [5, {"name": "card"}]}).devices[0].vram_total == 0
    with pytest.raises(ServiceGarbled):
        stats_in({"ok": True})


def test_an_answer_without_a_prompt_is_garbage() -> None:
    assert submitted_in({"prompt_id": "p", "number": 3}).number == 3.0
    assert submitted_in({"prompt_id": "p"}).number is None
    with pytest.raises(ServiceGarbled):
        submitted_in({"number": 3})
