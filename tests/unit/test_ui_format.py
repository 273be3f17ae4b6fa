"""From the editor's format to the server's: what the editor's own export would hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.editor import DECLARED, Canvas

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.ui_format import convert
from persona_tui.services.generation.ui_graph import is_ui_format

NEVER, BYPASS = 2, 4


def workflow(document: dict[str, Any]) -> dict[str, Any]:
    """The converted workflow, as JSON gives it back."""
    found: dict[str, Any] = json.loads(json.dumps(convert(document, DECLARED).workflow))
    return found


def inputs(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Node → inputs of the converted workflow."""
    return {node: entry["inputs"] for node, entry in workflow(document).items()}


def simple(**sampler: Any) -> Canvas:
    """Loader → sampler → decoder → file."""
    drawn = Canvas()
    drawn.node(1, "Loader", "a.safetensors", outputs=["MODEL"])
    values = {"values": [7, "randomize", 12, "heun", 0.5], **sampler}
    drawn.node(2, "Sampler", inputs={"model": (1, 0, "MODEL")}, outputs=["LATENT"], **values)
    drawn.node(3, "Decode", inputs={"samples": (2, 0, "LATENT")}, outputs=["IMAGE"])
    drawn.node(4, "Save", "mine", inputs={"images": (3, 0, "IMAGE")})
    return drawn


def test_values_go_to_their_inputs_and_the_word_behind_the_seed_is_no_value() -> None:
    made = workflow(simple().file())
    assert made["2"] == {
        "class_type": "Sampler",
        "inputs": {"model": ["1", 0], "seed": 7, "steps": 12, "kind": "heun", "denoise": 0.5},
        "_meta": {"title": "A Sampler"},
    }
    assert made["1"]["inputs"] == {"name": "a.safetensors"}
    assert made["4"]["inputs"] == {"images": ["3", 0], "prefix": "mine"}


def test_a_seed_is_known_by_its_name_and_a_missing_word_is_no_harm() -> None:
    drawn = Canvas()
    drawn.node(1, "Noise", 5, "fixed", 128)
    drawn.node(2, "Noise", 5, 128)
    assert inputs(drawn.file()) == {n: {"noise_seed": 5, "size": 128} for n in "12"}


def test_values_by_name_are_read_and_what_is_not_saved_has_its_default() -> None:
    made = inputs(simple(values={"seed": 3, "kind": "euler"}).file())["2"]
    assert (made["seed"], made["steps"], made["kind"], made["denoise"]) == (3, 20, "euler", 1.0)
    assert inputs(simple(values=[3]).file())["2"]["steps"] == 20


def test_names_count_where_the_places_have_moved() -> None:
    named = {"seed": 7, "steps": 12, "kind": "heun", "denoise": 0.5}
    moved = simple(values=["karras", 7, "randomize", 12, "heun", 0.5], widgets_values_named=named)
    assert inputs(moved.file())["2"] == {"model": ["1", 0], **named}


def test_placeholders_stay_as_they_are_written() -> None:
    values = ["{{seed}}", "randomize", "{{steps}}", "heun", 0.5]
    made = inputs(simple(values=values).file())["2"]
    assert (made["seed"], made["steps"]) == ("{{seed}}", "{{steps}}")


def test_a_value_that_became_an_input_is_linked_or_keeps_its_value() -> None:
    drawn = simple()
    drawn.node(5, "Text", "a // comment\nb /* c */ d", outputs=["STRING"])
    drawn.node(6, "Text", "mine", inputs={"*text": (5, 0, "STRING")}, outputs=["STRING"])
    drawn.node(7, "Text", "mine", inputs={"*text": None}, outputs=["STRING"])
    made = inputs(drawn.file())
    assert (made["6"]["text"], made["7"]["text"]) == (["5", 0], "mine")
    assert made["5"]["text"] == "a \nb  d"


