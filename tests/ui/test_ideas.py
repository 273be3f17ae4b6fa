"""Ideas: proposed, judged, and turned into pictures with one key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.clients.gemini import GeminiClient
from persona_tui.clients.openai_compatible import OpenAICompatibleClient
from persona_tui.database.engine import Database
from persona_tui.services.planning.pillars import create_pillar
from persona_tui.services.writers import Writer
from persona_tui.setting_sections import GeminiSettings
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.form import FormDialog
from persona_tui.widgets.reader import TextDialog
from tests.support.sandbox import SandboxProcess
from tests.support.world import Planned, insert, make_persona, make_plan
from tests.ui.quiet_core import QuietCore, app_over, asked, fill, form_opens, saved, says, shows, until
from tests.ui.support import screen_text, settle

SMALL, LARGE = (80, 24), (130, 40)
PROMPT = "Mira lifts the lid of a glaze bucket, steam in the window light, 35 mm."


@pytest.fixture
def app(db: Database, tmp_path: Path) -> PersonaApp:
    return app_over(QuietCore(db, tmp_path))


@pytest.fixture
def plan(db: Database) -> Planned:
    with db.session_scope() as session:
        return make_plan(session)


def add_idea(db: Database, plan: Planned, title: str, **fields: Any) -> int:
    with db.session_scope() as session:
        values = {"prompt": PROMPT, "written_by": "template", **fields}
        return insert(
            session,
            "content_suggestions",
            persona_id=plan.persona_id,
            pillar_id=plan.pillar_id,
            title=title,
            **values,
        )


async def opened(pilot: Pilot[Any], app: PersonaApp) -> None:
    await settle(pilot)
    await pilot.press("f3")
    await until(pilot, lambda: app.current_mode == "ideas")


def status_of(db: Database, idea: int) -> str:
    return str(asked(db, "SELECT status FROM content_suggestions WHERE id = :id", id=idea))


# What is there


async def test_without_a_pillar_the_way_leads_there(app: PersonaApp, db: Database) -> None:
    with db.session_scope() as session:
        make_persona(session)
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        shown = screen_text(pilot)
        assert "No content pillar yet." in shown
        assert "Press [F2] personas & pillars" in shown
        assert "[n] new ideas" not in shown


async def test_without_ideas_the_screen_says_how_to_get_some(app: PersonaApp, plan: Planned) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        assert "No ideas wait." in screen_text(pilot)
        assert "Press [n] new ideas" in screen_text(pilot)


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_ideas_are_grouped_and_the_newest_pending_one_is_under_the_cursor(
    app: PersonaApp, db: Database, plan: Planned, size: tuple[int, int]
) -> None:
    add_idea(db, plan, "Kiln at dawn", status="accepted", cluster_id=plan.cluster_id)
    add_idea(db, plan, "First frost")
    add_idea(db, plan, "Steam over the glaze", description="Seen from the door.", reason="4 pictures missing")
    add_idea(db, plan, "Sunset selfie", status="rejected", reason="too posed")
    async with app.run_test(size=size) as pilot:
        await opened(pilot, app)
        shown = screen_text(pilot)
        rows = [line for line in shown.splitlines() if "Studio" in line]
        places = [
            next(place for place, row in enumerate(rows) if words in row)
            for words in ("◌ pending 2", "First frost", "● accepted 1")
        ]
        assert places == sorted(places)
        assert "Steam over the glaze" in rows[places[0]]
        assert "AI Generation Prompt" in shown
        assert "Why: 4 pictures missing" in shown
        assert "Seen from the door." in shown
        assert "Studio lacks 6 pictures" in shown
        assert "Sunset selfie" not in shown
        await pilot.press("h")
        await shows(pilot, "✖ rejected 1")
        await pilot.press("end")
        await shows(pilot, "Rejected: too posed")
        assert "[g] make pictures" not in screen_text(pilot)
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(app.screen, TextDialog))
        assert "Mira lifts the lid of a glaze bucket" in screen_text(pilot)


# Judging


async def test_an_idea_is_accepted_and_gets_a_cluster(app: PersonaApp, db: Database, plan: Planned) -> None:
    idea = add_idea(db, plan, "Kiln at dawn")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("a")
        await says(pilot, "is accepted and has a cluster")
        await shows(pilot, "● accepted")
        assert "[a] accept" not in screen_text(pilot)
        assert "[g] make pictures" in screen_text(pilot)
    assert status_of(db, idea) == "accepted"
    assert asked(db, "SELECT ai_prompt FROM clusters WHERE name = 'Kiln at dawn'") == PROMPT
    assert asked(db, "SELECT count(*) FROM pipeline_runs") == 0


async def test_an_idea_is_rejected_with_a_reason_or_without(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    first, second, third = (add_idea(db, plan, title) for title in ("One", "Two", "Three"))
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("x")
        await form_opens(pilot)
        await fill(pilot, reason="too posed")
        await saved(pilot)
        await says(pilot, "“Three” is rejected")
        await shows(pilot, "pending 2")
        await pilot.press("x")
        await form_opens(pilot)
        await pilot.press("enter")
        await says(pilot, "“Two” is rejected")
        await shows(pilot, "pending 1")
        await pilot.press("x")
        await form_opens(pilot)
        await pilot.press("escape")
        await settle(pilot)
    assert [status_of(db, idea) for idea in (first, second, third)] == ["pending", "rejected", "rejected"]
    assert asked(db, "SELECT reason FROM content_suggestions WHERE id = :id", id=third) == "too posed"


@pytest.mark.long
async def test_an_idea_is_edited_and_the_guard_is_heard_in_the_form(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    idea = add_idea(db, plan, "Kiln at dawn")
    prompt = "SELECT prompt FROM content_suggestions WHERE id = :id"
    async with app.run_test(size=LARGE) as pilot:
        await opened(pilot, app)
        await pilot.press("e")
        await form_opens(pilot)
        await fill(pilot, prompt="A nude teen by the kiln")
        await pilot.press("ctrl+s")
        await shows(pilot, "❌")
        assert isinstance(app.screen, FormDialog)
        assert asked(db, prompt, id=idea) == PROMPT
        await fill(pilot, title="Kiln at dusk", prompt="Embers behind the kiln door, 50 mm")
        await saved(pilot)
        await says(pilot, "The idea is changed.")
        await shows(pilot, "Kiln at dusk")
    assert asked(db, prompt, id=idea) == "Embers behind the kiln door, 50 mm"


# Pictures


async def test_one_key_accepts_starts_a_run_and_goes_to_vote(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    idea = add_idea(db, plan, "Kiln at dawn")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("g", "g")
        await until(pilot, lambda: app.current_mode == "vote")
        await says(pilot, "“Kiln at dawn” is started as run 1: base makes 4 pictures.")
    assert status_of(db, idea) == "used"
    assert asked(db, "SELECT count(*) FROM pipeline_runs") == 1
    run = (
        "SELECT concat_ws('|', r.name, r.prompt, r.persona_id, r.pillar_id, c.name, r.content_suggestion_id,"
        " p.name) FROM pipeline_runs r JOIN clusters c ON c.id = r.cluster_id"
        " JOIN pipeline_versions v ON v.id = r.pipeline_version_id JOIN pipelines p ON p.id = v.pipeline_id"
    )
    facts = f"{plan.persona_id}|{plan.pillar_id}|Kiln at dawn|{idea}|two-step"
    assert asked(db, run) == f"Kiln at dawn|{PROMPT}|{facts}"


@pytest.mark.long
async def test_a_run_that_is_refused_leaves_the_idea_as_it_was(
    app: PersonaApp, db: Database, plan: Planned
) -> None:
    idea = add_idea(db, plan, "Kiln at dawn", prompt="A nude teen by the kiln")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("g")
        await shows(pilot, "Refused by the guard")
        assert app.current_mode == "ideas"
    assert status_of(db, idea) == "pending"
    assert asked(db, "SELECT count(*) FROM clusters WHERE name = 'Kiln at dawn'") == 0
    assert asked(db, "SELECT count(*) FROM pipeline_runs") == 0


@pytest.mark.long
async def test_another_pipeline_can_be_chosen(app: PersonaApp, db: Database, plan: Planned) -> None:
    add_idea(db, plan, "Kiln at dawn")
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("G")
        await until(pilot, lambda: isinstance(app.screen, ChoiceDialog))
        await pilot.press(*"one", "enter")
        await until(pilot, lambda: app.current_mode == "vote")
    assert asked(db, "SELECT count(*) FROM pipeline_run_steps") == 1


# Proposing


@pytest.mark.long
async def test_ideas_are_proposed_for_a_chosen_pillar(app: PersonaApp, db: Database, plan: Planned) -> None:
    with db.session_scope() as session:
        market = create_pillar(session, plan.persona_id, {"name": "Market", "weight": 5}).id
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("n")
        await form_opens(pilot)
        assert "Studio, 6 missing" in screen_text(pilot)
        await pilot.press("right")
        assert "Market, 1 missing" in screen_text(pilot)
        await fill(pilot, count="2")
        await saved(pilot)
        await says(pilot, "No language model answered, so these are templates; F12 says why.")
        await shows(pilot, "◌ pending 2")
    assert asked(db, "SELECT count(*) FROM content_suggestions WHERE pillar_id = :id", id=market) == 2


@pytest.mark.long
async def test_too_many_ideas_can_not_be_asked_for(app: PersonaApp, db: Database, plan: Planned) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("n")
        await form_opens(pilot)
        await fill(pilot, count="11")
        await pilot.press("ctrl+s")
        await shows(pilot, "Must be at most 10.")
    assert asked(db, "SELECT count(*) FROM content_suggestions") == 0


@pytest.mark.long
async def test_gemini_proposes_where_the_dashboard_sees_the_gap(
    db: Database, tmp_path: Path, plan: Planned
) -> None:
    sandbox = SandboxProcess(tmp_path / "sandbox")
    model = GeminiSettings().model
    client = GeminiClient(SecretStr(sandbox.token), model=model, base_url=sandbox.gemini)
    app = app_over(QuietCore(db, tmp_path, (Writer(model, client),)))
    try:
        async with app.run_test(size=SMALL) as pilot:
            await settle(pilot)
            await pilot.press("1")
            await says(pilot, f"3 ideas by {model}.")
            await shows(pilot, "◌ pending 3")
            newest = asked(db, "SELECT title FROM content_suggestions ORDER BY id DESC LIMIT 1")
            assert newest in screen_text(pilot)
            await pilot.press("g")
            await until(pilot, lambda: app.current_mode == "vote")
        assert asked(db, "SELECT name FROM pipeline_runs") == newest
    finally:
        sandbox.stop()


class SilentPeer:
    """A server that takes requests and never answers."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.url = ""

    async def _hear(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        self.called.set()
        await asyncio.sleep(3600)

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._hear, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server


@pytest.fixture
async def peer() -> AsyncIterator[SilentPeer]:
    made = SilentPeer()
    server = await made.start()
    yield made
    server.close()


async def test_proposing_shows_progress_and_can_be_stopped(
    db: Database, tmp_path: Path, plan: Planned, peer: SilentPeer
) -> None:
    client = OpenAICompatibleClient(peer.url, model="slow")
    app = app_over(QuietCore(db, tmp_path, (Writer("slow", client),)))
    async with app.run_test(size=SMALL) as pilot:
        await settle(pilot)
        await pilot.press("1")
        await peer.called.wait()
        await pilot.pause()
        shown = screen_text(pilot)
        assert "🤖 Thinking of 3 ideas for Studio" in shown
        assert "[s] cancel" in shown
        assert "[n] new ideas" not in shown.splitlines()[-1]
        await pilot.press("s")
        await says(pilot, "Stopped. No idea was stored.")
        assert "Thinking of" not in screen_text(pilot)
        assert "[n] new ideas" in screen_text(pilot)
    assert asked(db, "SELECT count(*) FROM content_suggestions") == 0
