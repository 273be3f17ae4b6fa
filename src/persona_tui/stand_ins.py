"""The sandbox as a child of this process: started, asked where it listens, ended with us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from persona_tui.errors import PersonaError

START_SECONDS = 30.0


@dataclass(frozen=True)
class StandIns:
    """Where the sandbox's servers listen, and the one token that they take."""

    comfyui: str
    instagram: str
    gemini: str
    media: str
    media_dir: Path
    token: str

    @property
    def lora_dir(self) -> Path:
        """The folder from which ComfyUI's stand-in reads LoRAs; beside that of the public media."""
        return self.media_dir.parent / "comfyui" / "models" / "loras"


@contextmanager
def running_stand_ins(state: Path) -> Iterator[StandIns]:
    """The sandbox, running as long as the block.

    Args:
        state: folder of what must outlive a restart of the sandbox.

    Raises:
        PersonaError: it does not start.
    """
    state.mkdir(parents=True, exist_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-m", "persona_tui.sandbox", "--state", str(state), "--json", "--watch-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield _facts(child)
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def _facts(child: subprocess.Popen[bytes]) -> StandIns:
    assert child.stdout is not None and child.stderr is not None
    line = child.stdout.readline()
    try:
        said = json.loads(line)
        return StandIns(
            said["comfyui"],
            said["instagram"],
            said["gemini"],
            said["media"],
            Path(said["media_dir"]),
            said["token"],
        )
    except (ValueError, KeyError):
        child.kill()
        words = child.stderr.read().decode(errors="replace").strip().splitlines()
        raise PersonaError(
            f"The sandbox did not start: {words[-1] if words else 'it said nothing'}.",
            title="No sandbox",
            hint="Try again, or `persona-tui demo --reset`.",
        ) from None
