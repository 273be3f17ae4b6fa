"""Personas: who they are, how they write, and when their audience is awake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field
from sqlalchemy import func, text
from sqlmodel import Session, col, select

from persona_tui.errors import DuplicateName, NotAllowedNow, UnknownName
from persona_tui.models.persona import Persona
from persona_tui.services import events
from persona_tui.services.inputs import Input, Line, Name, Prose, told, validated
from persona_tui.services.safety import audit, guard

Tone = Literal["casual", "professional", "playful", "inspirational", "edgy"]


def _is_zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("must be an IANA time zone such as Europe/Berlin")
    return value


Zone = Annotated[str, AfterValidator(_is_zone)]


class CaptionVoice(Input):
    """How the persona writes."""

    tone: Tone = "casual"
    voice: Line = ""
    topics: tuple[Line, ...] = ()
    avoid_topics: tuple[Line, ...] = ()
    use_emoji: bool = True
    length: Literal["short", "medium", "long"] = "medium"


class HashtagTaste(Input):
    """Which hashtags the persona uses."""

    own: tuple[Line, ...] = ()
    avoid: tuple[Line, ...] = ()


class PersonaInput(Input):
    """A persona as the operator describes it."""

    name: Name
    description: Prose = ""
    age: Annotated[int, Field(ge=18, le=120)]
    fictional: bool = True
    trigger_word: Line = ""
    zone: Zone = "UTC"
    posts_per_week: Annotated[Decimal, Field(gt=0, le=70)] = Decimal(3)
    voice: CaptionVoice = CaptionVoice()
    hashtags: HashtagTaste = HashtagTaste()
    disclosure: Line = "AI persona"
    late_policy: Literal["reslot", "drop", "ask"] = "ask"


@dataclass(frozen=True)
class PersonaView:
    """A persona as it is shown."""

    id: int
    name: str
    description: str
    age: int
    fictional: bool
    trigger_word: str
    zone: str
    posts_per_week: float
    voice: Mapping[str, Any]
    hashtags: Mapping[str, Any]
    disclosure: str
    late_policy: str
    pillars: int
    pictures: int


_COUNTS = text(
    "SELECT p.id,"
    " (SELECT count(*) FROM content_pillars c WHERE c.persona_id = p.id AND c.active),"
    " (SELECT count(*) FROM cluster_candidates m WHERE m.persona_id = p.id)"
    " FROM personas p WHERE p.archived_at IS NULL"
)


def create_persona(session: Session, values: PersonaInput | Mapping[str, Any]) -> PersonaView:
    """Add a persona.

    Raises:
        InvalidRequest: a field can't be used; the age is under 18.
        DuplicateName: the name is taken.
        GuardRefused: the description is refused.
    """
    data = values if isinstance(values, PersonaInput) else validated(PersonaInput, values)
    persona = Persona(name=data.name, age=data.age)
    _fill(persona, data)
    session.add(persona)
    with told(session, {"uq_personas_name": _taken(data.name)}):
        pass
    guard.pass_text(session, f"{data.name}\n{data.description}", purpose="generator", persona_id=persona.id)
    audit.append(
        session,
        actor="operator",
        action="persona.create",
        persona_id=persona.id,
        subject=f"personas:{persona.id}",
    )
    events.emit(session, "persona", persona.id)
    return get_persona(session, persona.id)


def update_persona(session: Session, persona_id: int, changes: Mapping[str, Any]) -> PersonaView:
    """Change some fields of a persona.

    Raises:
        UnknownName, InvalidRequest, DuplicateName, GuardRefused: as `create_persona`.
    """
    persona = _row(session, persona_id)
    data = validated(PersonaInput, _as_input(persona) | dict(changes))
    _fill(persona, data)
    session.add(persona)
    with told(session, {"uq_personas_name": _taken(data.name)}):
        pass
    guard.pass_text(session, f"{data.name}\n{data.description}", purpose="generator", persona_id=persona.id)
    audit.append(
        session,
        actor="operator",
        action="persona.change",
        persona_id=persona.id,
        subject=f"personas:{persona.id}",
        details={"fields": sorted(changes)},
    )
    events.emit(session, "persona", persona.id)
    return get_persona(session, persona.id)


def list_personas(session: Session) -> tuple[PersonaView, ...]:
    """All personas by name."""
    counts = {row[0]: (row[1], row[2]) for row in session.execute(_COUNTS)}
    rows = session.exec(
        select(Persona).where(col(Persona.archived_at).is_(None)).order_by(func.lower(Persona.name))
    )
    return tuple(_view(row, *counts[row.id]) for row in rows)


def get_persona(session: Session, persona_id: int) -> PersonaView:
    """One persona by id."""
    row = _row(session, persona_id)
    counts = {found[0]: (found[1], found[2]) for found in session.execute(_COUNTS)}
    return _view(row, *counts.get(row.id, (0, 0)))


def find_persona(session: Session, name: str) -> PersonaView:
    """One persona by name, upper and lower case alike.

    Raises:
        UnknownName: lists the names there are.
    """
    row = session.exec(
        select(Persona).where(
            func.lower(Persona.name) == name.strip().lower(), col(Persona.archived_at).is_(None)
        )
    ).first()
    if row is None:
        names = [persona.name for persona in list_personas(session)]
        known = (
            f"There are: {', '.join(names[:10])}."
            if names
            else "Add one with `persona-tui persona add NAME --age 25`."
        )
        raise UnknownName(f"There is no persona called {name!r}.", hint=known)
    return get_persona(session, row.id)


def delete_persona(session: Session, persona_id: int) -> None:
    """Remove a persona that has no content; one with content is kept.

    Raises:
        NotAllowedNow: it has pillars, clusters, photos, posts or runs.
    """
    persona = _row(session, persona_id)
    held = session.execute(
        text(
            "SELECT (SELECT count(*) FROM clusters WHERE persona_id = :id),"
            " (SELECT count(*) FROM photos WHERE persona_id = :id),"
            " (SELECT count(*) FROM scheduling_posts WHERE persona_id = :id),"
            " (SELECT count(*) FROM pipeline_runs WHERE persona_id = :id),"
            " (SELECT count(*) FROM content_pillars WHERE persona_id = :id),"
            " (SELECT count(*) FROM instagram_accounts WHERE persona_id = :id)"
        ),
        {"id": persona_id},
    ).one()
    if any(held):
        raise NotAllowedNow(
            f"{persona.name} still has pillars, pictures, runs, posts or an account.",
            hint="Remove those first; what was posted is never forgotten.",
        )
    audit.append(session, actor="operator", action="persona.delete", subject=f"personas:{persona_id}")
    # Being a pipeline's default is no content.
    session.execute(text("UPDATE pipelines SET persona_id = NULL WHERE persona_id = :id"), {"id": persona_id})
    session.delete(persona)
    session.flush()
    events.emit(session, "persona", persona_id)


def _taken(name: str) -> DuplicateName:
    return DuplicateName(f"There is a persona called {name!r} already.")


def _row(session: Session, persona_id: int) -> Persona:
    persona = session.get(Persona, persona_id)
    if persona is None:
        raise UnknownName(f"There is no persona {persona_id}.", hint="`persona-tui persona list` shows them.")
    return persona


def _fill(persona: Persona, data: PersonaInput) -> None:
    persona.name = data.name
    persona.description = data.description
    persona.age = data.age
    persona.fictional = data.fictional
    persona.trigger_word = data.trigger_word
    persona.zone = data.zone
    persona.posts_per_week = data.posts_per_week
    persona.caption_config = data.voice.model_dump(mode="json")
    persona.hashtag_strategy = data.hashtags.model_dump(mode="json")
    persona.disclosure = data.disclosure
    persona.late_policy = data.late_policy


def _as_input(persona: Persona) -> dict[str, Any]:
    return {
        "name": persona.name,
        "description": persona.description,
        "age": persona.age,
        "fictional": persona.fictional,
        "trigger_word": persona.trigger_word,
        "zone": persona.zone,
        "posts_per_week": persona.posts_per_week,
        "voice": persona.caption_config,
        "hashtags": persona.hashtag_strategy,
        "disclosure": persona.disclosure,
        "late_policy": persona.late_policy,
    }


def _view(persona: Persona, pillars: int, pictures: int) -> PersonaView:
    return PersonaView(
        persona.id,
        persona.name,
        persona.description,
        persona.age,
        persona.fictional,
        persona.trigger_word,
        persona.zone,
        float(persona.posts_per_week),
        persona.caption_config,
        persona.hashtag_strategy,
        persona.disclosure,
        persona.late_policy,
        pillars,
        pictures,
    )
