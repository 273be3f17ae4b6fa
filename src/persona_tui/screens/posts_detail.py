"""One post in full: picture, words, time, warnings, and what can be done with it, each with its key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from persona_tui.screens.posts_states import moment, possible_acts, state_mark, wall
from persona_tui.widgets.failsafe import shell_of
from persona_tui.widgets.marks import days_away, dim, say
from persona_tui.widgets.picture import PicturePane

if TYPE_CHECKING:
    from persona_tui.actions import Registry
    from persona_tui.services.publishing.post_views import AttemptView, PostDetail, PostView

COMMENT_STATES = {
    "": "",
    "waiting": "not written yet",
    "sending": "being written",
    "unknown": "looking whether it is there",
    "posted": "is there",
    "failed": "failed:",
}
WRITERS = {"operator": "by you", "template": "by a template", "": ""}
OVERDUE = frozenset({"scheduled", "deferred", "paused", "missed"})
"""States in which a time that has passed is a matter of concern."""


class PostPanel(Horizontal):
    """The picture on the left, the words on the right."""

    DEFAULT_CSS = """
    PostPanel { height: 1fr; width: 1fr; }
    PostPanel > PicturePane { width: 24; margin-right: 2; }
    PostPanel > VerticalScroll { width: 1fr; scrollbar-size-vertical: 1; }
    PostPanel #post-words { height: auto; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._detail: PostDetail | None = None
        self._now: datetime | None = None
        self._drawn: tuple[int, Path | None] | None = None

    def compose(self) -> ComposeResult:
        yield PicturePane("no picture yet", id="post-picture")
        with VerticalScroll(can_focus=False):
            yield Static("", id="post-words", markup=False)

    def show(self, detail: PostDetail | None, thumbnail: Path | None, now: datetime) -> None:
        """Show another post, or none; the picture is drawn anew only when it is another."""
        self._detail, self._now = detail, now
        self._write()
        key = (detail.post.id, thumbnail) if detail is not None else None
        if key != self._drawn:
            self._drawn = key
            self.query_one(VerticalScroll).scroll_home(animate=False)
            alt = (detail.post.alt_text if detail else "") or "no picture yet"
            self.query_one(PicturePane).show(thumbnail, alt)

    def on_resize(self) -> None:
        self._write()

    def _write(self) -> None:
        words = self.query_one("#post-words", Static)
        lines: Iterator[Content] = iter(())
        if self._detail is not None and self._now is not None:
            width = self.query_one(VerticalScroll).scrollable_content_region.width
            lines = post_lines(self._detail, shell_of(self).registry, self._now, width)
        words.update(Content("\n").join([*lines]))


def post_lines(detail: PostDetail, registry: Registry, now: datetime, width: int) -> Iterator[Content]:
    """The lines beside the picture, where there is room for so many columns."""
    post = detail.post
    yield state_mark(post.state).stylize("bold") + when_words(post, now)
    if post.reason:
        yield say("info", post.reason)
    yield from _filled([_act(registry.label(act.action), act.word) for act in possible_acts(detail)], width)
    for warning in post.warnings:
        yield say("warn", warning)
    yield Content("")
    yield Content(post.caption) if post.caption else dim(_without_words(post))
    if post.hashtags:
        yield Content.styled(" ".join(f"#{tag}" for tag in post.hashtags), "$info")
    yield Content("")
    for label, value in facts(post):
        yield Content.assemble((f"{label}: ", "$dim"), value)


def _without_words(post: PostView) -> str:
    return "A story has no words." if post.kind == "story" else "No caption yet."


def _act(key: str, word: str) -> Content:
    return Content.assemble(("[", "$dim"), (key, "$title bold"), ("] ", "$dim"), (word, ""))


def _filled(parts: Sequence[Content], width: int) -> Iterator[Content]:
    """The parts on as few lines as they need, none of them broken."""
    line = Content("")
    for part in parts:
        if line and line.cell_length + 2 + part.cell_length > width:
            yield line
            line = Content("")
        line = line + "  " + part if line else part
    if line:
        yield line


def when_words(post: PostView, now: datetime) -> Content:
    """When it goes or went out: on its own zone's clock, and how far away that is."""
    when, instant = wall(post), moment(post)
    if when is None or instant is None:
        return dim("  no time yet")
    away = days_away(instant, now, due=post.state in OVERDUE and instant < now)
    return Content.assemble((f"  {when:%a %d %b %Y %H:%M}", "bold"), (f" {post.zone}  ({away})", "$dim"))


