"""Variables of workflows: found, given a kind, and values that fit it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.editor import DECLARED

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.placeholders import (
    Need,
    input_types,
    merged_needs,
    needs_of,
    typed,
    typed_words,
)

WORKFLOW: dict[str, Any] = {
    "1": {"class_type": "Sampler", "inputs": {"seed": "{{seed}}", "steps": "{{steps}}", "kind": "{{how}}"}},
    "2": {"class_type": "Text", "inputs": {"text": "{{mood}} {{prompt}} in {{steps}}", "other": "{{what}}"}},
    "3": {"class_type": "Resize", "inputs": {"how": "by", "how.factor": "{{factor}}"}},
}


def kinds(types: dict[str, Any]) -> dict[str, str]:
    """Variable → kind."""
    return {need.name: need.kind for need in needs_of(WORKFLOW, types)}


def test_a_kind_comes_from_the_declaration_where_there_is_one() -> None:
    types = input_types(WORKFLOW, DECLARED)
    assert types == {
        "1": {"seed": "INT", "steps": "INT", "kind": ["euler", "heun"]},
        "2": {"text": "STRING"},
        "3": {"how.factor": "FLOAT"},
    }
    assert kinds(types) == {
        "seed": "whole number",
        "steps": "whole number",
        "how": "choice",
        "mood": "text",
        "prompt": "text",
        "what": "any",
        "factor": "number",
    }


def test_what_a_server_offers_for_a_choice_is_kept() -> None:
    workflow = {
        "1": {"class_type": "Loader", "inputs": {"name": "{{file}}"}},
        "2": {"class_type": "Old", "inputs": {"name": "{{file}}", "image": "{{picture}}"}},
    }
    listed = [["b.safetensors", "c.safetensors"], {}]
    uploaded = [["x.png"], {"image_upload": True}]
    old = {"input": {"required": {"name": listed, "image": uploaded}}}
    types = input_types(workflow, {"Loader": DECLARED["Loader"], "Old": old})
    assert types["1"] == {"name": ["a.safetensors", "b.safetensors"]}
    assert types["2"] == {"name": ["b.safetensors", "c.safetensors"], "image": "COMBO"}
    needs = {need.name: need for need in needs_of(workflow, types)}
    assert (needs["file"].kind, needs["file"].choices) == ("choice", ("b.safetensors",))
    assert (needs["picture"].kind, needs["picture"].choices) == ("choice", ())
    only = needs_of({"1": workflow["1"]}, types)
    assert merged_needs([*only, needs["file"]])[0].choices == ("b.safetensors",)


def test_without_a_declaration_the_place_tells() -> None:
    assert kinds({}) == {
        "seed": "whole number",
        "steps": "whole number",
        "how": "any",
        "mood": "text",
        "prompt": "text",
        "what": "any",
        "factor": "any",
    }


def test_places_and_whose_a_variable_is_are_told() -> None:
    needs = {need.name: need for need in needs_of(WORKFLOW, {})}
    assert (needs["prompt"].built_in, needs["mood"].built_in) == (True, False)
    assert needs["steps"].places == ("1.steps", "2.text")


def test_what_two_steps_take_differently_is_any() -> None:
    def need(kind: Any) -> Need:
        return Need("x", kind, False, ("1.a",))

    assert [one.kind for one in merged_needs([need("whole number"), need("number")])] == ["whole number"]
    assert [one.kind for one in merged_needs([need("text"), need("number")])] == ["number"]
    assert [one.kind for one in merged_needs([need("choice"), need("number")])] == ["any"]
    assert merged_needs([need("text"), need("text")])[0].places == ("1.a", "1.a")


NEEDS = (
    Need("n", "whole number", False, ()),
    Need("f", "number", False, ()),
    Need("b", "yes or no", False, ()),
    Need("t", "text", False, ()),
    Need("c", "choice", False, ()),
)


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [
        ("n", "832", 832),
        ("n", "9007199254740993", 9007199254740993),
        ("n", " 7 ", 7),
        ("f", "0.35", 0.35),
        ("f", "2", 2.0),
        ("b", "yes", True),
        ("b", "false", False),
        ("t", "1.10", "1.10"),
        ("t", "true", "true"),
        ("c", "007", "007"),
        ("free", "12", 12),
        ("free", "true", True),
        ("free", "calm", "calm"),
        ("free", "NaN", "NaN"),
    ],
)
def test_words_become_what_their_placeholder_takes(name: str, word: str, value: object) -> None:
    found = typed_words({name: word}, NEEDS)[name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", "wide"),
        ("n", "1.5"),
        ("n", True),
        ("n", 1.5),
        ("f", "calm"),
        ("f", "inf"),
        ("b", "perhaps"),
        ("b", 7),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_variable(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"The variable {name} ") as caught:
        typed({name: value}, NEEDS)
    assert caught.value.hint


def test_values_of_other_kinds_are_made_to_fit_without_loss() -> None:
    assert typed({"t": 4, "c": True, "n": 3.0, "f": 2, "b": 1}, NEEDS) == {
        "t": "4", "c": "true", "n": 3, "f": 2, "b": True,
    }  # fmt: skip
