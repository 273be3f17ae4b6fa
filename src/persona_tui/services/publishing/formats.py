"""What kind of post it is and what belongs to the kind: pictures, tags, place, collaborators, first comment.

Meta's table of parameters (publishing reference, A.3) as rules with a sentence each, so that nothing is sent
that Meta would refuse. A story has no caption, place, collaborators or comments; a reel names accounts
without a place in the film; a carousel's tags belong to its pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from sqlalchemy import text
from sqlmodel import Session

from persona_tui.errors import InvalidRequest
from persona_tui.models.post import SchedulingPost
from persona_tui.services.publishing.framing import Fit
from persona_tui.services.publishing.post_views import PostView, get_post
from persona_tui.services.publishing.transitions import PostBusy, locked_post, maybe_published, save
from persona_tui.services.publishing.wording import checked_comment
from persona_tui.services.safety import guard

Kind = Literal["single", "carousel", "story", "reel"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_PICTURES = 10
"""Of a carousel through the API; the app allows 20."""
MOST_COLLABORATORS = 3
MOST_TAGS = 20
"""Accounts named in one picture."""
STORY_HAS_NO_WORDS = "A story has no words: neither caption nor alternative text."
CHANGES_IN = frozenset(
    {"draft", "awaiting_image", "ready", "scheduled", "fix_needed", "paused", "deferred", "missed", "failed"}
)
"""States in which words and format may still be changed."""

_USERNAME = re.compile(r"[A-Za-z0-9._]{1,30}")
_TAG = re.compile(r"@?([^\s:@,]+)(?::([0-9.]+),([0-9.]+))?(?::([0-9]{1,2}))?")
_PLACE = re.compile(r"[0-9]{1,32}")


class FormatRefused(InvalidRequest):
    """Instagram would not take such a post."""

    title = "Instagram would refuse it"
    hint = "Change what the post is made of."


@dataclass(frozen=True)
class UserTag:
    """An account named in a picture: x from the left and y from the top, 0 to 1; positions count from 1."""

    username: str
    x: float | None = None
    y: float | None = None
    position: int = 1


@dataclass(frozen=True)
class Format:
    """A post's kind, and what is said beyond its words.

    Attributes:
        location_id: of a Facebook Page that has a place.
        share_to_feed: a reel shows in the feed too.
        cover_ms: the moment of a reel that is its cover, in milliseconds; None: Instagram chooses.
        first_comment: written below the post as soon as it is out.
        fit: what becomes of a picture whose shape Instagram does not take.
    """

    kind: Kind = "single"
    user_tags: tuple[UserTag, ...] = ()
    collaborators: tuple[str, ...] = ()
    location_id: str = ""
    share_to_feed: bool = True
    cover_ms: int | None = None
    first_comment: str = ""
    fit: Fit = "crop"

    def tags_by_position(self) -> dict[int, list[UserTag]]:
        """The tags of each picture that has some."""
        found: dict[int, list[UserTag]] = {}
        for tag in self.user_tags:
            found.setdefault(tag.position, []).append(tag)
        return found


def parse_tag(typed: str) -> UserTag:
    """A tag as it is typed: @name, @name:x,y or @name:x,y:position.

    Raises:
        FormatRefused: it is none.
    """
    found = _TAG.fullmatch(typed.strip())
    try:
        if found is None:
            raise ValueError
        name, x, y, position = found.groups()
        across, down = (float(x), float(y)) if x is not None else (None, None)
    except ValueError:
        raise FormatRefused(
            f"{typed!r} is no tag.",
            hint="Write @name:x,y with x and y from 0 to 1; :2 for the second picture.",
        ) from None
    return UserTag(name, across, down, int(position or 1))


def written_tag(tag: UserTag) -> str:
    """A tag as `parse_tag` reads it."""
    at = "" if tag.x is None or tag.y is None else f":{tag.x:g},{tag.y:g}"
    return f"@{tag.username}{at}" + (f":{tag.position}" if tag.position > 1 else "")


def format_of(post: SchedulingPost | PostView) -> Format:
    """A post's format, from its row or its view."""
    return Format(
        kind=cast("Kind", post.kind),
        user_tags=tuple(UserTag(**tag) for tag in post.user_tags),
        collaborators=tuple(post.collaborators),
        location_id=post.location_id,
        share_to_feed=post.share_to_feed,
        cover_ms=post.cover_ms,
        first_comment=post.first_comment,
        fit=cast("Fit", post.fit),
    )


def set_format(session: Session, post_id: int, format: Format, *, max_hashtags: int = 5) -> PostView:
    """Say what kind of post it is, and its tags, place, collaborators, cover and first comment.

    Args:
        format: all of it; what it leaves out is taken away.
        max_hashtags: `settings.instagram.max_hashtags`, of the first comment.

    Raises:
        FormatRefused: Instagram would refuse such a post.
        WordsRefused, GuardRefused: the first comment does not fit, or is forbidden.
        PostBusy: the post is past changing.
    """
    post = locked_post(session, post_id)
    if post.state not in CHANGES_IN or maybe_published(session, post_id):
        raise PostBusy(f"A post that is {post.state.replace('_', ' ')} can't be changed.")
    films = films_of(session, post_id)
    refuse_extras(format, pictures=max(len(films), 1))
    if films:
        refuse_pictures(format.kind, films)
    if format.kind == "story" and (post.caption or post.hashtags or post.alt_text):
        raise FormatRefused(STORY_HAS_NO_WORDS, hint="Take caption and alternative text away first.")
    comment = checked_comment(format.first_comment, max_hashtags=max_hashtags)
    for words in (comment, *(tag.username for tag in format.user_tags), *format.collaborators):
        if words:
            guard.pass_text(session, words, purpose="post", persona_id=post.persona_id)
    post.kind, post.location_id = format.kind, format.location_id
    post.user_tags = [asdict(tag) for tag in format.user_tags]
    post.collaborators = list(format.collaborators)
    post.share_to_feed, post.cover_ms = format.share_to_feed, format.cover_ms
    post.fit = format.fit
    post.first_comment, post.comment_state = comment, "waiting" if comment else ""
    drop_container(post)
    if post.state == "draft" and films and (post.caption or format.kind == "story"):
        post.state = "ready"
    save(session, post, "post.format", kind=format.kind)
    return get_post(session, post_id)


