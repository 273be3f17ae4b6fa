"""A persona with a folder of LoRA files and a server that has a LoRA folder, and the view over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.events import Paste
from textual.pilot import Pilot

from persona_tui.database.engine import Database
from persona_tui.screens.file_picker import FilePicker
from persona_tui.screens.loras import LorasScreen
from persona_tui.services.generation.pipelines import ensure_examples
from persona_tui.services.loras.importing import LoraInput, import_loras
from persona_tui.services.loras.registry import LoraView
from persona_tui.setting_sections import ComfyUISettings
from tests.support.loras import SD15_KOHYA, write_lora
from tests.support.sandbox import SandboxProcess
from tests.support.world import Planned, make_plan
from tests.ui.quiet_core import QuietCore, app_over, until
from tests.ui.support import settle

SMALL, LARGE = (80, 24), (200, 50)


def quick_sandbox(folder: Path) -> Iterator[SandboxProcess]:
    """A sandbox that answers at once with small pictures, until it is asked for no more."""
    process = SandboxProcess(folder, arguments=("--latency", "0", "--image-size", "64x80"))
    yield process
    process.stop()


@dataclass
class Studio:
    """A persona, a folder of LoRA files, and a server with a LoRA folder."""

    db: Database
    folder: Path
    plan: Planned
    server: SandboxProcess

    @property
    def core(self) -> QuietCore:
        comfyui = ComfyUISettings(
            urls=(self.server.comfyui,), api_key=self.server.token, lora_dir=self.lora_dir
        )
        return QuietCore(self.db, self.folder, comfyui=comfyui)

    @property
    def lora_dir(self) -> Path:
        return self.server.state / "comfyui/models/loras"

    def file(self, name: str = "mira_v2.safetensors", **options: Any) -> Path:
        return write_lora(self.folder / "inbox", name, **{"layers": SD15_KOHYA, "width": 2048, **options})

    def imported(self, name: str = "mira.safetensors", *, use: bool = True, **options: Any) -> LoraView:
        path = self.file(name, **options)
        given = LoraInput(persona_id=self.plan.persona_id, use=use)
        (done,) = import_loras(self.db.session_scope, self.core._opened.lora_shelf, [path], given)
        assert done.lora is not None, done.sentence
        return done.lora


def studio_of(db: Database, folder: Path, server: SandboxProcess) -> Studio:
    """A studio with a persona's plan and the example pipelines."""
    with db.session_scope() as session:
        plan = make_plan(session)
        ensure_examples(session)
    return Studio(db, folder, plan, server)


@asynccontextmanager
async def opened(studio: Studio, size: tuple[int, int] = SMALL) -> AsyncIterator[Pilot[None]]:
    async with app_over(studio.core).run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press("f10")
        await settle(pilot)
        yield pilot


def screen(pilot: Pilot[None]) -> LorasScreen:
    return next(one for one in pilot.app.screen_stack if isinstance(one, LorasScreen))


async def type_path(pilot: Pilot[None], words: str) -> FilePicker:
    """Paste into the picker's line and press Enter."""
    await until(pilot, lambda: isinstance(pilot.app.screen, FilePicker))
    picker = pilot.app.screen
    assert isinstance(picker, FilePicker)
    await pilot.press("ctrl+a", "ctrl+e", "ctrl+u")
    pilot.app.post_message(Paste(words))
    await pilot.pause()
    await pilot.press("enter")
    await settle(pilot)
    return picker
