"""Pipelines by key: list, import, edit by form and in an editor, check, export, delete."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.pipelines import PipelinesScreen
from persona_tui.services.generation.pipelines import (
    ensure_examples,
    export_pipeline,
    get_pipeline,
    import_pipeline,
)
from persona_tui.widgets.confirm import ConfirmDialog
from tests.support.sandbox import SandboxProcess, sandbox
from tests.support.world import Planned
from tests.ui.quiet_core import QuietCore, app_over, asked, fill, form_opens, saved, says, shows, until
from tests.ui.support import said, screen_text, settle

__all__ = ["sandbox"]

SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x/{{job_id}}"}}
WORKFLOW: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": "{{height}}", "batch_size": 1, "color": "{{seed_color}}"},
    },
    "9": SAVE,
}
PIPELINE: dict[str, Any] = {"name": "aaa", "steps": [{"name": "base", "workflow": WORKFLOW}]}


@asynccontextmanager
async def opened(
    db: Database, folder: Path, size: tuple[int, int] = (140, 40), **values: Any
) -> AsyncIterator[Pilot[None]]:
    """The app on the screen Pipelines, with "aaa" first in the list."""
    with db.session_scope() as session:
        ensure_examples(session)
        import_pipeline(session, PIPELINE)
    app = app_over(QuietCore(db, folder, **values))
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f4")
        await settle(pilot)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelinesScreen))
        await shows(pilot, "aaa")
        yield pilot


async def test_the_list_shows_pipelines_with_steps_and_variables(db: Database, tmp_path: Path) -> None:
    async with opened(db, tmp_path) as pilot:
        shown = screen_text(pilot)
        for words in ("flux-portrait", "qwen-edit", "base", "600 s", "{{height}}", "set by each run"):
            assert words in shown, shown
        assert "has no {{seed}}" not in shown
        await pilot.press("escape")
        await settle(pilot)
        assert not isinstance(pilot.app.screen, PipelinesScreen)


@pytest.mark.long
async def test_the_view_opens_by_its_name_and_by_its_key(db: Database, tmp_path: Path) -> None:
    app = app_over(QuietCore(db, tmp_path))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("colon", *"pipelines", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelinesScreen))
        await pilot.press("f1", "ctrl+o")
        await until(pilot, lambda: isinstance(pilot.app.screen, PipelinesScreen))
        await shows(pilot, "flux-portrait")


async def test_a_step_is_changed_by_form_into_a_new_version(db: Database, tmp_path: Path) -> None:
    async with opened(db, tmp_path) as pilot:
        await pilot.press("right", "e")
        await form_opens(pilot)
        await fill(pilot, children_per_parent="7", output_node="77")
        await pilot.press("ctrl+s")
        await shows(pilot, "no node 77")
        await fill(pilot, output_node="")
        await saved(pilot)
        await says(pilot, "The step is saved")
        await until(pilot, lambda: "base" in screen_text(pilot))
    with db.session_scope() as session:
        view = get_pipeline(session, "aaa")
    assert (view.version, view.steps[0].children_per_parent, view.steps[0].output_node) == (2, 7, None)


@pytest.mark.long
async def test_a_pipeline_gets_a_persona_and_a_cluster_by_form(
    db: Database, plan: Planned, tmp_path: Path
) -> None:
    async with opened(db, tmp_path) as pilot:
        await pilot.press("e")
        await form_opens(pilot)
        await fill(pilot, name="Renamed")
        form = pilot.app.screen
        for row in form.rows[-2:]:  # type: ignore[attr-defined]
            row.control.focus()
            await pilot.press("right")
        await saved(pilot)
        await says(pilot, "The pipeline is saved")
    with db.session_scope() as session:
        view = get_pipeline(session, "Renamed")
    assert (view.persona_id, view.cluster_id, view.version) == (plan.persona_id, plan.cluster_id, 1)


async def test_files_are_imported_by_path_and_what_is_wrong_stays_in_the_form(
    db: Database, tmp_path: Path
) -> None:
    file = tmp_path / "new.json"
    file.write_text(json.dumps(WORKFLOW), "utf-8")
    async with opened(db, tmp_path) as pilot:
        await pilot.press("i")
        await form_opens(pilot)
        await fill(pilot, paths=str(tmp_path / "missing.json"))
        await pilot.press("ctrl+s")
        await shows(pilot, "There is no file")
        await fill(pilot, paths=str(file), name="")
        await saved(pilot)
        await says(pilot, "new is at version 1")
    assert asked(db, "SELECT count(*) FROM pipelines WHERE name = 'new'") == 1


@pytest.mark.long
async def test_an_editor_s_file_without_a_server_is_told(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "ui.json"
    file.write_text(json.dumps({"nodes": [], "links": [], "version": 0.4}), "utf-8")
    async with opened(db, tmp_path, comfyui={"urls": ["http://127.0.0.1:9"]}) as pilot:
        await pilot.press("i")
        await form_opens(pilot)
        await fill(pilot, paths=str(file))
        await pilot.press("ctrl+s")
        await shows(pilot, "needs a ComfyUI server")


@pytest.mark.long
async def test_a_check_shows_what_the_server_lacks(
    db: Database, tmp_path: Path, sandbox: SandboxProcess
) -> None:
    values = {"comfyui": {"urls": [sandbox.comfyui], "api_key": sandbox.token}}
    async with opened(db, tmp_path, **values) as pilot:
        await pilot.press("c")
        await says(pilot, "Every server can run it")
        assert "✅ step 1, base" in screen_text(pilot)
        assert "whole number, set by each run" in screen_text(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, PipelinesScreen)
        with db.session_scope() as session:
            lacking = export_pipeline(session, "one-step").model_dump()
            lacking["steps"][0]["workflow"]["1"]["inputs"]["ckpt_name"] = "nobody_has_this.safetensors"
            changes = {"name": "lacking", "description": "A model that no server has."}
            lacking_id = import_pipeline(session, {**lacking, **changes}).id
        await until(pilot, lambda: screen._list.go_to(lacking_id))
        await until(pilot, lambda: "A model that no server has." in screen_text(pilot))
        await pilot.press("c")
        await says(pilot, "Not every server can run it")
        assert "❌ step 1, picture" in screen_text(pilot)


def editor(folder: Path, script: str) -> str:
    """A text editor that does what a script says with the file in $1, and counts how often it came."""
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\necho x >> {folder}/opened\n{script}\n", "utf-8")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def left_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under Pilot there is no terminal that could be left."""
    monkeypatch.setattr(PersonaApp, "suspend", lambda _self: nullcontext())


