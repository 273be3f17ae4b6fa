"""Ideas for a pillar's gap: proposed by a language model, decided on by the operator.

An outside call never runs inside a transaction: prepare (session), ask (no session), store (session).
"""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy import func, text
from sqlmodel import Session, col, select

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.library import Cluster, PillarClusterAssignment
from persona_tui.models.persona import ContentPillar, ContentSuggestion, Persona
from persona_tui.passed import Passed
from persona_tui.services import events
from persona_tui.services.inputs import Input, Line, Prose, validated
from persona_tui.services.planning import gaps
from persona_tui.services.safety import audit, guard
from persona_tui.services.writers import Writer, ask

MAX_IDEAS = 10

SessionScope = Callable[[], AbstractContextManager[Session]]


class _Idea(BaseModel):
    title: str = Field(description="2 to 6 words that name the scene")
    description: str = Field(description="one or two sentences for the operator")
    prompt: str = Field(description="one paragraph that describes the picture to a generator")


class _Ideas(BaseModel):
    ideas: list[_Idea]


class IdeaInput(Input):
    """An idea before it is stored."""

    title: Line = Field(min_length=1)
    description: Prose = ""
    prompt: Prose = Field(min_length=1)


@dataclass(frozen=True)
class IdeaView:
    """An idea as it is shown."""

    id: int
    persona_id: int
    pillar_id: int
    pillar: str
    cluster_id: int | None
    title: str
    description: str
    prompt: str
    status: str
    reason: str
    written_by: str
    created_at: datetime


@dataclass(frozen=True)
class _Request:
    system: Passed[str]
    prompt: Passed[str]
    persona_id: int
    pillar_id: int
    pillar: str
    persona: str
    gap_analysis_id: int
    reason: str
    taken_titles: frozenset[str]


async def propose_ideas(
    scope: SessionScope,
    writers: Sequence[Writer],
    persona_id: int,
    pillar_id: int,
    *,
    count: int = 3,
    now: datetime,
) -> tuple[IdeaView, ...]:
    """Propose ideas for a pillar; without a language model they come from templates and say so.

    Args:
        count: 1 to 10.
        now: the instant of the gap analysis, UTC.

    Raises:
        InvalidRequest: count out of range.
        GuardRefused: what would be asked is refused.
    """
    if not 1 <= count <= MAX_IDEAS:
        raise InvalidRequest(f"{count} ideas can't be asked for.", hint=f"Ask for 1 to {MAX_IDEAS}.")

    def prepare() -> _Request:
        with scope() as session:
            return _prepare(session, persona_id, pillar_id, count, now)

    request = await to_thread(prepare)
    answered = await ask(writers, request.system, request.prompt, schema=_Ideas)
    ideas, written_by = (answered[0].ideas, answered[1]) if answered else ([], "template")
    if not ideas:
        ideas, written_by = _from_template(request, count), "template"

    def store() -> tuple[IdeaView, ...]:
        with scope() as session:
            return _store(session, request, ideas[:count], written_by)

    return await to_thread(store)


def list_ideas(
    session: Session, persona_id: int, *, statuses: Sequence[str] = ("pending", "accepted"), limit: int = 200
) -> tuple[IdeaView, ...]:
    """Ideas of a persona, the newest first."""
    rows = session.exec(
        select(ContentSuggestion, ContentPillar.name)
        .join(ContentPillar, col(ContentPillar.id) == ContentSuggestion.pillar_id)
        .where(ContentSuggestion.persona_id == persona_id, col(ContentSuggestion.status).in_(statuses))
        .order_by(col(ContentSuggestion.id).desc())
        .limit(limit)
    )
    return tuple(_view(idea, pillar) for idea, pillar in rows)


def get_idea(session: Session, idea_id: int) -> IdeaView:
    """One idea by id."""
    idea = _row(session, idea_id)
    return _view(idea, session.get_one(ContentPillar, idea.pillar_id).name)


