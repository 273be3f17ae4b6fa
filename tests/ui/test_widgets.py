"""The widgets that the screens share."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.cells import cell_len
from textual.app import ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input

from persona_tui.app import PersonaApp
from persona_tui.errors import DuplicateName, InvalidRequest
from persona_tui.screens.base import PersonaScreen
from persona_tui.widgets import marks
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.cycle import Cycle
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.empty import EmptyState
from persona_tui.widgets.fields import (
    CheckField,
    ChoiceField,
    DateField,
    Field,
    IntegerField,
    LongTextField,
    MomentField,
    NumberField,
    TextField,
)
from persona_tui.widgets.form import FieldRow, FormDialog
from persona_tui.widgets.picture import PicturePane
from persona_tui.widgets.progress import Pace, ProgressPanel
from tests.ui.support import said, screen_text, settle

SIZE = (80, 24)


class Stage(PersonaScreen):
    """A view that holds the widget under test."""

    SCOPE = "training"
    TITLE = "Stage"

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self._widget = widget

    def compose_body(self) -> ComposeResult:
        yield self._widget


async def staged(pilot: Pilot[Any], widget: Widget) -> None:
    await settle(pilot)
    await pilot.app.push_screen(Stage(widget))
    await settle(pilot)


def ask(pilot: Pilot[Any], dialog: Any) -> asyncio.Future[Any]:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    pilot.app.push_screen(dialog, answer.set_result)
    return answer


# Lists


def numbers(count: int, **options: Any) -> DataList[int]:
    rows: DataList[int] = DataList(
        [Column("Number", 8, align="right"), Column("Word"), Column("Wide", 20, from_width=120)],
        lambda n: [str(n), f"word {n}", "only wide"],
        key=lambda n: n,
        **options,
    )
    rows.show(range(count))
    return rows


@pytest.mark.long
async def test_a_list_makes_only_the_rows_that_are_seen(app: PersonaApp) -> None:
    asked: list[int] = []
    rows: DataList[int] = DataList(
        [Column("n")],
        lambda n: asked.append(n) or [str(n)],
        key=lambda n: n,  # type: ignore[func-returns-value]
    )
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, rows)
        rows.show(range(50_000))
        rows.focus()
        await pilot.press("end")
        await pilot.pause()
        assert "49999" in screen_text(pilot)
        assert len(set(asked)) < 100


@pytest.mark.long
async def test_a_lists_cursor_moves_by_row_page_and_end(app: PersonaApp) -> None:
    rows = numbers(100)
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, rows)
        rows.focus()
        await pilot.press("down", "down", "up")
        assert rows.current == 1
        await pilot.press("pagedown")
        assert rows.current is not None and rows.current > 10
        await pilot.press("end", "down")
        assert rows.current == 99
        await pilot.press("home", "up")
        assert rows.current == 0
        assert "word 0" in screen_text(pilot)


async def test_a_list_tells_what_is_under_the_cursor_and_what_is_opened(app: PersonaApp) -> None:
    rows, messages = numbers(10), list[Message]()
    async with app.run_test(size=SIZE, message_hook=messages.append) as pilot:
        await staged(pilot, rows)
        rows.focus()
        await pilot.press("down", "enter")
        await pilot.pause()
    mine = [m for m in messages if isinstance(m, DataList.RowHighlighted | DataList.RowSelected)]
    told = list(dict.fromkeys((type(m).__name__, m.item, m.index) for m in mine))
    assert told == [("RowHighlighted", 0, 0), ("RowHighlighted", 1, 1), ("RowSelected", 1, 1)]


async def test_a_lists_cursor_and_marks_stay_with_their_keys(app: PersonaApp) -> None:
    rows = numbers(10, multi=True)
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, rows)
        rows.focus()
        await pilot.press("down", "space", "space")
        assert rows.marked == [1, 2]
        assert rows.current == 3
        rows.show([9, 3, 2])
        assert rows.current == 3
        assert rows.marked == [2]
        rows.show([])
        assert rows.current is None
        await pilot.pause()
        assert "nothing here yet" in screen_text(pilot)


async def test_space_marks_nothing_in_a_list_without_marks(app: PersonaApp) -> None:
    rows = numbers(3)
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, rows)
        rows.focus()
        await pilot.press("space")
        assert rows.marked == []


@pytest.mark.long
async def test_a_list_shows_more_columns_where_there_is_room(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, numbers(3))
        assert "only wide" not in screen_text(pilot)
        await pilot.resize_terminal(160, 40)
        await pilot.pause(0.2)
        assert "only wide" in screen_text(pilot)


async def test_outside_text_in_a_row_is_not_read_as_markup(app: PersonaApp) -> None:
    rows: DataList[str] = DataList([Column("Text")], lambda text: [text], key=lambda text: text)
    rows.show(["[red]not red[/red] [@click=app.quit]x[/]"])
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, rows)
        assert "[red]not red[/red] [@click=app.quit]x[/]" in screen_text(pilot)


# Dialogs


@pytest.mark.parametrize(
    ("keys", "dangerous", "answer"),
    [
        (["y"], False, True),
        (["n"], False, False),
        (["escape"], False, False),
        (["enter"], False, True),
        (["enter"], True, False),
        (["tab", "enter"], True, True),
        (["y"], True, True),
    ],
)
async def test_a_question_is_answered_by_keys(
    app: PersonaApp, keys: list[str], dangerous: bool, answer: bool
) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        answered = ask(pilot, ConfirmDialog("Delete 3 runs?", "For good.", yes="Delete", dangerous=dangerous))
        await pilot.pause()
        assert "Delete 3 runs?" in screen_text(pilot)
        assert "[y] Delete" in screen_text(pilot)
        await pilot.press(*keys)
        assert await answered is answer


@pytest.mark.long
async def test_a_choice_is_filtered_by_every_word(app: PersonaApp) -> None:
    choices = [Choice(1, "Harbour walks", "autumn"), Choice(2, "Harbour", "spring"), Choice(3, "Kitchen")]
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        chosen = ask(pilot, ChoiceDialog("Cluster", choices, current=3))
        await pilot.pause()
        await pilot.press(*"har spr")
        await pilot.pause()
        assert "Kitchen" not in screen_text(pilot)
        await pilot.press("enter")
        assert (await chosen).value == 2


@pytest.mark.long
async def test_a_choice_starts_at_the_current_one_and_can_be_left(app: PersonaApp) -> None:
    choices = [Choice(n, f"number {n}") for n in range(30)]
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        taken = ask(pilot, ChoiceDialog("Number", choices, current=20))
        await pilot.pause()
        await pilot.press("down", "enter")
        assert (await taken).value == 21
        left = ask(pilot, ChoiceDialog("Number", choices))
        await pilot.pause()
        await pilot.press("escape")
        assert await left is None


# Forms

PILLAR = (
    TextField(name="name", label="Name", required=True),
    NumberField(name="weight", label="Weight %", value=Decimal("10.0"), minimum=0, maximum=100),
    IntegerField(name="priority", label="Priority", value=3, minimum=1, maximum=5, hint="1 to 5"),
    DateField(name="start", label="From"),
    ChoiceField(name="tone", label="Tone", value="b", choices=[("a", "casual"), ("b", "playful")]),
    CheckField(name="active", label="Active", value=True),
    LongTextField(name="about", label="About"),
)


def typed(form: FormDialog, name: str) -> Input:
    row = next(row for row in form.query(FieldRow) if row.field.name == name)
    control = row.control
    assert isinstance(control, Input)
    return control


async def test_a_form_returns_values_of_the_fields_kinds(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        done = ask(pilot, FormDialog("New pillar", PILLAR))
        await pilot.pause()
        await pilot.press(*"Daily", "enter", "enter", "enter")
        await pilot.press(*"2026-03-14", "enter", "left", "tab", "right", "tab")
        await pilot.press(*"a", "enter", *"b", "ctrl+s")
        assert await done == {
            "name": "Daily",
            "weight": Decimal("10.0"),
            "priority": 3,
            "start": date(2026, 3, 14),
            "tone": "a",
            "active": False,
            "about": "a\nb",
        }


async def test_a_form_says_beside_the_field_what_is_wrong_and_goes_there(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        form = FormDialog("New pillar", PILLAR)
        done = ask(pilot, form)
        await pilot.pause()
        typed(form, "weight").value = "140"
        typed(form, "priority").value = "two"
        await pilot.press("ctrl+s")
        await pilot.pause()
        text = screen_text(pilot)
        assert "Needs a value." in text
        assert "Must be at most 100." in text
        assert "Must be a whole number." in text
        assert form.focused is typed(form, "name")
        await pilot.press(*"Daily")
        typed(form, "weight").value = "40"
        typed(form, "priority").value = "2"
        await pilot.press("ctrl+s")
        assert (await done)["weight"] == 40


@pytest.mark.long
async def test_what_is_wrong_with_a_field_is_said_until_it_is_changed(app: PersonaApp) -> None:
    async def refuse(_values: object) -> None:
        raise InvalidRequest("The name is taken.")

    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        form = FormDialog("New pillar", PILLAR, submit=refuse)
        ask(pilot, form)
        await pilot.pause()
        await pilot.press(*"Daily", "tab", *"999", "tab")
        assert "Must be at most 100." in screen_text(pilot)
        await pilot.press("shift+tab", *"40")
        assert "Must be at most 100." not in screen_text(pilot)
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "The name is taken." in screen_text(pilot)
        await pilot.press("up", *"x")
        await pilot.pause()
        assert "The name is taken." not in screen_text(pilot)


@pytest.mark.long
async def test_down_and_up_go_through_the_fields_and_stop_at_the_ends(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        form = FormDialog("New pillar", PILLAR)
        ask(pilot, form)
        await pilot.pause()
        await pilot.press("up")
        assert form.focused is typed(form, "name")
        await pilot.press("down", "down")
        assert form.focused is typed(form, "priority")
        await pilot.press("down", "down", "down")
        assert form.focused is form.rows[5].control
        await pilot.press("up", "up")
        assert form.focused is typed(form, "start")


@pytest.mark.long
async def test_letters_that_are_keys_elsewhere_are_just_letters_in_a_field(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        form = FormDialog("Name", [TextField(name="name", label="Name")])
        done = ask(pilot, form)
        await pilot.pause()
        await pilot.press(*"qPyn", "question_mark", "colon", "space", *"v", "ctrl+s")
        assert await done == {"name": "qPyn?: v"}


async def test_letters_are_typed_into_a_field_of_a_view(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        field = Input(compact=True)
        await staged(pilot, field)
        field.focus()
        await pilot.press(*"qP", "question_mark", "colon")
        assert field.value == "qP?:"
        assert said(pilot) == ""


async def test_a_form_asks_before_it_throws_away_what_was_typed(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        form = FormDialog("New pillar", PILLAR)
        done = ask(pilot, form)
        await pilot.pause()
        await pilot.press("x", "escape")
        await pilot.pause()
        assert isinstance(app.screen, ConfirmDialog)
        await pilot.press("n")
        await pilot.pause()
        assert app.screen is form
        assert typed(form, "name").value == "x"
        await pilot.press("escape", "y")
        assert await done is None


async def test_an_untouched_form_closes_at_once(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        done = ask(pilot, FormDialog("New pillar", PILLAR))
        await pilot.pause()
        await pilot.press("escape")
        assert await done is None


@pytest.mark.long
async def test_a_form_stays_open_when_what_it_submits_is_refused(app: PersonaApp) -> None:
    tries: list[str] = []

    async def submit(values: dict[str, Any]) -> None:
        tries.append(values["name"])
        if len(tries) == 1:
            raise DuplicateName("There is a pillar called Daily.")

    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        form = FormDialog("New pillar", PILLAR, submit=submit)
        done = ask(pilot, form)
        await pilot.pause()
        await pilot.press(*"Daily", "ctrl+s")
        await settle(pilot)
        assert "There is a pillar called Daily. Choose another name." in screen_text(pilot)
        await pilot.press("2", "ctrl+s")
        assert (await done)["name"] == "Daily2"
        assert tries == ["Daily", "Daily2"]


@pytest.mark.long
async def test_a_choice_in_a_form_can_be_picked_from_a_list(app: PersonaApp) -> None:
    tones = [(n, f"tone {n}") for n in range(5)]
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        form = FormDialog("Tone", [ChoiceField(name="tone", label="Tone", choices=tones)])
        done = ask(pilot, form)
        await pilot.pause()
        assert form.query_one(Cycle).value == 0
        await pilot.press("space")
        await pilot.pause()
        await pilot.press(*"tone 3", "enter")
        await pilot.pause()
        await pilot.press("ctrl+s")
        assert await done == {"tone": 3}


@pytest.mark.parametrize(
    ("field", "typed", "problem"),
    [
        (TextField(name="f", label="F", longest=3), "four", "At most 3 characters; this has 4."),
        (NumberField(name="f", label="F"), "nan", "Must be a number, such as 2.5."),
        (NumberField(name="f", label="F"), "1e", "Must be a number, such as 2.5."),
        (NumberField(name="f", label="F", minimum=1), "0.5", "Must be at least 1."),
        (IntegerField(name="f", label="F"), "1.5", "Must be a whole number."),
        (DateField(name="f", label="F"), "14.3.2026", "Must be a day such as 2026-03-14."),
        (DateField(name="f", label="F", earliest=date(2026, 1, 1)), "2025-12-31", "Not before 2026-01-01."),
        (DateField(name="f", label="F", latest=date(2026, 1, 1)), "2026-01-02", "Not after 2026-01-01."),
        (MomentField(name="f", label="F"), "soon", "Must be a day and a time such as 2026-03-14 09:30."),
        (
            MomentField(name="f", label="F"),
            "2026-03-14 09:30+01:00",
            "Without a zone: it is the one that the label names.",
        ),
        (TextField(name="f", label="F", required=True), "  ", "Needs a value."),
        (TextField(name="f", label="F", check=lambda v: "No." if v == "x" else None), "x", "No."),
    ],
)
def test_a_field_says_what_is_wrong(field: Field, typed: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        field.read(typed)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        (TextField(name="f", label="F"), " a ", "a"),
        (TextField(name="f", label="F"), "", ""),
        (NumberField(name="f", label="F"), "2,5", Decimal("2.5")),
        (NumberField(name="f", label="F"), "", None),
        (DateField(name="f", label="F"), "2026-03-14", date(2026, 3, 14)),
        (
            MomentField(name="f", label="F"),
            "2026-03-14  9:30".replace("  9", " 09"),
            datetime(2026, 3, 14, 9, 30),
        ),
    ],
)
def test_a_field_reads_what_is_typed(field: Field, typed: str, value: object) -> None:
    assert field.read(typed) == value


def test_a_field_writes_what_it_reads() -> None:
    moment = MomentField(name="f", label="F", value=datetime(2026, 3, 14, 9, 5))
    assert moment.read(moment.written()) == moment.value


# Progress


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_pace_knows_rate_and_time_left() -> None:
    clock = Clock()
    pace = Pace(clock)
    for second in range(1, 11):
        clock.seconds = second
        pace.report(second * 4)
    assert pace.rate == pytest.approx(4)
    assert pace.remaining(100) == pytest.approx(15)


def test_pace_follows_the_last_seconds_not_the_whole() -> None:
    clock = Clock()
    pace = Pace(clock)
    for second in range(1, 101):
        clock.seconds = second
        pace.report(second if second <= 50 else 50 + (second - 50) * 10)
    assert pace.rate == pytest.approx(10, rel=0.05)


def test_pace_without_progress_promises_nothing() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.seconds = 30
    pace.report(0)
    assert pace.remaining(10) is None


async def test_progress_shows_rate_time_left_and_the_key_that_cancels(app: PersonaApp) -> None:
    clock = Clock()
    panel = ProgressPanel("Importing", unit="photos", cancel="global.reload", clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, panel)
        clock.seconds = 10
        panel.advance_to(20, 80)
        await pilot.pause()
        text = screen_text(pilot)
        assert "Importing  20 of 80 photos  2.0/s  about 30 s left  [Ctrl+R] cancel" in text
        assert " 25%" in text
        panel.advance_to(80, 80)
        await pilot.pause()
        assert "done in 10 s" in screen_text(pilot)


async def test_progress_without_a_total_shows_the_time_gone_by(app: PersonaApp) -> None:
    clock = Clock()
    panel = ProgressPanel("Asking", clock=clock)
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, panel)
        clock.seconds = 65
        panel.refresh()
        await pilot.pause()
        assert "Asking  1 min 05 s so far" in screen_text(pilot)
        assert "%" not in screen_text(pilot)


# Pictures


def picture(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (width, height), (200, 30, 40)).save(buffer, "PNG")
    return buffer.getvalue()


async def until(pilot: Pilot[Any], condition: Any) -> None:
    for _ in range(200):
        await pilot.pause(0.02)
        if condition():
            return
    raise AssertionError("it never came")


async def test_a_picture_is_drawn_whole_in_its_aspect(app: PersonaApp) -> None:
    pane = PicturePane("a red square")
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, pane)
        pane.show(picture(64, 64), "a red square")
        await until(pilot, lambda: pane.loaded)
        await pilot.pause()
        drawn = [line.count("▀") for line in screen_text(pilot).splitlines() if "▀" in line]
        assert drawn and len(set(drawn)) == 1
        assert drawn[0] == pytest.approx(2 * len(drawn), abs=1)
        await pilot.resize_terminal(120, 40)
        await until(pilot, lambda: screen_text(pilot).count("▀") > sum(drawn))


async def test_a_prepared_picture_is_on_the_screen_with_the_next_frame(
    app: PersonaApp, tmp_path: Path
) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(picture(64, 64))
    pane = PicturePane("a red square")
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, pane)
        await pane.prepare(file)
        file.unlink()
        await pane.prepare(tmp_path / "gone.png")
        pane.show(file, "a red square")
        assert pane.loaded
        await pilot.pause()
        assert "▀" in screen_text(pilot)


async def test_a_picture_that_cant_be_read_shows_its_words(app: PersonaApp, tmp_path: Path) -> None:
    pane = PicturePane("no picture")
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, pane)
        assert "no picture" in screen_text(pilot)
        pane.show(b"not a picture", "lena on the pier")
        await until(pilot, lambda: "lena on the pier (can't be shown)" in screen_text(pilot))
        pane.show(tmp_path / "gone.png", "lena in town")
        await until(pilot, lambda: "lena in town (can't be shown)" in screen_text(pilot))
        pane.show(None, "no picture")
        await until(pilot, lambda: "no picture" in screen_text(pilot))


# Words


async def test_an_empty_state_names_the_key_for_what_comes_next(make_app: Any) -> None:
    app = make_app(keys={"global.ideas": "f13"})
    async with app.run_test(size=SIZE) as pilot:
        await staged(pilot, EmptyState("No runs yet.\nThey begin with an idea.", "global.ideas"))
        text = screen_text(pilot)
        assert "No runs yet." in text
        assert "Press [F13] ideas" in text


async def test_the_message_goes_away_by_itself(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.flash("Saved.", seconds=60)
        await pilot.pause()
        assert "✅ Saved." in screen_text(pilot)
        # A short one may be gone before a busy machine has painted it.
        app.flash("Again.", seconds=0.05)
        assert said(pilot) == "Again."
        await until(pilot, lambda: said(pilot) == "")


@pytest.mark.long
async def test_the_legend_drops_what_is_less_important_and_says_where_the_rest_is(app: PersonaApp) -> None:
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("f11")
        await settle(pilot)
        wide = screen_text(pilot).splitlines()[-1]
        assert "[v] level" in wide and "[f] follow" in wide
        legend = app.screen.query_one("Legend")
        legend.styles.width = 34
        await pilot.pause()
        narrow = screen_text(pilot).splitlines()[-1]
        assert "[r] retry" in narrow and "[v] level" not in narrow
        assert "more: ?" in narrow
        assert len(narrow.rstrip()) <= 34


def test_every_icon_has_the_same_width_in_every_terminal() -> None:
    icons = [icon for icon, _, _ in marks.PREFIX.values()]
    assert all(cell_len(icon) == 2 and "\ufe0f" not in icon for icon in [*icons, *marks.RANKS])


@pytest.mark.parametrize(
    ("unposted", "shown"), [(7, "● plenty"), (3, "● plenty"), (2, "◐ low"), (0, "○ empty")]
)
def test_stock_is_told_by_dot_and_word(unposted: int, shown: str) -> None:
    assert marks.stock_dot(unposted).plain == shown


def test_a_tree_ends_with_a_corner() -> None:
    assert [line.plain for line in marks.tree(["a", "b"], indent=2)] == ["  ├─ a", "  └─ b"]


@pytest.mark.parametrize(
    ("hours", "due", "words"),
    [
        (50, False, "in 2d"),
        (3, False, "today"),
        (20, False, "in 1d"),
        (-3, False, "earlier today"),
        (-80, False, "3d ago"),
        (-130, True, "5d overdue"),
        (-3, True, "overdue"),
        (-30 / 3600, True, "due now"),
    ],
)
def test_days_are_told_as_in_a_conversation(hours: float, due: bool, words: str) -> None:
    now = datetime(2026, 3, 14, 12, tzinfo=UTC)
    assert marks.days_away(now + timedelta(hours=hours), now, due=due) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(45.4, "45 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (356_400, "4 d 3 h")]
)
def test_durations_have_two_units(seconds: float, words: str) -> None:
    assert marks.duration(seconds) == words


@pytest.mark.parametrize(
    ("text", "words"), [("short", "short"), ("a  b\nc", "a b c"), ("x" * 20, "x" * 9 + "…")]
)
def test_short_texts_fit(text: str, words: str) -> None:
    assert marks.short(text, 10) == words
