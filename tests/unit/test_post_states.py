"""The documentation's table of moves is the one that the database goes by, and no state is a dead end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from persona_tui.models.post import POST_STATES
from persona_tui.screens.posts_states import STATES

ROOT = Path(__file__).resolve().parents[2]


def test_publishing_1_the_documented_moves_are_those_of_the_table() -> None:
    assert subprocess.run([sys.executable, ROOT / "script" / "post-states", "--check"]).returncode == 0


def test_publishing_1_every_state_is_documented_and_shown() -> None:
    page = (ROOT / "docs" / "publishing.md").read_text("utf-8")
    explained = page.partition("What a post may do is data")[0]
    assert [state for state in POST_STATES if state.replace("_", " ") not in explained] == []
    assert set(STATES) == set(POST_STATES)
