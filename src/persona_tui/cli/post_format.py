"""What is typed about a post's kind, pictures, tags and the like, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from persona_tui.errors import InvalidRequest

if TYPE_CHECKING:
    from persona_tui.services.library.pictures import PictureRef
    from persona_tui.services.publishing.formats import Format, Kind
    from persona_tui.services.publishing.framing import Fit
    from persona_tui.services.publishing.post_views import PostView


def kind_of(typed: str) -> Kind:
    """The kind of that name.

    Raises:
        InvalidRequest: there is none.
    """
    from persona_tui.services.publishing.formats import KINDS

    for kind in KINDS:
        if typed == kind:
            return kind
    raise InvalidRequest(f"{typed!r} is no kind of post.", hint=f"One of {', '.join(KINDS)}.")


def pictures_of(ordered: Sequence[str], photos: Sequence[int], candidates: Sequence[int]) -> list[PictureRef]:
    """The pictures in the post's order.

    Raises:
        InvalidRequest: words that name none.
    """
    from persona_tui.cli.search import ref_of
    from persona_tui.services.library.pictures import PictureRef

    return [
        *(ref_of(words) for words in ordered),
        *(PictureRef(photo_id=number) for number in photos),
        *(PictureRef(candidate_id=number) for number in candidates),
    ]


def changed(
    format: Format,
    tags: Sequence[str] | None,
    place: str | None,
    collaborators: Sequence[str] | None,
    first_comment: str | None,
    cover: float | None,
    feed: bool | None,
    fit: Fit | None = None,
) -> Format:
    """The format with what was typed; None stays as it is, '' takes away.

    Raises:
        FormatRefused: a tag can't be read.
    """
    from persona_tui.services.publishing.formats import parse_tag

    changes: dict[str, Any] = {
        "location_id": place,
        "first_comment": first_comment,
        "share_to_feed": feed,
        "fit": fit,
    }
    if tags is not None:
        changes["user_tags"] = tuple(parse_tag(tag) for tag in tags if tag)
    if collaborators is not None:
        changes["collaborators"] = tuple(name.removeprefix("@") for name in collaborators if name)
    if cover is not None:
        changes["cover_ms"] = round(cover * 1000)
    return replace(format, **{name: value for name, value in changes.items() if value is not None})


def extras(post: PostView) -> Iterator[str]:
    """Lines on what is said beyond the words; what is not there is left out."""
    from persona_tui.services.publishing.formats import UserTag, written_tag

    yield f"kind: {post.kind}, {len(post.pictures)} {'picture' if len(post.pictures) == 1 else 'pictures'}"
    if post.user_tags:
        yield "tags: " + " ".join(written_tag(UserTag(**tag)) for tag in post.user_tags)
    if post.collaborators:
        yield "collaborators: " + " ".join(f"@{name}" for name in post.collaborators)
    if post.location_id:
        yield f"place: {post.location_id}"
    if post.cover_ms is not None:
        yield f"cover: at {post.cover_ms / 1000:g} s"
    if post.first_comment:
        yield f"first comment: {post.comment_state} {post.comment_reason}".rstrip()
        yield f"  {post.first_comment}"
