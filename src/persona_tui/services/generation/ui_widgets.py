"""What the widgets of the editor's nodes hold, by the names of the inputs that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from persona_tui.services.generation.declared import (
    DYNAMIC_COMBO,
    DeclaredInput,
    chosen_inputs,
    inputs_of,
)
from persona_tui.services.generation.ui_graph import UiNode

CONTROL_WORDS = frozenset({"fixed", "increment", "decrement", "randomize"})
"""What the editor does with a seed after each run; stands behind the seed among a node's values."""

_CONTROLS = frozenset({"control_after_generate", "control_before_generate", "control_filter_list"})
_SEEDS = frozenset({"seed", "noise_seed"})
_PLAIN = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False, "COLOR": "#000000"}
"""Types with a widget, and what it holds when the class names no default."""
_OF_EXTENSIONS = frozenset({"WEBCAM", "AUDIO_RECORD", "LOAD_3D", "LOAD_3D_ANIMATION", "LOAD3D_CAMERA"})
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_POWER_LORA = "Power Lora Loader (rgthree)"


def widget_values(node: UiNode, info: Mapping[str, Any]) -> dict[str, Any]:
    """Input → value for every widget of a node, as the editor would send them.

    Args:
        info: what the server declares of the node's class.
    """
    if isinstance(node.values, Mapping):
        return _by_name(node.values, info)
    values = dict(_taken(inputs_of(info), _Values(node.values)))
    if node.named and not _fit(values, info):
        # Saved by a server with other widgets: the places have moved, the names have not.
        values = _by_name(node.named, info)
    return values | _power_loras(node, node.values)


def values_by_slots(node: UiNode) -> dict[str, Any] | None:
    """The same without a declaration: by the inputs that the editor marked, if their number fits."""
    names = [slot.widget for slot in node.inputs if slot.widget is not None]
    if isinstance(node.values, Mapping) or node.named:
        given = node.values if isinstance(node.values, Mapping) else node.named
        return {name: value for name, value in given.items() if name not in _CONTROLS}
    values = [value for value in node.values if not _is_control(value)]
    return dict(zip(names, values, strict=True)) if len(names) == len(values) else None


def with_comments_dropped(values: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    """The editor drops `/* */` and `//` from texts that may hold choices; links in them suffer as there."""
    dynamic = {one.name for one in inputs_of(info) if one.options.get("dynamicPrompts")}
    return {
        name: _COMMENT.sub("", value) if name in dynamic and isinstance(value, str) else value
        for name, value in values.items()
    }


def has_widget(one: DeclaredInput) -> bool:
    """Whether the editor shows a widget for the input, rather than only a place for a link."""
    kind = str(one.options.get("widgetType") or one.type)
    known = kind in _PLAIN or kind in ("COMBO", DYNAMIC_COMBO) or kind in _OF_EXTENSIONS
    return known and not one.options.get("forceInput")


def default_of(one: DeclaredInput) -> Any:
    """What a widget holds before anybody touches it."""
    if "default" in one.options:
        return one.options["default"]
    if one.choices:
        first = one.choices[0]
        return first.get("key") if isinstance(first, Mapping) else first
    return _PLAIN.get(str(one.options.get("widgetType") or one.type))


class _Values:
    """The values of a node, one after the other."""

    def __init__(self, values: Sequence[Any]) -> None:
        self._values = values
        self._at = 0

    def take(self, default: Any) -> Any:
        """The next value; the default once they are used up."""
        if self._at >= len(self._values):
            return default
        self._at += 1
        return self._values[self._at - 1]

    def skip_control(self, *, of_combo: bool) -> None:
        """Pass the control word, and behind a choice the filter that the editor keeps there."""
        following = self._values[self._at] if self._at < len(self._values) else None
        if _is_control(following):
            self._at += 2 if of_combo else 1


def _taken(inputs: Iterable[DeclaredInput], left: _Values) -> Iterator[tuple[str, Any]]:
    for one in inputs:
        if not has_widget(one):
            continue
        value = left.take(default_of(one))
        yield one.name, value
        if _is_controlled(one):
            left.skip_control(of_combo=one.type == "COMBO")
        if one.type == DYNAMIC_COMBO:
            yield from _taken(chosen_inputs(one, value), left)


def _is_control(value: object) -> bool:
    return isinstance(value, str) and value in CONTROL_WORDS


def _is_controlled(one: DeclaredInput) -> bool:
    if one.type not in ("INT", "COMBO"):
        return False
    return bool(one.options.get("control_after_generate", one.type == "INT" and one.name in _SEEDS))


def _fit(values: Mapping[str, Any], info: Mapping[str, Any]) -> bool:
    """Whether each value is of a kind that its widget can hold."""
    return all(_holds(one, values[one.name]) for one in inputs_of(info) if one.name in values)


def _holds(one: DeclaredInput, value: object) -> bool:
    if isinstance(value, str) and "{{" in value:
        return True
    if one.type in ("INT", "FLOAT"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if one.type == "BOOLEAN":
        return isinstance(value, bool)
    return one.type != "STRING" or isinstance(value, str)


def _by_name(given: Mapping[str, Any], info: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_named(inputs_of(info), given)) | {
        # Nodes that save by name may have more widgets than their class declares.
        name: value
        for name, value in given.items()
        if value is not None and name not in _CONTROLS
    }


def _named(inputs: Iterable[DeclaredInput], given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for one in inputs:
        if has_widget(one):
            value = given.get(one.name, default_of(one))
            yield one.name, value
            if one.type == DYNAMIC_COMBO:
                yield from _named(chosen_inputs(one, value), given)


def _power_loras(node: UiNode, values: Sequence[Any]) -> dict[str, Any]:
    """The one well-known node that takes any number of LoRAs and numbers them on its way out."""
    if node.type != _POWER_LORA:
        return {}
    loras = [value for value in values if isinstance(value, Mapping) and "lora" in value]
    return {f"lora_{number}": dict(lora) for number, lora in enumerate(loras, start=1)}
