"""What the keys do with the marked pictures; every act says what came of it, and how it is taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.clusters_groups import choose_cluster, choose_pillar
from persona_tui.widgets.fields import LongTextField, TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.clusters_reel import Source
    from persona_tui.screens.clusters_tree import Catalogue
    from persona_tui.services.library.pictures import LibraryPicture, PictureRef


ACTOR = "operator"


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


def _ends(times: Sequence[datetime]) -> Sequence[datetime]:
    return times if len(times) < 2 else (times[0], times[-1])


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
    from persona_tui.services.planning.picture_acts import flag_pictures

    flagged = not all(picture.flagged for picture in pictures)
    changed = [picture.ref for picture in pictures if picture.flagged is not flagged]
    await screen.act(flag_pictures, changed, flagged)
    screen.flash(f"{named(pictures)} {'flagged' if flagged else 'no longer flagged'}.")
    words = f"{counted(len(changed), 'flag')} {'taken away' if flagged else 'set'} again."
    return Undo(words, lambda session: flag_pictures(session, changed, not flagged))


async def draft(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> int:
    """Draft a post of each picture; the first one's id."""
    from persona_tui.services.planning.picture_acts import draft_posts

    posts = await screen.act(draft_posts, _refs(pictures))
    if len(posts) > 1:
        where = screen.shell.registry.label("global.posts")
        screen.flash(f"{counted(len(posts), 'draft')} made. [{where}] is where captions are written.")
    return posts[0].id


