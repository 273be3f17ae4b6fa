"""The example without a model, run step by step as the engine fills it, here and on a real server."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.support.comfyui import Server, passed, run, server
from tests.support.sandbox import SandboxProcess, sandbox

from persona_tui.clients.comfyui import ComfyUIClient
from persona_tui.services.generation.declared import class_of
from persona_tui.services.generation.examples import EXAMPLES, example
from persona_tui.services.generation.pipeline_input import PipelineInput
from persona_tui.services.generation.template import fill
from persona_tui.services.generation.variables import RunFacts, run_variables
from persona_tui.services.generation.workflow_check import check_workflow
from persona_tui.services.inputs import validated

__all__ = ["sandbox", "server"]

NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)


def filled(step: int, prompt: str, seed: int, parent: str | None = None) -> dict[str, Any]:
    """A step's workflow as it is sent."""
    facts = RunFacts("Cards", prompt, "", "", "", {})
    variables = run_variables(facts, seed=seed, token=f"test-{seed}", now=NOW, parent_image=parent)
    return fill(example("no-model")["steps"][step]["workflow"], variables)


async def made(client: ComfyUIClient, workflow: dict[str, Any]) -> tuple[bytes, np.ndarray[Any, Any]]:
    """The one picture of a workflow, as bytes and as pixels."""
    entry = await run(client, workflow)
    assert entry.status == "success", entry.message
    (file,) = entry.files
    data = await client.view(file)
    return data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


async def test_the_example_without_a_model_passes_the_check(server: Server) -> None:
    async with server.client() as client:
        declared = await client.object_info()
    for step in example("no-model")["steps"]:
        assert check_workflow(step["workflow"], declared, step["output_node"]) == ()


async def test_prompt_and_seed_show_and_the_second_step_is_built_on_the_first(server: Server) -> None:
    async with server.client() as client:
        data, card = await made(client, filled(0, "a jug", 1))
        _, other_seed = await made(client, filled(0, "a jug", 2))
        _, other_prompt = await made(client, filled(0, "a bowl", 1))
        name = await client.upload_image(passed(data), "persona-test-card.png")
        _, tinted = await made(client, filled(1, "a jug", 3, name))

    assert card.shape == (540, 432, 3)
    middle, corner = (270, 216), (5, 5)
    assert (card[corner] == other_seed[corner]).all() and (card[middle] != other_seed[middle]).any()
    assert (card[corner] != other_prompt[corner]).any() and (card[middle] == other_prompt[middle]).all()
    assert tinted.shape == (1350, 1080, 3)
    assert (tinted[20, 20] != tinted[675, 540]).any()


@pytest.mark.long(but=["two-step"])
@pytest.mark.parametrize("name", EXAMPLES)
async def test_every_example_runs_on_the_stand_in(sandbox: SandboxProcess, name: str) -> None:
    parent = None
    async with ComfyUIClient(sandbox.comfyui, sandbox.token) as client:
        declared = await client.object_info()
        for step in validated(PipelineInput, example(name)).steps:
            assert [one for one in check_workflow(step.workflow, declared) if one.severity == "fail"] == []
            facts = RunFacts("Examples", "a clay cup", "", "", "", {})
            variables = run_variables(facts, seed=7, token="t", now=NOW, parent_image=parent)
            data, pixels = await made(client, fill(step.workflow, variables))
            parent = await client.upload_image(passed(data), "persona-test-example.png")
    assert pixels.std() > 5


@pytest.mark.parametrize("name", EXAMPLES)
async def test_every_example_is_well_formed_for_a_server_that_knows_its_classes(
    server: Server, name: str
) -> None:
    async with server.client() as client:
        declared = await client.object_info()
    for step in validated(PipelineInput, example(name)).steps:
        known = {
            str(entry["class_type"]): info
            for entry in step.workflow.values()
            if (info := class_of(declared, str(entry["class_type"]))) is not None
        }
        found = check_workflow(step.workflow, declared, step.output_node)
        wrong = [
            one.sentence
            for one in found
            if "which the server does not have" not in one.sentence and "no node class" not in one.sentence
        ]
        assert known and wrong == []
