"""What all cases of a test come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from benchmarks.faults_parts.book import Book
from benchmarks.faults_parts.plan import PLANS
from benchmarks.faults_parts.sizes import Row

from report import Figure

HITS_WANTED = 95.0
THROUGH_BOTH = frozenset({"T1", "T2", "T3", "T4", "T10"})
UNRESOLVED = {"instagram": 1.0, "facebook": 0.0}
"""Percent of posts that may be left to a person."""


@dataclass
class Sum:
    """One test's row in the table.

    Attributes:
        late: the cases' 95th percentiles of lateness, seconds.
        broken: cases that missed a target of their own.
        sweeps: what was gone through boundary by boundary: cases but for their points.
    """

    name: str
    cases: int = 0
    kills: int = 0
    tried: int = 0
    posts: int = 0
    published: int = 0
    doubled: int = 0
    lost: int = 0
    wrong: int = 0
    unresolved: int = 0
    broken: int = 0
    wall: float = 0.0
    late: list[float] = field(default_factory=list)
    seeds: set[int] = field(default_factory=set)
    boundaries: Counter[str] = field(default_factory=Counter)
    sweeps: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        """Count one case."""
        result, case = row["result"], row["case"]
        self.cases += 1
        self.wall += row["wall"]
        for name in ("posts", "published", "doubled", "lost", "wrong", "unresolved", "kills"):
            setattr(self, name, getattr(self, name) + result.get(name, 0))
        self.broken += bool(result.get("broken"))
        self.seeds.add(case.get("seed", 0))
        if case.get("n"):
            self.tried += 1
            self.boundaries[result["boundary"]] += result["hit"]
            self.sweeps.add(str({name: value for name, value in case.items() if name != "n"}))
        if "late" in result and result["published"]:
            self.late.append(result["late"][1])


def sums_of(rows: Iterable[Row], names: Iterable[str]) -> list[Sum]:
    """Each of these tests that was played, in order."""
    found = {name: Sum(name) for name in names}
    for row in rows:
        found[row["test"]].add(row)
    return [one for one in found.values() if one.cases]


def figures(book: Book) -> Iterator[Figure]:
    """What is claimed of each test."""
    for one in sums_of(book.rows.values(), PLANS):
        if one.name == "T19":
            yield from _comparison(book)
            continue
        if one.tried:
            yield from _kill_figures(one)
        yield Figure(f"{one.name}: doubled of {one.posts} posts", one.doubled, "posts", "==", 0)
        yield Figure(f"{one.name}: lost", one.lost, "posts", "==", 0)
        yield Figure(f"{one.name}: bound to a wrong id", one.wrong, "posts", "==", 0)
        share = 100 * one.unresolved / one.posts if one.posts else 0.0
        yield Figure(f"{one.name}: left to a person", share, "%")
        yield Figure(f"{one.name}: cases that missed their own targets", one.broken, "cases", "==", 0)
    yield from _unresolved(book)


def _unresolved(book: Book) -> Iterator[Figure]:
    """Posts that a person had to look at, by the login whose adapter they went through."""
    for login, most in UNRESOLVED.items():
        posts = left = 0
        for row in book.rows.values():
            if row["test"] in THROUGH_BOTH and row["case"].get("account", "instagram") == login:
                posts += row["result"]["posts"]
                left += row["result"]["unresolved"]
        if posts:
            name = f"left to a person under {login.title()} Login, of {posts} posts"
            yield Figure(name, 100 * left / posts, "%", "<=", most)


def _kill_figures(one: Sum) -> Iterator[Figure]:
    hits = sum(one.boundaries.values())
    print(f"{one.name}: {one.kills} processes killed, {hits} of {one.tried} points hit")
    for name, count in one.boundaries.most_common():
        print(f"  {name or '(none)':20} {count:5} {'█' * max(1, 40 * count // max(one.boundaries.values()))}")
    # The last point of each sweep is the run that passed untouched: it is no miss.
    untouched = one.tried - hits if one.tried - hits <= len(one.sweeps) else 0
    share = 100 * hits / max(one.tried - untouched, 1)
    yield Figure(f"{one.name}: kills that hit", share, "%", ">=", HITS_WANTED)


def _comparison(book: Book) -> Iterator[Figure]:
    """Ours, with what the usual designs lost or doubled as the baseline."""
    by_design = {row["case"]["design"]: row["result"] for row in book.of("T19")}
    theirs = [row for name, row in by_design.items() if name != "ours"]
    if "ours" in by_design and theirs:
        for name in ("doubled", "lost"):
            most = max(row[name] for row in theirs)
            yield Figure(f"T19: {name}", by_design["ours"][name], "posts", "==", 0, baseline=most)
