"""Where the embedded database lies, who owns each folder, and where its socket may be.

```
data folder/postgres/      0700, as root 0710 so that the server's user passes through
    server.lock            flocked while the server is started or stopped
    holders/               one flocked file per process that uses the server
    18/                    the database; named after PostgreSQL's major version, owned by the server's user
    log/server.log         the server's own log
    run/                   the socket, 0700
    socket-folder          the socket's folder where `run` makes too long a path for a socket
    programs/              PostgreSQL's programs, copied only where the server's user can't reach them
```
"""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from persona_tui.database.explain import explain_os_error
from persona_tui.database.programs import PG_MAJOR, Account
from persona_tui.errors import DatabaseError, StorageError

SOCKET_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 100
"""Bytes. Linux takes 107, macOS 103."""


@dataclass(frozen=True)
class Folders:
    """The paths of one embedded database."""

    base: Path

    @classmethod
    def of(cls, data_dir: Path) -> Folders:
        """The paths inside a data folder."""
        return cls(data_dir.absolute() / "postgres")

    @property
    def lock(self) -> Path:
        return self.base / "server.lock"

    @property
    def holders(self) -> Path:
        return self.base / "holders"

    @property
    def cluster(self) -> Path:
        return self.base / str(PG_MAJOR)

    @property
    def log(self) -> Path:
        return self.base / "log" / "server.log"

    @property
    def run(self) -> Path:
        return self.base / "run"

    @property
    def socket_record(self) -> Path:
        return self.base / "socket-folder"

    @property
    def programs(self) -> Path:
        return self.base / "programs"

    def refuse_other_versions(self) -> None:
        """Refuse a data folder whose database was made by another major version of PostgreSQL.

        Raises:
            DatabaseError: names both versions.
        """
        for marker in self.base.glob("*/PG_VERSION"):
            made_by = marker.read_text(encoding="ascii", errors="replace").strip()
            if marker.parent.name.isdecimal() and made_by != str(PG_MAJOR):
                raise DatabaseError(
                    f"The data folder holds a database of PostgreSQL {made_by}, and this is {PG_MAJOR}.",
                    title="Other PostgreSQL version",
                    hint="Back it up with the persona-tui that made it and restore into a new folder.",
                )


def prepare_folders(data_dir: Path, account: Account) -> Folders:
    """Make what is missing of the folders and see to it that the server's user, and no other, gets in.

    No folder above the data folder is ever changed.

    Raises:
        StorageError: a folder can't be made, belongs to somebody else, or is closed to the server's user.
    """
    folders = Folders.of(data_dir)
    what = f"The data folder {data_dir} can't be used"
    try:
        _make_data_dir(data_dir, account)
        passable = 0o710 if account.foreign else 0o700
        for path, mode in ((folders.base, passable), (folders.holders, 0o700), (folders.programs, 0o711)):
            _make(path, mode)
        if account.foreign:
            os.chown(folders.base, -1, account.gid)
        for path in (folders.log.parent, folders.run):
            _make(path, 0o700)
            account.own(path)
    except OSError as problem:
        raise explain_os_error(problem, what) from None
    if account.foreign and not _can_enter(folders.run, account):
        raise StorageError(
            f"PostgreSQL's system user {account.name} can't enter {data_dir}, a folder above it is closed.",
            hint="Choose a data folder that other users can pass into, such as /var/lib/persona-tui.",
        )
    return folders


def _make_data_dir(data_dir: Path, account: Account) -> None:
    fresh = not data_dir.exists()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = data_dir.stat()
    closed = (found.st_mode & 0o011) == 0
    if account.foreign and (fresh or (closed and found.st_uid == found.st_gid == 0)):
        # Root's own closed folder: one group, which has the server's user alone, may pass through.
        os.chown(data_dir, -1, account.gid)
        data_dir.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXGRP)


def _make(path: Path, mode: int) -> None:
    path.mkdir(mode=mode, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{path} is no folder")
    if os.geteuid() not in (found.st_uid, 0):
        raise StorageError(
            f"{path} belongs to {_user_name(found.st_uid)}.",
            hint="Run persona-tui as that user or choose another data folder.",
        )
    if stat.S_IMODE(found.st_mode) != mode:
        path.chmod(mode)


def _user_name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user id {uid}"


def _can_enter(folder: Path, account: Account) -> bool:
    """Ask the system itself, as that user: mode bits alone say nothing about access lists."""
    done = subprocess.run(
        ("/bin/sh", "-c", 'cd -- "$1"', "sh", folder),
        cwd="/",
        env={},
        stderr=subprocess.DEVNULL,
        check=False,
        **account.process_options,
    )
    return done.returncode == 0


def find_socket_folder(folders: Folders, account: Account) -> Path | None:
    """The folder of the socket, if there is one that nobody else can have made or can enter."""
    if _fits(folders.run):
        return folders.run if _is_private(folders.run, account) else None
    try:
        recorded = Path(folders.socket_record.read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return None
    return recorded if _fits(recorded) and _is_private(recorded, account) else None


def make_socket_folder(folders: Folders, account: Account) -> Path:
    """The folder of the socket; where the data folder's path is too long, a fresh private one, recorded.

    Raises:
        StorageError: no place for it can be written.
    """
    known = find_socket_folder(folders, account)
    if known is not None:
        return known
    for place in _short_places(account):
        with suppress(OSError):
            fresh = Path(tempfile.mkdtemp(prefix="persona-tui-", dir=place))
            account.own(fresh)
            if _fits(fresh):
                _record(folders.socket_record, fresh)
                return fresh
            fresh.rmdir()
    raise StorageError(
        "There is no place for the database's socket.",
        hint="Choose a data folder with a shorter path, or set TMPDIR to a folder that can be written.",
    )


def _short_places(account: Account) -> list[str]:
    """Where mkdtemp may make a short private folder, by a name that nobody can take first."""
    shared = tempfile.gettempdir()
    if account.foreign:
        return ["/run", shared]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return [runtime, shared] if runtime and _is_private(Path(runtime), account) else [shared]


def _fits(folder: Path) -> bool:
    """A socket's path is short, and libpq reads a comma in it as the end of one host of several."""
    path = os.fsencode(folder / SOCKET_NAME)
    return len(path) <= _LONGEST_SOCKET_PATH and b"," not in path


def _is_private(folder: Path, account: Account) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid and not found.st_mode & 0o077


def _record(file: Path, folder: Path) -> None:
    fresh = file.with_name(file.name + ".new")
    fresh.write_text(str(folder), encoding="utf-8", errors="surrogateescape")
    fresh.replace(file)