def facts(post: PostView) -> Iterator[tuple[str, str]]:
    """What else belongs to a post, as label and value; what is not there is left out."""
    written_by = str(post.caption_metadata.get("written_by", ""))
    plain = "a film" if any(one.is_film for one in post.pictures) else "a photograph"
    disclosure = "carries the AI label" if post.is_ai_generated else f"{plain}, no AI label"
    pairs = (
        ("Alt text", post.alt_text),
        ("Account", f"@{post.username}" if post.username else ""),
        ("Disclosure", disclosure),
        ("Words", WRITERS.get(written_by, f"by {written_by}")),
        ("Kind", _kind(post)),
        *_beyond_words(post),
        ("LoRA", ", ".join(dict.fromkeys(lora for picture in post.pictures for lora in picture.loras))),
        ("Repost", "allowed" if post.repost_allowed else ""),
        ("Late", f"may go out up to {post.grace_minutes} minutes late" if post.state == "scheduled" else ""),
        ("Published", post.permalink or post.media_id or ""),
    )
    return ((label, value) for label, value in pairs if value)


def _kind(post: PostView) -> str:
    if post.kind == "carousel":
        return f"a carousel of {len(post.pictures)} pictures"
    film = " of a film" if post.kind == "story" and any(one.is_film for one in post.pictures) else ""
    return "" if post.kind == "single" else f"a {post.kind}{film}"


def _beyond_words(post: PostView) -> Iterator[tuple[str, str]]:
    from persona_tui.services.publishing.formats import format_of, written_tag

    yield "Accounts", " ".join(written_tag(tag) for tag in format_of(post).user_tags)
    yield "Shared with", " ".join(f"@{name}" for name in post.collaborators)
    yield "Place", post.location_id
    yield "Cover", f"at {post.cover_ms / 1000:g} s" if post.cover_ms is not None else ""
    yield "Shape", "padded, not cropped" if post.fit == "pad" else ""
    yield "Feed", "" if post.share_to_feed else "not in the feed"
    state = f"{COMMENT_STATES[post.comment_state]} {post.comment_reason}".strip()
    yield "First comment", f"{post.first_comment} ({state})" if post.first_comment else ""


def whole_post(detail: PostDetail, now: datetime) -> Content:
    """Everything about a post, with its attempts and what was answered."""
    post = detail.post
    lines = [state_mark(post.state).stylize("bold") + when_words(post, now)]
    lines += [say("info", post.reason)] if post.reason else []
    lines += [say("warn", warning) for warning in post.warnings]
    lines += [Content(""), Content(post.full_caption or _without_words(post)), Content("")]
    belongs = ("Belongs to", " · ".join(filter(None, (post.persona, post.pillar, post.cluster))))
    lines += [Content.assemble((f"{label}: ", "$dim"), value) for label, value in (*facts(post), belongs)]
    lines += [Content(""), Content.styled("ATTEMPTS", "$section bold")]
    if not detail.attempts:
        lines.append(dim("It was never tried."))
    for attempt in detail.attempts:
        lines += _attempt_lines(attempt, post.zone)
    return Content("\n").join(lines)


def _attempt_lines(attempt: AttemptView, zone: str) -> Iterator[Content]:
    place = ZoneInfo(zone)
    outcome = attempt.outcome or ("open" if attempt.open else "no outcome")
    yield Content.assemble(
        (f"{attempt.number}. ", "bold"),
        (f"{attempt.started_at.astimezone(place):%d %b %H:%M:%S}", "$dim"),
        f"  {outcome}",
    )
    if attempt.sent_at is not None:
        container = f", container {attempt.creation_id}" if attempt.creation_id else ""
        yield dim(f"   sent {attempt.sent_at.astimezone(place):%H:%M:%S}{container}")
    for number, reply in enumerate(attempt.replies, 1):
        connector = "└─" if number == len(attempt.replies) else "├─"
        codes = " ".join(str(code) for code in (reply.status, reply.code, reply.subcode) if code is not None)
        yield Content.assemble(
            (f"   {connector} {reply.at.astimezone(place):%H:%M:%S} ", "$dim"),
            ("✅" if reply.ok else "❌", "$success" if reply.ok else "$error"),
            f" {reply.call}",
            (f" {codes}" if codes else "", "$warning"),
            (f"  {_body(reply.body)}", "$dim"),
        )


def _body(body: object) -> str:
    import json

    return json.dumps(body, ensure_ascii=False, sort_keys=True)[:300] if body else ""
