"""The registry: no dead keys, no double keys, a handler for each action, and keys that can be changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.screen import Screen

from persona_tui.actions import GLOBAL, TABLES, Action, Registry, Table
from persona_tui.actions import keys as key_names
from persona_tui.actions.registry import by_scope
from persona_tui.app import VIEWS, PersonaApp
from persona_tui.errors import SettingsError
from persona_tui.screens.clusters_filter import FilterInput
from persona_tui.screens.clusters_tree import LibraryTree
from persona_tui.screens.command_line import CommandLine
from persona_tui.screens.compare import CompareScreen
from persona_tui.screens.file_picker import FilePicker
from persona_tui.screens.gallery_tree import BranchList
from persona_tui.screens.help import help_text
from persona_tui.screens.loras import LorasScreen
from persona_tui.screens.loras_blind import Ballot, BlindDialog
from persona_tui.screens.palette import ActionProvider
from persona_tui.screens.posts_calendar import MonthCalendar
from persona_tui.screens.posts_overdue import OverdueDialog
from persona_tui.screens.runs_errors import TroubleDialog, Whose
from persona_tui.screens.runs_wizard import RunWizard
from persona_tui.screens.runs_wizard_data import Offer, PipelineOffer
from persona_tui.screens.winners import WinnersScreen
from persona_tui.services.generation.pipelines import PipelineView, StepView
from persona_tui.services.media import MediaStore
from persona_tui.services.voting.comparison import ComparisonState
from persona_tui.settings import Settings
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.cycle import Cycle
from persona_tui.widgets.data_list import Column, DataList
from persona_tui.widgets.fields import ChoiceField, TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.legend import Legend
from persona_tui.widgets.reader import TextDialog
from persona_tui.widgets.viewer import ViewedPicture, ViewerDialog
from tests.ui.support import settle
from tests.ui.training_world import plan_dialog

MakeApp = Callable[..., PersonaApp]
WIDE = (400, 60)


async def _nothing(_run_id: int | None) -> tuple[()]:
    return ()


async def _start(_offer: Offer, _values: dict[str, Any]) -> None:
    return None


async def _read(_persona_id: int) -> Offer:
    return _offer()


def _offer() -> Offer:
    step = StepView(1, 1, "base", 4, 1, 600, None)
    pipeline = PipelineView(1, "one-step", "", 1, 1, None, None, None, None, 0, (step,))
    return Offer(1, "Mira", "UTC", (PipelineOffer(pipeline, (), {1: None}, ()),), (), (), ())


class _Voted(Ballot):
    """A comparison of one pair, which was voted on."""

    async def look(self) -> tuple[ComparisonState, None, None]:
        return ComparisonState(1, 1, 1, 2, "mira@2", 1, "mira@1", 1, 1, 0, 1, 0, 0), None, None


DIALOGS: dict[str, Callable[[], Screen[Any]]] = {
    "blind": lambda: BlindDialog(_Voted(LorasScreen(), 1, lambda: "")),
    "confirm": lambda: ConfirmDialog("Sure?"),
    "form": lambda: FormDialog("Form", [TextField(name="a", label="A")]),
    "cycle": lambda: FormDialog("Form", [ChoiceField(name="a", label="A", choices=[(1, "one"), (2, "two")])]),
    "choice": lambda: ChoiceDialog("Choose", [Choice(1, "one")]),
    "files": lambda: FilePicker("File", Path.home(), (".safetensors",)),
    "reader": lambda: TextDialog("Read", "text"),
    "command": lambda: CommandLine([]),
    "trouble": lambda: TroubleDialog(Whose(None, ""), _nothing, UTC),
    "wizard": lambda: RunWizard(_offer(), _read, _start, datetime.now(UTC)),
    "plan": plan_dialog,
    "overdue": lambda: OverdueDialog(1),
    "viewer": lambda: ViewerDialog(MediaStore(Settings()), [ViewedPicture("0/0.png", "0", "a bowl")]),
}
PUSHED: dict[str, Callable[[], Screen[Any]]] = {
    "compare": lambda: CompareScreen(1, (1, 2), []),
    "winners": WinnersScreen,
}
"""Screens that others open, by scope."""
WIDGETS: dict[str, type[DOMNode]] = {
    "list": DataList,
    "marks": DataList,
    "cycle": Cycle,
    "grid": MonthCalendar,
    "branches": BranchList,
    "folds": LibraryTree,
    "filter": FilterInput,
}
"""Where the actions of widget scopes live."""


def node_class(scope: str) -> type[DOMNode]:
    """The class that carries a scope's actions out."""
    if scope == GLOBAL:
        return PersonaApp
    if scope in VIEWS:
        module, name = VIEWS[scope]
        found: type[DOMNode] = getattr(import_module(module), name)
        return found
    if scope in WIDGETS:
        return WIDGETS[scope]
    if scope in PUSHED:
        return type(PUSHED[scope]())
    return type(DIALOGS[scope]())


