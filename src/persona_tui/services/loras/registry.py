"""The registry: one row for each version of a LoRA, and the file that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.lora import LoraModel
from persona_tui.services import events, removals
from persona_tui.services.safety import audit


@dataclass(frozen=True)
class LoraUser:
    """A persona that uses a LoRA, at a weight from 0 to 1."""

    persona_id: int
    persona: str
    weight: float
    primary: bool


_NO_SCORES = frozenset({"calibrated_on", "seconds", "step", "threshold"})
"""What an evaluation notes beside its scores."""


@dataclass(frozen=True)
class LoraView:
    """A version of a LoRA.

    Attributes:
        persona: whose likeness it holds; None for one that anyone may use.
        family: of its base model; `unknown` where nothing tells.
        trigger_word: the word that calls it, empty when it needs none.
        file_name: in our own folder, and in each server's; holds the version and the start of the hash.
        key_format: how its weights are named.
        warnings: sentences on what ComfyUI will not do with it, and other traps.
        key_warnings: those that say that ComfyUI would not load all of it as it was trained.
        converted_to: the version that it was converted into; empty where it was not.
        scores: what its training measured, by name, such as `likeness`.
        scorer: what measured the likeness among them; empty where nothing tells.
        weak: it went by the whole figure, not by a face.
        training_run: the training that it came of.
        step: of that training, or of the one that its file tells; None where nothing tells.
        weights: `ema` or `raw`: its average or its last weights were exported; empty where nothing tells.
        base_difference: how it acts on the base in 16 bits, as `training.exported.base_words` takes it.
        commercial: whether its base model's licence allows commercial use; None where nothing tells.
        users: who uses it.
        runs: how many runs used it.
    """

    id: int
    name: str
    version: int
    persona_id: int | None
    persona: str | None
    model_type: str
    family: str
    trigger_word: str
    file_name: str
    sha256: str
    byte_count: int
    key_format: str
    rank: int | None
    base_model: str
    default_weight: float | None
    warnings: tuple[str, ...]
    key_warnings: tuple[str, ...]
    converted_to: str
    scores: Mapping[str, float]
    scorer: str
    weak: bool
    training_run: int | None
    step: int | None
    weights: str
    base_difference: Mapping[str, Any] | None
    commercial: bool | None
    users: tuple[LoraUser, ...]
    runs: int
    created_at: datetime

    @property
    def label(self) -> str:
        """`name@version`, as commands take it."""
        return f"{self.name}@{self.version}"

    @property
    def measured(self) -> str:
        """`likeness 0.61, prompt following 0.28`: all scores of its training, likeness first."""
        told = ((name, value) for name, value in self.scores.items() if name not in _NO_SCORES)
        found = sorted(told, key=lambda one: (one[0] != "likeness", one[0]))
        return ", ".join(_score(name, value, weak=self.weak) for name, value in found)


def _score(name: str, value: float, *, weak: bool) -> str:
    if name == "passed":
        return f"{value:.0%} of samples recognised"
    mark = " (weak)" if weak and name == "likeness" else ""
    return f"{name.replace('_', ' ')} {value:.3g}{mark}"


_LORAS = """
SELECT l.id, l.name, l.version, l.persona_id, p.name AS persona, l.model_type, l.base_family AS family,
       l.trigger_word, l.file_path AS file_name, l.sha256, l.details, l.created_at,
       coalesce((SELECT max(c.name || '@' || c.version) FROM lora_models c
                 WHERE c.details ->> 'original_sha256' = l.sha256), '') AS converted_to,
       (SELECT count(*) FROM run_loras r WHERE r.lora_model_id = l.id) AS runs
FROM lora_models l LEFT JOIN personas p ON p.id = l.persona_id
WHERE (CAST(:ids AS bigint[]) IS NULL OR l.id = ANY (:ids))
  AND (CAST(:persona AS bigint) IS NULL OR l.persona_id = :persona
       OR EXISTS (SELECT FROM persona_lora_mappings m
                  WHERE m.lora_model_id = l.id AND m.persona_id = :persona))
