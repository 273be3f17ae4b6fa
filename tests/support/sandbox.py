"""The sandbox as a real child process of the test run."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

START_SECONDS = 60.0
STOP_SECONDS = 15.0


class SandboxProcess:
    """One running sandbox; `restart()` brings it back on the same state, ports and token.

    Attributes:
        comfyui, instagram, gemini, media: base URLs.
        token: the credential of all of them.
        media_dir: the folder that the media server shows.
        pid: process id of the child.
    """

    comfyui: str
    instagram: str
    gemini: str
    media: str
    token: str
    media_dir: Path
    pid: int

    def __init__(self, state: Path, *, arguments: Sequence[str] = ("--latency", "0")) -> None:
        """Args:
        state: the sandbox's state folder.
        arguments: further arguments of `python -m persona_tui.sandbox`.
        """
        self.state = state
        self.token = secrets.token_urlsafe(16)
        self.addresses: dict[str, str] = {}
        self._arguments = tuple(arguments)
        self._start(ports={})

    def _start(self, ports: dict[str, int]) -> None:
        given = [argument for name, port in ports.items() for argument in (f"--{name}-port", str(port))]
        command = [sys.executable, "-m", "persona_tui.sandbox", "--state", str(self.state), "--watch-parent"]
        self._process = subprocess.Popen(
            [*command, *given, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "SANDBOX_TOKEN": self.token},
        )
        told = self._first_line()
        self.media_dir, self.pid = Path(told["media_dir"]), told["pid"]
        self.addresses = {name: url for name, url in told.items() if str(url).startswith("http://")}
        for name, url in self.addresses.items():
            setattr(self, name, url)

    def _first_line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            self.kill()
            raise AssertionError(f"the sandbox did not start within {START_SECONDS:.0f} s; see its stderr")
        told: dict[str, Any] = json.loads(line)
        return told

    def stop(self) -> int:
        """End it by SIGTERM; returns the exit status."""
        self._process.terminate()
        return self._ended()

    def kill(self) -> int:
        """End it by SIGKILL; returns the (negative) exit status."""
        self._process.kill()
        return self._ended()

    def _ended(self) -> int:
        status = self._process.wait(STOP_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return status

    def restart(self) -> None:
        """Start again after `stop` or `kill`: same state, same ports, same token."""
        if self._process.poll() is None:
            self.stop()
        self._start({name: urlsplit(url).port or 0 for name, url in self.addresses.items()})

    def control(self, service: str, method: str, what: str, **options: Any) -> Any:
        """Call `/_sandbox/<what>` of one service and return its JSON."""
        # Without verify=False each call reads all certificates for a connection that has none: 50 ms.
        answer = httpx.request(
            method,
            f"{self.addresses[service]}/_sandbox/{what}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
            trust_env=False,
            verify=False,
            **options,
        )
        answer.raise_for_status()
        return answer.json()

    def plan(self, service: str, call: str, kind: str, **more: Any) -> None:
        """Plan a fault; see `persona_tui.sandbox.faults.Fault`."""
        self.control(service, "POST", "faults", json={"call": call, "kind": kind, **more})

    def clear_faults(self, service: str) -> None:
        """Forget the faults that have not struck."""
        self.control(service, "DELETE", "faults")

    def ledger(self, service: str, event: str | None = None) -> list[dict[str, Any]]:
        """What really happened at a service, oldest first."""
        entries: list[dict[str, Any]] = self.control(
            service, "GET", "ledger", params={"event": event} if event else {}
        )
        return entries

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock on."""
        self.control("comfyui", "POST", "clock", json={"advance": seconds})


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """One sandbox for the whole run; small pictures, no waiting."""
    process = SandboxProcess(
        tmp_path_factory.mktemp("sandbox"), arguments=("--latency", "0", "--image-size", "64x80")
    )
    yield process
    process.stop()
