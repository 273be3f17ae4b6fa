"""LoRAs by key: brought in through the file picker, used, weighed, tried, brought to servers, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.screens.file_picker import FilePicker, FolderMemory, list_folder
from persona_tui.screens.loras_trial import TrialDialog
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.generation.runs import create_run
from persona_tui.services.loras.mappings import use_lora
from persona_tui.widgets.confirm import ConfirmDialog
from persona_tui.widgets.reader import TextDialog
from tests.support.loras import write_sidecar
from tests.support.sandbox import SandboxProcess
from tests.support.world import make_plan
from tests.ui.loras_world import LARGE, SMALL, Studio, opened, quick_sandbox, screen, type_path
from tests.ui.quiet_core import asked, fill, form_opens, saved, says, shows, until
from tests.ui.support import said, screen_text, settle


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    yield from quick_sandbox(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture
def studio(db: Database, tmp_path: Path, server: SandboxProcess) -> Iterator[Studio]:
    with db.session_scope() as session:
        plan = make_plan(session)
    yield Studio(db, tmp_path, plan, server)
    for file in (server.state / "comfyui/models/loras").rglob("*.safetensors"):
        file.unlink()


@pytest.mark.long(but=["size0"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_without_any_lora_the_screen_says_what_to_do(studio: Studio, size: tuple[int, int]) -> None:
    async with opened(studio, size) as pilot:
        text = screen_text(pilot)
        assert "No LoRAs yet." in text and "[i] import" in text
        await pilot.press("t")
        await says(pilot, "There is no LoRA yet.")


async def test_a_file_is_picked_looked_at_and_imported(studio: Studio) -> None:
    path = studio.file()
    write_sidecar(path, trigger_word="ohwx", weight=0.7)
    (path.parent / "notes.txt").write_text("not shown")
    (path.parent / "below").mkdir()
    async with opened(studio) as pilot:
        await pilot.press("i")
        await type_path(pilot, str(path.parent))
        await shows(pilot, "below/")
        assert "mira_v2.safetensors" in screen_text(pilot) and "notes.txt" not in screen_text(pilot)
        await pilot.press(*"mira", "enter")
        await form_opens(pilot)
        assert "kohya names" in screen_text(pilot)
        await saved(pilot)
        await says(pilot, "mira@2: character, sdxl; Mira uses it at 0.7, primary. [x] ends that.")
        await shows(pilot, "● primary")
        assert "0.7" in screen_text(pilot)
        await pilot.press("i")
        await until(pilot, lambda: isinstance(pilot.app.screen, FilePicker))
        assert pilot.app.screen.folder == path.parent  # type: ignore[attr-defined]
    query = "SELECT trigger_word FROM lora_models WHERE name = 'mira' AND version = 2"
    assert asked(studio.db, query) == "ohwx"


@pytest.mark.long
async def test_a_folder_is_imported_and_what_fails_is_named(studio: Studio) -> None:
    folder = studio.file("one.safetensors", fill=1).parent
    studio.file("two.safetensors", fill=2)
    (folder / "broken.safetensors").write_bytes(b"PK")
    async with opened(studio) as pilot:
        await pilot.press("i")
        await type_path(pilot, str(folder))
        await shows(pilot, "broken.safetensors")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(pilot.app.screen, TextDialog))
        assert "broken.safetensors: broken.safetensors is no safetensors file" in screen_text(pilot)
        await pilot.press("escape")
        assert said(pilot) == "2 files imported, 1 failed. Mira uses one@1, two@1."
    assert asked(studio.db, "SELECT count(*) FROM persona_lora_mappings") == 2


@pytest.mark.long
async def test_the_picker_says_what_it_can_not_open(studio: Studio) -> None:
    broken = studio.file("broken.safetensors")
    broken.write_bytes(b"PK")
    async with opened(studio) as pilot:
        await pilot.press("i")
        await type_path(pilot, "/no/such/place")
        assert "There is nothing at this path." in screen_text(pilot)
        await type_path(pilot, str(broken.parent / ("x" * 300)))
        assert "can't be read" in screen_text(pilot) or "nothing at this path" in screen_text(pilot)
        await type_path(pilot, str(broken))
        await shows(pilot, "broken.safetensors is no")
        await pilot.press("escape", "i")
        await until(pilot, lambda: isinstance(pilot.app.screen, FilePicker))
        await pilot.press("escape")
        await settle(pilot)
        assert pilot.app.screen is screen(pilot)


async def test_weight_and_primary_are_changed_and_use_is_ended(studio: Studio) -> None:
    first, second = studio.imported("one.safetensors", fill=1), studio.imported("two.safetensors", fill=2)
    async with opened(studio) as pilot:
        assert screen(pilot).rows.current_key == first.id
        await pilot.press("u")
        await form_opens(pilot)
        await fill(pilot, weight="1.5")
        await pilot.press("ctrl+s")
        await shows(pilot, "Must be at most 1.")
        await fill(pilot, weight="0.35")
        await saved(pilot)
        await says(pilot, "Mira uses one@1 at 0.35.")
        screen(pilot).rows.go_to(second.id)
        await pilot.press("p")
        await shows(pilot, "Promote two@1 in place of one@1?")
        await shows(pilot, "one@1 is taken out of use.")
        await pilot.press("y")
        await says(pilot, "two@1 is the primary character of Mira for sdxl.")
        await until(pilot, lambda: screen(pilot).rows.items[0].lora.id == second.id)
        assert screen(pilot).rows.items[1].use is None
        await pilot.press("b")
        await shows(pilot, "two@1 at 1 in use beside one@1.")
        await pilot.press("y")
        await until(pilot, lambda: screen(pilot).rows.items[0].lora.id == first.id)
        assert screen(pilot).rows.items[1].use is not None
        screen(pilot).rows.go_to(second.id)
        await pilot.press("x")
        await says(pilot, "Mira no longer uses two@1; runs that are there keep it.")
        await until(pilot, lambda: screen(pilot).rows.items[0].lora.id == first.id)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(pilot.app.screen, TextDialog))
        await shows(pilot, "SHA-256")
    assert (
        asked(studio.db, "SELECT weight FROM persona_lora_mappings WHERE lora_model_id = :id", id=first.id)
        == 0.35
    )


@pytest.mark.long
async def test_a_lora_is_brought_to_the_servers(studio: Studio) -> None:
    lora = studio.imported()
    async with opened(studio) as pilot:
        await shows(pilot, "○ 0 of 1")
        await pilot.press("s")
        await says(pilot, "mira@1 is on 1 server.")
        await shows(pilot, "● 1 of 1")
    assert (studio.lora_dir / lora.file_name).is_file()


@pytest.mark.long
async def test_a_lora_is_tried_side_by_side(studio: Studio) -> None:
    studio.imported()
    with studio.db.session_scope() as session:
        ensure_examples(session)
    async with opened(studio) as pilot:
        await pilot.press("t")
        await form_opens(pilot)
        await fill(pilot, prompt="a bowl by the window", seed="7")
        await saved(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, TrialDialog))
        assert "mira@1 (1) changes the picture by" in screen_text(pilot)
        await pilot.press("escape")
        await pilot.press("t")
        await form_opens(pilot)
        await fill(pilot, weight="0")
        await saved(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, TrialDialog))
        assert "the server ignored the LoRA" in screen_text(pilot)


async def test_training_11_two_versions_are_compared_promoted_and_rolled_back(studio: Studio) -> None:
    old = studio.imported("mira_v1.safetensors", fill=1)
    new = studio.imported("mira_v2.safetensors", fill=2, use=False)
    with studio.db.session_scope() as session:
        ensure_examples(session)
        use_lora(session, studio.plan.persona_id, old.id, {"weight": 0.8, "primary": True})
        told = {"id": new.id, "facts": json.dumps({"scores": {"likeness": 0.61, "step": 750}})}
        session.execute(text("UPDATE lora_models SET details = details || :facts WHERE id = :id"), told)
    async with opened(studio) as pilot:
        screen(pilot).rows.go_to(new.id)
        await pilot.press("p")
        await shows(pilot, "Promote mira@2 in place of mira@1?")
        assert "mira@2: likeness 0.61." in screen_text(pilot)
        assert "They were not compared yet; [c]" in screen_text(pilot)
        await pilot.press("n", "c")
        await shows(pilot, "Compare mira@2 with")
        await pilot.press("enter")
        await form_opens(pilot)
        await fill(pilot, seed="7")
        await saved(pilot)
        await until(pilot, lambda: isinstance(pilot.app.screen, TrialDialog))
        assert "left: with mira@1 (1)    right: with mira@2 (1)    seed 7" in screen_text(pilot)
        await pilot.press("escape", "p")
        await shows(pilot, "Promote mira@2")
        assert "not compared" not in screen_text(pilot)
        await pilot.press("y")
        await says(pilot, "mira@2 is the primary character of Mira for sdxl.")
        await pilot.press("b")
        await shows(pilot, "Go back from mira@2 to mira@1?")
        await pilot.press("y")
        await says(pilot, "mira@1 is the primary character of Mira for sdxl again.")
        await pilot.press("b")
        await shows(pilot, "No other character for sdxl was primary before mira@1.")
    query = 'SELECT array_agg(weight) FROM persona_lora_mappings WHERE "primary" AND lora_model_id = :id'
    assert asked(studio.db, query, id=old.id) == [0.8]


@pytest.mark.long
async def test_a_lora_that_no_run_used_is_removed_and_another_stays(studio: Studio) -> None:
    kept, gone = studio.imported("kept.safetensors", fill=1), studio.imported("gone.safetensors", fill=2)
    with studio.db.session_scope() as session:
        ensure_examples(session)
        picked = [{"lora_model_id": kept.id, "weight": 1}]
        plan = {"pipeline": "one-step", "prompt": "tea", "persona_id": studio.plan.persona_id}
        create_run(session, {**plan, "loras": picked})
    async with opened(studio) as pilot:
        for lora, words in ((kept, "kept@1 was used by 1 run"), (gone, "gone@1 is gone.")):
            screen(pilot).rows.go_to(lora.id)
            await pilot.press("d")
            await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
            await pilot.press("y")
            await until(pilot, lambda words=words: words in f"{said(pilot)} {screen_text(pilot)}")  # type: ignore[misc]
            if lora is kept:
                await pilot.press("escape")
    assert asked(studio.db, "SELECT array_agg(name) FROM lora_models") == ["kept"]
    assert not studio.core._opened.lora_shelf.holds(gone.file_name)


def test_a_folder_is_listed_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("b.safetensors", "A.SAFETENSORS", "c.txt", ".hidden.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling.safetensors").symlink_to(tmp_path / "nothing")
    listing = list_folder(tmp_path, (".safetensors",))
    assert [entry.name for entry in listing.entries] == ["..", "folder", "A.SAFETENSORS", "b.safetensors"]
    assert "no such file" in list_folder(tmp_path / "gone", (".safetensors",)).problem


def test_the_last_folder_is_remembered_while_it_is_there(tmp_path: Path) -> None:
    memory = FolderMemory(tmp_path / "ui" / "folder")
    assert memory.recall() == Path.home()
    (tmp_path / "loras").mkdir()
    memory.keep(tmp_path / "loras")
    assert FolderMemory(tmp_path / "ui" / "folder").recall() == tmp_path / "loras"
    (tmp_path / "loras").rmdir()
    assert memory.recall() == Path.home()
