"""The app: its views, its keys, and the core that it starts once the first frame is on the screen.

Nothing heavy is imported here or by the screens at module level: the first frame is painted before
SQLAlchemy and the models are loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.screen import Screen

from persona_tui.actions import DASHBOARD, GLOBAL, SCREEN_TABLES, TABLES, Action, Registry, bindings
from persona_tui.screens.core_link import CoreFactory, CoreLink, Looker
from persona_tui.screens.first_look import Opening
from persona_tui.theme import THEMES
from persona_tui.widgets.key_order import KeysInOrder
from persona_tui.widgets.shell import CoreState

if TYPE_CHECKING:
    from textual.dom import DOMNode

    from persona_tui.settings import Settings
    from persona_tui.terminal.probe import Capabilities

VIEWS: Mapping[str, tuple[str, str]] = {
    "dashboard": ("persona_tui.screens.dashboard", "DashboardScreen"),
    "personas": ("persona_tui.screens.personas", "PersonasScreen"),
    "ideas": ("persona_tui.screens.ideas", "IdeasScreen"),
    "runs": ("persona_tui.screens.runs", "RunsScreen"),
    "pipelines": ("persona_tui.screens.pipelines", "PipelinesScreen"),
    "vote": ("persona_tui.screens.vote", "VoteScreen"),
    "gallery": ("persona_tui.screens.gallery", "GalleryScreen"),
    "clusters": ("persona_tui.screens.clusters", "ClustersScreen"),
    "posts": ("persona_tui.screens.posts", "PostsScreen"),
    "accounts": ("persona_tui.screens.accounts", "AccountsScreen"),
    "training": ("persona_tui.screens.training", "TrainingScreen"),
    "loras": ("persona_tui.screens.loras", "LorasScreen"),
    "jobs": ("persona_tui.screens.jobs", "JobsScreen"),
    "settings": ("persona_tui.screens.settings", "SettingsScreen"),
}
"""Module and class of each mode's screen; imported when the mode is first opened."""

HELP_ORDER = ("dialog", "screen", "widget", "global")
"""Order of the kinds of scopes in the help: what is special first."""
HISTORY = 20
"""Views that Esc can go back through."""


def open_view(mode: str) -> Screen[None]:
    """Import and make a mode's screen."""
    module, name = VIEWS[mode]
    screen = getattr(import_module(module), name)()
    assert isinstance(screen, Screen)
    return screen