ORDER BY lower(l.name), l.version DESC
"""

_USERS = """
SELECT m.lora_model_id, m.persona_id, p.name AS persona, m.weight, m."primary"
FROM persona_lora_mappings m JOIN personas p ON p.id = m.persona_id
WHERE m.lora_model_id = ANY (:ids) ORDER BY lower(p.name)
"""


def list_loras(session: Session, persona_id: int | None = None) -> tuple[LoraView, ...]:
    """All LoRAs by name, the newest version first.

    Args:
        persona_id: only those that hold this persona's likeness or that it uses.
    """
    return _views(session, None, persona_id)


def get_lora(session: Session, lora_id: int) -> LoraView:
    """One version by its id.

    Raises:
        UnknownName: it is not there.
    """
    found = _views(session, [lora_id], None)
    if not found:
        raise _unknown(str(lora_id))
    return found[0]


def find_lora(session: Session, words: str) -> LoraView:
    """The LoRA that a person means: `name`, which is its newest version, or `name@version`.

    Raises:
        UnknownName: there is none, or not that version.
    """
    name, version = _split(words)
    row = session.execute(
        text(
            "SELECT id FROM lora_models WHERE lower(name) = lower(:name)"
            " AND (CAST(:version AS integer) IS NULL OR version = :version) ORDER BY version DESC LIMIT 1"
        ),
        {"name": name, "version": version},
    ).scalar_one_or_none()
    if row is None:
        raise _unknown(words)
    return get_lora(session, int(row))


def add_version(
    session: Session,
    *,
    name: str,
    version: int | None,
    persona_id: int | None,
    model_type: str,
    family: str,
    trigger_word: str,
    sha256: str,
    file_name_of: Callable[[str, int], str],
    details: Mapping[str, Any],
) -> LoraModel:
    """Add the next version of a name; the wanted number is taken where it is free.

    Args:
        file_name_of: (name, version) → the file's name in our folder.

    Raises:
        InvalidRequest: the name is that of another persona's LoRA.
    """
    session.execute(
        text(
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' lora ' || lower(:name), 0))"
        ),
        {"name": name},
    )
    taken = session.execute(
        text("SELECT name, version, persona_id FROM lora_models WHERE lower(name) = lower(:name)"),
        {"name": name},
    ).all()
    if any(row.persona_id != persona_id for row in taken):
        raise InvalidRequest(
            f"There is a LoRA called {name} that belongs to somebody else.",
            title="Name is taken",
            hint="Give this one another --name, or name its persona.",
        )
    spelled = taken[0].name if taken else name
    numbers = {row.version for row in taken}
    number = version if version and version not in numbers else max(numbers, default=0) + 1
    row = LoraModel(
        persona_id=persona_id,
        name=spelled,
        version=number,
        model_type=model_type,
        base_family=family,
        trigger_word=trigger_word,
        file_path=file_name_of(spelled, number),
        sha256=sha256,
        details=dict(details),
    )
    session.add(row)
    session.flush()
    audit.append(
        session,
        actor="operator",
        action="lora.import",
        persona_id=persona_id,
        subject=f"lora_models:{row.id}",
        content_sha256=sha256,
        details={"name": spelled, "version": number, "family": family, "model_type": model_type},
    )
    events.emit(session, "lora", row.id)
    return row


def with_hash(session: Session, sha256: str) -> LoraView | None:
    """The newest version that holds these bytes, or was converted from them, if there is one."""
    found = session.execute(
        text(
            "SELECT id FROM lora_models WHERE sha256 = :sha256 OR details ->> 'original_sha256' = :sha256"
            " ORDER BY id DESC LIMIT 1"
        ),
        {"sha256": sha256},
    ).scalar_one_or_none()
    return None if found is None else get_lora(session, int(found))


def remove_lora(session: Session, lora_id: int) -> LoraView:
    """Take a version out of the registry, with its comparisons; after the commit the caller drops its file.

    Raises:
        UnknownName: it is not there.
        NotAllowedNow: a run used it: what it made stays with its version.
    """
    view = get_lora(session, lora_id)
    session.execute(text("SELECT id FROM lora_models WHERE id = :id FOR UPDATE"), {"id": lora_id})
    used = session.execute(
        text("SELECT count(*) FROM run_loras WHERE lora_model_id = :id"), {"id": lora_id}
    ).scalar_one()
    if used:
        runs = "1 run" if used == 1 else f"{used} runs"
        raise NotAllowedNow(
            f"{view.label} was used by {runs}, whose pictures keep their LoRA's version.",
            hint=f"`persona-tui lora unuse PERSONA {view.label}` keeps it from further runs.",
        )
    removals.note_comparisons(session, lora_id)
    session.execute(text("DELETE FROM persona_lora_mappings WHERE lora_model_id = :id"), {"id": lora_id})
    session.execute(text("DELETE FROM lora_models WHERE id = :id"), {"id": lora_id})
    audit.append(
        session,
        actor="operator",
        action="lora.remove",
        persona_id=view.persona_id,
        subject=f"lora_models:{lora_id}",
        content_sha256=view.sha256,
        details={"name": view.name, "version": view.version},
    )
    events.emit(session, "lora", lora_id)
    return view


def _split(words: str) -> tuple[str, int | None]:
    name, at, version = words.strip().rpartition("@")
    if not at:
        return words.strip(), None
    plain = version.lower().removeprefix("v")
    if not (plain.isascii() and plain.isdecimal() and len(plain) < 10):
        raise InvalidRequest(f"{version!r} is no version.", hint="Write it as mira@2.")
    return name.strip(), int(plain)


def _unknown(words: str) -> UnknownName:
    return UnknownName(f"There is no LoRA {words}.", hint="`persona-tui lora list` shows what there is.")


def _views(session: Session, ids: Sequence[int] | None, persona_id: int | None) -> tuple[LoraView, ...]:
    rows = session.execute(
        text(_LORAS), {"ids": None if ids is None else list(ids), "persona": persona_id}
    ).all()
    users: dict[int, list[LoraUser]] = {}
    for row in session.execute(text(_USERS), {"ids": [row.id for row in rows]}):
        user = LoraUser(row.persona_id, row.persona, row.weight, row.primary)
        users.setdefault(row.lora_model_id, []).append(user)
    return tuple(_view(dict(row._mapping), users.get(row.id, [])) for row in rows)


def _view(row: Mapping[str, Any], users: Sequence[LoraUser]) -> LoraView:
    facts = dict(row)
    details = facts.pop("details")
    scored = details.get("scores") or {}
    return LoraView(
        **facts,
        byte_count=int(details.get("byte_count", 0)),
        key_format=str(details.get("key_format", "unknown")),
        rank=details.get("rank"),
        base_model=str(details.get("base_model", "")),
        default_weight=details.get("weight"),
        warnings=tuple(details.get("warnings", ())),
        key_warnings=tuple(details.get("key_warnings", ())),
        scores=_scores(details.get("scores")),
        scorer=str(scored.get("scorer") or ""),
        weak=scored.get("weak") is True,
        training_run=details.get("training_run"),
        step=details.get("step"),
        weights=str(details.get("weights") or ""),
        base_difference=details.get("base_difference"),
        commercial=None if "non_commercial" not in details else not details["non_commercial"],
        users=tuple(users),
    )


def _scores(told: Any) -> dict[str, float]:
    """The numbers among what was measured; a step is none of them."""
    found = told.items() if isinstance(told, Mapping) else ()
    return {
        str(name): float(value)
        for name, value in found
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }
