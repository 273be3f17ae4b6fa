"""Item 11 on the screen: two versions are pictured, voted on blind, and the better one is promoted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import TextArea

from persona_tui.database.engine import Database
from persona_tui.screens.loras_blind import BlindDialog
from persona_tui.services.generation.lora_comparison import create_comparison, make_pairs
from persona_tui.services.loras.mappings import use_lora
from persona_tui.services.loras.registry import LoraView
from persona_tui.setting_sections import ComfyUISettings
from persona_tui.widgets.choice import ChoiceDialog
from tests.support.sandbox import SandboxProcess
from tests.ui.loras_world import LARGE, SMALL, Studio, opened, quick_sandbox, screen, studio_of
from tests.ui.quiet_core import QuietCore, asked, fill, form_opens, saved, says, shows, until
from tests.ui.support import screen_text, settle


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    yield from quick_sandbox(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture
def studio(db: Database, tmp_path: Path, server: SandboxProcess) -> Studio:
    return studio_of(db, tmp_path, server)


@pytest.fixture
def versions(studio: Studio) -> tuple[LoraView, LoraView]:
    """The one that is primary, and a newer one that waits."""
    old = studio.imported("mira_v1.safetensors", fill=1)
    new = studio.imported("mira_v2.safetensors", fill=2, use=False)
    with studio.db.session_scope() as session:
        use_lora(session, studio.plan.persona_id, old.id, {"weight": 0.8, "primary": True})
    return old, new


class Unserved(Studio):
    """The same over a server that is away."""

    @property
    def core(self) -> QuietCore:
        comfyui = ComfyUISettings(urls=("http://127.0.0.1:9",), lora_dir=self.lora_dir)
        return QuietCore(self.db, self.folder, comfyui=comfyui)


def dialog(pilot: Pilot[None]) -> BlindDialog:
    found = pilot.app.screen
    assert isinstance(found, BlindDialog)
    return found


async def pair_comes(pilot: Pilot[None]) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, BlindDialog))
    await until(pilot, lambda: dialog(pilot)._pair is not None)


async def choose(pilot: Pilot[None], studio: Studio, lora: LoraView) -> None:
    """Press the key of the side that this LoRA's picture is on; who votes by eye can't know it."""
    await pair_comes(pilot)
    pair = dialog(pilot)._pair
    assert pair is not None
    query = (
        "SELECT lora_model_id FROM lora_comparison_pictures p"
        " JOIN contest_members m ON m.comparison_picture_id = p.id WHERE m.id = :id"
    )
    on_left = asked(studio.db, query, id=pair.left.member_id) == lora.id
    await pilot.press("left" if on_left else "right")
    await until(pilot, lambda: dialog(pilot)._pair is not pair)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_training_11_two_versions_are_voted_on_blind_and_the_better_is_promoted(
    studio: Studio, versions: tuple[LoraView, LoraView], size: tuple[int, int]
) -> None:
    old, new = versions
    async with opened(studio, size) as pilot:
        screen(pilot).rows.go_to(new.id)
        for key in ("[p] promote", "[b] roll back", "[c] compare", "[v] vote", "[t] test"):
            assert key in screen_text(pilot)
        await pilot.press("v")
        await shows(pilot, "Vote blind on mira@2 and")
        await pilot.press("enter")
        await form_opens(pilot)
        pilot.app.screen.query_one(TextArea).text = "a bowl\nrain on glass\n"
        await fill(pilot, seeds="3")
        await saved(pilot)
        await pair_comes(pilot)
        shown = screen_text(pilot)
        assert "[←] left" in shown and "[→] right" in shown and "[Space] neither" in shown
        await pilot.press("space")
        await until(pilot, lambda: asked(studio.db, "SELECT count(*) FROM votes") == 1)
        await pair_comes(pilot)
        await pilot.press("z")
        await until(pilot, lambda: asked(studio.db, "SELECT count(*) FROM votes") == 2)
        for _ in range(5):
            await choose(pilot, studio, new)
        await choose(pilot, studio, old)
        await shows(pilot, "Better than mira@1 with P 0.94 (n 6: 5 for it, 1 against, 0 even).")
        assert "[p] promote" in screen_text(pilot)
        await pilot.press("p")
        await shows(pilot, "Promote mira@2 in place of mira@1?")
        assert "P 0.94" in screen_text(pilot)
        await pilot.press("y")
        await says(pilot, "mira@2 is the primary character of Mira for sdxl.")
        await shows(pilot, "Blind votes: Better than mira@1 with P 0.94")
        if size == LARGE:
            assert "0.94 n 6" in screen_text(pilot) and "0.06 n 6" in screen_text(pilot)
    query = 'SELECT lora_model_id FROM persona_lora_mappings WHERE "primary"'
    assert asked(studio.db, query) == new.id
    assert asked(studio.db, "SELECT count(*) FROM votes WHERE response_ms > 0") > 0


async def test_training_11_a_comparison_is_left_and_gone_on_with(
    studio: Studio, versions: tuple[LoraView, LoraView]
) -> None:
    old, new = versions
    with studio.db.session_scope() as session:
        values = {"persona_id": studio.plan.persona_id, "lora_id": new.id, "beside_id": old.id}
        create_comparison(session, {**values, "prompts": ["a bowl"], "seeds": 2})
    async with opened(studio) as pilot:
        for number in range(2):
            await pilot.press("v")
            await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
            assert "Go on: mira@2 against mira@1" in screen_text(pilot)
            assert f"{number} of 2 voted" in screen_text(pilot)
            await pilot.press("enter")
            await choose(pilot, studio, old)
            await pilot.press("escape")
            await settle(pilot)
        await shows(pilot, "Better than mira@2 with P 0.88")
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        assert "Go on" not in screen_text(pilot)
    assert asked(studio.db, "SELECT count(*) FROM lora_comparison_pictures") == 4


async def test_training_11_a_server_that_is_away_is_told_and_nothing_is_lost(
    studio: Studio, versions: tuple[LoraView, LoraView]
) -> None:
    old, new = versions
    with studio.db.session_scope() as session:
        values = {"persona_id": studio.plan.persona_id, "lora_id": new.id, "beside_id": old.id}
        create_comparison(session, {**values, "prompts": ["a bowl"], "seeds": 1})
    async with opened(Unserved(studio.db, studio.folder, studio.plan, studio.server)) as pilot:
        await pilot.press("v")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await shows(pilot, "can't be reached")
        await pilot.press("escape")
        await shows(pilot, "No pictures are being made. [m] goes on")
        assert "0 of 1 voted, 0 of 1 made" in screen_text(pilot)


def made_pairs(studio: Studio, versions: tuple[LoraView, LoraView]) -> None:
    """A comparison of the two with two pairs, both made."""

    async def make(contest: int) -> None:
        opened = studio.core._opened
        async with opened.lora_servers() as servers:
            await make_pairs(studio.db.session_scope, servers, opened.media, contest)

    with studio.db.session_scope() as session:
        old, new = versions
        values = {"persona_id": studio.plan.persona_id, "lora_id": new.id, "beside_id": old.id}
        contest = create_comparison(session, {**values, "prompts": ["a bowl"], "seeds": 2}).contest_id
    asyncio.run(make(contest))


@pytest.fixture
def waiting(studio: Studio, versions: tuple[LoraView, LoraView]) -> tuple[LoraView, LoraView]:
    """The two, with two pairs that wait for votes."""
    made_pairs(studio, versions)
    return versions


async def test_training_11_pairs_of_versions_wait_in_the_queue_of_the_view_vote(
    studio: Studio, waiting: tuple[LoraView, LoraView]
) -> None:
    _, new = waiting
    async with opened(studio) as pilot:
        await pilot.press("f5")
        await shows(pilot, "1 contest between LoRAs waits for yours.")
        assert "Press [o] queue" in screen_text(pilot)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        assert "LoRA mira: @2 or @1" in screen_text(pilot) and "2 pairs, no votes" in screen_text(pilot)
        await pilot.press("enter")
        for _ in range(2):
            await choose(pilot, studio, new)
        await shows(pilot, "Better than mira@1 with P 0.88")
        await pilot.press("p")
        await shows(pilot, "Promote mira@2 in place of mira@1?")
        await pilot.press("y")
        await says(pilot, "mira@2 is the primary character of Mira for sdxl.")
        await shows(pilot, "Nothing to vote on.")


async def test_training_11_the_pickers_begin_with_another_version_of_the_same_lora(
    studio: Studio, versions: tuple[LoraView, LoraView]
) -> None:
    _, new = versions
    foreign = studio.imported("aside.safetensors", fill=3, use=False)
    with studio.db.session_scope() as session:
        use_lora(session, studio.plan.persona_id, foreign.id, {"primary": True})
        values = {"persona_id": studio.plan.persona_id, "lora_id": new.id, "beside_id": foreign.id}
        create_comparison(session, {**values, "prompts": ["a bowl"], "seeds": 2})
    async with opened(studio) as pilot:
        screen(pilot).rows.go_to(new.id)
        for key, label in (("c", "mira@1"), ("v", "mira@1, with new pictures")):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
            chooser = pilot.app.screen
            assert isinstance(chooser, ChoiceDialog)
            current = chooser._list.current
            assert current is not None and current.label == label
            await pilot.press("escape")
            await until(pilot, lambda: pilot.app.screen is screen(pilot))