def test_reroutes_and_notes_go_and_titles_stay() -> None:
    drawn = Canvas()
    drawn.node(1, "Loader", "a.safetensors", title="My model", outputs=["MODEL"])
    drawn.node(10, "Reroute", inputs={"": (1, 0, "*")}, outputs=["MODEL"])
    drawn.node(11, "Reroute", inputs={"": (10, 0, "*")}, outputs=["MODEL"])
    drawn.node(2, "Sampler", 1, "fixed", inputs={"model": (11, 0, "MODEL")})
    drawn.node(12, "Note", "read me")
    drawn.node(13, "MarkdownNote", "# read me")
    made = workflow(drawn.file())
    assert sorted(made) == ["1", "2"]
    assert made["2"]["inputs"]["model"] == ["1", 0]
    assert made["1"]["_meta"] == {"title": "My model"}


def test_a_primitive_gives_its_value_to_all_that_hang_on_it() -> None:
    drawn = simple()
    drawn.node(8, "PrimitiveNode", 99, "randomize", outputs=["INT"])
    drawn.node(5, "Noise", 1, "fixed", 2, inputs={"*noise_seed": (8, 0, "INT"), "*size": (8, 0, "INT")})
    assert inputs(drawn.file())["5"] == {"noise_seed": 99, "size": 99}


def test_links_without_a_line_are_followed_by_their_name() -> None:
    drawn = Canvas()
    drawn.node(1, "Loader", "a.safetensors", outputs=["MODEL"])
    drawn.node(8, "SetNode", "m", inputs={"MODEL": (1, 0, "MODEL")}, outputs=["*"])
    drawn.node(9, "GetNode", "m", outputs=["MODEL"])
    drawn.node(2, "Sampler", 1, "fixed", inputs={"model": (9, 0, "MODEL")})
    assert inputs(drawn.file())["2"]["model"] == ["1", 0]


def patched(mode: int, **inputs_of_patch: Any) -> dict[str, Any]:
    """A node between loader and sampler, and one that takes its picture, in a mode."""
    drawn = Canvas()
    drawn.node(1, "Loader", "a.safetensors", outputs=["MODEL"])
    drawn.node(3, "Decode", outputs=["IMAGE"])
    linked = inputs_of_patch or {"image": (3, 0, "IMAGE"), "model": (1, 0, "MODEL")}
    drawn.node(5, "Patch", 0.5, mode=mode, inputs=linked, outputs=["MODEL", "IMAGE"])
    drawn.node(2, "Sampler", 1, "fixed", inputs={"model": (5, 0, "MODEL")})
    drawn.node(4, "Save", "x", inputs={"images": (5, 1, "IMAGE")})
    return inputs(drawn.file())


def test_a_bypassed_node_passes_on_what_fits_by_type() -> None:
    made = patched(BYPASS)
    assert "5" not in made
    assert made["2"]["model"] == ["1", 0]
    assert made["4"]["images"] == ["3", 0]


def test_a_bypassed_node_without_a_fitting_input_passes_on_nothing() -> None:
    made = patched(BYPASS, image=(3, 0, "IMAGE"))
    assert "model" not in made["2"]
    assert made["4"]["images"] == ["3", 0]


def test_a_muted_node_goes_with_the_links_to_it() -> None:
    made = patched(NEVER)
    assert "5" not in made
    assert "model" not in made["2"]
    assert made["4"] == {"prefix": "x"}


def test_the_inputs_of_a_dynamic_choice_follow_it() -> None:
    drawn = Canvas()
    drawn.node(1, "Resize", "by", 1.5, "lanczos")
    drawn.node(2, "Resize", "to", 64, 80, "area")
    drawn.node(3, "Resize", values={"how": "to", "how.width": 9, "how.height": 8, "method": "area"})
    made = inputs(drawn.file())
    assert made["1"] == {"how": "by", "how.factor": 1.5, "method": "lanczos"}
    assert made["2"] == {"how": "to", "how.width": 64, "how.height": 80, "method": "area"}
    assert made["3"] == {"how": "to", "how.width": 9, "how.height": 8, "method": "area"}


def test_a_list_that_is_a_value_is_not_taken_for_a_link() -> None:
    drawn = Canvas()
    drawn.node(1, "Points", [1, 2], 1.0)
    assert inputs(drawn.file())["1"] == {"points": {"__value__": [1, 2]}, "scale": 1.0}


