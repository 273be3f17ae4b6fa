"""The client against the stand-in and, where PERSONA_TEST_COMFYUI_URL is set, against a real ComfyUI."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from PIL import Image
from tests.support.comfyui import (
    Graph,
    Server,
    ended,
    events_until_idle,
    long_graph,
    new_id,
    node,
    passed,
    plain,
    png,
    run,
    save,
    server,
    small_graph,
    until,
)
from tests.support.sandbox import sandbox

from persona_tui.clients.comfyui import (
    Executed,
    Executing,
    ExecutionCached,
    ExecutionError,
    ExecutionStart,
    ExecutionSuccess,
    Idle,
    OutputFile,
    Status,
    WorkflowRejected,
)
from persona_tui.errors import ServiceRefused

__all__ = ["sandbox", "server"]


async def test_a_submitted_workflow_ends_as_success_with_its_file(server: Server) -> None:
    async with server.client() as client:
        entry = await run(client, small_graph(color=0x336699))
        assert entry.status == "success"
        assert entry.message is None
        (file,) = entry.files
        assert (file.subfolder, file.type) == ("persona-test", "output")
        picture = Image.open(io.BytesIO(await client.view(file)))
        assert picture.getpixel((3, 3)) == (0x33, 0x66, 0x99)


async def test_saved_pictures_carry_the_graph_and_the_given_workflow(server: Server) -> None:
    graph = small_graph()
    async with server.client() as client:
        entry = await run(client, graph, extra={"extra_pnginfo": {"workflow": {"id": "w-1", "ü": "ö"}}})
        picture = Image.open(io.BytesIO(await client.view(entry.files[0])))
    assert json.loads(picture.text["prompt"]) == graph
    assert json.loads(picture.text["workflow"]) == {"id": "w-1", "ü": "ö"}


async def test_counters_go_up_and_prefixes_make_folders(server: Server) -> None:
    folder = f"persona-test/{new_id()}"
    graph = {"1": plain(), "2": save(prefix=f"{folder}/%width%x%height%")}
    async with server.client() as client:
        names = [(await run(client, graph | {"1": plain()})).files[0] for _ in range(3)]
    assert [(file.subfolder, file.filename) for file in names] == [
        (folder, f"16x16_0000{number}_.png") for number in (1, 2, 3)
    ]


async def test_a_batch_gives_one_file_for_each_picture(server: Server) -> None:
    async with server.client() as client:
        entry = await run(client, {"1": plain(batch=3), "2": save()})
    assert len(entry.outputs["2"]) == 3
    assert len({file.filename for file in entry.files}) == 3


async def test_previews_land_in_the_temp_folder(server: Server) -> None:
    async with server.client() as client:
        entry = await run(client, {"1": plain(), "2": node("PreviewImage", images=["1", 0])})
        assert entry.files[0].type == "temp"
        assert (await client.view(entry.files[0])).startswith(b"\x89PNG")


async def test_events_come_in_the_servers_order(server: Server) -> None:
    me, prompt_id = new_id(), new_id()
    graph = {"1": plain(), "2": save()}
    async with server.client() as client:
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        await client.submit(passed(graph), prompt_id=prompt_id, client_id=me)
        told = await events_until_idle(events, prompt_id)
        await events.aclose()
        entry = await client.history(prompt_id)
    about_it = [event for event in told if not isinstance(event, Status)]
    assert entry is not None
    assert about_it == [
        ExecutionStart(prompt_id),
        ExecutionCached(prompt_id, ()),
        Executing(prompt_id, "1"),
        Executing(prompt_id, "2"),
        Executed(prompt_id, "2", entry.outputs["2"]),
        ExecutionSuccess(prompt_id),
        Idle(prompt_id),
    ]
    counts = [event.queue_remaining for event in told if isinstance(event, Status)]
    assert counts[-1] == 0


async def test_a_cached_prompt_keeps_its_outputs(server: Server) -> None:
    graph, me, again = small_graph(), new_id(), new_id()
    async with server.client() as client:
        first = await run(client, graph)
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        await client.submit(passed(graph), prompt_id=again, client_id=me)
        told = await events_until_idle(events, again)
        await events.aclose()
        entry = await client.history(again)
    assert entry is not None
    assert (entry.status, entry.outputs) == ("success", first.outputs)
    cached = next(event for event in told if isinstance(event, ExecutionCached))
    assert set(cached.nodes) == {"1", "2"}
    assert not any(isinstance(event, Executing) for event in told)
    assert any(isinstance(event, Executed) for event in told)


async def test_only_the_last_prompts_results_are_cached(server: Server) -> None:
    graph, other = small_graph(), small_graph()
    async with server.client() as client:
        first = await run(client, graph)
        await run(client, other)
        third = await run(client, graph)
    assert third.files != first.files


async def test_events_of_others_are_not_told(server: Server) -> None:
    mine, theirs = new_id(), new_id()
    first, second = new_id(), new_id()
    async with server.client() as client:
        events = client.events(mine)
        assert isinstance(await anext(events), Status)
        await client.submit(passed(small_graph()), prompt_id=first, client_id=theirs)
        await client.submit(passed(small_graph()), prompt_id=second, client_id=mine)
        told = await events_until_idle(events, second)
        await events.aclose()
    assert {event.prompt_id for event in told} == {None, second}


async def test_one_id_sent_twice_runs_twice(server: Server) -> None:
    prompt_id, me = new_id(), new_id()
    async with server.client() as client:
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        numbers = [
            (await client.submit(passed(small_graph()), prompt_id=prompt_id, client_id=me)).number
            for _ in range(2)
        ]
        told = [*await events_until_idle(events, prompt_id), *await events_until_idle(events, prompt_id)]
        await events.aclose()
    assert numbers[1] == numbers[0] + 1
    assert len([event for event in told if isinstance(event, ExecutionSuccess)]) == 2


async def test_an_unknown_id_has_no_history(server: Server) -> None:
    async with server.client() as client:
        assert await client.history(new_id()) is None
        assert await client.history("ä b?x=1#y&z") is None


async def test_waiting_and_running_prompts_are_told_from_unknown_ones(server: Server) -> None:
    ids = [new_id() for _ in range(4)]
    async with server.client() as client:
        for prompt_id in ids:
            await client.submit(passed(long_graph()), prompt_id=prompt_id, client_id="tests")
        queue = await client.queue()
        entry = await client.history(ids[-1])
        assert entry is not None
        assert entry.status == "running"
        assert ids[-1] in queue.pending
        assert [one for one in queue.pending if one in ids] == [one for one in ids if one in queue.pending]
        for prompt_id in ids:
            await client.delete_pending(prompt_id)
            await client.interrupt(prompt_id)


async def test_a_deleted_prompt_is_unknown_afterwards_and_the_running_one_is_left_alone(
    server: Server,
) -> None:
    me, first, second = new_id(), new_id(), new_id()
    async with server.client() as client:
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        await client.submit(passed(long_graph(6)), prompt_id=first, client_id=me)
        await client.submit(passed(small_graph()), prompt_id=second, client_id=me)
        async for event in events:
            if isinstance(event, Executing):
                break
        await events.aclose()
        for prompt_id in (second, first, new_id()):
            await client.delete_pending(prompt_id)
        assert await client.history(second) is None
        assert (await ended(client, first)).status == "success"


async def test_an_interrupted_prompt_is_told_from_a_failed_one(server: Server) -> None:
    me, prompt_id = new_id(), new_id()
    async with server.client() as client:
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        await client.submit(passed(long_graph(40)), prompt_id=prompt_id, client_id=me)
        async for event in events:
            if isinstance(event, Executing):
                break
        await client.interrupt(prompt_id)
        entry = await ended(client, prompt_id)
        await events.aclose()
    assert entry.status == "interrupted"
    assert entry.message is not None
    assert "interrupted at node" in entry.message


async def test_an_interrupt_for_another_prompt_does_nothing(server: Server) -> None:
    async with server.client() as client:
        prompt_id = new_id()
        await client.submit(passed(long_graph(5)), prompt_id=prompt_id, client_id="tests")
        await client.interrupt(new_id())
        assert (await ended(client, prompt_id)).status == "success"


async def test_a_failure_says_why_in_the_history_and_in_the_events(server: Server) -> None:
    me, prompt_id = new_id(), new_id()
    graph = {"1": plain(), "2": save(prefix="../../escape")}
    async with server.client() as client:
        events = client.events(me)
        assert isinstance(await anext(events), Status)
        await client.submit(passed(graph), prompt_id=prompt_id, client_id=me)
        told = await events_until_idle(events, prompt_id)
        await events.aclose()
        entry = await client.history(prompt_id)
    assert entry is not None
    assert entry.status == "error"
    assert entry.message is not None
    assert entry.message.startswith("The prompt failed at node 2 (SaveImage): ")
    assert "outside the output folder is not allowed" in entry.message
    (error,) = [event for event in told if isinstance(event, ExecutionError)]
    assert (error.node, error.message) == ("2", entry.message)
    assert not entry.files


async def test_a_literal_in_place_of_a_link_fails_when_it_runs(server: Server) -> None:
    async with server.client() as client:
        entry = await run(client, {"2": node("SaveImage", images="{{picture}}", filename_prefix="x")})
    assert entry.status == "error"
    assert entry.message is not None
    assert "'str' object" in entry.message


def scaled(**changes: Any) -> Graph:
    inputs = {"image": ["1", 0], "upscale_method": "area", "width": 8, "height": 8, "crop": "disabled"}
    return {"1": plain(), "3": node("ImageScale", **{**inputs, **changes}), "2": save("3")}


def decoded_from(checkpoint: str) -> Graph:
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "5": LATENT,
        "3": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "2": save("3"),
    }


LATENT = node("EmptyLatentImage", width=64, height=64, batch_size=1)
NO_WIDTH = node("EmptyImage", width=0, height=8, batch_size=1, color=1)
CYCLE = {"1": scaled(image=["3", 0])["3"], "3": scaled()["3"], "2": save("3")}
REJECTIONS: dict[str, tuple[Graph, list[str]]] = {
    "unknown class": ({"1": node("NoSuchNode"), "2": save()}, ["no node class NoSuchNode (node 1)"]),
    "workflow of the editor": ({"nodes": [], "links": []}, ["nodes", "no class_type"]),
    "nothing to save": ({"1": plain()}, ["no output node"]),
    "empty": ({}, ["no output node"]),
    "missing input": (
        {"1": plain(), "2": node("SaveImage", images=["1", 0])},
        ["Node 2 (SaveImage)", "input filename_prefix is missing"],
    ),
    "wrong type": (scaled(width="{{width}}"), ["Node 3 (ImageScale)", "width is '{{width}}'", "no INT"]),
    "too small": (
        {"1": NO_WIDTH, "2": save()},
        ["Node 1 (EmptyImage)", "width is 0", "below the least, 1"],
    ),
    "too big": (scaled(height=99999), ["height is 99999", "above the most, 16384"]),
    "unknown choice": (
        scaled(upscale_method="bilinar"),
        ["upscale_method is 'bilinar'", "it has bilinear"],
    ),
    "unknown checkpoint": (
        decoded_from("nothere.safetensors"),
        ["Node 1 (CheckpointLoaderSimple)", "ckpt_name is 'nothere.safetensors', which the server does not"],
    ),
    "lost link": (
        {"1": plain(), "2": save("9")},
        ["Node 2 (SaveImage)", "linked to node 9, which is not there"],
    ),
    "lost inner link": (
        scaled(image=["9", 0]),
        ["Node 3 (ImageScale)", "linked to node 9, which is not there"],
    ),
    "no such output": (
        {"1": plain(), "2": node("SaveImage", images=["1", 4], filename_prefix="x")},
        ["Node 2 (SaveImage)", "index out of range"],
    ),
    "wrong kind of link": ({"5": LATENT, "2": save("5")}, ["images takes IMAGE but is linked to LATENT"]),
    "lost picture": (
        {"1": node("LoadImage", image="nofile.png"), "2": save()},
        ["Node 1 (LoadImage)", "Invalid image file: nofile.png"],
    ),
    "cycle": (CYCLE, ["rejected the workflow"]),
}


@pytest.mark.parametrize(("graph", "words"), REJECTIONS.values(), ids=REJECTIONS)
async def test_a_rejection_is_told_in_words(server: Server, graph: Graph, words: list[str]) -> None:
    prompt_id = new_id()
    async with server.client() as client:
        with pytest.raises(WorkflowRejected) as caught:
            await client.submit(passed(graph), prompt_id=prompt_id, client_id="tests")
        assert await client.history(prompt_id) is None
    assert caught.value.status == 400
    for word in words:
        assert word in caught.value.message


async def test_a_long_list_of_choices_is_asked_for_to_name_the_nearest(server: Server) -> None:
    graph = {
        "5": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "3": node("KSampler", seed=1, steps=1, cfg=1.0, sampler_name="eular", scheduler="normal", denoise=1.0,
                  latent_image=["5", 0], model=["4", 0], positive=["6", 0], negative=["6", 0]),
        "4": node("CheckpointLoaderSimple", ckpt_name="x"),
        "6": node("CLIPTextEncode", text="x", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "2": save("8"),
    }  # fmt: skip
    async with server.client() as client:
        with pytest.raises(WorkflowRejected) as caught:
            await client.submit(passed(graph), prompt_id=new_id(), client_id="tests")
    assert set(caught.value.node_errors) == {"3", "4"}
    if next(iter(caught.value.node_errors)) == "3":
        assert (
            "sampler_name is 'eular', which the server does not have; it has euler, " in caught.value.message
        )
    assert "There is 1 more." in caught.value.message


async def test_a_partly_invalid_workflow_is_rejected_and_its_rest_withdrawn(server: Server) -> None:
    prompt_id = new_id()
    graph = {"1": plain(), "2": save(), "3": node("SaveImage", images=["1", 0])}
    async with server.client() as client:
        blocker = new_id()
        await client.submit(passed(long_graph(6)), prompt_id=blocker, client_id="tests")
        with pytest.raises(WorkflowRejected) as caught:
            await client.submit(passed(graph), prompt_id=prompt_id, client_id="tests")
        assert await client.history(prompt_id) is None
        await ended(client, blocker)
    assert set(caught.value.node_errors) == {"3"}
    assert "input filename_prefix is missing" in caught.value.message


async def test_a_full_answer_with_node_errors_is_how_a_server_tells_a_partly_invalid_workflow(
    server: Server,
) -> None:
    graph = {"1": plain(), "2": save(), "3": node("SaveImage", images=["1", 0])}
    answer = server.raw("POST", "/prompt", json={"prompt": graph, "client_id": "tests"})
    assert answer.status_code == 200
    assert answer.json()["node_errors"]["3"] == {
        "errors": [
            {
                "type": "required_input_missing",
                "message": "Required input is missing",
                "details": "filename_prefix",
                "extra_info": {"input_name": "filename_prefix"},
            }
        ],
        "dependent_outputs": ["3"],
        "class_type": "SaveImage",
    }


@pytest.mark.parametrize(
    "body", [b"{oops", b"", b'{"prompt": [1]}', b'{"prompt": null}', b'{"prompt": {"1": 5}}']
)
async def test_a_malformed_body_is_a_500_in_plain_text(server: Server, body: bytes) -> None:
    answer = server.raw("POST", "/prompt", content=body)
    assert (answer.status_code, answer.text) == (
        500,
        "500 Internal Server Error\n\nServer got itself in trouble",
    )


async def test_numeric_text_is_taken_as_a_number_and_strange_inputs_are_ignored(server: Server) -> None:
    graph = {
        "1": node("EmptyImage", width="24", height=16, batch_size=1, color=5, strange=1) | {"_meta": {}},
        "2": save(),
    }
    async with server.client() as client:
        entry = await run(client, graph)
        assert Image.open(io.BytesIO(await client.view(entry.files[0]))).size == (24, 16)


async def test_equal_uploads_keep_their_name_and_others_get_a_new_one(server: Server) -> None:
    name = f"{new_id()}.png"
    async with server.client() as client:
        first = await client.upload_image(passed(png(colour=(1, 2, 3))), name)
        again = await client.upload_image(passed(png(colour=(1, 2, 3))), name)
        other = await client.upload_image(passed(png(colour=(4, 5, 6))), name)
    assert first == again == name
    assert other == name.replace(".png", " (1).png")


async def test_an_uploaded_picture_can_be_loaded(server: Server) -> None:
    async with server.client() as client:
        name = await client.upload_image(passed(png(24, (9, 8, 7))), f"../{new_id()}/ä b.png")
        entry = await run(client, {"1": node("LoadImage", image=name), "2": save()})
        picture = Image.open(io.BytesIO(await client.view(entry.files[0])))
    assert "/" not in name
    assert (picture.size, picture.getpixel((5, 5))) == ((24, 24), (9, 8, 7))


async def test_something_that_is_no_picture_is_taken_and_fails_when_it_runs(server: Server) -> None:
    async with server.client() as client:
        name = await client.upload_image(passed(b"no picture"), f"{new_id()}.png")
        entry = await run(client, {"1": node("LoadImage", image=name), "2": save()})
    assert entry.status == "error"
    assert entry.message is not None
    assert entry.message.startswith(
        "The prompt failed at node 1 (LoadImage): UnidentifiedImageError: cannot identify image file"
    )


async def test_a_file_that_is_gone_is_a_404(server: Server) -> None:
    async with server.client() as client:
        with pytest.raises(ServiceRefused, match=r"no longer has nothing_00001_\.png") as caught:
            await client.view(OutputFile("nothing_00001_.png"))
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404), ("filename=", 400), ("filename=../x", 400), ("filename=/etc/passwd", 400),
        ("filename=x&type=nope", 400), ("filename=x&subfolder=../..", 403), ("filename=x.png", 404),
    ],
)  # fmt: skip
async def test_view_does_not_leave_its_folders(server: Server, query: str, status: int) -> None:
    assert server.raw("GET", f"/view?{query}").status_code == status


async def test_view_re_encodes_previews(server: Server) -> None:
    async with server.client() as client:
        (file,) = (await run(client, small_graph())).files
    place = f"/view?filename={file.filename}&subfolder={file.subfolder}"
    for asked, kind in (("webp;50", "image/webp"), ("jpeg", "image/jpeg"), ("tiff;90", "image/webp")):
        answer = server.raw("GET", f"{place}&preview={asked}")
        assert answer.headers["content-type"] == kind
        assert Image.open(io.BytesIO(answer.content)).size == (16, 16)
    assert Image.open(io.BytesIO(server.raw("GET", f"{place}&channel=a").content)).mode == "RGBA"
    assert server.raw("GET", place, headers={"Range": "bytes=0-3"}).content == b"\x89PNG"


async def test_the_server_tells_its_nodes_models_and_version(server: Server) -> None:
    async with server.client() as client:
        info = await client.object_info("KSampler")
        assert info["KSampler"]["input"]["required"]["denoise"] == [
            "FLOAT",
            {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}
            | {
                key: value
                for key, value in info["KSampler"]["input"]["required"]["denoise"][1].items()
                if key == "tooltip"
            },
        ]
        assert await client.object_info("NoSuchNode") == {}
        assert "SaveImage" in await client.object_info()
        assert isinstance(await client.models("loras"), tuple)
        with pytest.raises(ServiceRefused) as caught:
            await client.models("nope")
        assert caught.value.status == 404
        stats = await client.system_stats()
    assert stats.version
    assert stats.devices[0].vram_total > 0


async def test_jobs_and_the_api_prefix_answer_alike(server: Server) -> None:
    async with server.client() as client:
        prompt_id = new_id()
        await run(client, small_graph(), prompt_id=prompt_id)
    job = server.raw("GET", f"/api/jobs/{prompt_id}").json()
    assert (job["status"], job["outputs_count"]) == ("completed", 1)
    assert job["preview_output"]["mediaType"] == "images"
    listed = server.raw("GET", "/api/jobs?status=completed&limit=1").json()
    assert listed["jobs"][0]["id"] == prompt_id
    assert listed["pagination"]["limit"] == 1
    assert server.raw("GET", "/api/jobs?status=bad").status_code == 400
    assert server.raw("GET", f"/api/jobs/{new_id()}").json() == {"error": "Job not found"}
    assert (
        server.raw("GET", f"/api/history/{prompt_id}").json()
        == server.raw("GET", f"/history/{prompt_id}").json()
    )
    assert server.raw("GET", "/api/prompt").json() == {"exec_info": {"queue_remaining": 0}}


async def test_a_foreign_origin_is_refused(server: Server) -> None:
    assert server.raw("GET", "/prompt", headers={"Origin": "https://evil.example"}).status_code == 403


async def test_the_streams_of_one_client_id_replace_each_other(server: Server) -> None:
    me, prompt_id = new_id(), new_id()
    async with server.client() as client:
        first, second = client.events(me), client.events(me)
        assert isinstance(await anext(first), Status)
        assert isinstance(await anext(second), Status)
        await client.submit(passed(small_graph()), prompt_id=prompt_id, client_id=me)
        told = await events_until_idle(second, prompt_id)
        assert any(isinstance(event, ExecutionSuccess) for event in told)
        await first.aclose()
        await second.aclose()


async def test_memory_can_be_freed_and_cached_results_go_with_it(server: Server) -> None:
    graph = small_graph()
    async with server.client() as client:
        first = await run(client, graph)
        assert (await run(client, graph)).files == first.files
        await client.free()

        async def run_anew() -> bool | None:
            return (await run(client, graph)).files != first.files or None

        assert await until(run_anew)
