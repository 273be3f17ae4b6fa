"""What the keys do with the marked pictures; every act says what came of it, and how it is taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets.marks import counted

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.clusters_reel import Source
    from persona_tui.services.library.pictures import LibraryPicture, PictureRef


@dataclass(frozen=True)
class Undo:
    """How the last act is taken back.

    Attributes:
        words: said once it is.
        work: does it, all of it or nothing.
    """

    words: str
    work: Callable[[Session], object]


def named(pictures: Sequence[LibraryPicture]) -> str:
    """`walk_01.png`, or `3 pictures`."""
    return pictures[0].label if len(pictures) == 1 else counted(len(pictures), "picture")


def _refs(pictures: Sequence[LibraryPicture]) -> list[PictureRef]:
    return [picture.ref for picture in pictures]


def _are(pictures: Sequence[LibraryPicture]) -> str:
    return "is" if len(pictures) == 1 else "are"


def _back(screen: PersonaScreen) -> str:
    return f"[{screen.shell.registry.label('clusters.undo')}] takes it back."


def all_of(session: Session, source: Source, most: int) -> tuple[list[LibraryPicture], bool]:
    """The first pictures of a listing, `most` of them, and whether there are more."""
    page = source.page(session, None, False)
    found = list(page.pictures)
    while page.end is not None and len(found) < most:
        page = source.page(session, page.end, False)
        found += page.pictures
    return found[:most], page.end is not None or len(found) > most


async def flag(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> Undo:
    """Flag pictures; where all of them are, take the flags away."""
    from persona_tui.services.library.picture_acts import flag_pictures

    flagged = not all(picture.flagged for picture in pictures)
    changed = [picture.ref for picture in pictures if picture.flagged is not flagged]
    await screen.act(flag_pictures, changed, flagged)
    screen.flash(f"{named(pictures)} {'flagged' if flagged else 'no longer flagged'}.")
    words = f"{counted(len(changed), 'flag')} {'taken away' if flagged else 'set'} again."
    return Undo(words, lambda session: flag_pictures(session, changed, not flagged))


async def draft(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> int:
    """Draft a post of each picture; the first one's id."""
    from persona_tui.services.library.picture_acts import draft_posts

    posts = await screen.act(draft_posts, _refs(pictures))
    if len(posts) > 1:
        where = screen.shell.registry.label("global.posts")
        screen.flash(f"{counted(len(posts), 'draft')} made. [{where}] is where captions are written.")
    return posts[0].id


async def plan(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> Undo:
    """Draft each picture and schedule it at the next free time."""
    from persona_tui.services.library.picture_acts import schedule_posts
    from persona_tui.services.publishing.posts import unschedule

    now = await screen.shell.core.now()
    gap = timedelta(minutes=screen.shell.settings.instagram.min_gap_minutes)
    posts = await screen.act(schedule_posts, _refs(pictures), now, gap)
    times = [post.scheduled_at.astimezone(screen.shell.zone) for post in posts if post.scheduled_at]
    when = f"{times[0]:%a %m/%d %H:%M}" + (f" to {times[-1]:%a %m/%d %H:%M}" if len(times) > 1 else "")
    screen.flash(f"{named(pictures)} scheduled for {when}. {_back(screen)}", seconds=10)

    def back(session: Session) -> None:
        for post in posts:
            unschedule(session, post.id)

    return Undo(f"{counted(len(posts), 'post')} back among the drafts.", back)
