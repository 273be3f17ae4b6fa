"""What only the stand-in can be asked for: faults, kills, painted pictures, the ground truth."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.comfyui import (
    Server,
    ended,
    events_until_idle,
    long_graph,
    new_id,
    node,
    painting,
    passed,
    plain,
    png,
    run,
    save,
    small_graph,
    until,
)
from tests.support.sandbox import SandboxProcess

from persona_tui.clients.comfyui import ComfyUIClient, OutputFile, Preview, Progress, Status
from persona_tui.errors import (
    ClientError,
    KeyRejected,
    ServiceGarbled,
    ServiceRefused,
    ServiceTimeout,
    ServiceUnreachable,
)
from persona_tui.passed import content_hash


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("comfyui"))
    yield made
    made.stop()


@pytest.fixture
def server(process: SandboxProcess) -> Iterator[Server]:
    yield Server(process.comfyui, process.token)
    process.clear_faults("comfyui")


def lora(process: SandboxProcess, name: str, content: bytes) -> None:
    folder = process.state / "comfyui/models/loras"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def healthy_lora(**metadata: str) -> bytes:
    header = json.dumps({"__metadata__": metadata}).encode()
    return len(header).to_bytes(8, "little") + header


async def pixels(client: ComfyUIClient, file: OutputFile) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(await client.view(file))).convert("RGB"), dtype=np.float32)


# Faults


async def test_a_lost_reply_leaves_a_prompt_that_runs(process: SandboxProcess, server: Server) -> None:
    prompt_id = new_id()
    process.plan("comfyui", "prompt", "effect_then_drop")
    async with server.client() as client:
        with pytest.raises(ClientError) as caught:
            await client.submit(passed(small_graph()), prompt_id=prompt_id, client_id="tests")
        assert caught.value.sent
        assert (await ended(client, prompt_id)).status == "success"


async def test_an_error_after_the_effect_leaves_a_prompt_that_runs(
    process: SandboxProcess, server: Server
) -> None:
    prompt_id = new_id()
    process.plan("comfyui", "prompt", "effect_then_error")
    async with server.client() as client:
        with pytest.raises(ServiceRefused, match=r"answered 500: .* Server got itself in trouble"):
            await client.submit(passed(small_graph()), prompt_id=prompt_id, client_id="tests")
        assert (await ended(client, prompt_id)).status == "success"


@pytest.mark.parametrize("kind", ["fail_before", "drop_before"])
async def test_a_failure_before_the_effect_leaves_nothing(
    process: SandboxProcess, server: Server, kind: str
) -> None:
    prompt_id = new_id()
    process.plan("comfyui", "prompt", kind)
    async with server.client() as client:
        with pytest.raises(ClientError):
            await client.submit(passed(small_graph()), prompt_id=prompt_id, client_id="tests")
        assert await client.history(prompt_id) is None


async def test_no_answer_in_time_is_a_timeout_that_may_have_had_its_effect(
    process: SandboxProcess, server: Server
) -> None:
    prompt_id = new_id()
    process.plan("comfyui", "prompt", "slow_reply", seconds=30)
    async with server.client(timeout=0.5) as client:
        with pytest.raises(ServiceTimeout) as caught:
            await client.submit(passed(small_graph()), prompt_id=prompt_id, client_id="tests")
    assert caught.value.sent
    async with server.client() as client:
        assert (await ended(client, prompt_id)).status == "success"


async def test_a_proxys_web_page_is_garbage(process: SandboxProcess, server: Server) -> None:
    process.plan("comfyui", "*", "garbage", times=2)
    async with server.client() as client:
        with pytest.raises(ServiceGarbled, match="answers with a web page"):
            await client.queue()
        with pytest.raises(ServiceGarbled):
            await client.system_stats()


@pytest.mark.parametrize(
    "body", ["[]", "7", "null", '{"queue_running": 5}', '{"queue_running": [[1]]}', "{", "\x00"]
)
async def test_answers_of_another_shape_are_garbage(
    process: SandboxProcess, server: Server, body: str
) -> None:
    async with server.client() as client:
        process.plan("comfyui", "*", "garbage", times=4, body=body)
        for call in (client.queue, client.system_stats):
            with pytest.raises(ServiceGarbled):
                await call()
        with pytest.raises(ServiceGarbled):
            await client.submit(passed(small_graph()), prompt_id=new_id(), client_id="tests")
        with pytest.raises(ServiceGarbled):
            await client.upload_image(passed(png()), "a.png")
        process.clear_faults("comfyui")


async def test_a_body_above_the_limit_is_told_as_such(process: SandboxProcess, server: Server) -> None:
    told = "Maximum request body size 104857600 exceeded."
    process.plan("comfyui", "upload", "fail_before", status=413, body=told)
    async with server.client() as client:
        with pytest.raises(
            ServiceRefused, match="takes no upload of that size: Maximum request body"
        ) as caught:
            await client.upload_image(passed(png()), "a.png")
    assert caught.value.status == 413
    assert "--max-upload-size" in caught.value.hint


async def test_the_stand_in_refuses_such_a_body_itself(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST /prompt HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {server.token}\r\n"
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{head}Content-Length: 104857601\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    await reader.readuntil(b"\r\n\r\n")
    wanted = b"Maximum request body size 104857600 exceeded."
    assert await reader.readexactly(len(wanted)) == wanted
    writer.close()


async def test_a_wrong_key_is_told_for_calls_and_for_the_event_stream(process: SandboxProcess) -> None:
    secret = "wrong-key-canary"
    async with ComfyUIClient(process.comfyui, secret) as client:
        for call in (client.queue(), anext(client.events("me"))):
            with pytest.raises(KeyRejected) as caught:
                await call
            assert caught.value.status == 401
            assert secret not in str(caught.value) + repr(caught.value)


async def test_credentials_in_the_address_are_sent_and_never_shown(process: SandboxProcess) -> None:
    address = process.comfyui.replace("http://", "http://user:canary-password@")
    async with ComfyUIClient(address) as client:
        assert client.base_url == process.comfyui
        with pytest.raises(KeyRejected) as caught:
            await client.queue()
    assert "canary" not in str(caught.value)


async def test_an_answer_is_read_up_to_the_cap(process: SandboxProcess, server: Server) -> None:
    async with server.client(largest_answer=200) as client:
        with pytest.raises(ServiceGarbled, match="larger than"):
            await client.object_info()
        assert await client.models("loras") == ()


async def test_control_characters_in_the_servers_words_are_stripped(
    process: SandboxProcess, server: Server
) -> None:
    evil = "\x1b]0;owned\x07\x1b[31mred\u202e"
    error = {"type": "custom", "message": f"bad {evil} message", "details": evil, "extra_info": {}}
    process.plan("comfyui", "prompt", "fail_before", status=400, body={"error": error, "node_errors": {}})
    process.plan("comfyui", "queue", "fail_before", status=503, body=f"busy{evil}")
    async with server.client() as client:
        with pytest.raises(ServiceRefused) as caught:
            await client.submit(passed(small_graph()), prompt_id=new_id(), client_id="tests")
        assert caught.value.message == "ComfyUI rejected the workflow: bad red message: red."
        with pytest.raises(ServiceRefused, match="503: busyred") as refused:
            await client.queue()
    assert not any(ord(character) < 32 for character in refused.value.message)


LEADING_OUT = [
    OutputFile("../secret.png"),
    OutputFile("a/b.png"),
    OutputFile("a\\b.png"),
    OutputFile(".."),
    OutputFile(""),
    OutputFile("a.png", "../.."),
    OutputFile("a.png", "/etc"),
    OutputFile("a.png", "x\\..\\y"),
    OutputFile("a.png", "", "models"),
]


@pytest.mark.parametrize("file", LEADING_OUT, ids=repr)
async def test_names_that_lead_out_of_the_folder_are_not_asked_for(
    process: SandboxProcess, server: Server, file: OutputFile
) -> None:
    process.plan("comfyui", "view", "fail_before", status=418)
    async with server.client() as client:
        with pytest.raises(ServiceGarbled, match="leads out of its folder"):
            await client.view(file)
    assert process.control("comfyui", "GET", "faults") != []


# The event stream


async def test_a_stream_that_breaks_is_an_error(process: SandboxProcess, server: Server) -> None:
    process.plan("comfyui", "ws", "effect_then_drop", seconds=0.1)
    async with server.client() as client:
        with pytest.raises(ServiceUnreachable, match="broke"):
            async for event in client.events("me"):
                assert isinstance(event, Status)


async def test_rubbish_in_the_stream_is_ignored(process: SandboxProcess, server: Server) -> None:
    process.plan("comfyui", "ws", "garbage", seconds=0)
    me, prompt_id = new_id(), new_id()
    async with server.client() as client:
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        await client.submit(passed(small_graph()), prompt_id=prompt_id, client_id=me)
        assert await events_until_idle(events, prompt_id)
        await events.aclose()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "fail_before", "status": 502, "body": "proxy"}, ServiceRefused),
        ({"kind": "drop_before"}, ServiceGarbled),
        ({"kind": "slow", "seconds": 30}, ServiceTimeout),
    ],
)
async def test_a_stream_that_does_not_open_says_so(
    process: SandboxProcess, server: Server, fault: dict[str, object], error: type[ClientError]
) -> None:
    process.plan("comfyui", "ws", str(fault.pop("kind")), **fault)
    async with server.client(timeout=0.5) as client:
        with pytest.raises(error):
            await anext(client.events("me"))


async def test_progress_and_previews_are_told_when_asked_for(process: SandboxProcess, server: Server) -> None:
    me, prompt_id = new_id(), new_id()
    async with server.client() as client:
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        extra = {"preview_method": "latent2rgb"}
        await client.submit(passed(painting(seed=5)), prompt_id=prompt_id, client_id=me, extra=extra)
        told = await events_until_idle(events, prompt_id)
        await events.aclose()
    steps = [event for event in told if isinstance(event, Progress)]
    assert [(step.value, step.max, step.node) for step in steps] == [(n, 4, "3") for n in (1, 2, 3, 4)]
    previews = [event for event in told if isinstance(event, Preview)]
    assert [(one.prompt_id, one.node) for one in previews] == [(prompt_id, "3")] * 4
    assert Image.open(io.BytesIO(previews[0].picture)).format == "JPEG"


@pytest.mark.long
async def test_a_late_listener_is_told_what_runs(tmp_path: Path) -> None:
    slow = SandboxProcess(tmp_path, arguments=("--latency", "3600"))
    try:
        server, me, prompt_id = Server(slow.comfyui, slow.token), new_id(), new_id()
        async with server.client() as client:
            await client.submit(passed(painting()), prompt_id=prompt_id, client_id=me)

            async def sampling() -> str | None:
                events = client.events(me)
                async for event in events:
                    if not isinstance(event, Status):
                        await events.aclose()
                        return getattr(event, "node", None)
                    if event.queue_remaining == 0:
                        return None
                return None

            assert await until(sampling) in {"4", "5", "6", "7", "3"}
            assert (await client.history(prompt_id) or pytest.fail("lost")).status == "running"
    finally:
        slow.kill()


# Kills


@pytest.mark.long
async def test_the_temp_folder_is_emptied_at_each_start(tmp_path: Path) -> None:
    process = SandboxProcess(tmp_path)
    try:
        async with Server(process.comfyui, process.token).client() as client:
            entry = await run(client, {"1": plain(), "2": node("PreviewImage", images=["1", 0])})
            process.restart()
            with pytest.raises(ServiceRefused) as caught:
                await client.view(entry.files[0])
        assert caught.value.status == 404
    finally:
        process.kill()


# Quirks of v0.8.0


async def test_a_cached_prompt_without_client_id_loses_its_outputs(server: Server) -> None:
    graph = small_graph()
    async with server.client() as client:
        await run(client, graph)
        prompt_id = new_id()
        server.raw("POST", "/prompt", json={"prompt": graph, "prompt_id": prompt_id})
        entry = await ended(client, prompt_id)
    assert (entry.status, entry.files) == ("success", ())


@pytest.mark.long
async def test_front_and_number_jump_the_queue(server: Server) -> None:
    async with server.client() as client:
        await client.submit(passed(long_graph(30)), prompt_id=new_id(), client_id="tests")
        ids = [new_id() for _ in range(3)]
        for prompt_id, more in zip(ids, ({}, {"front": True}, {"number": -1e6}), strict=True):
            server.raw("POST", "/prompt", json={"prompt": small_graph(), "prompt_id": prompt_id, **more})
        pending = (await client.queue()).pending
        assert [one for one in pending if one in ids] == list(reversed(ids))
        await ended(client, ids[0])


async def test_only_the_asked_outputs_run(server: Server) -> None:
    prompt_id = new_id()
    graph = {"1": plain(), "2": save(), "3": save()}
    body = {"prompt": graph, "prompt_id": prompt_id, "client_id": "x", "partial_execution_targets": ["3"]}
    server.raw("POST", "/prompt", json=body)
    async with server.client() as client:
        assert set((await ended(client, prompt_id)).outputs) == {"3"}


async def test_secrets_of_the_request_are_not_shown_in_the_history(server: Server) -> None:
    async with server.client() as client:
        prompt_id = new_id()
        await run(client, small_graph(), prompt_id=prompt_id, extra={"api_key_comfy_org": "canary"})
    assert "canary" not in server.raw("GET", f"/history/{prompt_id}").text


async def test_history_pages_and_can_be_deleted(server: Server) -> None:
    ids = [new_id() for _ in range(3)]
    async with server.client() as client:
        for prompt_id in ids:
            await run(client, small_graph(), prompt_id=prompt_id)
    assert list(server.raw("GET", "/history?max_items=2").json()) == ids[1:]
    (oldest,) = server.raw("GET", "/history?max_items=1&offset=0").json()
    assert oldest not in ids[1:]
    server.raw("POST", "/history", json={"delete": [ids[1]]})
    assert list(server.raw("GET", "/history?max_items=2").json()) == [ids[0], ids[2]]
    server.raw("POST", "/history", json={"clear": True})
    assert server.raw("GET", "/history").json() == {}


# LoRAs


async def test_a_lora_is_there_as_soon_as_its_file_is(process: SandboxProcess, server: Server) -> None:
    lora(process, "sub/mira-1.safetensors", healthy_lora(ss_output_name="mira"))
    async with server.client() as client:
        assert "sub/mira-1.safetensors" in await client.models("loras")
    metadata = server.raw("GET", "/view_metadata/loras?filename=sub/mira-1.safetensors")
    assert metadata.json() == {"ss_output_name": "mira"}
    assert server.raw("GET", "/view_metadata/loras?filename=nothere.safetensors").status_code == 404
    assert server.raw("GET", "/view_metadata/..%2F..?filename=ledger.jsonl").status_code == 404


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff" * 64, "header too large"),
        (b"\x00", "invalid header length"),
        (b"\x05" + b"\x00" * 12, "invalid JSON"),
    ],
)
async def test_a_broken_lora_fails_when_it_runs(
    process: SandboxProcess, server: Server, content: bytes, words: str
) -> None:
    lora(process, "broken.safetensors", content)
    loader = node("LoraLoaderModelOnly", model=["4", 0], lora_name="broken.safetensors", strength_model=0.8)
    graph = painting(seed=8, node10=loader)
    graph["3"]["inputs"]["model"] = ["10", 0]
    async with server.client() as client:
        entry = await run(client, graph)
        assert entry.status == "error"
        assert entry.message is not None
        assert "SafetensorError: Error while deserializing header" in entry.message
        assert words in entry.message
        graph["10"]["inputs"]["strength_model"] = 0.0
        assert (await run(client, graph)).status == "success"


# Pictures and the ground truth


async def test_the_ledger_knows_seed_and_quality_of_each_picture(
    process: SandboxProcess, server: Server
) -> None:
    prompt_id = new_id()
    async with server.client() as client:
        entry = await run(client, painting(seed=1234), prompt_id=prompt_id)
        data = await client.view(entry.files[0])
    (saved,) = [one for one in process.ledger("comfyui", "saved") if one["prompt_id"] == prompt_id]
    assert saved["seed"] == 1234
    assert 0 <= saved["quality"] <= 1
    assert saved["filename"] == entry.files[0].filename
    assert saved["sha256"] == hashlib.sha256(data).hexdigest()
    (end,) = [one for one in process.ledger("comfyui", "finished") if one["prompt_id"] == prompt_id]
    assert end["status"] == "success"


async def test_every_text_picture_and_workflow_that_arrives_is_noted(
    process: SandboxProcess, server: Server
) -> None:
    text, picture = f"a bowl {new_id()}", passed(png(colour=(200, 10, 10)))
    workflow = passed(painting(text))
    async with server.client() as client:
        await client.upload_image(picture, "noted.png")
        await client.submit(workflow, prompt_id=new_id(), client_id="tests")
    noted = {(one["what"], one["sha256"]) for one in process.control("comfyui", "GET", "received")}
    assert {("picture", picture.sha256), ("workflow", workflow.sha256), ("text", content_hash(text))} <= noted


async def test_a_child_resembles_its_parent(process: SandboxProcess, server: Server) -> None:
    async with server.client() as client:
        parent_entry = await run(client, painting(seed=21))
        parent = await client.view(parent_entry.files[0])
        name = await client.upload_image(passed(parent), f"{new_id()}.png")
        encode = {
            "20": node("LoadImage", image=name),
            "21": node("VAEEncode", pixels=["20", 0], vae=["4", 2]),
        }
        child = painting(seed=77) | encode
        child["3"]["inputs"] |= {"latent_image": ["21", 0], "denoise": 0.4}
        entry = await run(client, child)
        made = await pixels(client, entry.files[0])
        stranger = await pixels(client, (await run(client, painting(seed=78))).files[0])
        original = await pixels(client, parent_entry.files[0])
    assert np.abs(made - original).mean() < 0.7 * np.abs(stranger - original).mean()
    qualities = [one["quality"] for one in process.ledger("comfyui", "saved")][-3:]
    assert None not in qualities


async def test_a_second_pass_over_a_latent_paints_over_the_first(server: Server) -> None:
    graph = painting(seed=31)
    second = node(
        "KSampler", **{**graph["3"]["inputs"], "seed": 32, "denoise": 0.3, "latent_image": ["3", 0]}
    )
    async with server.client() as client:
        first = await pixels(client, (await run(client, graph)).files[0])
        entry = await run(
            client, graph | {"30": second, "8": node("VAEDecode", samples=["30", 0], vae=["4", 2])}
        )
        both = await pixels(client, entry.files[0])
        stranger = await pixels(client, (await run(client, painting(seed=32))).files[0])
    assert np.abs(both - first).mean() < np.abs(both - stranger).mean()


async def test_other_models_and_scaling_work_too(server: Server) -> None:
    graph = painting(seed=41) | {
        "4": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "11": node(
            "DualCLIPLoader",
            clip_name1="clip_l.safetensors",
            clip_name2="t5xxl_fp16.safetensors",
            type="flux",
        ),
        "12": node("VAELoader", vae_name="ae.safetensors"),
        "5": node("EmptySD3LatentImage", width=64, height=80, batch_size=2),
        "13": node("FluxGuidance", conditioning=["6", 0], guidance=3.5),
        "14": node("ImageScale", image=["8", 0], upscale_method="lanczos", width=32, height=0, crop="center"),
    }
    for number in ("6", "7"):
        graph[number]["inputs"]["clip"] = ["11", 0]
    graph["3"]["inputs"] |= {"positive": ["13", 0], "model": ["4", 0]}
    graph["8"]["inputs"]["vae"] = ["12", 0]
    graph["9"]["inputs"]["images"] = ["14", 0]
    async with server.client() as client:
        entry = await run(client, graph)
        pictures = [await pixels(client, file) for file in entry.files]
    assert [picture.shape for picture in pictures] == [(40, 32, 3)] * 2
    assert np.abs(pictures[0] - pictures[1]).mean() > 1


async def test_an_overwritten_input_picture_is_noticed(server: Server) -> None:
    graph = {"1": node("LoadImage", image="same.png"), "2": save()}
    shades = []
    async with server.client() as client:
        for colour in ((10, 10, 10), (240, 240, 240)):
            files = {"image": ("same.png", png(colour=colour))}
            server.raw("POST", "/upload/image", files=files, data={"overwrite": "true"})
            shades.append((await pixels(client, (await run(client, graph)).files[0])).mean())
    assert shades == [10, 240]


async def test_uploads_stay_in_their_folder(server: Server) -> None:
    def status(name: str, **fields: str) -> int:
        return server.raw("POST", "/upload/image", files={"image": (name, png())}, data=fields).status_code

    assert status("../x.png") == 400
    assert status("a.png", subfolder="../..") == 400
    assert status("a.png", type="nope") == 500
    assert server.raw("POST", "/upload/image", files={"other": ("a.png", png())}).status_code == 400
    answer = server.raw(
        "POST", "/upload/image", files={"image": ("ü.png", png())}, data={"subfolder": "deep/er"}
    )
    assert answer.json() == {"name": "ü.png", "subfolder": "deep/er", "type": "input"}


# What engines need of it


async def test_a_prompt_takes_as_long_as_planned_and_can_be_interrupted_in_it(
    process: SandboxProcess, server: Server
) -> None:
    process.plan("comfyui", "execute", "slow", seconds=3600)
    prompt_id, me = new_id(), new_id()
    async with server.client() as client:
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        await client.submit(passed(small_graph()), prompt_id=prompt_id, client_id=me)
        async for event in events:
            if getattr(event, "node", None) == "1":
                break
        assert (await client.queue()).running == (prompt_id,)
        await client.interrupt(prompt_id)
        entry = await ended(client, prompt_id)
        await events.aclose()
    assert (entry.status, entry.message) == (
        "interrupted",
        "The prompt was interrupted at node 1 (EmptyImage).",
    )


async def test_a_prompt_fails_as_planned(process: SandboxProcess, server: Server) -> None:
    process.plan("comfyui", "execute", "fail_before", body="CUDA error: an illegal memory access")
    async with server.client() as client:
        entry = await run(client, small_graph())
        assert entry.status == "error"
        assert entry.message == (
            "The prompt failed at node 1 (EmptyImage): RuntimeError: CUDA error: an illegal memory access."
        )
        assert (await run(client, small_graph())).status == "success"


async def test_the_log_tells_of_prompts_and_failures(process: SandboxProcess, server: Server) -> None:
    process.plan("comfyui", "execute", "fail_before", body="planned words")
    async with server.client() as client:
        await run(client, small_graph())
    entries = server.raw("GET", "/internal/logs/raw").json()["entries"]
    words = [entry["m"] for entry in entries]
    assert "got prompt\n" in words
    assert "!!! Exception during processing !!! planned words\n" in words
    assert words[-1].startswith("Prompt executed in ")
    assert server.raw("GET", "/internal/logs").json().endswith(words[-1])
    assert server.raw("GET", "/api/internal/logs").status_code == 404