def all_actions() -> list[Action]:
    return list(Registry(TABLES))


@pytest.mark.parametrize("action", all_actions(), ids=lambda action: action.name)
def test_every_action_is_whole(action: Action) -> None:
    assert callable(getattr(node_class(action.scope), action.handler, None)), f"no {action.handler}"
    assert all(key_names.is_key(key) for key in Registry(TABLES).keys(action.name))
    assert action.title and action.title[0].isupper()
    assert action.help.endswith(".")


def test_no_key_does_two_things_at_once() -> None:
    assert list(Registry(TABLES).clashes()) == []


def test_action_names_belong_to_their_table() -> None:
    for scope, table in TABLES.items():
        assert table.scope == scope
        assert all(action.scope == scope for action in table.actions)


def test_no_letter_is_bound_where_text_is_typed() -> None:
    registry = Registry(TABLES)
    for table in TABLES.values():
        if table.typing:
            for action in table.actions:
                assert not any(key_names.is_typed(key) for key in registry.keys(action.name)), action.name


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"jobs.folow": "x"}, "there is no action called jobs.folow. Did you mean jobs.follow?"),
        ({"nonsense": "x"}, "there is no action called nonsense."),
        ({"jobs.follow": "ctrl+banana"}, "jobs.follow: ctrl+banana is no key."),
        ({"jobs.follow": "hyper+f"}, "jobs.follow: hyper+f is no key."),
        ({"jobs.follow": ""}, "jobs.follow: nothing is no key."),
        ({"jobs.follow": "v"}, "v is both jobs.level and jobs.follow"),
        ({"jobs.follow": "q"}, "q is both jobs.follow and global.quit"),
        ({"jobs.follow": "down"}, "↓ is both jobs.follow and list.down"),
        ({"form.save": "s"}, "form.save: s is a letter that you type there."),
    ],
)
def test_a_bad_setting_of_keys_is_refused_with_a_sentence(
    make_app: MakeApp, overrides: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        make_app(keys=overrides)
    assert sentence in caught.value.message
    assert caught.value.hint


def test_two_actions_may_swap_their_keys() -> None:
    registry = Registry(TABLES, {"jobs.level": "f", "jobs.follow": "v"})
    assert (registry.label("jobs.level"), registry.label("jobs.follow")) == ("f", "v")


def test_screens_that_are_never_heard_together_may_share_a_key() -> None:
    tables = by_scope([Table("a", "A", (_action("a.x", "x"),)), Table("b", "B", (_action("b.x", "x"),))])
    assert list(Registry(tables).clashes()) == []


def _action(name: str, key: str) -> Action:
    return Action(name, key, "Title", "Help.")


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("f1", "F1"),
        ("ctrl+p", "Ctrl+P"),
        ("?", "?"),
        ("P", "P"),
        ("left", "←"),
        ("escape", "Esc"),
        (":", ":"),
        ("+", "+"),
        ("-", "-"),
    ],
)
def test_keys_are_shown_as_they_are_written_on_the_keyboard(key: str, label: str) -> None:
    assert key_names.label(key_names.normal(key)) == label


# Rebinding: every action, to another key, in footer, palette and help, and it fires.


def spare_keys() -> Iterator[str]:
    """Keys that nothing uses and no text field takes."""
    for modifier in ("", "ctrl+", "shift+", "alt+", "ctrl+shift+", "ctrl+alt+"):
        for number in range(13, 25):
            yield f"{modifier}f{number}"


def rebound(scopes: list[str]) -> dict[str, str]:
    """Another key for every action of these scopes."""
    names = [action.name for scope in scopes for action in TABLES[scope].actions]
    return dict(zip(names, spare_keys(), strict=False))


