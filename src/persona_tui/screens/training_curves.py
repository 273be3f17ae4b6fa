"""The curves of a training. Imported only when there is something to draw: numpy comes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.reactive import reactive
from textual.strip import Strip
from textual.widgets import Static
from textual_hires_canvas import Canvas, HiResMode
from textual_plot import PlotWidget
from textual_plot.plot_widget import Legend

from persona_tui.services.training.curves import Point, decimated

SHORTEST = 10
"""Steps that the axis shows at least, since ticks between two steps mean nothing."""
Line = tuple[Sequence[Point], str]
"""Points with the name of their colour in the theme."""


class _Canvas(Canvas):
    """The plot's own, whose empty lines have no style: where NO_COLOR is set, Textual would fail at them."""

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        return strip if strip.cell_length else Strip([])


class _Plot(PlotWidget, inherit_bindings=False, can_focus=False):
    """textual-plot's, without the keys of its own: the screen's stand in our registry."""

    BINDINGS: ClassVar[list[BindingType]] = []
    DEFAULT_CSS = """
    _Plot { height: 1fr; width: 1fr; }
    _Plot > .plot--axis, _Plot > .plot--tick { color: $dim; text-style: none; }
    """
    # Room for figures on the left, and one row of them below; a change after mounting is not laid out.
    margin_top = reactive(0)
    margin_bottom = reactive(1)
    margin_left = reactive(8)

    def compose(self) -> ComposeResult:
        with Grid():
            for place in ("margin-top", "margin-left", "plot", "margin-bottom"):
                yield _Canvas(1, 1, id=place)
        yield Legend(id="legend")


class CurvePane(Vertical):
    """One set of axes with its title; without points it says what comes there.

    Args:
        nothing: said in place of a curve.
    """

    DEFAULT_CSS = """
    CurvePane { width: 1fr; height: 1fr; }
    CurvePane > #title { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    CurvePane > #nothing { height: 1fr; color: $dim; content-align: center middle; }
    CurvePane > _Plot { display: none; }
    CurvePane.-drawn > _Plot { display: block; }
    CurvePane.-drawn > #nothing { display: none; }
    """

    def __init__(self, nothing: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._nothing = nothing
        self._title = Content.empty()
        self._shown: tuple[Any, ...] = ()
        self._lines: Sequence[Line] = ()
        self._mark: int | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield Static(self._nothing, id="nothing", markup=False)
        yield _Plot(allow_pan_and_zoom=False)

    def show(
        self, title: Content, lines: Sequence[Line], mark: int | None = None, *, nothing: str = ""
    ) -> None:
        """Draw other curves; the same ones again cost nothing.

        Args:
            lines: those in front last; each is decimated to two points a column.
            mark: a step to set off by an upright line.
            nothing: said while there are no points, where more is known than at first.
        """
        if nothing and nothing != self._nothing:
            self._nothing = nothing
            self.query_one("#nothing", Static).update(nothing, layout=False)
        if not title.is_same(self._title):
            self._title = title
            self.query_one("#title", Static).update(title, layout=False)
        self._lines, self._mark = [line for line in lines if line[0]], mark
        now = (*((len(points), points[-1], colour) for points, colour in self._lines), mark, self.size)
        if now != self._shown:
            self._shown = now
            self.set_class(bool(self._lines), "-drawn")
            self._draw()

    def on_resize(self) -> None:
        if self._lines:
            self._draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_mounted and self._lines:
            self._draw()  # the theme's colours are read when it is drawn

    def _draw(self) -> None:
        plot, colours = self.query_one(_Plot), self.app.theme_variables
        columns = max(self.size.width - plot.margin_left - 2, 1)
        plot.clear()
        last = max((points[-1].step for points, _ in self._lines), default=0)
        plot.set_xlimits(0, max(last, SHORTEST))
        for points, colour in self._lines:
            kept = decimated(points, columns)
            steps, values = [one.step for one in kept], [one.value for one in kept]
            if len(kept) == 1:
                plot.scatter(steps, values, marker="●", marker_style=colours[colour])
            else:
                plot.plot(steps, values, line_style=colours[colour], hires_mode=HiResMode.BRAILLE)
        if self._mark is not None and self._lines:
            plot.add_v_line(self._mark, line_style=colours["success"])


def smoothed(points: Sequence[Point], share: float = 0.05) -> tuple[Point, ...]:
    """The running mean over a share of the points: the loss of one step says little, since its noise level is
    drawn anew each time.
    """
    width = max(int(len(points) * share), 1)
    total, found = 0.0, []
    for place, point in enumerate(points):
        total += point.value
        if place >= width:
            total -= points[place - width].value
        found.append(Point(point.step, total / min(place + 1, width)))
    return tuple(found)
