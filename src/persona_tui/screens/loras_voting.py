"""Voting blind between two versions of a LoRA: which, over what, and the pictures that are made meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from persona_tui.screens import loras_forms, loras_versions
from persona_tui.screens.loras_blind import Ballot, BlindDialog
from persona_tui.screens.loras_lines import Row, verdict_words
from persona_tui.widgets.choice import Choice, ChoiceDialog
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.shell import Shell

if TYPE_CHECKING:
    from sqlmodel import Session
    from textual.worker import Worker

    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.loras.registry import LoraView
    from persona_tui.services.voting.comparison import ComparisonState


class PairMaker:
    """Makes a comparison's pictures behind all screens of an app, one comparison at a time."""

    def __init__(self) -> None:
        self._contest: int | None = None
        self._sentence = ""
        self._worker: Worker[None] | None = None

    def begin(self, shell: Shell, contest_id: int) -> None:
        """Make what the comparison lacks, unless that is under way; another one gives way to it."""
        if self._contest != contest_id:
            self._contest, self._sentence = contest_id, "Preparing the pictures…"
            work = partial(self._make, shell, contest_id)
            self._worker = shell.run_worker(work, group="comparison", exclusive=True, exit_on_error=False)

    def making(self, contest_id: int) -> str:
        """What is being made of a comparison now; empty where nothing is."""
        return self._sentence if self._contest == contest_id else ""

    async def _make(self, shell: Shell, contest_id: int) -> None:
        from persona_tui.services.generation.lora_comparison import make_pairs

        resources, scope = shell.core.resources, shell.database.session_scope
        try:
            async with resources.lora_servers() as servers:
                await make_pairs(scope, servers, resources.media, contest_id, say=self._say)
        finally:
            if self._contest == contest_id:
                self._contest, self._sentence, self._worker = None, "", None

    def _say(self, sentence: str) -> None:
        self._sentence = sentence


_MAKERS: WeakKeyDictionary[Shell, PairMaker] = WeakKeyDictionary()


def maker_of(shell: Shell) -> PairMaker:
    """The app's, whichever screen asks: two would make the same pairs twice."""
    return _MAKERS.setdefault(shell, PairMaker())


async def vote(screen: PersonaScreen, row: Row, rows: Sequence[Row], persona: loras_forms.Persona) -> None:
    """Choose a comparison, or plan one; vote on it, and promote the better one where that is wanted.

    Raises:
        NotAllowedNow: there is no other LoRA of its base model.
    """
    state = await _chosen(screen, row, rows, persona[0])
    if state is not None:
        await vote_on(screen, state)


async def vote_on(screen: PersonaScreen, state: ComparisonState) -> None:
    """Vote on a comparison while what it lacks is made; promote the better one where that is wanted."""
    maker = maker_of(screen.shell)
    if state.ready < state.planned:
        maker.begin(screen.shell, state.contest_id)
    better = await screen.ask(BlindDialog(Ballot(screen, state.contest_id, maker)))
    screen.request_reload()
    if better is not None:
        lora, persona = await screen.read(_better, better, state.persona_id)
        await loras_versions.promote(screen, lora, persona)


async def _chosen(
    screen: PersonaScreen, row: Row, rows: Sequence[Row], persona_id: int
) -> ComparisonState | None:
    """One that is not voted through, or a new one; None where the operator leaves."""
    from persona_tui.services.voting.comparison import comparisons

    others = loras_versions.comparable_with(row, rows)
    found = await screen.read(comparisons, row.lora.id)
    unfinished = [one for one in found if not one.complete and one.persona_id == persona_id]
    choices: list[Choice[Any]] = [
        Choice(one, f"Go on: {one.lora} against {one.beside}", f"{one.voted} of {one.planned} voted")
        for one in unfinished
    ]
    versions = {one.lora.id for one in others if loras_versions.same_name(one.lora, row.lora)}
    against = {verdict.beside_id: verdict for verdict in row.verdicts}
    for one in others:
        known = against.get(one.lora.id)
        note = verdict_words(known) if known is not None else loras_versions.note(one)
        choices.append(Choice(one, f"{one.lora.label}, with new pictures", note))
    # Another version of the same LoRA stands under the cursor, where there is one.
    choices.sort(key=lambda choice: _other_of(choice.value, row.lora.id) not in versions)
    chosen = await screen.ask(ChoiceDialog(f"Vote blind on {row.lora.label} and", choices))
    if chosen is None:
        return None
    if not isinstance(chosen.value, Row):
        return chosen.value  # type: ignore[no-any-return]
    return await _planned(screen, row, chosen.value, persona_id)


def _other_of(value: Row | ComparisonState, lora_id: int) -> int:
    if isinstance(value, Row):
        return value.lora.id
    return value.beside_id if value.lora_id == lora_id else value.lora_id


async def _planned(screen: PersonaScreen, row: Row, other: Row, persona_id: int) -> ComparisonState | None:
    from persona_tui.services.generation.lora_comparison import create_comparison
    from persona_tui.services.generation.pipelines import list_pipelines

    pipelines = await screen.read(list_pipelines)
    whose = {"persona_id": persona_id, "lora_id": row.lora.id, "beside_id": other.lora.id}
    made: list[ComparisonState] = []

    async def create(typed: Mapping[str, Any]) -> None:
        values = {**loras_forms.comparison_values(typed), **whose}
        made.append(await screen.act(create_comparison, values))

    fields = loras_forms.comparison_fields(row.use, pipelines)
    form = FormDialog(f"{row.lora.label} and {other.lora.label}", fields, submit=create)
    return None if await screen.ask(form) is None else made[-1]


def _better(session: Session, lora_id: int, persona_id: int) -> tuple[LoraView, loras_forms.Persona]:
    from persona_tui.services.loras.registry import get_lora
    from persona_tui.services.planning.personas import get_persona

    return get_lora(session, lora_id), (persona_id, get_persona(session, persona_id).name)
