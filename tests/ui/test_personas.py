"""Personas & Pillars: made, changed, linked and removed by keys alone, with the services' own words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.personas_forms import persona_fields, persona_values, pillar_fields, pillar_values
from persona_tui.screens.personas_lines import WeightsBar, facts
from persona_tui.services.library.clusters import create_cluster
from persona_tui.services.planning.personas import PersonaInput, get_persona
from persona_tui.services.planning.pillars import PillarInput, create_pillar, get_pillar
from persona_tui.services.publishing.accounts import list_accounts
from persona_tui.setting_sections import InstagramSettings
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.reader import TextDialog
from tests.support.sandbox import SandboxProcess
from tests.support.world import Planned, insert, make_account, make_persona, make_plan
from tests.ui.quiet_core import QuietCore, app_over, asked, fill, form_opens, saved, says, shows, until
from tests.ui.support import screen_text, settle

SMALL, LARGE = (80, 24), (130, 40)


@pytest.fixture
def app(db: Database, tmp_path: Path) -> PersonaApp:
    return app_over(QuietCore(db, tmp_path))


@pytest.fixture
def plan(db: Database) -> Planned:
    with db.session_scope() as session:
        return make_plan(session)


async def opened(pilot: Pilot[Any], app: PersonaApp) -> None:
    await settle(pilot)
    await pilot.press("f2")
    await until(pilot, lambda: app.current_mode == "personas")


async def test_a_persona_is_made_and_used_at_once(app: PersonaApp, db: Database) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        assert "No personas yet." in screen_text(pilot)
        await pilot.press("N")
        await form_opens(pilot)
        await fill(pilot, name="Lena", age="27", zone="Europe/Berlin", topics="tea, rain", own="#lena")
        await saved(pilot)
        await says(pilot, "Lena is there")
        await shows(pilot, "Persona: Lena")
        assert app.persona is not None and app.persona.zone == "Europe/Berlin"
    with db.session_scope() as session:
        made = get_persona(session, asked(db, "SELECT id FROM personas"))
    assert (made.age, made.fictional, list(made.voice["topics"])) == (27, True, ["tea", "rain"])
    assert list(made.hashtags["own"]) == ["#lena"]


REFUSED = (
    ({"age": "30"}, "Needs a value."),
    ({"name": "Lena", "age": "x"}, "Must be a whole number."),
    ({"age": "17"}, "Age: must be at least 18"),
    ({"age": "30", "zone": "Mars/Base"}, "must be an IANA time zone"),
    ({"zone": "UTC", "name": "mira"}, "There is a persona called 'mira' already"),
)
"""What is typed in turn, and what is said."""


@pytest.mark.long
async def test_what_a_service_refuses_is_said_in_the_form(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("N")
        await form_opens(pilot)
        for values, words in REFUSED:
            await fill(pilot, **values)
            await pilot.press("ctrl+s")
            await shows(pilot, words)
            assert isinstance(app.screen, FormDialog)
    assert asked(db, "SELECT count(*) FROM personas") == 1


@pytest.mark.long
async def test_a_persona_is_changed_and_deleted(app: PersonaApp, db: Database) -> None:
    with db.session_scope() as session:
        make_persona(session, "Mira")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("e")
        await form_opens(pilot)
        assert "Edit Mira" in screen_text(pilot)
        await fill(pilot, name="Miranda", posts_per_week="4.5")
        await saved(pilot)
        await shows(pilot, "Miranda")
        assert asked(db, "SELECT posts_per_week::text FROM personas") == "4.5"
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog))
        await pilot.press("enter")
        await settle(pilot)
        assert asked(db, "SELECT count(*) FROM personas") == 1
        await pilot.press("d", "y")
        await shows(pilot, "No personas yet.")
    assert asked(db, "SELECT count(*) FROM personas") == 0


async def test_a_persona_with_content_stays_and_says_why(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot, app)
        await pilot.press("left", "d", "y")
        await shows(pilot, "still has pillars")
    assert asked(db, "SELECT count(*) FROM personas") == 1


async def test_a_pillar_is_made_changed_switched_and_deleted(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("n")
        await form_opens(pilot)
        await fill(
            pilot, name="Market", weight="20", priority="5", start_date="2026-11-20", end_date="2026-12-24"
        )
        await saved(pilot)
        await shows(pilot, "Market")
        await shows(pilot, "60 of 100 %")
        await pilot.press("e")
        await form_opens(pilot)
        assert "Edit Market" in screen_text(pilot)
        await fill(pilot, weight="60", target_posts_per_week="2", style_notes="lamps")
        await saved(pilot)
        await shows(pilot, "100 of 100 %")
        with db.session_scope() as session:
            market = get_pillar(session, asked(db, "SELECT id FROM content_pillars WHERE name = 'Market'"))
        assert (market.weight, market.priority, market.target_posts_per_week) == (60, 5, 2)
        assert (str(market.start_date), str(market.end_date)) == ("2026-11-20", "2026-12-24")
        assert market.guidelines["style_notes"] == "lamps"
        await pilot.press("o")
        await says(pilot, "switched off")
        assert asked(db, "SELECT active FROM content_pillars WHERE name = 'Market'") is False
        await shows(pilot, "40 of 100 %")
        await pilot.press("d", "y")
        await says(pilot, "Market is deleted")
    assert asked(db, "SELECT count(*) FROM content_pillars") == 1


@pytest.mark.long
async def test_weights_over_a_hundred_are_refused_in_the_form(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot, app)
        await pilot.press("n")
        await form_opens(pilot)
        await fill(pilot, name="Market", weight="61")
        await pilot.press("ctrl+s")
        await shows(pilot, "would weigh 101 % together")
        assert "At most 60 % are left" in screen_text(pilot)
    assert asked(db, "SELECT count(*) FROM content_pillars") == 1


async def test_the_bar_shares_a_hundred_columns_by_weight(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    with db.session_scope() as session:
        create_pillar(session, plan.persona_id, {"name": "Harbour", "weight": 25, "priority": 1})
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot, app)
        bar = app.screen.query_one(WeightsBar)
        words, width = bar.render().plain, bar.size.width
        assert len(words) == width
        assert words.index(" Harbour 25") == round(0.40 * width)
        assert words.index(" 35 free") == round(0.65 * width)


@pytest.mark.long
async def test_clusters_are_linked_one_after_another(app: PersonaApp, db: Database, plan: Planned) -> None:
    with db.session_scope() as session:
        market = create_pillar(session, plan.persona_id, {"name": "Market", "weight": 20, "priority": 5}).id
        create_cluster(session, plan.persona_id, {"name": "Loose"})
    primary = (
        "SELECT string_agg(c.name, ', ' ORDER BY c.name) FROM pillar_cluster_assignments a"
        ' JOIN clusters c ON c.id = a.cluster_id WHERE a.pillar_id = :pillar AND a."primary"'
    )
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        assert "1 cluster without a pillar" in screen_text(pilot)
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        assert "serves Studio" in screen_text(pilot)
        await pilot.press(*"loose", "enter")
        await until(pilot, lambda: asked(db, primary, pillar=market) == "Loose")
        await shows(pilot, "serves it already")
        await pilot.press(*"wheel", "enter")
        await until(pilot, lambda: asked(db, primary, pillar=market) == "Loose, Wheel")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press(*"new", "enter")
        await form_opens(pilot)
        await pilot.press(*"Stalls", "enter")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press("escape")
        await says(pilot, "3 clusters linked to Market")
    assert asked(db, primary, pillar=market) == "Loose, Stalls, Wheel"


@pytest.mark.long
async def test_the_cursor_shows_another_personas_pillars_without_using_it(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    with db.session_scope() as session:
        zoe = make_persona(session, "Zoe").id
        create_pillar(session, zoe, {"name": "Running", "weight": 30})
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("left", "down")
        await shows(pilot, "Running")
        assert "CONTENT PILLARS OF ZOE" in screen_text(pilot)
        assert app.persona_id == plan.persona_id
        await pilot.press("enter")
        await shows(pilot, "Persona: Zoe")
        assert app.persona_id == zoe
        await pilot.press("right", "i")
        await says(pilot, app.current_mode == "ideas" and "templates")
    assert asked(db, "SELECT count(*) FROM content_suggestions WHERE persona_id = :id", id=zoe) == 3


@pytest.mark.long
async def test_gaps_are_counted_over_as_many_days_as_wished(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        assert "6 missing" in screen_text(pilot)
        await pilot.press("t")
        await form_opens(pilot)
        await fill(pilot, days="90")
        await saved(pilot)
        await shows(pilot, "gaps over 90 days")
        assert "16 missing" in screen_text(pilot)


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_pillar_is_shown_whole(
    app: PersonaApp, db: Database, plan: Planned, size: tuple[int, int]
) -> None:
    with db.session_scope() as session:
        create_pillar(
            session,
            plan.persona_id,
            {
                "name": "Market",
                "weight": 20,
                "priority": 5,
                "description": "Stalls, lamps and cold hands.",
                "guidelines": {"tone": "wry", "topics": ["wool", "wax"]},
                "start_date": "2020-11-20",
            },
        )
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        if size is SMALL:
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, TextDialog))
        for words in (
            "Stalls, lamps and cold hands.",
            "Tone: wry",
            "Topics: wool, wax",
            "No clusters linked",
        ):
            assert words in screen_text(pilot), words
        assert "Active: from 20 Nov" in screen_text(pilot)


async def test_keys_that_need_a_pillar_are_not_offered_without_one(app: PersonaApp, db: Database) -> None:
    with db.session_scope() as session:
        make_persona(session)
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot, app)
        shown = screen_text(pilot)
        assert "no pillars yet: [n] makes the first one" in shown
        assert "[n] new pillar" in shown
        for words in ("[c] clusters", "[i] ideas", "[o] on or off"):
            assert words not in shown


async def test_another_screen_aims_at_a_pillar(app: PersonaApp, db: Database, plan: Planned) -> None:
    with db.session_scope() as session:
        last = create_pillar(session, plan.persona_id, {"name": "Market", "weight": 5, "priority": 1}).id
    async with app.run_test(size=LARGE) as pilot:
        await settle(pilot)
        await app.go_to("personas", pillar_id=last)
        await shows(pilot, "5 % weight, priority 1")


# The account


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    made = SandboxProcess(tmp_path_factory.mktemp("accounts"))
    yield made
    made.stop()


@pytest.mark.long
async def test_an_account_is_connected_by_its_token_alone(
    db: Database, tmp_path: Path, plan: Planned, sandbox: SandboxProcess
) -> None:
    core = QuietCore(db, tmp_path, instagram=InstagramSettings(base_url=sandbox.instagram))
    app = app_over(core)
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot, app)
        assert "○ no account" in screen_text(pilot)
        await pilot.press("a")
        await shows(pilot, "What to click at Meta")
        await pilot.press("escape")
        await form_opens(pilot)
        await fill(pilot, token="wrong-token")
        assert app.screen.query_one(Input).password
        assert "wrong-token" not in screen_text(pilot)
        await pilot.press("ctrl+s")
        await shows(pilot, "❌")
        assert isinstance(app.screen, FormDialog)
        assert asked(db, "SELECT count(*) FROM instagram_accounts") == 0
        await fill(pilot, token=sandbox.token)
        await saved(pilot)
        await shows(pilot, "Is it this one?")
        await pilot.press("y")
        await says(pilot, "posts as @")
        await shows(pilot, "● @")
        token = asked(db, "SELECT token_ciphertext FROM instagram_accounts")
        assert sandbox.token.encode() not in bytes(token)
        await pilot.press("a")
        await shows(pilot, "What to click at Meta")
        await pilot.press("escape")
        await form_opens(pilot)
        await fill(pilot, token=sandbox.token)
        await saved(pilot)
        await shows(pilot, "Is it this one?")
        await pilot.press("n")
    assert asked(db, "SELECT count(*) FROM instagram_accounts") == 1


def test_an_account_is_told_by_icon_and_word(db: Database, plan: Planned) -> None:
    def shown() -> str:
        with db.session_scope() as session:
            return facts(
                get_persona(session, plan.persona_id), next(iter(list_accounts(session)), None)
            ).plain

    assert shown().startswith("○ no account, 31, fictional, ")
    with db.session_scope() as session:
        make_account(session, plan.persona_id, "1784")
    assert shown().startswith("● 1784, 31")
    asked(db, "UPDATE instagram_accounts SET status = 'paused', username = 'mira' RETURNING id")
    assert shown().startswith("✖ @mira paused, 31")


# The forms alone


def typed(fields: list[Any]) -> dict[str, Any]:
    """What a form gives when it is saved as it was opened."""
    values = {}
    for field in fields:
        choices = getattr(field, "choices", None)
        if choices is not None:
            values[field.name] = choices[field.index()][0]
        elif type(field).__name__ == "CheckField":
            values[field.name] = bool(field.value)
        else:
            values[field.name] = field.read(field.written())
    return values


def test_an_untouched_form_changes_nothing(db: Database) -> None:
    with db.session_scope() as session:
        persona = make_persona(
            session,
            voice={"tone": "edgy", "topics": ["tea", "rain"], "use_emoji": False, "length": "long"},
            hashtags={"own": ["#a"], "avoid": ["#b"]},
            late_policy="drop",
            posts_per_week=4.5,
            fictional=False,
        )
        pillar = create_pillar(
            session,
            persona.id,
            {
                "name": "Market",
                "weight": "12.5",
                "active": False,
                "target_posts_per_week": 0,
                "end_date": "2027-01-01",
                "guidelines": {"topics": ["wool"], "style_notes": "two\nlines"},
            },
        )
        insert(session, "clusters", persona_id=persona.id, name="c")
    as_persona = PersonaInput.model_validate(persona_values(typed(persona_fields(persona, zone="UTC"))))
    for name in ("name", "age", "description", "zone", "fictional", "late_policy", "disclosure"):
        assert getattr(as_persona, name) == getattr(persona, name), name
    assert float(as_persona.posts_per_week) == 4.5
    assert as_persona.voice.model_dump(mode="json") == persona.voice
    assert as_persona.hashtags.model_dump(mode="json") == persona.hashtags
    as_pillar = PillarInput.model_validate(pillar_values(typed(pillar_fields(pillar, free=100))))
    for name in (
        "name",
        "description",
        "active",
        "start_date",
        "end_date",
        "target_posts_per_week",
        "priority",
    ):
        assert getattr(as_pillar, name) == getattr(pillar, name), name
    assert float(as_pillar.weight) == 12.5
    assert as_pillar.guidelines.model_dump(mode="json") == pillar.guidelines
