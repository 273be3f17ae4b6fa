"""Import photos file by file: how far it is, what failed and why; it can be stopped between two files."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from persona_tui.screens.clusters_reading import Shelf
from persona_tui.widgets.failsafe import shell_of
from persona_tui.widgets.fields import ChoiceField, TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted
from persona_tui.widgets.progress import ProgressPanel

if TYPE_CHECKING:
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.library.imports import Import
    from persona_tui.services.library.photos import FileOutcome

FAILURES_SHOWN = 3


@dataclass(frozen=True)
class ImportPlan:
    """Which folder goes into which cluster, and whether its pictures count without a look."""

    persona_id: int
    root: Path
    cluster_id: int | None
    into: str
    accept: bool


@dataclass
class ImportTally:
    """What came of the files so far."""

    staged: bool = False
    imported: int = 0
    known: int = 0
    alike: int = 0
    failed: list[FileOutcome] = field(default_factory=list)
    stopped: bool = False

    def add(self, outcome: FileOutcome) -> None:
        """Count a file."""
        if outcome.outcome == "failed":
            self.failed.append(outcome)
        elif outcome.outcome == "imported":
            self.imported += 1
            self.alike += outcome.near_id is not None
        else:
            self.known += 1

    def sentence(self) -> str:
        """What came of it, in one sentence."""
        parts = [f"{counted(self.imported, 'photo')} imported{', to be looked at' * self.staged}"]
        parts += [f"{self.alike} of them like others"] if self.alike else []
        parts += [f"{self.known} there already"] if self.known else []
        parts += [f"{self.failed_words()}"] if self.failed else []
        return ("Stopped: " if self.stopped else "") + ", ".join(parts) + "."

    @property
    def done(self) -> int:
        """Files so far."""
        return self.imported + self.known + len(self.failed)

    def failed_words(self) -> str:
        """How many files failed."""
        return f"{counted(len(self.failed), 'file')} failed"


async def ask_what_to_import(
    screen: PersonaScreen, persona_id: int, shelves: Sequence[Shelf], current: Shelf | None
) -> ImportPlan | None:
    """Ask for a folder and a cluster; what can't be read there is said in the form."""
    clusters = [(shelf.cluster.id, shelf.name) for shelf in shelves if shelf.cluster is not None]

    async def submit(values: Mapping[str, Any]) -> None:
        from persona_tui.services.library.files import require_pictures

        await asyncio.to_thread(require_pictures, Path(values["path"]).expanduser())

    form = FormDialog(
        "Import photos",
        [
            TextField(
                name="path",
                label="Folder or file",
                required=True,
                longest=4096,
                hint="All below it: JPEG, PNG, WebP, HEIC, TIFF, MP4, MOV. The originals are not touched.",
            ),
            ChoiceField(
                name="cluster",
                label="Into",
                value=current.key if current is not None else None,
                choices=[*clusters, (None, "no cluster")],
            ),
            ChoiceField(
                name="accept",
                label="They",
                value=False,
                choices=[(False, "wait for a look"), (True, "count at once")],
            ),
        ],
        submit=submit,
    )
    values = await screen.ask(form)
    if values is None:
        return None
    name = dict(clusters).get(values["cluster"], "the library")
    root = Path(values["path"]).expanduser()
    return ImportPlan(persona_id, root, values["cluster"], name, values["accept"])


class ImportPanel(Vertical):
    """How far an import is, and the newest failures."""

    DEFAULT_CSS = """
    ImportPanel { height: auto; display: none; }
    ImportPanel.-running { display: block; }
    ImportPanel > Static { height: auto; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._stop = False

    def compose(self) -> ComposeResult:
        yield ProgressPanel("Importing", unit="photos", cancel="global.back")
        yield Static("", markup=False)

    @property
    def running(self) -> bool:
        """Whether an import is under way."""
        return self.has_class("-running")

    def stop(self) -> None:
        """Stop after the file that is being imported."""
        self._stop = True

    async def run(self, plan: ImportPlan) -> ImportTally:
        """Import in a thread, and show each file's outcome when it is known.

        Raises:
            PersonaError: it could not go on (disk full, database away); what was imported stays.
        """
        progress, tally = self.query_one(ProgressPanel), ImportTally(staged=not plan.accept)
        self._stop = False
        progress.restart(f"Importing into {plan.into}")
        self._say(tally)
        self.add_class("-running")
        under_way = self._begin(plan)
        outcomes = iter(under_way)
        try:
            while (outcome := await asyncio.to_thread(next, outcomes, None)) is not None:
                tally.add(outcome)
                progress.advance_to(tally.done, under_way.total)
                self._say(tally)
                if self._stop:
                    tally.stopped = True
                    break
        finally:
            self.remove_class("-running")
            under_way.stop()
            with suppress(ValueError):  # cancelled while a thread is inside: it ends by itself
                await asyncio.to_thread(outcomes.close)
        return tally

    def _begin(self, plan: ImportPlan) -> Import:
        from persona_tui.services.library import imports

        core = shell_of(self).core
        kept = core.resources.settings.library.kept
        wanted = imports.ImportPlan(plan.persona_id, plan.root, plan.accept, kept, plan.cluster_id)
        return imports.Import(
            core.database.session_scope, core.resources.media, wanted, niceness=imports.NICENESS
        )

    def _say(self, tally: ImportTally) -> None:
        outcomes = Content(f"{tally.imported} imported  {tally.known} there already  {tally.failed_words()}")
        lines = failure_lines(tally.failed[-FAILURES_SHOWN:])
        self.query_one(Static).update(Content("\n").join([outcomes, *lines]))


def failure_lines(failed: Sequence[FileOutcome]) -> list[Content]:
    """A line for each file that failed: its name, and why."""
    return [
        Content.assemble(("❌ ", "$error"), (outcome.name, "bold"), (f"  {outcome.sentence}", "$dim"))
        for outcome in failed
    ]
