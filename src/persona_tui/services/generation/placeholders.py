"""What a pipeline's placeholders need: each variable's kind, where it stands, and values that fit it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from persona_tui.errors import InvalidRequest
from persona_tui.passed import Workflow
from persona_tui.services.generation.declared import (
    DYNAMIC_COMBO,
    Declared,
    DeclaredInput,
    chosen_inputs,
    class_of,
    inputs_of,
)
from persona_tui.services.generation.lora_use import lora_variable_names
from persona_tui.services.generation.template import Placeholder, Value, as_text, find_placeholders
from persona_tui.services.generation.variables import BUILT_IN

Kind: TypeAlias = Literal["text", "whole number", "number", "yes or no", "choice", "any"]
"""What a variable holds; `any` where nothing says it."""
InputTypes: TypeAlias = Mapping[str, Mapping[str, str | Sequence[str]]]
"""Node → input → its type, as a server declares it; a list is a choice and what the server offers for it."""

_KINDS: Mapping[str, Kind] = {
    "STRING": "text",
    "INT": "whole number",
    "FLOAT": "number",
    "BOOLEAN": "yes or no",
    "COMBO": "choice",
}
_WHOLE = frozenset(
    {
        "seed", "noise_seed", "steps", "width", "height", "batch_size", "start_at_step", "end_at_step",
        "x", "y", "length", "color", "left", "top", "right", "bottom", "feathering", "grow_mask_by",
    }
)  # fmt: skip
_NUMBERS = frozenset(
    {
        "cfg", "denoise", "guidance", "strength", "strength_model", "strength_clip", "scale_by", "megapixels",
        "start_percent", "end_percent", "shift", "max_shift", "base_shift", "blend_factor", "alpha",
    }
)  # fmt: skip
_BUILT_IN_KINDS: Mapping[str, Kind] = {
    "seed": "whole number",
    "auto_seed": "whole number",
    "seed_color": "whole number",
    "prompt_color": "whole number",
    "timestamp": "whole number",
    "timestamp_ms": "whole number",
    "random": "whole number",
    **{name: "number" for name in lora_variable_names() if name.endswith("_weight")},
}
_YES, _NO = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True)
class Need:
    """A variable that a step's workflow asks for.

    Attributes:
        kind: what it holds.
        built_in: the program sets it; otherwise each run must.
        places: `node.input` of each placeholder.
        choices: what a server offered for it at all of its places; empty where none was asked.
    """

    name: str
    kind: Kind
    built_in: bool
    places: tuple[str, ...]
    choices: tuple[str, ...] = ()


def needs_of(workflow: Workflow, types: InputTypes) -> tuple[Need, ...]:
    """The variables of a workflow by name.

    Args:
        types: what a server once said of the inputs; without it the place and the input's name tell.
    """
    found: dict[str, list[Placeholder]] = {}
    for place in find_placeholders(workflow):
        found.setdefault(place.name, []).append(place)
    return tuple(
        Need(
            name,
            _kind_of(name, places, types),
            name in BUILT_IN,
            tuple(dict.fromkeys(f"{place.node}.{place.input}" for place in places)),
            _shared(_choices_at(place, types) for place in places if place.whole),
        )
        for name, places in sorted(found.items())
    )


def merged_needs(needs: Iterable[Need]) -> tuple[Need, ...]:
    """The needs of several steps as one list; a variable that two steps take differently is `any`."""
    merged: dict[str, Need] = {}
    for need in needs:
        known = merged.get(need.name)
        kind = need.kind if known is None else _common(known.kind, need.kind)
        places = need.places if known is None else (*known.places, *need.places)
        offered = _shared([*([known.choices] if known is not None else []), need.choices])
        choices = offered if kind == "choice" else ()
        merged[need.name] = Need(need.name, kind, need.built_in, places, choices)
    return tuple(merged[name] for name in sorted(merged))


def input_types(workflow: Workflow, declared: Declared) -> dict[str, dict[str, str | Sequence[str]]]:
    """The declared types of the inputs that hold a placeholder, to be kept with the step."""
    kept: dict[str, dict[str, str | Sequence[str]]] = {}
    for place in find_placeholders(workflow):
        entry = workflow[place.node]
        info = class_of(declared, str(entry.get("class_type")))
        found = {} if info is None else dict(_types(inputs_of(info), entry.get("inputs", {})))
        if place.input in found:
            kept.setdefault(place.node, {})[place.input] = found[place.input]
    return kept


def typed(variables: Mapping[str, Value], needs: Sequence[Need]) -> dict[str, Value]:
    """The values as their placeholders take them; words such as `832` become numbers where one goes.

    Raises:
        InvalidRequest: a value does not fit, for example words where a whole number goes.
    """
    kinds = {need.name: need.kind for need in needs}
    return {name: _typed(name, value, kinds.get(name, "any")) for name, value in variables.items()}


def typed_words(words: Mapping[str, str], needs: Sequence[Need]) -> dict[str, Value]:
    """Words of a command line as their placeholders take them; where nothing says how, as they read.

    Raises:
        InvalidRequest: as `typed`.
    """
    known = {need.name for need in needs if need.kind != "any"}
    return typed({name: word if name in known else _guessed(word) for name, word in words.items()}, needs)


def _types(
    inputs: Iterable[DeclaredInput], given: Mapping[str, Any]
) -> Iterator[tuple[str, str | Sequence[str]]]:
    for one in inputs:
        yield one.name, _offered(one) or ("COMBO" if one.type == DYNAMIC_COMBO else one.type)
        if one.type == DYNAMIC_COMBO:
            yield from _types(chosen_inputs(one, given.get(one.name)), given)


def _offered(one: DeclaredInput) -> list[str]:
    """What a server offers for a choice; files that may be uploaded are not all there yet."""
    if one.type not in ("COMBO", DYNAMIC_COMBO) or one.options.get("image_upload"):
        return []
    keys = (choice.get("key") if isinstance(choice, Mapping) else choice for choice in one.choices)
    return [key for key in keys if isinstance(key, str)]


def _choices_at(place: Placeholder, types: InputTypes) -> tuple[str, ...]:
    declared = types.get(place.node, {}).get(place.input, "")
    return () if isinstance(declared, str) else tuple(declared)


def _shared(offers: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """What all places offer; one that offers nothing has not been asked."""
    first, *further = [offer for offer in offers if offer] or [()]
    return tuple(one for one in first if all(one in offer for offer in further))


def _kind_of(name: str, places: Sequence[Placeholder], types: InputTypes) -> Kind:
    if name in _BUILT_IN_KINDS:
        return _BUILT_IN_KINDS[name]
    kinds = {_kind_at(place, types) for place in places if place.whole}
    if not kinds or name in BUILT_IN:
        return "text"
    kind, *further = sorted(kinds)
    for other in further:
        kind = _common(kind, other)
    return kind


def _kind_at(place: Placeholder, types: InputTypes) -> Kind:
    declared = types.get(place.node, {}).get(place.input)
    if declared is not None:
        return _KINDS.get(declared, "any") if isinstance(declared, str) else "choice"
    name = place.input.rpartition(".")[2]
    return "whole number" if name in _WHOLE else "number" if name in _NUMBERS else "any"


def _common(one: Kind, other: Kind) -> Kind:
    if one == other:
        return one
    pair = {one, other}
    if pair == {"whole number", "number"}:
        return "whole number"
    # Inside a text everything becomes text, so the stricter place decides.
    return next(iter(pair - {"text"})) if "text" in pair else "any"


def _typed(name: str, value: Value, kind: Kind) -> Value:
    if kind in ("text", "choice"):
        return value if isinstance(value, str) else as_text(value)
    if kind == "yes or no":
        return _truth(name, value)
    if kind in ("whole number", "number"):
        return _number(name, value, kind)
    return value


def _truth(name: str, value: Value) -> bool:
    word = as_text(value).strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise _misfit(name, value, "yes or no", "Use true or false.")


def _number(name: str, value: Value, kind: Kind) -> int | float:
    whole = kind == "whole number"
    hint = "Use a number such as 832." if whole else "Use a number such as 0.35."
    if isinstance(value, bool):
        raise _misfit(name, value, kind, hint)
    try:
        # Not through a float: a seed has more digits than one keeps.
        found = int(value) if isinstance(value, str) and whole else float(value)
    except (ValueError, OverflowError):
        raise _misfit(name, value, kind, hint) from None
    if not math.isfinite(found) or (whole and found != int(found)):
        raise _misfit(name, value, kind, hint)
    if whole:
        return int(value) if isinstance(value, int) else int(found)
    return value if isinstance(value, int) else found


def _misfit(name: str, value: Value, kind: Kind, hint: str) -> InvalidRequest:
    told = as_text(value)
    told = told if len(told) <= 60 else told[:59] + "…"
    return InvalidRequest(
        f"The variable {name} takes a {kind}, but it is {told!r}."
        if kind != "yes or no"
        else f"The variable {name} is yes or no, but it is {told!r}.",
        title="Variable does not fit",
        hint=hint,
    )


def _guessed(word: str) -> Value:
    """A number or a truth value where the words read as one in JSON."""
    try:
        found = json.loads(word, parse_constant=str)
    except (ValueError, RecursionError):
        return word
    return found if isinstance(found, bool | int | float) and math.isfinite(found) else word
