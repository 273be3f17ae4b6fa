"""What a check says of a workflow, and what the server then does with it: they must agree."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.comfyui import (
    Graph,
    Server,
    new_id,
    node,
    painting,
    passed,
    plain,
    save,
    server,
    small_graph,
)
from tests.support.sandbox import sandbox

from persona_tui.clients.comfyui import WorkflowRejected
from persona_tui.services.generation.pipeline_input import PipelineInput
from persona_tui.services.generation.workflow_check import check_pipeline, check_workflow

__all__ = ["sandbox", "server"]


def scaled(**changes: Any) -> Graph:
    """A picture, scaled; `changes` are inputs of the node that scales."""
    inputs = {"image": ["1", 0], "upscale_method": "lanczos", "width": 64, "height": 80, "crop": "center"}
    graph = {"1": plain(), "3": node("ImageScale", **{**inputs, **changes}), "2": save()}
    graph["2"]["inputs"]["images"] = ["3", 0]
    return graph


def without(graph: Graph, name: str) -> Graph:
    """The graph with an input of its scaling node missing."""
    del graph["3"]["inputs"][name]
    return graph


BROKEN: dict[str, tuple[Graph, str, str]] = {
    "unknown class": (
        {**small_graph(), "2": node("SaveImagee", images=["1", 0], filename_prefix="x")},
        "no node class SaveImagee",
        "SaveImage",
    ),
    "unknown model": (
        painting(node4=node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_2.0.safetensors")),
        "ckpt_name is 'sd_xl_base_2.0.safetensors', which the server does not have",
        "",
    ),
    "unknown choice": (scaled(upscale_method="lanzcos"), "upscale_method is 'lanzcos'", "lanczos"),
    "missing input": (without(scaled(), "width"), "its input width is missing", ""),
    "no number": (scaled(width="wide"), "width is 'wide', which is no INT", ""),
    "below the least": (scaled(height=-1), "height is -1, below the least, 0", ""),
    "above the most": (scaled(height=10**6), "above the most, 16384", ""),
    "lost link": (scaled(image=["77", 0]), "linked to node 77, which is not there", ""),
    "wrong type": (painting(node8=node("VAEDecode", samples=["4", 0], vae=["4", 2])), "linked to MODEL", ""),
}


@pytest.mark.parametrize("which", BROKEN)
async def test_what_a_check_finds_the_server_refuses(server: Server, which: str) -> None:
    graph, sentence, hint = BROKEN[which]
    async with server.client() as client:
        found = check_workflow(graph, await client.object_info())
        assert any(sentence in one.sentence and hint in one.hint for one in found), found
        assert all(one.severity == "fail" for one in found)
        with pytest.raises(WorkflowRejected):
            await client.submit(passed(graph), prompt_id=new_id(), client_id=new_id())


@pytest.mark.parametrize("graph", [small_graph(), scaled(), scaled(width="64"), scaled(width=64.0)])
async def test_what_a_check_lets_through_the_server_takes(server: Server, graph: Graph) -> None:
    async with server.client() as client:
        assert check_workflow(graph, await client.object_info()) == ()
        await client.submit(passed(graph), prompt_id=new_id(), client_id=new_id())


async def test_placeholders_are_taken_for_fitting_values_and_foreign_ones_are_named(server: Server) -> None:
    graph = scaled(width="{{width}}", height="{{seed}}")
    async with server.client() as client:
        found = check_workflow(graph, await client.object_info())
    assert [(one.severity, one.node, one.input) for one in found] == [("warn", "3", "width")]
    assert "{{width}} is no built-in variable" in found[0].sentence


async def test_a_placeholder_in_a_name_and_a_link_that_is_no_link_are_found(server: Server) -> None:
    graph = scaled(image="a.png", **{"{{size}}": 4})
    async with server.client() as client:
        found = {one.input: one.sentence for one in check_workflow(graph, await client.object_info())}
    assert "holds a placeholder" in found["{{size}}"]
    assert "needs a link to IMAGE" in found["image"]


async def test_a_link_to_an_output_that_the_node_lacks_is_found(server: Server) -> None:
    async with server.client() as client:
        found = check_workflow(scaled(image=["1", 4]), await client.object_info())
    assert [one.sentence for one in found] == [
        "Node 3 (ImageScale): input image is linked to output 4 of node 1, which has 1."
    ]


async def test_every_step_of_a_pipeline_is_checked_and_the_address_has_no_password(server: Server) -> None:
    steps = ({"name": "base", "workflow": small_graph()}, {"name": "more", "workflow": scaled(height=-1)})
    async with server.client() as client:
        base, more = await check_pipeline(PipelineInput(name="x", steps=steps), client)
    assert (base.position, base.runs, more.position, more.runs) == (1, True, 2, False)
    assert base.endpoint == server.url


async def test_a_workflow_of_two_thousand_nodes_is_checked_with_each_fault_found(server: Server) -> None:
    graph: Graph = {"1": plain()}
    for number in range(2, 2001):
        graph[str(number)] = node("SaveImage", images=["1", 0], filename_prefix="x")
    graph["2000"]["inputs"]["images"] = ["5000", 0]
    async with server.client() as client:
        found = check_workflow(graph, await client.object_info())
    assert [one.node for one in found] == ["2000"]
