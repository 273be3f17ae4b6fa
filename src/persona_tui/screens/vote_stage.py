"""What the vote view shows: the pictures, what is being made, and the words around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from persona_tui.screens import runs_lines, vote_lines, vote_panel
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.screens.vote_data import Kind, Scene
from persona_tui.screens.vote_table import TALL, VoteTable
from persona_tui.widgets.failsafe import Failsafe, shell_of
from persona_tui.widgets.picture import PicturePane, Source
from persona_tui.widgets.progress import ProgressPanel

if TYPE_CHECKING:
    from persona_tui.services.generation.health import EngineStatus

ASIDE = 48
"""Columns that the panel beside the pictures takes."""
KINDS: tuple[Kind, ...] = ("duel", "grid", "single", "making", "stuck")


@dataclass(frozen=True, slots=True)
class Looks:
    """What the operator has asked to see.

    Attributes:
        revealed: ratings are shown.
        info: seeds, parents, LoRAs and the prompt are shown.
        waits: the step is accepted as soon as it is complete.
        aims: what the next choice of a picture does in place of voting.
        zoomed: the pictures are shown at 100 %.
        count: pictures wanted at once.
    """

    revealed: bool = False
    info: bool = False
    waits: bool = False
    aims: Literal["reject", "flag"] | None = None
    zoomed: bool = False
    count: int = 2


class VoteStage(Failsafe, Vertical):
    """Shows a scene.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(id="vote-stage")
        self._clock = clock
        self._step_made: int | None = None
        self._scene: Scene | None = None
        self._looks = Looks()

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Static(id="asks", markup=False)
        with Horizontal(id="pictures"):
            yield VoteTable(self._clock)
            with Vertical(id="making"):
                with Vertical(id="before"):
                    yield PicturePane(id="preview")
                    yield Static(id="preview-words", markup=False)
                with Vertical(id="made"):
                    yield ProgressPanel("", unit="pictures")
                    yield Static(id="making-lines", markup=False)
            yield PartsPanel(vote_panel.PARTS, id="aside")
        yield Static(id="prompt", markup=False)
        yield Static(id="status", markup=False)
        yield Static(id="then", markup=False)

    def on_resize(self, event: Resize) -> None:
        """The panel must not take room from a pair of upright pictures; a cell is twice as high as wide."""
        width, height = event.size
        self.set_class(width - ASIDE >= 2 * height * 2 * TALL, "-roomy")
        self.call_after_refresh(self._show_words_again)

    @property
    def table(self) -> VoteTable:
        """The pictures."""
        return self.query_one(VoteTable)

    def forget(self) -> None:
        """Take the pictures for old: the next scene's are drawn anew."""
        self.table.forget()

    def show(self, scene: Scene, looks: Looks) -> None:
        """Show a scene; pictures that are on the screen already stay there."""
        self._scene = scene
        for kind in KINDS:
            self.set_class(kind == scene.kind, f"-{kind}")
        self.set_class(bool(scene.shown), "-pictures")
        if scene.shown:
            self.table.show(scene)
        else:
            self.forget()
        self.show_words(scene, looks)

    # Words

    def show_words(self, scene: Scene, looks: Looks) -> None:
        """Show the words around the pictures; those that stay as they are cost nothing."""
        self._looks = looks
        if scene.run is None:
            return
        registry = shell_of(self).registry
        self.set_class(looks.info, "-info")
        self.set_class(scene.asks is not None, "-asks")
        self._say("#head", vote_lines.head(scene, registry))
        if scene.asks is not None:
            self._say("#asks", vote_lines.asking(scene, scene.asks))
        self._say("#prompt", vote_panel.prompt(scene.run))
        if not scene.shown:
            return
        room = self.size.width
        self._say("#status", vote_lines.status(scene, room))
        self._say("#then", vote_lines.then(scene, registry, looks))
        self.table.show_captions(vote_lines.captions(scene, registry, looks))
        self.query_one(PartsPanel).show(vote_panel.parts(scene, registry, looks))

    def _show_words_again(self) -> None:
        if self._scene is not None:
            self.show_words(self._scene, self._looks)

    def on_vote_table_blinked(self, event: VoteTable.Blinked) -> None:
        event.stop()
        self._show_words_again()

    def _say(self, line: str, words: Content) -> None:
        shown = self.query_one(line, Static)
        if not isinstance(shown.content, Content) or not shown.content.is_same(words):
            shown.update(words)

    # While pictures are made

    def show_making(self, scene: Scene, engine: EngineStatus | None) -> None:
        """Show how far the step's pictures are, or why none will come."""
        assert scene.step is not None and scene.run is not None
        panel = self.query_one(ProgressPanel)
        if self._step_made != scene.step.id:
            self._step_made = scene.step.id
            self._show_before(scene.parent, "it is made of this one")
            panel.restart(scene.step.name)
        panel.advance_to(runs_lines.made(scene.step), scene.step.wanted)
        shell = shell_of(self)
        if scene.kind == "stuck":
            lines = vote_lines.stuck(scene, shell.registry.label("global.runs"))
        else:
            skip = shell.registry.label("vote.next")
            lines = vote_lines.making(scene, engine, shell.now(), skip=skip)
        self.query_one("#making-lines", Static).update(Content("\n").join(list(lines)))

    def show_preview(self, picture: bytes) -> None:
        """Show what a server has drawn of a picture so far."""
        self._show_before(picture, "so far")

    def _show_before(self, picture: Source | None, words: str) -> None:
        self.query_one("#before").display = picture is not None
        self.query_one("#preview", PicturePane).show(picture, words, keep=True)
        self.query_one("#preview-words", Static).update(Content.styled(words, "$dim"))
