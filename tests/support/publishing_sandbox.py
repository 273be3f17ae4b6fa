"""The run's one sandbox, and how its Instagram is steered."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from persona_tui.sandbox.instagram.behaviour import Behaviour
from tests.support.sandbox import SandboxProcess


@cache
def shared_sandbox() -> SandboxProcess:
    """One sandbox for the whole run; it ends with the run. Each world has an account of its own there."""
    folder = tempfile.mkdtemp(prefix="persona-sandbox-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    process = SandboxProcess(Path(folder))
    atexit.register(process.kill)
    return process


@cache
def http() -> httpx.Client:
    """One client: making one reads all certificates, which takes longer than the calls."""
    return httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {shared_sandbox().token}"})


def calm() -> None:
    """No faults, the machine's own time, and an Instagram that behaves."""
    sandbox = shared_sandbox()
    for service in (sandbox.instagram, sandbox.media):
        http().delete(f"{service}/_sandbox/faults").raise_for_status()
    http().post(f"{sandbox.instagram}/_sandbox/clock", json={"offset": 0}).raise_for_status()
    steer("behaviour", Behaviour(container_seconds=0).model_dump(mode="json"))


def steer(what: str, body: dict[str, Any]) -> Any:
    """POST to the Instagram stand-in's own steering routes."""
    answer = http().post(f"{shared_sandbox().instagram}/sandbox/{what}", json=body)
    answer.raise_for_status()
    return answer.json()


def new_token(*ig_user_ids: str, **facts: Any) -> str:
    """A token as a person gets it at Meta; see `persona_tui.sandbox.instagram.logins.NewToken`."""
    return str(steer("tokens", {"ig_user_ids": ig_user_ids, **facts})["token"])


def end_tokens(ig_user_id: str, subcode: int | None, **which: Any) -> None:
    """Let the account's tokens die (None: live again); see `TokenEnd` of the sandbox."""
    steer("token_ends", {"ig_user_id": ig_user_id, "subcode": subcode, **which})
