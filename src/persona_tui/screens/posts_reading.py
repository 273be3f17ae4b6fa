"""What the screen of posts reads, and how a post looks in its list."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from persona_tui.errors import PersonaError
from persona_tui.screens.posts_states import OVER, WAITING_FOR_YOU, state_mark, wall
from persona_tui.widgets.data_list import Cell
from persona_tui.widgets.marks import counted, dim

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.media import MediaStore
    from persona_tui.services.publishing.post_views import PostView
    from persona_tui.widgets.shell import Shell

SHOWN_FOR = timedelta(days=90)
"""How long what is over stays in the list; the calendar reaches further back."""
LIMIT = 2000


@dataclass(frozen=True)
class Shown:
    """What the screen shows.

    Attributes:
        has_account: the persona has an account to post to.
        held: nothing is published until the operator confirms.
        paused: the operator has paused all publishing.
        overdue: posts of this persona that should be out already.
        resting: what is left alone for a while after failures, a sentence each.
    """

    posts: tuple[PostView, ...]
    has_account: bool
    held: bool
    paused: bool
    overdue: int
    resting: tuple[str, ...] = ()


def load(session: Session, persona_id: int, since: datetime) -> Shown:
    """Read a persona's posts and what may keep them from going out."""
    from persona_tui.services.publishing.accounts import account_of_persona
    from persona_tui.services.publishing.breakers import open_breakers
    from persona_tui.services.publishing.late import overdue_posts
    from persona_tui.services.publishing.pausing import publishing_paused
    from persona_tui.services.publishing.post_views import list_posts
    from persona_tui.services.publishing.restore import publishing_hold

    return Shown(
        list_posts(session, persona_id, since=since, limit=LIMIT),
        account_of_persona(session, persona_id) is not None,
        publishing_hold(session) is not None,
        publishing_paused(session),
        len(overdue_posts(session, persona_id)),
        tuple(one.sentence for one in open_breakers(session)),
    )


def hindrances(shown: Shown, shell: Shell) -> list[str]:
    """What keeps posts from going out and what to do about it, a short sentence each."""
    label = shell.registry.label
    found = []
    if shown.held:
        found.append(f"Publishing is held: {label('global.settings')} shows what to confirm.")
    if shown.paused:
        found.append(f"All publishing is paused: {label('posts.hold')} lets posts go out again.")
    elif shown.overdue:
        found.append(f"{counted(shown.overdue, 'post')} should be out already: {label('posts.overdue')}.")
    found += shown.resting
    if not shown.has_account:
        found.append(f"No account to post to yet: {label('global.personas')} connects one.")
    if shell.settings.media.publish_url is None:
        found.append("No public place for pictures: set PERSONA_MEDIA__PUBLISH_URL.")
    return found


def row(post: PostView) -> list[Cell]:
    """A post's cells in the list."""
    when = wall(post)
    words = " ".join(post.caption.split())
    return [
        state_mark(post.state),
        f"{when:%a %d %b %H:%M}" if when is not None else dim("no time yet"),
        words or dim("A story, without words" if post.kind == "story" else "No caption yet"),
    ]


async def thumbnail_of(post: PostView, media: MediaStore) -> Path | None:
    """The first picture's thumbnail; None where there is none."""
    if not post.pictures:
        return None
    first = post.pictures[0]
    try:
        return await asyncio.to_thread(media.thumbnail, first.media_key, first.sha256)
    except PersonaError:
        return None


def first_of_interest(posts: Sequence[PostView]) -> int:
    """Index of the first post that waits for a person, else the first that is not over, else the last."""
    for index, post in enumerate(posts):
        if post.state in WAITING_FOR_YOU:
            return index
    return next((index for index, post in enumerate(posts) if post.state not in OVER), len(posts) - 1)
