"""What the Dashboard shows before the core has started."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.errors import StorageError
from persona_tui.screens.first_look import Opening
from persona_tui.services.planning.overview import FirstLook
from tests.support.world import make_plan
from tests.ui.quiet_core import QuietCore, shows
from tests.ui.support import screen_text, settle


@pytest.fixture
def core(db: Database, tmp_path: Path) -> QuietCore:
    with db.session_scope() as session:
        make_plan(session)
    return QuietCore(db, tmp_path)


async def test_posts_and_pillars_are_there_before_the_core(db: Database, core: QuietCore) -> None:
    may_start = threading.Event()

    def slow(_say: Callable[[str], None]) -> QuietCore:
        assert may_start.wait(30)
        return core

    looker = Opening(db.settings).look
    app = PersonaApp(core.settings, core_factory=slow, looker=looker)
    async with app.run_test(size=(130, 45)) as pilot:
        try:
            # Not by `shows`, which first waits ten seconds for the worker that waits here for `may_start`.
            async with asyncio.timeout(30):
                while "in stock" not in screen_text(pilot):
                    await pilot.pause(0.02)
            early = screen_text(pilot)
            assert "No upcoming posts" in early
            assert "◌ …" in early
            assert app.persona is not None
            assert app.persona.name in early
        finally:
            may_start.set()
        await shows(pilot, "[1] ")
        assert "◌ …" not in screen_text(pilot)


async def test_a_first_look_that_fails_is_told_like_a_core_that_fails(core: QuietCore) -> None:
    def refuses(_say: Callable[[str], None], _persona_id: int | None) -> FirstLook | None:
        raise StorageError("The disk is full.")

    app = PersonaApp(core.settings, core_factory=lambda _say: core, looker=refuses)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "The disk is full." in screen_text(pilot)
        assert "SCHEDULED POSTS" not in screen_text(pilot)