def accept_idea(session: Session, idea_id: int) -> IdeaView:
    """Accept an idea: it gets a cluster of its own, whose primary pillar is the idea's.

    Raises:
        NotAllowedNow: it was rejected or used.
    """
    idea = _row(session, idea_id)
    if idea.status == "accepted":
        return get_idea(session, idea_id)
    if idea.status != "pending":
        raise NotAllowedNow(f"The idea is {idea.status} already.", hint="Choose one that is pending.")
    cluster = Cluster(
        persona_id=idea.persona_id,
        name=_free_cluster_name(session, idea.persona_id, idea.title),
        ai_prompt=idea.prompt,
    )
    session.add(cluster)
    session.flush()
    session.add(
        PillarClusterAssignment(
            persona_id=idea.persona_id, pillar_id=idea.pillar_id, cluster_id=cluster.id, primary=True
        )
    )
    idea.status = "accepted"
    idea.cluster_id = cluster.id
    _decide(session, idea, "idea.accept")
    events.emit(session, "cluster", cluster.id)
    return get_idea(session, idea_id)


def reject_idea(session: Session, idea_id: int, reason: str = "") -> IdeaView:
    """Reject an idea; the reason is kept, so that the next ones can learn from it.

    Raises:
        NotAllowedNow: it was used.
    """
    idea = _row(session, idea_id)
    if idea.status == "used":
        raise NotAllowedNow("The idea has been used already.", hint="Its pictures are in its cluster.")
    idea.status = "rejected"
    if reason:
        idea.reason = reason
    _decide(session, idea, "idea.reject")
    return get_idea(session, idea_id)


def edit_idea(session: Session, idea_id: int, changes: Mapping[str, Any]) -> IdeaView:
    """Change title, description or prompt of an idea that is not used.

    Raises:
        NotAllowedNow: it was used.
        GuardRefused: the new text is refused.
    """
    idea = _row(session, idea_id)
    if idea.status == "used":
        raise NotAllowedNow("The idea has been used already.", hint="Ask for a new one.")
    known = {"title": idea.title, "description": idea.description, "prompt": idea.prompt}
    data = validated(IdeaInput, known | dict(changes))
    guard.pass_text(
        session,
        f"{data.title}\n{data.description}\n{data.prompt}",
        purpose="generator",
        persona_id=idea.persona_id,
    )
    idea.title, idea.description, idea.prompt = data.title, data.description, data.prompt
    _decide(session, idea, "idea.change")
    return get_idea(session, idea_id)


def mark_used(session: Session, idea_id: int) -> None:
    """An accepted idea's pictures are being made."""
    idea = _row(session, idea_id)
    if idea.status == "accepted":
        idea.status = "used"
        _decide(session, idea, "idea.use")


def _prepare(session: Session, persona_id: int, pillar_id: int, count: int, now: datetime) -> _Request:
    persona = session.get(Persona, persona_id)
    pillar = session.get(ContentPillar, pillar_id)
    if persona is None or pillar is None or pillar.persona_id != persona_id:
        raise UnknownName("There is no such pillar of this persona.")
    coverage = gaps.analyse(session, persona_id, now)
    analysis_id = gaps.record(session, persona_id, coverage)
    mine = next((gap for gap in coverage if gap.pillar_id == pillar_id), None)
    reason = f"{mine.gap} pictures missing" if mine and mine.gap > 0 else "asked for by the operator"
    titles = session.exec(
        select(ContentSuggestion.title)
        .where(ContentSuggestion.pillar_id == pillar_id)
        .order_by(col(ContentSuggestion.id).desc())
        .limit(40)
    ).all()
    rejected = session.exec(
        select(ContentSuggestion.title, ContentSuggestion.reason)
        .where(ContentSuggestion.pillar_id == pillar_id, ContentSuggestion.status == "rejected")
        .order_by(col(ContentSuggestion.id).desc())
        .limit(10)
    ).all()
    system, prompt = _words(persona, pillar, count, list(titles), [tuple(row) for row in rejected])
    return _Request(
        guard.pass_text(session, system, purpose="language_model", persona_id=persona_id),
        guard.pass_text(session, prompt, purpose="language_model", persona_id=persona_id),
        persona_id,
        pillar_id,
        pillar.name,
        persona.name,
        analysis_id,
        reason,
        frozenset(title.lower() for title in titles),
    )


