"""Starting a training: a short form, the plan that comes of it, and one question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from persona_tui.errors import NotAllowedNow
from persona_tui.screens.training_acts import MOST_STEPS, licence_words, start
from persona_tui.screens.training_lines import GIB
from persona_tui.widgets.capped_scroll import CappedScroll
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.fields import ChoiceField, Field, IntegerField, TextField
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.marks import counted, duration, say

if TYPE_CHECKING:
    from persona_tui.pool import WorkPool
    from persona_tui.screens.base import PersonaScreen
    from persona_tui.services.training.datasets import DatasetView
    from persona_tui.services.training.plan import Plan
    from persona_tui.services.training.probing import Probe
    from persona_tui.services.training.recipe import PlanInput
    from persona_tui.services.training.runs import TrainingView
    from persona_tui.widgets.form import Values

PRESETS = (
    ("likeness", "likeness, others stay as they were"),
    ("light", "light: attention alone, rank 8"),
    ("style", "style instead of a person"),
)
PARTS = 3
"""Of the planned memory, so many are named; the others are small."""
OTHER_ROWS = 13
"""Of a plan's dialog: frame, question, what a licence says, answers, legend."""


class PlanDialog(ConfirmDialog):
    """Shows a plan and asks whether it is started, or first proven.

    Attributes:
        wanted: `probe` where the answer was that two steps are to be tried, `compare` where ways of computing
            them are to be timed as well.
    """

    SCOPE = "plan"

    DEFAULT_CSS = """
    PlanDialog > #frame { width: 92; }
    PlanDialog CappedScroll { margin-bottom: 1; }
    PlanDialog #plan { height: auto; }
    """

    def __init__(self, plan: Plan, dataset: DatasetView, probes: Sequence[Probe] = ()) -> None:
        super().__init__(
            "Start this training?",
            licence_words(plan.unread),
            title=f"Plan: {plan.run.name}",
            yes="I have read it: start" if plan.needs_licence else "Start",
            no="Leave it",
            dangerous=plan.needs_licence,
        )
        self._told = Content("\n").join(plan_lines(plan, dataset, probes))
        self.wanted: Literal["", "probe", "compare"] = ""

    def compose_content(self) -> ComposeResult:
        with CappedScroll(others=OTHER_ROWS):
            yield Static(self._told, id="plan", markup=False)
        yield from super().compose_content()

    def action_scroll(self, lines: int) -> None:
        """Show what the dialog is too small for."""
        self.query_one(CappedScroll).scroll_relative(y=lines, animate=False)

    def action_probe(self) -> None:
        self.wanted = "probe"
        self.dismiss(False)

    def action_compare(self) -> None:
        self.wanted = "compare"
        self.dismiss(False)


def plan_lines(plan: Plan, dataset: DatasetView, probes: Sequence[Probe] = ()) -> Iterator[Content]:
    """What a plan says: what was tried, base model, dataset, recipe, memory, time, decisions, objections."""
    for probe in probes:
        yield say("ok" if probe.fits else "warn", probe.sentence)
        for sentence in probe.speed_sentences:
            yield say("info", sentence)
    run, family = plan.run, plan.family
    use = "commercial use allowed" if family.licence.commercial else "not for commercial use"
    yield _fact("Model", family.title, f"  {family.licence.name}, {use}")
    yield _fact("Dataset", dataset.name, f"  {_pictures(dataset)}; {_subject(dataset)}")
    rates = f"  {run.targets} layers, learning rate {run.lr:g}, {' '.join(map(str, run.buckets))} pixels"
    yield _fact("Recipe", f"{run.steps:,} steps, rank {run.rank}", rates)
    if run.compile or run.attention_backend != "native":
        chosen = [f"attention by {run.attention_backend}"] if run.attention_backend != "native" else []
        yield _fact("Options", " and ".join(["compiled blocks"] * run.compile + chosen), "  as it was timed")
    yield _memory(plan)
    yield _time(plan, probes)
    for sentence in plan.choices:
        yield say("info", sentence)
    for finding in plan.findings:
        yield say("warn", f"{finding.sentence} {finding.hint}".strip())


def _fact(label: str, words: str, more: str = "") -> Content:
    return Content.assemble((f"{label}: ", "$dim"), (words, "bold"), (more, "$dim"))


def _time(plan: Plan, probes: Sequence[Probe]) -> Content:
    from persona_tui.services.training.duration import foreseen

    found = foreseen(plan, probes)
    if found is None:
        return _fact("Time", "not known before its first steps")
    return _fact("Time", f"about {duration(found.seconds)}", f"  {found.why}")


