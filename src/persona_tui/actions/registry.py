"""The registry of everything a key can do: it feeds bindings, legends, palette, help and rebinding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from textual.binding import Binding

from persona_tui.actions import keys
from persona_tui.errors import SettingsError

GLOBAL = "global"

Kind = Literal["global", "screen", "widget", "dialog"]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a key does.

    Attributes:
        name: `scope.verb`, as written in the setting `keys`.
        key: Textual key names; several are separated by commas and the first is shown.
        title: one to three words for legends, palette and help.
        help: one sentence on what happens.
        priority: place in the legend; smaller comes first and stays longer when room is short.
        dangerous: can't be undone by another key; shown in red where that is possible.
        in_footer: shown in the legend.
        in_palette: offered by the palette and the command line.
        anywhere: offered from every screen; the app opens the action's screen first.
        run: what is called, as Textual writes actions; default is the verb with `-` as `_`.
    """

    name: str
    key: str
    title: str
    help: str
    priority: int = 50
    dangerous: bool = False
    in_footer: bool = True
    in_palette: bool = True
    anywhere: bool = False
    run: str = ""

    @property
    def scope(self) -> str:
        """The table that the action belongs to."""
        return self.name.partition(".")[0]

    @property
    def call(self) -> str:
        """The Textual action string."""
        return self.run or self.name.partition(".")[2].replace("-", "_")

    @property
    def handler(self) -> str:
        """Name of the method that carries the action out."""
        return "action_" + self.call.partition("(")[0]


@dataclass(frozen=True, slots=True)
class Table:
    """The actions of one scope.

    Attributes:
        scope: first part of each action's name.
        title: heading in the help.
        actions: the actions, in the order of the help.
        kind: `screen`: heard beside the global ones; `widget`: heard while such a widget has the focus;
            `dialog`: heard alone.
        holds: scopes of the widgets on this screen or dialog, or heard together with this widget's own; each
            one's keys must differ from this table's.
        typing: letters go to a text field, so no letter may be bound.
    """

    scope: str
    title: str
    actions: tuple[Action, ...] = ()
    kind: Kind = "screen"
    holds: tuple[str, ...] = ()
    typing: bool = False


@dataclass(frozen=True)
class Registry:
    """All tables with the operator's own keys laid over them.

    Raises:
        SettingsError: the setting `keys` names an unknown action or key, or uses one key twice.
    """

    tables: Mapping[str, Table]
    overrides: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = {action.name for action in self}
        for name, wanted in self.overrides.items():
            if name not in names:
                raise _unknown_action(name, names)
            _check_keys(name, wanted, self.tables[name.partition(".")[0]])
        for clash in self.clashes():
            raise SettingsError(
                f"keys: {clash}.", title="Key is taken", hint="Give one of the two another key."
            )

    def __iter__(self) -> Iterator[Action]:
        for table in self.tables.values():
            yield from table.actions

    def __getitem__(self, name: str) -> Action:
        for action in self.actions(name.partition(".")[0]):
            if action.name == name:
                return action
        raise KeyError(name)

    def actions(self, scope: str) -> tuple[Action, ...]:
        """The actions of one scope, in the order of its table."""
        table = self.tables.get(scope)
        return table.actions if table is not None else ()

    def keys(self, name: str) -> tuple[str, ...]:
        """The keys that trigger an action now, in normal spelling."""
        return keys.split(self.overrides.get(name) or self[name].key)

    def label(self, name: str) -> str:
        """How the action's first key is shown."""
        return keys.label(self.keys(name)[0])

    def labels(self, name: str) -> str:
        """How all of the action's keys are shown."""
        return " ".join(keys.label(key) for key in self.keys(name))

    def keymap(self) -> dict[str, str]:
        """The overrides as Textual's `set_keymap` takes them."""
        return {name: ",".join(self.keys(name)) for name in self.overrides}

    def clashes(self) -> Iterator[str]:
        """One sentence for each key that two actions share where both can be heard.

        Of a screen's widgets one has the focus, so two of them may share a key.
        """
        for table in self.tables.values():
            scopes = (table.scope, GLOBAL) if table.kind == "screen" else (table.scope,)
            heard: dict[str, str] = {}
            yield from self._doubled(scopes, heard)
            for held in table.holds:
                yield from self._doubled((held,), dict(heard))

    def _doubled(self, scopes: Iterable[str], taken: dict[str, str]) -> Iterator[str]:
        """Note which keys these scopes take, with a sentence for each one that is taken already."""
        for action in (action for scope in scopes for action in self.actions(scope)):
            for key in self.keys(action.name):
                other = taken.setdefault(key, action.name)
                if other != action.name:
                    yield f"{keys.label(key)} is both {other} and {action.name}"


def bindings(table: Table) -> list[Binding]:
    """Textual bindings with the default keys; ids are the action names, so the keymap reaches them."""
    return [
        Binding(",".join(keys.split(a.key)), a.call, a.title, show=False, tooltip=a.help, id=a.name)
        for a in table.actions
    ]


def by_scope(tables: Iterable[Table]) -> dict[str, Table]:
    """The tables under their scope names."""
    return {table.scope: table for table in tables}


def _unknown_action(name: str, names: set[str]) -> SettingsError:
    close = get_close_matches(name, names, n=1)
    meant = f" Did you mean {close[0]}?" if close else ""
    return SettingsError(
        f"keys: there is no action called {name}.{meant}",
        hint="Press ? in the app: the help lists every action's name.",
    )


def _check_keys(name: str, wanted: str, table: Table) -> None:
    for key in keys.split(wanted):
        if not keys.is_key(key):
            raise SettingsError(
                f"keys: {name}: {key or 'nothing'} is no key.",
                hint="Keys are letters, digits, signs, f1 to f24, enter, space, left …, with ctrl+, alt+ or "
                "shift+ before them.",
            )
        if table.typing and keys.is_typed(key):
            raise SettingsError(
                f"keys: {name}: {keys.label(key)} is a letter that you type there.",
                hint="Choose a key with ctrl+ or a function key.",
            )
