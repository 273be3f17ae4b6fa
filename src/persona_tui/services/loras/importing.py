"""Importing LoRA files: looked at, copied into our folder, and noted as the next version of their name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, PersonaError, UnknownName
from persona_tui.services.inputs import Input, Line, Name
from persona_tui.services.loras import key_formats, registry
from persona_tui.services.loras.conversion import Conversion, conversion_of, convert, training_scale
from persona_tui.services.loras.families import (
    FAMILIES,
    UNKNOWN,
    Family,
    ModelType,
    base_model_words,
    family_named,
    family_of,
    is_editor_name,
)
from persona_tui.services.loras.header import SUFFIX, Header, read_header, require_safetensors
from persona_tui.services.loras.mappings import UseInput, Weight, use_lora, use_words, uses_like
from persona_tui.services.loras.notes import details_of
from persona_tui.services.loras.proposals import Proposal, propose
from persona_tui.services.loras.registry import LoraView
from persona_tui.services.loras.shelf import Copied, Shelf, file_name
from persona_tui.services.loras.sidecar import NAMELESS, Sidecar, read_sidecar
from persona_tui.text import clean

Outcome = Literal["imported", "already there", "failed"]
Loads = Literal["as it is", "converted", "ignored"]
"""Whether ComfyUI loads all of a file: as it is, once it is converted, or not."""
SessionScope = Callable[[], AbstractContextManager[Session]]

FAMILY_NOTE = "Its base model is not known, so it goes into any workflow; --family says which."
_TRIGGER_KEYS = ("modelspec.trigger_phrase", "trigger_word", "ss_trigger_word")


def _is_family(value: str) -> str:
    named = next((one for one in FAMILIES if one == value.lower()), family_named(value))
    if named is None:
        raise ValueError(f"{value!r} is no family; there are {', '.join(FAMILIES)}")
    return named


class LoraInput(Input):
    """What the operator says of a file; what is None is taken from the file beside it, or from itself.

    Attributes:
        persona_id: whose likeness it holds; that persona uses it at once.
        weight, primary: how the persona uses it.
        use: False only notes whose likeness it holds.
        facts: more to be kept with it: where it comes from.
    """

    persona_id: int | None = None
    name: Name | None = None
    model_type: ModelType | None = None
    family: Annotated[Line, AfterValidator(_is_family)] | None = None
    trigger_word: Line | None = None
    weight: Weight | None = None
    primary: bool | None = None
    use: bool = True
    facts: Mapping[str, Any] = {}


@dataclass(frozen=True)
class LoraFacts:
    """What a file is, before it is imported.

    Attributes:
        version: that it asks for; None takes the next one.
        warnings: sentences on what will not work, or was left out.
        key_warnings: those of them that say what ComfyUI ignores; runs repeat them.
        persona: whom the JSON beside it names.
        conversion: how it is written anew, so that ComfyUI reads all of it; None where it does, or where
            that can't be helped.
        scale: of its training, where the file that is kept does not hold it.
    """

    name: str
    version: int | None
    model_type: ModelType
    family: Family
    trigger_word: str
    weight: float | None
    base_model: str
    key_format: str
    rank: int | None
    tensors: int
    metadata: Mapping[str, str]
    warnings: tuple[str, ...]
    key_warnings: tuple[str, ...]
    persona: str | None = None
    conversion: Conversion | None = None
    scale: float | None = None

    @property
    def loads(self) -> Loads:
        """Whether ComfyUI loads it."""
        if self.conversion is not None:
            return "converted"
        return "ignored" if self.key_warnings else "as it is"


@dataclass(frozen=True)
class LoraOutcome:
    """What became of one file.

    Attributes:
        proposal: the persona that the file names, where it was imported for nobody.
        used_by: whose runs use it by that.
    """

    path: Path
    outcome: Outcome
    lora: LoraView | None
    sentence: str
    hint: str = ""
    proposal: Proposal | None = None
    used_by: str = ""


Choose = Callable[[Path, Proposal], bool]
"""Whether the persona that a file names is the one whose likeness it holds."""


def find_lora_files(path: Path) -> tuple[Path, ...]:
    """The file itself, or all .safetensors files below the folder, hidden ones left out.

    Raises:
        UnknownName: there is nothing at this path.
        InvalidRequest: no permission, a file of another kind, or none in the folder.
    """
    try:
        if not path.exists():
            raise UnknownName(
                f"There is no file or folder {path}.", title="Missing file", hint="Check the path."
            )
        files = [path] if path.is_file() else sorted(path.rglob("*"))
    except OSError as problem:
        raise InvalidRequest(f"{path} can't be read: {problem.strerror}.", hint="Check the path.") from None
    if files == [path]:
        require_safetensors(path)
        return (path,)
    found = tuple(
        file
        for file in files
        if file.suffix.lower() == SUFFIX
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise InvalidRequest(f"There is no {SUFFIX} file in {path}.", hint="LoRAs are imported from those.")
    return found


def inspect_lora(path: Path, given: LoraInput) -> LoraFacts:
    """Look at a file without importing it.

    Raises:
        InvalidRequest: it is no safetensors file, a broken one, or holds no LoRA.
    """
    require_safetensors(path)
    header = read_header(path)
    if not key_formats.is_lora(header.shapes):
        raise InvalidRequest(
            f"{path.name} holds no LoRA: {_what_it_is(header.shapes)}.",
            hint="Put whole models into the server's own folders; only LoRAs are imported.",
        )
    beside = read_sidecar(path)
    base_model = beside.base_model or base_model_words(header.metadata)
    family = _family_of(header, given, f"{base_model} {path.stem}")
    name, version = _name_of(path, given, beside)
    conversion = conversion_of(path, header, family)
    ignored = () if conversion else key_formats.key_warnings(header.shapes, family, header.metadata)
    return LoraFacts(
        name=name,
        version=version,
        model_type=_type_of(given, beside, f"{base_model} {path.stem}"),
        family=family,
        trigger_word=_trigger_of(given, beside, header.metadata),
        weight=given.weight if given.weight is not None else beside.weight,
        base_model=clean(base_model, keep_lines=False)[:200],
        key_format=key_formats.key_format(header.shapes),
        rank=key_formats.rank_of(header.shapes),
        tensors=len(header.shapes),
        metadata=_short(header.metadata),
        warnings=(*beside.notes, *_family_note(family), *ignored),
        key_warnings=ignored,
        persona=beside.persona,
        conversion=conversion,
        scale=None if conversion else training_scale(path, header),
    )


def import_loras(
    scope: SessionScope,
    shelf: Shelf,
    files: Sequence[Path],
    given: LoraInput,
    choose: Choose = lambda _path, _proposal: False,
) -> Iterator[LoraOutcome]:
    """Import files one by one, each in a transaction of its own. Blocks on the disk; use a thread.

    A file whose bytes are there already is not imported again; the persona uses it all the same, at
    the weight that it has unless one is given. What ComfyUI would not load is converted.

    Args:
        choose: asked about the persona that a file names, where none is given.

    Yields:
        Each file's outcome as it is known.
    """
    for path in files:
        try:
            yield _import_one(scope, shelf, path, given, choose)
        except PersonaError as problem:
            yield LoraOutcome(path, "failed", None, problem.message, problem.hint)


def _import_one(
    scope: SessionScope, shelf: Shelf, path: Path, given: LoraInput, choose: Choose
) -> LoraOutcome:
    facts = inspect_lora(path, given)
    proposal = None
    if given.persona_id is None:
        with scope() as session:
            proposal = proposal_of(session, facts)
    if proposal is not None and choose(path, proposal):
        given, proposal = given.model_copy(update={"persona_id": proposal.persona_id}), None
        facts = inspect_lora(path, given)
    with shelf.taking_in(path) as original, _as_comfyui_reads_it(shelf, original, facts) as copied:
        done = _taken_in(scope, shelf, path, facts, given, original, copied)
    return replace(done, proposal=proposal)


def proposal_of(session: Session, facts: LoraFacts) -> Proposal | None:
    """The persona that a file names; None when it names none, or more than one."""
    return propose(
        session,
        name=facts.name,
        trigger_word=facts.trigger_word,
        metadata=facts.metadata,
        told=facts.persona,
    )


@contextmanager
def _as_comfyui_reads_it(shelf: Shelf, original: Copied, facts: LoraFacts) -> Iterator[Copied]:
    """The file that is kept: the copy as it is, or converted."""
    if facts.conversion is None:
        yield original
        return
    converted = convert(original.path, shelf.folder, facts.conversion)
    try:
        yield converted
    finally:
        converted.path.unlink(missing_ok=True)


def _taken_in(
    scope: SessionScope,
    shelf: Shelf,
    path: Path,
    facts: LoraFacts,
    given: LoraInput,
    original: Copied,
    copied: Copied,
) -> LoraOutcome:
    with scope() as session:
        known = registry.with_hash(session, original.sha256)
        lora = known or _register(session, facts, given, path, original, copied)
        if not shelf.holds(lora.file_name):
            shelf.put(copied, lora.file_name)
        lora, used_by, use = _used(session, lora, given)
    words = f"{lora.label}: {lora.model_type}, {lora.family}"
    if known is not None:
        words = f"{path.name} is there already, as {lora.label}"
    words = f"{words}; {use}." if use else f"{words}."
    hint = f"`persona-tui lora unuse {used_by!r} {lora.label!r}` takes it out of use." if used_by else ""
    if known is not None:
        return LoraOutcome(path, "already there", lora, words, hint, used_by=used_by)
    if facts.conversion is not None:
        words = f"{words} {facts.conversion.sentence}"
    return LoraOutcome(path, "imported", lora, words, hint, used_by=used_by)


def _used(session: Session, lora: LoraView, given: LoraInput) -> tuple[LoraView, str, str]:
    """Let the persona use it, where that is wanted: the LoRA, who uses it, and how in words."""
    if given.persona_id is None or not given.use:
        return lora, "", ""
    before = uses_like(session, given.persona_id, lora)
    lora = use_lora(session, given.persona_id, lora.id, UseInput(weight=given.weight, primary=given.primary))
    user = next(one for one in lora.users if one.persona_id == given.persona_id)
    return lora, user.persona, use_words(session, given.persona_id, lora, before)


def _register(
    session: Session, facts: LoraFacts, given: LoraInput, path: Path, original: Copied, copied: Copied
) -> LoraView:
    details: dict[str, Any] = {
        "original_name": clean(path.name, keep_lines=False),
        "byte_count": copied.byte_count,
        "key_format": facts.key_format,
        "rank": facts.rank,
        "tensors": facts.tensors,
        "base_model": facts.base_model,
        "weight": facts.weight,
        "warnings": list(facts.warnings),
        "key_warnings": list(facts.key_warnings),
        "metadata": dict(facts.metadata),
        "scale": facts.scale,
    }
    details |= {**details_of(facts.metadata), **given.facts}
    if facts.conversion is not None:
        details |= {
            "key_format": key_formats.key_format(facts.conversion.names.values()),
            "original_sha256": original.sha256,
            "converted": facts.conversion.sentence,
        }
    row = registry.add_version(
        session,
        name=facts.name,
        version=facts.version,
        persona_id=given.persona_id,
        model_type=facts.model_type,
        family=facts.family,
        trigger_word=facts.trigger_word,
        sha256=copied.sha256,
        file_name_of=lambda name, version: file_name(name, version, copied.sha256),
        details=details,
    )
    return registry.get_lora(session, row.id)


def _name_of(path: Path, given: LoraInput, beside: Sidecar) -> tuple[str, int | None]:
    """Name and wanted version; `mira_v2.safetensors` is mira, version 2."""
    told = path.parent.name if path.stem in NAMELESS else path.stem
    stem = clean(told, keep_lines=False).strip()[:80] or "lora"
    match = re.fullmatch(r"(.+?)[ _.-]v(\d{1,6})", stem, re.IGNORECASE)
    plain, number = (match.group(1), int(match.group(2))) if match else (stem, None)
    name = given.name or (beside.name or "")[:80] or plain
    if beside.version is not None or name.lower() != plain.lower():
        number = beside.version
    return name, number if number else None


def _type_of(given: LoraInput, beside: Sidecar, words: str) -> ModelType:
    told = given.model_type or beside.model_type
    if told is not None:
        return told
    if is_editor_name(words):
        return "editor"
    return "character" if given.persona_id is not None else "style"


def _family_of(header: Header, given: LoraInput, words: str) -> Family:
    if given.family is not None:
        return cast(Family, given.family)
    told = family_of(header.shapes, header.metadata)
    return told if told != UNKNOWN else family_named(words) or UNKNOWN


def _trigger_of(given: LoraInput, beside: Sidecar, metadata: Mapping[str, str]) -> str:
    if given.trigger_word is not None:
        return given.trigger_word
    told = beside.trigger_word or next((metadata[key] for key in _TRIGGER_KEYS if metadata.get(key)), "")
    return clean(told, keep_lines=False).strip()[:300]


def _family_note(family: str) -> tuple[str, ...]:
    if family != UNKNOWN:
        return ()
    return (FAMILY_NOTE,)


def _what_it_is(shapes: Mapping[str, tuple[int, ...]]) -> str:
    if not shapes:
        return "it is empty"
    if any(
        key.startswith(("model.diffusion_model.", "cond_stage_model.", "first_stage_model."))
        for key in shapes
    ):
        return "it is a whole checkpoint"
    return "none of its weights is named as a LoRA's are"


def _short(metadata: Mapping[str, str]) -> dict[str, str]:
    """The notes worth keeping: the long ones are training logs."""
    kept = {key: value for key, value in metadata.items() if len(value) <= 300}
    return {clean(key, keep_lines=False): clean(value) for key, value in list(kept.items())[:60]}