def _pictures(dataset: DatasetView) -> str:
    held_out = dataset.pictures.get("held_out", 0)
    learnt = sum(dataset.pictures.values()) - held_out
    return f"{counted(learnt, 'picture')} to learn from, {held_out} held out"


def _subject(dataset: DatasetView) -> str:
    words = {"fictional": "nobody real is in them", "unsaid": "nobody says who is in them"}
    return words.get(dataset.subject, f"by consent {dataset.consent_id}")


def _memory(plan: Plan) -> Content:
    prediction, card = plan.prediction, plan.place.card
    ram = f"{plan.ram / GIB:.1f} GiB of memory"
    if card is None:
        return _fact("Needs", ram, f"  on {plan.place.title}")
    largest = sorted(prediction.parts.items(), key=lambda part: -part[1])[:PARTS]
    parts = ", ".join(f"{name} {count / GIB:.1f}" for name, count in largest)
    words = f"{prediction.vram / GIB:.1f} of {card.memory_total / GIB:.1f} GiB"
    return _fact("VRAM", words, f"  {card.name}: {parts}; {ram}")


async def begin(screen: PersonaScreen) -> int | None:
    """Plan a training with the operator, and start it; its id, or None where it was left.

    Raises:
        NotAllowedNow: there is no persona, or it has no dataset.
    """
    from persona_tui.pool import WorkPool
    from persona_tui.services.training.datasets import list_datasets
    from persona_tui.services.training.runs import list_trainings

    persona = screen.shell.persona
    if persona is None:
        raise NotAllowedNow("There is no persona yet.", hint="Make one in Personas & Pillars.")
    datasets = await screen.read(list_datasets, persona.id)
    if not datasets:
        raise NotAllowedNow(
            f"{persona.name} has no dataset to learn from.",
            title="No dataset",
            hint=f'`persona-tui dataset create "{persona.name}" face --fictional`, then `dataset add`.',
        )
    before = await screen.read(list_trainings, persona.id)
    fields = form_fields(datasets, before[0] if before else None)
    async with aclosing(WorkPool()) as pool:
        return await _planned(screen, pool, datasets, fields)


async def _planned(
    screen: PersonaScreen, pool: WorkPool, datasets: Sequence[DatasetView], fields: Sequence[Field]
) -> int | None:
    looked: list[Plan] = []
    by_id = {dataset.id: dataset for dataset in datasets}

    async def submit(values: Values) -> None:
        looked.append(await _plan(screen, pool, values, keep=False))

    form = FormDialog("New training", fields, submit=submit, busy="Reckoning whether it fits…")
    typed = await screen.ask(form)
    if typed is None or not looked:
        return None
    plan = looked[-1]
    probes: tuple[Probe, ...] = ()
    while True:
        dialog = PlanDialog(plan, by_id[typed["dataset"]], probes)
        if await screen.ask(dialog):
            break
        if not dialog.wanted:
            return None
        plan, probes = await _proven(screen, pool, typed, compare=dialog.wanted == "compare")
    kept = await _plan(screen, pool, typed, keep=True)
    assert kept.run_id is not None
    work = partial(start, screen, kept.run_id, kept.run.name, accept_licence=plan.needs_licence)
    screen.spawn(work, group="start")
    return kept.run_id