async def assert_fires(
    pilot: Pilot[Any], node: DOMNode, action: Action, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Press the key and see that the action's handler, and no other, is called."""
    called: list[str] = []
    with monkeypatch.context() as patch:
        for other in TABLES[action.scope].actions:
            patch.setattr(
                node, other.handler, lambda *_, name=other.handler: called.append(name), raising=False
            )
        patch.setattr(node, "check_action", lambda *_: True)
        await pilot.press(key)
        await pilot.pause()
    assert called == [action.handler], f"{key} for {action.name}"


def assert_in_legend(legend: Legend, action: Action, label: str) -> None:
    if action in legend.actions():
        assert f"[{label}] {action.title.lower()}" in legend.render().plain


@pytest.mark.long(but=["runs", "global"])
@pytest.mark.parametrize("scope", [*VIEWS, GLOBAL])
async def test_every_key_of_a_screen_can_be_changed(
    make_app: MakeApp, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(keys=rebound([scope]))
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        await app.action_go(scope if scope in VIEWS else "training")
        await settle(pilot)
        screen = app.screen
        screen.set_focus(None)
        node = app if scope == GLOBAL else screen
        provider = ActionProvider(screen)
        offered = {hit.prompt.plain async for hit in provider.discover()}  # type: ignore[union-attr]
        shown = help_text("", app.registry, [TABLES[scope]]).plain
        for action in TABLES[scope].actions:
            key = app.registry.overrides[action.name]
            label = key_names.label(key)
            if action in app.offered():
                assert f"{action.title}  [{label}]" in offered
            assert any(label in line and action.name in line for line in shown.splitlines())
            assert_in_legend(screen.query_one(Legend), action, label)
            await assert_fires(pilot, node, action, key, monkeypatch)


@pytest.mark.long(but=["wizard", "choice"])
@pytest.mark.parametrize("scope", sorted(DIALOGS))
async def test_every_key_of_a_dialog_can_be_changed(
    make_app: MakeApp, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(keys=rebound([scope]))
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        dialog = DIALOGS[scope]()
        app.push_screen(dialog)
        await settle(pilot)
        node: DOMNode = dialog.query_one(Cycle) if scope == "cycle" else dialog
        shown = help_text("", app.registry, [TABLES[scope]]).plain
        for action in TABLES[scope].actions:
            key = app.registry.overrides[action.name]
            assert any(key_names.label(key) in line and action.name in line for line in shown.splitlines())
            assert_in_legend(dialog.query_one(Legend), action, key_names.label(key))
            await assert_fires(pilot, node, action, key, monkeypatch)


@pytest.mark.long(but=["winners"])
@pytest.mark.parametrize("scope", sorted(PUSHED))
async def test_every_key_of_a_pushed_screen_can_be_changed(
    make_app: MakeApp, scope: str, monkeypatch: pytest.MonkeyPatch, unforeseen: list[BaseException]
) -> None:
    app = make_app(keys=rebound([scope]))
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        screen = PUSHED[scope]()
        app.push_screen(screen)
        await settle(pilot)
        screen.set_focus(None)
        shown = help_text("", app.registry, [TABLES[scope]]).plain
        for action in TABLES[scope].actions:
            key = app.registry.overrides[action.name]
            assert any(key_names.label(key) in line and action.name in line for line in shown.splitlines())
            assert_in_legend(screen.query_one(Legend), action, key_names.label(key))
            await assert_fires(pilot, screen, action, key, monkeypatch)
    unforeseen.clear()


@pytest.mark.parametrize("scope", ["list", "marks"])
async def test_every_key_of_a_list_can_be_changed(
    make_app: MakeApp, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(keys=rebound([scope]))
    async with app.run_test(size=WIDE) as pilot:
        await settle(pilot)
        rows: DataList[int] = DataList([Column("n")], lambda n: [str(n)], key=lambda n: n, multi=True)
        await app.screen.mount(rows)
        rows.show(range(100))
        rows.focus()
        await pilot.pause()
        for action in TABLES[scope].actions:
            await assert_fires(pilot, rows, action, app.registry.overrides[action.name], monkeypatch)


async def test_the_old_key_does_nothing_after_a_change(make_app: MakeApp) -> None:
    app = make_app(keys={"global.loras": "ctrl+f13"})
    async with app.run_test(size=WIDE) as pilot:
        await pilot.press("f10")
        assert app.current_mode == "dashboard"
        await pilot.press("ctrl+f13")
        assert app.current_mode == "loras"
