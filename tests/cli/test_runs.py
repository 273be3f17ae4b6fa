"""Runs by commands from their creation to their end and after it: gates, night, winner, tree, deletion."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlmodel import Session

from persona_tui.models.pipeline import ComfyuiJob, ImageCandidate
from persona_tui.resources import Resources
from persona_tui.services.generation.night import Night
from tests.cli.conftest import Shell
from tests.cli.test_commands import told
from tests.database.growing import grow


def make_pictures(inside: Callable[[], Any], run: str) -> list[int]:
    """Fill every place that can be filled, with pictures that are files; returns the new ones of this run."""
    with inside() as resources, resources.database.session_scope() as session:
        made = grow(session)
        for candidate in made:
            _give_file(session, resources, candidate)
        mine = [one for one in made if session.get_one(ImageCandidate, one).run_id == int(run)]
    return sorted(mine)


def _give_file(session: Session, resources: Resources, candidate: int) -> None:
    out = io.BytesIO()
    Image.new("RGB", (64, 80), (candidate % 256, 90, 120)).save(out, "PNG")
    stored = resources.media.put(out.getvalue())
    row = session.get_one(ImageCandidate, candidate)
    row.media_key, row.sha256 = stored.key, stored.sha256
    session.add(row)


def new_run(shell: Shell, *options: str) -> str:
    said = shell("run", "create", "a bowl", "--persona", "Mira", *options, "--json")
    assert said.code == 0, said.err
    return str(said.json["id"])


def test_a_run_goes_from_its_gate_to_its_winner_and_back(peopled: Shell, inside: Callable[[], Any]) -> None:
    run = new_run(peopled)
    assert "no picture that could go on" in told(peopled, 1, "run", "approve", run)
    assert peopled("run", "show", run, "--json").json["gate"] is None
    pictures = make_pictures(inside, run)
    shown = peopled("run", "show", run, "--json").json
    assert (shown["gate"]["cost"], shown["gate"]["rest_pictures"]) == (2, 2)
    assert f"gate: {pictures[0]} would go on (K = 1)" in peopled("run", "show", run).out
    assert "then 2 pictures (time not known yet) in the next step" in peopled("run", "show", run).out

    warned = peopled("run", "approve", run)
    assert warned.code == 1 and "4 of 4 pictures have fewer than 5 votes." in warned.err
    assert "--yes" in warned.err and warned.out == ""
    done = peopled("run", "approve", run, "--yes", "--json")
    assert (done.code, done.json["candidate_ids"], done.json["opened"]) == (0, pictures[:1], 2)
    assert peopled("run", "unapprove", run, "--json").json["withdrawn"] == 2
    assert "No step of run" in told(peopled, 1, "run", "unapprove", run)
    assert "has no step 9" in told(peopled, 2, "run", "unapprove", run, "9")

    assert peopled("run", "approve", run, "-k", "2", "--yes").out.startswith(
        "✅ Step 1 is approved with 2; 4 pictures"
    )
    children = make_pictures(inside, run)
    assert f"gate: {children[0]} would win\n" in peopled("run", "show", run).out
    assert peopled("candidate", "list", run).out.count("would win") == 1
    assert "made from it already" in told(peopled, 1, "run", "unapprove", run, "1")
    assert peopled("run", "reject", str(children[0])).out == "✅ 1 picture is rejected.\n"
    assert peopled("run", "unreject", str(children[0]), "--json").json["candidate_ids"] == [children[0]]
    assert peopled("run", "winner", str(children[1]), "--json").json["candidate_id"] == children[1]
    assert peopled("run", "winner", str(children[2]), "--json").json["replaced_id"] == children[1]
    assert peopled("run", "show", run, "--json").json["gate"] is None
    assert "is completed" in told(peopled, 1, "run", "pause", run)
    assert peopled("run", "unchoose", run, "--json").json["candidate_id"] == children[2]
    assert "has no winner" in told(peopled, 1, "run", "unchoose", run)
    approved = peopled("run", "approve", run, "--yes")
    assert approved.code == 0 and "wins" in approved.out
    assert [one["id"] for one in peopled("run", "list", "--status", "completed", "--json").json] == [int(run)]
    told(peopled, 2, "run", "list", "--status", "sleeping")


@pytest.mark.long
def test_a_tree_shows_what_grew_from_what(peopled: Shell, inside: Callable[[], Any]) -> None:
    run = new_run(peopled)
    roots = make_pictures(inside, run)
    peopled("run", "approve", run, "--yes")
    children = make_pictures(inside, run)
    peopled("run", "reject", str(children[1]))

    said = peopled("run", "tree", run)
    found = peopled("run", "tree", run, "--candidate", str(children[0]), "--json").json

    lines = said.out.splitlines()
    assert lines[0] == f"├─ {roots[0]}  base  1000  → goes on as number 1"
    assert lines[1] == f"│  ├─ {children[0]}  refine  1000"
    assert lines[2] == f"│  └─ {children[1]}  refine  1000  ❌ rejected"
    assert lines[-1].startswith(f"└─ {roots[3]}  ")
    assert [one["id"] for one in found["lineage"]] == [roots[0], children[0]]
    assert [one["id"] for one in found["tree"]] == [children[0]]
    way = peopled("run", "tree", run, "--candidate", str(children[0])).out.splitlines()
    assert way[0].startswith(f"1. base: picture {roots[0]}, rating 1000, seed ")
    assert "not one of this run's" in told(peopled, 2, "run", "tree", run, "--candidate", "99999")
    told(peopled, 2, "run", "tree", "99999")


@pytest.mark.long
def test_several_pictures_are_flagged_and_rejected_and_the_best_of_each_run_are_listed(
    peopled: Shell, inside: Callable[[], Any]
) -> None:
    run = new_run(peopled)
    roots = make_pictures(inside, run)
    first, second, third, fourth = map(str, roots)

    assert peopled("candidate", "flag", first, second, "--json").json == {
        "pictures": roots[:2],
        "flagged": True,
    }
    assert peopled("candidate", "unflag", second).out == f"✅ Picture {second} is no longer flagged.\n"
    states = peopled("run", "show", run, "--json").json["candidates"]
    assert {one["id"] for one in states if one["flagged"]} == {roots[0]}
    assert "99999" in told(peopled, 2, "candidate", "flag", first, "99999")

    assert peopled("candidate", "reject", third, first, "--json").json["candidate_ids"] == [
        roots[0],
        roots[2],
    ]
    assert "already" in peopled("candidate", "reject", first, third).out
    podium = peopled("run", "winners", "--json").json[0]
    assert (podium["run_id"], podium["decided"], podium["pictures"]) == (int(run), False, 2)
    assert [one["candidate_id"] for one in podium["places"]] == [roots[1], roots[3]]
    assert all(Path(one["path"]).exists() for one in podium["places"])
    assert f"🥇 picture {second}, rating 1000" in peopled("run", "winners", "--limit", "1").out
    assert "99999" in told(peopled, 2, "candidate", "reject", second, "99999")
    assert (
        peopled("candidate", "restore", first, third).out
        == f"✅ Pictures {first} and {third} are restored.\n"
    )
    assert len(peopled("run", "winners", "--json").json[0]["places"]) == 3
    assert peopled("run", "winners", "--persona", "Nobody").code == 2
    assert fourth in peopled("run", "tree", run).out


@pytest.mark.long
def test_a_picture_s_provenance_is_told(peopled: Shell, inside: Callable[[], Any]) -> None:
    run = new_run(peopled, "--seed", "7")
    first = make_pictures(inside, run)
    assert peopled("run", "approve", run, "--yes").code == 0
    child = make_pictures(inside, run)[0]
    sent = {"1": {"class_type": "KSampler", "inputs": {"seed": 7, "text": "a bowl, ä"}}}
    with inside() as resources, resources.database.session_scope() as session:
        job = session.get_one(ComfyuiJob, session.get_one(ImageCandidate, child).job_id)
        job.workflow, job.variables = sent, {"mood": "calm"}
        session.add(job)

    told_ = peopled("candidate", "show", str(child), "--json").json
    written = json.dumps(sent, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert told_["workflow_sha256"] == hashlib.sha256(written.encode()).hexdigest()
    assert "workflow" not in told_ and told_["variables"] == {"mood": "calm"}
    assert (told_["endpoint"], told_["pipeline"], told_["pipeline_version"]) == ("http://one", "two-step", 1)
    assert told_["seed"] == told_["candidate"]["seed"]
    assert [one["id"] for one in told_["lineage"]] == [told_["candidate"]["parent_id"], child]
    assert told_["lineage"][0]["id"] in first and Path(told_["path"]).exists()
    assert peopled("candidate", "show", str(child), "--json", "--workflow").json["workflow"] == sent
    assert json.loads(peopled("candidate", "show", str(child), "--workflow").out) == sent
    lines = peopled("candidate", "show", str(child)).out
    for words in (
        told_["workflow_sha256"],
        "variable: mood = calm",
        "server: http://one",
        "duration: not known",
    ):
        assert words in lines
    assert "99999" in told(peopled, 2, "candidate", "show", "99999")


@pytest.mark.long
def test_a_run_rests_ends_opens_again_and_is_deleted_with_its_files(
    peopled: Shell, inside: Callable[[], Any]
) -> None:
    run = new_run(peopled)
    make_pictures(inside, run)
    paths = [Path(one["path"]) for one in peopled("run", "show", run, "--json").json["candidates"]]
    assert peopled("run", "pause", run, "--json").json["status"] == "paused"
    assert peopled("run", "resume", run, "--json").json["status"] == "waiting"
    assert "it has not ended" in told(peopled, 1, "run", "reopen", run)
    for consent in ((), ("--yes",)):
        refused = peopled("run", "delete", run, *consent)
        assert refused.code == 1 and f"Cancel it first: `persona-tui run cancel {run}`." in refused.err
    assert peopled("run", "cancel", run, "--json").json["status"] == "cancelled"
    listed = peopled("run", "list", "--status", "cancelled", "--json").json[0]
    assert (listed["id"], listed["reason"]) == (int(run), "The operator cancelled it.")
    assert peopled("run", "reopen", run, "--json").json["status"] == "waiting"
    assert peopled("run", "cancel", run).code == 0
    assert "nobody can be asked" in told(peopled, 1, "run", "delete", run)
    assert len(paths) == 4 and all(path.exists() for path in paths)

    gone = peopled("run", "delete", run, "--yes", "--json")

    assert (gone.code, gone.json["pictures"], gone.json["files"]) == (0, 4, 4), gone.err
    assert not any(path.exists() for path in paths)
    told(peopled, 2, "run", "show", run)
    told(peopled, 2, "run", "delete", run, "--yes")


@pytest.mark.long
def test_the_night_is_set_shown_and_taken_back(peopled: Shell, inside: Callable[[], Any]) -> None:
    run = new_run(peopled, "--night", "sure", "-k", "1=4")
    assert peopled("run", "night", run, "--json").json["night"] == "sure"
    assert "night mode: passes gates once the ranking is sure" in peopled("run", "show", run).out
    said = peopled("run", "night", run, "--at", "2026-01-01T23:00", "--json").json
    assert said["night_at"] == "2026-01-01T23:00:00+00:00"
    make_pictures(inside, run)
    assert "passed no gate" in told(peopled, 1, "run", "undo-night", run)
    with inside() as resources:
        assert int(run) in Night(resources.database.session_scope, resources.media).tick()

    assert "approved by night mode: All 4 pictures go on." in peopled("run", "show", run).out
    children = make_pictures(inside, run)
    undone = peopled("run", "undo-night", run, "--json").json

    assert (undone["steps"], set(undone["rejected"])) == ([1], set(children))
    assert peopled("run", "night", run).out == f"✅ Night mode of run {run}: off.\n"
    assert peopled("run", "night", run, "--sure").out.endswith("once the ranking is sure.\n")
    for wrong in (("--at", "25:99"), ("--at", "tonight"), ("--sure", "--off")):
        told(peopled, 2, "run", "night", run, *wrong)
    told(peopled, 2, "run", "create", "a bowl", "--night", "soon")
    again = peopled("run", "clone", run, "--night", "2026-06-01T23:00", "--json").json
    assert (again["night"], again["night_at"]) == ("at", "2026-06-01T22:00:00+00:00")
    assert peopled("run", "clone", run, "--json").json["night"] == "off"
