"""From a post's rows to a picture that Instagram can fetch and words that passed the guard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.clients.media_host import HostedPicture
from persona_tui.errors import InvalidRequest
from persona_tui.models.post import MediaObject, SchedulingPost
from persona_tui.passed import Passed
from persona_tui.services.publishing.wording import full_caption
from persona_tui.services.safety import guard
from persona_tui.services.safety.disclosure import Provenance

SessionScope = Callable[[], AbstractContextManager[Session]]


@dataclass(frozen=True)
class Material:
    """What a post is made of, before anything was prepared."""

    media_key: str
    provenance: Provenance
    caption: str
    alt_text: str
    is_ai_generated: bool


@dataclass(frozen=True)
class PassedMaterial:
    """What may leave this machine."""

    picture: Passed[bytes]
    caption: Passed[str]
    alt_text: Passed[str] | None
    is_ai_generated: bool


@dataclass(frozen=True)
class Staged:
    """A picture where Instagram can fetch it, with its words."""

    hosted: HostedPicture
    material: PassedMaterial


def read_material(session: Session, post_id: int) -> Material:
    """The post's picture and words.

    Raises:
        InvalidRequest: a kind of post that is not published yet.
    """
    post = session.get_one(SchedulingPost, post_id, populate_existing=True)
    if post.kind != "single":
        raise InvalidRequest(
            f"A {post.kind} can't be published yet, only single pictures.",
            title="Not supported yet",
            hint="Make single posts of its pictures.",
        )
    key, generated = session.execute(
        text(
            "SELECT coalesce(f.media_key, c.media_key), i.image_candidate_id IS NOT NULL FROM post_items i"
            " LEFT JOIN photos f ON f.id = i.photo_id"
            " LEFT JOIN image_candidates c ON c.id = i.image_candidate_id"
            " WHERE i.post_id = :post ORDER BY i.position LIMIT 1"
        ),
        {"post": post_id},
    ).one()
    if generated:
        provenance = Provenance.GENERATED
    else:
        provenance = Provenance.EDITED if post.is_ai_generated else Provenance.PHOTOGRAPH
    labelled = post.is_ai_generated or generated  # what a model made is never sent without its label
    return Material(key, provenance, full_caption(post.caption, post.hashtags), post.alt_text, labelled)


def pass_material(
    session: Session, material: Material, jpeg: bytes, *, persona_id: int, post_id: int
) -> PassedMaterial:
    """Let picture and words through the guard.

    Raises:
        GuardRefused: a rule forbids them.
    """
    subject = f"scheduling_posts:{post_id}"
    return PassedMaterial(
        guard.pass_picture(session, jpeg, purpose="post", persona_id=persona_id, subject=subject),
        guard.pass_text(session, material.caption, purpose="post", persona_id=persona_id),
        guard.pass_text(session, material.alt_text, purpose="post", persona_id=persona_id)
        if material.alt_text
        else None,
        material.is_ai_generated,
    )


def note_hosted(session: Session, post_id: int, hosted: HostedPicture) -> None:
    """Remember a copy, so that housekeeping can take it away; its address may be a secret and is not kept."""
    environment = session.execute(text("SELECT environment FROM installation")).scalar_one()
    session.add(
        MediaObject(
            post_id=post_id,
            environment=environment,
            key=hosted.key,
            sha256=hosted.sha256,
            byte_count=hosted.size,
        )
    )
    session.flush()


__all__ = [
    "Material",
    "PassedMaterial",
    "SessionScope",
    "Staged",
    "note_hosted",
    "pass_material",
    "read_material",
]
