"""What the vote view shows: the pair or one picture, what is being made, and the words around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from persona_tui.screens import runs_lines, vote_lines
from persona_tui.screens.runs_parts import PartsPanel
from persona_tui.screens.vote_data import Kind, Scene
from persona_tui.widgets.failsafe import Failsafe, shell_of
from persona_tui.widgets.picture import KEPT, PicturePane, Source
from persona_tui.widgets.progress import ProgressPanel

if TYPE_CHECKING:
    from persona_tui.services.generation.health import EngineStatus
    from persona_tui.services.voting.contest import Duel

SIDES = ("left", "right")
ASIDE = 48
"""Columns that the panel beside the pictures takes."""
TALL = 0.8
"""Width of a usual picture for its height, from which the room beside a pair is guessed."""
KINDS: tuple[Kind, ...] = ("duel", "single", "making", "stuck")


@dataclass(frozen=True, slots=True)
class Looks:
    """What the operator has asked to see.

    Attributes:
        revealed: ratings are shown.
        info: seeds, parents and the prompt are shown.
        waits: the step is accepted as soon as it is complete.
    """

    revealed: bool = False
    info: bool = False
    waits: bool = False


class VoteStage(Failsafe, Vertical):
    """Shows a scene, and knows since when its pictures have been on the screen.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(id="vote-stage")
        self._clock = clock
        self._shown: list[int] = []
        self._duel: Duel | None = None
        self._step_made: int | None = None
        self._scene: Scene | None = None
        self.drawn_at: float | None = None
        """When all pictures of the scene came onto the screen; None until they have."""

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        with Horizontal(id="pictures"):
            for side in SIDES:
                with Vertical(id=side, classes="side"):
                    yield PicturePane()
                    yield Static(classes="caption", markup=False)
            with Vertical(id="making"):
                with Vertical(id="before"):
                    yield PicturePane(id="preview")
                    yield Static(id="preview-words", markup=False)
                with Vertical(id="made"):
                    yield ProgressPanel("", unit="pictures")
                    yield Static(id="making-lines", markup=False)
            yield PartsPanel(vote_lines.PARTS, id="aside")
        yield Static(id="prompt", markup=False)
        yield Static(id="status", markup=False)

    def on_resize(self, event: Resize) -> None:
        """The panel must not take room from a pair of upright pictures; a cell is twice as high as wide."""
        width, height = event.size
        self.set_class(width - ASIDE >= 2 * height * 2 * TALL, "-roomy")

    @property
    def panes(self) -> list[PicturePane]:
        """The two panes, left to right."""
        return [self.query_one(f"#{side} PicturePane", PicturePane) for side in SIDES]

    def forget(self) -> None:
        """Take the pictures for old: the next scene's are drawn anew."""
        self._shown, self._duel, self.drawn_at = [], None, None

    def show(self, scene: Scene, looks: Looks) -> None:
        """Show a scene; pictures that are on the screen already stay there."""
        self._scene = scene
        for kind in KINDS:
            self.set_class(kind == scene.kind, f"-{kind}")
        if scene.shown:
            self._show_pictures(scene)
        else:
            self.forget()
        self.show_words(scene, looks)

    # Pictures

    def _show_pictures(self, scene: Scene) -> None:
        wanted = [member.id for member in scene.shown]
        if self._shown == wanted and self._duel is scene.duel:
            return
        same = self._shown == wanted and self.drawn_at is not None
        self._shown, self._duel, self.drawn_at = wanted, scene.duel, None
        if same:
            self.call_after_refresh(self._note_drawn, wanted)
            return
        for pane, member in zip(self.panes, scene.shown, strict=False):
            path = scene.pictures.get(member.id)
            pane.show(path, f"picture {member.candidate_id}" + ("" if path else ": its file is gone"))

    def on_picture_pane_drawn(self, event: PicturePane.Drawn) -> None:
        event.stop()
        if event.pane.id == "preview" or self.drawn_at is not None or self._scene is None:
            return
        if all(pane.loaded for pane in self.panes[: len(self._shown)]):
            self.call_after_refresh(self._note_drawn, self._shown)
            self.spawn(partial(self._prepare, self._scene), group="prepare", exclusive=True, quiet=True)

    def _note_drawn(self, shown: list[int]) -> None:
        if self.drawn_at is None and shown == self._shown:
            self.drawn_at = self._clock()

    async def _prepare(self, scene: Scene) -> None:
        """Encode the pictures ahead, so that whatever is voted, the next pair is there at once."""
        paths = [path for path in scene.pictures.values() if path is not None]
        for path in paths[: KEPT // len(SIDES)]:
            for pane in self.panes:
                await pane.prepare(path)

    # Words

    def show_words(self, scene: Scene, looks: Looks) -> None:
        """Show the words around the pictures."""
        if scene.run is None:
            return
        self.set_class(looks.info, "-info")
        self.query_one("#head", Static).update(vote_lines.head(scene))
        self.query_one("#prompt", Static).update(Content.styled(scene.run.prompt, "$dim"))
        if not scene.shown:
            return
        registry = shell_of(self).registry
        enter = registry.label("vote.accept")
        self.query_one("#status", Static).update(vote_lines.status(scene, enter, looks))
        for side, member in zip(SIDES, scene.shown, strict=False):
            key = registry.label(f"vote.{side}") if scene.kind == "duel" else ""
            self.query_one(f"#{side} .caption", Static).update(vote_lines.caption(member, key, looks))
        self.query_one(PartsPanel).show(vote_lines.aside(scene, enter, looks))

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
