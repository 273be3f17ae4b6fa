"""T21, cut off: a leader in a network of its own, whose line to the database is taken down and up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.faults_parts.sizes import Row
from benchmarks.faults_parts.stage import ROOT, Stage
from tests.support.foreign import ForeignServer, foreign_server

from persona_tui.database.engine import open_database
from persona_tui.database.migrate import upgrade
from persona_tui.settings import load_settings

WITHIN = 30.0
PATIENCE = 120.0
_NEAR, _FAR = "10.77.21.1", "10.77.21.2"


class Leading:
    """A process that tries to lead; `beats` is what it told."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.beats: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [*command, sys.executable, "-m", "benchmarks.faults_parts.leading"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def leads(self) -> bool:
        """Whether it said so last."""
        return bool(self.beats) and bool(self.beats[-1]["leads"])

    def end(self) -> None:
        """Close its standard input and wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.beats.append(json.loads(line))


def cut_off(stage: Stage, *, seed: int) -> Row:
    """The leader's line is cut; the standby takes over; after healing there is one leader."""
    del stage, seed
    with ExitStack() as stack:
        server = stack.enter_context(foreign_server(major=18, settings={"listen_addresses": "*"}))
        name = stack.enter_context(_network())
        _let_in(server)
        url = stack.enter_context(server.customer())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="persona-faults-"))
        environment = {**os.environ, "PERSONA_ENVIRONMENT": "sandbox", "PERSONA_DATA_DIR": folder}
        _migrate(url, Path(folder))
        far = environment | {"PERSONA_DATABASE_URL": url.replace("127.0.0.1", _NEAR)}
        first = Leading(["ip", "netns", "exec", name], far)
        stack.callback(first.end)
        _await(lambda: first.leads)
        second = Leading([], environment | {"PERSONA_DATABASE_URL": url})
        stack.callback(second.end)
        _await(lambda: len(second.beats) > 0)
        began = time.monotonic()
        _ip("link", "set", f"{name}n", "down")
        _await(lambda: second.leads)
        took = time.monotonic() - began
        _ip("link", "set", f"{name}n", "up")
        healed = len(first.beats)
        _await(lambda: any(not beat["problem"] for beat in first.beats[healed:]))
        both = any(beat["leads"] for beat in first.beats[healed:])
        epochs = (max(beat["epoch"] for beat in first.beats), second.beats[-1]["epoch"])
    broken = took > WITHIN or both or epochs[1] <= epochs[0]
    return {"posts": 0, "published": 0, "took_seconds": round(took, 2), "two_leaders": both, "broken": broken}


@contextmanager
def _network() -> Iterator[str]:
    """A network namespace with a line to this one."""
    name = f"ptui{os.getpid() % 100_000}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", f"{name}n", "type", "veth", "peer", "name", f"{name}f", "netns", name)
        _ip("addr", "add", f"{_NEAR}/24", "dev", f"{name}n")
        _ip("link", "set", f"{name}n", "up")
        _ip("-n", name, "addr", "add", f"{_FAR}/24", "dev", f"{name}f")
        _ip("-n", name, "link", "set", f"{name}f", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _let_in(server: ForeignServer) -> None:
    """Let the other end of the line in, with a password."""
    ((place,),) = server.execute("SHOW hba_file")
    with Path(place).open("a") as file:
        file.write(f"host all all {_FAR}/32 scram-sha-256\n")
    server.execute("SELECT pg_reload_conf()")


def _migrate(url: str, folder: Path) -> None:
    before = dict(os.environ)
    os.environ |= {
        "PERSONA_DATABASE_URL": url,
        "PERSONA_ENVIRONMENT": "sandbox",
        "PERSONA_DATA_DIR": str(folder),
    }
    try:
        database = open_database(load_settings())
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        upgrade(database, backup_dir=None, keep=1)
    finally:
        database.dispose()


def _await(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to pass")
        time.sleep(0.02)
