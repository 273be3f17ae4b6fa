"""What a real ComfyUI v0.8.0 answers, word for word, kept in a file that the stand-in is held against.

`PERSONA_TEST_COMFYUI_RECORD=1` with PERSONA_TEST_COMFYUI_URL writes the file anew from that server. What
differs from one call to the next (ids, times, counters, paths, tracebacks, models) is taken out of both.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import websockets
from tests.support.comfyui import (
    Graph,
    Server,
    ended,
    long_graph,
    new_id,
    node,
    passed,
    plain,
    save,
    server,
    small_graph,
)
from tests.support.sandbox import sandbox

__all__ = ["sandbox", "server"]

RECORDED = Path(__file__).parent / "recorded/comfyui-0.8.0.json"
TIMES = {"timestamp", "create_time", "execution_start_time", "execution_end_time"}
COUNTERS = {"number", "priority"}
NODE_TYPES = (
    "CLIPLoader", "CLIPTextEncode", "CheckpointLoaderSimple", "ConditioningZeroOut", "DualCLIPLoader",
    "EmptyImage", "EmptyLatentImage", "EmptySD3LatentImage", "FeatherMask", "FluxGuidance", "ImageBlend",
    "ImageCompositeMasked", "ImageCrop", "ImageScale", "ImageSharpen", "KSampler", "LoadImage", "LoraLoader",
    "LoraLoaderModelOnly", "ModelSamplingAuraFlow", "PreviewImage", "SaveImage", "SolidMask",
    "TextEncodeQwenImageEditPlus", "UNETLoader", "VAEDecode", "VAEEncode", "VAELoader",
)  # fmt: skip
FROM_FOLDERS = {
    "ckpt_name", "lora_name", "unet_name", "vae_name", "clip_name", "clip_name1", "clip_name2", "image"
}  # fmt: skip


def scaled(**changes: Any) -> Graph:
    inputs = {"image": ["1", 0], "upscale_method": "area", "width": 8, "height": 8, "crop": "disabled"}
    return {"1": plain(color=7), "3": node("ImageScale", **{**inputs, **changes}), "2": save("3")}


def bare(**inputs: Any) -> Graph:
    return {"1": plain(color=7), "2": node("SaveImage", **inputs)}


LATENT = node("EmptyLatentImage", width=64, height=64, batch_size=1)
PROMPTS: dict[str, Mapping[str, Any]] = {
    "unknown class": {"prompt": {"1": plain(color=7), "2": node("NoSuchNode")}},
    "no class": {"prompt": {"1": {"inputs": {}}, "2": save()}},
    "workflow of the editor": {"prompt": {"nodes": [], "links": []}},
    "no output node": {"prompt": {"1": plain(color=7)}},
    "nothing": {"prompt": {}},
    "no prompt": {"client_id": "x"},
    "missing input": {"prompt": bare(images=["1", 0])},
    "two missing inputs": {"prompt": bare()},
    "no number": {"prompt": scaled(width="abc")},
    "placeholder in a number": {"prompt": scaled(width="{{width}}")},
    "too small": {"prompt": scaled(width=-1)},
    "too big": {"prompt": scaled(height=99999)},
    "unknown choice": {"prompt": scaled(upscale_method="bilinar")},
    "unknown choice of many": {
        "prompt": {
            "3": node(
                "KSampler", model=["4", 0], seed=1, steps=1, cfg=1.0, sampler_name="eular",
                scheduler="simple", positive=["5", 0], negative=["5", 0], latent_image=["5", 0], denoise=1.0,
            ),
            "4": LATENT, "5": LATENT, "8": node("VAEDecode", samples=["3", 0], vae=["4", 0]), "2": save("8"),
        }
    },
    "lost link": {"prompt": bare(images=["9", 0], filename_prefix="x")},
    "lost inner link": {"prompt": scaled(image=["9", 0])},
    "no such output": {"prompt": bare(images=["1", 4], filename_prefix="x")},
    "link of three": {"prompt": bare(images=["1", 0, 0], filename_prefix="x")},
    "wrong type": {"prompt": {"5": LATENT, "2": save("5")}},
    "lost picture": {"prompt": {"1": node("LoadImage", image="nofile.png"), "2": save()}},
    "two broken outputs": {"prompt": {**bare(images=["1", 0]), "4": node("PreviewImage", images=["9", 0])}},
    "unknown target": {"prompt": small_graph(color=7), "partial_execution_targets": ["77"]},
    "target that is no output": {"prompt": small_graph(color=7), "partial_execution_targets": ["1"]},
}  # fmt: skip
CALLS: dict[str, tuple[str, str, Any]] = {
    "prompts": ("GET", "/prompt", None),
    "queue": ("GET", "/queue", None),
    "unknown history": ("GET", "/history/nobody", None),
    "unknown job": ("GET", "/api/jobs/nobody", None),
    "jobs only under api": ("GET", "/jobs", None),
    "bad status": ("GET", "/api/jobs?status=bad", None),
    "bad order": ("GET", "/api/jobs?sort_by=colour", None),
    "bad limit": ("GET", "/api/jobs?limit=0", None),
    "limit in words": ("GET", "/api/jobs?limit=many", None),
    "delete unknown": ("POST", "/queue", {"delete": ["nobody"]}),
    "interrupt unknown": ("POST", "/interrupt", {"prompt_id": "nobody"}),
    "delete unknown history": ("POST", "/history", {"delete": ["nobody"]}),
    "free": ("POST", "/free", {"unload_models": False, "free_memory": False}),
    "features": ("GET", "/features", None),
    "unknown node": ("GET", "/object_info/NoSuchNode", None),
    "unknown folder": ("GET", "/models/nope", None),
    "view without a name": ("GET", "/view", None),
    "view of nothing": ("GET", "/view?filename=nothing_00001_.png", None),
    "view outside": ("GET", "/view?filename=../x", None),
    "view in another folder": ("GET", "/view?filename=x&subfolder=../..", None),
    "view of another type": ("GET", "/view?filename=x&type=nope", None),
    "metadata of nothing": ("GET", "/view_metadata/loras?filename=nothere.safetensors", None),
    "metadata without a name": ("GET", "/view_metadata/loras", None),
    "another way": ("GET", "/nosuchroute", None),
    "another method": ("PUT", "/prompt", None),
    "upload of nothing": ("POST", "/upload/image", None),
}


def told(answer: Any) -> dict[str, Any]:
    """An answer without what differs each time."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    body = normal(answer.json()) if kind == "application/json" else answer.text
    return {"status": answer.status_code, "type": kind if answer.content else "", "body": body}


