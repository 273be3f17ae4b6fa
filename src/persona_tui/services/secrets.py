"""Secrets at rest: AES-GCM under keys that never lie in the data folder, a backup or the database (R26)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from persona_tui.errors import PersonaError, SettingsError, StorageError
from persona_tui.logs import register_secret

KEY_BYTES = 32
NONCE_BYTES = 12
CREDENTIAL = "persona-tui-key"
"""Name of the systemd credential that holds the key (`LoadCredential=persona-tui-key:…`)."""


NEWEST = "newest"
"""Under this name the desktop's keyring keeps the id of the key that encrypts."""


class KeyPlace(Protocol):
    """A place of named texts beside the key folder; see `desktop_keys`."""

    def read(self, name: str) -> str | None:
        """The text of that name."""
        ...

    def write(self, name: str, text: str) -> None:
        """Keep a text."""
        ...


class KeyMissing(PersonaError):
    """The key that a secret was encrypted with is not on this machine."""

    title = "Key is missing"
    hint = "Put the key file back, or give the account's token again with `persona-tui account add`."


class SecretUnreadable(PersonaError):
    """A stored secret does not open: it was changed, or belongs to another row or environment."""

    title = "Secret can't be read"
    hint = "Give the account's token again with `persona-tui account add`."


class Keyring:
    """The keys of this installation by id; the newest one encrypts.

    A key's id is taken from the key itself, so that a key that moves from a file into a systemd credential
    keeps its id and opens what it has encrypted.
    """

    def __init__(self, folder: Path, credential: bytes | None, desktop: KeyPlace | None = None) -> None:
        """Use `open`."""
        self._desktop = desktop
        self._folder = folder
        self._credential = credential

    @classmethod
    def open(
        cls,
        config_dir: Path,
        *,
        data_dir: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        desktop: KeyPlace | None = None,
    ) -> Keyring:
        """The keys in `config_dir`/keys, the one that systemd hands over, and those of the desktop's keyring.

        New secrets are encrypted by the desktop's where it is given, else by systemd's, else by the folder's.

        Nothing is written before the first `encrypt`.

        Args:
            config_dir: the configuration folder.
            data_dir: the data folder, which must not hold the keys.
            environ: where CREDENTIALS_DIRECTORY is looked up.
            desktop: the desktop's keyring, where the settings ask for it.

        Raises:
            SettingsError: the keys would lie in the data folder, or the credential is no key.
        """
        folder = config_dir / "keys"
        if data_dir is not None and folder.resolve().is_relative_to(data_dir.resolve()):
            raise SettingsError(
                f"The keys would lie in the data folder, at {folder}, and so in every copy of it.",
                hint="Set XDG_CONFIG_HOME to a folder outside PERSONA_DATA_DIR.",
            )
        return cls(folder, _credential(environ), desktop)

    def encrypt(self, plain: str, *, associated: str) -> tuple[str, bytes]:
        """Encrypt a secret with the newest key; the first one is made here.

        Args:
            plain: the secret; it is masked in logs from now on.
            associated: what the secret belongs to; `decrypt` demands the same.

        Returns:
            The key's id, and 12 bytes of nonce followed by ciphertext and tag.

        Raises:
            StorageError: the key can't be written.
            SettingsError: the key file is open to others.
        """
        register_secret(plain)
        key = self._newest() or self._make()
        nonce = secrets.token_bytes(NONCE_BYTES)
        return key_id(key), nonce + AESGCM(key).encrypt(nonce, plain.encode(), associated.encode())

    def decrypt(self, used_key: str, sealed: bytes, *, associated: str) -> str:
        """Open what `encrypt` returned; the secret is masked in logs from now on.

        Raises:
            KeyMissing: no key of that id is here.
            SecretUnreadable: changed, or not what `associated` says.
        """
        key = self._key(used_key)
        try:
            plain = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated.encode())
        except (InvalidTag, ValueError):
            raise SecretUnreadable("A stored token can't be opened: it was changed or moved.") from None
        secret = plain.decode()
        register_secret(secret)
        return secret

    def _key(self, wanted: str) -> bytes:
        if self._credential is not None and key_id(self._credential) == wanted:
            return self._credential
        kept = self._desktop.read(wanted) if self._desktop is not None and _is_key_id(wanted) else None
        if kept is not None:
            return _decoded(kept.encode(), "The desktop's keyring")
        path = self._folder / f"{wanted}.key"
        # The id comes from the database: it names a file only if it is one of ours.
        if not _is_key_id(wanted) or not path.exists():
            raise KeyMissing(
                f"The key {wanted[:16]} that a token was encrypted with is not in {self._folder}."
            )
        return _read_key(path)

    def _newest(self) -> bytes | None:
        if self._desktop is not None:
            name = self._desktop.read(NEWEST)
            return None if name is None else self._key(name)
        if self._credential is not None:
            return self._credential
        files = [path for path in self._folder.glob("*.key") if _is_key_id(path.stem)]
        if not files:
            return None
        return _read_key(max(files, key=lambda path: (path.stat().st_mtime_ns, path.name)))

    def _make(self) -> bytes:
        """A new key, on the disk before it is used. Two processes that start at once make two good keys."""
        key = secrets.token_bytes(KEY_BYTES)
        if self._desktop is not None:
            self._desktop.write(key_id(key), base64.urlsafe_b64encode(key).decode())
            self._desktop.write(NEWEST, key_id(key))
            return key
        path = self._folder / f"{key_id(key)}.key"
        part = path.with_suffix(f".part-{secrets.token_hex(4)}")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "wb") as opened:
                opened.write(base64.urlsafe_b64encode(key) + b"\n")
                opened.flush()
                os.fsync(opened.fileno())
            part.replace(path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as problem:
            part.unlink(missing_ok=True)
            raise StorageError(f"The key can't be written to {self._folder}: {problem.strerror}.") from None
        return key


def key_id(key: bytes) -> str:
    """The key's name: 16 hex digits of a hash, which says nothing about the key."""
    return hashlib.sha256(b"persona-tui key id\n" + key).hexdigest()[:16]


def _is_key_id(text: str) -> bool:
    return len(text) == 16 and all(letter in "0123456789abcdef" for letter in text)


def _credential(environ: Mapping[str, str]) -> bytes | None:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder else None
    if path is None or not path.exists():
        return None
    return _decoded(_bytes_of(path), str(path))


def _read_key(path: Path) -> bytes:
    """A key of our own folder.

    Raises:
        SettingsError: others may read it, or it is not the key of its name.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as problem:
        raise StorageError(f"{path} can't be read: {problem.strerror}.") from None
    if mode & 0o077:
        raise SettingsError(f"Others may read the key {path}.", hint=f"Run: chmod 600 {path}")
    key = _decoded(_bytes_of(path), str(path))
    if key_id(key) != path.stem:
        raise SettingsError(f"{path} is not the key that its name says.", hint="Put the right file there.")
    return key


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise StorageError(f"{path} can't be read: {problem.strerror}.") from None


def _decoded(text: bytes, place: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(text.strip())
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"{place} does not hold a key.", hint=f"A key is {KEY_BYTES} random bytes in URL-safe base64."
        )
    return key


__all__ = ["CREDENTIAL", "KeyMissing", "Keyring", "SecretUnreadable", "key_id"]
