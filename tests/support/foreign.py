"""A PostgreSQL that is not ours: over TCP, with passwords, of an older version."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from persona_tui.database import postmaster
from persona_tui.database.folders import Folders
from persona_tui.database.programs import Programs, package_programs, run_program, server_account
from tests.support.database import reachable_folder


@dataclass(frozen=True)
class ForeignServer:
    """A running server; `admin` is its superuser's address."""

    port: int
    admin_password: str

    def url(self, user: str, password: str, database: str = "postgres") -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, command: str, *names: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a command as the superuser; names stand in for `{}`."""
        with psycopg.connect(self.url("postgres", self.admin_password, database), autocommit=True) as admin:
            cursor = admin.execute(sql.SQL(command).format(*map(sql.Identifier, names)))
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def customer(self, *, vector: bool = True) -> Iterator[str]:
        """The address of a fresh database with a user who may do nothing outside it."""
        name, password = f"customer_{secrets.token_hex(4)}", "p@ss:w/rd\\%"
        self.execute(f"CREATE ROLE {{}} LOGIN PASSWORD '{password}'", name)
        self.execute("CREATE DATABASE {0} OWNER {0}", name)
        if vector:
            self.execute("CREATE EXTENSION vector", database=name)
        try:
            yield self.url(name, "p%40ss%3Aw%2Frd%5C%25", name)
        finally:
            self.execute("DROP DATABASE {} WITH (FORCE)", name)
            self.execute("DROP ROLE {}", name)


@contextmanager
def foreign_server(*, major: int = 16, settings: Mapping[str, str] | None = None) -> Iterator[ForeignServer]:
    """Make and run a server on a free TCP port of this machine.

    Args:
        major: 16 or 18, the two that the package brings.
        settings: further server settings.
    """
    programs = _programs(major)
    account = server_account()
    with reachable_folder() as folder:
        account.own(folder)
        folders = Folders(folder)
        password = secrets.token_hex(8)
        secret = folder / "password"
        secret.write_text(password)
        account.own(secret)
        initdb = (programs.path("initdb"), f"--pgdata={folders.cluster}", "--username=postgres", "--no-sync")
        run_program((*initdb, "--auth=scram-sha-256", "--encoding=UTF8", f"--pwfile={secret}"), account)
        port = free_port()
        (folders.cluster / "postgresql.auto.conf").write_text(
            "".join(
                f"{name} = '{value}'\n"
                for name, value in {
                    "listen_addresses": "127.0.0.1",
                    "port": str(port),
                    "unix_socket_directories": "",
                    "fsync": "off",
                    **(settings or {}),
                }.items()
            )
        )
        log = folders.cluster / "server.log"
        start = ("-D", str(folders.cluster), "-l", str(log), "-w", "start")
        run_program((programs.path("pg_ctl"), *start), account)
        try:
            yield ForeignServer(port, password)
        finally:
            process = postmaster.find_postmaster(folders, account)
            assert process is not None
            with suppress(psutil.NoSuchProcess):
                postmaster.stop(process, timeout=20.0)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _programs(major: int) -> Programs:
    ours = package_programs()
    return ours if major == 18 else Programs(Path(ours.folder).parents[1] / "pginstall" / "bin")
