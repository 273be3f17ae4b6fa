"""From a post's rows to pictures that Instagram can fetch and words that passed the guard."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.instagram_media import ContainerKind, NewContainer
from persona_tui.models.post import SchedulingPost
from persona_tui.passed import Passed
from persona_tui.services.publishing.formats import Format, UserTag, format_of, refuse_unfit, tag_fields
from persona_tui.services.publishing.framing import FaceBox
from persona_tui.services.publishing.wording import full_caption
from persona_tui.services.safety import guard
from persona_tui.services.safety.disclosure import Provenance, is_ai_label

SessionScope = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True)
class Source:
    """One picture or film of a post, as it lies in the media store."""

    position: int
    media_key: str
    provenance: Provenance
    is_film: bool
    faces: tuple[FaceBox, ...] = ()
    """Of a picture that was looked at for some, the surest first."""


@dataclass(frozen=True)
class Material:
    """What a post is made of, before anything was prepared."""

    format: Format
    sources: tuple[Source, ...]
    caption: str
    alt_text: str
    is_ai_generated: bool


@dataclass(frozen=True)
class PassedWords:
    """What of a post's words may leave this machine.

    Attributes:
        tags: per position, as Meta's JSON.
        collaborators: likewise.
    """

    format: Format
    caption: Passed[str]
    alt_text: Passed[str] | None
    tags: Mapping[int, Passed[str]]
    collaborators: Passed[str] | None
    is_ai_generated: bool

    def item(self, position: int, url: str) -> NewContainer:
        """A carousel's item: the words of one picture, and neither caption nor label."""
        return NewContainer(
            ContainerKind.CHILD, image_url=url, alt_text=self.alt_text, user_tags=self.tags.get(position)
        )

    def carousel(self, children: tuple[str, ...]) -> NewContainer:
        """The carousel as a whole."""
        return NewContainer(ContainerKind.CAROUSEL, children=children, **self._of_the_whole())

    def lone(self, url: str, *, is_film: bool) -> NewContainer:
        """A post of one picture or one film."""
        address: dict[str, Any] = {
            ("video_url" if is_film else "image_url"): url,
            "user_tags": self.tags.get(1),
        }
        if self.format.kind == "story":
            return NewContainer(ContainerKind.STORY, is_ai_generated=self.is_ai_generated, **address)
        if self.format.kind == "reel":
            show: dict[str, Any] = {
                "share_to_feed": self.format.share_to_feed,
                "cover_ms": self.format.cover_ms,
            }
            return NewContainer(ContainerKind.REEL, **address, **show, **self._of_the_whole())
        return NewContainer(ContainerKind.IMAGE, alt_text=self.alt_text, **address, **self._of_the_whole())

    def _of_the_whole(self) -> dict[str, Any]:
        return {
            "caption": self.caption,
            "collaborators": self.collaborators,
            "location_id": self.format.location_id or None,
            "is_ai_generated": self.is_ai_generated,
        }


def read_material(session: Session, post_id: int) -> Material:
    """The post's pictures and words.

    Raises:
        InvalidRequest: Instagram would refuse the post as it is.
    """
    post = session.get_one(SchedulingPost, post_id, populate_existing=True)
    rows = session.execute(_SOURCES, {"post": post_id}).all()
    format = format_of(post)
    refuse_unfit(format, films=[row.is_film for row in rows])
    of_photos = Provenance.EDITED if post.is_ai_generated else Provenance.PHOTOGRAPH
    sources = tuple(
        Source(
            row.position,
            row.media_key,
            Provenance.GENERATED if row.generated else of_photos,
            row.is_film,
            tuple(_box(face) for face in row.faces or ()),
        )
        for row in rows
    )
    # What a model made is never sent without its label.
    labelled = post.is_ai_generated or any(is_ai_label(source.provenance) for source in sources)
    return Material(format, sources, full_caption(post.caption, post.hashtags), post.alt_text, labelled)


_SOURCES = text(
    "SELECT i.position, coalesce(f.media_key, c.media_key) AS media_key,"
    " i.image_candidate_id IS NOT NULL AS generated, coalesce(f.kind = 'video', false) AS is_film,"
    " a.details -> 'faces' AS faces"
    " FROM post_items i LEFT JOIN photos f ON f.id = i.photo_id"
    " LEFT JOIN image_candidates c ON c.id = i.image_candidate_id"
    " LEFT JOIN picture_analyses a"
    "  ON a.photo_id = i.photo_id OR a.image_candidate_id = i.image_candidate_id"
    " WHERE i.post_id = :post ORDER BY i.position"
)


def _box(face: Mapping[str, float]) -> FaceBox:
    return FaceBox(face["left"], face["top"], face["width"], face["height_share"])


def pass_words(session: Session, material: Material, *, persona_id: int) -> PassedWords:
    """Let the post's words through the guard, the names of accounts among them.

    Raises:
        GuardRefused: a rule forbids them.
    """

    def passed(words: str) -> Passed[str]:
        return guard.pass_text(session, words, purpose="post", persona_id=persona_id)

    format = material.format
    return PassedWords(
        format,
        passed(material.caption),
        passed(material.alt_text) if material.alt_text else None,
        {position: passed(_tags_json(tags)) for position, tags in format.tags_by_position().items()},
        passed(json.dumps(list(format.collaborators))) if format.collaborators else None,
        material.is_ai_generated,
    )


def _tags_json(tags: list[UserTag]) -> str:
    return json.dumps([tag_fields(tag) for tag in tags])


def pass_picture(session: Session, picture: bytes, *, persona_id: int, post_id: int) -> Passed[bytes]:
    """Let a finished picture through the guard.

    Raises:
        GuardRefused: a rule forbids it.
    """
    subject = f"scheduling_posts:{post_id}"
    return guard.pass_picture(session, picture, purpose="post", persona_id=persona_id, subject=subject)


def pass_film(session: Session, film: Path, *, persona_id: int, post_id: int) -> Passed[Path]:
    """Let a finished film through the guard; raises likewise."""
    subject = f"scheduling_posts:{post_id}"
    return guard.pass_film(session, film, purpose="post", persona_id=persona_id, subject=subject)


__all__ = [
    "Material",
    "PassedWords",
    "SessionScope",
    "Source",
    "pass_film",
    "pass_picture",
    "pass_words",
    "read_material",
]
