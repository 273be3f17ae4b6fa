"""Making an embedded database: initdb, the two roles, and who may connect as whom (R2)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from persona_tui.database.explain import explain_os_error, explain_output
from persona_tui.database.folders import Folders
from persona_tui.database.programs import PG_MAJOR, Account, ProgramFailed, Programs, run_program
from persona_tui.errors import DatabaseError

DATABASE = "persona"
OWNER_ROLE = "persona_owner"
"""Owns the database and makes schemas, tables and further databases (a rehearsal's); no superuser."""
APP_ROLE = "persona_app"
"""What the program works as: reads and writes rows, makes nothing."""

_MAP = "persona"
_WHAT = "The database can't be made"

# Run in template1 by the server program in single-user mode, one command a line. The superuser is used here
# and never again: pg_hba.conf lets nobody connect as one. This pgvector is not marked as trusted, so that
# only a superuser can make the extension; the databases that the owner makes copy it from template1.
_ROLES = f"""\
CREATE EXTENSION vector SCHEMA public
CREATE ROLE {OWNER_ROLE} LOGIN CREATEDB
CREATE ROLE {APP_ROLE} LOGIN
CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}
REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC
GRANT CONNECT, TEMPORARY ON DATABASE {DATABASE} TO {APP_ROLE}
REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC
"""

# The built-in collation is the same on every system, so an upgrade of libc can't disorder an index.
_INITDB = (
    "--username=postgres",
    "--auth-local=peer",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)


def is_made(folders: Folders) -> bool:
    """Tell whether the data folder holds a whole database."""
    return (folders.cluster / "PG_VERSION").exists()


def make_cluster(folders: Folders, programs: Programs, account: Account) -> None:
    """Make the database beside its place and move it there when it is whole.

    Raises:
        StorageError: disk full, read-only, no permission. Nothing half-made stays.
        DatabaseError: initdb failed for another reason; the hint holds the end of what it printed.
    """
    staging = folders.base / f"{PG_MAJOR}.new"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        account.own(staging)
        run_program((programs.path("initdb"), f"--pgdata={staging}", *_INITDB), account)
        single = ("--single", "-D", str(staging), "-c", "exit_on_error=on", "template1")
        run_program((programs.path("postgres"), *single), account, script=_ROLES)
        staging.rename(folders.cluster)
        _sync_folder(folders.base)
    except OSError as problem:
        raise explain_os_error(problem, _WHAT) from None
    except ProgramFailed as failure:
        raise explain_output(failure.output, _WHAT) or DatabaseError(
            f"{_WHAT}: PostgreSQL's set-up failed.", hint=f"It said: {last_words(failure.output)}"
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_access_rules(folders: Folders, account: Account) -> None:
    """Write who may connect: by the socket alone, and only the system users who own this database.

    The kernel tells the server which system user calls (peer authentication), so there is no password to
    keep. Written anew at each start, since the system user's name may have changed.

    Raises:
        OSError: the files can't be written.
    """
    users = {account.name, "root"} if account.foreign else {account.name}
    ident = "".join(f'{_MAP} "{user}" {role}\n' for user in sorted(users) for role in (OWNER_ROLE, APP_ROLE))
    rules = f"local all {OWNER_ROLE},{APP_ROLE} peer map={_MAP}\n"
    for name, text in (("pg_hba.conf", rules), ("pg_ident.conf", ident)):
        _replace_file(folders.cluster / name, text, account)


def last_words(output: str, *, lines: int = 3, length: int = 400) -> str:
    """The end of what a program printed, on one line."""
    kept = [line.strip() for line in output.splitlines() if line.strip()]
    return " · ".join(kept[-lines:])[-length:] or "nothing"


def _replace_file(path: Path, text: str, account: Account) -> None:
    if path.read_text(encoding="utf-8", errors="replace") == text:
        return
    descriptor, fresh = tempfile.mkstemp(dir=path.parent)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    account.own(Path(fresh))
    Path(fresh).replace(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
