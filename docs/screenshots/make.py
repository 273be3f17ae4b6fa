"""Plays the demo and keeps the app's own pictures of its screens as SVG. Run by script/screenshots."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SIZES = {"": (120, 40), "-80x24": (80, 24), "-200x50": (200, 50)}


def main() -> None:
    """Make all pictures, or those whose names are given."""
    with tempfile.TemporaryDirectory(prefix="persona-shots-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        for name in [name for name in os.environ if name.startswith("PERSONA_")]:
            del os.environ[name]
        os.environ |= {"XDG_DATA_HOME": f"{folder}/data", "XDG_CONFIG_HOME": f"{folder}/config"}
        from persona_tui.headless.demo import demo_world
        from persona_tui.headless.scripted_day import play_once

        with demo_world(say) as settings:
            asyncio.run(play_once(settings, say=say))
            asyncio.run(play_once(settings, say=say))
            for suffix, size in SIZES.items():
                asyncio.run(take(settings, size, suffix))


def say(sentence: str) -> None:
    """Tell what is being done."""
    print(sentence, file=sys.stderr)


async def take(settings: Any, size: tuple[int, int], suffix: str) -> None:
    """Walk through the views at one size."""
    from persona_tui.app import PersonaApp

    app = PersonaApp(settings)
    async with app.run_test(size=size) as pilot:

        async def keep(name: str, *keys: str, wait: float = 2.0) -> None:
            await pilot.press(*keys)
            await pilot.pause(wait)
            (HERE / f"{name}{suffix}.svg").write_text(app.export_screenshot())
            say(f"{name}{suffix}.svg")

        await pilot.pause(6.0)
        await keep("dashboard")
        if not suffix:
            await keep("personas", "f2")
            await keep("ideas", "f3")
            await keep("clusters", "f7", wait=3.0)
            await keep("runs", "f4")
            await keep("gallery", "f6", wait=4.0)
            await keep("doctor", "f12", wait=4.0)
        await keep("posts", "f8", wait=3.0)
        await pilot.press("f3")
        await pilot.pause(1.0)
        await pilot.press("g")
        await pilot.pause(9.0)
        await keep("vote", wait=3.0)


if __name__ == "__main__":
    main()
