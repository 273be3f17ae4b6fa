"""The day by commands, and what bad input is told: a sentence, a hint, the right exit code, nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import skimage.data
from PIL import Image

from persona_tui.setting_rows import MASK
from tests.cli.conftest import Said, Shell
from tests.support.database import reachable_folder
from tests.support.sandbox import SandboxProcess


@pytest.fixture(scope="module")
def prepared() -> bool:
    """Nothing is there yet: the first command makes the installation."""
    return False


@pytest.fixture(scope="module")
def peopled(shell: Shell) -> Shell:
    """An installation with a persona and a pillar."""
    assert shell("persona", "add", "Mira", "--age", "31", "--zone", "Europe/Lisbon").code == 0
    assert shell("pillar", "add", "Mira", "Studio", "--weight", "60").code == 0
    return shell


def told(shell: Shell, code: int, *arguments: str, **environment: str) -> str:
    """The command ends with this code and says a sentence and a hint on stderr, nothing on stdout."""
    return told_by(shell(*arguments, **environment), code)


def told_by(said: Said, code: int) -> str:
    """The sentence, after a look at its form."""
    assert (said.code, said.out) == (code, ""), said
    sentence, hint = said.err.strip().splitlines()[-2:]
    assert sentence.startswith("❌ ") and sentence.endswith((".", "…"))
    assert hint.startswith("   ") and len(hint.strip()) > 10
    return sentence


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("persona", "show", "Nobody"), "Nobody"),
        (("persona", "add", "mira", "--age", "40"), "mira"),
        (("persona", "add", "Kim", "--age", "16"), "Age"),
        (("persona", "add", "Kim", "--age", "30", "--zone", "Mars/Base"), "Zone"),
        (("pillar", "add", "Mira", "More", "--weight", "41"), "101 %"),
        (("pillar", "add", "Mira", "Past", "--start", "2026-12-24", "--end", "2026-12-01"), "end"),
        (("pillar", "add", "Mira", "Past", "--start", "Christmas"), "Start date"),
        (("gaps", "Mira", "--days", "0"), "0 days"),
        (("photos", "import", "Mira", "/nowhere/at/all"), "/nowhere"),
        (("photos", "analyse", "Mira", "--kind", "beauty"), "beauty"),
        (("post", "show", "999"), "999"),
        (("post", "list", "--state", "sent"), "'sent'"),
        (("scheduler", "--days", "3"), "--days is for a rehearsal"),
        (("scheduler", "--rehearse", "--days", "0"), "1 to 60 days"),
        (("cluster", "add", "Mira", ""), "Name: must not be empty."),
        (("cluster", "take", "999"), "review 999"),
        (("run", "create", "a bowl", "--pipeline", "none-such"), "none-such"),
        (("idea", "accept", "999"), "999"),
        (("vote", "next", "999"), "999"),
    ],
)
def test_a_wrong_request_exits_with_2(peopled: Shell, arguments: tuple[str, ...], word: str) -> None:
    assert word in told(peopled, 2, *arguments)


def test_help_says_each_commands_sentence_to_its_end(peopled: Shell) -> None:
    for group in ("photos", "cluster", "post", "account", "run"):
        listed = peopled(group, "--help", COLUMNS="80").out.split("Commands:")[1]
        assert "  list " in listed and "..." not in listed, listed
    assert "Say that a post did not go out, after `post reconcile`\n" in peopled("post", "--help").out


def test_a_list_of_nothing_says_so(peopled: Shell) -> None:
    assert peopled("photos", "near", "Mira").out.splitlines()[1:] == ["(none)"]


def test_lists_print_one_json_document_alone(peopled: Shell) -> None:
    for command in (
        ("persona", "list"),
        ("pillar", "list", "Mira"),
        ("gaps", "Mira"),
        ("idea", "list", "Mira"),
        ("run", "list"),
        ("vote", "list"),
        ("photos", "list", "Mira"),
        ("photos", "missing", "Mira"),
        ("photos", "analyse", "Mira"),
        ("cluster", "list", "Mira"),
        ("pipeline", "list"),
        ("post", "list"),
        ("account", "list"),
        ("jobs", "list"),
        ("audit", "verify"),
        ("settings", "show"),
        ("doctor",),
    ):
        said = peopled(*command, "--json")
        assert said.code == 0, (command, said.err)
        assert said.json is not None
        assert peopled(*command).out.strip() or command[0] in {"vote", "run", "account", "jobs"}


def test_photos_are_imported_and_a_broken_one_is_named(peopled: Shell, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.coffee()).save(tmp_path / "coffee.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    said = peopled(
        "photos",
        "import",
        "Mira",
        str(tmp_path),
        "--cluster",
        "Cups",
        "--pillar",
        "Studio",
        "--accept",
        "--json",
    )
    assert said.code == 0
    assert said.json["counts"] == {"imported": 1, "already there": 0, "failed": 1}
    (gap,) = peopled("gaps", "Mira", "--json").json
    assert gap["available"] == 1
    only_bad = tmp_path / "bad"
    only_bad.mkdir()
    (only_bad / "x.jpg").write_bytes(b"no picture")
    assert peopled("photos", "import", "Mira", str(only_bad)).code == 1


def test_photos_wait_for_a_look_and_are_decided_on(peopled: Shell, tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(skimage.data.chelsea()).rotate(40 * number + 7).save(tmp_path / f"{number}.jpg")
    said = peopled("photos", "import", "Mira", str(tmp_path))
    assert said.code == 0 and said.out.startswith("3 imported") and "photos accept" in said.out
    listed = peopled("photos", "list", "Mira", "--stage", "staged", "--json").json
    first, second, third = sorted(str(photo["id"]) for photo in listed)
    assert "Name their numbers" in peopled("photos", "accept", "Mira").err
    assert peopled("photos", "accept", "Mira", first, "--json").json == {"accepted": 1}
    assert peopled("photos", "reject", "Mira", second, "--reason", "blurred").code == 0
    assert peopled("photos", "caption", "Mira", first, "A cat.").code == 0
    assert peopled("photos", "delete", "Mira", third).code == 0
    assert "photo 999" in told(peopled, 2, "photos", "delete", "Mira", "999")
    photos = {str(p["id"]): p for p in peopled("photos", "list", "Mira", "--json").json}
    assert third not in photos and photos[first]["caption"] == "A cat."
    assert photos[second]["reject_reason"] == "blurred"
    assert peopled("photos", "restore", "Mira", third, "--json").json == {"restored": 1}
    (watched,) = peopled("photos", "watch", "Mira", str(tmp_path), "--json").json
    assert (watched["root"], watched["accept"], watched["kept"]) == (str(tmp_path), False, "copy")
    assert peopled("photos", "watch", "Mira", str(tmp_path), "--stop", "--json").json == []
    assert peopled("photos", "near", "Mira", "--json").code == 0


def test_a_post_without_account_is_told_what_is_missing(peopled: Shell, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.jpg")
    photo = peopled("photos", "import", "Mira", str(tmp_path), "--accept", "--json").json["files"][0][
        "photo_id"
    ]
    post = str(peopled("post", "draft", "--photo", str(photo), "--json").json["id"])
    assert peopled("caption", "Mira", post, "--text", "A cat in the studio.", "--tag", "clay").code == 0
    assert "account" in told(peopled, 1, "post", "schedule", post).lower()
    assert "is no time" in told(peopled, 2, "post", "schedule", post, "--at", "soon")
    assert peopled("post", "cancel", post).code == 0


def test_the_wrong_address_of_a_database_is_told_without_its_password(shell: Shell) -> None:
    url = "postgresql://persona:CANARY-pw@127.0.0.1:1/none"
    said = shell("persona", "list", PERSONA_DATABASE_URL=url)
    assert said.code == 1 and "CANARY" not in said.err + said.out
    assert said.err.count("\n") >= 2
    assert "PERSONA_DATABASE_URL" in told(shell, 2, "persona", "list", PERSONA_DATABASE_URL="mysql://x")


def test_a_bad_setting_names_its_variable_and_what_is_allowed(shell: Shell) -> None:
    sentence = told(shell, 2, "persona", "list", PERSONA_COMFYUI__DEPTH="99")
    assert "PERSONA_COMFYUI__DEPTH" in sentence and "16" in sentence


def test_a_bad_settings_file_is_named(shell: Shell) -> None:
    path = Path(shell.environment["PERSONA_CONFIG_FILE"])
    path.write_text("[gemini]\nbase_url = 3\n")
    try:
        assert "config.toml" in told(shell, 2, "persona", "list")
        path.write_text("this is = = no toml")
        assert "config.toml" in told(shell, 2, "settings", "show")
    finally:
        path.unlink()


def test_secrets_are_masked_in_settings(shell: Shell) -> None:
    said = shell("settings", "show", PERSONA_GEMINI__API_KEY="CANARY-key")
    assert "CANARY" not in said.out and MASK in said.out
    assert "CANARY" not in shell("doctor", "--json", PERSONA_GEMINI__API_KEY="CANARY-key").out
    secret_urls = {
        "PERSONA_NOTIFY__DEAD_MAN_URL": "https://hc.example/CANARY?token=CANARY",
        "PERSONA_INSTAGRAM__BASE_URL": "http://me:CANARY@127.0.0.1:9",
    }
    for command in (("settings", "show"), ("settings", "show", "--json"), ("doctor", "--json")):
        assert "CANARY" not in shell(*command, **secret_urls).out
    shown = shell("settings", "show", "--json", **secret_urls).json
    assert shown["notify"]["dead_man_url"] == f"https://hc.example/{MASK}"
    assert shown["backup"]["keep"] == 5


def test_a_data_folder_that_cannot_be_written_is_told(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = shell("persona", "list", PERSONA_DATA_DIR=str(tmp_path / "file" / "data"), PERSONA_DATABASE_URL="")
    assert said.code == 1 and str(tmp_path) in said.err


def test_without_a_terminal_the_app_names_the_commands(shell: Shell) -> None:
    said = shell.real()
    assert "terminal" in told_by(said, 2)
    assert "scheduler" in said.err


def test_usage_errors_exit_with_2(shell: Shell) -> None:
    for arguments in (("nonsense",), ("persona", "add"), ("gaps",), ("vote", "next", "one")):
        said = shell(*arguments)
        assert said.code == 2 and said.out == ""


def test_r08_the_check_starts_no_server(shell: Shell, tmp_path: Path) -> None:
    said = shell.real(
        "doctor", "--check", "--json", PERSONA_DATA_DIR=str(tmp_path / "none"), PERSONA_DATABASE_URL=""
    )
    assert said.code == 1
    assert not (tmp_path / "none").exists()
    assert {check["name"]: check["state"] for check in said.json["checks"]}["database"] == "fail"


@pytest.mark.long
def test_the_doctor_starts_the_embedded_database_and_the_check_does_not(shell: Shell) -> None:
    with reachable_folder() as folder:
        place = {"PERSONA_DATA_DIR": str(folder / "data"), "PERSONA_DATABASE_URL": ""}
        assert shell.real("persona", "list", **place).code == 0  # makes it; the last process stops it
        checked = shell.real("doctor", "--check", **place)
        assert checked.code == 1
        assert "The embedded database is not running." in checked.out and "DATABASE_URL" not in checked.out
        assert "PostgreSQL" in shell.real("doctor", **place).out


def test_the_address_of_the_database_is_shown_without_password(shell: Shell) -> None:
    said = shell("db", "url")
    assert said.code == 0 and "postgres" in said.out


def test_a_backup_is_one_file_and_comes_back_held(peopled: Shell, tmp_path: Path) -> None:
    file = tmp_path / "persona.backup"
    assert peopled("db", "backup", str(file), "--json").json["path"] == str(file)
    assert told(peopled, 2, "db", "restore", str(tmp_path / "none.backup"))


@pytest.mark.long
def test_an_account_is_connected_by_its_token_alone(peopled: Shell, tmp_path: Path) -> None:
    sandbox = SandboxProcess(tmp_path / "sandbox")
    try:
        where = {"PERSONA_INSTAGRAM__BASE_URL": sandbox.instagram}
        said = peopled("account", "add", "Mira", "--token-stdin", "--json", stdin=sandbox.token, **where)
        assert said.code == 0, said.err
        assert (said.json["username"], said.json["environment"]) == ("sandbox_studio", "sandbox")
        assert sandbox.token not in said.out + said.err
        assert peopled("account", "check", **where).code == 0
        again = peopled("account", "add", "Mira", "--token-stdin", "--json", stdin=sandbox.token, **where)
        assert again.json["id"] == said.json["id"]
        wrong = peopled("account", "add", "Mira", "--token-stdin", stdin="CANARY-wrong", **where)
        assert wrong.code == 1 and "CANARY" not in wrong.err
    finally:
        sandbox.stop()


@pytest.mark.long
def test_a_pipeline_is_checked_against_a_server(peopled: Shell, tmp_path: Path) -> None:
    sandbox = SandboxProcess(tmp_path / "sandbox")
    try:
        where = {"PERSONA_COMFYUI__URLS": sandbox.comfyui, "PERSONA_COMFYUI__API_KEY": sandbox.token}
        assert peopled("pipeline", "list").code == 0
        said = peopled("pipeline", "check", "two-step", **where)
        assert said.code == 0, said.err
        assert f"✅ step 2, refine, on {sandbox.comfyui}" in said.out
        workflow = peopled("pipeline", "export", "two-step").out.replace("sd_xl_base_1.0", "sd_xl_bass_1.0")
        (tmp_path / "typo.json").write_text(workflow)
        assert peopled("pipeline", "import", str(tmp_path / "typo.json"), "--name", "typo").code == 0
        said = peopled("pipeline", "check", "typo", **where)
        assert said.code == 1
        assert "which the server does not have" in said.out
        assert "Nearest there: sd_xl_base_1.0.safetensors" in said.out
        found = peopled("pipeline", "check", "typo", "--json", **where).json
        assert [step["findings"][0]["input"] for step in found] == ["ckpt_name", "ckpt_name"]
        # The key of the settings goes to the servers of the settings alone.
        told(
            peopled,
            1,
            "pipeline",
            "check",
            "typo",
            "--endpoint",
            f"{sandbox.comfyui}/",
            PERSONA_COMFYUI__API_KEY=sandbox.token,
        )
    finally:
        sandbox.stop()
    assert "ComfyUI" in told(peopled, 1, "pipeline", "check", "typo", **where)
    told(peopled, 2, "pipeline", "check", "nothing", **where)


@pytest.mark.long
def test_a_run_is_cloned_with_changes(peopled: Shell) -> None:
    first = peopled("run", "create", "a bowl", "--persona", "Mira", "-n", "1=3", "-k", "1=2", "--json").json
    assert [(step["children_per_parent"], step["top_k"]) for step in first["steps"]] == [(3, 2), (2, 1)]
    again = peopled("run", "clone", str(first["id"]), "--prompt", "a cup", "-n", "2=5", "--json").json
    assert (again["prompt"], again["persona"]) == ("a cup", "Mira")
    assert [(step["children_per_parent"], step["top_k"]) for step in again["steps"]] == [(3, 2), (5, 1)]
    for wrong in (("-n", "1"), ("-n", "one=2"), ("-n", "1=99"), ("--var", "=x"), ("--var", "seed=1")):
        told(peopled, 2, "run", "clone", str(first["id"]), *wrong)
    told(peopled, 2, "run", "clone", "99999")
