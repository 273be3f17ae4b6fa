"""Publishing under faults: what is doubled, lost, bound wrongly or left to a person when things break.

Tests T1 to T20 with real processes, real kills, an embedded PostgreSQL and the sandbox's Graph API, whose own
ledger, kept in another process, is the truth that the database is held against. Time is moved on, not waited
for. Each case is a row of the results; what is there is not played again with --resume.

    python benchmarks/faults.py --quick                  40 kills, 300 publishes
    python benchmarks/faults.py --only T1,T6 --seed 7
    python benchmarks/faults.py --resume                 go on after a stop
    python benchmarks/faults.py --document               docs/reliability.md from docs/reliability.json
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the harness is shared with tests/faults

import structlog  # noqa: E402
from benchmarks.faults_parts.book import Book  # noqa: E402
from benchmarks.faults_parts.document import keep, write_document  # noqa: E402
from benchmarks.faults_parts.plan import PLANS, PLAYS  # noqa: E402
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
    with ExitStack() as stack:

        @cache
        def stage() -> Stage:
            return stack.enter_context(open_stage())

        book = Book(PLAYS, asked.results, stage, resume=asked.resume)
        size = sizes(asked.seed, quick=asked.quick)
        for name in asked.only or PLANS:
            print(f"{name}: {(PLANS[name].__doc__ or '').splitlines()[0]}", flush=True)
            PLANS[name](book.run, size)
    report = Report("faults", asked.quick)
    for figure in figures(book):
        report.add(figure)
    complete = not asked.quick and not asked.only
    if complete or asked.keep:
        keep(book, asked.seed, complete=complete)
    report.finish()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="40 kills and 300 publishes, the same targets")
    parser.add_argument("--seed", type=int, default=1, help="changes schedules, faults and kill points")
    parser.add_argument("--only", type=_tests, metavar="T1,T2", help="these tests alone")
    parser.add_argument("--resume", action="store_true", help="keep the results that are there")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON Lines file of all cases")
    parser.add_argument("--keep", action="store_true", help="write docs/reliability.json of a part, too")
    parser.add_argument("--document", action="store_true", help="make docs/reliability.md, play nothing")
    return parser.parse_args()


def _tests(text: str) -> list[str]:
    asked = text.split(",")
    unknown = [name for name in asked if name not in PLANS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such test: {', '.join(unknown)}; there are {', '.join(PLANS)}")
    return asked


if __name__ == "__main__":
    main()
