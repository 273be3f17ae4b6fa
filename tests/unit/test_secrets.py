"""Tokens at rest: who can open them, and where the keys lie (R26)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from persona_tui.errors import SettingsError
from persona_tui.logs import REDACTED, redact
from persona_tui.services.secrets import CREDENTIAL, KeyMissing, Keyring, SecretUnreadable, key_id

TOKEN = "IGAAcanary-7f3b91c2d4"


def open_keyring(folder: Path, credentials: Path | None = None) -> Keyring:
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)} if credentials else {}
    return Keyring.open(folder, environ=environ)


def key_files(folder: Path) -> list[Path]:
    return sorted((folder / "keys").glob("*.key"))


def test_a_secret_comes_back_in_another_process_of_the_same_installation(tmp_path: Path) -> None:
    used, sealed = open_keyring(tmp_path).encrypt(TOKEN, associated="1:live")
    assert TOKEN.encode() not in sealed
    assert open_keyring(tmp_path).decrypt(used, sealed, associated="1:live") == TOKEN


def test_the_same_secret_never_looks_the_same_twice(tmp_path: Path) -> None:
    keyring = open_keyring(tmp_path)
    assert keyring.encrypt(TOKEN, associated="1:live") != keyring.encrypt(TOKEN, associated="1:live")


def test_the_key_is_for_its_owner_alone_and_made_at_the_first_use(tmp_path: Path) -> None:
    keyring = open_keyring(tmp_path)
    assert not (tmp_path / "keys").exists()
    keyring.encrypt(TOKEN, associated="1:live")
    (path,) = key_files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("other", ["2:live", "1:sandbox", ""])
def test_a_token_moved_to_another_account_or_environment_does_not_open(tmp_path: Path, other: str) -> None:
    keyring = open_keyring(tmp_path)
    used, sealed = keyring.encrypt(TOKEN, associated="1:live")
    with pytest.raises(SecretUnreadable):
        keyring.decrypt(used, sealed, associated=other)


@pytest.mark.parametrize("place", [0, 12, -1])
def test_a_changed_byte_is_noticed(tmp_path: Path, place: int) -> None:
    keyring = open_keyring(tmp_path)
    used, sealed = keyring.encrypt(TOKEN, associated="1:live")
    changed = bytearray(sealed)
    changed[place] ^= 1
    with pytest.raises(SecretUnreadable) as refusal:
        keyring.decrypt(used, bytes(changed), associated="1:live")
    assert TOKEN not in str(refusal.value)


@pytest.mark.parametrize("remains", [0, 5, 12])
def test_a_cut_secret_is_told_apart_from_a_crash(tmp_path: Path, remains: int) -> None:
    keyring = open_keyring(tmp_path)
    used, sealed = keyring.encrypt(TOKEN, associated="1:live")
    with pytest.raises(SecretUnreadable):
        keyring.decrypt(used, sealed[:remains], associated="1:live")


def test_a_missing_key_says_what_to_do(tmp_path: Path) -> None:
    used, sealed = open_keyring(tmp_path).encrypt(TOKEN, associated="1:live")
    key_files(tmp_path)[0].unlink()
    with pytest.raises(KeyMissing) as refusal:
        open_keyring(tmp_path).decrypt(used, sealed, associated="1:live")
    assert str(tmp_path) in refusal.value.message and "account add" in refusal.value.hint


def test_a_key_id_from_the_database_never_names_another_file(tmp_path: Path) -> None:
    (tmp_path / "outside.key").write_text("x")
    with pytest.raises(KeyMissing):
        open_keyring(tmp_path / "config").decrypt("../../outside", b"x" * 40, associated="1:live")


def test_keys_in_the_data_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="data folder"):
        Keyring.open(tmp_path / "data" / "config", data_dir=tmp_path / "data", environ={})


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    used, sealed = open_keyring(tmp_path).encrypt(TOKEN, associated="1:live")
    key_files(tmp_path)[0].chmod(0o640)
    with pytest.raises(SettingsError) as refusal:
        open_keyring(tmp_path).decrypt(used, sealed, associated="1:live")
    assert "chmod 600" in refusal.value.hint


def test_the_credential_of_systemd_wins_and_opens_what_its_file_sealed(tmp_path: Path) -> None:
    used, sealed = open_keyring(tmp_path).encrypt(TOKEN, associated="1:live")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    key_files(tmp_path)[0].rename(credentials / CREDENTIAL)
    keyring = open_keyring(tmp_path, credentials)
    assert keyring.decrypt(used, sealed, associated="1:live") == TOKEN
    again, _ = keyring.encrypt(TOKEN, associated="1:live")
    assert again == used and key_files(tmp_path) == []


def test_publishing_5_the_desktops_keyring_wins_and_the_files_go_on_opening(tmp_path: Path) -> None:
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend

    from persona_tui.services.desktop_keys import DesktopKeys

    kept: dict[tuple[str, str], str] = {}
    # A backend of memory: no desktop runs where tests run.
    members = {
        "priority": 1,
        "get_password": lambda _self, service, name: kept.get((service, name)),
        "set_password": lambda _self, service, name, words: kept.update({(service, name): words}),
    }
    desktop = type("Desktop", (KeyringBackend,), members)

    used, sealed = Keyring.open(tmp_path, environ={}).encrypt("a-token-of-old", associated="1:live")
    before = keyring.get_keyring()
    keyring.set_keyring(desktop())
    try:
        opened = Keyring.open(tmp_path, environ={}, desktop=DesktopKeys())
        new_key, new = opened.encrypt("a-token-of-new", associated="1:live")
        again = Keyring.open(tmp_path, environ={}, desktop=DesktopKeys())
    finally:
        keyring.set_keyring(before)
    assert new_key != used and len(list((tmp_path / "keys").iterdir())) == 1
    assert again.decrypt(new_key, new, associated="1:live") == "a-token-of-new"
    assert again.decrypt(used, sealed, associated="1:live") == "a-token-of-old"
    assert again.encrypt("another-token", associated="1:live")[0] == new_key
    with pytest.raises(KeyMissing):
        Keyring.open(tmp_path, environ={}).decrypt(new_key, new, associated="1:live")


def test_older_keys_go_on_opening_after_a_newer_one_came(tmp_path: Path) -> None:
    old, sealed = open_keyring(tmp_path / "old").encrypt(TOKEN, associated="1:live")
    newer, _ = open_keyring(tmp_path / "new").encrypt(TOKEN, associated="1:live")
    key_files(tmp_path / "old")[0].rename(tmp_path / "new" / "keys" / f"{old}.key")
    keyring = open_keyring(tmp_path / "new")
    assert keyring.decrypt(old, sealed, associated="1:live") == TOKEN
    assert keyring.encrypt(TOKEN, associated="1:live")[0] in {old, newer}


def test_a_file_that_is_no_key_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    path = folder / f"{key_id(b'x' * 32)}.key"
    path.write_text("not a key")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="does not hold a key"):
        open_keyring(tmp_path).encrypt(TOKEN, associated="1:live")


def test_r26_a_secret_that_was_opened_is_masked_in_logs(tmp_path: Path) -> None:
    plain = "plain words that look like nothing secret"
    used, sealed = open_keyring(tmp_path).encrypt(plain, associated="1:live")
    open_keyring(tmp_path).decrypt(used, sealed, associated="1:live")
    assert redact(f"they said: {plain}.") == f"they said: {REDACTED}."