def nested(**host: Any) -> dict[str, Any]:
    """A sampler two subgraphs deep, its seed and steps promoted to the outside."""
    inner = Canvas()
    inner.node(1, "Sampler", 5, "fixed", 6, "euler", 1.0,
               inputs={"model": (-10, 0, "MODEL"), "*seed": (-10, 1, "INT"), "*steps": (-10, 2, "INT")},
               outputs=["LATENT"])  # fmt: skip
    inner.link(1, 0, -20, 0, "LATENT")
    outer = Canvas()
    outer.node(1, "inner-id", values=[],
               inputs={"model": (-10, 0, "MODEL"), "*seed": (-10, 1, "INT"), "*steps": (-10, 2, "INT")},
               outputs=["LATENT"])  # fmt: skip
    outer.node(2, "Decode", inputs={"samples": (1, 0, "LATENT")}, outputs=["IMAGE"])
    outer.link(2, 0, -20, 0, "IMAGE")
    outer.link(-10, 0, -20, 1, "MODEL")
    drawn = Canvas()
    drawn.node(1, "Loader", "a.safetensors", outputs=["MODEL"])
    drawn.node(9, "Noise", 1, "fixed", 2, outputs=["LATENT"])
    more = {"inputs": {"model": (1, 0, "MODEL"), "*seed": None, "*steps": None}, "values": [], **host}
    drawn.node(2, "outer-id", outputs=["IMAGE", "MODEL"], **more)
    drawn.node(3, "Save", "x", inputs={"images": (2, 0, "IMAGE")})
    drawn.node(4, "Patch", 1.0, inputs={"model": (2, 1, "MODEL"), "image": (2, 0, "IMAGE")})
    names = ["model", "seed", "steps"]
    subgraphs = [
        outer.subgraph("outer-id", names, ["image", "model"]),
        inner.subgraph("inner-id", names, ["latent"]),
    ]
    return drawn.file(definitions={"subgraphs": subgraphs})


def test_subgraphs_are_laid_out_however_deep_and_their_links_lead_through() -> None:
    made = workflow(nested())
    assert sorted(made) == ["1", "2:1:1", "2:2", "3", "4", "9"]
    assert made["2:1:1"]["inputs"] == {
        "model": ["1", 0], "seed": 5, "steps": 6, "kind": "euler", "denoise": 1.0,
    }  # fmt: skip
    assert made["2:2"]["inputs"]["samples"] == ["2:1:1", 0]
    assert made["3"]["inputs"]["images"] == ["2:2", 0]
    assert made["4"]["inputs"]["model"] == ["1", 0]


def test_promoted_values_of_a_subgraph_win_and_null_means_as_inside() -> None:
    assert inputs(nested(values=[77, None]))["2:1:1"]["seed"] == 77
    assert inputs(nested(values=[77, None]))["2:1:1"]["steps"] == 6
    assert inputs(nested(widgets_values_named={"steps": 40}))["2:1:1"]["steps"] == 40


def test_a_promoted_value_may_be_linked_from_outside() -> None:
    linked = {"model": (1, 0, "MODEL"), "*seed": (9, 0, "INT"), "*steps": None}
    assert inputs(nested(inputs=linked, values=[77, 3]))["2:1:1"]["seed"] == ["9", 0]


def test_proxy_widgets_reach_a_node_inside_and_a_subgraph_inside() -> None:
    proxies = {"proxyWidgets": [["1", "steps"], ["-1", "seed"]]}
    made = inputs(nested(properties=proxies, values=[31, 77]))["2:1:1"]
    assert (made["steps"], made["seed"]) == (31, 77)


def test_two_uses_of_a_subgraph_hold_their_own_values() -> None:
    inside = Canvas()
    inside.node(1, "Noise", 1, "fixed", 2)
    drawn = Canvas()
    for number in (1, 2):
        proxies = {"proxyWidgets": [["1", "size"]]}
        drawn.node(number, "n", number * 100, properties=proxies)
    made = inputs(drawn.file(definitions={"subgraphs": [inside.subgraph("n", [], [])]}))
    assert {node: entry["size"] for node, entry in made.items()} == {"1:1": 100, "2:1": 200}


