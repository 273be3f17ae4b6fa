"""Posts & calendar: captions, times, what goes out, what went out, and what waits for a person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static
from textual.worker import Worker

from persona_tui.screens import posts_acts
from persona_tui.screens.base import PersonaScreen
from persona_tui.screens.posts_calendar import MonthCalendar
from persona_tui.screens.posts_detail import PostPanel, whole_post
from persona_tui.screens.posts_format import FormatKeys
from persona_tui.screens.posts_plan import PlanActs
from persona_tui.screens.posts_reading import (
    SHOWN_FOR,
    Shown,
    first_of_interest,
    hindrances,
    load,
    row,
    thumbnail_of,
)
from persona_tui.screens.posts_settle import settle
from persona_tui.screens.posts_states import (
    FILTERS,
    OVER,
    WAITING_FOR_YOU,
    days_of,
    state_mark,
    wall,
    words_can_change,
)
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.marks import counted, say
from persona_tui.widgets.progress import ProgressPanel
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.section import SectionTitle

if TYPE_CHECKING:
    from persona_tui.services.publishing.post_views import PostDetail, PostView

Act = Callable[[PersonaScreen, "PostView"], Awaitable[object]]


class PostsScreen(FormatKeys, PlanActs):
    """The list of posts, one of them in full, and the month on demand."""

    SCOPE = "posts"
    TITLE = "Posts & calendar"
    HELP = (
        "Every post from draft to published. The line of keys under a post's state says what can be done "
        "with it now. Scheduling takes the next free slot of the persona's day. A post goes out just once: "
        "one that may be out already waits here until you have looked."
    )
    TOPICS = frozenset({"post", "account"})
    CSS_PATH = "posts.tcss"

    def __init__(self) -> None:
        super().__init__()
        self._posts: tuple[PostView, ...] = ()
        self._detail: PostDetail | None = None
        self._filter = FILTERS[0]
        self._since: datetime | None = None
        self._target: int | None = None
        self._propose_for_target = False
        self._proposal: Worker[None] | None = None
        self._awaited: set[int] = set()
        self._placed = False

    def compose_body(self) -> ComposeResult:
        yield Static("", id="notice", markup=False)
        yield EmptyState("No posts yet.", "global.ideas", icon="📭", id="posts-empty")
        with Container(id="panes"):
            with Vertical(id="list-part"):
                yield SectionTitle("Posts", id="posts-title")
                yield DataList(
                    [Column("State", 16), Column("When", 16), Column("Caption")],
                    row,
                    key=lambda post: post.id,
                    empty=f"no post in these states; {self.shell.registry.label('global.back')} shows all",
                    id="posts",
                )
            with Vertical(id="side"):
                with Vertical(id="month-part"):
                    yield SectionTitle("Month", id="month-title")
                    today = self.shell.now().astimezone(self.shell.zone).date()
                    yield MonthCalendar(today, id="month")
                with Vertical(id="detail-part"):
                    yield SectionTitle("Post", id="detail-title")
                    yield PostPanel(id="detail")
        yield ProgressPanel("Writing a caption", cancel="global.back", id="proposal")
        yield ProgressPanel("Rehearsing", unit="posts", cancel="global.back", id="rehearsal")

    @property
    def post_list(self) -> DataList[PostView]:
        """The list of posts."""
        found: DataList[PostView] = self.query_one("#posts", DataList)
        return found

    @property
    def month(self) -> MonthCalendar:
        """The month calendar."""
        return self.query_one(MonthCalendar)

    def on_mount(self) -> None:
        self.query("#posts").focus()  # where the view was left meanwhile, nothing is there any more

    # Reading

    async def reload(self) -> None:
        persona_id = self.shell.persona_id
        if persona_id is None:
            self._show_empty("No persona yet.\nA post belongs to one.", "global.personas")
            return
        since = min(self._since or self.shell.now(), self.shell.now() - SHOWN_FOR)
        shown = await self.read(load, persona_id, since)
        self._posts = shown.posts
        self._tell_outcomes()
        self._show_notice(shown)
        if not shown.posts:
            self._show_empty(
                "No posts yet.\nA run's winner becomes one by itself; so does any picture of a cluster.",
                "global.ideas",
            )
            return
        self.remove_class("-empty")
        self._show_posts()
        self._follow_target()

    def _show_empty(self, text: str, action: str) -> None:
        self.add_class("-empty")
        empty = self.query_one(EmptyState)
        empty.text, empty.action = text, action
        self._posts, self._detail = (), None
        self.post_list.show(())

    def _show_notice(self, shown: Shown) -> None:
        lines = hindrances(shown, self.shell)
        notice = self.query_one("#notice", Static)
        notice.display = bool(lines)
        notice.update(Content("\n").join(say("warn", line) for line in lines))

    def _show_posts(self) -> None:
        word, states = self._filter
        listed = [post for post in self._posts if post.state in states]
        self.post_list.show(listed)
        waiting = sum(post.state in WAITING_FOR_YOU for post in self._posts)
        notes = [word if word != FILTERS[0][0] else counted(len(listed), "post")]
        notes += [f"{waiting} waiting for you"] if waiting else []
        self.query_one("#posts-title", SectionTitle).note = ", ".join(notes)
        if not self._placed:
            self._placed = True
            self.post_list.cursor = first_of_interest(listed)
        self.month.show(days_of(self._posts), self.shell.now().astimezone(self.shell.zone).date())
        self._name_month()
        if not listed:
            self._detail = None
            self.query_one(PostPanel).show(None, None, self.shell.now())

    def _name_month(self) -> None:
        month = self.month
        title = self.query_one("#month-title", SectionTitle)
        title.title = f"{month.day:%B %Y}"
        before, after = (self.shell.registry.label(f"grid.page-{way}") for way in ("up", "down"))
        title.note = f"{counted(month.planned, 'post')}, {before} and {after} turn the page"

    def _tell_outcomes(self) -> None:
        """Say what became of the posts that were sent on their way here."""
        for post in self._posts:
            if post.id in self._awaited and post.state in WAITING_FOR_YOU | OVER:
                self._awaited.discard(post.id)
                if post.state == "published":
                    self.flash(
                        f"🎉 Post {post.id} is published: {post.permalink or post.media_id}", seconds=15
                    )
                else:
                    words = state_mark(post.state).plain
                    self.flash(f"Post {post.id}: {words}. {post.reason}", "warn", seconds=15)

    def on_data_list_row_highlighted(self, event: DataList.RowHighlighted) -> None:
        post: PostView = event.item
        when = wall(post)
        if when is not None and not self.month.has_focus:
            self.month.day = when.date()
            self._name_month()
        self.spawn(partial(self._load_detail, post.id), group="detail", exclusive=True, quiet=True)

    async def _load_detail(self, post_id: int) -> None:
        from persona_tui.services.publishing.post_views import post_detail

        detail = await self.read(post_detail, post_id)
        thumbnail = await thumbnail_of(detail.post, self.shell.core.resources.media)
        now = await self.shell.core.now()
        post = detail.post
        self._detail = detail
        title = self.query_one("#detail-title", SectionTitle)
        title.title = f"Post {post.id}"
        title.note = " · ".join(name for name in (post.pillar, post.cluster) if name)
        self.query_one(PostPanel).show(detail, thumbnail, now)

    # Being sent here

    def aim(self, **target: int) -> None:
        """Look at `post_id`; with `propose` (or `caption`) a caption proposal begins if it has none."""
        self._target = target.get("post_id")
        self._propose_for_target = bool(target.get("propose") or target.get("caption"))
        self.request_reload()

    def _follow_target(self) -> None:
        target, self._target = self._target, None
        if target is None:
            return
        post = next((post for post in self._posts if post.id == target), None)
        if post is None:
            self.flash(f"Post {target} is not among this persona's.", "warn")
            return
        if post.state not in self._filter[1]:
            self._filter = FILTERS[0]
            self._show_posts()
        self.post_list.go_to(target)
        self.post_list.focus()
        if self._propose_for_target and not post.caption:
            self._propose(post)
        self._propose_for_target = False

    # Acts

    def _with_post(self, act: Act) -> None:
        post = self.post_list.current
        if post is None:
            self.flash("There is no post here to do that with.", "info")
            return
        self.spawn(partial(self._carry_out, act, post), group="ask")

    async def _carry_out(self, act: Act, post: PostView) -> None:
        await act(self, post)
        self.request_reload()

    def action_edit(self) -> None:
        self._with_post(posts_acts.edit_words)

    def action_schedule(self) -> None:
        self._with_post(posts_acts.schedule_next)

    def action_schedule_at(self) -> None:
        day = self.month.day if self.month.has_focus else None
        self._with_post(partial(posts_acts.schedule_at, day=day))

    def action_unschedule(self) -> None:
        self._with_post(posts_acts.unschedule)

    def action_publish(self) -> None:
        self._with_post(self._publish)

    async def _publish(self, screen: PersonaScreen, post: PostView) -> None:
        if await posts_acts.publish_now(screen, post):
            self._awaited.add(post.id)

    def action_retry(self) -> None:
        self._with_post(posts_acts.retry)

    def action_look(self) -> None:
        self._with_post(settle)

    def action_cancel(self) -> None:
        self._with_post(posts_acts.cancel)

    def action_reopen(self) -> None:
        self._with_post(posts_acts.reopen)

    def action_delete(self) -> None:
        self._with_post(posts_acts.delete_draft)

    def action_picture(self) -> None:
        self._with_post(posts_acts.view_pictures)

    def on_data_list_row_selected(self, _event: DataList.RowSelected) -> None:
        self.spawn(self._open_whole, group="ask")

    async def _open_whole(self) -> None:
        from persona_tui.services.publishing.post_views import post_detail

        post = self.post_list.current
        if post is not None:
            detail = await self.read(post_detail, post.id)
            text = whole_post(detail, await self.shell.core.now())
            await self.ask(TextDialog(f"Post {post.id}", text))

    # The caption proposal

    def action_caption(self) -> None:
        self._with_post(self._ask_and_propose)

    async def _ask_and_propose(self, _screen: PersonaScreen, post: PostView) -> None:
        from persona_tui.services.publishing.post_views import post_detail

        if not words_can_change(await self.read(post_detail, post.id)):
            state = state_mark(post.state).plain
            self.flash(f"The words of this post can't be changed any more: {state}.", "info")
            return
        mine = post.caption and post.caption_metadata.get("written_by") == "operator"
        question = ConfirmDialog(
            "Replace the caption that you have written?",
            post.caption,
            title="Propose a caption",
            yes="Replace",
            no="Keep it",
        )
        if not mine or await self.ask(question):
            self._propose(post)

    def _propose(self, post: PostView) -> None:
        if self._proposal is not None:
            key = self.shell.registry.label("global.back")
            self.flash(f"A caption is being written already; {key} cancels it.", "info")
            return
        self._proposal = self.spawn(partial(self._write_caption, post), group="caption")

    async def _write_caption(self, post: PostView) -> None:
        panel = self.query_one("#proposal", ProgressPanel)
        panel.restart(f"Writing a caption for post {post.id}")
        self.add_class("-proposing")
        try:
            proposal = await self.shell.core.propose_caption(post.id)
            await posts_acts.write_proposal(self, post, proposal)
        finally:
            self.remove_class("-proposing")
            self._proposal = None
        self.request_reload()

    # The month and the filter

    def action_month(self) -> None:
        self.toggle_class("-month")
        (self.month if self.has_class("-month") else self.post_list).focus()

    def on_month_calendar_day_highlighted(self, event: MonthCalendar.DayHighlighted) -> None:
        self._name_month()
        first = next(
            (p for p in self.post_list.items if (when := wall(p)) and when.date() == event.day), None
        )
        if first is not None:
            self.post_list.go_to(first.id)
        self._reach_back_to(event.day)

    def _reach_back_to(self, day: date) -> None:
        """Read what is older when the calendar comes there."""
        start = datetime(day.year, day.month, 1, tzinfo=self.shell.zone) - timedelta(days=7)
        if start < (self._since or self.shell.now() - SHOWN_FOR):
            self._since = start
            self.request_reload()

    def on_month_calendar_day_opened(self, event: MonthCalendar.DayOpened) -> None:
        posts = days_of(self.post_list.items).get(event.day)
        if posts:
            self.post_list.go_to(posts[0].id)
            self.post_list.focus()
        else:
            key = self.shell.registry.label("posts.schedule-at")
            self.flash(f"Nothing on {event.day:%a %d %b}. {key} puts the marked post there.", "info")

    def action_filter(self) -> None:
        self.spawn(self._choose_filter, group="ask")

    async def _choose_filter(self) -> None:
        choices = [
            Choice((word, states), word, counted(sum(post.state in states for post in self._posts), "post"))
            for word, states in FILTERS
        ]
        chosen = await self.ask(ChoiceDialog("Which posts?", choices, current=self._filter))
        if chosen is not None:
            self._narrow_to(chosen.value)

    def _narrow_to(self, which: tuple[str, frozenset[str]]) -> None:
        self._filter = which
        self._show_posts()
        self.post_list.focus()

    def step_back(self) -> bool:
        if self._proposal is not None:
            self._proposal.cancel()
            self.flash("Cancelled: the words are as they were.", "info")
        elif self.stop_rehearsal():
            pass
        elif self.has_class("-month"):
            self.action_month()
        elif self._filter != FILTERS[0]:
            self._narrow_to(FILTERS[0])
        else:
            return super().step_back()
        return True
