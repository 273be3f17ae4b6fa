"""The private names of Textual that the picture layer leans on; a new version that drops one fails here."""

from __future__ import annotations

import inspect

from textual.app import App
from textual.containers import Vertical
from textual.drivers import linux_driver
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Static

from persona_tui.terminal import textual_bridge


def test_a_frame_ends_where_the_pictures_are_written() -> None:
    body = inspect.getsource(App._display)
    assert body.index("_begin_update()") < body.index("render_segments") < body.rindex("_end_update()")
    assert list(inspect.signature(App._end_update).parameters) == ["self"]


def test_the_input_thread_looks_its_parser_up_by_name() -> None:
    assert "XTermParser(" in inspect.getsource(linux_driver.LinuxDriver.run_input_thread)
    textual_bridge.install_reply_filter()
    assert vars(linux_driver)["XTermParser"] is textual_bridge.FilteredParser


def test_lines_reach_the_terminal_strip_by_strip() -> None:
    from textual import _compositor

    for update in (_compositor.LayoutUpdate, _compositor.ChopsUpdate):
        assert ".render(console)" in inspect.getsource(update.render_segments)
    assert "strip.divide(" in inspect.getsource(_compositor.Compositor._render_chops)
    assert Strip([]).cell_length == 0


async def test_visible_widgets_come_front_to_back() -> None:
    class Layered(App[None]):
        CSS = "Screen { layers: below above; } #front { layer: above; width: 10; height: 3; }"

        def compose(self):  # type: ignore[no-untyped-def]
            with Vertical(id="around"):
                yield Static("behind", id="behind")
            yield Static("front", id="front")

    app = Layered()
    async with app.run_test():
        assert isinstance(app.screen_stack[-1], Screen)
        visible = app.screen._compositor.visible_widgets
        order = [widget.id for widget in visible]
        assert order.index("front") < order.index("behind") < order.index("around")
        region, clip = next(iter(visible.values()))
        assert region.intersection(clip).area > 0
        assert app._batch_count == 0 and app._driver is not None
