"""Commands that work on a running demo: what they are told, and that it ends with the demo."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_tui.headless.demo import PERSONA, SCHEMA, demo_world, environment_file
from tests.cli.conftest import PROGRAM, Said
from tests.support.database import reachable_folder


@pytest.fixture
def home() -> Iterator[Path]:
    """A home of its own for the demo's folders."""
    with reachable_folder() as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
            patch.setenv(name, str(folder / name.lower()))
            (folder / name.lower()).mkdir()
        (folder / "xdg_data_home").chmod(0o711)
        yield folder


def shell(script: str) -> Said:
    """Run a script as a person types it in another terminal."""
    path = f"{Path(PROGRAM).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.long
def test_commands_of_another_terminal_work_on_the_running_demo(home: Path) -> None:
    with demo_world(lambda _sentence: None) as settings:
        assert environment_file().stat().st_mode & 0o777 == 0o600
        said = shell('eval "$(persona-tui demo --env)"; persona-tui persona list --json; env')
        assert said.code == 0, said.err
        listed, *variables = said.out.splitlines()
        assert [persona["name"] for persona in json.loads(listed)] == [PERSONA]
        told = dict(line.split("=", 1) for line in variables if line.startswith("PERSONA_"))
        assert told["PERSONA_DATA_DIR"] == str(settings.data_dir)
        assert told["PERSONA_CONFIG_DIR"] == str(settings.config_dir)
        assert (told["PERSONA_ENVIRONMENT"], told["PERSONA_DATABASE_SCHEMA"]) == ("sandbox", SCHEMA)
        said = shell('eval "$(persona-tui demo --env)"; persona-tui pipeline check no-model --json')
        assert said.code == 0, said.err  # the sandbox's server was asked, with its token
        asked = {step["endpoint"].rstrip("/") for step in said.json}
        assert asked == {told["PERSONA_COMFYUI__URLS"].rstrip("/")}
        second = shell("persona-tui demo --headless")
        assert second.code == 1 and "A demo is running already." in second.err
        reset = shell("persona-tui demo --reset")
        assert reset.code == 1 and "A demo is running." in reset.err
        said = shell('eval "$(persona-tui demo --env)" && persona-tui persona list --json')
        assert said.code == 0, said.err  # the first one is reached as before
        written = environment_file().read_text()
    environment_file().write_text(written)  # as one leaves it that is killed
    after = shell('eval "$(persona-tui demo --env)" && echo went on')
    assert (after.code, after.out) == (1, "")
    assert "No demo is running" in after.err and "script/demo" in after.err
    assert "Nothing was set" in after.err
