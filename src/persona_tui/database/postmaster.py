"""The server process: starting it detached, finding it again, telling dead from alive, stopping it."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil

from persona_tui.database.folders import SOCKET_NAME, Folders
from persona_tui.database.programs import Account, Programs, program_environment
from persona_tui.errors import DatabaseUnavailable

_KEPT_LOG = 4_000_000
"""Bytes after which a start begins a new log; one old log is kept."""

_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "cluster_name": "persona-tui",
    "max_connections": "60",
    "maintenance_work_mem": "256MB",
    "autovacuum_work_mem": "32MB",
    # Parallel index builds take maintenance_work_mem of /dev/shm, of which a container has 64 MB.
    "max_parallel_maintenance_workers": "0",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log tells about the server, not about its clients: a refused row's values stay out of it.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}

_MOST_MEMORY_MB = 256
"""Holds the search index of 100,000 pictures (130 MB) with the rows that are asked about beside it."""

# The shell puts the server into the background and ends, so the server belongs to init: it outlives us,
# Ctrl-C does not reach it, and whatever ends it leaves no zombie behind in a long-lived app.
_DETACH = '"$@" </dev/null >>"$0" 2>&1 & echo "$!"'


def find_postmaster(folders: Folders, account: Account) -> psutil.Process | None:
    """The running server of these folders; None when it is dead, a zombie, or its pid is somebody else's."""
    try:
        pid = int((folders.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        ours = process.uids().effective == account.uid and str(folders.cluster) in process.cmdline()
    except (OSError, ValueError, psutil.Error):
        return None
    return process if ours else None


def is_alive(process: psutil.Process | None) -> bool:
    """Tell whether this very process runs; a zombie does not."""
    try:
        return bool(process and process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def usual_memory_mb() -> int:
    """Megabytes for pages where none are set: an eighth of the machine's, 256 at most."""
    return int(min(_MOST_MEMORY_MB, psutil.virtual_memory().total // 8_000_000))


def launch(
    folders: Folders, programs: Programs, account: Account, socket_folder: Path, memory_mb: int
) -> psutil.Process | None:
    """Start the server in a session of its own; it is not ready yet when this returns, or has ended (None).

    Only for a server that `find_postmaster` did not find: stale lock files are removed, since PostgreSQL
    would take a zombie's pid for a running server. Its second interlock, the shared memory block keyed by
    the folder, still keeps two servers off one database.

    Args:
        memory_mb: for pages, shared by all connections.

    Raises:
        OSError: it can't be started.
    """
    for stale in (folders.cluster / "postmaster.pid", socket_folder / f"{SOCKET_NAME}.lock"):
        stale.unlink(missing_ok=True)
    quoted = '"' + str(socket_folder).replace('"', '""') + '"'
    settings = {
        **_SETTINGS,
        "shared_buffers": f"{memory_mb}MB",
        "unix_socket_directories": quoted,
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = (programs.path("postgres"), "-D", str(folders.cluster), *options)
    done = subprocess.run(
        ("/bin/sh", "-c", _DETACH, str(folders.log), *server),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd="/",
        env=program_environment(),
        start_new_session=True,
        check=True,
        **account.process_options,
    )
    try:
        return psutil.Process(int(done.stdout))
    except psutil.NoSuchProcess:
        return None


def stop(process: psutil.Process, *, timeout: float) -> None:
    """End the server: clients are cut off and what they committed is safe.

    Args:
        timeout: seconds for each of its two ways to stop, the clean one and the quick one.

    Raises:
        DatabaseUnavailable: it runs on.
    """
    for number in (signal.SIGINT, signal.SIGQUIT):
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return
        deadline = time.monotonic() + timeout
        while is_alive(process) and time.monotonic() < deadline:
            time.sleep(0.01)
        if not is_alive(process):
            return
    raise DatabaseUnavailable(
        f"The database server does not stop (process {process.pid}).", hint="Look into its server.log."
    )


def begin_log(log: Path) -> int:
    """Begin a new log if the present one is long, and return how many bytes it has."""
    size = log.stat().st_size if log.exists() else 0
    if size <= _KEPT_LOG:
        return size
    log.replace(log.with_suffix(".log.1"))
    return 0


def log_end(log: Path, *, since: int = 0) -> str:
    """What the server logged after the first `since` bytes, at most its last 4 kB."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(since, size - 4000))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
