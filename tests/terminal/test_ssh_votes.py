"""A sitting of 60 votes over a real ssh connection: each key is one vote, for the picture that it meant."""

from __future__ import annotations

import getpass
import io
import os
import random
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from persona_tui.database.engine import Database
from persona_tui.services.media import MediaStore
from tests.support.database import throwaway_database
from tests.support.world import grow_run, make_plan
from tests.terminal.live import LiveTerminal

PROGRAM = Path(sys.executable).with_name("persona-tui")
VOTES, PICTURES = 60, 16
SECONDS = 60.0
ROUND_TRIP = 0.08
QUIET = 0.3
"""Seconds without a byte after which a pair stands, and the app takes keys for it."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("sshd") is None, reason="no sshd: install openssh-server"),
]


@dataclass(frozen=True)
class Daemon:
    """An ssh server on this machine, and how to reach it."""

    port: int
    key: Path

    def command(self, words: list[str]) -> list[str]:
        """What runs these words over it, in a terminal."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR"]
        given = [word for option in options for word in ("-o", option)]
        target = f"{getpass.getuser()}@127.0.0.1"
        return ["ssh", "-tt", "-p", str(self.port), "-i", str(self.key), *given, target, shlex.join(words)]


@contextmanager
def ssh_daemon() -> Iterator[Daemon]:
    """An sshd of the test's own, with keys of its own."""
    with tempfile.TemporaryDirectory(prefix="persona-ssh-") as name, socket.socket() as taken:
        folder = Path(name)
        for kind in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / kind)], check=True
            )
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        lines = [
            f"Port {port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder / 'host'}",
            f"AuthorizedKeysFile {folder / 'user.pub'}",
            f"PidFile {folder / 'pid'}",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin prohibit-password",
        ]
        (folder / "config").write_text("\n".join(lines) + "\n")
        Path("/run/sshd").mkdir(exist_ok=True)
        daemon = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")])
        try:
            _wait_for_port(port)
            yield Daemon(port, folder / "user")
        finally:
            daemon.terminate()
            daemon.wait()


def _wait_for_port(port: int) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < end, "sshd does not listen"
            time.sleep(0.05)


def fill(database: Database) -> int:
    """A contest of pictures that look different; returns its id."""
    media = MediaStore(database.settings)
    with database.session_scope() as session:
        grown = grow_run(session, make_plan(session), PICTURES)
        session.execute(text("UPDATE pipeline_runs SET status = 'waiting'"))
        for number, candidate in enumerate(grown.candidates):
            picture = io.BytesIO()
            colour = (number * 53 % 256, number * 97 % 256, number * 31 % 256)
            Image.new("RGB", (320, 400), colour).save(picture, "PNG")
            stored = media.put(picture.getvalue())
            session.execute(
                text("UPDATE image_candidates SET media_key = :key, sha256 = :sha WHERE id = :id"),
                {"key": stored.key, "sha": stored.sha256, "id": candidate},
            )
    return grown.contest_id


def chosen_sides(database: Database, contest: int) -> list[int]:
    """The side that each vote chose, in their order."""
    with database.session_scope() as session:
        rows = session.execute(
            text(
                "SELECT i.side FROM votes v LEFT JOIN vote_items i ON i.vote_id = v.id AND i.chosen"
                " WHERE v.contest_id = :contest ORDER BY v.id"
            ),
            {"contest": contest},
        )
        return [row.side for row in rows]


def app_over(daemon: Daemon, database: Database) -> list[str]:
    """The command that opens the app at the other end of the connection."""
    settings = database.settings
    places = [
        f"PERSONA_DATA_DIR={settings.data_dir}",
        f"PERSONA_CONFIG_DIR={settings.data_dir.parent / 'config'}",
        "PERSONA_ENVIRONMENT=sandbox",
        "PERSONA_COMFYUI__URLS=http://127.0.0.1:9",
    ]
    return daemon.command(["env", *places, str(PROGRAM)])


@pytest.mark.skipif("PERSONA_DATABASE_URL" in os.environ, reason="the app opens the embedded database")
@pytest.mark.timeout(600)
def test_sixty_votes_over_ssh_are_sixty_votes() -> None:
    rng = random.Random(7)
    meant: list[int] = []
    with throwaway_database() as database, ssh_daemon() as daemon:
        contest = fill(database)
        with LiveTerminal(round_trip=ROUND_TRIP).start(app_over(daemon, database)) as terminal:
            terminal.until(lambda: b"leading" in terminal.arrived, "the app")
            terminal.type(b"\x1b[15~")  # F5
            terminal.until(lambda: b"this one" in terminal.arrived, "the pair")
            for _ in range(VOTES):
                terminal.quiet(QUIET)
                meant.append(rng.choice((1, 2)))
                terminal.type(b"\x1b[D" if meant[-1] == 1 else b"\x1b[C")
                _wait_for_vote(database, contest, len(meant))
            assert terminal.kitty.images
        assert chosen_sides(database, contest) == meant


def _wait_for_vote(database: Database, contest: int, count: int) -> None:
    end = time.monotonic() + SECONDS
    while len(chosen_sides(database, contest)) < count:
        assert time.monotonic() < end, f"vote {count} was lost"
        time.sleep(0.03)
