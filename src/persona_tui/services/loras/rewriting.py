"""A version that ComfyUI would not load as it is, written anew as the next version of its name.

What a run made stays with the version that it used, so no file is changed in place.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from sqlmodel import Session

from persona_tui.database.driver import rows_of
from persona_tui.errors import InvalidRequest, NotAllowedNow
from persona_tui.services.loras import registry
from persona_tui.services.loras.conversion import Conversion, conversion_of, convert
from persona_tui.services.loras.families import FAMILIES, UNKNOWN, Family
from persona_tui.services.loras.header import read_header
from persona_tui.services.loras.importing import FAMILY_NOTE, SessionScope
from persona_tui.services.loras.key_formats import key_format
from persona_tui.services.loras.mappings import use_lora
from persona_tui.services.loras.registry import LoraView
from persona_tui.services.loras.shelf import Copied, Shelf, file_name

Remedy = Literal["none", "convert", "say family"]
"""What helps where ComfyUI would not load a version: nothing, converting, or saying its base model first."""


def remedy_for(shelf: Shelf, lora: LoraView) -> Remedy:
    """What helps; `none` also where nothing has to be helped. Reads the file's head."""
    if not lora.key_warnings or lora.converted_to or not shelf.holds(lora.file_name):
        return "none"
    try:
        header = read_header(shelf.path(lora.file_name))
    except InvalidRequest:
        return "none"
    families = FAMILIES if lora.family == UNKNOWN else (cast(Family, lora.family),)
    if not any(conversion_of(shelf.path(lora.file_name), header, family) for family in families):
        return "none"
    return "say family" if lora.family == UNKNOWN else "convert"


def convert_version(
    scope: SessionScope, shelf: Shelf, lora_id: int, family: Family | None = None
) -> LoraView:
    """Write a version anew under names that ComfyUI reads; whoever used it uses the new one. Blocks.

    Args:
        family: of its base model, where the registry does not know it.

    Raises:
        UnknownName: it is not there.
        NotAllowedNow: its file is missing, ComfyUI loads it as it is, or it can't be or was converted.
        InvalidRequest: another family than the one that is known.
        StorageError: our folder can't be written.
    """
    with scope() as session:
        lora = registry.get_lora(session, lora_id)
        details = rows_of(session, _DETAILS, {"id": lora_id})[0].details
    _require_convertible(shelf, lora, family)
    known = family or cast(Family, lora.family)
    path = shelf.path(lora.file_name)
    conversion = conversion_of(path, read_header(path), known, details.get("scale"))
    if conversion is None:
        raise _no_conversion(lora, known)
    copied = convert(path, shelf.folder, conversion)
    try:
        with scope() as session:
            made = _register(session, lora, known, details, conversion, copied)
            shelf.put(copied, made.file_name)
            for user in lora.users:
                use_lora(session, user.persona_id, made.id, {})
            return registry.get_lora(session, made.id)
    finally:
        copied.path.unlink(missing_ok=True)


def _require_convertible(shelf: Shelf, lora: LoraView, family: Family | None) -> None:
    if not shelf.holds(lora.file_name):
        raise NotAllowedNow(f"The file of {lora.label} is missing.", hint="Import it again.")
    if lora.converted_to:
        raise NotAllowedNow(
            f"{lora.label} was converted already, into {lora.converted_to}.", hint="Use that version."
        )
    if family is not None and lora.family not in (UNKNOWN, family):
        raise InvalidRequest(f"{lora.label} is for {lora.family}, not {family}.", hint="Leave --family out.")


def _no_conversion(lora: LoraView, family: Family) -> NotAllowedNow:
    if not lora.key_warnings:
        return NotAllowedNow(f"ComfyUI loads {lora.label} as it is.", hint="There is nothing to convert.")
    if family == UNKNOWN:
        return NotAllowedNow(
            f"{lora.label} can't be converted while its base model is not known.",
            hint=f"Say it with --family: {', '.join(FAMILIES)}.",
        )
    return NotAllowedNow(
        f"The weights of {lora.label} have no names that ComfyUI reads.", hint=lora.key_warnings[0]
    )


def _register(
    session: Session,
    lora: LoraView,
    family: Family,
    details: dict[str, Any],
    conversion: Conversion,
    copied: Copied,
) -> LoraView:
    warnings = [one for one in lora.warnings if one not in (*lora.key_warnings, FAMILY_NOTE)]
    row = registry.add_version(
        session,
        name=lora.name,
        version=None,
        persona_id=lora.persona_id,
        model_type=lora.model_type,
        family=family,
        trigger_word=lora.trigger_word,
        sha256=copied.sha256,
        file_name_of=lambda name, version: file_name(name, version, copied.sha256),
        details={
            **details,
            "byte_count": copied.byte_count,
            "key_format": key_format(conversion.names.values()),
            "original_sha256": lora.sha256,
            "converted": conversion.sentence,
            "scale": None,
            "warnings": warnings,
            "key_warnings": [],
        },
    )
    return registry.get_lora(session, row.id)


_DETAILS = "SELECT details FROM lora_models WHERE id = :id"
