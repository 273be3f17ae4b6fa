"""Where a run's LoRAs go in a workflow: every shape that loaders, LoRAs and branches take."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
from tests.support.comfyui import node

from persona_tui.errors import InvalidRequest
from persona_tui.services.generation.injection import (
    fits,
    inject,
    listed_as,
    missing_loras,
    placed_positions,
    with_listed_names,
)
from persona_tui.services.generation.lora_use import LoraUse, lora_variables, trigger_word
from persona_tui.services.generation.model_flow import branches
from persona_tui.services.generation.template import fill

Graph = dict[str, Any]


def use(name: str = "mira", position: int = 1, family: str = "flux", **changes: Any) -> LoraUse:
    facts: dict[str, Any] = {
        "lora_model_id": position, "position": position, "name": name, "version": 2,
        "model_type": "character", "family": family, "trigger_word": "", "weight": 0.8,
        "file_name": f"{name}.safetensors", "sha256": "ab" * 32,
    }  # fmt: skip
    return LoraUse(**{**facts, **changes})


def flux(**changes: Any) -> Graph:
    """UNETLoader and two text encoders, as FLUX workflows have them."""
    return {
        "1": node("UNETLoader", unet_name="flux1-dev.safetensors", weight_dtype="default"),
        "2": node("DualCLIPLoader", clip_name1="clip_l", clip_name2="t5", type="flux"),
        "3": node("CLIPTextEncode", text="{{prompt}}", clip=["2", 0]),
        "5": node("KSampler", model=["1", 0], positive=["3", 0], negative=["3", 0], seed=1),
        "9": node("SaveImage", images=["5", 0], filename_prefix="x"),
        **changes,
    }


def checkpoint(name: str = "sd_xl_base_1.0.safetensors", **changes: Any) -> Graph:
    """One file that brings model, text encoder and VAE."""
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name=name),
        "6": node("CLIPTextEncode", text="{{prompt}}", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="", clip=["4", 1]),
        "3": node("KSampler", model=["4", 0], positive=["6", 0], negative=["7", 0], seed=1),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="x"),
        **changes,
    }


def added(graph: Graph, template: Graph) -> Graph:
    return {key: entry for key, entry in graph.items() if key not in template}


def way(graph: Graph, start: str, link: str = "model") -> list[str]:
    """The classes (LoRAs with their file) over which a model or text encoder came to a node's input."""
    found = []
    node_id = start
    while link in graph[node_id]["inputs"]:
        node_id = graph[node_id]["inputs"][link][0]
        entry = graph[node_id]
        found.append(str(entry["inputs"].get("lora_name", entry["class_type"])))
    return found


def put_in(template: Graph, *loras: LoraUse) -> Graph:
    before = copy.deepcopy(template)
    graph = inject(template, template, loras)
    assert template == before, "the template was changed"
    for entry in graph.values():
        for value in entry["inputs"].values():
            assert not isinstance(value, list) or value[0] in graph, "a link leads nowhere"
    return graph


def test_flux_gets_its_loras_behind_the_loader_for_the_model_alone() -> None:
    template = flux()
    graph = put_in(template, use(), use("ink", 2, weight=0.4, model_type="style"))
    assert way(graph, "5") == ["ink.safetensors", "mira.safetensors", "UNETLoader"]
    assert added(graph, template) == {
        "10": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": "mira.safetensors", "strength_model": 0.8, "model": ["1", 0]},
            "_meta": {"title": "persona-tui: mira@2"},
        },
        "11": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.4, "model": ["10", 0]},
            "_meta": {"title": "persona-tui: ink@2"},
        },
    }
    assert graph["3"] == template["3"]


def test_a_checkpoint_gets_them_for_model_and_text_encoder() -> None:
    graph = put_in(checkpoint(), use(family="sdxl"))
    (new,) = added(graph, checkpoint()).items()
    assert new[1]["class_type"] == "LoraLoader"
    assert new[1]["inputs"] == {
        "lora_name": "mira.safetensors", "strength_model": 0.8, "strength_clip": 0.8,
        "model": ["4", 0], "clip": ["4", 1],
    }  # fmt: skip
    assert [graph[one]["inputs"]["clip"] for one in ("6", "7")] == [[new[0], 1], [new[0], 1]]
    assert graph["3"]["inputs"]["model"] == [new[0], 0]
    assert graph["8"]["inputs"]["vae"] == ["4", 2]


