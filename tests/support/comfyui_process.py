"""A real ComfyUI as a child of the test run: started, really killed, started again.

PERSONA_TEST_COMFYUI_START is the command, in which `{port}` and `{folder}` are filled in, such as
`python main.py --cpu --listen 127.0.0.1 --port {port} --base-directory {folder}`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx

from tests.support import comfyui_models
from tests.support.comfyui_models import Family

BOOT_SECONDS = 300.0
START = "PERSONA_TEST_COMFYUI_START"


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class ComfyProcess:
    """One server with folders of its own; `restart` brings it back on the same port.

    Attributes:
        comfyui: its address.
        token: none is asked for.
        folder: its base folder.
    """

    token: str = ""

    def __init__(self, folder: Path, *families: Family) -> None:
        """Args:
        folder: where it is to keep all.
        families: whose tiny models it needs; those of PERSONA_TEST_COMFYUI_DIR are taken where they are.
        """
        self.folder = folder
        # A server whose base folder lacks it does not start.
        nodes = folder / "custom_nodes"
        nodes.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(__file__).with_name("comfyui_node.py"), nodes)
        self._port = _free_port()
        self.comfyui = f"http://127.0.0.1:{self._port}"
        for family in families:
            self._fill(family)
        self._process = self._started()

    def _fill(self, family: Family) -> None:
        at_hand = os.environ.get("PERSONA_TEST_COMFYUI_DIR")
        for model in comfyui_models.NEEDED[family]:
            place = self.folder / "models" / model.folder
            place.mkdir(parents=True, exist_ok=True)
            if at_hand is not None:
                comfyui_models.place(family, Path(at_hand) / "models")
                (place / model.name).symlink_to(Path(at_hand) / "models" / model.folder / model.name)
        comfyui_models.place(family, self.folder / "models")

    def _started(self) -> subprocess.Popen[bytes]:
        command = os.environ[START].format(port=self._port, folder=shlex.quote(str(self.folder)))
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(["sh", "-c", command], stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + BOOT_SECONDS
        while not self.answers():
            assert process.poll() is None, f"ComfyUI ended: see {self.folder}/server.log"
            assert time.monotonic() < deadline, f"ComfyUI did not start within {BOOT_SECONDS:.0f} s"
            time.sleep(0.2)
        return process

    def answers(self) -> bool:
        """Whether it takes calls."""
        try:
            return (
                httpx.get(f"{self.comfyui}/prompt", timeout=5, trust_env=False, verify=False).status_code
                == 200
            )
        except httpx.TransportError:
            return False

    def kill(self) -> int:
        """End it and all that it started by SIGKILL; returns the (negative) exit status.

        A process of some gigabytes still holds its port for a moment after its shell is gone.
        """
        os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait(30)
        while self._listens():
            time.sleep(0.05)
        return status

    def _listens(self) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self._port)) == 0

    def restart(self) -> None:
        """Start it again after `kill`; waits until it answers."""
        self._process = self._started()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process.poll() is None:
            self.kill()
