"""How fast the program starts, beside the least that its libraries allow.

* `persona-tui --help` against `python -c "import typer, rich"`: at most 1.5×.
* First paint of the Dashboard, before its data, against a bare Textual app with one Static: at most 2.5×.
* First data of the Dashboard, posts and pillars with their gaps (PostgreSQL of the data folder is stopped
  before): at most 5×. Clusters, runs and next actions follow when the core has started; that is not measured.

Both apps run on a pty that answers the terminal's questions; runs alternate, medians are compared.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

from report import Figure, Report

BARE = (
    "from textual.app import App\nfrom textual.widgets import Static\n"
    "class Bare(App):\n    def compose(self):\n        yield Static('BARE READY')\nBare().run()"
)
CHECKED = ("libtorch", "sklearn", "transformers", "diffusers", "open_clip", "google/genai")
SEED = (
    "from persona_tui.settings import load_settings\nfrom persona_tui.resources import Resources\n"
    "from persona_tui.services.planning.personas import create_persona\n"
    "from persona_tui.services.planning.pillars import create_pillar\n"
    "with Resources.open(load_settings()) as opened:\n"
    "    with opened.database.session_scope() as session:\n"
    "        made = create_persona(session, {'name': 'Mira', 'age': 31})\n"
    "        create_pillar(session, made.id, {'name': 'Harbour', 'weight': 40})\n"
)


class Screen:
    """A program on a pty of 120×40 that answers what the program asks the terminal."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.began = time.perf_counter()
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.execvpe(command[0], command, environment)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 1200, 800))
        self.seen = b""

    def seconds_until(self, pattern: bytes, timeout: float = 60.0) -> float:
        """Seconds from the start until the pattern has been written."""
        while not re.search(pattern, self.seen):
            left = self.began + timeout - time.perf_counter()
            ready, _, _ = select.select([self.terminal], [], [], max(left, 0))
            if not ready:
                raise SystemExit(f"{pattern!r} did not appear; the last words: {self.seen[-2000:]!r}")
            chunk = os.read(self.terminal, 65536)
            self.seen += chunk
            self._answer(chunk)
        return time.perf_counter() - self.began

    def _answer(self, chunk: bytes) -> None:
        if b"\x1b[c" in chunk:
            os.write(self.terminal, b"\x1b[?62;22c")
        if b"\x1b[?2026$p" in chunk:
            os.write(self.terminal, b"\x1b[?2026;2$y")

    def libraries(self) -> str:
        """What the process has mapped and opened, as /proc says."""
        return Path(f"/proc/{self.child}/maps").read_text()

    def close(self) -> None:
        """End the program and wait for it."""
        os.kill(self.child, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            done, _ = os.waitpid(self.child, os.WNOHANG)
            if done:
                break
            if select.select([self.terminal], [], [], 0.05)[0]:
                try:
                    os.read(self.terminal, 65536)
                except OSError:
                    os.waitpid(self.child, 0)
                    break
        else:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
        os.close(self.terminal)


def timed(command: list[str], environment: dict[str, str]) -> float:
    """Seconds that a whole command takes."""
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def alternate(runs: int, *measures: Callable[[], object]) -> list[list[object]]:
    """Measure one after the other, again and again, so that all see the same machine."""
    results: list[list[object]] = [[] for _ in measures]
    for _ in range(runs):
        for index, measure in enumerate(measures):
            results[index].append(measure())
    return results


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="persona-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        measure_all(quick, folder)


def measure_all(quick: bool, folder: str) -> None:
    """All three figures, with the data in this folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERSONA_")}
    environment = {
        **kept,
        "TERM": "xterm-256color",
        "PERSONA_DATA_DIR": f"{folder}/data",
        "PERSONA_CONFIG_DIR": f"{folder}/config",
        "PERSONA_COMFYUI__URLS": "http://127.0.0.1:9",
        "XDG_CONFIG_HOME": folder,
    }
    python = sys.executable
    program = str(Path(python).with_name("persona-tui"))
    subprocess.run([python, "-c", SEED], env=environment, check=True)
    libraries: set[str] = set()

    def bare_paint() -> float:
        screen = Screen([python, "-c", BARE], environment)
        seconds = screen.seconds_until(rb"BARE READY")
        screen.close()
        return seconds

    def app_paint() -> tuple[float, float]:
        screen = Screen([program], environment)
        paint = screen.seconds_until(rb"Dashboard")
        data = screen.seconds_until(rb"Harbour")
        mapped = screen.libraries()
        libraries.update(name for name in CHECKED if name in mapped)
        screen.close()
        return paint, data

    runs = 3 if quick else 9
    helps, floors = alternate(
        runs * 2,
        lambda: timed([program, "--help"], environment),
        lambda: timed([python, "-c", "import typer, rich"], environment),
    )
    bares, apps = alternate(runs, bare_paint, app_paint)
    floor, bare = statistics.median(floors), statistics.median(bares)
    paint = statistics.median(pair[0] for pair in apps)
    data = statistics.median(pair[1] for pair in apps)
    report = Report("startup", quick)
    report.add(Figure("help", statistics.median(helps) / floor, "×", "<=", 1.5, round(floor, 4)))
    report.add(Figure("first_paint", paint / bare, "×", "<=", 2.5, round(bare, 4)))
    report.add(Figure("first_data", data / bare, "×", "<=", 5.0, round(bare, 4)))
    report.add(Figure("heavy_libraries_loaded", len(libraries), "count", "<=", 0, None))
    report.finish()


if __name__ == "__main__":
    main()
