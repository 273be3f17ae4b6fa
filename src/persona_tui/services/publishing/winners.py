"""From a chosen picture to a draft: the post inherits all that the picture belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, text
from sqlmodel import Session, col, select

from persona_tui.errors import InvalidRequest, NotAllowedNow, UnknownName
from persona_tui.models.post import PostItem, SchedulingPost
from persona_tui.services.library.pictures import PictureRef
from persona_tui.services.publishing.formats import Kind, refuse_pictures
from persona_tui.services.publishing.post_views import PostView, get_post
from persona_tui.services.publishing.transitions import post_rules, save

_BELONGINGS = (
    " p.id AS persona_id, p.zone, g.cluster_id,"
    " coalesce((SELECT s.pillar_id FROM pillar_cluster_assignments s"
    '   WHERE s.cluster_id = g.cluster_id AND s."primary"), g.pillar_id) AS pillar_id'
)
_CANDIDATE = text(
    "SELECT c.sha256, c.status = 'active' AS usable, false AS is_film, c.run_id, r.content_suggestion_id,"
    f"{_BELONGINGS} FROM image_candidates c JOIN pipeline_runs r ON r.id = c.run_id"
    " LEFT JOIN personas p ON p.id = c.persona_id"
    " CROSS JOIN LATERAL (SELECT r.pillar_id, coalesce(r.cluster_id, (SELECT m.cluster_id"
    "   FROM cluster_candidates m WHERE m.image_candidate_id = c.id ORDER BY m.id LIMIT 1)) AS cluster_id) g"
    " WHERE c.id = :id"
)
_PHOTO = text(
    "SELECT f.sha256, f.stage = 'accepted' AND f.deleted_at IS NULL AS usable, f.kind = 'video' AS is_film,"
    f" CAST(NULL AS bigint) AS run_id, CAST(NULL AS bigint) AS content_suggestion_id,{_BELONGINGS}"
    " FROM photos f JOIN personas p ON p.id = f.persona_id"
    " CROSS JOIN LATERAL (SELECT CAST(NULL AS bigint) AS pillar_id, (SELECT m.cluster_id"
    "   FROM cluster_candidates m WHERE m.photo_id = f.id ORDER BY m.id LIMIT 1) AS cluster_id) g"
    " WHERE f.id = :id"
)


def draft_for_winner(
    session: Session,
    candidate_id: int | None = None,
    *,
    photo_id: int | None = None,
    edited: bool = False,
) -> PostView:
    """Draft a post of one generated picture or one photo; asked twice, it gives the same draft back.

    Args:
        candidate_id: the generated picture, or
        photo_id: the photo.
        edited: a model changed the photo.

    Raises:
        InvalidRequest: neither or both were named.
        UnknownName, NotAllowedNow, FormatRefused: as `draft_post`.
    """
    if (candidate_id is None) == (photo_id is None):
        raise InvalidRequest("A draft is made of one candidate or of one photo.")
    ref = PictureRef(photo_id, candidate_id)
    _picture(session, ref)
    existing = _open_draft(session, ref)
    return get_post(session, existing) if existing is not None else draft_post(session, [ref], edited=edited)


def draft_post(
    session: Session,
    refs: Sequence[PictureRef],
    kind: Kind = "single",
    *,
    edited: bool = False,
    persona_id: int | None = None,
) -> PostView:
    """Draft a post of this kind of these pictures, in this order; a story needs no words and is ready.

    Persona, run and suggestion are the first picture's; the cluster is the run's or the picture's own; the
    pillar is the cluster's primary one. A post with a generated picture always carries the AI label, one of
    photographs and films only where a model edited them.

    Args:
        edited: a model changed the photos or the film.
        persona_id: whose pictures they must be.

    Raises:
        UnknownName: no such picture.
        NotAllowedNow: a picture is rejected or belongs to no persona.
        InvalidRequest: they are of several personas or of another one, or one of them comes twice.
        FormatRefused: they make no post of this kind.
    """
    pictures = [_picture(session, ref) for ref in refs]
    refuse_pictures(kind, [picture["is_film"] for picture in pictures])
    owners = {picture["persona_id"] for picture in pictures}
    if len(owners) > 1:
        raise InvalidRequest("The pictures belong to several personas.", hint="Choose those of one persona.")
    if persona_id is not None and owners != {persona_id}:
        raise InvalidRequest("The pictures are another persona's.", hint="Choose some of this persona.")
    if len({picture["sha256"] for picture in pictures}) < len(pictures):
        raise InvalidRequest("One picture comes twice.", hint="Name each picture once.")
    first = pictures[0]
    post = SchedulingPost(
        persona_id=first["persona_id"],
        environment=session.execute(text("SELECT environment FROM installation")).scalar_one(),
        cluster_id=first["cluster_id"],
        pillar_id=first["pillar_id"],
        content_suggestion_id=first["content_suggestion_id"],
        run_id=first["run_id"],
        zone=first["zone"],
        kind=kind,
        state="ready" if kind == "story" else "draft",
        is_ai_generated=edited or any(ref.candidate_id is not None for ref in refs),
    )
    save(session, post, "post.draft", kind=kind)
    for position, (ref, picture) in enumerate(zip(refs, pictures, strict=True), 1):
        _add_item(session, post, picture, ref, position)
    return get_post(session, post.id)


def attach_winner(session: Session, run_id: int, candidate_id: int) -> tuple[PostView, ...]:
    """Give a run's winner to the posts that wait for it: the run's own, and the idea's that name no run.

    An account shows a picture once: of several posts of one account the earliest gets it, the others wait
    on, as does one whose account shows the picture already.

    Returns:
        The posts that have it now; they are ready.

    Raises:
        UnknownName: no such candidate.
        NotAllowedNow: it is rejected, or another run's.
    """
    waiting = _waiting_posts(session, run_id)
    if not waiting:
        return ()
    picture = _picture(session, PictureRef(candidate_id=candidate_id))
    if picture["run_id"] != run_id:
        raise NotAllowedNow("That picture is not one of this run's.", hint="Choose one of the run's own.")
    given = [post.id for post in waiting if _give(session, post, picture, candidate_id)]
    return tuple(get_post(session, post_id) for post_id in given)


def _waiting_posts(session: Session, run_id: int) -> tuple[SchedulingPost, ...]:
    ids = session.execute(
        text(
            "SELECT p.id FROM scheduling_posts p, pipeline_runs r"
            " WHERE r.id = :run AND p.state = 'awaiting_image' AND p.persona_id = r.persona_id"
            " AND (p.run_id = r.id"
            "  OR p.run_id IS NULL AND p.content_suggestion_id = r.content_suggestion_id)"
            " ORDER BY p.run_id NULLS LAST, p.id"
        ),
        {"run": run_id},
    )
    found = session.exec(
        select(SchedulingPost)
        .where(col(SchedulingPost.id).in_(list(ids.scalars())), SchedulingPost.state == "awaiting_image")
        .order_by(col(SchedulingPost.run_id).nulls_last(), col(SchedulingPost.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return tuple(found)


def _give(session: Session, post: SchedulingPost, picture: RowMapping, candidate_id: int) -> bool:
    """Give a waiting post its picture; False where its account shows that picture already."""
    shown = session.execute(
        text(
            "SELECT EXISTS (SELECT FROM post_items WHERE holds AND account_id = :account"
            " AND sha256 = :sha256)"
        ),
        {"account": None if post.repost_allowed else post.account_id, "sha256": picture["sha256"]},
    )
    if shown.scalar_one():
        return False
    _add_item(session, post, picture, PictureRef(candidate_id=candidate_id), 1)
    post.state, post.is_ai_generated, post.run_id = "ready", True, picture["run_id"]
    save(session, post, "post.image", candidate_id=candidate_id)
    return True


def _picture(session: Session, ref: PictureRef) -> RowMapping:
    statement, identifier = (
        (_PHOTO, ref.photo_id) if ref.candidate_id is None else (_CANDIDATE, ref.candidate_id)
    )
    row = session.execute(statement, {"id": identifier}).mappings().one_or_none()
    if row is None:
        raise UnknownName(f"There is no {ref}.")
    if not row["usable"]:
        raise NotAllowedNow("That picture can't be posted: it was rejected or deleted.")
    if row["persona_id"] is None:
        raise NotAllowedNow(
            "The picture belongs to no persona, so nobody could post it.",
            hint="Start the run for a persona.",
        )
    return row


def _open_draft(session: Session, ref: PictureRef) -> int | None:
    found: int | None = session.execute(
        text(
            "SELECT p.id FROM scheduling_posts p JOIN post_items i ON i.post_id = p.id"
            " WHERE p.state IN ('draft', 'ready') AND p.kind = 'single'"
            " AND (i.image_candidate_id = :candidate OR i.photo_id = :photo) ORDER BY p.id LIMIT 1"
        ),
        {"candidate": ref.candidate_id, "photo": ref.photo_id},
    ).scalar_one_or_none()
    return found


def _add_item(
    session: Session, post: SchedulingPost, picture: RowMapping, ref: PictureRef, position: int
) -> None:
    links: dict[str, Any] = {"image_candidate_id": ref.candidate_id, "photo_id": ref.photo_id}
    with post_rules(session):
        session.add(
            PostItem(
                post_id=post.id,
                persona_id=post.persona_id,
                position=position,
                sha256=picture["sha256"],
                **links,
            )
        )
        session.flush()


__all__ = ["attach_winner", "draft_for_winner", "draft_post"]