def normal(value: Any) -> Any:
    """A JSON value without ids, times, counters, paths and tracebacks."""
    if isinstance(value, dict):
        return {_plain(key): _of_key(key, one) for key, one in value.items() if key != "tooltip"}
    if isinstance(value, list):
        return [normal(one) for one in value]
    return _plain(value)


def _of_key(key: str, value: Any) -> Any:
    if key in TIMES or key in COUNTERS:
        return f"<{key}>"
    if key == "traceback":
        return "<traceback>"
    if key == "current_inputs":
        return list(value)  # their values are tensors in words
    if key == "prompt" and isinstance(value, list):
        return ["<number>", *normal(value[1:])]
    return normal(value)


def _plain(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", value)
    value = re.sub(r": /\S+", ": <path>", value)
    return re.sub(r"_\d{5}_", "_<n>_", value)


def declared(info: Mapping[str, Any]) -> dict[str, Any]:
    """A node class without its help texts and without the names that lie in the server's folders."""
    kept = {key: value for key, value in info.items() if "tooltip" not in key and key != "description"}
    inputs = {
        group: {n: _input(n, one) for n, one in asked.items()} for group, asked in kept["input"].items()
    }
    return {**kept, "input": inputs}


def _input(name: str, one: Any) -> Any:
    if not isinstance(one, list):
        return one
    kind, *options = one
    kind = "<names>" if name in FROM_FOLDERS and isinstance(kind, list) else kind
    return [kind, *({key: value for key, value in told.items() if key != "tooltip"} for told in options)]


def recorded() -> dict[str, Any]:
    """The real server's answers."""
    known: dict[str, Any] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    return known


def compare(server: Server, name: str, found: Any) -> None:
    """Hold what was found against the file; a real server may write the file instead."""
    if server.real and os.environ.get("PERSONA_TEST_COMFYUI_RECORD"):
        text = json.dumps({**recorded(), name: found}, indent=1, sort_keys=True, ensure_ascii=False)
        RECORDED.write_text(text + "\n")
        return
    assert ordered(found) == ordered(recorded()[name])


def ordered(value: Any) -> Any:
    """A JSON value whose errors are in an order of ours.

    The real server goes through a set of inputs, whose order is another one each time that it is started.
    """
    if isinstance(value, list):
        return [ordered(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: ordered(one) for key, one in value.items()}
    if isinstance(found.get("errors"), list):
        found["errors"].sort(key=lambda error: json.dumps(error, sort_keys=True))
    if isinstance(found.get("details"), str):
        found["details"] = "\n".join(sorted(found["details"].splitlines()))
    return found


@pytest.mark.parametrize("name", PROMPTS)
def test_refusals_are_told_in_the_same_words(server: Server, name: str) -> None:
    compare(server, f"prompt: {name}", told(server.raw("POST", "/prompt", json=dict(PROMPTS[name]))))


@pytest.mark.parametrize("name", CALLS)
def test_calls_are_answered_alike(server: Server, name: str) -> None:
    method, path, body = CALLS[name]
    answer = server.raw(method, path, **({} if body is None else {"json": body}))
    compare(server, f"call: {name}", told(answer))


@pytest.mark.parametrize("name", NODE_TYPES)
def test_node_classes_are_declared_alike(server: Server, name: str) -> None:
    answer = server.raw("GET", f"/object_info/{name}").json()
    compare(server, f"node: {name}", declared(answer[name]))


async def events_of(server: Server, graph: Graph, prompt_id: str, **more: Any) -> list[Any]:
    """The messages of one prompt from the socket, to its last."""
    me, messages = new_id(), []
    headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
    address = f"{server.url.replace('http', 'ws', 1)}/ws?clientId={me}"
    async with websockets.connect(address, additional_headers=headers, proxy=None) as socket:
        await socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
        body = {"prompt": graph, "client_id": me, "prompt_id": prompt_id, **more}
        assert (await asyncio.to_thread(server.raw, "POST", "/prompt", json=body)).status_code == 200
        async with asyncio.timeout(120):
            while True:
                frame = await socket.recv()
                if isinstance(frame, bytes):
                    continue
                message = json.loads(frame)
                messages.append(normal(message))
                if message["type"] == "executing" and message["data"]["node"] is None:
                    return messages


GRAPHS: dict[str, Graph] = {
    "success": {"1": plain(), "2": save()},
    "preview": {"1": plain(batch=2), "2": node("PreviewImage", images=["1", 0])},
    "failure": {"1": plain(), "2": save(prefix="../../escape")},
    "literal for a link": {"1": plain(), "2": node("SaveImage", images="nolink", filename_prefix="x")},
}


@pytest.mark.parametrize("name", GRAPHS)
async def test_a_prompt_is_told_and_kept_alike(server: Server, name: str) -> None:
    prompt_id = new_id()
    graph = json.loads(json.dumps(GRAPHS[name]))
    graph["1"]["inputs"]["color"] = plain()["inputs"]["color"]
    told_events = [one for one in await events_of(server, graph, prompt_id) if one["type"] != "status"]
    entry = server.raw("GET", f"/history/{prompt_id}").json()[prompt_id]
    job = server.raw("GET", f"/api/jobs/{prompt_id}").json()
    found = {"events": told_events, "history": normal(entry), "job": normal(job)}
    compare(server, f"run: {name}", _without(found, graph["1"]["inputs"]["color"]))


def _without(value: Any, colour: int) -> Any:
    text = json.dumps(value).replace(f'"color": {colour}', '"color": 7')
    text = re.sub(r"ComfyUI_temp_[a-z]{5}_", "ComfyUI_temp_<x>_", text)
    return json.loads(text.replace(f"[{colour}]", "[7]"))


async def test_what_waits_is_told_alike(server: Server) -> None:
    first, second = new_id(), new_id()
    async with server.client() as client:
        await client.submit(passed(long_graph(12)), prompt_id=first, client_id="tests")
        await client.submit(passed(small_graph(color=7)), prompt_id=second, client_id="tests")
        queue = server.raw("GET", "/queue").json()
        job = server.raw("GET", f"/api/jobs/{second}").json()
        await client.delete_pending(second)
        gone = server.raw("GET", f"/api/jobs/{second}").status_code
        await client.interrupt(first)
        await ended(client, first)
    (item,) = (one for one in queue["queue_pending"] if one[1] == second)
    compare(server, "waiting", {"item": normal(item[1:]), "job": normal(job), "gone": gone})