async def plan(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> Undo:
    """Draft each picture and schedule it at the next free time."""
    from persona_tui.services.planning.picture_acts import schedule_posts
    from persona_tui.services.publishing.posts import unschedule

    now = await screen.shell.core.now()
    gap = timedelta(minutes=screen.shell.settings.instagram.min_gap_minutes)
    done = await screen.act(schedule_posts, _refs(pictures), now, gap)
    posts = done.posts
    planned = [picture for picture in pictures if picture.ref not in done.taken]
    times = [post.scheduled_at.astimezone(screen.shell.zone) for post in posts if post.scheduled_at]
    words = [f"{named(planned)} scheduled for {' to '.join(f'{at:%a %d %b %H:%M}' for at in _ends(times))}."]
    if done.taken:
        words.append(f"{counted(len(done.taken), 'picture')} in a live post already.")
    if not all(post.caption for post in posts):
        words.append("Captions are being written.")
    screen.flash(" ".join([*words, _back(screen)]), seconds=10)

    def back(session: Session) -> None:
        for post in posts:
            unschedule(session, post.id)

    return Undo(f"{counted(len(posts), 'post')} back among the drafts.", back)


async def put(
    screen: PersonaScreen,
    pictures: Sequence[LibraryPicture],
    *,
    catalogue: Catalogue,
    out_of: int | None,
    also: bool = False,
    pillar_id: int | None = None,
) -> Undo | None:
    """Ask for a cluster, and put pictures into it.

    Args:
        out_of: the cluster that they leave; None for all in which they lie.
        also: they leave none.
        pillar_id: only clusters that serve this pillar are offered.
    """
    from persona_tui.services.library.membership import add_pictures, move_pictures, undo

    clusters = catalogue.clusters if pillar_id is None else catalogue.clusters_of(pillar_id)
    title = f"{'Put' if also else 'Move'} {named(pictures)} into which cluster{' as well' * also}?"
    chosen = await choose_cluster(screen, title, clusters, without=out_of)
    if chosen is None:
        return None
    refs = _refs(pictures)
    if also:
        change = await screen.act(add_pictures, chosen.value, refs)
    else:
        leave = [out_of] if out_of is not None else None
        change = await screen.act(move_pictures, refs, into=chosen.value, out_of=leave)
    where = f"in “{chosen.label}”{' as well' if also else ' now'}"
    screen.flash(f"{named(pictures)} {_are(pictures)} {where}. {_back(screen)}")
    words = f"{named(pictures)} {_are(pictures)} where {'it was' if len(pictures) == 1 else 'they were'}."
    return Undo(words, lambda session: undo(session, change))


async def move_to_pillar(
    screen: PersonaScreen, pictures: Sequence[LibraryPicture], *, catalogue: Catalogue, out_of: int | None
) -> Undo | None:
    """Ask for a pillar and one of its clusters, and move pictures there."""
    title = f"Which pillar shall {named(pictures)} serve?"
    chosen = await choose_pillar(screen, title, catalogue.pillars, None)
    if chosen is None:
        return None
    return await put(screen, pictures, catalogue=catalogue, out_of=out_of, pillar_id=chosen.value)


async def accept(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> Undo | None:
    """Let pictures count that wait, were rejected or deleted."""
    from persona_tui.services.library import staging
    from persona_tui.services.planning import picture_acts

    persona_id = pictures[0].persona_id
    gone = [one.ref.photo_id for one in pictures if one.stage == "deleted" and one.ref.photo_id is not None]
    if gone:
        await screen.act(staging.restore, persona_id, gone, actor=ACTOR)
        screen.flash(f"{counted(len(gone), 'photo')} restored. {_back(screen)}")
        return Undo("Deleted again.", lambda session: staging.delete(session, persona_id, gone, actor=ACTOR))
    waiting = [one for one in pictures if one.stage != "accepted"]
    if not waiting:
        screen.flash(f"{named(pictures)} {_are(pictures)} accepted already.", "info")
        return None
    turned = await screen.act(picture_acts.accept_pictures, persona_id, _refs(waiting), ACTOR)
    screen.flash(f"{named(waiting)} accepted. {_back(screen)}")
    return Undo(
        f"{counted(turned.count, 'picture')} as before.",
        lambda session: picture_acts.put_back(session, persona_id, turned, ACTOR, rejected=False),
    )


async def reject(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> Undo | None:
    """Ask for a reason, and take pictures out."""
    from persona_tui.services.planning import picture_acts

    persona_id = pictures[0].persona_id
    done: list[picture_acts.Turned] = []

    async def submit(values: Mapping[str, Any]) -> None:
        refs, reason = _refs(pictures), values["reason"]
        done.append(await screen.act(picture_acts.reject_pictures, persona_id, refs, reason, ACTOR))

    reason = TextField(name="reason", label="Because", hint="Kept with photos; may stay empty.", longest=300)
    about = "They stay on the shelf “Rejected”."
    if not await screen.ask(FormDialog(f"Reject {named(pictures)}", [reason], about=about, submit=submit)):
        return None
    screen.flash(f"{named(pictures)} rejected. {_back(screen)}")
    return Undo(
        f"{counted(done[-1].count, 'picture')} taken back.",
        lambda session: picture_acts.put_back(session, persona_id, done[-1], ACTOR, rejected=True),
    )


async def delete(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> Undo | None:
    """Delete photos, so that they can come back."""
    from persona_tui.services.library import staging

    persona_id = pictures[0].persona_id
    photos = [one.ref.photo_id for one in pictures if one.ref.photo_id is not None and one.stage != "deleted"]
    if not photos:
        key = screen.shell.registry.label("clusters.reject")
        screen.flash(f"Only photos can be deleted; {key} rejects a generated picture.", "info")
        return None
    count = await screen.act(staging.delete, persona_id, photos, actor=ACTOR)
    screen.flash(f"{counted(count, 'photo')} deleted. {_back(screen)}", seconds=10)
    return Undo(
        f"{counted(count, 'photo')} restored.",
        lambda session: staging.restore(session, persona_id, photos, actor=ACTOR),
    )


async def caption(screen: PersonaScreen, pictures: Sequence[LibraryPicture]) -> None:
    """Ask for a photo's caption."""
    from persona_tui.services.library.staging import write_caption

    picture = pictures[0]
    photo_id = picture.ref.photo_id
    if photo_id is None:
        screen.flash("Only a photo has a caption; a generated picture has its prompt.", "info")
        return

    async def submit(values: Mapping[str, Any]) -> None:
        await screen.act(write_caption, picture.persona_id, photo_id, values["caption"], actor=ACTOR)

    field = LongTextField(name="caption", label="Caption", value=picture.caption, longest=20_000)
    if await screen.ask(FormDialog(f"Caption of {picture.label}", [field], submit=submit)):
        screen.flash(f"{picture.label} has its caption.")
        screen.request_reload()


async def decide(
    screen: PersonaScreen,
    pictures: Sequence[LibraryPicture],
    *,
    reviews: Mapping[PictureRef, int],
    take: bool,
) -> Undo | None:
    """Put unsure pictures where they were proposed to go, or say that they do not belong there."""
    from persona_tui.services.library.assigning import dismiss_review, take_review
    from persona_tui.services.library.membership import undo

    ids = [reviews[picture.ref] for picture in pictures if picture.ref in reviews]

    def take_all(session: Session) -> list[Any]:
        return [take_review(session, one) for one in ids]

    def dismiss_all(session: Session) -> None:
        for one in ids:
            dismiss_review(session, one)

    if not take:
        await screen.act(dismiss_all)
        screen.flash(f"{named(pictures)} {_are(pictures)} not proposed for it again.")
        screen.request_reload()
        return None
    changes = await screen.act(take_all)
    screen.flash(f"{named(pictures)} went where proposed. {_back(screen)}")

    def back(session: Session) -> None:
        for change in changes:
            undo(session, change)

    return Undo(f"{named(pictures)} {_are(pictures)} in no cluster again.", back)