def test_a_flux_checkpoint_gets_them_for_the_model_alone() -> None:
    graph = put_in(checkpoint("flux1-dev-fp8.safetensors"), use())
    assert [entry["class_type"] for entry in added(graph, checkpoint()).values()] == ["LoraLoaderModelOnly"]
    assert graph["6"]["inputs"]["clip"] == ["4", 1]


def test_a_checkpoint_whose_text_encoder_nobody_uses_gets_them_for_the_model_alone() -> None:
    template = checkpoint()
    template["10"] = node("CLIPLoader", clip_name="clip", type="stable_diffusion")
    for one in ("6", "7"):
        template[one]["inputs"]["clip"] = ["10", 0]
    graph = put_in(template, use(family="sdxl"))
    assert [entry["class_type"] for entry in added(graph, template).values()] == ["LoraLoaderModelOnly"]


def test_a_speed_lora_stays_and_ours_come_after_it() -> None:
    template = flux(
        **{
            "20": node("LoraLoaderModelOnly", model=["1", 0], lora_name="turbo.st", strength_model=1.0),
            "5": node("KSampler", model=["20", 0], positive=["3", 0], negative=["3", 0], seed=1),
        }
    )
    graph = put_in(template, use())
    assert way(graph, "5") == ["mira.safetensors", "turbo.st", "UNETLoader"]
    assert graph["20"] == template["20"]


def test_a_speed_lora_for_the_model_alone_in_a_checkpoints_chain() -> None:
    template = checkpoint(
        **{
            "20": node("LoraLoaderModelOnly", model=["4", 0], lora_name="turbo.st", strength_model=1.0),
            "3": node("KSampler", model=["20", 0], positive=["6", 0], negative=["7", 0], seed=1),
        }
    )
    graph = put_in(template, use(family="sdxl"))
    assert way(graph, "3") == ["mira.safetensors", "turbo.st", "CheckpointLoaderSimple"]
    assert way(graph, "6", "clip") == ["mira.safetensors", "CheckpointLoaderSimple"]


def test_a_lora_loader_with_a_text_encoder_of_its_own_is_followed() -> None:
    template = checkpoint(
        **{
            "20": node(
                "LoraLoader",
                model=["4", 0],
                clip=["4", 1],
                lora_name="ink.st",
                strength_model=1,
                strength_clip=1,
            ),
            "6": node("CLIPTextEncode", text="", clip=["20", 1]),
            "3": node("KSampler", model=["20", 0], positive=["6", 0], negative=["7", 0], seed=1),
        }
    )
    graph = put_in(template, use(family="sdxl"))
    assert way(graph, "3") == ["mira.safetensors", "ink.st", "CheckpointLoaderSimple"]
    assert way(graph, "6", "clip") == ["mira.safetensors", "ink.st", "CheckpointLoaderSimple"]
    assert way(graph, "7", "clip") == ["mira.safetensors", "CheckpointLoaderSimple"]


def test_a_lora_behind_another_node_is_still_the_last_one() -> None:
    template = flux(
        **{
            "20": node("ModelSamplingFlux", model=["1", 0], max_shift=1.15),
            "21": node("LoraLoaderModelOnly", model=["20", 0], lora_name="turbo.st", strength_model=1.0),
            "5": node("KSampler", model=["21", 0], positive=["3", 0], negative=["3", 0], seed=1),
        }
    )
    graph = put_in(template, use())
    assert way(graph, "5") == ["mira.safetensors", "turbo.st", "ModelSamplingFlux", "UNETLoader"]


def test_every_way_of_a_forked_model_gets_them_once() -> None:
    template = flux(
        **{
            "20": node("LoraLoaderModelOnly", model=["1", 0], lora_name="turbo.st", strength_model=1.0),
            "5": node("KSampler", model=["20", 0], positive=["3", 0], negative=["3", 0], seed=1),
            "30": node("KSampler", model=["1", 0], positive=["3", 0], negative=["3", 0], seed=2),
            "31": node("BasicScheduler", model=["1", 0], steps=4),
        }
    )
    graph = put_in(template, use())
    assert way(graph, "5") == ["mira.safetensors", "turbo.st", "UNETLoader"]
    assert way(graph, "30") == way(graph, "31") == ["mira.safetensors", "UNETLoader"]
    assert len(added(graph, template)) == 2


