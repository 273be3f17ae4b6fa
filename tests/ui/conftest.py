"""A shell over a tiny core, in a folder of its own; and no failure that goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from persona_tui.app import PersonaApp
from persona_tui.database.engine import Database
from persona_tui.screens.core_link import CoreLink
from persona_tui.services.media import MediaStore
from persona_tui.settings import Settings
from tests.support.world import Planned, make_plan
from tests.ui.quiet_core import QuietCore
from tests.ui.studio import Studio
from tests.ui.style_cache import parsed_once
from tests.ui.support import TinyCore

NOON = datetime(2026, 3, 14, 12, 30, 15, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def _styles() -> Iterator[None]:
    with parsed_once():
        yield


@pytest.fixture(autouse=True)
def unforeseen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Errors that the app survived but nobody foresaw; a test that expects some clears the list."""
    found: list[BaseException] = []
    monkeypatch.setattr(CoreLink, "_log_failure", lambda _self, error: found.append(error))
    yield found
    if found:
        raise found[0]


@pytest.fixture
def core() -> TinyCore:
    return TinyCore()


@pytest.fixture
def make_app(tmp_path: Path, core: TinyCore, monkeypatch: pytest.MonkeyPatch) -> Callable[..., PersonaApp]:
    """Makes apps over the tiny core; keyword arguments are settings."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)

    def make(**values: Any) -> PersonaApp:
        settings = Settings(data_dir=tmp_path, **values)
        return PersonaApp(settings, core_factory=lambda _say: core, now=lambda: NOON)  # type: ignore[arg-type,return-value]

    return make


@pytest.fixture
def app(make_app: Callable[..., PersonaApp]) -> PersonaApp:
    return make_app()


@pytest.fixture
def quiet_core(db: Database, tmp_path: Path) -> QuietCore:
    """A real core at rest over the test's own database."""
    return QuietCore(db, tmp_path)


@pytest.fixture
def studio(quiet_core: QuietCore) -> Studio:
    """Makes the pictures that runs wait for, in that core's store."""
    return Studio(MediaStore(quiet_core.settings))


@pytest.fixture
def plan(db: Database) -> Planned:
    """A persona with a pillar and a cluster."""
    with db.session_scope() as session:
        return make_plan(session)
