"""What the library does, and how fast.

* `import`: 2,000 JPEGs of 1600 × 2000 (1 in 20 of 12 MP) beside a bare loop that reads, hashes, decodes and
  makes one thumbnail on the same cores; memory of our processes without PostgreSQL. With `--keep FOLDER` the
  pictures are kept and not made again.
* `embedding`: the job's rate beside a bare open_clip loop with the same weights.
* `neighbours`: the nearest of 100,000 vectors with filters, by index and by scan: time, recall, building.
* `clustering`: quality on a hard set, growing in any order, and the loop's pauses meanwhile.
* `screen`: key to drawn page among 100,000 pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from library_parts import clustering, embedding_rate, import_rate, neighbours, screen
from report import Figure, Report

PARTS = {
    "embedding": embedding_rate.figures,
    "neighbours": neighbours.figures,
    "clustering": clustering.figures,
    "screen": screen.figures,
}


def figures(part: str, asked: argparse.Namespace) -> Iterable[Figure]:
    """The figures of one part, as they come."""
    return import_rate.figures(asked.quick, asked.keep) if part == "import" else PARTS[part](asked.quick)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ("import", *PARTS)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, the same targets")
    parser.add_argument("--only", action="append", choices=names, help="one part; may be given again")
    parser.add_argument("--keep", type=Path, help="folder for the pictures that are made")
    asked = parser.parse_args()
    report = Report("library", asked.quick)
    for part in asked.only or names:
        for figure in figures(part, asked):
            print(f"{part}: {figure.name} {figure.value:.4g} {figure.unit}", flush=True)
            report.add(figure)
    report.finish()


if __name__ == "__main__":
    main()