def test_base_and_refiner_each_get_them() -> None:
    template = checkpoint(
        **{
            "40": node("CheckpointLoaderSimple", ckpt_name="sd_xl_refiner_1.0.safetensors"),
            "41": node("CLIPTextEncode", text="", clip=["40", 1]),
            "42": node("KSampler", model=["40", 0], positive=["41", 0], negative=["41", 0], seed=1),
        }
    )
    graph = put_in(template, use(family="sdxl"))
    assert way(graph, "3")[0] == way(graph, "42")[0] == "mira.safetensors"
    assert way(graph, "41", "clip")[0] == "mira.safetensors"


def test_a_branch_of_another_family_is_left_alone() -> None:
    template = flux(
        **{
            "40": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
            "42": node("KSampler", model=["40", 0], positive=["3", 0], negative=["3", 0], seed=1),
        }
    )
    graph = put_in(template, use())
    assert way(graph, "5") == ["mira.safetensors", "UNETLoader"]
    assert way(graph, "42") == ["CheckpointLoaderSimple"]


def test_two_models_merged_before_a_lora_get_one_chain() -> None:
    template = flux(
        **{
            "11": node("UNETLoader", unet_name="flux1-krea.safetensors"),
            "12": node("ModelMergeSimple", model1=["1", 0], model2=["11", 0], ratio=0.5),
            "13": node("LoraLoaderModelOnly", model=["12", 0], lora_name="turbo.st", strength_model=1.0),
            "5": node("KSampler", model=["13", 0], positive=["3", 0], negative=["3", 0], seed=1),
        }
    )
    graph = put_in(template, use())
    assert graph["5"]["inputs"]["model"][0] in added(graph, template)
    assert len(added(graph, template)) == 1


@pytest.mark.parametrize("kind", ["UnetLoaderGGUF", "UnetLoaderGGUFAdvanced", "NunchakuFluxDiTLoader"])
def test_loaders_of_custom_nodes_are_known(kind: str) -> None:
    name = {"model_path" if "Nunchaku" in kind else "unet_name": "flux1-dev-Q8_0.gguf"}
    graph = put_in(flux(**{"1": node(kind, **name)}), use())
    assert way(graph, "5") == ["mira.safetensors", kind]


def test_other_models_are_no_branches() -> None:
    template = {
        "1": node("UpscaleModelLoader", model_name="4x.pth"),
        "2": node("ImageUpscaleWithModel", upscale_model=["1", 0], image=["3", 0]),
        "3": node("LoadImage", image="{{parent_image}}"),
        "9": node("SaveImage", images=["2", 0], filename_prefix="x"),
    }
    assert branches(template) == ()
    assert put_in(template, use()) == template
    (found,) = fits(template, [use()])
    assert (found.is_used, found.reason) == (False, "the workflow loads no model that takes LoRAs")


def test_new_nodes_have_ids_of_their_own_whatever_the_others_are_called() -> None:
    template = flux(**{"57:8": node("Note"), "b": node("Note"), "90071992547409930000": node("Note")})
    assert set(added(put_in(template, use()), template)) == {"10"}


def test_a_lora_of_weight_0_changes_nothing() -> None:
    assert put_in(flux(), use(weight=0.0)) == flux()
    assert inject(flux(), flux(), ()) == flux()


def test_a_workflow_that_places_a_lora_itself_gets_only_the_further_ones() -> None:
    template = flux(
        **{
            "20": node(
                "LoraLoaderModelOnly",
                model=["1", 0],
                lora_name="{{lora_path}}",
                strength_model="{{lora_weight}}",
            ),
            "5": node("KSampler", model=["20", 0], positive=["3", 0], negative=["3", 0], seed=1),
        }
    )
    loras = [use(listed="sub\\mira.safetensors"), use("ink", 2)]
    assert placed_positions(template) == {1}
    filled = fill(template, {"prompt": "x", **lora_variables(loras)})
    graph = inject(template, filled, loras)
    assert way(graph, "5") == ["ink.safetensors", "sub\\mira.safetensors", "UNETLoader"]
    assert graph["20"]["inputs"]["strength_model"] == 0.8


