"""The PostgreSQL server that comes with the program: found or started, held, and stopped by its last user."""

from __future__ import annotations

import atexit
import os
import time
from pathlib import Path
from typing import Literal

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from persona_tui.database.cluster import (
    APP_ROLE,
    DATABASE,
    OWNER_ROLE,
    is_made,
    last_words,
    make_cluster,
    write_access_rules,
)
from persona_tui.database.explain import explain_connection_error, explain_os_error, explain_output
from persona_tui.database.folders import (
    SOCKET_NAME,
    Folders,
    find_socket_folder,
    make_socket_folder,
    prepare_folders,
)
from persona_tui.database.holders import Holder, count_holders, server_lock
from persona_tui.database.postmaster import (
    begin_log,
    find_postmaster,
    is_alive,
    launch,
    log_end,
    stop,
    usual_memory_mb,
)
from persona_tui.database.programs import Account, existing_account, programs_for, server_account
from persona_tui.errors import DatabaseError, DatabaseUnavailable

Role = Literal["app", "owner"]

_ROLE_NAMES: dict[Role, str] = {"app": APP_ROLE, "owner": OWNER_ROLE}
_WHAT = "The database can't be started"
_STILL_IN_USE = "pre-existing shared memory block"
"""A killed server's last children have not ended yet: it is tried again."""


