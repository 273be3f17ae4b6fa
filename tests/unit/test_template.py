"""Workflows as templates: typed values, text, links, and what has no value."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.graph import require_api_format, saved_files, with_token
from persona_tui.services.generation.template import Placeholder, fill, find_placeholders
from persona_tui.services.generation.variables import RunFacts, derive_seed, job_token, run_variables

WORKFLOW: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {"seed": "{{seed}}", "cfg": "{{ cfg }}", "model": ["4", 0]}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a {{mood}} day, {{prompt}}", "clip": ["4", 1]}},
    "9": {
        "class_type": "SaveImage",
        "inputs": {"images": ["8", 0], "filename_prefix": "{{persona}}/{{job_id}}"},
        "_meta": {"title": "{{not a placeholder}}"},
    },
}
VALUES = {"seed": 7, "cfg": 6.5, "mood": "calm", "prompt": "tea", "persona": "ana", "job_id": "12-ab"}


def test_placeholders_are_found_with_their_node_and_input() -> None:
    assert find_placeholders(WORKFLOW) == (
        Placeholder("3", "seed", "seed", True),
        Placeholder("3", "cfg", "cfg", True),
        Placeholder("6", "text", "mood", False),
        Placeholder("6", "text", "prompt", False),
        Placeholder("9", "filename_prefix", "persona", False),
        Placeholder("9", "filename_prefix", "job_id", False),
    )


def test_a_whole_value_keeps_its_type_and_one_inside_a_text_becomes_text() -> None:
    filled = fill(WORKFLOW, VALUES)

    assert filled["3"]["inputs"] == {"seed": 7, "cfg": 6.5, "model": ["4", 0]}
    assert filled["6"]["inputs"]["text"] == "a calm day, tea"
    assert filled["9"]["inputs"]["filename_prefix"] == "ana/12-ab"
    assert filled["9"]["_meta"] == {"title": "{{not a placeholder}}"}


def test_truth_values_read_like_json_inside_a_text_and_stay_truth_values_alone() -> None:
    workflow = {"1": {"class_type": "X", "inputs": {"whole": "{{on}}", "text": "on={{on}}"}}}

    assert fill(workflow, {"on": True})["1"]["inputs"] == {"whole": True, "text": "on=true"}


def test_the_template_itself_stays_as_it_is() -> None:
    before = repr(WORKFLOW)
    filled = fill(WORKFLOW, VALUES)
    filled["3"]["inputs"]["model"].append("changed")

    assert repr(WORKFLOW) == before


def test_a_value_can_not_bring_in_another_variable() -> None:
    filled = fill(
        WORKFLOW, {**VALUES, "mood": "{{prompt}} {{seed}}", "prompt": "{{mood}}", "seed": "{{cfg}}"}
    )

    assert filled["6"]["inputs"]["text"] == "a {{prompt}} {{seed}} day, {{mood}}"
    assert filled["3"]["inputs"]["seed"] == "{{cfg}}"


def test_a_value_with_quotes_and_lines_stays_one_value() -> None:
    prompt = 'two\nlines, "quoted" \\ and ", "injected": ["4", 1]'

    assert fill(WORKFLOW, {**VALUES, "prompt": prompt})["6"]["inputs"]["text"] == f"a calm day, {prompt}"


def test_links_are_never_overwritten() -> None:
    workflow = {"1": {"class_type": "X", "inputs": {"link": ["{{node}}", 1], "list": ["{{node}}", "b"]}}}

    assert fill(workflow, {"node": "9"})["1"]["inputs"] == {"link": ["{{node}}", 1], "list": ["9", "b"]}
    assert [place.input for place in find_placeholders(workflow)] == ["list.0"]


def test_nested_inputs_are_filled_too() -> None:
    workflow = {
        "1": {"class_type": "Loras", "inputs": {"lora_1": {"on": "{{on}}", "strength": "{{weight}}"}}}
    }

    filled = fill(workflow, {"on": False, "weight": 0.8})

    assert filled["1"]["inputs"]["lora_1"] == {"on": False, "strength": 0.8}
    assert find_placeholders(workflow)[1] == Placeholder("1", "lora_1.strength", "weight", True)


@pytest.mark.parametrize("written", ["{{mood}}", "{{ mood }}", "very {{mood}}"])
def test_a_variable_without_a_value_is_told_with_its_node_and_input(written: str) -> None:
    workflow = {"17": {"class_type": "CLIPTextEncode", "inputs": {"text": written}}}

    with pytest.raises(InvalidRequest) as told:
        fill(workflow, {"prompt": "tea"})

    assert told.value.message == "Node 17, input text: the variable {{mood}} has no value."


def test_a_placeholder_that_no_variable_could_have_is_not_sent_as_text() -> None:
    with pytest.raises(InvalidRequest, match=r"\{\{my-mood!\}\}"):
        fill({"1": {"class_type": "X", "inputs": {"text": "{{my-mood!}}"}}}, VALUES)


def test_a_seed_is_the_same_at_each_derivation_and_another_for_each_place_and_attempt() -> None:
    places = [
        (position, parent, slot, attempt)
        for position in (1, 2)
        for parent in (None, (5, 0), (5, 1), (6, 0))
        for slot in range(1, 9)
        for attempt in range(4)
    ]
    seeds = [derive_seed(42, *place) for place in places]

    assert seeds == [derive_seed(42, *place) for place in places]
    assert len(set(seeds)) == len(places)
    assert all(0 <= seed < 1 << 53 for seed in seeds)
    assert max(seeds) > 1 << 52
    assert derive_seed(43, 1, None, 1, 0) != derive_seed(42, 1, None, 1, 0)
    assert derive_seed(42, 1, None, 1, 0) == 7455680989671958


def test_the_programs_variables_win_over_a_runs_own_and_step_one_has_no_parent() -> None:
    facts = RunFacts("night", "tea", "blur", "Ana", "anaface", {"seed": 1, "mood": "calm"})
    moment = datetime(2026, 3, 4, tzinfo=UTC)

    first = run_variables(facts, seed=9, token="3-ab", now=moment, parent_image=None)
    later = run_variables(facts, seed=9, token="3-ab", now=moment, parent_image="a.png")

    assert (first["seed"], first["auto_seed"], first["mood"]) == (9, 9, "calm")
    assert (first["persona"], first["trigger_word"], first["run_name"]) == ("Ana", "anaface", "night")
    assert first["timestamp"] == 1772582400
    assert 0 <= int(first["random"]) < 10**9
    assert "parent_image" not in first
    assert later["parent_image"] == "a.png"


def test_every_save_image_carries_the_job_in_its_prefix() -> None:
    token = job_token(12, uuid.UUID("ab000000-0000-4000-8000-000000000000"))
    workflow = {
        "1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "night/out"}},
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": f"x/{token}"}},
        "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": ["7", 0]}},
        "4": {"class_type": "PreviewImage", "inputs": {}},
    }

    marked = with_token(workflow, token)

    assert token == "12-ab000000"
    assert marked["1"]["inputs"]["filename_prefix"] == "night/out_12-ab000000"
    assert marked["2"] == workflow["2"]
    assert marked["3"] == workflow["3"]
    assert marked["4"] == workflow["4"]
    files = list(saved_files(marked, None, token))
    assert [(node[0].subfolder, node[0].filename) for node in files] == [
        ("night", "out_12-ab000000_00001_.png"),
        ("x", "12-ab000000_00001_.png"),
    ]


@pytest.mark.parametrize(
    ("workflow", "sentence"),
    [
        ({"nodes": [{"id": 1}], "links": []}, "editor's format"),
        ({}, "no nodes"),
        ({"1": {"inputs": {}}}, "Node 1 has no class_type"),
        ({"1": ["not", "a node"]}, "Node 1 has no class_type"),
        ({"1": {"class_type": "X", "inputs": [1]}}, "inputs of node 1"),
        ({"1": {"class_type": "X", "inputs": {"cfg": float("nan")}}}, "JSON does not have"),
        ({"1": {"class_type": "X", "inputs": {"text": "a\0b"}}}, "null character"),
    ],
)
def test_what_is_no_graph_in_api_format_is_refused_in_words(workflow: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        require_api_format(workflow)
