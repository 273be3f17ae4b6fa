"""The palette: search every action that is possible here."""

from __future__ import annotations

from functools import partial

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from persona_tui.actions import Action
from persona_tui.widgets.failsafe import Failsafe, shell_of


class Palette(Failsafe, CommandPalette):
    """Textual's palette, as safe from failures as every other screen."""


class ActionProvider(Provider):
    """Offers the registry's actions with their keys."""

    def _shown(self, action: Action, name: Content | str) -> Content:
        key = shell_of(self.screen).registry.label(action.name)
        return Content.assemble(name, (f"  [{key}]", "$title"))

    async def discover(self) -> Hits:
        shell = shell_of(self.screen)
        for action in shell.offered(self.screen):
            yield DiscoveryHit(
                self._shown(action, action.title),
                partial(shell.perform, action.name),
                text=action.title,
                help=action.help,
            )

    async def search(self, query: str) -> Hits:
        shell = shell_of(self.screen)
        matcher = self.matcher(query)
        for action in shell.offered(self.screen):
            text = f"{action.title} {action.name}"
            score = matcher.match(text)
            if score > 0:
                yield Hit(
                    score,
                    self._shown(action, matcher.highlight(action.title)),
                    partial(shell.perform, action.name),
                    text=action.title,
                    help=action.help,
                )
