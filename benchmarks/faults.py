"""Publishing under faults: what is doubled, lost, bound wrongly or left to a person when things break.

Tests T1 to T20 with real processes, real kills, an embedded PostgreSQL and the sandbox's Graph API, whose own
ledger, kept in another process, is the truth that the database is held against. Time is moved on, not waited
for. Each case is a row of the results; what is there is not played again with --resume. Two processes share
the cases on two cores; what hangs on the machine's speed is played alone, after the rest.

    python benchmarks/faults.py --quick                  40 kills, 300 publishes
    python benchmarks/faults.py --only T1,T6 --seed 7
    python benchmarks/faults.py --resume                 go on after a stop
    python benchmarks/faults.py --document               docs/reliability.md from docs/reliability.json
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the harness is shared with tests/faults

import structlog  # noqa: E402
from benchmarks.faults_parts.book import Book, Share  # noqa: E402
from benchmarks.faults_parts.document import keep, write_document  # noqa: E402
from benchmarks.faults_parts.plan import BY_THE_MACHINE, PLANS, PLAYS  # noqa: E402
from benchmarks.faults_parts.sizes import sizes  # noqa: E402
from benchmarks.faults_parts.stage import Stage, open_stage  # noqa: E402
from benchmarks.faults_parts.sums import figures  # noqa: E402

from report import Report  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "faults.jsonl"


def main() -> None:
    """Play, sum up, print."""
    asked = _parse()
    if asked.document and asked.keep:
        keep(Book(PLAYS, asked.results, open_stage, resume=True), asked.seed, complete=False)
    if asked.document:
        write_document()
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    names = asked.only or list(PLANS)
    if asked.share is not None:
        _play(asked, [name for name in names if name not in BY_THE_MACHINE], resume=True)
        return
    if asked.jobs > 1:
        _play_together(asked)
    book = _play(asked, names, resume=asked.resume or asked.jobs > 1)
    report = Report("faults", asked.quick)
    for figure in figures(book):
        report.add(figure)
    complete = not asked.quick and not asked.only
    if complete or asked.keep:
        keep(book, asked.seed, complete=complete)
    report.finish()


def _play(asked: argparse.Namespace, names: Sequence[str], *, resume: bool) -> Book:
    """All cases of these tests, or this process's share of them."""
    with ExitStack() as stack:

        @cache
        def stage() -> Stage:
            return stack.enter_context(open_stage())

        book = Book(PLAYS, asked.results, stage, resume=resume, share=asked.share)
        size = sizes(asked.seed, quick=asked.quick)
        for name in names:
            print(f"{name}: {(PLANS[name].__doc__ or '').splitlines()[0]}", flush=True)
            PLANS[name](book.run, size)
    return book


def _play_together(asked: argparse.Namespace) -> None:
    """Have other processes play what can be played side by side; each appends its rows to the results.

    Raises:
        SystemExit: one of them failed.
    """
    if not (asked.resume and asked.results.exists()):
        asked.results.parent.mkdir(parents=True, exist_ok=True)
        asked.results.write_text("")
    command = [sys.executable, __file__, "--seed", str(asked.seed), "--results", str(asked.results)]
    command += ["--quick"] * asked.quick + (["--only", ",".join(asked.only)] if asked.only else [])
    shares = [[*command, "--share", f"{number}/{asked.jobs}"] for number in range(asked.jobs)]
    playing = [subprocess.Popen(share) for share in shares]
    ended = [one.wait() for one in playing]
    if any(ended):
        sys.exit("Not all cases could be played; with --resume the others are played now.")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="40 kills and 300 publishes, the same targets")
    parser.add_argument("--seed", type=int, default=1, help="changes schedules, faults and kill points")
    parser.add_argument("--only", type=_tests, metavar="T1,T2", help="these tests alone")
    parser.add_argument("--resume", action="store_true", help="keep the results that are there")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 2), help="processes that play")
    parser.add_argument("--share", type=_share, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON Lines file of all cases")
    parser.add_argument("--keep", action="store_true", help="write docs/reliability.json of a part, too")
    parser.add_argument("--document", action="store_true", help="make docs/reliability.md, play nothing")
    return parser.parse_args()


def _share(text: str) -> Share:
    number, _, of = text.partition("/")
    return Share(int(number), int(of))


def _tests(text: str) -> list[str]:
    asked = text.split(",")
    unknown = [name for name in asked if name not in PLANS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such test: {', '.join(unknown)}; there are {', '.join(PLANS)}")
    return asked


if __name__ == "__main__":
    main()
