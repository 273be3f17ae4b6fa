"""Failures of files, programs and the database, put into a sentence and a hint that hold no secret."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import psycopg

from persona_tui.errors import DatabaseError, DatabaseUnavailable, PersonaError, StorageError

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

_STORAGE = {
    errno.ENOSPC: ("the disk is full", "Free some space, then try again."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, then try again."),
    errno.EFBIG: (
        "a file would grow past its allowed size",
        "Raise the limit on file sizes.",
    ),
    errno.EROFS: ("the folder is read-only", "Choose another data folder or mount it for writing."),
    errno.EACCES: (
        "there is no permission",
        "Run as the user that owns the folder or choose another data folder.",
    ),
    errno.EPERM: (
        "there is no permission",
        "Run as the user that owns the folder or choose another data folder.",
    ),
}
_PRINTED = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
    "Read-only file system": errno.EROFS,
    "Permission denied": errno.EACCES,
    "Operation not permitted": errno.EPERM,
}


def explain_os_error(problem: OSError, what: str) -> StorageError:
    """The error for a file operation that failed.

    Args:
        what: what could not be done, as the head of a sentence, e.g. "The backup can't be written".
    """
    reason, hint = _STORAGE.get(problem.errno or 0, (problem.strerror or type(problem).__name__, None))
    return StorageError(f"{what}: {reason}.", hint=hint)


def explain_output(output: str, what: str) -> StorageError | None:
    """The error for a program that printed a reason which lies in the storage; None when it printed no such.

    The output is read as English: our programs run with LC_ALL=C.
    """
    for words, number in _PRINTED.items():
        if words in output:
            reason, hint = _STORAGE[number]
            return StorageError(f"{what}: {reason}.", hint=hint)
    return None


_URL = "PERSONA_DATABASE_URL"
_CONNECTION: tuple[tuple[str, str, str], ...] = (
    (
        r"failed to resolve host|could not translate host name|'idna' codec",
        "The database's host name can't be resolved.",
        f"Check the host in {_URL}; : @ / % in a password must be percent-encoded.",
    ),
    (
        r"password authentication failed|no password supplied|SASL authentication failed",
        "The database refused the user name or password.",
        f"Check user and password in {_URL}.",
    ),
    (
        r"authentication failed|pg_hba\.conf|requirepeer|role \".*\" (does not exist|is not permitted)",
        "The database does not let this user in.",
        f"Check the user in {_URL}, and what the server's pg_hba.conf allows for this machine.",
    ),
    (
        r"database \".*\" does not exist",
        "The database does not exist on that server.",
        f"Create it there, or check its name in {_URL}.",
    ),
    (
        r"permission denied for database",
        "The database does not let this user in.",
        "Grant CONNECT on the database to the user.",
    ),
    (
        r"too many clients|connection slots|too many connections",
        "The database has no free connection.",
        "Close other programs that use it or raise its max_connections.",
    ),
    (
        r"starting up|shutting down|recovery mode|not yet accepting connections",
        "The database is starting or stopping.",
        "Wait a moment and try again.",
    ),
    (
        r"Connection refused|No such file or directory",
        "No database listens at its address.",
        f"Start the server, or check host and port in {_URL}.",
    ),
    (
        r"timeout expired|timed out",
        "The database did not answer in time.",
        "Check that its host is up and that no firewall lies between.",
    ),
    (
        r"SSL|certificate",
        "The encrypted connection to the database failed.",
        f"Check sslmode and the certificates in {_URL}.",
    ),
)


def explain_connection_error(problem: Exception) -> DatabaseUnavailable:
    """The error for a connection that could not be made.

    libpq hands out no SQLSTATE for these, so the server's English text is read; none of it is repeated,
    since a mistyped URL puts parts of the password into the host's place.
    """
    for pattern, sentence, hint in _CONNECTION:
        if re.search(pattern, str(problem)):
            return DatabaseUnavailable(sentence, hint=hint)
    return DatabaseUnavailable("The database can't be reached.")


_CONFLICTS = {
    "40001": "Another process changed the same rows at the same time.",
    "40P01": "Another process held the same rows at the same time.",
    "55P03": "Another process holds what is needed here.",
}


def explain_operational_error(problem: DBAPIError) -> PersonaError:
    """The error for a statement that failed for reasons outside the statement: connection, disk, locks."""
    state = getattr(problem.orig, "sqlstate", None) or ""
    if state == "53100":
        return StorageError("The database can't write: the disk is full.", hint=_STORAGE[errno.ENOSPC][1])
    if state in _CONFLICTS:
        return DatabaseError(_CONFLICTS[state], hint="Try again.")
    if state == "57014":
        return DatabaseError("The database took too long and was stopped.", hint="Try again.")
    if state == "53300":
        return explain_connection_error(Exception("too many clients"))
    if state.startswith("57P") or not state:
        return DatabaseUnavailable("The connection to the database was lost.")
    return DatabaseError(f"The database could not do that (SQLSTATE {state}).")


def explain_integrity_error(
    error: DBAPIError, sentences: Mapping[str, Callable[[], PersonaError]]
) -> PersonaError:
    """The error for a broken rule of the database, chosen by the constraint's name.

    Triggers name theirs by `USING CONSTRAINT`. To be raised `from None`: the original holds the row's values.

    Args:
        sentences: constraint name → what makes the error, e.g. `lambda: DuplicateName("…")`.

    Returns:
        The made error, or a DatabaseError with the constraint's name where no sentence is known.
    """
    original = error.orig
    name = original.diag.constraint_name if isinstance(original, psycopg.Error) else None
    if name is not None and name in sentences:
        return sentences[name]()
    return DatabaseError(f"That breaks the database's rule {name or 'without a name'}.")
