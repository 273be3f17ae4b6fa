"""docs/reliability.json, the rows of the published run, and the page made of it (R24)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from benchmarks.faults_parts.book import Book, commit
from benchmarks.faults_parts.plan import PLANS
from benchmarks.faults_parts.sizes import Row
from benchmarks.faults_parts.stage import ROOT
from benchmarks.faults_parts.sums import Sum, sums_of

from report import machine

RESULTS, PAGE = ROOT / "docs" / "reliability.json", ROOT / "docs" / "reliability.md"

_HEAD = """# Reliability

What happens to posts when things break. Each row below was played with real processes, real kills, an
embedded PostgreSQL and the sandbox's Graph API, whose own ledger, kept in another process, is what the
database is held against. `doubled` counts publications beyond a post's first, `lost` posts that are neither
out nor in a state that tells the operator what to do, `wrong` posts bound to another item. Time is moved
on, not waited for; lateness is the 95th percentile, in seconds of that time, of the case in the middle and
of the slowest one, faults included.

This page is made by `python benchmarks/faults.py --document` from `docs/reliability.json`, which holds
every case with its seed. Cases are played again in `tests/faults/test_publishing_faults.py`: three of the
quickest, taken at random, in each run of `script/test`, twenty in the long one.
"""
_DONE = "It is the full run: `{command}`."
_PART = (
    "**It is a part of the full run**, as far as the machine had time: the rows say how much of each test was"
    " played. The full run is `{command}`; with `--resume` it goes on where it was stopped."
)
_COLUMNS = (
    "test",
    "cases",
    "seeds",
    "posts",
    "published",
    "kills",
    "doubled",
    "lost",
    "wrong",
    "left to a person",
    "missed a target of its own",
    "late p95 (s)",
    "wall (min)",
)


def keep(book: Book, seed: int, *, complete: bool) -> None:
    """Write the rows of a run.

    Args:
        complete: it was the full run.
    """
    kept = {
        "made": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "seed": seed,
        "complete": complete,
        "rows": list(book.rows.values()),
    }
    lines = ",\n".join(json.dumps(row, sort_keys=True) for row in kept.pop("rows"))
    head = json.dumps(kept, indent=1).rstrip("}\n")
    RESULTS.write_text(f'{head},\n "rows": [\n{lines}\n]}}\n')
    write_document()


def write_document() -> None:
    """Write docs/reliability.md from docs/reliability.json."""
    kept = json.loads(RESULTS.read_text())
    PAGE.write_text("\n".join(_page(kept)))


def _page(kept: Row) -> Iterator[str]:
    sums = sums_of(kept["rows"], PLANS)
    command = f"python benchmarks/faults.py --seed {kept['seed']}"
    yield _HEAD
    yield (_DONE if kept["complete"] else _PART).format(command=command)
    yield f"\nMade on {kept['made']} on {kept['machine']}, at commit {kept['commit']}{_others(kept)}."
    ours = [one for one in sums if one.name != "T19"]
    totals = {
        name: sum(getattr(one, name) for one in ours) for name in ("cases", "kills", "posts", "published")
    }
    yield "In all {cases:,} cases, {kills:,} kills and {posts:,} posts, {published:,} published.\n".format(
        **totals
    )
    yield from _table(_COLUMNS, (_cells(one) for one in ours))
    yield "\n| test | what it does | command |\n| --- | --- | --- |"
    for one in sums:
        about = (PLANS[one.name].__doc__ or "").strip().partition(": ")[2]
        yield f"| {one.name} | {about} | `{command} --only {one.name}` |"
    yield from _adapters(kept["rows"])
    yield from _comparison(kept["rows"])
    yield from _notes(kept["rows"])


def _others(kept: Row) -> str:
    """Which tests were played at other commits, as a part of a sentence."""
    found: dict[str, set[str]] = {}
    for row in kept["rows"]:
        if row["commit"] != kept["commit"]:
            found.setdefault(row["commit"], set()).add(row["test"])
    told = (f"{', '.join(sorted(tests))} at {commit}" for commit, tests in sorted(found.items()))
    return "".join(f"; cases of {one}" for one in told)


def _cells(one: Sum) -> tuple[object, ...]:
    late = sorted(one.late)
    shown = f"{late[len(late) // 2]:,.0f} / {late[-1]:,.0f}" if late else "–"
    seeds = sorted(one.seeds)
    told = f"{seeds[0]}–{seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    return (
        one.name,
        one.cases,
        told,
        one.posts,
        one.published,
        one.kills or "–",
        one.doubled,
        one.lost,
        one.wrong,
        one.unresolved,
        one.broken,
        shown,
        f"{one.wall / 60:.1f}",
    )


def _adapters(rows: Iterable[Row]) -> Iterator[str]:
    """The cases that went through a login's own adapter, by login and kind of post."""
    found: dict[tuple[str, str, str], Sum] = {}
    for row in rows:
        case = row["case"]
        if "account" in case:
            group = (row["test"], case["account"], case.get("kind", "single"))
            found.setdefault(group, Sum(row["test"])).add(row)
    if not found:
        return
    yield "\n## Through each login's adapter\n"
    yield (
        "Each account under a token of its own, as that login gives it; the other cases of these tests go"
        " through Instagram Login's adapter under a token without an end.\n"
    )
    columns = ("test", "login", "posts are", "cases", "posts", "kills", "doubled", "lost", "wrong", "left")
    yield from _table(
        columns,
        (
            (*group, one.cases, one.posts, one.kills or "–", one.doubled, one.lost, one.wrong, one.unresolved)
            for group, one in sorted(found.items(), key=lambda item: (int(item[0][0][1:]), item[0]))
        ),
    )


def _comparison(rows: Iterable[Row]) -> Iterator[str]:
    """T19: ours beside the usual designs."""
    found = [row for row in rows if row["test"] == "T19"]
    if not found:
        return
    yield "\n## Beside the usual designs (T19)\n"
    yield (
        "The same sandbox, faults and kills. `job_store` keeps one APScheduler job for each post in its"
        " store, with APScheduler's defaults; `retry` tries each post three times with a new container and"
        " marks it.\n"
    )
    columns = ("design", "posts", "kills", "published", "doubled", "lost")
    yield from _table(
        columns,
        ((row["case"]["design"], *(row["result"][name] for name in columns[1:])) for row in found),
    )


def _notes(rows: Iterable[Row]) -> Iterator[str]:
    """Figures that only some tests have."""
    yield "\n## Single figures\n"
    names = (
        "first_publish",
        "claim_p95_ms",
        "empty_p95_ms",
        "memory_mb",
        "shortest_gap_minutes",
        "calls_per_wait",
        "back_seconds",
        "took_seconds",
        "alone",
        "fenced_writes",
        "unwritten",
        "in_24_hours",
    )
    for row in rows:
        told = {name: row["result"][name] for name in names if name in row["result"]}
        if told:
            case = " ".join(f"{name}={value}" for name, value in row["case"].items())
            yield f"- {row['test']} {case}: " + ", ".join(f"{k} {v}" for k, v in told.items())
    yield ""


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    heads = list(columns)
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"
