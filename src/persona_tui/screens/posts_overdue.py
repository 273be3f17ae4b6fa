"""Posts that should be out already, of one persona or of all: moved, published, dropped, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar
from zoneinfo import ZoneInfo

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from persona_tui.errors import NotAllowedNow
from persona_tui.screens.posts_states import state_mark
from persona_tui.widgets.data_list import Cell, Column, DataList
from persona_tui.widgets.dialog import Dialog
from persona_tui.widgets.failsafe import shell_of
from persona_tui.widgets.marks import counted, dim, duration, say, short

if TYPE_CHECKING:
    from sqlmodel import Session

    from persona_tui.services.publishing.late import LateAct, Outcome, Overdue

R = TypeVar("R")

POLICY = {"reslot": "moves by itself", "drop": "is dropped by itself", "ask": "asks you"}
DONE = {"now": "go out now", "reslot": "moved", "drop": "given up"}


class OverdueDialog(Dialog[None]):
    """A checklist with what became of each post; it stays open until everything is said.

    Args:
        persona_id: whose posts are shown at first.
    """

    SCOPE: ClassVar[str] = "overdue"

    DEFAULT_CSS = """
    OverdueDialog > #frame { width: 96%; max-width: 150; height: 92%; }
    OverdueDialog #overdue-head { height: auto; margin-bottom: 1; }
    OverdueDialog #overdue-why { height: auto; max-height: 4; margin-top: 1; }
    """

    def __init__(self, persona_id: int) -> None:
        super().__init__("Overdue posts")
        self._persona_id: int | None = persona_id
        self._posts: tuple[Overdue, ...] = ()
        self._told: dict[int, Outcome] = {}
        self._last: tuple[Outcome, ...] = ()
        self._now: datetime | None = None

    def compose_content(self) -> ComposeResult:
        yield Static("", id="overdue-head", markup=False)
        yield DataList(
            [
                Column("Overdue", 12),
                Column("State", 16, from_width=100),
                Column("Persona", 14, from_width=100),
                Column("Caption", share=2),
                Column("What became of it", share=3),
            ],
            self._cells,
            key=lambda post: post.id,
            multi=True,
            empty="🎉 nothing is overdue",
            id="overdue",
        )
        yield Static("", id="overdue-why", markup=False)

    @property
    def post_list(self) -> DataList[Overdue]:
        """The posts."""
        found: DataList[Overdue] = self.query_one("#overdue", DataList)
        return found

    def on_mount(self) -> None:
        self.post_list.focus()
        self.spawn(self._load, group="overdue", quiet=True)

    async def _load(self) -> None:
        from persona_tui.services.publishing.late import overdue_posts

        found = await self._in_session(overdue_posts, self._persona_id)
        self._now = await shell_of(self).core.now()
        kept = {post.id for post in found}
        handled = [post for post in self._posts if post.id in self._told and post.id not in kept]
        self._posts = tuple(sorted([*found, *handled], key=lambda post: (post.due_at, post.id)))
        self.post_list.show(self._posts)
        self._write_head()

    def _write_head(self) -> None:
        open_ones = [post for post in self._posts if not self._is_done(post.id)]
        whose = "of all personas" if self._persona_id is None else "of this persona"
        head = f"{counted(len(open_ones), 'post')} {whose} should be out already."
        marked = len(self.post_list.marked)
        keys = f"  {marked} marked." if marked else ""
        self.query_one("#overdue-head", Static).update(
            (say("warn", head) if open_ones else say("ok", f"Nothing {whose} is overdue.")) + dim(keys)
        )

    def _is_done(self, post_id: int) -> bool:
        return post_id in self._told and self._told[post_id].done

    def _cells(self, post: Overdue) -> Sequence[Cell]:
        outcome = self._told.get(post.id)
        if outcome is not None:
            became = say("ok" if outcome.done else "error", outcome.sentence)
        else:
            became = dim(POLICY[post.policy] if post.state == "missed" else post.reason or "waits")
        marked = any(post.id == one.id for one in self.post_list.marked)
        overdue = duration((self._now - post.due_at).total_seconds()) if self._now else ""
        return (
            Content.styled(f"{'◉' if marked else '○'} {overdue}", "$title bold" if marked else ""),
            state_mark(post.state),
            post.persona,
            short(post.caption, 200) or dim("No caption"),
            became,
        )

    def on_data_list_marks_changed(self, event: DataList.MarksChanged) -> None:
        event.stop()
        self._write_head()

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        event.stop()
        post: Overdue = event.item
        outcome = self._told.get(post.id)
        when = f"{post.due_at.astimezone(ZoneInfo(post.zone)):%a %d %b %H:%M}"
        words = outcome.sentence if outcome is not None else post.reason or "It waits for its turn."
        to = f"@{post.username}" if post.username else "no account"
        self.query_one("#overdue-why", Static).update(
            Content.assemble((f"Post {post.id}, {when} {post.zone}, {to}: ", "$dim"), words)
        )

    def on_data_list_row_selected(self, event: DataList.RowSelected) -> None:
        event.stop()
        self.post_list.action_mark()

    # Acts

    def action_reslot(self) -> None:
        self._begin("reslot")

    def action_now(self) -> None:
        self._begin("now")

    def action_drop(self) -> None:
        self._begin("drop")

    def action_all(self) -> None:
        posts = self.post_list
        posts.unmark_all() if len(posts.marked) == len(posts.items) else posts.mark_all()

    def action_personas(self) -> None:
        self._persona_id = shell_of(self).persona_id if self._persona_id is None else None
        self._told, self._posts = {}, ()
        self.spawn(self._load, group="overdue")

    def action_close(self) -> None:
        self.dismiss(None)

    def _begin(self, act: LateAct) -> None:
        current = self.post_list.current
        chosen = self.post_list.marked or ([current] if current is not None else [])
        ids = [post.id for post in chosen if not self._is_done(post.id)]
        if ids:
            self.spawn(partial(self._carry_out, act, ids), group="overdue")

    async def _carry_out(self, act: LateAct, ids: Sequence[int]) -> None:
        from persona_tui.services.planning.slots import next_slot
        from persona_tui.services.publishing.late import carry_out

        shell = shell_of(self)
        gap = timedelta(minutes=shell.settings.instagram.min_gap_minutes)
        now = await shell.core.now()
        self._last = await self._in_session(
            carry_out, act, ids, now, partial(next_slot, min_gap=gap), changing=True
        )
        self._tell(self._last)
        done = sum(outcome.done for outcome in self._last)
        shell.flash(f"{counted(done, 'post')} {DONE[act]}.", "ok" if done == len(ids) else "warn")
        await self._load()

    def action_undo(self) -> None:
        if self._last:
            self.spawn(self._undo, group="overdue")

    async def _undo(self) -> None:
        from persona_tui.services.publishing.late import undo

        taken, self._last = self._last, ()
        back = await self._in_session(undo, taken, changing=True)
        for outcome in back:
            if outcome.done:
                self._told.pop(outcome.post_id, None)
        self._tell([outcome for outcome in back if not outcome.done])
        await self._load()

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        self._told |= {outcome.post_id: outcome for outcome in outcomes}
        self.post_list.unmark_all()

    async def _in_session(self, work: Callable[..., R], *arguments: object, changing: bool = False) -> R:
        shell = shell_of(self)
        if changing and shell.database_away:
            raise NotAllowedNow("The database is away, so nothing was changed.", hint="Try again later.")

        def in_thread() -> R:
            session: Session
            with shell.database.session_scope() as session:
                return work(session, *arguments)

        return await asyncio.to_thread(in_thread)
