"""The log as it grows, the settings without their secrets, and the views of what is still to come."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.log_tail import LogTail
from persona_tui.setting_rows import MASK, setting_rows
from persona_tui.settings import Settings
from persona_tui.widgets.reader import TextDialog
from tests.ui.support import TinyCore, screen_text, settle

MakeApp = Callable[..., PersonaApp]


def line(event: str, level: str = "info", **fields: Any) -> str:
    first = {"timestamp": "2026-03-14T11:00:00Z", "level": level, "event": event, "logger": "test"}
    return json.dumps({**first, **fields}) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "logs" / "persona-tui.log"
    path.parent.mkdir()
    return path


def events(tail: LogTail) -> list[str]:
    return [entry.event for entry in tail.read_new()]


def test_the_tail_reads_each_line_once_and_waits_for_its_end(log: Path) -> None:
    tail = LogTail(log)
    assert tail.read_new() == []
    log.write_text(line("one"))
    assert events(tail) == ["one"]
    second = line("two")
    with log.open("a") as file:
        file.write(second[:20])
        file.flush()
        assert events(tail) == []
        file.write(second[20:] + line("three"))
    assert events(tail) == ["two", "three"]
    assert events(tail) == []


def test_the_tail_follows_a_rotation(log: Path) -> None:
    tail = LogTail(log)
    log.write_text(line("one"))
    tail.read_new()
    log.rename(log.with_suffix(".log.1"))
    log.write_text(line("two"))
    assert events(tail) == ["two"]


def test_the_tail_of_a_long_log_begins_with_a_whole_line(log: Path) -> None:
    log.write_text("".join(line(f"event {n}") for n in range(20_000)))
    read = events(LogTail(log))
    assert 1000 < len(read) < 20_000
    assert read[-1] == "event 19999"
    assert read[0] == f"event {20_000 - len(read)}"


def test_what_is_no_json_is_shown_as_it_is_without_control_characters(log: Path) -> None:
    log.write_bytes(
        b"not json \x1b[31m\xff\n[1, 2]\n" + line("x\x1b]0;title\x07y", note="a\x1b[2Jb").encode()
    )
    first, second, third = LogTail(log).read_new()
    assert "\x1b" not in first.event and first.event.startswith("not json")
    assert second.event == "[1, 2]"
    assert third.event == "xy"
    assert third.details == {"note": "ab"}


async def test_the_log_is_followed_filtered_and_opened(app: PersonaApp, log: Path) -> None:
    log.write_text(
        line("engine waits") + line("comfyui is away", "warning", endpoint="a") + line("hidden", "debug")
    )
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f11")
        await settle(pilot)
        text = screen_text(pilot)
        assert "engine waits" in text and "comfyui is away" in text
        assert "hidden" not in text
        assert "12:00:00" in text  # the persona's time
        with log.open("a") as file:
            file.write(line("tick failed", "error", exception="Traceback …"))
        for _ in range(60):
            await pilot.pause(0.05)
            if "tick failed" in screen_text(pilot):
                break
        await pilot.press("v")
        await pilot.pause()
        text = screen_text(pilot)
        assert "engine waits" not in text and "comfyui is away" in text
        assert "warning and graver" in text
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, TextDialog)
        assert "exception: Traceback …" in screen_text(pilot)


async def test_a_log_that_stands_still_keeps_the_cursor(app: PersonaApp, log: Path) -> None:
    log.write_text("".join(line(f"event {n}") for n in range(50)))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f11")
        await settle(pilot)
        assert "event 49" in screen_text(pilot)
        await pilot.press("f", "home")
        with log.open("a") as file:
            file.write(line("event 50"))
        app.screen._look()  # type: ignore[attr-defined]
        await settle(pilot)
        assert "event 0 " in screen_text(pilot)
        assert "event 50" not in screen_text(pilot)


def test_no_secret_is_among_the_setting_rows(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database_url="postgresql://me:hunter2@db/persona",
        gemini={"api_key": "AIza-hunter2"},
        instagram={"app_secret": "insta-hunter2", "base_url": "https://user:hunter2@proxy.example/x"},
        notify={"dead_man_url": "https://hc.example/hunter2?token=hunter2"},
    )
    rows = {row.name: row for row in setting_rows(settings, {"PERSONA_GEMINI__API_KEY": "x"})}
    shown = " ".join(row.value for row in rows.values())
    assert "hunter2" not in shown
    assert rows["database_url"].value == MASK
    assert rows["gemini.api_key"].origin == "PERSONA_GEMINI__API_KEY"
    assert rows["instagram.base_url"].value == f"https://{MASK}@proxy.example/x"
    assert rows["notify.dead_man_url"].value == f"https://hc.example/{MASK}"
    assert rows["backup.keep"].value == "5"
    assert rows["backup.keep"].origin == "default"
    assert rows["instagram.base_url"].origin == "set"
    assert all(row.about for row in rows.values())


async def test_the_doctor_looks_at_the_real_database(
    make_app: MakeApp, core: TinyCore, database: Database
) -> None:
    core.database = database  # type: ignore[assignment]
    app = make_app(comfyui={"urls": "http://127.0.0.1:9"})
    async with app.run_test(size=(200, 50)) as pilot:
        await pilot.press("f12")
        await settle(pilot)
        text = screen_text(pilot)
        assert "PostgreSQL" in text
        assert "✅ works" in text
        assert "data_dir" in text
        await pilot.press("enter")
        await pilot.pause()
        assert "Folder of everything the program keeps" in screen_text(pilot)
