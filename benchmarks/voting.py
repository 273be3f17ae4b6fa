"""How few votes find the winner, and how long one vote takes.

* `votes`: simulated contests of 50 pictures, our own choosing and updating beside random pairs with Elo
  K = 32 and the predecessor's rule, on two sets of 1,000 seeds. With `--keep FOLDER` what was played is kept
  and not played again, as long as the code that is measured is the same.
* `prior` (or `--prior`): contests that begin with predictions from the persona's taste.
* `tables`: other sizes, closer qualities, and voters who err; no claims, half an hour, only when asked for.
* `forecast`: whether the votes that are said to be still to come are the median of those that come.
* `latency`: one vote with update, persistence and next choice at 100 pictures, beside an empty SELECT 1.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from report import Figure, Report
from voting_parts import forecast, latency, prior, tables, votes

PARTS = ("votes", "prior", "forecast", "latency", "tables")
USUAL = ("votes", "prior", "forecast", "latency")


def figures(part: str, asked: argparse.Namespace) -> Iterable[Figure]:
    """The figures of one part, as they come."""
    if part == "latency":
        return latency.figures(asked.quick)
    if part == "forecast":
        return forecast.figures(asked.quick, asked.processes)
    if part == "prior":
        return prior.figures(asked.quick, asked.keep, asked.processes)
    if part == "tables":
        return tables.figures(asked.quick, asked.keep, asked.processes)
    return votes.figures(asked.quick, asked.keep, asked.processes)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer seeds and votes, the same targets")
    parser.add_argument("--only", action="append", choices=PARTS, help="one part; may be given again")
    parser.add_argument("--prior", action="append_const", dest="only", const="prior", help="--only prior")
    parser.add_argument("--keep", type=Path, help="folder for contests that were played")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    report = Report("voting", asked.quick)
    for part in asked.only or USUAL:
        for figure in figures(part, asked):
            print(f"{part}: {figure.name} {figure.value:.4g} {figure.unit}", flush=True)
            report.add(figure)
    report.finish()


if __name__ == "__main__":
    main()
