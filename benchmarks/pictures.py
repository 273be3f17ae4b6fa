"""What a vote costs on the wire, beside the same through textual-image.

The small app of `tests/terminal/duel_app.py` runs on a pty of 120×40 whose other end answers as kitty or a
sixel terminal and counts.

* kitty, next pair resident: at most 400 bytes in all, status line included, in one frame; key to last byte at
  most 30 ms (p95). The same through textual-image, where it is installed: both ratios.
* sixel, next pair encoded ahead: key to last byte at most 60 ms (p95).
* Fifty pictures of 1024² on their way at 10 Mbit/s with 80 ms round trip: from a vote's key to the answer
  that its pair is placed at most one round trip and 200 ms (p95); the loop's longest pause at most 60 ms.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from report import Figure, Report, wants_quick

sys.path[:0] = [str(Path(__file__).parents[1])]
from tests.terminal import pty_harness  # noqa: E402
from tests.terminal.live import LiveTerminal, log_of, make_pictures, run_duel  # noqa: E402

QUIET = 0.15
"""Seconds without a byte after which a swap is over."""
SIXEL_SIZE = (40, 120, 1200, 800)
ROUND_TRIP, RATE = 0.08, 10e6 / 8


def p95(values: list[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return statistics.quantiles(values, n=20)[-1] if len(values) > 1 else values[0]


def swap(terminal: LiveTerminal, quiet: float = QUIET) -> tuple[int, float, int]:
    """Press a key and wait until nothing comes any more.

    Returns:
        Bytes, milliseconds from the key to the last byte, and frames.
    """
    terminal.quiet(quiet)
    terminal.arrived.clear()
    terminal.marks.clear()
    before, began = terminal.byte_count, time.monotonic()
    terminal.type(b"n")
    terminal.until(lambda: terminal.byte_count > before)
    terminal.quiet(quiet)
    return (
        terminal.byte_count - before,
        1000 * (terminal.marks[-1][0] - began),
        terminal.arrived.count(b"\x1b[?2026h"),
    )


def resident(report: Report, swaps: int) -> None:
    """Kitty, all pictures resident."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, 12, 800)
        with run_duel(folder, "auto", "--ahead") as terminal:
            terminal.until(lambda: "prepared" in log_of(folder), "all pictures")
            ours = [swap(terminal) for _ in range(swaps)]
        theirs = through_textual_image(folder, max(3, swaps // 5))
    sizes, times, frames = zip(*ours, strict=True)
    other_bytes = statistics.median(size for size, _, _ in theirs) if theirs else None
    other_time = statistics.median(taken for _, taken, _ in theirs) if theirs else None
    report.add(Figure("kitty_swap_bytes", max(sizes), "bytes", "<=", 400, other_bytes))
    report.add(Figure("kitty_swap_p95", p95(list(times)), "ms", "<=", 30, other_time))
    report.add(Figure("kitty_swap_median", statistics.median(times), "ms"))
    report.add(Figure("kitty_swap_frames", max(frames), "frames", "==", 1))
    if other_bytes and other_time:
        report.add(Figure("bytes_of_textual_image", other_bytes / statistics.median(sizes), "×"))
        report.add(Figure("time_of_textual_image", other_time / statistics.median(times), "×"))


def through_textual_image(folder: Path, swaps: int) -> list[tuple[int, float, int]]:
    """The same pair and status line with textual-image's widget; empty where it is not installed."""
    try:
        import textual_image  # noqa: F401
    except ImportError:
        print("No comparison: pip install --target DIR textual-image, and PYTHONPATH=DIR.")
        return []
    app = Path(__file__).parent / "pictures_parts" / "textual_image_duel.py"
    command = [sys.executable, str(app), str(folder)]
    with LiveTerminal(looks=False).start(command, PYTHONPATH=os.pathsep.join(sys.path)) as terminal:
        terminal.until(lambda: terminal.byte_count > 100_000, "the other app")
        terminal.quiet(2.0)
        return [swap(terminal, quiet=1.0) for _ in range(swaps)]


def encoded_ahead(report: Report, swaps: int) -> None:
    """Sixel, all pictures encoded for both panes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, 8, 800)
        options = {"model": pty_harness.MLTERM, "size": SIXEL_SIZE}
        with run_duel(folder, "auto", "--ahead", **options) as terminal:
            terminal.until(lambda: "prepared" in log_of(folder), "all pictures")
            swap(terminal)  # the first pair was looked at long enough to be drawn again in more colours
            found = [swap(terminal) for _ in range(swaps)]
    sizes, times, _ = zip(*found, strict=True)
    report.add(Figure("sixel_swap_p95", p95(list(times)), "ms", "<=", 60))
    report.add(Figure("sixel_swap_median", statistics.median(times), "ms"))
    report.add(Figure("sixel_swap_bytes", statistics.median(sizes), "bytes"))


def placed(folder: Path, number: int) -> bool:
    """Whether the app has heard that both pictures of this pair are on the screen."""
    return f"pair {number}" in log_of(folder)


def while_uploading(report: Report, pictures: int, votes: int, least: int) -> None:
    """Votes between resident pairs while the others are on their way over a slow line.

    Args:
        votes: at most; they end with the upload.
        least: votes below which the figures say little.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_pictures(folder, pictures, 1024)
        options = {"rate": RATE, "round_trip": ROUND_TRIP}
        with run_duel(folder, "auto", "--ahead", "--between", **options) as terminal:
            terminal.until(lambda: len(terminal.kitty.images) >= 6, "some pictures")
            times: list[float] = []
            while "prepared" not in log_of(folder) and len(times) < votes:
                number = len(times) + 1
                time.sleep(0.3)
                began = time.monotonic()
                terminal.type(b"n")
                terminal.until(partial(placed, folder, number), "the pair")
                times.append(1000 * (time.monotonic() - began))
            terminal.until(lambda: "prepared" in log_of(folder), "all pictures")
            pauses = [float(line.split()[1]) for line in log_of(folder) if line.startswith("pause ")]
    report.add(Figure("vote_during_upload_p95", p95(times), "ms", "<=", 1000 * ROUND_TRIP + 200))
    report.add(Figure("vote_during_upload_median", statistics.median(times), "ms"))
    report.add(Figure("loop_pause_worst", max(pauses), "ms", "<=", 60))
    report.add(Figure("votes_while_uploading", len(times), "votes", ">=", least))


def main() -> None:
    """Run and print."""
    quick = wants_quick(__doc__)
    report = Report("pictures", quick)
    resident(report, 10 if quick else 60)
    encoded_ahead(report, 6 if quick else 60)
    while_uploading(report, 20 if quick else 50, 8 if quick else 30, 3 if quick else 15)
    report.finish()


if __name__ == "__main__":
    main()
