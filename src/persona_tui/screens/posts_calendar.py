"""A month of posts: seven columns, six weeks, a cursor on a day."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from persona_tui.actions import TABLES, bindings
from persona_tui.screens.posts_states import STATES, wall

if TYPE_CHECKING:
    from persona_tui.services.publishing.post_views import PostView

WEEKS = 6
DAY = timedelta(days=1)


def first_shown(day: date) -> date:
    """The Monday on which the grid of this day's month begins."""
    first = day.replace(day=1)
    return first - first.weekday() * DAY


def month_later(day: date, months: int) -> date:
    """The same day some months later, or that month's last day."""
    count = day.year * 12 + day.month - 1 + months
    year, month = divmod(count, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


class MonthCalendar(Widget, can_focus=True):
    """The month around the cursor's day, with each day's posts.

    Args:
        day: under the cursor at first.
    """

    SCOPES: ClassVar[tuple[str, ...]] = ("grid",)
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["grid"])]
    DEFAULT_CSS = "MonthCalendar { height: 1fr; width: 1fr; text-wrap: nowrap; text-overflow: clip; }"

    day: reactive[date] = reactive(date(2000, 1, 1))
    """The day under the cursor."""

    @dataclass
    class DayHighlighted(Message):
        """The cursor was moved to another day."""

        day: date

    @dataclass
    class DayOpened(Message):
        """Enter or a click opened a day."""

        day: date

    def __init__(self, day: date = date(2000, 1, 1), *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.set_reactive(MonthCalendar.day, day)
        self._days: Mapping[date, Sequence[PostView]] = {}
        self._today = date(2000, 1, 1)

    def show(self, days: Mapping[date, Sequence[PostView]], today: date) -> None:
        """Replace the posts; the cursor stays on its day."""
        self._days, self._today = days, today
        self.refresh()

    @property
    def planned(self) -> int:
        """How many posts the month under the cursor has."""
        month = (self.day.year, self.day.month)
        return sum(len(posts) for day, posts in self._days.items() if (day.year, day.month) == month)

    # The cursor

    def _go(self, day: date) -> None:
        if day != self.day:
            self.day = day
            self.post_message(self.DayHighlighted(day))

    def action_left(self) -> None:
        self._go(self.day - DAY)

    def action_right(self) -> None:
        self._go(self.day + DAY)

    def action_up(self) -> None:
        self._go(self.day - 7 * DAY)

    def action_down(self) -> None:
        self._go(self.day + 7 * DAY)

    def action_page_up(self) -> None:
        self._go(month_later(self.day, -1))

    def action_page_down(self) -> None:
        self._go(month_later(self.day, 1))

    def action_first(self) -> None:
        self._go(self._today)

    def action_last(self) -> None:
        self._go(max(self._days, default=self._today))

    def action_open(self) -> None:
        self.post_message(self.DayOpened(self.day))

    def on_click(self, event: events.Click) -> None:
        column, week = event.x // self._column, (event.y - 1) // self._rows
        if event.y < 1 or column > 6 or week >= WEEKS:
            return
        day = first_shown(self.day) + (week * 7 + column) * DAY
        if day == self.day and self.has_focus:
            self.action_open()
        self._go(day)

    # Painting

    @property
    def _column(self) -> int:
        return max(self.size.width // 7, 4)

    @property
    def _rows(self) -> int:
        return max((self.size.height - 1) // WEEKS, 1)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render(self) -> Content:
        names = [calendar.day_abbr[number] for number in range(7)]
        lines = [Content.styled("".join(f" {name}".ljust(self._column) for name in names), "$dim bold")]
        start = first_shown(self.day)
        for week in range(WEEKS):
            cells = [self._cell(start + (week * 7 + column) * DAY) for column in range(7)]
            lines += [Content("").join(parts) for parts in zip(*cells, strict=True)]
        return Content("\n").join(lines)

    def _cell(self, day: date) -> list[Content]:
        """The lines of a day, each as wide as its column."""
        posts, rows, width = self._days.get(day, ()), self._rows, self._column - 1
        inside = day.month == self.day.month
        lines = [self._head(day, len(posts), inside, short=rows == 1)]
        room = rows - 1
        shown = posts if len(posts) <= room else posts[: max(room - 1, 0)]
        lines += [_line(post, width - 1, inside) for post in shown]
        if room and len(posts) > len(shown):
            rest = f"+{len(posts) - len(shown)} more" if shown else f"● {len(posts)} posts"
            lines.append(Content.styled(f" {rest}", "$success" if inside else "$dim"))
        lines += [Content("")] * (rows - len(lines))
        background = self._background(day)
        fitted = [line.truncate(width).pad_right(max(width - line.cell_length, 0)) for line in lines]
        return [line.stylize(background) + Content(" ") if background else line + " " for line in fitted]

    def _head(self, day: date, count: int, inside: bool, *, short: bool) -> Content:
        style = "$title bold" if day == self._today else "bold" if inside else "$dim"
        head = Content.styled(f" {day.day:2}", style)
        if day == self._today:
            head += Content.styled(" ◂" if self._column < 12 else " today", "$title")
        if short and count:
            head += Content.styled(f" ●{count}", "$success")
        return head

    def _background(self, day: date) -> str:
        if day != self.day:
            return ""
        if self.has_focus:
            return "$block-cursor-foreground on $block-cursor-background"
        return "on $block-cursor-blurred-background"


def _line(post: PostView, width: int, inside: bool) -> Content:
    icon, word, style = STATES[post.state]
    when = wall(post)
    text = f" {icon} {when:%H:%M}" if when else f" {icon}"
    if width >= 15:
        text += f" {' '.join(post.caption.split()) or word}"
    return Content.styled(text, style if inside else "$dim")
