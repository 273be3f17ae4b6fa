"""The first frame is painted before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, sys
from pathlib import Path
from persona_tui.app import PersonaApp
from persona_tui.errors import PersonaError
from persona_tui.settings import Settings

HEAVY = ("sqlalchemy", "sqlmodel", "psycopg", "PIL", "httpx", "numpy", "torch", "structlog", "sklearn",
         "apscheduler", "procrastinate", "google", "starlette", "persona_tui.models", "persona_tui.services",
         "persona_tui.clients")
loaded = []
ready = []

def core(say):
    ready.append(app._dom_ready)
    loaded.extend(name for name in HEAVY if name in sys.modules)
    raise PersonaError("enough")

app = PersonaApp(Settings(data_dir=Path(sys.argv[1])), core_factory=core)

async def main():
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(200):
            if ready:
                break
            await pilot.pause(0.02)

asyncio.run(main())
print(ready, loaded)
"""


def test_nothing_heavy_is_loaded_before_the_first_frame(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[True] []"
