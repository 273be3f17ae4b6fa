"""How fast publishing is: claims, the first post after an outage, lateness, memory; gap and quota kept.

By default 10,000 posts of 100 personas came due during an outage, and 20 personas publish on time in virtual
time. All against the sandbox and an embedded PostgreSQL of the benchmark's own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the harness is shared with tests/faults

import structlog
from benchmarks.faults_parts import crowds
from benchmarks.faults_parts.stage import Stage, open_stage

from report import Figure, Report, wants_quick

PLANNING_MS, LATE_SECONDS, GAP_MINUTES = 50.0, 20.0, 29.9


def figures(stage: Stage, quick: bool) -> Iterator[Figure]:
    """All figures, as they come."""
    personas, each = (10, 20) if quick else (100, 100)
    row = crowds.after_outage(stage, seed=1, personas=personas, each=each)
    yield Figure("first post out after the start", row["first_publish"], "s", "<=", crowds.FIRST_WITHIN)
    yield Figure("an empty transaction, p95", row["empty_p95_ms"], "ms")
    beyond = row["claim_p95_ms"] - row["empty_p95_ms"]
    yield Figure("a claim beyond an empty transaction, p95", beyond, "ms", "<=", 1000 * crowds.CLAIM_WITHIN)
    yield Figure("which accounts have something due, p95", row["planning_p95_ms"], "ms", "<=", PLANNING_MS)
    yield Figure("memory of the publishing process", row["memory_mb"], "MB", "<", crowds.MEMORY_MB)
    yield Figure(
        "shortest gap between an account's posts", row["shortest_gap_minutes"], "min", ">=", GAP_MINUTES
    )
    for state, count in sorted(row["ends"].items()):
        yield Figure(f"posts that ended as {state}, of {row['posts']}", count, "posts")
    for name in ("doubled", "lost", "wrong"):
        yield Figure(f"{name} after the outage", row[name], "posts", "==", 0)
    on_time = crowds.on_time(stage, seed=1, personas=4 if quick else 20, each=3 if quick else 10)
    yield Figure("lateness, p95, containers ready after 5 s", on_time["late"][1], "s", "<=", LATE_SECONDS)


def main() -> None:
    """Run and print."""
    quick = wants_quick(__doc__)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    report = Report("publishing", quick)
    with open_stage() as stage:
        for figure in figures(stage, quick):
            print(f"{figure.name}: {figure.value:.4g} {figure.unit}", flush=True)
            report.add(figure)
    report.finish()


if __name__ == "__main__":
    main()
