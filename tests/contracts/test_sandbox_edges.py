"""R28: nobody but the holder of this start's bearer talks to the sandbox, and no web page does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.support.sandbox import SandboxProcess, sandbox  # noqa: F401  (a fixture)

START = (sys.executable, "-m", "persona_tui.sandbox")
DOORS = {
    "comfyui": "/queue",
    "instagram": "/v26.0/me",
    "gemini": "/v1/models",
}


def ask(box: SandboxProcess, service: str, **headers: str) -> int:
    url = f"{box.addresses[service]}{DOORS[service]}"
    return httpx.get(url, headers=headers, trust_env=False, verify=False, timeout=10).status_code


@pytest.mark.parametrize("service", sorted(DOORS))
def test_r28_without_the_bearer_nothing_opens(sandbox: SandboxProcess, service: str) -> None:  # noqa: F811
    right = {"Authorization": f"Bearer {sandbox.token}"}
    assert ask(sandbox, service, **right) == 200
    assert ask(sandbox, service) in {400, 401}
    assert ask(sandbox, service, Authorization="Bearer wrong") in {400, 401}


@pytest.mark.parametrize("service", sorted(DOORS))
def test_r28_another_host_and_a_foreign_page_are_refused(
    sandbox: SandboxProcess,  # noqa: F811
    service: str,
) -> None:
    right = {"Authorization": f"Bearer {sandbox.token}"}
    assert ask(sandbox, service, **right, Host="rebound.example") == 403
    assert ask(sandbox, service, **right, Origin="https://evil.example") == 403


@pytest.mark.long
def test_r28_each_start_has_a_bearer_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SANDBOX_TOKEN", raising=False)
    tokens = set()
    for number in (1, 2):
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "persona_tui.sandbox",
                "--state",
                str(tmp_path / str(number)),
                "--watch-parent",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None and child.stdin is not None
        tokens.add(json.loads(child.stdout.readline())["token"])
        child.stdin.close()
        assert child.wait(15) == 0
        child.stdout.close()
    assert len(tokens) == 2 and all(len(token) >= 22 for token in tokens)
