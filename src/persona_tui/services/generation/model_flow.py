"""Where a model flows through a ComfyUI graph: from its loaders, over LoRAs, to what uses it.

A graph in API format does not say of which type a link is; names of classes and inputs do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from persona_tui.passed import Workflow
from persona_tui.services.generation.template import is_link
from persona_tui.services.loras.families import Family, family_named, is_editor_name

Output: TypeAlias = tuple[str, int]
"""A node and the number of one of its outputs."""

_MODEL_INPUT = re.compile(r"model([12]|_[ab])?$")
_LOADER = re.compile(
    r"checkpoint|ckpt|unet|diffusion_?model|dit.?loader|diffusersloader|^load.*diffusion", re.IGNORECASE
)
_OTHER_MODEL = re.compile(r"upscale|vision|control|style|patch|face|sam\b|gligen", re.IGNORECASE)
_WITH_CLIP = re.compile(r"checkpoint|ckpt|diffusersloader", re.IGNORECASE)
_PIPE_INPUT = re.compile(r"((sd)?xl_?)?pipe(line)?$|unet$|transformer$|diffusion", re.IGNORECASE)
_DRAWING_CLASS = re.compile(r"sampler|diffus|pipe|generat|t2i|txt2img|text.?to.?image", re.IGNORECASE)
_MODEL_FILE = re.compile(r"\.(safetensors|sft|ckpt|gguf|pth?|bin|onnx|engine)$", re.IGNORECASE)
_FILE_INPUTS = ("unet_name", "ckpt_name", "model_name", "model_path", "model")
_EDIT_CLASS = re.compile(r"QwenImageEdit|Kontext|ReferenceLatent|InstructPixToPix", re.IGNORECASE)
_CLASS_FAMILIES: tuple[tuple[str, Family], ...] = (
    (r"Flux2", "flux2"),
    (r"QwenImage", "qwen-image"),
    (r"Flux", "flux"),
    (r"SDXL", "sdxl"),
    (r"SD3", "sd3"),
    (r"^Wan", "wan"),
)
_AMBIGUOUS_CLASSES = frozenset({"EmptySD3LatentImage", "ModelSamplingSD3"})
"""Named after SD3, used with FLUX and Qwen-Image as well."""
_CLIP_TYPES: Mapping[str, Family] = {
    "flux": "flux",
    "flux2": "flux2",
    "qwen_image": "qwen-image",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "wan": "wan",
    "stable_diffusion": "sd15",
}
MODEL_ONLY: frozenset[str] = frozenset({"flux", "flux2", "qwen-image", "qwen-image-2.1", "wan", "z-image"})
"""Families whose text encoders no LoRA changes."""


@dataclass(frozen=True)
class Consumer:
    """An input that takes an output."""

    node: str
    input: str


@dataclass(frozen=True)
class Branch:
    """One way of a model: what loads it, and where it leaves the chain of LoRAs.

    Attributes:
        loader: the node that loads it.
        family: of its base model; None where nothing tells.
        edits: it is a model that edits pictures.
        tails: the last outputs of the chain, each with what uses it from there.
        clip_tails: the same of the text encoder, where it comes from the same loader or along with LoRAs.
    """

    loader: str
    family: Family | None
    edits: bool
    tails: Mapping[Output, tuple[Consumer, ...]]
    clip_tails: Mapping[Output, tuple[Consumer, ...]]


def is_lora_loader(entry: Mapping[str, Any]) -> bool:
    """Whether a node applies LoRAs to a model that comes in."""
    kind = str(entry.get("class_type", ""))
    return "lora" in kind.lower() and is_link(_inputs(entry).get("model"))


def branches(workflow: Workflow) -> tuple[Branch, ...]:
    """Every model branch of a workflow, in the order of its loaders."""
    flow = _Flow(workflow)
    return tuple(branch for loader in flow.loaders() if (branch := flow.branch(loader)).tails)


def loads_model(workflow: Workflow) -> bool:
    """Whether anything tells of a model that draws, be it loaded in a way that `branches` does not know.

    What only enlarges, blends or restores pictures draws nothing.
    """
    return any(_tells_of_model(entry) for entry in workflow.values())


def _tells_of_model(entry: Mapping[str, Any]) -> bool:
    kind = str(entry.get("class_type", ""))
    if any(
        is_link(value) and (_MODEL_INPUT.match(name) or _PIPE_INPUT.match(name))
        for name, value in _inputs(entry).items()
    ):
        return True
    if _OTHER_MODEL.search(kind):
        return False
    named = (value for value in _inputs(entry).values() if isinstance(value, str))
    return _DRAWING_CLASS.search(kind) is not None or any(map(_MODEL_FILE.search, named))


def _inputs(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    given = entry.get("inputs")
    return given if isinstance(given, Mapping) else {}


class _Flow:
    """The links of one graph."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._consumers: dict[Output, list[Consumer]] = {}
        for node, entry in workflow.items():
            for name, value in _inputs(entry).items():
                if is_link(value):
                    self._consumers.setdefault((value[0], value[1]), []).append(Consumer(node, name))
        self._carriers = self._find_carriers()

    def loaders(self) -> Iterator[str]:
        """Nodes that bring a model into the graph: something takes it as `model`, and none comes in."""
        for node, entry in self._workflow.items():
            kind = str(entry.get("class_type", ""))
            takes_model = any(_MODEL_INPUT.match(name) and is_link(v) for name, v in _inputs(entry).items())
            gives_model = any(
                _MODEL_INPUT.match(consumer.input) for consumer in self._consumers.get((node, 0), ())
            )
            named = _LOADER.search(kind) and not _OTHER_MODEL.search(kind)
            if gives_model and not takes_model and named:
                yield node

    def branch(self, loader: str) -> Branch:
        """The way of the model that this node loads."""
        entry = self._workflow[loader]
        words = _file_words(entry)
        family = family_named(words) or self._family_of_graph()
        kind = str(entry.get("class_type", ""))
        outputs = self._model_outputs(loader)
        clips = self._clip_outputs(loader, kind, outputs)
        return Branch(
            loader,
            family,
            is_editor_name(words) or self._edits(),
            self._tails(outputs, model=True),
            self._tails(clips, model=False),
        )

    def _find_carriers(self) -> set[str]:
        """Nodes on the way to a LoRA: LoRAs themselves, and what passes a model on to one."""
        carriers: set[str] = set()
        waiting = [node for node, entry in self._workflow.items() if is_lora_loader(entry)]
        while waiting:
            node = waiting.pop()
            if node in carriers or node not in self._workflow:
                continue
            carriers.add(node)
            for name, value in _inputs(self._workflow[node]).items():
                if _MODEL_INPUT.match(name) and is_link(value):
                    waiting.append(value[0])
        return carriers

    def _model_outputs(self, loader: str) -> list[Output]:
        """Outputs at which the loaded model leaves the loader, a LoRA, or a node before a LoRA."""
        found: list[Output] = []
        waiting: list[Output] = [(loader, 0)]
        while waiting:
            output = waiting.pop(0)
            if output in found:
                continue
            found.append(output)
            waiting += [
                (consumer.node, 0)
                for consumer in self._consumers.get(output, ())
                if consumer.node in self._carriers and _MODEL_INPUT.match(consumer.input)
            ]
        return found

    def _clip_outputs(self, loader: str, kind: str, models: list[Output]) -> list[Output]:
        found: list[Output] = [(loader, 1)] if _WITH_CLIP.search(kind) else []
        for node, _ in models:
            entry = self._workflow[node]
            if is_lora_loader(entry) and is_link(_inputs(entry).get("clip")):
                found.append((node, 1))
        return found

    def _tails(self, outputs: list[Output], *, model: bool) -> dict[Output, tuple[Consumer, ...]]:
        tails = {}
        for output in outputs:
            leaving = tuple(one for one in self._consumers.get(output, ()) if not self._goes_on(one, model))
            if leaving:
                tails[output] = leaving
        return tails

    def _goes_on(self, consumer: Consumer, model: bool) -> bool:
        """Whether the consumer is a part of the chain of LoRAs."""
        if model:
            return consumer.node in self._carriers and _MODEL_INPUT.match(consumer.input) is not None
        return consumer.input == "clip" and is_lora_loader(self._workflow[consumer.node])

    def _family_of_graph(self) -> Family | None:
        """What the other nodes tell: special classes, and the type that a text encoder is loaded as."""
        for entry in self._workflow.values():
            told = _CLIP_TYPES.get(str(_inputs(entry).get("type", "")))
            if told is not None and "CLIP" in str(entry.get("class_type", "")):
                return told
        kinds = {str(entry.get("class_type", "")) for entry in self._workflow.values()} - _AMBIGUOUS_CLASSES
        for pattern, family in _CLASS_FAMILIES:
            if any(re.search(pattern, kind) for kind in kinds):
                return family
        return None

    def _edits(self) -> bool:
        return any(_EDIT_CLASS.search(str(entry.get("class_type", ""))) for entry in self._workflow.values())


def _file_words(entry: Mapping[str, Any]) -> str:
    given = _inputs(entry)
    return next((given[name] for name in _FILE_INPUTS if isinstance(given.get(name), str)), "")
