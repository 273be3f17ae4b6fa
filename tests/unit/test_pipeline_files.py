"""Pipelines as files hold them: bare workflows, exports, the predecessor's steps, the editor's format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.editor import DECLARED, Canvas

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.pipeline_files import from_documents, in_api_format

SAVE = {"class_type": "Save", "inputs": {"images": ["1", 0], "prefix": "x"}}
WORKFLOW: dict[str, Any] = {"1": {"class_type": "Text", "inputs": {"text": "{{prompt}}"}}, "2": SAVE}
DEFAULTS = {"name": "mine", "children_per_parent": 4, "top_k": 2, "timeout": 90}


def steps(*documents: Any) -> list[dict[str, Any]]:
    """The steps of a pipeline made of these documents."""
    named = [(f"file{number}", document) for number, document in enumerate(documents, start=1)]
    found: list[dict[str, Any]] = from_documents(named, DEFAULTS).values["steps"]
    return found


def test_bare_workflows_are_steps_in_the_order_of_the_files() -> None:
    first, second = steps(WORKFLOW, {**WORKFLOW, "3": SAVE})
    assert first == {
        "name": "file1", "workflow": WORKFLOW, "children_per_parent": 4, "top_k": 2, "timeout": 90,
    }  # fmt: skip
    assert (second["name"], len(second["workflow"])) == ("file2", 3)


def test_steps_of_the_predecessor_are_read() -> None:
    text = json.dumps(WORKFLOW).replace('"x"', "{{auto_seed}}")
    old = {
        "id": 7, "pipeline_id": 1, "name": "body", "order": 2, "max_children": 3, "comfy_workflow_json": text,
        "needs_run_prompt": True, "needs_parent_image_path": False, "needs_run_variables": False,
    }  # fmt: skip
    first, second = steps({"name": "theirs", "steps": [old, {**old, "name": "base", "order": 1}]})
    assert (first["name"], second["name"]) == ("base", "body")
    assert second["workflow"]["2"]["inputs"]["prefix"] == "{{auto_seed}}"
    assert (second["children_per_parent"], second["top_k"]) == (3, 2)
    assert not {"order", "needs_run_prompt", "id", "max_children"} & set(second)


def test_flags_that_say_something_else_than_the_workflow_are_told() -> None:
    old = {"name": "base", "workflow": WORKFLOW, "needs_run_prompt": False, "needs_parent_image_path": True}
    file = from_documents([("a", {"steps": [{**old, "needs_run_variables": True}]})], DEFAULTS)
    assert file.warnings == (
        "Step base uses {{prompt}}, though needs_run_prompt says that it does not; what it uses counts.",
        "Step base has needs_parent_image_path, but its workflow does not use the parent's picture.",
        "Step base has needs_run_variables, but its workflow does not use variables of its own.",
    )


def test_two_steps_at_one_place_and_a_step_without_one_are_told() -> None:
    def at(*orders: int | None) -> list[dict[str, Any]]:
        return [
            {"name": f"s{number}", "workflow": WORKFLOW} | ({} if order is None else {"order": order})
            for number, order in enumerate(orders)
        ]

    with pytest.raises(InvalidRequest, match="Two steps have the order 1: s0, s1"):
        steps({"steps": at(1, 1)})
    with pytest.raises(InvalidRequest, match="Not every step says its place"):
        steps({"steps": at(1, None)})


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"name": "a"}, "no workflow"),
        ({"name": "a", "needs_run_prompt": True}, "has no workflow"),
        ({"name": "a", "comfy_workflow_json": "{"}, "The workflow of a is no workflow that can be read"),
        ({"name": "a", "comfy_workflow_json": "[]"}, "The workflow of a is no workflow"),
    ],
)
def test_a_step_without_a_workflow_is_told(step: dict[str, Any], sentence: str) -> None:
    if step == {"name": "a"}:  # looks like a workflow of one node, and the import says what is wrong with it
        assert steps({"steps": [step]})[0]["workflow"] == step
        return
    with pytest.raises(InvalidRequest, match=sentence):
        steps({"steps": [step]})


def drawn() -> dict[str, Any]:
    """A file of the editor."""
    canvas = Canvas()
    canvas.node(1, "Text", "a {red|blue} {{prompt}}", outputs=["STRING"])
    canvas.node(2, "Save", "x", inputs={"images": (1, 0, "IMAGE")})
    return canvas.file()


def test_the_editor_s_files_ask_for_a_server_and_are_converted_with_their_warnings() -> None:
    file = from_documents([("base", drawn())], DEFAULTS)
    assert file.asks_for_server
    made = in_api_format(file, DECLARED)
    assert not made.asks_for_server
    assert made.values["steps"][0]["workflow"]["2"]["inputs"] == {"images": ["1", 0], "prefix": "x"}
    assert made.warnings == (
        "Step 1, base: Node 1, input text: {red|blue} is a choice that only the editor makes.",
    )


def test_a_conversion_that_fails_names_its_step() -> None:
    broken = {
        "steps": [{"name": "a", "workflow": WORKFLOW}, {"name": "b", "workflow": {**drawn(), "nodes": [1]}}]
    }
    with pytest.raises(InvalidRequest, match="The workflow of step 2, b, can't be converted: it is not as"):
        in_api_format(from_documents([("x", broken)], DEFAULTS), DECLARED)