def form_fields(datasets: Sequence[DatasetView], before: TrainingView | None = None) -> list[Field]:
    """What is asked: the rest is taken from preset, base model and dataset.

    Args:
        before: the persona's last training, whose dataset and base model stand there at first.
    """
    from persona_tui.gpu.training.families import FAMILIES

    known = [family for family in FAMILIES.values() if not family.cannot]
    dataset = max(datasets, key=lambda one: (before is not None and one.name == before.dataset, _size(one)))
    first = next((family.name for family in known if family.wheel == dataset.wheel), known[0].name)
    base = ""
    if before is not None:
        first, base = before.family, str(before.config.get("base", ""))
    licences = {True: "", False: ", not commercial"}
    return [
        ChoiceField(
            name="dataset", label="Dataset", value=dataset.id,
            choices=[(one.id, _label(one)) for one in datasets],
        ),
        ChoiceField(
            name="family", label="Base model", value=first,
            choices=[(one.name, f"{one.title}{licences[one.licence.commercial]}") for one in known],
        ),
        TextField(
            name="base", label="Its folder", value=base, longest=1000,
            hint="The base model, as diffusers saves it. Empty: the one in models.dir that fits.",
        ),
        ChoiceField(name="preset", label="Preset", value="likeness", choices=PRESETS),
        TextField(name="name", label="Name of the LoRA", longest=80, hint="Empty: the persona's."),
        IntegerField(
            name="steps", label="Steps", minimum=1, maximum=MOST_STEPS,
            hint="Empty: by the number of pictures.",
        ),
        TextField(
            name="buckets", label="Picture sizes", longest=60, check=_sizes_objection,
            hint="Sides in pixels of the squares whose area pictures get. Empty: 512, 768, 1024.",
        ),
        IntegerField(
            name="rank", label="Rank", minimum=1, maximum=256, hint="Size of the LoRA. Empty: the preset's.",
        ),
        TextField(
            name="parent", label="Trains on from", longest=100,
            hint="A LoRA of ours of the same base model, such as Mira@2. Empty: from nothing.",
        ),
        TextField(
            name="recipe", label="Recipe", longest=1000,
            hint="A run.toml or an ai-toolkit YAML, for what is left empty here. Empty: the preset's.",
        ),
        TextField(
            name="cards", label="Cards", longest=40,
            hint="Their numbers, such as 0,1: each trains its share of a step. Empty: the first.",
        ),
    ]  # fmt: skip


def _sizes(typed: str) -> tuple[int, ...]:
    """`512, 768` or `512 768` as numbers.

    Raises:
        ValueError: something else stands there.
    """
    return tuple(int(part) for part in typed.replace(",", " ").split())


def _sizes_objection(typed: str) -> str | None:
    from persona_tui.gpu.training.run_file import LARGEST_SIDE, SIDE_STEP

    try:
        sizes = _sizes(typed)
    except ValueError:
        return "Must be numbers, such as 512, 768."
    if all(SIDE_STEP <= side <= LARGEST_SIDE and side % SIDE_STEP == 0 for side in sizes):
        return None
    return f"Must be multiples of {SIDE_STEP} from {SIDE_STEP} to {LARGEST_SIDE}, such as 512, 768."


def _label(dataset: DatasetView) -> str:
    return f"{dataset.name}, {counted(_size(dataset), 'picture')}"


def _size(dataset: DatasetView) -> int:
    return sum(dataset.pictures.values())


async def _proven(
    screen: PersonaScreen, pool: WorkPool, values: Values, *, compare: bool
) -> tuple[Plan, tuple[Probe, ...]]:
    """Try two steps, and plan by what they took; a way that was found faster is taken into the form's values.

    It is shown with the plan before anything starts.
    """
    from persona_tui.services.training.probing import proven_plan

    say = partial(screen.flash, level="busy", seconds=600)
    starter = screen.shell.core.resources.trainings
    dataset = values["dataset"]
    plan, probes = await proven_plan(starter, pool, dataset, _given(values), say, keep=False, compare=compare)
    faster = probes[-1].faster
    if faster is not None:
        values |= {"compile": faster.compiled, "attention_backend": faster.attention_backend}
        plan = await _plan(screen, pool, values, keep=False)
    screen.flash("The plan counts in what was measured.")
    return plan, probes


async def _plan(screen: PersonaScreen, pool: WorkPool, values: Mapping[str, Any], *, keep: bool) -> Plan:
    from persona_tui.services.training.plan import plan_training

    settings = screen.shell.core.resources.settings
    scope = screen.shell.database.session_scope
    return await plan_training(scope, pool, settings, values["dataset"], _given(values), keep=keep)


def _given(values: Mapping[str, Any]) -> PlanInput:
    """What was typed, checked.

    Raises:
        InvalidRequest: a value can't be used.
    """
    from persona_tui.services.inputs import validated
    from persona_tui.services.training.recipe import PlanInput
    from persona_tui.services.training.recipe_import import read_recipe

    typed = {
        "family": values["family"],
        "preset": values["preset"],
        "base": Path(values["base"]).expanduser() if values["base"] else None,
        "buckets": _sizes(values["buckets"]),
        "recipe": read_recipe(Path(values["recipe"]).expanduser()).values if values["recipe"] else None,
        **{name: values[name] for name in ("name", "steps", "rank", "parent", "cards")},
        **{name: values[name] for name in ("compile", "attention_backend") if name in values},
    }
    # What was left empty is not given: recipe, preset and family decide about it.
    return validated(PlanInput, {name: value for name, value in typed.items() if value})
