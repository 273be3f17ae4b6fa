"""What a node type declares: inputs, outputs, and how /object_info and validation read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from persona_tui.sandbox.comfyui.files import Folders

MAX_RESOLUTION = 16384
Choices = Callable[[Folders], Sequence[str]]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Input:
    """One declared input.

    Attributes:
        kind: type name such as `INT` or `IMAGE`, or the choices of a list (looked up at each request).
        options: default, min, max …; None: the declaration has no options at all.
    """

    kind: str | Choices
    options: Options | None = None

    def type_in(self, folders: Folders) -> str | list[str]:
        """The type name, or the list of choices as it is now."""
        return self.kind if isinstance(self.kind, str) else list(self.kind(folders))

    def declared(self, folders: Folders, *, newer: bool = False) -> list[Any]:
        """As /object_info shows it; the newer way has choices among the options."""
        kind = self.type_in(folders)
        if newer and isinstance(kind, list):
            return ["COMBO", {**(self.options or {}), "multiselect": False, "options": kind}]
        return [kind] if self.options is None else [kind, dict(self.options)]


def one_of(*choices: str) -> Choices:
    """A fixed list of choices."""
    return lambda _folders: choices


def models_in(folder: str, *more: str) -> Choices:
    """The models of one kind that are there now."""
    return lambda folders: [*folders.model_names(folder), *more]


def number(default: float, low: float, high: float, **more: Any) -> Options:
    """Options of an INT or FLOAT."""
    return {"default": default, "min": low, "max": high, **more}


@dataclass(frozen=True)
class NodeType:
    """A class of nodes.

    Attributes:
        run: takes the call and the inputs by name; returns the outputs, or for an output node
            the `ui` mapping that goes into the history.
        changed: what besides the inputs decides whether a cached result still holds (LoadImage: a file hash).
        check: says per input what is wrong with its value, or None; inputs it checks skip the list check.
        plain: declared in the older way, as all of the module `nodes` are; /object_info then says less.
    """

    name: str
    run: Callable[..., Awaitable[Any]]
    required: Mapping[str, Input]
    outputs: tuple[str, ...]
    category: str
    display_name: str | None = None
    optional: Mapping[str, Input] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    output_node: bool = False
    module: str = "nodes"
    plain: bool = False
    changed: Callable[[Folders, Mapping[str, Any]], Any] | None = None
    check: Mapping[str, Callable[[Folders, Any], str | None]] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, tuple[Input, bool]]:
        """Name → (input, whether it is required)."""
        return {
            **{name: (one, True) for name, one in self.required.items()},
            **{name: (one, False) for name, one in self.optional.items()},
        }

    def info(self, folders: Folders) -> dict[str, Any]:
        """The entry of /object_info."""
        newer = self.module != "nodes" and not self.plain
        inputs: dict[str, Any] = {"required": _declared(self.required, folders, newer)}
        if self.optional:
            inputs["optional"] = _declared(self.optional, folders, newer)
        if self.hidden:
            inputs["hidden"] = dict(self.hidden)
        info: dict[str, Any] = {
            "input": inputs,
            "input_order": {kind: list(group) for kind, group in inputs.items()},
            "output": list(self.outputs),
            "output_is_list": [False] * len(self.outputs),
            "output_name": list(self.outputs),
            "name": self.name,
            "display_name": self.display_name,
            "description": "",
            "python_module": self.module,
            "category": self.category,
            "output_node": self.output_node,
        }
        if newer:
            info |= {"output_matchtypes": None, "deprecated": False, "experimental": False, "api_node": False}
        return info


def _declared(group: Mapping[str, Input], folders: Folders, newer: bool) -> dict[str, list[Any]]:
    return {name: one.declared(folders, newer=newer) for name, one in group.items()}
