"""Signs of life for systemd, received by a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from persona_tui.headless import supervision


@pytest.fixture(params=["path", "abstract"])
def supervisor(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    address = str(tmp_path / "s") if request.param == "path" else f"\0persona-tui-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(address)
        line.settimeout(5)
        yield line


def test_what_is_told_arrives_as_one_datagram(supervisor: socket.socket) -> None:
    supervision.tell(READY="1", STATUS="leading")
    assert supervisor.recv(1000) == b"READY=1\nSTATUS=leading"


def test_without_a_supervisor_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    supervision.tell(READY="1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    supervision.tell(READY="1")


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "", 10.0),
        ("600000000", "", 20.0),
        ("30000000", "1", None),
        ("", "", None),
        ("x", "", None),
    ],
)
def test_the_pause_follows_the_supervisor(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, expected: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert supervision.pause() == expected


async def test_a_sign_is_given_after_a_new_good_round_alone(
    supervisor: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000")
    rounds, looks = iter([None, 1, 1, 1, 2, 2]), count()

    def last_good() -> int | None:
        next(looks)
        return next(rounds, 2)

    giving = asyncio.create_task(supervision.give_signs(last_good, lambda: "leading"))
    while next(looks) < 40:
        await asyncio.sleep(0.001)
    giving.cancel()
    supervisor.setblocking(False)
    signs = [supervisor.recv(1000) for _ in range(2)]
    assert signs == [b"WATCHDOG=1\nSTATUS=leading"] * 2
    with pytest.raises(BlockingIOError):
        supervisor.recv(1000)
