"""Settings: what the file, the environment and the caller say, and which of them wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from persona_tui.errors import SettingsError
from persona_tui.setting_sections import Section
from persona_tui.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def only_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No settings but a test's own; gives the place of the file."""
    for name in [name for name in os.environ if name.startswith("PERSONA_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "config.toml"
    monkeypatch.setenv("PERSONA_CONFIG_FILE", str(file))
    return file


def refused() -> str:
    with pytest.raises(SettingsError) as refusal:
        load_settings()
    return refusal.value.message


def test_without_file_and_environment_the_defaults_count() -> None:
    settings = load_settings()
    assert settings.comfyui.urls == ("http://127.0.0.1:8188",)
    assert settings.environment == "live"


def test_the_file_wins_over_defaults_and_the_environment_over_both(
    only_ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_ours.write_text('default_zone = "Europe/Berlin"\n[comfyui]\ndepth = 3\ntimeout = 5\n')
    monkeypatch.setenv("PERSONA_COMFYUI__DEPTH", "4")
    monkeypatch.setenv("PERSONA_COMFYUI__URLS", "http://a:1, http://b:2/")
    settings = load_settings()
    assert settings.default_zone == "Europe/Berlin"
    assert (settings.comfyui.depth, settings.comfyui.timeout) == (4, 5)
    assert settings.comfyui.urls == ("http://a:1", "http://b:2")


def test_names_are_read_in_any_case_and_empty_ones_set_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("persona_terminal__theme", "light")
    monkeypatch.setenv("PERSONA_GEMINI__API_KEY", "")
    monkeypatch.setenv("PERSONA_DATA_DIR", "")
    settings = load_settings()
    assert settings.terminal.theme == "light"
    assert settings.gemini.api_key is None
    assert "data_dir" not in settings.model_fields_set


def test_a_whole_table_is_json_and_its_single_fields_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERSONA_COMFYUI__DEPTH", "5")
    monkeypatch.setenv("PERSONA_COMFYUI", '{"depth": 3, "timeout": 7}')
    monkeypatch.setenv("PERSONA_KEYS", '{"global.quit": "ctrl+q"}')
    settings = load_settings()
    assert (settings.comfyui.depth, settings.comfyui.timeout) == (5, 7)
    assert settings.keys == {"global.quit": "ctrl+q"}


@pytest.mark.parametrize("value", ["{", "[1]", "3"])
def test_a_table_that_is_no_json_object_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("PERSONA_KEYS", value)
    assert refused().startswith("PERSONA_KEYS")


def test_an_unknown_name_in_a_table_is_refused_and_elsewhere_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PERSONA_OF_SOMEBODY_ELSE", "1")
    load_settings()
    monkeypatch.setenv("PERSONA_COMFYUI__DEEPTH", "4")
    assert refused() == "PERSONA_COMFYUI__DEEPTH: comfyui.deepth: there is no such setting."


def test_what_can_not_be_is_told_with_where_it_was_said(
    only_ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_ours.write_text("[comfyui]\ndepth = 99\n")
    assert refused().startswith(f"comfyui.depth in {only_ours}: comfyui.depth: ")
    monkeypatch.setenv("PERSONA_COMFYUI__DEPTH", "deep")
    assert refused().startswith("PERSONA_COMFYUI__DEPTH: comfyui.depth: ")


@pytest.mark.parametrize("content", [b"[comfyui", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(only_ours: Path, content: bytes) -> None:
    only_ours.write_bytes(content)
    assert refused().startswith(f"{only_ours} can't be read: ")


def test_every_setting_says_what_it_is() -> None:
    tables: list[type[Section]] = [Settings]
    for field in Settings.model_fields.values():
        if isinstance(field.default, Section):
            tables.append(type(field.default))
    assert len(tables) > 10
    nameless = [
        name for table in tables for name, field in table.model_fields.items() if not field.description
    ]
    assert nameless == []
