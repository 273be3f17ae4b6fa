"""The operator's day by keys alone: from a gap to a published post, over the real core and the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from tests.support.day import DayWorld, day_world
from tests.support.sandbox import SandboxProcess

MOST_KEYS = 40
PATIENCE = 30.0


class Hands:
    """Presses keys, counts them, and waits for what the database says."""

    def __init__(self, pilot: Pilot[Any], app: PersonaApp) -> None:
        self.pilot = pilot
        self.app = app
        self.keys = 0

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.keys += 1
            await self.pilot.press(key)
        await self.pilot.pause()

    async def ask(self, question: str) -> Any:
        """One value of the database."""

        def look() -> Any:
            with self.app.database.session_scope() as session:
                return session.execute(text(question)).scalar_one_or_none()

        return await asyncio.to_thread(look)

    async def until(self, question: str, wanted: Any) -> None:
        """Wait until the database answers so."""
        answer: Any = None
        for _ in range(int(PATIENCE / 0.1)):
            answer = await self.ask(question)
            if answer == wanted:
                await self.pilot.pause()
                return
            await self.pilot.pause(0.1)
        raise AssertionError(f"{question} gives {answer!r}, not {wanted!r}; the screen:\n{shown(self.app)}")

    async def until_shown(self, words: str) -> None:
        """Wait until the screen shows these words."""
        for _ in range(int(PATIENCE / 0.1)):
            if words in shown(self.app):
                return
            await self.pilot.pause(0.1)
        raise AssertionError(f"{words!r} is not on the screen:\n{shown(self.app)}")

    async def vote(self, votes: int) -> None:
        """Cast so many votes, each once the next pair can be voted on."""
        before = await self.ask("SELECT count(*) FROM votes")
        for number in range(1, votes + 1):
            await self.until_shown("this one")
            while not await self._voted(before + number):
                self.keys -= 1  # the pair was not drawn yet, so the key did not count in the app either
        assert await self.ask("SELECT count(*) FROM votes") == before + votes

    async def _voted(self, wanted: int) -> bool:
        """Press once and give the vote time to arrive."""
        await self.press("left")
        for _ in range(20):
            if await self.ask("SELECT count(*) FROM votes") >= wanted:
                return True
            await self.pilot.pause(0.1)
        return False


def shown(app: PersonaApp) -> str:
    """The screen's text."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[DayWorld]:
    sandbox = SandboxProcess(tmp_path / "sandbox")
    try:
        with day_world(sandbox) as made:
            yield made
    finally:
        sandbox.stop()


@pytest.mark.timeout(300)
async def test_the_whole_loop_by_keys(world: DayWorld, capsys: pytest.CaptureFixture[str]) -> None:
    app = PersonaApp(world.settings)
    async with app.run_test(size=(120, 40)) as pilot:
        hands = Hands(pilot, app)
        await hands.until_shown("Harbour walks")
        await hands.until_shown("SANDBOX")
        await hands.until_shown("leading")
        await hands.until_shown("[1] do")

        await hands.press("1")
        await hands.until("SELECT count(*) > 0 FROM content_suggestions WHERE status = 'pending'", True)
        assert app.current_mode == "ideas"
        await hands.until_shown("[g]")

        await hands.press("g")
        await hands.until("SELECT count(*) FROM pipeline_runs", 1)
        assert (
            await hands.ask("SELECT status FROM content_suggestions WHERE cluster_id IS NOT NULL") == "used"
        )
        assert await hands.ask("SELECT count(*) FROM clusters") == 1

        await hands.until("SELECT count(*) FROM image_candidates", 4)
        await hands.vote(3)
        await hands.press("enter")
        await hands.until("SELECT approved_at IS NOT NULL FROM pipeline_run_steps WHERE position = 1", True)
        assert await hands.ask("SELECT count(*) FROM gate_members") == 1

        await hands.until("SELECT count(*) FROM image_candidates", 6)
        await hands.vote(1)
        await hands.press("enter")
        await hands.until("SELECT count(*) FROM image_candidates WHERE winner", 1)
        assert await hands.ask("SELECT count(*) FROM cluster_candidates") == 1
        assert await hands.ask("SELECT status FROM pipeline_runs") == "completed"

        await hands.until("SELECT state FROM scheduling_posts", "ready")
        assert app.current_mode == "posts"
        assert await hands.ask("SELECT length(caption) > 20 FROM scheduling_posts")
        await hands.until_shown("[s]")

        await hands.press("s")
        await hands.until("SELECT state FROM scheduling_posts", "scheduled")
        assert await hands.ask("SELECT scheduled_at > persona_now() FROM scheduling_posts")

        await hands.until_shown("[p]")
        await hands.press("p")
        await hands.until_shown("[y]")
        await hands.press("y")
        await hands.until("SELECT state FROM scheduling_posts", "published")
        media_id = await hands.ask("SELECT media_id FROM scheduling_posts")
    assert [entry["media_id"] for entry in world.published()] == [media_id]
    with capsys.disabled():
        print(f"\nthe whole loop: {hands.keys} key presses, 4 of them votes")
    assert hands.keys <= MOST_KEYS
