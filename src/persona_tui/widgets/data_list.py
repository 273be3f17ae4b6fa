"""A list of rows with a cursor, quick for tens of thousands of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from textual import events
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from persona_tui.actions import TABLES, bindings

T = TypeVar("T")
Cell = str | Content
GAP = 2
"""Columns between two cells."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list.

    Attributes:
        title: its heading.
        width: in terminal columns; 0 shares what the others leave, in proportion to `share`.
        share: weight among the columns of width 0.
        align: of cells and heading.
        from_width: the list's width from which the column is shown.
    """

    title: str
    width: int = 0
    share: int = 1
    align: Literal["left", "right"] = "left"
    from_width: int = 0


class DataList(ScrollView, Generic[T], can_focus=True):
    """Rows made only when they are seen.

    `DataTable` measures every cell when rows are added and blocks for seconds at 10 000 rows; this list
    takes a sequence and asks for the cells of what is on screen.

    Args:
        columns: the columns; without any title there is no heading.
        cells: makes an item's cells; called while painting, so it must be quick and pure.
        key: identity of an item; the cursor and the marks stay with it when items are replaced.
        multi: rows can be marked with Space.
        empty: said in place of rows when there are none.
    """

    SCOPES: ClassVar[tuple[str, ...]] = ("list", "marks")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES["list"]), *bindings(TABLES["marks"])]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "data-list--head",
        "data-list--cursor",
        "data-list--cursor-blurred",
        "data-list--empty",
    }
    DEFAULT_CSS = """
    DataList { height: 1fr; width: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    DataList > .data-list--head { color: $dim; text-style: bold; }
    DataList > .data-list--cursor {
        background: $block-cursor-background; color: $block-cursor-foreground; text-style: bold;
    }
    DataList > .data-list--cursor-blurred { background: $block-cursor-blurred-background; }
    DataList > .data-list--empty { color: $dim; }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """Index of the row under the cursor."""

    @dataclass
    class RowHighlighted(Message):
        """The cursor came to another row, or the row under it changed."""

        list: DataList[Any]
        item: Any
        index: int

        @property
        def control(self) -> DataList[Any]:
            return self.list

    @dataclass
    class RowSelected(Message):
        """Enter or a click opened a row."""

        list: DataList[Any]
        item: Any
        index: int

        @property
        def control(self) -> DataList[Any]:
            return self.list

    @dataclass
    class MarksChanged(Message):
        """A row was marked, or a mark was taken away."""

        list: DataList[Any]

        @property
        def control(self) -> DataList[Any]:
            return self.list

    def __init__(
        self,
        columns: Sequence[Column],
        cells: Callable[[T], Sequence[Cell]],
        *,
        key: Callable[[T], Hashable],
        multi: bool = False,
        empty: str = "nothing here yet",
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._cells = cells
        self._key = key
        self._multi = multi
        self._head_rows = int(any(column.title for column in columns))
        self._empty = empty
        self._items: Sequence[T] = ()
        self._marked: set[Hashable] = set()
        self._strips: LRUCache[tuple[object, ...], Strip] = LRUCache(512)
        self._announced: tuple[Hashable, int] | None = None

    # The rows

    @property
    def items(self) -> Sequence[T]:
        """The items shown."""
        return self._items

    @property
    def current(self) -> T | None:
        """The item under the cursor."""
        return self._items[self.cursor] if 0 <= self.cursor < len(self._items) else None

    @property
    def current_key(self) -> Hashable | None:
        """The key of the item under the cursor."""
        item = self.current
        return None if item is None else self._key(item)

    @property
    def marked(self) -> list[T]:
        """The marked items, in the order of the rows."""
        return [item for item in self._items if self._key(item) in self._marked]

    def show(self, items: Sequence[T]) -> None:
        """Replace the items; cursor and marks stay with their keys where these still exist."""
        key = self.current_key
        self._items = items
        keys = {self._key(item): index for index, item in enumerate(items)}
        self._marked &= keys.keys()
        found = keys.get(key) if key is not None else None
        self.virtual_size = Size(self.size.width, len(items) + self._head_rows)
        self._strips.clear()
        self.set_reactive(DataList.cursor, self._clamped(self.cursor if found is None else found))
        self._keep_cursor_in_view()
        self.refresh()
        self._announce()

    def change(self, item: T) -> None:
        """Replace the item of the same key, if it is in the list."""
        key = self._key(item)
        for index, other in enumerate(self._items):
            if self._key(other) == key:
                self._items = [*self._items[:index], item, *self._items[index + 1 :]]
                self._strips.clear()
                self.refresh()
                if index == self.cursor:
                    self._announced = None
                    self._announce()
                return

    def go_to(self, key: Hashable) -> bool:
        """Move the cursor to the item of that key; False if there is none."""
        for index, item in enumerate(self._items):
            if self._key(item) == key:
                self.cursor = index
                return True
        return False

    def mark_all(self) -> None:
        """Mark every row."""
        self._marked = {self._key(item) for item in self._items}
        self._strips.clear()
        self.refresh()
        self.post_message(self.MarksChanged(self))

    def unmark_all(self) -> None:
        """Take all marks away."""
        self._marked.clear()
        self._strips.clear()
        self.refresh()
        self.post_message(self.MarksChanged(self))

    # The cursor

    def _clamped(self, index: int) -> int:
        return max(0, min(index, len(self._items) - 1))

    def validate_cursor(self, index: int) -> int:
        return self._clamped(index)

    def watch_cursor(self, old: int, new: int) -> None:
        self._keep_cursor_in_view()
        for index in (old, new):
            self.refresh(Region(0, index + self._head_rows - self.scroll_offset.y, self.size.width, 1))
        self._announce()

    def _keep_cursor_in_view(self) -> None:
        page, top = self._page, self.scroll_offset.y
        if self.cursor < top:
            self._scroll_to_row(self.cursor)
        elif self.cursor >= top + page:
            self._scroll_to_row(self.cursor - page + 1)

    def _scroll_to_row(self, top: int) -> None:
        """Forced, because before the first layout Textual holds that nothing can scroll."""
        self.scroll_to(y=top, animate=False, force=True, immediate=True)
        self.vertical_scrollbar.position = self.scroll_y

    @property
    def _page(self) -> int:
        return max(self.size.height - self._head_rows, 1)

    def _announce(self) -> None:
        item = self.current
        if item is None:
            self._announced = None
            return
        now = (self._key(item), id(item))
        if now != self._announced:
            self._announced = now
            self.post_message(self.RowHighlighted(self, item, self.cursor))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._multi if action == "mark" else super().check_action(action, parameters)

    def action_up(self) -> None:
        self.cursor -= 1

    def action_down(self) -> None:
        self.cursor += 1

    def action_page_up(self) -> None:
        self.cursor -= self._page

    def action_page_down(self) -> None:
        self.cursor += self._page

    def action_first(self) -> None:
        self.cursor = 0

    def action_last(self) -> None:
        self.cursor = len(self._items) - 1

    def action_open(self) -> None:
        item = self.current
        if item is not None:
            self.post_message(self.RowSelected(self, item, self.cursor))

    def action_mark(self) -> None:
        key = self.current_key
        if key is None:
            return
        self._marked ^= {key}
        self.post_message(self.MarksChanged(self))
        self.cursor += 1
        self._strips.clear()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        index = event.y - self._head_rows + self.scroll_offset.y
        if event.y < self._head_rows or index >= len(self._items):
            return
        if index == self.cursor and self.has_focus:
            self.action_open()
        self.cursor = index

    # Painting

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._items) + self._head_rows)
        self._strips.clear()
        self._keep_cursor_in_view()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y < self._head_rows:
            return self._head(width)
        index = y - self._head_rows + self.scroll_offset.y
        if index >= len(self._items):
            if not self._items and y == 2 * self._head_rows:
                return self._paint(Content(self._empty), "data-list--empty", width)
            return Strip.blank(width, self.rich_style)
        cursor = index == self.cursor
        active = self.has_focus or self.has_class("-active")
        name = ("data-list--cursor" if active else "data-list--cursor-blurred") if cursor else ""
        cached = (index, width, name)
        if cached not in self._strips:
            self._strips[cached] = self._paint(self._row(self._items[index], width), name, width)
        return self._strips[cached]

    def _head(self, width: int) -> Strip:
        titles = [_fitted(column.title, cells, column.align) for column, cells in self._widths(width)]
        lead = Content("  ") if self._multi else Content("")
        return self._paint(lead + Content(" " * GAP).join(titles), "data-list--head", width)

    def _row(self, item: T, width: int) -> Content:
        made = dict(zip(self._columns, self._cells(item), strict=True))
        cells = [_fitted(made[column], room, column.align) for column, room in self._widths(width)]
        row = Content(" " * GAP).join(cells)
        if self._multi:
            marked = self._key(item) in self._marked
            row = Content.styled("✓ " if marked else "  ", "$success") + row
        return row

    def _widths(self, width: int) -> list[tuple[Column, int]]:
        shown = [column for column in self._columns if width >= column.from_width]
        room = width - GAP * (len(shown) - 1) - sum(column.width for column in shown)
        room -= 2 if self._multi else 0
        shares = sum(column.share for column in shown if not column.width)
        return [(column, column.width or max(room * column.share // max(shares, 1), 1)) for column in shown]

    def _paint(self, content: Content, component: str, width: int) -> Strip:
        style = self.get_visual_style(component) if component else self.visual_style
        strips = Visual.to_strips(self, content, width, 1, style, pad=True)
        return strips[0].adjust_cell_length(width, style.rich_style)


def _fitted(cell: Cell, width: int, align: str) -> Content:
    content = cell if isinstance(cell, Content) else Content(cell)
    content = content.truncate(width, ellipsis=True)
    missing = max(width - content.cell_length, 0)
    return content.pad_left(missing) if align == "right" else content.pad_right(missing)
