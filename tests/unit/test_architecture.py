"""What is loaded when: a subprocess tells which modules a front has imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ["torch", "diffusers", "transformers", "open_clip", "sklearn", "google.genai", "peft"]
ROOT = Path(__file__).parents[2]


def loaded_after(code: str) -> set[str]:
    """The modules that are loaded after this code in a fresh interpreter."""
    probe = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_loads_neither_textual_nor_anything_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['persona-tui', '--help']\n"
        "from persona_tui.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    loaded = loaded_after(code)
    assert not loaded & {"textual", "sqlalchemy", "sqlmodel", "psycopg", "pydantic", "PIL", "numpy", *HEAVY}


def test_the_app_is_imported_without_database_and_models() -> None:
    loaded = loaded_after("import persona_tui.app, persona_tui.screens.dashboard")
    assert "textual" in loaded
    assert not loaded & {"sqlalchemy", "sqlmodel", "psycopg", "PIL", "numpy", "httpx", *HEAVY}


def test_the_first_data_is_read_without_sqlalchemy_and_tables() -> None:
    loaded = loaded_after(
        "import persona_tui.screens.first_look, persona_tui.database.link, persona_tui.database.revision\n"
        "import persona_tui.services.planning.overview"
    )
    assert {"psycopg", "persona_tui.services.planning.gaps"} <= loaded
    assert not loaded & {"sqlalchemy", "sqlmodel", "persona_tui.models", "httpx", "numpy", "PIL", *HEAVY}


def test_the_core_needs_no_textual_and_nothing_heavy() -> None:
    loaded = loaded_after("import persona_tui.duties, persona_tui.headless.daemon")
    assert "persona_tui.services.publishing.publisher" in loaded
    assert not loaded & {"textual", *HEAVY}


def test_facts_of_base_models_need_nothing_heavy() -> None:
    loaded = loaded_after("from persona_tui.gpu.training.adapters import adapter_of")
    assert "persona_tui.gpu.training.families" in loaded
    assert not loaded & {"numpy", "PIL", *HEAVY}


def test_nothing_of_the_product_loads_the_sandbox() -> None:
    loaded = loaded_after(
        "import persona_tui.runtime, persona_tui.headless.scripted_day, persona_tui.cli.commands"
    )
    assert not {name for name in loaded if name.startswith("persona_tui.sandbox")}


@pytest.mark.parametrize("word", ["now()", "CURRENT_TIMESTAMP"])
def test_r07_sql_asks_the_one_clock(word: str) -> None:
    offenders = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("src/**/*.sql"), *ROOT.glob("alembic/sql/0001*")]
        if "sandbox" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if f" {word}" in f" {line}".replace("persona_now()", "").replace("`now()`", "")
        and ("SELECT" in line or "<" in line or "=" in line)
        and "datetime" not in line
        and ".now()" not in line
    ]
    assert offenders == []
