"""How a post's state is shown, and which key does each thing that may be done with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from textual.content import Content

if TYPE_CHECKING:
    from persona_tui.services.publishing.post_views import PostDetail, PostView

STATES: dict[str, tuple[str, str, str]] = {
    "draft": ("📝", "draft", "$label"),
    "awaiting_image": ("🎨", "needs picture", "$label"),
    "ready": ("📦", "ready", "$info"),
    "scheduled": ("🕒", "scheduled", "$title"),
    "claimed": ("🚀", "going out", "$title"),
    "staged": ("🚀", "going out", "$title"),
    "creating": ("🚀", "going out", "$title"),
    "container": ("🚀", "going out", "$title"),
    "publishable": ("🚀", "going out", "$title"),
    "sending": ("🚀", "being sent", "$title"),
    "unknown": ("🔎", "checking", "$warning"),
    "reconciling": ("🔎", "checking", "$warning"),
    "published": ("✅", "published", "$success"),
    "needs_human": ("✋", "needs you", "$error"),
    "fix_needed": ("🔧", "to be fixed", "$error"),
    "paused": ("💤", "paused", "$warning"),
    "deferred": ("⏳", "put off", "$warning"),
    "missed": ("⌛", "missed", "$error"),
    "failed": ("❌", "failed", "$error"),
    "cancelled": ("🚫", "cancelled", "$dim"),
}
"""Icon (two columns wide), word and style of each state."""

WAITING_FOR_YOU = frozenset({"needs_human", "fix_needed", "paused", "missed", "failed"})
"""States that only a person ends."""
GOING_OUT = frozenset({"claimed", "staged", "creating", "container", "publishable", "sending"})
UNPLANNED = frozenset({"draft", "awaiting_image", "ready"})
OVER = frozenset({"published", "cancelled"})

FILTERS: tuple[tuple[str, frozenset[str]], ...] = (
    ("everything", frozenset(STATES)),
    ("waiting for you", WAITING_FOR_YOU),
    ("not planned yet", UNPLANNED),
    ("on the calendar", frozenset({"scheduled", "deferred"}) | GOING_OUT | {"unknown", "reconciling"}),
    ("published", frozenset({"published"})),
    ("cancelled", frozenset({"cancelled"})),
)
"""What the list can be narrowed to: a word, and the states that it means."""

_OF_ACT = {
    "adopt": ("posts.look",),
    "mark not published": ("posts.look",),
    "schedule": ("posts.schedule", "posts.schedule-at", "posts.publish"),
    "resume": ("posts.retry", "posts.schedule-at", "posts.publish"),
    "retry": ("posts.retry", "posts.schedule-at", "posts.publish"),
    "unschedule": ("posts.unschedule",),
    "fix": ("posts.unschedule",),
    "reopen": ("posts.reopen",),
    "cancel": ("posts.cancel",),
    "drop": ("posts.cancel",),
}
"""The actions that carry out each act of `post_transitions`, the likeliest first."""
_NEEDS_PICTURE = frozenset({"posts.schedule", "posts.schedule-at", "posts.publish", "posts.retry"})
_WORDS = {
    "posts.schedule": "next free slot",
    "posts.schedule-at": "at a time",
    "posts.publish": "publish now",
    "posts.retry": "try again",
    "posts.unschedule": "unschedule",
    "posts.cancel": "give up",
    "posts.look": "look, then adopt or mark",
    "posts.reopen": "open again",
}


def state_mark(state: str, *, word: bool = True) -> Content:
    """A state as icon and word."""
    icon, name, style = STATES.get(state, ("❔", state.replace("_", " "), ""))
    return Content.styled(f"{icon} {name}" if word else icon, style)


@dataclass(frozen=True, slots=True)
class PossibleAct:
    """Something that can be done with a post now: an action's name, and what it would do here."""

    action: str
    word: str


def possible_acts(detail: PostDetail) -> tuple[PossibleAct, ...]:
    """What the operator can do with a post now, the likeliest first; each action at most once."""
    found: dict[str, PossibleAct] = {}
    for act in _acts(detail):
        found.setdefault(act.action, act)
    return tuple(found.values())


def _acts(detail: PostDetail) -> Iterator[PossibleAct]:
    post, acts = detail.post, {transition.act for transition in detail.acts}
    if post.state in {"unknown", "reconciling"}:
        yield PossibleAct("posts.look", "ask Instagram now")
    if post.state == "published" and post.comment_state == "failed":
        yield PossibleAct("posts.format", "comment again")
    if post.kind == "story":
        yield from _of_table(post, acts)
    elif words_can_change(detail):
        words = PossibleAct("posts.edit", "edit")
        propose = PossibleAct("posts.caption", "new caption" if post.caption else "propose a caption")
        first = not post.caption or post.state == "fix_needed"
        yield from (propose, words) if first else ()
        yield from _of_table(post, acts)
        yield from (words, propose)
    else:
        yield from _of_table(post, acts)
    if post.state == "draft":
        yield PossibleAct("posts.delete", "delete")


def words_can_change(detail: PostDetail) -> bool:
    """Whether caption, hashtags and alternative text may still be written."""
    from persona_tui.services.publishing.formats import CHANGES_IN

    settling = any(transition.act == "adopt" for transition in detail.acts)
    return detail.post.state in CHANGES_IN and bool(detail.acts) and not settling


def _of_table(post: PostView, acts: set[str]) -> Iterator[PossibleAct]:
    if post.state == "scheduled" and acts:
        yield PossibleAct("posts.publish", "publish now")
        yield PossibleAct("posts.schedule-at", "move it")
    for act, actions in _OF_ACT.items():
        for action in actions if act in acts else ():
            if post.pictures or action not in _NEEDS_PICTURE:
                yield PossibleAct(action, _word(action, post))


def _word(action: str, post: PostView) -> str:
    if action == "posts.unschedule" and post.state not in {"scheduled", "deferred"}:
        return "make ready"
    return _WORDS[action]


def wall(post: PostView) -> datetime | None:
    """When a post goes or went out, on the clock of its own zone; naive."""
    if post.published_at is not None:
        return post.published_at.astimezone(ZoneInfo(post.zone)).replace(tzinfo=None)
    if post.wall_time:
        return datetime.fromisoformat(post.wall_time)
    return None


def moment(post: PostView) -> datetime | None:
    """The same instant in UTC."""
    return post.published_at or post.scheduled_at


def days_of(posts: Sequence[PostView]) -> dict[date, list[PostView]]:
    """The posts of each day that has some, by their time; cancelled ones left out."""
    days: dict[date, list[PostView]] = {}
    timed = [(when, post.id, post) for post in posts if (when := wall(post)) is not None]
    for when, _, post in sorted(timed, key=lambda entry: entry[:2]):
        if post.state != "cancelled":
            days.setdefault(when.date(), []).append(post)
    return days