@pytest.mark.parametrize(("mode", "images"), [(NEVER, None), (BYPASS, None)])
def test_a_subgraph_that_does_not_run_is_not_laid_out(mode: int, images: None) -> None:
    made = inputs(nested(mode=mode))
    assert sorted(made) == ["1", "3", "4", "9"]
    assert made["3"].get("images") is images
    assert made["4"].get("model") == (["1", 0] if mode == BYPASS else None)


def test_what_only_the_editor_does_is_told() -> None:
    drawn = simple()
    drawn.node(7, "Text", "a {red|blue} jug, {{prompt}}")
    drawn.node(8, "Save", "%date:yyyy-MM%/x", inputs={"images": (3, 0, "IMAGE")})
    drawn.node(9, "Fast Groups Muter", "x")
    made = convert(drawn.file(), DECLARED)
    told = " ".join(made.warnings)
    assert "Node 7, input text: {red|blue} is a choice" in told
    assert "only the editor fills %date:yyyy-MM%" in told
    assert "Node 9, Fast Groups Muter, was left out" in told
    assert "9" not in made.workflow


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nodes": [{"id": 1}]}, "a node has no id or no type"),
        ({"nodes": [{"id": 1, "type": "Save"}, {"id": 1, "type": "Save"}]}, "two nodes have the id 1"),
        ({"links": [[1, 2]]}, "a link does not say from where"),
        ({"nodes": [7]}, "a node is no object"),
        ({"definitions": {"subgraphs": [{}]}}, "a subgraph has no id"),
    ],
)
def test_a_file_that_is_not_as_the_editor_saves_it_is_told(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        convert({**simple().file(), **change}, DECLARED)
    assert caught.value.hint


def test_an_unknown_class_is_told_with_the_nearest_ones() -> None:
    drawn = simple()
    drawn.node(5, "Sampllr", 1, 2, inputs={"model": (1, 0, "MODEL")})
    with pytest.raises(InvalidRequest, match="Node 5 is of the class Sampllr") as caught:
        convert(drawn.file(), DECLARED)
    assert "Sampler" in caught.value.hint


def test_an_unknown_class_whose_values_are_named_is_kept_for_the_check() -> None:
    drawn = simple()
    drawn.node(
        5, "Other", 1, "randomize", "b", inputs={"*seed": None, "*kind": None, "model": (1, 0, "MODEL")}
    )
    assert inputs(drawn.file())["5"] == {"seed": 1, "kind": "b", "model": ["1", 0]}


def test_a_group_node_of_older_files_is_told() -> None:
    drawn = simple()
    drawn.node(5, "workflow>mine", inputs={"model": (1, 0, "MODEL")}, values=[1])
    with pytest.raises(InvalidRequest, match="a group node of older files"):
        convert(drawn.file(), DECLARED)


def test_circles_and_endless_subgraphs_end_in_a_sentence() -> None:
    drawn = Canvas()
    drawn.node(1, "Reroute", inputs={"": (2, 0, "*")})
    drawn.node(2, "Reroute", inputs={"": (1, 0, "*")})
    drawn.node(3, "Decode", inputs={"samples": (2, 0, "LATENT")})
    with pytest.raises(InvalidRequest, match="run in a circle"):
        convert(drawn.file(), DECLARED)
    inside = Canvas()
    inside.node(1, "me")
    inside.node(2, "me")
    drawn = Canvas()
    drawn.node(1, "me")
    with pytest.raises(InvalidRequest, match="too deeply"):
        convert(drawn.file(definitions={"subgraphs": [inside.subgraph("me", [], [])]}), DECLARED)


def test_two_thousand_nodes_in_a_row_are_no_matter() -> None:
    drawn = Canvas()
    drawn.node(1, "Loader", "a.safetensors", outputs=["MODEL"])
    for number in range(2, 2002):
        drawn.node(number, "Reroute", inputs={"": (number - 1, 0, "*")})
    drawn.node(3000, "Sampler", 1, "fixed", inputs={"model": (2001, 0, "MODEL")})
    assert inputs(drawn.file())["3000"]["model"] == ["1", 0]


def test_the_two_formats_are_told_apart() -> None:
    assert is_ui_format(simple().file())
    assert not is_ui_format(workflow(simple().file()))
    assert not is_ui_format([])