@pytest.mark.long
async def test_a_workflow_is_edited_in_the_operator_s_editor(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_terminal: None
) -> None:
    monkeypatch.setenv("EDITOR", editor(tmp_path, 'sed -i \'s/"width": 64/"width": 128/\' "$1"'))
    monkeypatch.delenv("VISUAL", raising=False)
    async with opened(db, tmp_path) as pilot:
        await pilot.press("w")
        await says(pilot, "aaa is at version 2")
    assert asked(db, "SELECT workflow #>> '{1,inputs,width}' FROM pipeline_steps ORDER BY id DESC") == "128"


@pytest.mark.long
async def test_what_can_not_be_stored_is_kept_and_opened_again(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_terminal: None
) -> None:
    script = 'cp "$1" ' + f"{tmp_path}/seen; " + "sed -i 's/SaveImage/SaveNothing/' \"$1\""
    monkeypatch.setenv("EDITOR", editor(tmp_path, script))
    monkeypatch.delenv("VISUAL", raising=False)
    async with opened(db, tmp_path) as pilot:
        await pilot.press("w")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert "No node saves a picture" in screen_text(pilot) or "no node saves" in screen_text(pilot)
        await pilot.press("y")
        await until(pilot, lambda: (tmp_path / "opened").read_text().count("x") == 2)
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        assert "SaveNothing" in (tmp_path / "seen").read_text("utf-8")
        await pilot.press("n")
        await says(pilot, "Nothing was changed")
    assert asked(db, "SELECT count(*) FROM pipeline_versions v JOIN pipelines p ON p.id = v.pipeline_id"
                 " WHERE p.name = 'aaa'") == 1  # fmt: skip


@pytest.mark.long
async def test_a_pipeline_and_a_step_are_exported_and_nothing_is_overwritten(
    db: Database, tmp_path: Path
) -> None:
    async with opened(db, tmp_path) as pilot:
        await pilot.press("x")
        await form_opens(pilot)
        await fill(pilot, path=str(tmp_path / "all.json"))
        await saved(pilot)
        assert f"all.json is written into {tmp_path}." in said(pilot)
        await pilot.press("right", "x")
        await form_opens(pilot)
        await fill(pilot, path=str(tmp_path / "all.json"))
        await pilot.press("ctrl+s")
        await shows(pilot, "is there already")
        await fill(pilot, path=str(tmp_path / "step.json"))
        await saved(pilot)
    assert json.loads((tmp_path / "all.json").read_text("utf-8"))["steps"][0]["workflow"] == WORKFLOW
    assert json.loads((tmp_path / "step.json").read_text("utf-8")) == WORKFLOW


@pytest.mark.long
async def test_only_a_pipeline_without_runs_is_deleted_after_a_yes(db: Database, tmp_path: Path) -> None:
    async with opened(db, tmp_path) as pilot:
        await pilot.press("d")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await says(pilot, "aaa is deleted")
    assert asked(db, "SELECT count(*) FROM pipelines WHERE name = 'aaa'") == 0
