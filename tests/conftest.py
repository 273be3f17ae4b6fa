"""What all tests share: an environment of their own, and one database that is empty before each test."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from sqlmodel import Session

from persona_tui.database.engine import Database
from persona_tui.settings import Settings
from tests.support.database import (
    Sweeper,
    drop_schema,
    reachable_folder,
    sandbox_settings,
    throwaway_database,
)
from tests.support.foreign import ForeignServer, foreign_server

_patch = pytest.MonkeyPatch()
_home = tempfile.TemporaryDirectory(prefix="persona-home-", ignore_cleanup_errors=True)


def pytest_configure() -> None:
    """Cut the run off from the operator's own settings, data and keys."""
    for name in list(os.environ):
        kept = name == "PERSONA_DATABASE_URL" or name.startswith("PERSONA_TEST_")
        if name.startswith("PERSONA_") and not kept:
            _patch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        folder = Path(_home.name) / name.lower()
        folder.mkdir(mode=0o700, exist_ok=True)
        _patch.setenv(name, str(folder))
    _patch.setenv("HF_HUB_OFFLINE", "1")
    # Many tests start a program; without bytecode each of them compiles the whole product for seconds.
    _patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the telling cases of a long sweep in the short run: those that `long(but=[...])` names."""
    for item in items:
        case = getattr(item, "callspec", None)
        kept = [mark for mark in item.own_markers if case and _stays(case.id, mark.kwargs.get("but", ()))]
        item.own_markers[:] = [mark for mark in item.own_markers if mark not in kept]


def _stays(case: str, but: Sequence[str]) -> bool:
    return case in but or any(fnmatchcase(case, pattern) for pattern in but)


def pytest_collection_finish() -> None:
    """Collect garbage seldom: in a process that holds all tests and libraries it took a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def pytest_unconfigure() -> None:
    """Give the environment back."""
    _patch.undo()
    _home.cleanup()


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """The session's one database, migrated. Tests ask for `db` or `session`, which leave it clean."""
    with throwaway_database() as made:
        yield made


@pytest.fixture(scope="session")
def _sweeper(database: Database) -> Iterator[Sweeper]:
    sweeper = Sweeper(database)
    yield sweeper
    sweeper.close()


@pytest.fixture
def db(database: Database, _sweeper: Sweeper) -> Iterator[Database]:
    """A database with nothing in it but its seeds; what the test commits is swept away after it."""
    yield database
    _sweeper.sweep()


@pytest.fixture
def session(db: Database) -> Iterator[Session]:
    """A session of that database; what the test did not commit is rolled back."""
    with Session(db.engine) as opened:
        yield opened


@pytest.fixture(scope="session")
def foreign() -> Iterator[ForeignServer]:
    """An older PostgreSQL over TCP with passwords, where tests get databases of their own."""
    with foreign_server() as server:
        yield server


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings of a sandbox with a data folder and a configuration folder of their own."""
    with reachable_folder() as folder:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        made = sandbox_settings(folder)
        yield made
        drop_schema(made)
