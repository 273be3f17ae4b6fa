"""Captions: written for the very picture, in the persona's voice, checked by our own rules."""

from __future__ import annotations

import asyncio
import io
import re
from asyncio import to_thread
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlmodel import Session, col, select

from persona_tui.errors import GuardRefused, UnknownName
from persona_tui.models.library import Cluster
from persona_tui.models.persona import ContentPillar, Persona
from persona_tui.models.post import CaptionDraft, SchedulingPost
from persona_tui.passed import Passed
from persona_tui.services.library.clusters import spoken_name
from persona_tui.services.media import MediaStore
from persona_tui.services.planning import hashtags
from persona_tui.services.publishing.post_views import PostView
from persona_tui.services.publishing.posts import write_caption
from persona_tui.services.publishing.wording import (
    MAX_ALT_TEXT,
    MAX_CAPTION,
    WordsRefused,
    checked_words,
    utf16_length,
)
from persona_tui.services.safety import guard
from persona_tui.services.writers import Writer, ask
from persona_tui.text import clean

PATIENCE = 240.0
"""Seconds for all writers together; then the template writes: no post waits five minutes for words."""
TEMPLATE = "template"
SEEN_SIDE = 1024
"""Longest side, in pixels, of the copy that a language model sees."""
LENGTHS = {"short": (80, 220), "medium": (200, 450), "long": (400, 800)}

SessionScope = Callable[[], AbstractContextManager[Session]]

_BAIT = re.compile(
    r"(?i)\b(?:link in (?:my )?bio|dm (?:me|us) for (?:collabs?|promo)|follow (?:for|4) follow)\b"
    r"[^.!?\n]*[.!?]?"
)


class _Caption(BaseModel):
    caption: str = Field(description="the post's text, without hashtags")
    hashtags: list[str] = Field(description="3 to 5 specific hashtags")
    alt_text: str = Field(description="one sentence that tells a blind reader what is in the picture")


@dataclass(frozen=True)
class CaptionProposal:
    """A caption that is ready to be written into a post."""

    caption: str
    hashtags: tuple[str, ...]
    alt_text: str
    written_by: str


@dataclass(frozen=True)
class _Request:
    system: Passed[str]
    prompt: Passed[str]
    pictures: tuple[Passed[bytes], ...]
    persona_id: int
    persona: str
    scene: str
    seen: str
    taste: dict[str, Any]
    disclosure: str
    recent: tuple[str, ...]


async def propose_caption(
    scope: SessionScope,
    writers: Sequence[Writer],
    media: MediaStore,
    post_id: int,
    *,
    max_hashtags: int,
    patience: float = PATIENCE,
) -> CaptionProposal:
    """Write a caption for a post's first picture and keep it as a draft.

    A language model that is away, slow or blocks, or whose words Instagram or the guard would refuse, never
    holds a post up: a template writes then, and says so.

    Args:
        patience: seconds for all writers together.

    Raises:
        UnknownName: no such post.
        GuardRefused: the words of persona, pillar or scene are refused.
    """

    def prepare() -> _Request:
        with scope() as session:
            return _prepare(session, media, post_id)

    request = await to_thread(prepare)

    def keep(written: _Caption, name: str) -> CaptionProposal:
        proposal = _checked(written, name, request, max_hashtags)
        if not proposal.caption:
            raise WordsRefused("There are no words.")
        checked_words(proposal.caption, proposal.hashtags, proposal.alt_text, max_hashtags=max_hashtags)
        with scope() as session:
            _store(session, request.persona_id, post_id, proposal)
        return proposal

    answered = await _asked(writers, request, patience)
    if answered is not None:
        with suppress(WordsRefused, GuardRefused):
            return await to_thread(keep, *answered)
    return await to_thread(keep, _template(request), TEMPLATE)


def write_proposal(
    session: Session, post_id: int, proposal: CaptionProposal, *, max_hashtags: int
) -> PostView:
    """Write proposed words into their post.

    Raises:
        WordsRefused, FormatRefused, GuardRefused, NotAllowedNow: as `posts.write_caption`.
    """
    return write_caption(
        session,
        post_id,
        proposal.caption,
        proposal.hashtags,
        proposal.alt_text,
        written_by=proposal.written_by,
        max_hashtags=max_hashtags,
    )


async def _asked(
    writers: Sequence[Writer], request: _Request, patience: float
) -> tuple[_Caption, str] | None:
    try:
        async with asyncio.timeout(patience):
            return await ask(
                writers, request.system, request.prompt, pictures=request.pictures, schema=_Caption
            )
    except TimeoutError:
        return None


def _prepare(session: Session, media: MediaStore, post_id: int) -> _Request:
    post = session.get(SchedulingPost, post_id)
    if post is None:
        raise UnknownName(f"There is no post {post_id}.")
    persona = session.get_one(Persona, post.persona_id)
    pillar = session.get(ContentPillar, post.pillar_id) if post.pillar_id else None
    cluster = session.get(Cluster, post.cluster_id) if post.cluster_id else None
    scene = (spoken_name(cluster) if cluster else None) or (pillar.name if pillar else persona.name)
    recent = tuple(
        session.exec(
            select(SchedulingPost.caption)
            .where(
                SchedulingPost.persona_id == persona.id,
                SchedulingPost.caption != "",
                SchedulingPost.id != post_id,
            )
            .order_by(col(SchedulingPost.id).desc())
            .limit(10)
        )
    )
    system, prompt = _words(persona, pillar, scene, recent)
    # Decoding comes first: the guard's audit holds a lock until the commit.
    seen = _seen_copy(session, media, post.id)
    subject = f"scheduling_posts:{post.id}"
    return _Request(
        guard.pass_text(session, system, purpose="language_model", persona_id=persona.id),
        guard.pass_text(session, prompt, purpose="language_model", persona_id=persona.id),
        tuple(
            guard.pass_picture(
                session, copy, purpose="language_model", persona_id=persona.id, subject=subject
            )
            for copy in seen
        ),
        persona.id,
        persona.name,
        scene,
        _described(session, post_id),
        persona.hashtag_strategy,
        persona.disclosure,
        recent,
    )