def drop_container(post: SchedulingPost) -> None:
    """Forget containers that were made and never sent: they hold other words, or are another account's."""
    post.creation_id, post.container_created_at, post.child_creation_ids = None, None, []


def refuse_unfit(format: Format, *, films: Sequence[bool]) -> None:
    """Refuse what Instagram would refuse.

    Args:
        films: for each picture in order, whether it is a film.

    Raises:
        FormatRefused: with a sentence on the first rule that it breaks.
    """
    refuse_pictures(format.kind, films)
    refuse_extras(format, pictures=len(films))


def refuse_pictures(kind: Kind, films: Sequence[bool]) -> None:
    """Refuse pictures that do not make a post of this kind.

    Raises:
        FormatRefused: with the sentence.
    """
    count = len(films)
    if kind == "carousel" and not 2 <= count <= MOST_PICTURES:
        raise FormatRefused(f"A carousel has 2 to {MOST_PICTURES} pictures; this one has {count}.")
    if kind != "carousel" and count != 1:
        raise FormatRefused(f"A {kind} post has one picture; this one has {count}.")
    if kind == "reel" and not films[0]:
        raise FormatRefused("A reel is made of a film; this is a picture.")
    if kind in {"single", "carousel"} and any(films):
        hint = "A film goes out alone, as a reel or a story."
        raise FormatRefused(f"A {kind} post is made of pictures; this has a film.", hint=hint)


def refuse_extras(format: Format, *, pictures: int) -> None:
    """Refuse tags, place, collaborators, cover or comment that do not go with the kind.

    Raises:
        FormatRefused: with the first sentence.
    """
    for sentence in _faults(format, pictures):
        raise FormatRefused(sentence)


def _faults(format: Format, pictures: int) -> Iterator[str]:
    kind = format.kind
    if kind == "story":
        for name, value in (
            ("place", format.location_id),
            ("collaborators", format.collaborators),
            ("comments", format.first_comment),
        ):
            if value:
                yield f"A story has no {name}."
    if kind != "reel" and (format.cover_ms is not None or not format.share_to_feed):
        yield "Only a reel has a cover moment and may stay out of the feed."
    if format.cover_ms is not None and format.cover_ms < 0:
        yield "The cover's moment can't lie before the film's begin."
    if format.location_id and not _PLACE.fullmatch(format.location_id):
        yield "A place is the id of a Facebook Page, digits alone."
    yield from _faults_of_names("collaborator", format.collaborators)
    if len(format.collaborators) > MOST_COLLABORATORS:
        yield f"At most {MOST_COLLABORATORS} collaborators; these are {len(format.collaborators)}."
    for position, tags in format.tags_by_position().items():
        if not 1 <= position <= pictures:
            yield f"There is no picture {position} to tag an account in."
        if len(tags) > MOST_TAGS:
            yield f"At most {MOST_TAGS} accounts in one picture; picture {position} has {len(tags)}."
        yield from _faults_of_names("tag", [tag.username for tag in tags])
    for tag in format.user_tags:
        yield from _faults_of_place(kind, tag)


def _faults_of_names(what: str, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if not _USERNAME.fullmatch(name):
            yield f"{name!r} is no Instagram name: letters, digits, points and underlines, at most 30."
    if len({name.casefold() for name in names}) < len(names):
        yield f"The same account is named twice as {what}."


def _faults_of_place(kind: Kind, tag: UserTag) -> Iterator[str]:
    given = [at for at in (tag.x, tag.y) if at is not None]
    if kind == "reel" and given:
        yield f"In a reel @{tag.username} is named without a place in the film."
    if len(given) == 1 or (kind in {"single", "carousel"} and not given):
        yield f"@{tag.username} needs a place in the picture: x and y."
    if not all(0 <= at <= 1 for at in given):
        yield f"The place of @{tag.username} goes from 0 to 1."


def films_of(session: Session, post_id: int) -> list[bool]:
    """For each picture of a post in order, whether it is a film."""
    rows = session.execute(
        text(
            "SELECT coalesce(f.kind = 'video', false) FROM post_items i"
            " LEFT JOIN photos f ON f.id = i.photo_id"
            " WHERE i.post_id = :post ORDER BY i.position"
        ),
        {"post": post_id},
    )
    return list(rows.scalars())


def tag_fields(tag: UserTag) -> dict[str, Any]:
    """A tag as Meta's JSON has it."""
    at = {} if tag.x is None else {"x": tag.x, "y": tag.y}
    return {"username": tag.username, **at}


__all__ = [
    "CHANGES_IN",
    "KINDS",
    "MOST_PICTURES",
    "STORY_HAS_NO_WORDS",
    "Format",
    "FormatRefused",
    "Kind",
    "UserTag",
    "drop_container",
    "films_of",
    "format_of",
    "parse_tag",
    "refuse_extras",
    "refuse_pictures",
    "refuse_unfit",
    "set_format",
    "tag_fields",
    "written_tag",
]