def _words(
    persona: Persona,
    pillar: ContentPillar,
    count: int,
    titles: list[str],
    rejected: list[tuple[Any, ...]],
) -> tuple[str, str]:
    system = (
        "You plan pictures for the Instagram account of a fictional adult persona. Each idea is one scene "
        "that can be photographed. A prompt names subject, clothing, action, place, light, lens and mood "
        "in one paragraph. Moments over poses; understated; never sexual. Answer in JSON."
    )
    lines = [
        f"Persona: {persona.name}, {persona.age} years old. {persona.description}",
        f"Pillar: {pillar.name}. {pillar.description}",
    ]
    for field, label in (
        ("tone", "Tone"),
        ("topics", "Topics"),
        ("avoid_topics", "Avoid"),
        ("style_notes", "Style"),
    ):
        value = pillar.guidelines.get(field)
        if value:
            lines.append(f"{label}: {', '.join(value) if isinstance(value, list) else value}")
    if titles:
        lines.append("Already proposed, so propose others: " + "; ".join(titles))
    for title, reason in rejected:
        lines.append(f"Rejected: {title}" + (f" ({reason})" if reason else ""))
    lines.append(f"Propose {count} ideas, each different in place, light and action.")
    return system, "\n".join(lines)


_TEMPLATES = (
    ("{pillar}, first light", "window light from the left, steam from a cup, calm morning"),
    ("{pillar}, hands at work", "close view of hands at work, shallow depth of field, warm tones"),
    ("{pillar}, a quiet corner", "a quiet corner of the room, soft shadows, muted colours"),
    ("{pillar}, after the rain", "wet stone and reflections outside, overcast light, a dark coat"),
    ("{pillar}, evening lamp", "a single lamp in the evening, long shadows, a half-finished cup of tea"),
)


def _from_template(request: _Request, count: int) -> list[_Idea]:
    ideas: list[_Idea] = []
    number = 1
    while len(ideas) < count:
        for title, scene in _TEMPLATES:
            name = title.format(pillar=request.pillar) + (f" {number}" if number > 1 else "")
            if name.lower() not in request.taken_titles and len(ideas) < count:
                ideas.append(
                    _Idea(
                        title=name,
                        description=f"A template for {request.pillar}: change it to taste.",
                        prompt=f"{request.persona}, {request.pillar.lower()}, {scene}, 35 mm photograph",
                    )
                )
        number += 1
    return ideas


def _store(
    session: Session, request: _Request, ideas: Sequence[_Idea], written_by: str
) -> tuple[IdeaView, ...]:
    stored: list[ContentSuggestion] = []
    for idea in ideas:
        data = validated(IdeaInput, idea.model_dump())
        guard.pass_text(
            session,
            f"{data.title}\n{data.description}\n{data.prompt}",
            purpose="generator",
            persona_id=request.persona_id,
        )
        row = ContentSuggestion(
            persona_id=request.persona_id,
            pillar_id=request.pillar_id,
            gap_analysis_id=request.gap_analysis_id,
            title=data.title,
            description=data.description,
            prompt=data.prompt,
            reason=request.reason,
            written_by=written_by,
        )
        session.add(row)
        session.flush()
        events.emit(session, "idea", row.id)
        stored.append(row)
    return tuple(_view(row, request.pillar) for row in stored)


def _decide(session: Session, idea: ContentSuggestion, action: str) -> None:
    idea.decided_at = session.execute(text("SELECT persona_now()")).scalar_one()
    session.add(idea)
    session.flush()
    audit.append(
        session,
        actor="operator",
        action=action,
        persona_id=idea.persona_id,
        subject=f"content_suggestions:{idea.id}",
    )
    events.emit(session, "idea", idea.id)


def _free_cluster_name(session: Session, persona_id: int, title: str) -> str:
    base = title.strip()[:110]
    taken = {
        name.lower()
        for name in session.exec(
            select(Cluster.name).where(
                Cluster.persona_id == persona_id,
                func.lower(Cluster.name).startswith(base.lower(), autoescape=True),
            )
        )
    }
    name, number = base, 2
    while name.lower() in taken:
        name, number = f"{base} {number}", number + 1
    return name


def _row(session: Session, idea_id: int) -> ContentSuggestion:
    idea = session.get(ContentSuggestion, idea_id)
    if idea is None:
        raise UnknownName(f"There is no idea {idea_id}.", hint="`persona-tui idea list PERSONA` shows them.")
    return idea


def _view(idea: ContentSuggestion, pillar: str) -> IdeaView:
    return IdeaView(
        idea.id,
        idea.persona_id,
        idea.pillar_id,
        pillar,
        idea.cluster_id,
        idea.title,
        idea.description,
        idea.prompt,
        idea.status,
        idea.reason,
        idea.written_by,
        idea.created_at,
    )
