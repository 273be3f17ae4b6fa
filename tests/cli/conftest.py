"""Commands as a person types them: real processes, an installation of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from persona_tui.cli import main
from persona_tui.resources import Resources
from persona_tui.settings import load_settings
from tests.support.database import drop_schema, reachable_folder, sandbox_settings
from tests.support.prepared import lay_prepared

PROGRAM = str(Path(sys.executable).with_name("persona-tui"))


@dataclass(frozen=True)
class Said:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


@dataclass
class Shell:
    """A shell in which persona-tui works on one installation.

    Called, it runs the command inside this process, which saves an interpreter's start for each of many;
    `real` runs it as a process of its own.
    """

    environment: dict[str, str]

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Said:
        """Run a command; its streams are no terminal."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("PERSONA_")]:
                patch.delenv(name)
            for name, value in {**self.environment, **environment}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["persona-tui", *arguments])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            with redirect_stdout(out), redirect_stderr(err):
                code = _exit_code()
        return self._said(code, out.getvalue(), err.getvalue())

    def real(self, *arguments: str, **environment: str) -> Said:
        """Run a command as a process; its streams are pipes."""
        done = subprocess.run(
            [PROGRAM, *arguments],
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return self._said(done.returncode, done.stdout, done.stderr)

    def _said(self, code: int, out: str, err: str) -> Said:
        assert "Traceback" not in err + out, err
        return Said(code, out, err)


def _exit_code() -> int:
    try:
        main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


@pytest.fixture(scope="module")
def prepared() -> bool:
    """Whether the module's installation has its tables already; a module can say that its own has nothing."""
    return True


@pytest.fixture(scope="module")
def shell(prepared: bool) -> Iterator[Shell]:
    """One installation for the module; its embedded database is kept running meanwhile."""
    with reachable_folder() as folder:
        settings = sandbox_settings(folder)
        if prepared:
            lay_prepared(settings)
        environment = {
            **os.environ,
            "PERSONA_DATA_DIR": str(settings.data_dir),
            "PERSONA_CONFIG_DIR": str(folder / "config"),
            "PERSONA_CONFIG_FILE": str(folder / "config.toml"),
            "PERSONA_DATABASE_SCHEMA": settings.database_schema,
            "PERSONA_ENVIRONMENT": "sandbox",
            "PERSONA_COMFYUI__URLS": "http://127.0.0.1:9",
            "PERSONA_INSTAGRAM__BASE_URL": "http://127.0.0.1:9",
        }
        keeper = subprocess.Popen([PROGRAM, "db", "serve"], env=environment, stderr=subprocess.PIPE)
        try:
            assert keeper.stderr is not None
            assert b"runs" in keeper.stderr.readline()
            yield Shell(environment)
        finally:
            keeper.terminate()
            keeper.wait(30)
            if keeper.stderr is not None:
                keeper.stderr.close()
            drop_schema(settings)


@pytest.fixture(scope="module")
def peopled(shell: Shell) -> Shell:
    """An installation with a persona and a cluster."""
    assert shell("persona", "add", "Mira", "--age", "31", "--zone", "Europe/Lisbon").code == 0
    assert shell("pillar", "add", "Mira", "Studio", "--weight", "60").code == 0
    return shell


@pytest.fixture
def inside(peopled: Shell) -> Iterator[Callable[[], Any]]:
    """What the leading process would do, in the shell's installation."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in peopled.environment.items():
            patch.setenv(name, value)

        @contextmanager
        def opened() -> Iterator[Resources]:
            with Resources.open(load_settings()) as resources:
                yield resources

        yield opened
