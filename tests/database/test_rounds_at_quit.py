"""A round that is under way when the program is left ends without being logged as a failure."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

import pytest

from persona_tui.database.engine import Database, leader_lock_key
from persona_tui.duties import Duties, Trouble
from persona_tui.resources import Resources
from persona_tui.services.leadership import Leadership
from persona_tui.settings import Settings


async def test_training_11_a_round_that_quitting_cuts_short_is_no_error(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow_round(_self: Duties, _now: datetime) -> bool:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return True

    monkeypatch.setattr(Duties, "tick", slow_round)
    duties = Duties(
        Resources(settings, db), Leadership(db.conninfo(), leader_lock_key(db.schema), "app"), Trouble()
    )
    duties.begin(ticks=True)
    await asyncio.wait_for(begun.wait(), 30)
    with caplog.at_level(logging.DEBUG):
        await duties.aclose()
        await asyncio.wait_for(ended.wait(), 30)
        await asyncio.sleep(0)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