def _described(session: Session, post_id: int) -> str:
    """What is known to be on the post's first picture: the operator's words, else the vision model's."""
    found: str | None = session.execute(
        text(
            "SELECT coalesce(nullif(f.caption, ''), a.caption, '') FROM post_items i"
            " LEFT JOIN photos f ON f.id = i.photo_id"
            " LEFT JOIN picture_analyses a ON a.photo_id = i.photo_id"
            "  OR a.image_candidate_id = i.image_candidate_id"
            " WHERE i.post_id = :post ORDER BY i.position LIMIT 1"
        ),
        {"post": post_id},
    ).scalar_one_or_none()
    return clean(found or "", keep_lines=False)


def _seen_copy(session: Session, media: MediaStore, post_id: int) -> tuple[bytes, ...]:
    """The post's first picture, or its film's middle frame, as a small JPEG, if it has one."""
    key = session.execute(
        text(
            "SELECT coalesce(f.poster_key, f.media_key, c.media_key) FROM post_items i"
            " LEFT JOIN photos f ON f.id = i.photo_id"
            " LEFT JOIN image_candidates c ON c.id = i.image_candidate_id"
            " WHERE i.post_id = :post ORDER BY i.position LIMIT 1"
        ),
        {"post": post_id},
    ).scalar_one_or_none()
    if key is None:
        return ()
    with Image.open(io.BytesIO(media.get(key))) as image:
        small = image.convert("RGB")
    small.thumbnail((SEEN_SIDE, SEEN_SIDE))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=85)
    return (out.getvalue(),)


def _words(
    persona: Persona, pillar: ContentPillar | None, scene: str, recent: tuple[str, ...]
) -> tuple[str, str]:
    voice = persona.caption_config
    shortest, longest = LENGTHS.get(voice.get("length", "medium"), LENGTHS["medium"])
    system = (
        "You write Instagram captions in a persona's voice. Moment over appearance, concrete, understated, "
        "no claim to be human, no call to follow, no link in bio, no hashtags inside the caption. "
        "Answer in JSON."
    )
    lines = [
        f"Persona: {persona.name}. {persona.description}",
        f"Tone: {voice.get('tone', 'casual')}. {voice.get('voice', '')}",
        f"Length: {shortest} to {longest} characters.",
        "Emoji: at most one." if voice.get("use_emoji", True) else "No emoji.",
        f"Scene: {scene}.",
    ]
    if pillar is not None:
        lines.append(f"Pillar: {pillar.name}. {pillar.description}")
        if pillar.guidelines.get("avoid_topics"):
            lines.append("Avoid: " + ", ".join(pillar.guidelines["avoid_topics"]))
    if recent:
        lines.append("Do not repeat these: " + " | ".join(caption[:160] for caption in recent))
    lines.append("Look at the picture and use what can be seen.")
    return system, "\n".join(lines)


def _template(request: _Request) -> _Caption:
    return _Caption(
        caption=f"{request.scene}. A quiet moment, kept.",
        hashtags=re.findall(r"\w{4,}", request.scene)[:3],
        alt_text=request.seen or f"{request.scene}.",
    )


def _checked(written: _Caption, name: str, request: _Request, most: int) -> CaptionProposal:
    caption = _BAIT.sub("", clean(written.caption))
    caption = re.sub(r"(?<!\w)#\w+", "", caption)
    caption = re.sub(r"\n{3,}", "\n\n", caption).strip()
    if any(_overlap(caption, old) > 0.6 for old in request.recent):
        caption = f"{caption}\n\n{request.scene}."
    tags = hashtags.choose(written.hashtags, request.taste, most=most)
    room = MAX_CAPTION - sum(len(tag) + 2 for tag in tags) - len(request.disclosure) - 4
    caption = _cut(caption, room)
    if request.disclosure and request.disclosure.lower() not in caption.lower():
        caption = f"{caption}\n\n{request.disclosure}"
    return CaptionProposal(caption, tags, _cut(clean(written.alt_text, keep_lines=False), MAX_ALT_TEXT), name)


def _cut(words: str, most: int) -> str:
    """The words up to the last whole one that fits, counted as Instagram may count."""
    if utf16_length(words) <= most:
        return words
    return words.encode("utf-16-le")[: 2 * most].decode("utf-16-le", "ignore").rsplit(" ", 1)[0]


def _overlap(one: str, other: str) -> float:
    """Share of the first text's three-word runs that the second one has as well."""
    runs = [_runs(caption) for caption in (one, other)]
    return len(runs[0] & runs[1]) / len(runs[0]) if runs[0] else 0.0


def _runs(caption: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w{3,}", caption.lower())
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}


def _store(session: Session, persona_id: int, post_id: int, proposal: CaptionProposal) -> None:
    guard.pass_text(session, proposal.caption, purpose="post", persona_id=persona_id)
    session.add(
        CaptionDraft(
            persona_id=persona_id,
            post_id=post_id,
            caption=proposal.caption,
            hashtags=list(proposal.hashtags),
            alt_text=proposal.alt_text,
            written_by=proposal.written_by,
        )
    )
    session.flush()
