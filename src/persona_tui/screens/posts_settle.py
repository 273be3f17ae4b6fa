"""How a person ends the doubt about a post: look at the account, then adopt an item or say it is not out."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.marks import short

if TYPE_CHECKING:
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.publishing.post_views import PostView
    from persona_tui.services.publishing.reconcile import AccountListing, ListedItem

NOT_PUBLISHED = "not published"
LIKE = {
    "words": "carries the post's words",
    "label": "same AI label, no words",
    "open": "could be it",
}
CONTAINER = {
    "PUBLISHED": "Instagram says it is out",
    "FINISHED": "it could still go out",
    "IN_PROGRESS": "it is still processed",
    "ERROR": "its container failed",
    "EXPIRED": "its container expired",
}
"""What each state of the post's container means, in 26 characters at most."""


async def settle(screen: PersonaScreen, post: PostView) -> None:
    """Show what the account has published since the sending, and do what the operator says."""
    from persona_tui.services.publishing import posts

    if post.state in {"unknown", "reconciling"}:
        await screen.act(posts.reconcile_now, post.id)
        screen.flash(f"Instagram is asked about post {post.id} in the next round.", "busy")
        return
    screen.flash(f"Looking at what @{post.username} has published…", "busy", seconds=60)
    seen = await screen.shell.core.look_at(post.id)
    screen.flash("That is the account.", "info", seconds=1)
    chosen = await screen.ask(_dialog(post, seen))
    if chosen is None:
        return
    if chosen.value == NOT_PUBLISHED:
        await _mark(screen, post)
    else:
        await _adopt(screen, post, chosen.value)


def _dialog(post: PostView, seen: AccountListing) -> ChoiceDialog:
    likely = sorted(seen.items, key=lambda item: item.likeness is None)
    choices: list[Choice[object]] = [Choice(item, _label(item, post.zone), _note(item)) for item in likely]
    state = CONTAINER.get(seen.container.value, "") if seen.container else "container not readable"
    choices.append(Choice(NOT_PUBLISHED, "None of them: it is not published", state))
    return ChoiceDialog(f"Which of these is post {post.id}?", choices)


def _label(item: ListedItem, zone: str) -> str:
    facts = item.facts
    where = (facts.permalink or facts.id).removeprefix("https://")
    return f"{_time(facts.timestamp, zone)}  {short(facts.caption or facts.alt_text or where, 60)}"


def _note(item: ListedItem) -> str:
    return LIKE[item.likeness.value] if item.likeness is not None else "another item"


def _time(moment: datetime | None, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%d %b %H:%M}" if moment is not None else "no time"


async def _adopt(screen: PersonaScreen, post: PostView, item: ListedItem) -> None:
    from persona_tui.services.publishing import posts

    facts = item.facts
    if item.likeness is None:
        question = ConfirmDialog(
            f"Is this really post {post.id}?",
            "Its words differ from the post's. The post counts as published from then on.",
            title="Adopt the item",
            yes="It is",
            no="No",
            dangerous=True,
        )
        if not await screen.ask(question):
            return
    await screen.act(
        posts.adopt, post.id, facts.id, permalink=facts.permalink or "", published_at=facts.timestamp
    )
    screen.flash(f"Post {post.id} is published: {facts.permalink or facts.id}")


async def _mark(screen: PersonaScreen, post: PostView) -> None:
    from persona_tui.services.publishing import posts

    question = ConfirmDialog(
        f"Is post {post.id} surely not published?",
        "It becomes ready and may be sent again; if it is out after all, it would be out twice.",
        title="Mark as not published",
        yes="Not published",
        no="Not sure",
        dangerous=True,
    )
    if await screen.ask(question):
        await screen.act(posts.mark_not_published, post.id)
        again = screen.shell.registry.label("posts.schedule")
        screen.flash(f"Post {post.id} is ready again. {again} schedules it.")
