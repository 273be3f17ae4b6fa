"""Import photos file by file: how far it is, what failed and why; it can be stopped between two files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from persona_tui.widgets.failsafe import shell_of
from persona_tui.widgets.fields import ChoiceField, TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted
from persona_tui.widgets.progress import ProgressPanel

if TYPE_CHECKING:
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.library.clusters import ClusterView
    from persona_tui.services.library.photos import FileOutcome

FAILURES_SHOWN = 3


@dataclass(frozen=True)
class ImportPlan:
    """Which files go into which cluster."""

    persona_id: int
    files: tuple[Path, ...]
    cluster_id: int | None
    into: str


@dataclass
class ImportTally:
    """What came of the files so far."""

    imported: int = 0
    known: int = 0
    failed: list[FileOutcome] = field(default_factory=list)
    stopped: bool = False

    def add(self, outcome: FileOutcome) -> None:
        """Count a file."""
        if outcome.outcome == "failed":
            self.failed.append(outcome)
        elif outcome.outcome == "imported":
            self.imported += 1
        else:
            self.known += 1

    def sentence(self) -> str:
        """What came of it, in one sentence."""
        parts = [f"{counted(self.imported, 'photo')} imported"]
        parts += [f"{self.known} there already"] if self.known else []
        parts += [f"{self.failed_words()}"] if self.failed else []
        return ("Stopped: " if self.stopped else "") + ", ".join(parts) + "."

    def failed_words(self) -> str:
        """How many files failed."""
        return f"{counted(len(self.failed), 'file')} failed"


async def ask_what_to_import(
    screen: PersonaScreen, persona_id: int, known: Sequence[ClusterView], current: ClusterView | None
) -> ImportPlan | None:
    """Ask for a folder and a cluster; what can't be read there is said in the form."""
    clusters = [(cluster.id, cluster.name) for cluster in known]
    found: list[tuple[Path, ...]] = []

    async def submit(values: Mapping[str, Any]) -> None:
        from persona_tui.services.library.photos import find_files

        found.append(await asyncio.to_thread(find_files, Path(values["path"]).expanduser()))

    form = FormDialog(
        "Import photos",
        [
            TextField(
                name="path",
                label="Folder or file",
                required=True,
                longest=4096,
                hint="All pictures below it: JPEG, PNG, WebP, TIFF. The originals are not touched.",
            ),
            ChoiceField(
                name="cluster",
                label="Into",
                value=current.id if current is not None else None,
                choices=[*clusters, (None, "no cluster")],
            ),
        ],
        submit=submit,
    )
    values = await screen.ask(form)
    if values is None or not found:
        return None
    name = dict(clusters).get(values["cluster"], "the library")
    return ImportPlan(persona_id, found[-1], values["cluster"], name)


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
        """Import the files one by one, each in a thread."""
        progress, tally = self.query_one(ProgressPanel), ImportTally()
        self._stop = False
        progress.restart(f"Importing into {plan.into}")
        progress.advance_to(0, len(plan.files))
        self._say(tally)
        self.add_class("-running")
        try:
            outcomes = self._outcomes(plan)
            while (outcome := await asyncio.to_thread(next, outcomes, None)) is not None:
                tally.add(outcome)
                progress.advance_to(tally.imported + tally.known + len(tally.failed), len(plan.files))
                self._say(tally)
                if self._stop:
                    tally.stopped = True
                    break
        finally:
            self.remove_class("-running")
        return tally

    def _outcomes(self, plan: ImportPlan) -> Iterator[FileOutcome]:
        from persona_tui.services.library.photos import import_photos

        core = shell_of(self).core
        return import_photos(
            core.database.session_scope,
            core.resources.media,
            plan.persona_id,
            plan.files,
            cluster_id=plan.cluster_id,
        )

    def _say(self, tally: ImportTally) -> None:
        lines = failure_lines(tally.failed[-FAILURES_SHOWN:])
        self.query_one(Static).update(Content("\n").join(lines))


def failure_lines(failed: Sequence[FileOutcome]) -> list[Content]:
    """A line for each file that failed: its name, and why."""
    return [
        Content.assemble(("❌ ", "$error"), (outcome.path.name, "bold"), (f"  {outcome.sentence}", "$dim"))
        for outcome in failed
    ]
