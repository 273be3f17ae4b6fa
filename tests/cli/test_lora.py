"""LoRAs by commands: brought in, used, picked for runs, tried on a server, removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from persona_tui.resources import Resources
from persona_tui.services.loras.watching import LoraWatcher
from persona_tui.settings import load_settings
from tests.cli.conftest import Said, Shell
from tests.support.loras import FLUX_DIFFUSERS, PEFT, SD15_KOHYA, write_lora, write_sidecar
from tests.support.sandbox import SandboxProcess


@pytest.fixture(scope="module")
def studio(shell: Shell) -> Shell:
    """An installation with two personas."""
    for name in ("Mira", "Nils"):
        assert shell("persona", "add", name, "--age", "31").code == 0
    return shell


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    process = SandboxProcess(
        tmp_path_factory.mktemp("sandbox"), arguments=("--latency", "0", "--image-size", "64x80")
    )
    yield process
    process.stop()


def connected(server: SandboxProcess) -> dict[str, str]:
    return {
        "PERSONA_COMFYUI__URLS": server.comfyui,
        "PERSONA_COMFYUI__API_KEY": server.token,
        "PERSONA_COMFYUI__LORA_DIR": str(server.state / "comfyui/models/loras"),
    }


def refused(said: Said, code: int, words: str) -> None:
    """A sentence and a hint on stderr, nothing on stdout."""
    assert (said.code, said.out) == (code, ""), said
    sentence, hint = said.err.strip().splitlines()[-2:]
    assert sentence.startswith("❌ ") and words in sentence, said.err
    assert len(hint.strip()) > 10


def test_a_lora_comes_in_is_used_shown_and_goes(studio: Shell, tmp_path: Path) -> None:
    path = write_lora(tmp_path, "ink.safetensors", fill=1)
    write_sidecar(path, trigger_word="inkwash", type="style", weight=0.6)
    said = studio("lora", "import", str(path), "--json")
    assert said.json["counts"] == {"imported": 1, "already there": 0, "failed": 0}
    assert said.json["files"][0]["lora"]["trigger_word"] == "inkwash"

    assert "Mira uses ink@1 at 0.6, primary." in studio("lora", "use", "Mira", "ink").out
    assert (
        "Nils uses ink@1 at 0.25."
        in studio("lora", "use", "Nils", "ink@1", "--weight", "0.25", "--not-primary").out
    )
    (row,) = [
        row for row in studio("lora", "list", "--persona", "Nils", "--json").json if row["name"] == "ink"
    ]
    assert (row["file"], [user["persona"] for user in row["users"]]) == ("there", ["Mira", "Nils"])
    assert "Mira 0.6 primary, Nils 0.25" in studio("lora", "list").out
    shown = studio("lora", "show", "ink")
    assert "ink@1: style, flux" in shown.out and "inkwash" in shown.out

    for name in ("Mira", "Nils"):
        assert studio("lora", "unuse", name, "ink").code == 0
    refused(studio("lora", "unuse", "Mira", "ink"), 1, "does not use ink@1")
    file = Path(studio("lora", "show", "ink", "--json").json["path"])
    assert file.is_file()
    refused(studio("lora", "remove", "ink"), 1, "nobody is there to ask")
    assert studio("lora", "remove", "ink", "--yes").code == 0
    assert not file.exists()
    refused(studio("lora", "show", "ink"), 2, "There is no LoRA ink")


@pytest.mark.long
def test_bad_files_and_values_are_told(studio: Shell, tmp_path: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"PK\x03\x04")
    said = studio("lora", "import", str(broken))
    assert said.code == 2 and "its head does not fit" in said.err and "Get the file again" in said.err
    write_lora(tmp_path, "fine.safetensors", fill=2)
    assert studio("lora", "import", str(tmp_path)).code == 1
    good = str(tmp_path / "fine.safetensors")
    refused(studio("lora", "import", "/nowhere/x.safetensors"), 2, "/nowhere/x.safetensors")
    refused(studio("lora", "import", str(tmp_path / "x.ckpt")), 2, "x.ckpt")
    refused(studio("lora", "import", good, "--type", "person"), 2, "Model type")
    refused(studio("lora", "import", good, "--family", "mystery"), 2, "is no family")
    refused(studio("lora", "import", good, "--persona", "Nobody"), 2, "Nobody")
    assert studio("lora", "import", good, "--weight", "2").code == 2


@pytest.mark.long
def test_runs_take_the_personas_loras_or_others(studio: Shell, tmp_path: Path) -> None:
    own = write_lora(tmp_path, "face.safetensors", layers=SD15_KOHYA, width=2048, fill=3)
    flux = write_lora(tmp_path, "other.safetensors", layers=FLUX_DIFFUSERS, fill=4)
    assert studio("lora", "import", str(own), "--persona", "Mira", "--weight", "0.7").code == 0
    assert studio("lora", "import", str(flux)).code == 0

    def loras(*options: str) -> list[tuple[str, float]]:
        said = studio("run", "create", "tea", "--persona", "Mira", "--json", *options)
        assert said.code == 0, said.err
        found = studio("run", "show", str(said.json["id"]), "--json").json["run"]["loras"]
        return [(one["name"], one["weight"]) for one in found]

    assert loras() == [("face", 0.7)]
    assert loras("--no-loras") == []
    assert loras("--lora", "face@1:0.3") == [("face", 0.3)]
    said = studio("run", "create", "tea", "--persona", "Mira", "--lora", "other", "--lora", "face", "--json")
    assert "other@1 is not used: the LoRA is for flux, the workflow for sdxl." in said.err
    shown = studio("run", "show", str(said.json["id"])).out
    assert "LoRA 1: face@1 at 0.7 (character, sdxl)" in shown
    assert "⚠️  other@1 is not used" in shown
    clone = studio("run", "clone", str(said.json["id"]), "--lora", "face:0.1", "--json")
    assert studio("run", "show", str(clone.json["id"]), "--json").json["run"]["loras"][0]["weight"] == 0.1

    refused(studio("run", "create", "tea", "--lora", "face:2"), 2, "is no weight")
    refused(studio("run", "create", "tea", "--lora", "face"), 2, "another persona's likeness")
    refused(studio("run", "create", "tea", "--lora", "none"), 2, "There is no LoRA none")
    refused(studio("run", "create", "tea", "--lora", "face", "--no-loras"), 2, "contradict")
    refused(studio("lora", "remove", "face", "--yes"), 1, "was used by")


@pytest.mark.long
def test_a_lora_is_tried_on_a_server(studio: Shell, server: SandboxProcess, tmp_path: Path) -> None:
    path = write_lora(tmp_path, "seen.safetensors", layers=SD15_KOHYA, width=2048, fill=5)
    assert studio("lora", "import", str(path), "--persona", "Nils").code == 0
    out = tmp_path / "pictures" / "seen.png"
    said = studio(
        "lora", "test", "Nils", "seen", "--seed", "7", "--out", str(out), "--json", **connected(server)
    )
    assert said.code == 0, said.err
    assert said.json["difference"] > 0.5
    assert said.json["prompt"] == "Photo of Nils, head and shoulders, natural light"
    with Image.open(out) as sheet:
        assert sheet.size == (2 * 1080 + 16, 1350)

    same = studio("lora", "test", "Nils", "seen", "--weight", "0", "--out", str(out), **connected(server))
    assert same.code == 1
    assert "the server ignored the LoRA" in same.out
    listed = studio("lora", "show", "seen", "--servers", "--json", **connected(server)).json["servers"]
    assert listed == [{"endpoint": server.comfyui, "listed": listed[0]["listed"], "sentence": ""}]
    assert listed[0]["listed"].startswith("seen-v1-")

    refused(studio("lora", "test", "Mira", "seen", **connected(server)), 2, "likeness of Nils")
    refused(studio("lora", "test", "Nils", "seen"), 1, "can't be reached")
    lost = {**connected(server), "PERSONA_COMFYUI__LORA_DIR": str(tmp_path / "empty")}
    fresh = write_lora(tmp_path, "fresh.safetensors", layers=SD15_KOHYA, width=2048, fill=6)
    assert studio("lora", "import", str(fresh), "--persona", "Nils").code == 0
    refused(studio("lora", "test", "Nils", "fresh", **lost), 1, f"There is no folder {tmp_path}/empty")
    (tmp_path / "empty").mkdir()
    refused(studio("lora", "test", "Nils", "fresh", **lost), 1, "does not list the LoRA fresh@1")


@pytest.mark.long
def test_each_server_may_have_a_folder_of_its_own(studio: Shell, tmp_path: Path) -> None:
    told = f'{{"http://127.0.0.1:9": "{tmp_path}"}}'
    said = studio("settings", "show", "--json", PERSONA_COMFYUI__LORA_DIR=told)
    assert said.json["comfyui"]["lora_dir"] == {"http://127.0.0.1:9": str(tmp_path)}


def test_a_watched_folder_offers_files_and_what_comfyui_ignores_is_converted(
    studio: Shell, tmp_path: Path
) -> None:
    bare = {"transformer_blocks.0.attn.to_q": PEFT, "single_transformer_blocks.0.attn.to_q": PEFT}
    path = write_lora(tmp_path / "inbox", "nils.safetensors", layers=bare, fill=77)
    os.utime(path, (1, 1))
    said = studio("lora", "watch", str(tmp_path / "nowhere"))
    refused(said, 2, "There is no folder")
    assert studio("lora", "watch", str(path.parent)).out.strip() == str(path.parent)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in studio.environment.items():
            patch.setenv(name, value)
        with Resources.open(load_settings()) as opened:
            assert LoraWatcher(opened.database.session_scope).look() == ""
    (offer,) = studio("lora", "offers", "--json").json
    assert (offer["persona"], offer["state"]) == ("Nils", "offered")
    said = studio("lora", "take", str(offer["id"]))
    assert said.code == 0 and "names that ComfyUI reads" in said.err
    shown = studio("lora", "show", "nils", "--json").json["lora"]
    assert (shown["persona"], shown["key_format"], shown["warnings"]) == ("Nils", "diffusers", [])
    refused(studio("lora", "dismiss", str(offer["id"])), 2, "Nothing is offered")
    assert studio("lora", "watch", str(path.parent), "--off").out.strip() == "No folder is watched."


def test_a_version_is_converted_by_command(studio: Shell, tmp_path: Path) -> None:
    layers = {"base_model.model.transformer_blocks.0.attn.to_q": PEFT}
    path = write_lora(tmp_path, "shared.safetensors", layers=layers)
    assert studio("lora", "import", str(path), "--persona", "Nils").code == 0
    listed = {one["name"]: one["file"] for one in studio("lora", "list", "--json").json}
    assert listed["shared"] == "ignored by ComfyUI"
    refused(studio("lora", "convert", "shared"), 1, "its base model is not known")
    refused(studio("lora", "convert", "shared", "--family", "nonsense"), 2, "is no family")
    made = studio("lora", "convert", "shared", "--family", "qwen-image", "--json").json
    assert (made["name"], made["version"], made["family"]) == ("shared", 2, "qwen-image")
    refused(studio("lora", "convert", "shared@1"), 1, "was converted already, into shared@2")
    assert "converted into: shared@2" in studio("lora", "show", "shared@1").out


def test_two_versions_are_voted_on_by_command(studio: Shell, server: SandboxProcess, tmp_path: Path) -> None:
    for number in (1, 2):
        path = write_lora(
            tmp_path, f"duel_v{number}.safetensors", layers=SD15_KOHYA, width=2048, fill=40 + number
        )
        assert studio("lora", "import", str(path), "--persona", "Nils", "--name", "duel").code == 0
    wanted = ("lora", "compare", "Nils", "duel@2", "duel@1", "--prompt", "a bowl", "--seeds", "2")
    refused(studio(*wanted), 1, "can't be reached")
    made = studio(*wanted, "--json", **connected(server))
    assert made.code == 0 and "Making pair 1 of 2" in made.err
    contest = str(made.json["contest_id"])
    assert (made.json["ready"], made.json["to_vote"], made.json["verdict"]) == (2, 2, None)
    assert [one["contest_id"] for one in studio("vote", "list", "--json").json] == [int(contest)]
    for number in range(2):
        shown = studio("vote", "next", contest, "--json").json
        assert shown["prompt"] == "a bowl" and all(Path(one["path"]).is_file() for one in shown["members"])
        assert "duel" not in str(shown["members"])
        members = [str(one["member"]) for one in shown["members"]]
        best = "none" if number else members[0]
        assert studio("vote", "cast", contest, *members, "--best", best).code == 0
    refused(studio("vote", "cast", contest, *members, "--best", "none"), 1, "voted on already")
    assert "Nothing to compare" in studio("vote", "next", contest).out
    told = studio("vote", "stats", contest, "--json").json
    assert (told["complete"], told["verdict"]["n"]) == (True, 2)
    assert told["verdict"]["p_better"] in (0.25, 0.75)
    assert "is better than duel@1 with P 0." in studio("lora", "show", "duel@2").out
    assert studio("vote", "undo", contest, "--json").json["undone"]
    assert studio("vote", "stats", contest, "--json").json["verdict"]["n"] == 1
    # One vote chose, so it speaks for one and against the other.
    assert studio("lora", "use", "Nils", "duel@1", "--primary").code == 0
    lost = told["verdict"]["p_better"] < 0.5
    said = studio("lora", "promote", "duel@2")
    assert ("speak against it. duel@2 is better than duel@1 with P 0.25" in said.err) == lost, said.err
    assert ("\nduel@2 is better than duel@1 with P 0.75" in said.err) == (not lost)
    again = studio(*wanted, "--new", "--json", **connected(server)).json
    assert again["contest_id"] != int(contest)
    refused(studio("lora", "compare", "Nils", "duel", "duel"), 2, "can't be compared")


def test_training_11_a_version_is_promoted_by_command_and_rolled_back(studio: Shell, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        path = write_lora(
            tmp_path, f"rise_v{number}.safetensors", layers=SD15_KOHYA, width=2048, fill=60 + number
        )
        assert studio("lora", "import", str(path), "--persona", "Mira", "--name", "rise").code == 0
    assert studio("lora", "use", "Mira", "rise@1", "--weight", "0.7", "--primary").code == 0
    refused(studio("lora", "promote", "rise@1"), 1, "is the primary character for sdxl already")
    said = studio("lora", "promote", "rise@2")
    refused(said, 1, "rise@2 was not promoted: nobody is there to ask")
    assert "rise@1: never measured." in said.err and "were not compared yet" in said.err
    promoted = studio("lora", "promote", "rise@2", "--yes", "--json").json
    assert promoted["lora"]["users"][0]["primary"]
    assert (promoted["instead_of"], promoted["compared"], promoted["verdict"]) == ("rise@1", False, None)
    refused(studio("lora", "promote", "rise@3", "--persona", "Nils", "--yes"), 2, "likeness of Mira")
    refused(studio("lora", "roll-back", "rise"), 1, "rise@2 stays primary: nobody is there to ask")
    said = studio("lora", "roll-back", "rise", "--yes")
    assert said.out.startswith(
        "✅ rise@1 is the primary character of Mira for sdxl again. rise@2 is taken out of use."
    )
    (row,) = [one for one in studio("lora", "list", "--json").json if one["users"] and one["name"] == "rise"]
    assert (row["version"], row["users"][0]["weight"]) == (1, 0.7)

    path = write_lora(tmp_path, "wash.safetensors", layers=SD15_KOHYA, width=2048, fill=9)
    assert studio("lora", "import", str(path), "--type", "style").code == 0
    refused(studio("lora", "promote", "wash"), 2, "does not say whose runs are meant")
    assert "wash@1 is the primary style of Nils" in studio("lora", "promote", "wash", "--persona", "Nils").out
