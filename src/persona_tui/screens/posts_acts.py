"""What the keys do with one post; each act asks where it can't be undone, and says what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from persona_tui.screens.posts_states import wall
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import CheckField, LongTextField, MomentField, TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.viewer import ViewedPicture, ViewerDialog

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.planning.captions import CaptionProposal
    from persona_tui.services.publishing.post_views import PostView


async def edit_words(screen: PersonaScreen, post: PostView) -> None:
    """Caption, hashtags and alternative text in a form; what does not fit is said in it."""
    from persona_tui.services.publishing.posts import write_caption

    most = screen.shell.settings.instagram.max_hashtags

    async def submit(values: Mapping[str, Any]) -> None:
        tags = values["hashtags"].replace(",", " ").split()
        await screen.act(
            write_caption, post.id, values["caption"], tags, values["alt_text"], max_hashtags=most
        )

    form = FormDialog(
        f"Words of post {post.id}",
        [
            LongTextField(name="caption", label="Caption", value=post.caption, longest=2200, rows=6),
            TextField(
                name="hashtags",
                label="Hashtags",
                value=" ".join(f"#{tag}" for tag in post.hashtags),
                longest=400,
                hint=f"At most {most}, separated by spaces.",
            ),
            LongTextField(
                name="alt_text",
                label="Alt text",
                value=post.alt_text,
                longest=1000,
                rows=2,
                hint="What is in the picture, for blind readers.",
            ),
        ],
        submit=submit,
    )
    if await screen.ask(form):
        screen.flash(f"Post {post.id} has new words.")


async def write_proposal(screen: PersonaScreen, post: PostView, proposal: CaptionProposal) -> None:
    """Write proposed words into the post and say where they come from."""
    from persona_tui.services.planning import captions

    most = screen.shell.settings.instagram.max_hashtags
    await screen.act(captions.write_proposal, post.id, proposal, max_hashtags=most)
    label = screen.shell.registry.label
    if proposal.written_by == "template":
        doctor = label("global.settings")
        screen.flash(
            f"No language model answered: a template wrote the caption. {doctor} says why.",
            "warn",
            seconds=10,
        )
    else:
        keys = f"{label('posts.edit')} edits it, {label('posts.schedule')} schedules the post"
        screen.flash(f"{proposal.written_by} wrote a caption for post {post.id}: {keys}.")


async def schedule_next(screen: PersonaScreen, post: PostView) -> None:
    """Schedule at the next free slot; the message says which, and the key that takes it back."""
    if post.state == "scheduled":
        move = screen.shell.registry.label("posts.schedule-at")
        screen.flash(f"It goes out {_when(post)} already; {move} moves it.", "info")
        return
    now = await screen.shell.core.now()
    gap = timedelta(minutes=screen.shell.settings.instagram.min_gap_minutes)
    planned = await screen.act(_at_next_slot, post, now, gap)
    _say_planned(screen, planned)


def _at_next_slot(session: Session, post: PostView, now: datetime, gap: timedelta) -> PostView:
    from persona_tui.services.planning.slots import next_slot
    from persona_tui.services.publishing.posts import schedule

    slot = next_slot(session, post.persona_id, now, min_gap=gap)
    return schedule(session, post.id, slot.at, slot.zone)


async def schedule_at(screen: PersonaScreen, post: PostView, day: date | None = None) -> None:
    """Schedule or move to a typed time on the persona's clock.

    Args:
        day: the day that the form begins with; default: the post's, else tomorrow.
    """
    from persona_tui.services.publishing.slots import clock_note

    now = await screen.shell.core.now()
    zone = post.zone if post.scheduled_at is not None else str(screen.shell.zone)
    planned: list[tuple[PostView, str]] = []

    async def submit(values: Mapping[str, Any]) -> None:
        at = values["at"]
        view = await screen.act(_at_wall_time, post, at, zone, values["repost"], now)
        planned.append((view, clock_note(at, zone)))

    form = FormDialog(
        f"When does post {post.id} go out?",
        [
            MomentField(name="at", label="When", value=_first_guess(post, day, zone, now), required=True),
            CheckField(name="repost", label="Allow a repost", value=post.repost_allowed),
        ],
        about=f"On the clock of {zone}. A repost may share its picture with another live post.",
        submit=submit,
    )
    if await screen.ask(form) and planned:
        _say_planned(screen, *planned[0])


def _first_guess(post: PostView, day: date | None, zone: str, now: datetime) -> datetime:
    before = wall(post)
    tomorrow = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    at = before.time() if before is not None else time(9, 0)
    return datetime.combine(day or (before.date() if before is not None else tomorrow), at)


def _at_wall_time(
    session: Session, post: PostView, at: datetime, zone: str, repost: bool, now: datetime
) -> PostView:
    from persona_tui.services.planning.slots import parse_when
    from persona_tui.services.publishing import posts

    slot = parse_when(at.isoformat(), zone, now)
    if post.state == "scheduled" and repost == post.repost_allowed:
        return posts.reschedule(session, post.id, slot.at, zone)
    if post.state == "scheduled":
        posts.unschedule(session, post.id)
    return posts.schedule(session, post.id, slot.at, zone, repost=repost)


def _say_planned(screen: PersonaScreen, post: PostView, note: str = "") -> None:
    undo = screen.shell.registry.label("posts.unschedule")
    missing = "" if post.caption else " without a caption"
    screen.flash(
        f"Post {post.id} goes out {_when(post)}{missing}. {undo} takes it back. {note}".strip(),
        "ok" if post.caption else "warn",
        seconds=10,
    )


def _when(post: PostView) -> str:
    when = wall(post)
    return f"{when:%a %d %b %H:%M} ({post.zone})" if when is not None else "at no time yet"


async def unschedule(screen: PersonaScreen, post: PostView) -> None:
    """Take it off the calendar; it stays ready."""
    from persona_tui.services.publishing import posts

    await screen.act(posts.unschedule, post.id)
    again = screen.shell.registry.label("posts.schedule")
    screen.flash(f"Post {post.id} is off the calendar and ready. {again} schedules it again.")


async def publish_now(screen: PersonaScreen, post: PostView) -> bool:
    """Let it go out at the publisher's next round, after a yes.

    Returns:
        Whether it was sent on its way.
    """
    from persona_tui.services.publishing import posts

    to = f"@{post.username}" if post.username else "the persona's account"
    lacks = " ".join(post.warnings)
    reach = "In the sandbox nothing reaches a real account." if screen.shell.sandbox else "The world sees it."
    question = ConfirmDialog(
        f"Publish post {post.id} to {to} now?",
        f"{lacks} {reach}".strip(),
        title="Publish now",
        yes="Publish",
        no="Not yet",
    )
    if not await screen.ask(question):
        return False
    await screen.act(posts.publish_now, post.id)
    screen.flash(f"Post {post.id} goes out at the next round…", "busy", seconds=30)
    return True


async def retry(screen: PersonaScreen, post: PostView) -> None:
    """Try it again at its time, or now if that is past."""
    from persona_tui.services.publishing import posts

    planned = await screen.act(posts.retry, post.id)
    screen.flash(f"Post {post.id} is tried again {_when(planned)}.")


async def cancel(screen: PersonaScreen, post: PostView) -> None:
    """Give it up, after a yes."""
    from persona_tui.services.publishing import posts

    again = screen.shell.registry.label("posts.reopen")
    question = ConfirmDialog(
        f"Give post {post.id} up?",
        f"Its picture is free again. {again} opens it again as a draft.",
        title="Cancel the post",
        yes="Give up",
        no="Keep it",
        dangerous=True,
    )
    if await screen.ask(question):
        await screen.act(posts.cancel, post.id)
        screen.flash(f"Post {post.id} is cancelled. {again} opens it again.")


async def reopen(screen: PersonaScreen, post: PostView) -> None:
    """Make a cancelled post a draft again."""
    from persona_tui.services.publishing import posts

    await screen.act(posts.reopen, post.id)
    screen.flash(f"Post {post.id} is a draft again.")


async def delete_draft(screen: PersonaScreen, post: PostView) -> None:
    """Delete a draft for good, after a yes."""
    from persona_tui.services.publishing import posts

    question = ConfirmDialog(
        f"Delete post {post.id}?",
        "Its words are gone for good; the picture stays.",
        title="Delete the draft",
        yes="Delete",
        no="Keep it",
        dangerous=True,
    )
    if await screen.ask(question):
        await screen.act(posts.delete_draft, post.id)
        screen.flash(f"Post {post.id} is deleted.")


async def view_pictures(screen: PersonaScreen, post: PostView) -> None:
    """Show its pictures as large as the terminal."""
    pictures = [
        ViewedPicture(picture.media_key, picture.sha256, f"Post {post.id}: {post.alt_text or post.caption}")
        for picture in post.pictures
    ]
    if pictures:
        await screen.ask(ViewerDialog(screen.shell.core.resources.media, pictures))
    else:
        screen.flash("The post has no picture yet.", "info")
