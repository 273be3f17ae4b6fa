"""Item 10 on the screen: what watched folders offer is shown, taken in for whom it names, or dismissed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_tui.database.engine import Database
from persona_tui.services.loras.mappings import use_lora
from persona_tui.services.loras.watching import LoraWatcher, watch, watched
from persona_tui.widgets.choice import ChoiceDialog
from persona_tui.widgets.confirm import ConfirmDialog
from tests.support.loras import FLUX_BARE, KOHYA, PEFT, write_sidecar
from tests.support.sandbox import SandboxProcess
from tests.support.world import make_persona, make_plan
from tests.ui.loras_world import LARGE, SMALL, Studio, opened, quick_sandbox, screen, type_path
from tests.ui.quiet_core import asked, fill, form_opens, saved, says, shows, until
from tests.ui.support import screen_text, settle


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    yield from quick_sandbox(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture
def studio(db: Database, tmp_path: Path, server: SandboxProcess) -> Studio:
    with db.session_scope() as session:
        plan = make_plan(session)
        make_persona(session, "Nils")
    return Studio(db, tmp_path, plan, server)


def look(studio: Studio) -> None:
    """Have the files in the inbox offered; they are old enough to be whole."""
    inbox = studio.folder / "inbox"
    for path in inbox.iterdir():
        os.utime(path, (1, 1))
    with studio.db.session_scope() as session:
        watch(session, inbox)
    assert LoraWatcher(studio.db.session_scope).look() == ""


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_training_10_offers_are_shown_taken_in_and_dismissed(
    studio: Studio, size: tuple[int, int]
) -> None:
    bare = studio.file("nils_v3.safetensors", layers=FLUX_BARE, width=3072)
    write_sidecar(bare, trigger_word="nilsw")
    bad = studio.file("broken.safetensors")
    bad.write_bytes(b"PK")
    studio.file("fog.safetensors", layers={"lora_unet_single_blocks_0_linear1": KOHYA}, width=3072, fill=5)
    look(studio)
    async with opened(studio, size) as pilot:
        await shows(pilot, "OFFERED  (3 files in 1 watched folder)")
        text = screen_text(pilot)
        assert "No LoRAs yet." not in text and "[o] offers" in text and "[a] take in" not in text
        await pilot.press("o")
        await shows(pilot, "[a] take in")
        rows = {Path(one.path).name: one for one in screen(pilot).offers.items}
        assert screen(pilot).offers.go_to(rows["nils_v3.safetensors"].id)
        await shows(pilot, "our copy is converted")
        text = screen_text(pilot)
        assert "◐ converted" in text and "● loads it" in text and "✗ no LoRA" in text
        assert "Of Nils: Its name is that of Nils." in text and "[u] use" not in text
        await pilot.press("a")
        await form_opens(pilot)
        text = screen_text(pilot)
        assert "nils_v3.safetensors: flux, bare names" in text and "our copy is converted" in text
        await saved(pilot)
        await says(pilot, "Its weights were given names that ComfyUI reads")
        await until(pilot, lambda: len(screen(pilot).offers.items) == 2)
        assert [row.lora.label for row in screen(pilot).rows.items] == ["nils@3"]
        screen(pilot).offers.go_to(rows["broken.safetensors"].id)
        await pilot.press("a")
        await shows(pilot, "broken.safetensors can't be taken in")
        if pilot.app.screen is not screen(pilot):  # a sentence that is too long for the line has a dialog
            await pilot.press("escape")
        await pilot.press("n")
        await says(pilot, "broken.safetensors is not offered any more, unless it changes.")
        await until(pilot, lambda: len(screen(pilot).offers.items) == 1)
        await pilot.press("n")
        await until(pilot, lambda: "OFFERED" not in screen_text(pilot))
        assert screen(pilot).rows.has_focus
    query = "SELECT p.name FROM lora_models l JOIN personas p ON p.id = l.persona_id WHERE l.name = 'nils'"
    assert asked(studio.db, query) == "Nils"
    assert asked(studio.db, "SELECT count(*) FROM lora_offers WHERE state = 'dismissed'") == 2


async def test_training_10_what_can_not_be_taken_in_stays_offered(studio: Studio) -> None:
    gone = studio.file("gone.safetensors")
    look(studio)
    gone.unlink()
    async with opened(studio) as pilot:
        await pilot.press("o", "enter")
        await until(pilot, lambda: pilot.app.screen is not screen(pilot))
        assert "can't be read: No such file" in screen_text(pilot)
        await pilot.press("escape")
        assert len(screen(pilot).offers.items) == 1


async def test_training_10_a_file_from_a_path_says_whom_it_names_before_it_is_taken(studio: Studio) -> None:
    layers = {"base_model.model.transformer_blocks.0.attn.to_q": PEFT}
    path = studio.file("likeness.safetensors", layers=layers, metadata={"persona": "Nils"})
    async with opened(studio) as pilot:
        await pilot.press("i")
        await type_path(pilot, str(path))
        await form_opens(pilot)
        text = screen_text(pilot)
        assert "peft names" in text and "It says that it is of Nils." in text
        assert "it can't be converted" in text
        await saved(pilot)
        await says(pilot, "likeness@1")
    assert (
        asked(studio.db, "SELECT p.name FROM lora_models l JOIN personas p ON p.id = l.persona_id") == "Nils"
    )


async def test_training_10_folders_are_watched_and_left_from_the_screen(studio: Studio) -> None:
    path = studio.file("mira.safetensors")
    os.utime(path, (1, 1))
    async with opened(studio) as pilot:
        await pilot.press("f")
        await until(pilot, lambda: isinstance(pilot.app.screen, ChoiceDialog))
        await pilot.press("enter")
        await type_path(pilot, str(path.parent))
        await shows(pilot, "mira.safetensors")
        await pilot.press("ctrl+s")
        await shows(pilot, "OFFERED  (1 file in 1 watched folder)")
        with studio.db.session_scope() as session:
            assert [one.root for one in watched(session)] == [str(path.parent)]
        await pilot.press("f")
        await shows(pilot, "watched")
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, ConfirmDialog))
        await pilot.press("y")
        await until(pilot, lambda: "OFFERED" not in screen_text(pilot))
        await settle(pilot)
    assert asked(studio.db, "SELECT count(*) FROM lora_folders") == 0


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_training_10_what_comfyui_would_not_load_is_said_and_converted_by_a_key(
    studio: Studio, size: tuple[int, int]
) -> None:
    layers = {"base_model.model.transformer_blocks.0.attn.to_q": PEFT}
    old = studio.imported("likeness.safetensors", layers=layers)
    async with opened(studio, size) as pilot:
        await shows(pilot, "✗ ignored")
        text = screen_text(pilot)
        assert "ComfyUI would not load all of it. [r] converts it" in " ".join(text.split())
        assert "[r] convert" in text
        await pilot.press("r")
        await shows(pilot, "Which base model is likeness@1 for?")
        await pilot.press(*"qwen", "enter")
        await says(pilot, "likeness@2 is likeness@1 as ComfyUI loads it.")
        await until(pilot, lambda: screen(pilot).rows.current_key != old.id)
        row = screen(pilot).rows.current
        assert row is not None and row.lora.label == "likeness@2" and row.use is not None
        assert "[r] convert" not in screen_text(pilot)
        screen(pilot).rows.go_to(old.id)
        await shows(pilot, "It was converted into likeness@2.")


async def test_training_10_importing_a_file_again_keeps_the_weight_unless_one_is_typed(
    studio: Studio,
) -> None:
    lora = studio.imported("mira_v1.safetensors")
    with studio.db.session_scope() as session:
        use_lora(session, studio.plan.persona_id, lora.id, {"weight": 0.5})
    path = studio.file("mira_v1.safetensors")
    weight = "SELECT weight FROM persona_lora_mappings WHERE lora_model_id = :id"
    async with opened(studio) as pilot:
        for typed, told in ((None, "still uses it at 0.5"), ("0.25", "uses it at 0.25")):
            await pilot.press("i")
            await type_path(pilot, str(path))
            await form_opens(pilot)
            if typed is not None:
                await fill(pilot, weight=typed)
            await saved(pilot)
            await says(pilot, f"mira_v1.safetensors is there already, as mira@1; Mira {told}")
            assert asked(studio.db, weight, id=lora.id) == float(typed or 0.5)