class PersonaApp(KeysInOrder, CoreLink, inherit_bindings=False):
    """The terminal application.

    Args:
        settings: the effective settings.
        core_factory: makes the core, in a thread; default is the real one, after a first look.
        looker: reads the first data before a core that is given is made; without one it is not looked.
        capabilities: what the terminal can do with pictures, as `terminal` probed it before the start.
        now: the clock.

    Raises:
        SettingsError: `settings.keys` names an unknown action or key, or uses one key twice.
    """

    TITLE = "persona-tui"
    CSS_PATH = "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = {
        mode: partial(open_view, mode) for mode in VIEWS
    }
    DEFAULT_MODE = DASHBOARD
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TABLES[GLOBAL])]
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (80, "-narrow"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (24, "-low"), (40, "-tall")]
    PAUSE_GC_ON_SCROLL = True

    def __init__(
        self,
        settings: Settings,
        *,
        core_factory: CoreFactory | None = None,
        looker: Looker | None = None,
        capabilities: Capabilities | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.registry = Registry(TABLES, settings.keys)
        self.now = now
        if core_factory is None:
            opening = Opening(settings)
            core_factory, looker = opening.core, opening.look
        super().__init__(core_factory, looker)
        self._mode_history: list[str] = []
        self.set_keymap(self.registry.keymap())
        for theme in THEMES.values():
            self.register_theme(theme)
        self.theme = THEMES[settings.terminal.theme].name
        if capabilities is not None:
            self.use_pictures(capabilities, settings.terminal.protocol)
        if not self.moving:
            self.animation_level = "none"

    # Actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "retry":
            return self.core_state is CoreState.FAILED
        return super().check_action(action, parameters)

    def worth_showing(self, action: Action) -> bool:
        if action.name == "global.back":
            pushed = sum(not screen.is_modal for screen in self.screen_stack) > 1
            return pushed or bool(self._mode_history) or self.current_mode != DASHBOARD
        return action.name != "global.quit" or self.current_mode == DASHBOARD

    async def action_go(self, mode: str) -> None:
        """Open a view and remember the one before."""
        if mode == self.current_mode:
            return
        before = self.current_mode
        await self._open(mode)
        self._mode_history = [] if mode == DASHBOARD else [*self._mode_history[-HISTORY:], before]

    async def go_to(self, mode: str, **target: int) -> None:
        from persona_tui.screens.base import PersonaScreen

        await self.action_go(mode)
        for screen in reversed(self.screen_stack):
            if isinstance(screen, PersonaScreen) and mode == screen.SCOPE:
                screen.aim(**target)
                return

    async def _open(self, mode: str) -> None:
        await asyncio.to_thread(import_module, VIEWS[mode][0])
        await self.switch_mode(mode)

    async def action_back(self) -> None:
        from persona_tui.screens.base import PersonaScreen

        screen = self.screen
        if isinstance(screen, PersonaScreen) and screen.step_back():
            return
        if len(self.screen_stack) > 1:
            self.pop_screen()
        elif self._mode_history:
            await self._open(self._mode_history.pop())
        elif self.current_mode != DASHBOARD:
            await self._open(DASHBOARD)
        else:
            self.flash(f"This is the Dashboard; {self.registry.label('global.quit')} quits.", "info")

    async def action_quit(self) -> None:
        if self.current_mode == DASHBOARD:
            self.action_leave()
        else:
            key, home = self.registry.label("global.quit"), self.registry.label(f"global.{DASHBOARD}")
            self.flash(f"{key} quits from the Dashboard ({home}).", "info")

    def action_leave(self) -> None:
        self.spawn(self._leave, group="leave", exclusive=True)

    async def _leave(self) -> None:
        from persona_tui.widgets.confirm import ConfirmDialog

        dialog = ConfirmDialog(
            "Leave persona-tui?",
            "Planned posts go out only while the app or `persona-tui scheduler` runs; a training goes on.",
            title="Quit",
            yes="Quit",
            no="Stay",
        )
        if await self.push_screen_wait(dialog):
            self.flash("Stopping…", "busy", seconds=60)
            await self.stop_core()
            self.exit()

    def action_retry(self) -> None:
        self.spawn(self._start_core, group="core", exclusive=True)

    def action_reload(self) -> None:
        from persona_tui.screens.base import PersonaScreen

        if isinstance(self.screen, PersonaScreen):
            self.screen.request_reload()

    def action_theme(self) -> None:
        self.theme = THEMES["light" if self.current_theme.dark else "dark"].name

    def action_persona(self) -> None:
        self.spawn(self._choose_persona, group="choose", exclusive=True)

    async def _choose_persona(self) -> None:
        from persona_tui.widgets.choice import Choice, ChoiceDialog

        choices = [Choice(persona, persona.name, persona.zone) for persona in await self.personas()]
        dialog = ChoiceDialog(
            "Which persona?",
            choices,
            current=self.persona,
            empty=f"no personas yet: {self.registry.label('global.personas')} is where they are made",
        )
        chosen = await self.push_screen_wait(dialog)
        if chosen is not None:
            self.choose_persona(chosen.value)

    def action_help(self) -> None:
        from persona_tui.screens.help import help_text
        from persona_tui.widgets.reader import TextDialog

        about, title = getattr(self.screen, "HELP", ""), getattr(self.screen, "TITLE", "")
        heard = [(TABLES[scope], node) for scope, node in self._heard(self.screen)]
        heard.sort(key=lambda pair: HELP_ORDER.index(pair[0].kind))
        tables = [table for table, node in heard if any(self._possible(a, node) for a in table.actions)]
        self.push_screen(TextDialog(f"Help: {title}", help_text(about, self.registry, tables)))

    def action_palette(self) -> None:
        from persona_tui.screens.palette import ActionProvider, Palette

        self.push_screen(Palette([ActionProvider], placeholder="Search every action…"))

    def action_command(self) -> None:
        self.spawn(self._command, group="command", exclusive=True)

    async def _command(self) -> None:
        from persona_tui.screens.command_line import CommandLine, commands_of

        name = await self.push_screen_wait(CommandLine(commands_of(self)))
        if name:
            await self.perform(name)

    # Which actions there are

    def _heard(self, screen: Screen[object]) -> list[tuple[str, DOMNode]]:
        """The scopes whose keys are heard now, nearest first, with the node that carries them out."""
        chain: Sequence[DOMNode] = screen.focused.ancestors_with_self if screen.focused else [screen]
        heard: list[tuple[str, DOMNode]] = []
        for node in chain:
            scopes = getattr(node, "SCOPES", None) or (getattr(node, "SCOPE", ""),)
            heard += [(scope, node) for scope in scopes if scope in TABLES]
        return heard if screen.is_modal else [*heard, (GLOBAL, self)]

    def _possible(self, action: Action, node: DOMNode) -> bool:
        return node.check_action(action.handler.removeprefix("action_"), ()) is True

    def offered(self, screen: Screen[object] | None = None) -> Sequence[Action]:
        here = self._heard(screen or self.screen)
        found = [
            action
            for scope, node in here
            for action in self.registry.actions(scope)
            if action.in_palette and self._possible(action, node)
        ]
        heard = {scope for scope, _ in here}
        found += [
            action
            for table in SCREEN_TABLES
            if table.scope not in heard
            for action in table.actions
            if action.anywhere
        ]
        return found

    async def perform(self, name: str) -> None:
        action = self.registry[name]
        if action.anywhere:
            await self.action_go(action.scope)
        for scope, node in self._heard(self.screen):
            if scope == action.scope:
                await self.run_action(action.call, node)
                return
