"""The run wizard: what it offers, what it shows before a run starts, and what it writes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from textual.pilot import Pilot
from textual.widgets import Input

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.models.persona import ContentSuggestion, Persona
from persona_tui.screens.runs_wizard import RunWizard
from persona_tui.screens.runs_wizard_rows import LoraRow, StepRow
from persona_tui.services.generation import pipelines
from persona_tui.services.generation.pipeline_acts import change_step
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.loras.importing import LoraInput, import_loras
from persona_tui.services.loras.mappings import use_lora
from persona_tui.services.loras.shelf import Shelf
from tests.support.loras import SD15_KOHYA, write_lora
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked, fill
from tests.ui.studio import Studio, run_with_pictures, until
from tests.ui.support import said, screen_text
from tests.ui.test_runs import opened

_PLANS = "SELECT children_per_parent, top_k FROM pipeline_run_steps WHERE run_id = :run ORDER BY position"
SMALL, LARGE = (80, 24), (200, 50)


@pytest.fixture
def quiet_core(db: Database, tmp_path: Path) -> QuietCore:
    return QuietCore(db, tmp_path)


@pytest.fixture
def app(quiet_core: QuietCore) -> PersonaApp:
    return app_over(quiet_core)


def with_variables(db: Database) -> None:
    """A pipeline of two steps that asks for a mood and a number."""
    with db.session_scope() as session:
        pipelines.ensure_examples(session)
        made = copy.deepcopy(pipelines.export_pipeline(session, "two-step").model_dump())
        made["steps"][0]["workflow"]["2"]["inputs"]["text"] = "{{prompt}}, {{mood}}"
        made["steps"][0]["workflow"]["5"]["inputs"]["cfg"] = "{{cfg}}"
        pipelines.import_pipeline(session, {**made, "name": "moody", "description": "Asks for a mood."})


async def wizard(pilot: Pilot[Any], key: str = "n") -> RunWizard:
    """The wizard, once it can be typed into."""
    await opened(pilot)
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, RunWizard) and pilot.app.screen.focused)
    assert isinstance(pilot.app.screen, RunWizard)
    return pilot.app.screen


async def choose(pilot: Pilot[Any], screen: RunWizard, name: str, label: str) -> None:
    """Step through a choice until it shows the label."""
    row = next(row for row in screen.rows if row.field.name == name)
    row.control.focus()
    for _ in range(20):
        if label in str(row.control.render()):
            return
        await pilot.press("right")
        await pilot.pause()
    raise AssertionError(f"{name} never showed {label}")


def number(screen: RunWizard, step: int, which: int) -> Input:
    """The field for N (0) or K (1) of a step."""
    return list(list(screen.query(StepRow))[step - 1].query(Input))[which]


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_growth_and_limits_are_shown_before_a_run_starts(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned, size: tuple[int, int]
) -> None:
    run_with_pictures(db, studio, plan)  # each took 4.25 s
    async with app.run_test(size=size) as pilot:
        screen = await wizard(pilot)
        await until(
            pilot, lambda: "base 4 → refine 2 = 6 pictures, over 17 s of one card" in screen_text(pilot)
        )
        number(screen, 1, 0).value = "6"
        number(screen, 1, 1).value = "3"
        await until(pilot, lambda: "base 6 → refine 6 = 12 pictures" in screen_text(pilot))
        await fill(pilot, max_pictures="9")
        await until(pilot, lambda: "It rests after 9 of them" in screen_text(pilot))
        await fill(pilot, prompt="a bowl", seed="11", max_gpu_minutes="2.5", negative="blur")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "makes 6 pictures." in said(pilot))
    with db.session_scope() as session:
        run = session.execute(text("SELECT * FROM pipeline_runs ORDER BY id DESC LIMIT 1")).one()
        steps = session.execute(text(_PLANS), {"run": run.id}).all()
        budget = session.execute(
            text("SELECT max_pictures, max_gpu_seconds FROM run_budgets WHERE run_id = :run"), {"run": run.id}
        ).one()
    assert (run.prompt, run.negative, run.seed) == ("a bowl", "blur", 11)
    assert [tuple(step) for step in steps] == [(6, 3), (2, 1)]
    assert tuple(budget) == (9, 150)


@pytest.mark.long
async def test_a_pipelines_own_variables_are_asked_for_and_keep_their_type(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    with_variables(db)
    async with app.run_test(size=LARGE) as pilot:
        screen = await wizard(pilot)
        await choose(pilot, screen, "pipeline", "moody")
        await until(pilot, lambda: "Asks for a mood." in screen_text(pilot))
        await fill(pilot, prompt="a bowl", **{"variable cfg": "4.5"})
        assert "A number. It goes to 5.cfg." in screen_text(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Needs a value." in screen_text(pilot))
        assert asked(db, "SELECT count(*) FROM pipeline_runs") == 0
        await fill(pilot, **{"variable mood": "calm"})
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "makes 4 pictures." in said(pilot))
    assert asked(db, "SELECT variables FROM pipeline_runs") == {"mood": "calm", "cfg": 4.5}


async def test_a_bad_n_is_told_at_the_field_and_marked_in_the_rail(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        screen = await wizard(pilot)
        await pilot.press(*"bowl")
        number(screen, 1, 0).value = "65"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Must be at most 64." in screen_text(pilot))
        assert "✗ Steps" in screen_text(pilot)
        assert "shows when each N and K is a number" in screen_text(pilot)
        await pilot.press("ctrl+u", "6")
        await until(pilot, lambda: "● Steps" in screen_text(pilot))
        assert "Must be at most 64." not in screen_text(pilot)
        assert asked(db, "SELECT count(*) FROM pipeline_runs") == 0


@pytest.mark.long
async def test_the_parts_are_one_key_apart(app: PersonaApp, plan: Planned) -> None:
    async with app.run_test(size=SMALL) as pilot:
        screen = await wizard(pilot)
        for title in ("Pipeline", "Steps", "Limits", "Picture"):
            await pilot.press("ctrl+n")
            await until(pilot, lambda title=title: f"● {title}" in screen_text(pilot))  # type: ignore[misc]
        await pilot.press("ctrl+b")
        await until(pilot, lambda: "● Limits" in screen_text(pilot))
        assert screen.is_current


@pytest.mark.long
async def test_the_field_with_the_cursor_is_in_view_after_each_key(app: PersonaApp, plan: Planned) -> None:
    def seen(screen: RunWizard, title: str | None = None) -> bool:
        shown = screen.query_one("#fields").region
        focused, heading = screen.focused, screen.query_one(f"#section-{title}") if title else None
        rows = [one for one in (focused, heading) if one is not None]
        return focused is not None and all(shown.contains_region(one.region) for one in rows)

    async with app.run_test(size=SMALL) as pilot:
        screen = await wizard(pilot)
        await pilot.press("shift+tab", "shift+tab")  # the hint of this field takes two lines, and goes
        assert "clusters, pillars, ideas and" in screen_text(pilot)
        for title in ("pipeline", "steps", "limits", "picture"):
            await pilot.press("ctrl+n")
            await until(pilot, lambda title=title: seen(screen, title))  # type: ignore[misc]
        for _ in range(14):
            await pilot.press("tab")
            await until(pilot, lambda: seen(screen))


async def test_an_idea_brings_its_words_its_cluster_and_is_used(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    with db.session_scope() as session:
        idea = ContentSuggestion(
            persona_id=plan.persona_id,
            pillar_id=plan.pillar_id,
            title="Rain on clay",
            prompt="Rain on wet clay",
        )
        session.add(idea)
    async with app.run_test(size=SMALL) as pilot:
        screen = await wizard(pilot)
        await choose(pilot, screen, "idea", "Rain on clay")
        await until(pilot, lambda: "Rain on wet clay" in screen_text(pilot))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "“Rain on clay” is started" in said(pilot))
    assert asked(db, "SELECT prompt FROM pipeline_runs") == "Rain on wet clay"
    assert asked(db, "SELECT status FROM content_suggestions") == "used"
    assert asked(
        db, "SELECT r.cluster_id = s.cluster_id FROM pipeline_runs r JOIN content_suggestions s ON true"
    )


@pytest.mark.long
async def test_a_pipelines_own_cluster_is_inherited_and_can_be_changed(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    with_variables(db)
    with db.session_scope() as session:
        session.execute(
            text("UPDATE pipelines SET persona_id = :persona, cluster_id = :cluster WHERE name = 'moody'"),
            {"persona": plan.persona_id, "cluster": plan.cluster_id},
        )
    async with app.run_test(size=SMALL) as pilot:
        screen = await wizard(pilot)
        cluster = next(row for row in screen.rows if row.field.name == "cluster")
        assert cluster.raw() is None
        await choose(pilot, screen, "pipeline", "moody")
        await until(pilot, lambda: cluster.raw() == plan.cluster_id)
        await choose(pilot, screen, "cluster", "none")
        assert cluster.raw() is None


async def test_a_clone_opens_with_all_that_the_run_was_made_of(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    with_variables(db)
    run_with_pictures(
        db,
        studio,
        plan,
        0,
        pipeline="moody",
        negative="blur",
        variables={"mood": "calm", "cfg": 3},
        steps={1: {"children_per_parent": 5, "top_k": 2}},
        max_pictures=40,
    )
    async with app.run_test(size=LARGE) as pilot:
        screen = await wizard(pilot, "c")
        held = {row.field.name: row.raw() for row in screen.rows}
        assert held["negative"] == "blur" and held["cluster"] == plan.cluster_id
        assert held["variable mood"] == "calm" and held["variable cfg"] == "3"
        assert held["step 1"] == ("5", "2") and held["max_pictures"] == "40"
        await fill(pilot, **{"variable mood": "stormy"})
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "makes 5 pictures." in said(pilot))
    newest = "SELECT variables FROM pipeline_runs ORDER BY id DESC LIMIT 1"
    assert asked(db, newest) == {"mood": "stormy", "cfg": 3}


@pytest.mark.long
async def test_a_clone_tells_that_its_pipeline_is_newer_and_is_told_apart_by_its_number(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned
) -> None:
    run = run_with_pictures(db, studio, plan, 0, name="A name that is far longer than a column of the list")
    with db.session_scope() as session:
        change_step(session, "two-step", 1, {"timeout": 77})
    async with app.run_test(size=SMALL) as pilot:
        await wizard(pilot, "c")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: f"Run {run.id} was made by v1; its clone takes v2." in screen_text(pilot))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: f"started as run {run.id + 1}" in said(pilot))
        await until(pilot, lambda: f"pending    {run.id + 1} two-step" in screen_text(pilot))
        assert f"pending    {run.id} A name" in screen_text(pilot)


@pytest.mark.long
async def test_a_k_above_what_a_step_makes_is_warned_of_and_refused(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        screen = await wizard(pilot)
        await pilot.press(*"bowl", "ctrl+n", "ctrl+n", "2", "tab", "5")
        sentence = "Step 1 makes 2 pictures, so at most 2 can go on, not 5."
        await until(pilot, lambda: sentence in screen_text(pilot))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "K of step 1 can't be 5" in screen_text(pilot))
        assert asked(db, "SELECT count(*) FROM pipeline_runs") == 0
        await pilot.press("ctrl+u", "2")
        await until(pilot, lambda: "can't be 5" not in screen_text(pilot))
        assert sentence not in screen_text(pilot)
        await pilot.press("ctrl+s")
        await until(pilot, lambda: not screen.is_current)
        assert asked(db, "SELECT top_k FROM pipeline_run_steps WHERE position = 1") == 2


@pytest.mark.long
async def test_loras_are_chosen_with_their_weights_and_one_that_does_not_fit_is_greyed(
    app: PersonaApp, quiet_core: QuietCore, db: Database, plan: Planned, tmp_path: Path
) -> None:
    files = [
        write_lora(tmp_path, "mira.safetensors"),
        write_lora(tmp_path, "old.safetensors", layers=SD15_KOHYA, width=768),
    ]
    outcomes = list(import_loras(db.session_scope, Shelf(quiet_core.settings), files, LoraInput()))
    fits, other = (outcome.lora for outcome in outcomes)
    assert fits is not None and other is not None and (fits.family, other.family) == ("flux", "sd15")
    with db.session_scope() as session:
        use_lora(session, plan.persona_id, fits.id, {"weight": 0.7})
    async with app.run_test(size=LARGE) as pilot:
        screen = await wizard(pilot)
        await choose(pilot, screen, "pipeline", "flux-portrait")
        rows = {row.field.name: row for row in screen.query(LoraRow)}
        mine, unfit = rows[f"lora {fits.id}"], rows[f"lora {other.id}"]
        await until(pilot, lambda: unfit.has_class("-unfit") and not mine.has_class("-unfit"))
        assert mine.raw() == (True, "0.7")
        assert "✗ the LoRA is for sd15" in screen_text(pilot)
        mine.query_one(Input).value = "1.5"
        await fill(pilot, prompt="a bowl")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Must be at most 1." in screen_text(pilot))
        mine.query_one(Input).value = "0.35"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: " pictures." in said(pilot))
    assert asked(db, "SELECT count(*) FROM run_loras") == 1
    assert asked(db, "SELECT weight FROM run_loras") == pytest.approx(0.35)


def at(screen: RunWizard) -> str:
    """The field with the cursor, and which of its entries."""
    row = next(row for row in screen.rows if row.has_focus_within)
    assert screen.focused is not None
    return f"{row.field.name} {row.controls.index(screen.focused)}"


@pytest.mark.long
async def test_enter_goes_through_every_entry_and_starts_on_the_last(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        screen = await wizard(pilot)
        await fill(pilot, prompt="a bowl", negative="blur")
        passed = []
        for _ in range(12):
            await pilot.press("enter")
            await pilot.pause()
            passed.append(at(screen))
        assert passed == [
            *("cluster 0", "pillar 0", "name 0", "pipeline 0", "step 1 0", "step 1 1", "step 2 0"),
            *("max_pictures 0", "max_gpu_minutes 0", "night 0", "night_at 0", "seed 0"),
        ]
        await pilot.press("enter")
        await until(pilot, lambda: "makes 4 pictures." in said(pilot))
    assert asked(db, "SELECT prompt FROM pipeline_runs") == "a bowl"


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, (120, 30), LARGE])
async def test_what_a_step_brings_is_told_whole(
    app: PersonaApp, db: Database, studio: Studio, plan: Planned, size: tuple[int, int]
) -> None:
    run_with_pictures(db, studio, plan)
    async with app.run_test(size=size) as pilot:
        screen = await wizard(pilot)
        await pilot.press("ctrl+n", "ctrl+n")
        number(screen, 1, 0).value = "16"
        number(screen, 1, 1).value = "12"
        await until(pilot, lambda: "→ 16 pictures, 1 min" in screen_text(pilot))
        assert "→ 24 pictures, untimed" in screen_text(pilot)


def another_persona(db: Database) -> tuple[int, int]:
    """A second persona with a cluster of her own; returns both ids."""
    with db.session_scope() as session:
        persona = Persona(name="Zoe", age=31, trigger_word="zoeface", zone="Asia/Tokyo")
        session.add(persona)
        session.flush()
        cluster = create_cluster(session, persona.id, {"name": "Harbour"})
        return persona.id, cluster.id


@pytest.mark.long
async def test_another_persona_brings_her_clusters_and_the_prompt_stays(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    zoe, harbour = another_persona(db)
    async with app.run_test(size=LARGE) as pilot:
        screen = await wizard(pilot)
        await fill(pilot, prompt="a bowl")
        number(screen, 1, 0).value = "7"
        await choose(pilot, screen, "persona", "Zoe")
        await until(pilot, lambda: "New run for Zoe" in screen_text(pilot))
        await choose(pilot, screen, "cluster", "Harbour")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "makes 7 pictures." in said(pilot))
    made = "SELECT (persona_id, cluster_id, prompt)::text FROM pipeline_runs"
    assert asked(db, made) == f'({zoe},{harbour},"a bowl")'


async def test_starting_at_once_after_the_persona_changed_starts_her_run(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    zoe, _ = another_persona(db)
    async with app.run_test(size=SMALL) as pilot:
        screen = await wizard(pilot)
        await fill(pilot, prompt="a bowl")
        await choose(pilot, screen, "cluster", "Wheel")
        next(row for row in screen.rows if row.field.name == "persona").control.focus()
        await pilot.press("right", "ctrl+s")
        await until(pilot, lambda: "makes 4 pictures." in said(pilot))
    assert asked(db, "SELECT persona_id FROM pipeline_runs WHERE cluster_id IS NULL") == zoe


@pytest.mark.long(but=["False"])
@pytest.mark.parametrize("by_hand", [False, True])
async def test_a_pipeline_brings_its_persona_unless_one_was_chosen_by_hand(
    app: PersonaApp, db: Database, plan: Planned, by_hand: bool
) -> None:
    zoe, harbour = another_persona(db)
    with_variables(db)
    with db.session_scope() as session:
        session.execute(
            text("UPDATE pipelines SET persona_id = :persona, cluster_id = :cluster WHERE name = 'moody'"),
            {"persona": zoe, "cluster": harbour},
        )
    async with app.run_test(size=LARGE) as pilot:
        screen = await wizard(pilot)
        if by_hand:
            await choose(pilot, screen, "persona", "Zoe")
            await until(pilot, lambda: "New run for Zoe" in screen_text(pilot))
            await choose(pilot, screen, "persona", "Mira")
            await until(pilot, lambda: "New run for Mira" in screen_text(pilot))
        await choose(pilot, screen, "pipeline", "moody")
        await until(pilot, lambda: "Asks for a mood." in screen_text(pilot))
        if by_hand:
            assert "It is made for another persona" in screen_text(pilot)
            assert "New run for Mira" in screen_text(pilot)
        else:
            cluster = next(row for row in screen.rows if row.field.name == "cluster")
            await until(pilot, lambda: "New run for Zoe" in screen_text(pilot) and cluster.raw() == harbour)


@pytest.mark.long
async def test_a_variable_with_a_list_on_the_server_is_chosen_from_it(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    with db.session_scope() as session:
        pipelines.ensure_examples(session)
        made = copy.deepcopy(pipelines.export_pipeline(session, "one-step").model_dump())
        node = next(node for node in made["steps"][0]["workflow"].values() if "ckpt_name" in node["inputs"])
        node["inputs"]["ckpt_name"] = "{{model}}"
        names = ["a.safetensors", "b.safetensors"]
        declared = {node["class_type"]: {"input": {"required": {"ckpt_name": [names, {}]}}}}
        pipelines.import_pipeline(session, {**made, "name": "picky"}, declared)
    async with app.run_test(size=LARGE) as pilot:
        screen = await wizard(pilot)
        await choose(pilot, screen, "pipeline", "picky")
        await fill(pilot, prompt="a bowl")
        await until(pilot, lambda: "not chosen yet" in screen_text(pilot))
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "Needs a value." in screen_text(pilot))
        await choose(pilot, screen, "variable model", "b.safetensors")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: " pictures." in said(pilot))
    assert asked(db, "SELECT variables FROM pipeline_runs") == {"model": "b.safetensors"}