def test_a_second_place_stays_empty_only_with_an_error() -> None:
    template = flux(
        **{"20": node("LoraLoaderModelOnly", model=["1", 0], lora_name="{{lora_2_path}}", strength_model=1)}
    )
    assert placed_positions(template) == {2}
    with pytest.raises(InvalidRequest, match=r"Node 20, input lora_name: the variable \{\{lora_2_path\}\}"):
        fill(template, {"prompt": "x", **lora_variables([use()])})
    assert fill(template, {"prompt": "x", **lora_variables([use(), use("ink", 2)])})


@pytest.mark.parametrize(
    ("template", "family", "edits"),
    [
        (flux(), "flux", False),
        (flux(**{"1": node("UNETLoader", unet_name="my_own.safetensors")}), "flux", False),
        (flux(**{"1": node("UNETLoader", unet_name="flux1-kontext-dev.safetensors")}), "flux", True),
        (flux(**{"1": node("UNETLoader", unet_name="flux2_dev_fp8.safetensors")}), "flux2", False),
        (
            flux(**{"1": node("UNETLoader", unet_name="qwen_image_fp8_e4m3fn.safetensors")}),
            "qwen-image",
            False,
        ),
        (flux(**{"1": node("UNETLoader", unet_name="qwen_image_edit_2511.safetensors")}), "qwen-image", True),
        (checkpoint(), "sdxl", False),
        (checkpoint("v1-5-pruned-emaonly-fp16.safetensors"), "sd15", False),
        (checkpoint("tiny.safetensors"), None, False),
        (checkpoint("tiny.safetensors", **{"6": node("CLIPTextEncodeSDXL", clip=["4", 1])}), "sdxl", False),
        (checkpoint("tiny.safetensors", **{"5": node("EmptySD3LatentImage", width=64)}), None, False),
    ],
)
def test_the_workflows_family_is_read_from_files_and_classes(
    template: Graph, family: str | None, edits: bool
) -> None:
    (found,) = branches(template)
    assert (found.family, found.edits) == (family, edits)


def reasons(template: Graph, loras: Sequence[LoraUse]) -> list[tuple[bool, str]]:
    return [(found.is_used, found.reason) for found in fits(template, loras)]


def test_what_does_not_fit_is_left_out_with_a_reason() -> None:
    editor = use("angles", 2, model_type="editor")
    assert reasons(flux(), [use(family="sdxl"), editor]) == [
        (False, "the LoRA is for sdxl, the workflow for flux"),
        (False, "it is an editor's LoRA, and the workflow does not edit pictures"),
    ]
    kontext = flux(**{"1": node("UNETLoader", unet_name="flux1-kontext-dev.safetensors")})
    assert reasons(kontext, [editor]) == [(True, "")]
    unsure = (True, "whether it fits the workflow's model is not known")
    assert reasons(checkpoint("tiny.safetensors"), [use()]) == [unsure]
    assert reasons(flux(), [use(family="unknown")]) == [unsure]


LISTED = ("sub\\Mira.safetensors", "style/ink.safetensors", "deep/er/ink.safetensors", "turbo.st")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mira.safetensors", "sub\\Mira.safetensors"),
        ("sub/mira.safetensors", "sub\\Mira.safetensors"),
        ("ink.safetensors", "style/ink.safetensors"),
        ("deep\\er\\ink.safetensors", "deep/er/ink.safetensors"),
        ("elsewhere/turbo.st", "turbo.st"),
        ("nils.safetensors", None),
    ],
)
def test_names_are_found_in_the_servers_own_list(name: str, found: str | None) -> None:
    assert listed_as(name, LISTED) == found
    assert missing_loras([name], LISTED) == (() if found else (name,))


def test_the_workflows_own_loras_get_the_servers_spelling() -> None:
    template = flux(
        **{"20": node("LoraLoaderModelOnly", model=["1", 0], lora_name="sub/mira.safetensors")},
        **{"21": node("LoraLoaderModelOnly", model=["20", 0], lora_name="nils.safetensors")},
        **{"22": node("LoraLoaderModelOnly", model=["20", 0], lora_name="{{lora_path}}")},
    )
    spelled = with_listed_names(template, LISTED)
    names = [spelled[one]["inputs"]["lora_name"] for one in ("20", "21", "22")]
    assert names == ["sub\\Mira.safetensors", "nils.safetensors", "{{lora_path}}"]


def test_the_first_trigger_word_of_a_lora_goes_before_the_personas() -> None:
    assert trigger_word([use(), use("ink", 2, trigger_word="inkwash")], "ohwx") == "inkwash"
    assert trigger_word([use()], "ohwx") == "ohwx"
