"""The core stops, whatever it lost before."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

import pytest
from tests.support.database import end_quickly, throwaway_database

from persona_tui.runtime import Core

STOP_SECONDS = 60.0


@pytest.mark.long
@pytest.mark.skipif("PERSONA_DATABASE_URL" in os.environ, reason="ends the embedded server")
async def test_a_core_whose_database_is_gone_for_good_stops() -> None:
    with throwaway_database() as database:
        core = Core(database.settings)
        await core.start()
        await core.working()
        end_quickly(database)
        shutil.rmtree(database.settings.data_dir)
        await asyncio.sleep(1)
        async with asyncio.timeout(STOP_SECONDS):
            await core.stop()
        assert not jobs_tasks()


def jobs_tasks() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "jobs"]
