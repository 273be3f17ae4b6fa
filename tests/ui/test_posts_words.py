"""Captions: proposed with patience, cancelled, replaced, edited; what the database holds after each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from persona_tui.database.engine import Database
from persona_tui.services.writers import Writer
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.form import FormDialog
from tests.support.publishing import World, make_rows
from tests.ui.posts_world import (
    Model,
    draft,
    opened,
    ready,
    state,
)
from tests.ui.quiet_core import until
from tests.ui.support import said, screen_text, settle


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    return make_rows(db, tmp_path, name="Ada")


async def test_a_caption_is_proposed_written_and_can_then_be_scheduled(world: World) -> None:
    post_id, model = draft(world), Model()
    async with opened(world, writers=(Writer("gemini-test", model),)) as pilot:
        await pilot.press("c")
        await asyncio.wait_for(model.asked.wait(), 10)
        await pilot.pause()
        assert f"Writing a caption for post {post_id}" in screen_text(pilot)
        model.may_answer.set()
        await settle(pilot)
        written = world.view(post_id)
        assert (written.state, written.caption.splitlines()[0]) == ("ready", "Steam over a cup.")
        assert written.hashtags == ("tea",) and written.alt_text == "A cup on a sill"
        assert written.caption_metadata["written_by"] == "gemini-test"
        assert said(pilot).startswith(f"gemini-test wrote a caption for post {post_id}")
        assert "Writing a caption" not in screen_text(pilot)
        await pilot.press("s")
        await settle(pilot)
        assert state(world, post_id) == "scheduled"
        assert f"Post {post_id} goes out" in said(pilot) and "u takes it back" in said(pilot)
        await pilot.press("u")
        await settle(pilot)
        assert state(world, post_id) == "ready"


@pytest.mark.long
async def test_a_proposal_is_cancelled_by_escape_and_changes_nothing(world: World) -> None:
    post_id, model = draft(world), Model()
    async with opened(world, writers=(Writer("gemini-test", model),)) as pilot:
        await pilot.press("c")
        await asyncio.wait_for(model.asked.wait(), 10)
        await pilot.pause()
        await pilot.press("c")
        await pilot.pause()
        assert "being written already" in said(pilot)
        await pilot.press("escape")
        await settle(pilot)
        assert said(pilot) == "Cancelled: the words are as they were."
        assert "Writing a caption" not in screen_text(pilot)
        assert state(world, post_id) == "draft"
        assert pilot.app.current_mode == "posts"
        model.may_answer.set()
        await pilot.press("c")
        await settle(pilot)
        assert state(world, post_id) == "ready"


@pytest.mark.long
async def test_without_a_language_model_a_template_writes_and_says_so(world: World) -> None:
    post_id = draft(world)
    async with opened(world) as pilot:
        await pilot.press("c")
        await settle(pilot)
        assert "a template wrote the caption. F12 says why." in said(pilot)
        assert world.view(post_id).caption_metadata["written_by"] == "template"


@pytest.mark.long
async def test_own_words_are_replaced_only_after_a_yes(world: World) -> None:
    post_id = ready(world, "My own words")
    async with opened(world) as pilot:
        await pilot.press("c")
        await settle(pilot)
        assert isinstance(pilot.app.screen, ConfirmDialog)
        await pilot.press("n")
        await settle(pilot)
        assert world.view(post_id).caption == "My own words"
        await pilot.press("c", "y")
        await settle(pilot)
        await until(pilot, lambda: world.view(post_id).caption != "My own words")


@pytest.mark.long
async def test_words_are_edited_in_a_form_that_tells_what_does_not_fit(world: World) -> None:
    post_id = ready(world)
    async with opened(world) as pilot:
        await pilot.press("e")
        await settle(pilot)
        form = pilot.app.screen
        assert isinstance(form, FormDialog)
        form.query(TextArea).first().text = "Better words"
        form.query_one(Input).value = "a b c d e f"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert "The post has 6 hashtags, 5 are allowed." in screen_text(pilot)
        assert world.view(post_id).caption == "Morning light"
        form.query_one(Input).value = "#clay, slow"
        await pilot.press("ctrl+s")
        await settle(pilot)
        assert world.view(post_id).full_caption == "Better words\n\n#clay #slow"
        assert said(pilot) == f"Post {post_id} has new words."
