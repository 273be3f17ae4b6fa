"""What all tests share: an environment of their own, and one database that is empty before each test."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Generator, Iterator
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


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str) -> Generator[None, object, object]:
    """Leave the telling cases of a long sweep in the short run: those that `long(but=[...])` names.

    Raises:
        pytest.Collector.CollectError: a name or pattern fits no case, so that nothing of it would run.
    """
    made = yield
    cases = [item for item in made if isinstance(item, pytest.Function)] if isinstance(made, list) else []
    named = {word for item in cases for mark in item.own_markers for word in mark.kwargs.get("but", ())}
    ids = [item.callspec.id for item in cases if hasattr(item, "callspec")]
    stray = sorted(word for word in named if not any(_fits(case, word) for case in ids))
    if stray:
        raise collector.CollectError(f"long(but=...) of {name} names no case: {', '.join(stray)}. {ids}")
    for item in cases:
        but = [(mark, mark.kwargs.get("but", ())) for mark in item.own_markers]
        kept = [mark for mark, words in but if any(_fits(item.callspec.id, word) for word in words)]
        item.own_markers[:] = [mark for mark in item.own_markers if mark not in kept]
    return made


def _fits(case: str, word: str) -> bool:
    """Whether a case's id is that word, or fits it as a pattern."""
    return case == word or fnmatchcase(case, word)


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
