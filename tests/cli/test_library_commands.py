"""Clusters and search by commands."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from persona_tui.resources import Resources
from persona_tui.services.library.embeddings import current_model
from persona_tui.settings import load_settings
from tests.cli.conftest import Shell
from tests.cli.test_commands import told
from tests.support.space import make_subject, rows


def stock(shell: Shell, monkeypatch: Any) -> None:
    """Three subjects, as an import and its analyses leave them."""
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)
    with closing(Resources.open(load_settings())) as opened:
        model = current_model(opened.settings)
        with opened.database.session_scope() as session:
            for axis, count in enumerate((7, 6, 5)):
                make_subject(session, 1, axis, count)
            rows(session, "UPDATE embeddings SET model_hash = :hash RETURNING id", hash=model.hash)


def test_library_4_5_a_library_is_built_changed_and_searched_by_commands(
    peopled: Shell, monkeypatch: Any
) -> None:
    stock(peopled, monkeypatch)
    built = peopled("cluster", "build", "Mira", "--json").json
    assert [(one["name"], one["pictures"]) for one in built["made"]] == [
        ("Group 1", 7),
        ("Group 2", 6),
        ("Group 3", 5),
    ]
    assert peopled("cluster", "suggest", "Mira").out == "🎉 Nothing calls for a change.\n"
    assert "nobody is there to ask" in told(peopled, 1, "cluster", "merge", "Mira", "Group 2", "Group 3")
    merged = peopled("cluster", "merge", "Mira", "Group 2", "Group 3", "--yes", "--json").json
    assert (merged["name"], merged["pictures"]) == ("Group 2", 11)
    parts = peopled("cluster", "split", "Mira", "Group 2", "--json").json
    assert [(one["name"], one["pictures"]) for one in parts] == [("Group 2", 6), ("Group 2 2", 5)]
    assert peopled("cluster", "mark", "Mira", "Group 1", "--json").json["status"] == "unusable"
    assert peopled("cluster", "forecast", "Mira", "--json").json[0]["unposted"] == 7
    assert peopled("cluster", "review", "Mira", "--json").json == []

    like = peopled("photos", "search", "Mira", "--like", "photo 1", "--limit", "6", "--json").json
    assert {one["picture"]["ref"]["photo_id"] for one in like["found"]} == set(range(2, 8))
    assert (like["next_offset"], like["found"][0]["similarity"] > 0.8) == (6, True)
    inside = peopled("photos", "search", "Mira", "--cluster", "Group 2 2", "--unposted", "--json").json
    assert len(inside["found"]) == 5 and inside["next_offset"] is None
    assert "knows no words" in told(peopled, 1, "photos", "search", "Mira", "a cat")
    assert "names no picture" in told(peopled, 2, "photos", "search", "Mira", "--like", "12")
    assert "There is no photo 9999" in told(peopled, 2, "photos", "search", "Mira", "--like", "photo 9999")
    paged = peopled("photos", "search", "Mira", "--like", "photo 1", "--limit", "4", "--page", "2").out
    assert "--page 3 shows them" in paged
    few = peopled("photos", "list", "Mira", "--limit", "17", "--json")
    assert (len(few.json), "more than these 17" in few.err) == (17, True)
    assert "more than" not in peopled("photos", "list", "Mira", "--limit", "18").err
    assert "has performed" in told(peopled, 1, "photos", "search", "Mira", "--best")
