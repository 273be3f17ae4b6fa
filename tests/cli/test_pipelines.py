"""Pipelines on the command line: import, set, edit, check, delete, and variables of runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_commands import told, told_by
from tests.support.sandbox import SandboxProcess


@pytest.fixture(scope="module")
def peopled(shell: Shell) -> Shell:
    """The installation with a persona."""
    assert shell("persona", "add", "Mira", "--age", "30").code == 0
    return shell


@pytest.mark.long
def test_pipelines_are_changed_edited_and_deleted_on_the_command_line(peopled: Shell, tmp_path: Path) -> None:
    workflow = {
        "1": {"class_type": "KSampler", "inputs": {"seed": "{{seed}}", "width": "{{width}}"}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "{{mood}}"}},
    }
    (tmp_path / "base.json").write_text(json.dumps(workflow))
    where = {"PERSONA_COMFYUI__URLS": "http://127.0.0.1:9"}
    said = peopled(
        "pipeline", "import", str(tmp_path / "base.json"), "--name", "Own", "--persona", "Mira", **where
    )
    assert said.code == 0, said.err
    shown = peopled("pipeline", "show", "own").out
    assert "{{width}}  whole number, set by each run  1.width" in shown
    assert peopled("pipeline", "set", "own", "--step", "1", "-n", "5", "--timeout", "90").code == 0
    assert (
        peopled("pipeline", "set", "own", "--name", "Mine", "--persona", "", "--json").json["name"] == "Mine"
    )
    for wrong in (
        ("-n", "3"),
        (),
        ("--step", "9", "-k", "1"),
        ("--cluster", "x"),
        ("--step", "1", "-n", "99"),
    ):
        told(peopled, 2, "pipeline", "set", "mine", *wrong)
    assert json.loads(peopled("pipeline", "export", "mine", "--step", "1").out) == workflow
    told(peopled, 2, "pipeline", "export", "mine", "--step", "2")

    run = peopled(
        "run", "create", "a bowl", "--pipeline", "mine", "--var", "width=64", "--var", "mood=1.10", "--json"
    )
    assert run.code == 0, run.err
    variables = peopled("run", "show", str(run.json["id"]), "--json").json["run"]["variables"]
    assert variables == {"width": 64, "mood": "1.10"}
    told(
        peopled, 2, "run", "create", "a bowl", "--pipeline", "mine", "--var", "width=wide", "--var", "mood=x"
    )
    told(peopled, 1, "pipeline", "delete", "mine", "--yes")
    told(peopled, 2, "pipeline", "delete", "nothing", "--yes")


@pytest.mark.long
def test_an_export_is_imported_under_its_own_name_and_a_folder_is_refused(
    peopled: Shell, tmp_path: Path
) -> None:
    exported = tmp_path / "mine.json"
    exported.write_text(peopled("pipeline", "export", "one-step").out)
    document = json.loads(exported.read_text())
    exported.write_text(json.dumps({**document, "name": "From its file"}))
    assert peopled("pipeline", "import", str(exported), "--json").json["name"] == "From its file"
    named = peopled("pipeline", "import", str(exported), "--name", "Told", "--json").json
    assert named["name"] == "Told"

    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps(document["steps"][0]["workflow"]))
    said = peopled("pipeline", "import", str(bare))
    assert "has no name" in told_by(said, 2) and "--name" in said.err

    said = peopled("pipeline", "import", str(tmp_path), "--name", "folder")
    assert "is a folder, and no workflow" in told_by(said, 2)
    assert "Name the files in it" in said.err


@pytest.mark.long
def test_k_is_refused_where_a_step_makes_fewer_and_warned_of_where_it_came_by_itself(peopled: Shell) -> None:
    def asked(*options: str) -> str:
        return told(peopled, 2, "run", "create", "a bowl", *options)

    one = ("--pipeline", "one-step")
    assert "K of step 1 can't be 9: the step makes 1 picture." in asked(*one, "-n", "1=1", "-k", "1=9")
    assert "K of step 2 can't be 5: the step makes 4 pictures." in asked("-k", "1=2", "-k", "2=5")
    assert "has not the form STEP=K." in asked("-k", "a")
    assert "has not the form STEP=K: 'x' is no number." in asked("-k", "1=x")
    assert "has not the form STEP=N." in asked("-n", "4")
    assert "has not the form NAME=VALUE." in asked("--var", "mood")
    assert peopled("run", "create", "a bowl", "-k", "1=2", "-k", "2=4").code == 0

    first = peopled("run", "create", "a bowl", "--json").json["id"]
    copy = peopled("pipeline", "export", "two-step").out
    change = ("pipeline", "set", "two-step", "--step", "1")
    assert "can't be 3" in told(peopled, 2, *change, "--top-k", "3", "--children", "2")
    assert "can't be 5" in told(peopled, 2, *change, "--top-k", "5")
    assert peopled("pipeline", "export", "two-step").out == copy
    assert peopled(*change, "--top-k", "2").code == 0
    assert "can't be 2: the step makes 1 picture" in told(peopled, 2, *change, "--children", "1")

    lowered = peopled("run", "create", "a bowl", "-n", "1=1", "--json")
    assert lowered.code == 0
    assert "Step 1 makes 1 picture, so at most 1 can go on, not 2." in lowered.err
    again = peopled("run", "clone", str(lowered.json["id"]), "--json")
    assert again.code == 0 and "at most 1 can go on" in again.err
    assert "Run" not in again.err
    newer = peopled("run", "clone", str(first))
    assert f"Run {first} was made by version 1 of two-step; its clone takes version 2." in newer.err
    assert peopled(*change, "--top-k", "1").code == 0


def test_a_pipeline_is_edited_in_the_editor_and_nothing_is_lost(peopled: Shell, tmp_path: Path) -> None:
    def editor(script: str) -> dict[str, str]:
        program = tmp_path / "editor"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return {"EDITOR": str(program), "VISUAL": ""}

    assert peopled("pipeline", "list").code == 0
    better = editor('sed -i \'s/"timeout": 600/"timeout": 77/\' "$1"')
    said = peopled("pipeline", "edit", "one-step", "--step", "1", "--json", **better)
    assert said.code == 0, said.err
    assert (said.json["version"], said.json["steps"][0]["timeout"]) == (2, 77)
    assert peopled("pipeline", "edit", "one-step", **editor("true")).err.startswith("Nothing was changed")

    worse = editor("echo '{ my work' > \"$1\"")
    said = peopled("pipeline", "edit", "one-step", **worse)
    assert "no JSON any more" in told_by(said, 2)
    kept = Path(said.err.rpartition("What you wrote is in ")[2].strip().removesuffix("."))
    assert kept.read_text() == "{ my work\n"
    kept.unlink()
    assert "ended with error 3" in told(peopled, 1, "pipeline", "edit", "one-step", **editor("exit 3"))
    missing = {"EDITOR": "no-such-editor", "VISUAL": ""}
    assert "no-such-editor" in told(peopled, 1, "pipeline", "edit", "one-step", **missing)
    told(peopled, 2, "pipeline", "edit", "one-step", "--step", "4", **better)


def test_an_editor_s_file_is_imported_by_what_a_server_declares(peopled: Shell, tmp_path: Path) -> None:
    nodes = [
        {"id": 1, "type": "EmptyImage", "widgets_values": ["{{width}}", 80, 1, "{{seed_color}}"],
         "outputs": [{"name": "IMAGE", "type": "IMAGE"}]},
        {"id": 2, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 1}]},
        {"id": 3, "type": "SaveImage", "widgets_values": ["x/{{job_id}}"],
         "inputs": [{"name": "images", "type": "IMAGE", "link": 2}]},
    ]  # fmt: skip
    links = [[1, 1, 0, 2, 0, "IMAGE"], [2, 2, 0, 3, 0, "IMAGE"]]
    file = tmp_path / "drawn.json"
    file.write_text(json.dumps({"nodes": nodes, "links": links, "version": 0.4}))
    nobody = {"PERSONA_COMFYUI__URLS": "http://127.0.0.1:9"}
    assert "needs a ComfyUI server" in told(
        peopled, 1, "pipeline", "import", str(file), "--name", "drawn", **nobody
    )
    sandbox = SandboxProcess(tmp_path / "sandbox")
    try:
        where = {"PERSONA_COMFYUI__URLS": sandbox.comfyui, "PERSONA_COMFYUI__API_KEY": sandbox.token}
        said = peopled("pipeline", "import", str(file), "--name", "drawn", **where)
        assert said.code == 0, said.err
        workflow = json.loads(peopled("pipeline", "export", "drawn", "--step", "1").out)
        assert workflow["1"]["inputs"] == {
            "width": "{{width}}", "height": 80, "batch_size": 1, "color": "{{seed_color}}",
        }  # fmt: skip
        assert workflow["3"]["inputs"] == {"images": ["1", 0], "filename_prefix": "x/{{job_id}}"}
        assert peopled("pipeline", "check", "drawn", **where).code == 0
        # One server that is away is a finding, not the end of the check.
        both = ("--endpoint", sandbox.comfyui, "--endpoint", "http://127.0.0.1:9")
        found = peopled("pipeline", "check", "no-model", "--json", *both, **where)
        assert found.code == 1
        assert [bool(step["findings"]) for step in found.json] == [False, False, True, True]
    finally:
        sandbox.stop()
