"""Content pillars: a persona's themes, their weights and dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from sqlalchemy import func
from sqlmodel import Session, col, select

from persona_tui.errors import DuplicateName, InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.persona import ContentPillar, ContentSuggestion
from persona_tui.models.post import SchedulingPost
from persona_tui.services import events
from persona_tui.services.inputs import Input, Line, Name, Prose, told, validated


class Guidelines(Input):
    """What belongs into a pillar's pictures and captions."""

    tone: Line = ""
    topics: tuple[Line, ...] = ()
    avoid_topics: tuple[Line, ...] = ()
    style_notes: Prose = ""


class PillarInput(Input):
    """A pillar as the operator describes it."""

    name: Name
    description: Prose = ""
    weight: Annotated[Decimal, Field(ge=0, le=100, decimal_places=2)] = Decimal(0)
    active: bool = True
    start_date: date | None = None
    end_date: date | None = None
    guidelines: Guidelines = Guidelines()
    target_posts_per_week: Annotated[int, Field(ge=0, le=70)] | None = None
    priority: Annotated[int, Field(ge=1, le=5)] = 3

    @model_validator(mode="after")
    def _dates_in_order(self) -> Self:
        if self.start_date and self.end_date and self.end_date <= self.start_date:
            raise ValueError("the end must be after the start")
        return self


@dataclass(frozen=True)
class PillarView:
    """A pillar as it is shown."""

    id: int
    persona_id: int
    name: str
    description: str
    weight: float
    active: bool
    start_date: date | None
    end_date: date | None
    guidelines: Mapping[str, Any]
    target_posts_per_week: int | None
    priority: int

    def is_current(self, today: date) -> bool:
        """Active, and today lies within its dates."""
        return (
            self.active
            and (self.start_date is None or self.start_date <= today)
            and (self.end_date is None or today <= self.end_date)
        )


def create_pillar(session: Session, persona_id: int, values: PillarInput | Mapping[str, Any]) -> PillarView:
    """Add a pillar.

    Raises:
        InvalidRequest: a field can't be used, or active weights would pass 100 %.
        DuplicateName: the persona has a pillar of that name.
    """
    data = values if isinstance(values, PillarInput) else validated(PillarInput, values)
    pillar = ContentPillar(persona_id=persona_id, name=data.name)
    return _save(session, pillar, data)


def update_pillar(session: Session, pillar_id: int, changes: Mapping[str, Any]) -> PillarView:
    """Change some fields of a pillar.

    Raises:
        UnknownName, InvalidRequest, DuplicateName: as `create_pillar`.
    """
    pillar = _row(session, pillar_id)
    known = {field: getattr(pillar, field) for field in PillarInput.model_fields}
    return _save(session, pillar, validated(PillarInput, known | dict(changes)))


def delete_pillar(session: Session, pillar_id: int) -> None:
    """Remove a pillar; its clusters stay, without it.

    Raises:
        NotAllowedNow: ideas or posts refer to it; switch it off instead.
    """
    pillar = _row(session, pillar_id)
    used = (
        session.exec(
            select(func.count()).select_from(SchedulingPost).where(SchedulingPost.pillar_id == pillar_id)
        ).one()
        or session.exec(
            select(func.count())
            .select_from(ContentSuggestion)
            .where(ContentSuggestion.pillar_id == pillar_id)
        ).one()
    )
    if used:
        raise NotAllowedNow(
            f"Ideas or posts belong to {pillar.name}.", hint="Switch the pillar off instead of deleting it."
        )
    session.delete(pillar)
    session.flush()
    events.emit(session, "pillar", pillar_id)


def list_pillars(session: Session, persona_id: int) -> tuple[PillarView, ...]:
    """A persona's pillars, the highest priority and weight first."""
    rows = session.exec(
        select(ContentPillar)
        .where(ContentPillar.persona_id == persona_id)
        .order_by(col(ContentPillar.priority).desc(), col(ContentPillar.weight).desc(), col(ContentPillar.id))
    )
    return tuple(_view(row) for row in rows)


def get_pillar(session: Session, pillar_id: int) -> PillarView:
    """One pillar by id."""
    return _view(_row(session, pillar_id))


def find_pillar(session: Session, persona_id: int, name: str) -> PillarView:
    """One pillar of a persona by name.

    Raises:
        UnknownName: lists the pillars there are.
    """
    pillars = list_pillars(session, persona_id)
    for pillar in pillars:
        if pillar.name.lower() == name.strip().lower():
            return pillar
    known = ", ".join(pillar.name for pillar in pillars[:10])
    raise UnknownName(
        f"There is no pillar called {name!r}.",
        hint=f"There are: {known}." if known else "Add one with `persona-tui pillar add`.",
    )


def _save(session: Session, pillar: ContentPillar, data: PillarInput) -> PillarView:
    pillar.name = data.name
    pillar.description = data.description
    pillar.weight = data.weight
    pillar.active = data.active
    pillar.start_date = data.start_date
    pillar.end_date = data.end_date
    pillar.guidelines = data.guidelines.model_dump(mode="json")
    pillar.target_posts_per_week = data.target_posts_per_week
    pillar.priority = data.priority
    _check_weights(session, pillar)
    session.add(pillar)
    taken = DuplicateName(f"There is a pillar called {data.name!r} already.")
    with told(session, {"uq_content_pillars_persona_id_name": taken}):
        pass
    events.emit(session, "pillar", pillar.id)
    return _view(pillar)


def _check_weights(session: Session, pillar: ContentPillar) -> None:
    """Say it in words here; the database's trigger holds the rule against races at the commit."""
    if not pillar.active:
        return
    with session.no_autoflush:
        others = session.exec(
            select(func.coalesce(func.sum(ContentPillar.weight), 0)).where(
                ContentPillar.persona_id == pillar.persona_id,
                col(ContentPillar.active),
                col(ContentPillar.id) != (pillar.id or 0),
            )
        ).one()
    if others + pillar.weight > 100:
        raise InvalidRequest(
            f"The active pillars would weigh {float(others + pillar.weight):g} % together.",
            title="Over 100 %",
            hint=f"At most {float(100 - others):g} % are left for this pillar.",
        )


def _row(session: Session, pillar_id: int) -> ContentPillar:
    pillar = session.get(ContentPillar, pillar_id)
    if pillar is None:
        raise UnknownName(f"There is no pillar {pillar_id}.")
    return pillar


def _view(pillar: ContentPillar) -> PillarView:
    return PillarView(
        pillar.id,
        pillar.persona_id,
        pillar.name,
        pillar.description,
        float(pillar.weight),
        pillar.active,
        pillar.start_date,
        pillar.end_date,
        pillar.guidelines,
        pillar.target_posts_per_week,
        pillar.priority,
    )