class EmbeddedServer:
    """One process's hold on the embedded server of a data folder.

    The server outlives the process that started it; the last holder's `close` stops it. A killed process
    holds nothing: holders are locks that the kernel drops.
    """

    def __init__(self, folders: Folders, account: Account, socket_folder: Path) -> None:
        """Use `start` or `attach_only`."""
        self.folders = folders
        self._account = account
        self._socket_folder = socket_folder
        self._memory_mb = usual_memory_mb()
        self._holder: Holder | None = None
        self._process_id = os.getpid()

    @classmethod
    def start(cls, data_dir: Path, *, memory_mb: int | None = None, timeout: float = 60.0) -> EmbeddedServer:
        """Find or make the database of a data folder, find or start its server, and hold it.

        Args:
            memory_mb: in which it keeps pages; None for a share of the machine's. A running one has its own.
            timeout: seconds to wait for another process that starts it, and for the server itself.

        Raises:
            StorageError: disk full, read-only folder, no permission.
            DatabaseUnavailable: it did not start in time; the hint holds the end of the server's log.
            DatabaseError: the folder was made by another PostgreSQL, or PostgreSQL can't run here.
        """
        account = server_account()
        folders = prepare_folders(data_dir, account)
        folders.refuse_other_versions()
        try:
            with server_lock(folders.lock, timeout=timeout):
                server = cls(folders, account, make_socket_folder(folders, account))
                server._memory_mb = memory_mb or server._memory_mb
                server._make_it_run(timeout)
                server._holder = Holder(folders.holders)
        except OSError as problem:
            raise explain_os_error(problem, _WHAT) from None
        atexit.register(server.close)
        return server

    @classmethod
    def attach_only(cls, data_dir: Path) -> EmbeddedServer:
        """Look at a server that runs already: nothing is started, made, held or stopped (R8).

        Raises:
            DatabaseUnavailable: it does not run.
        """
        folders = Folders.of(data_dir)
        folders.refuse_other_versions()
        account = existing_account()
        socket_folder = find_socket_folder(folders, account) if account else None
        if account is None or socket_folder is None:
            raise _stopped()
        server = cls(folders, account, socket_folder)
        if server._refusal() is not None:
            raise _stopped()
        return server

    def conninfo(self, role: Role = "app", dbname: str = DATABASE) -> str:
        """How libpq connects. `requirepeer` makes it refuse a socket that is not our server's.

        Args:
            role: `app` reads and writes rows; `owner` makes and changes tables.
        """
        return make_conninfo(
            host=str(self._socket_folder),
            port=5432,
            user=_ROLE_NAMES[role],
            dbname=dbname,
            requirepeer=self._account.name,
            connect_timeout=5,
            application_name="persona-tui",
        )

    @property
    def is_held(self) -> bool:
        """Whether this object holds the server, rather than only looking at it."""
        return self._holder is not None

    @property
    def pid(self) -> int | None:
        """The server's process id, while it runs."""
        process = find_postmaster(self.folders, self._account)
        return process.pid if process else None

    def revive(self, *, timeout: float = 60.0) -> None:
        """Start the server again if it died while it was held; `conninfo` may differ afterwards.

        Raises:
            As `start`.
        """
        try:
            with server_lock(self.folders.lock, timeout=timeout):
                self._socket_folder = make_socket_folder(self.folders, self._account)
                self._make_it_run(timeout)
        except OSError as problem:
            raise explain_os_error(problem, _WHAT) from None

    def close(self) -> None:
        """Let go; the last one to do so stops the server. A second call or a forked child does nothing."""
        if self._holder is None or os.getpid() != self._process_id:
            return
        atexit.unregister(self.close)
        holder, self._holder = self._holder, None
        try:
            with server_lock(self.folders.lock, timeout=60.0):
                holder.release()
                if count_holders(self.folders.holders) == 0:
                    self._stop_process()
        except FileNotFoundError:
            holder.release()  # somebody removed the data folder; a server without its files ends by itself

    def stop(self) -> None:
        """Stop the server, whoever holds it."""
        with server_lock(self.folders.lock, timeout=60.0):
            self._stop_process()

    def _stop_process(self) -> None:
        process = find_postmaster(self.folders, self._account)
        if process is not None:
            stop(process, timeout=20.0)

    def _refusal(self) -> DatabaseUnavailable | None:
        """Connect for real; None when the server answers. A full server also answers."""
        try:
            psycopg.connect(self.conninfo(), connect_timeout=2).close()
        except psycopg.OperationalError as problem:
            refusal = explain_connection_error(problem)
            return None if "no free connection" in refusal.message else refusal
        return None

    def _make_it_run(self, timeout: float) -> None:
        """Under the server's lock: answer at once if it answers, else start it and wait."""
        made = is_made(self.folders)
        if made and self._refusal() is None:
            return
        programs = programs_for(self._account, self.folders.programs)
        if not made:
            make_cluster(self.folders, programs, self._account)
        deadline = time.monotonic() + timeout
        running = self._reachable_postmaster()
        if running is not None and self._wait_for_answer(running, deadline):
            return
        while time.monotonic() < deadline:
            write_access_rules(self.folders, self._account)
            seen = begin_log(self.folders.log)
            process = launch(self.folders, programs, self._account, self._socket_folder, self._memory_mb)
            if self._wait_for_answer(process, deadline):
                return
            printed = log_end(self.folders.log, since=seen)
            if not is_alive(process) and _STILL_IN_USE not in printed:
                raise explain_output(printed, _WHAT) or DatabaseError(
                    "The database server ended while it started.",
                    hint=f"Its log ends with: {last_words(printed)}",
                )
            time.sleep(0.2)
        raise DatabaseUnavailable(
            f"The database server did not answer within {timeout:.0f} seconds.",
            hint=f"Its log ends with: {last_words(log_end(self.folders.log))}",
        )

    def _reachable_postmaster(self) -> psutil.Process | None:
        """The running server, unless its socket was taken away (a cleaned /tmp): that one is stopped."""
        process = find_postmaster(self.folders, self._account)
        ready = process and (self.folders.cluster / "postmaster.pid").read_text().rstrip().endswith("ready")
        if process is not None and ready and not (self._socket_folder / SOCKET_NAME).exists():
            stop(process, timeout=20.0)
            return None
        return process

    def _wait_for_answer(self, process: psutil.Process | None, deadline: float) -> bool:
        """Wait until the server answers (True), its process ends, or time is up (False)."""
        pause = 0.01
        while time.monotonic() < deadline:
            if self._refusal() is None:
                return True
            if not is_alive(process):
                return False
            time.sleep(pause)
            pause = min(1.5 * pause, 0.25)  # the server logs each attempt, and a recovery may take minutes
        return False


def _stopped() -> DatabaseUnavailable:
    return DatabaseUnavailable(
        "The embedded database is not running.",
        hint="The app, the scheduler and every command but `doctor --check` start it.",
    )
