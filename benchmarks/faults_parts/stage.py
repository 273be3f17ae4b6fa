"""Where a case is played: a database, a sandbox in another process, children to kill, and the verdict."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from benchmarks.faults_parts import hostile
from benchmarks.faults_parts.child import told
from benchmarks.faults_parts.clock import VirtualClock
from benchmarks.faults_parts.play import OPEN_STATES, Player
from sqlalchemy import text
from tests.support.database import Sweeper, throwaway_database
from tests.support.publishing import World, add_persona, make_world
from tests.support.publishing_sandbox import shared_sandbox, steer

from persona_tui.clients.instagram_login import LoginName
from persona_tui.database.engine import Database
from persona_tui.services.publishing.wording import full_caption

ROOT = Path(__file__).parents[2]
LIMIT = 6 * 3600.0
"""Seconds of virtual time after which a case counts as stuck."""
FRESH_EVERY = 20


@dataclass
class Verdict:
    """What the database says, held against what the sandbox really published.

    Attributes:
        lost: posts that are neither out nor in a state that shows the operator what to do, and those said to
            be out that are not.
        doubled: publications of a post beyond its first.
        wrong: posts bound to an item that is not theirs.
        unresolved: posts left to a person.
        ends: posts by their last state.
        late: seconds from due to published, of those that are out, ascending.
        settled: seconds from due to the verdict on them, of those that have one, ascending.
        containers, sent, faults: containers made, publish calls heard and faults that struck.
        ledger: hash of what the sandbox noted, but for ids and times.
    """

    posts: int = 0
    published: int = 0
    doubled: int = 0
    lost: int = 0
    wrong: int = 0
    unresolved: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    settled: list[float] = field(default_factory=list)
    containers: int = 0
    sent: int = 0
    faults: int = 0
    ledger: str = ""

    def as_row(self) -> dict[str, Any]:
        """For a line of JSON; times as median, 95th percentile and longest."""
        row = asdict(self)
        for name in ("late", "settled"):
            row[name] = [round(percentile(row[name], share), 1) for share in (0.5, 0.95, 1.0)]
        return row


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of ascending values; 0 of none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


class Stage:
    """One database and one sandbox, made ready for case after case."""

    def __init__(self, db: Database, folder: Path) -> None:
        """Args:
        db: a migrated sandbox database with nothing in it.
        """
        self.db = db
        self.folder = folder
        self.sandbox = shared_sandbox()
        self._sweeper = Sweeper(db)
        self._stack = ExitStack()
        self._stack.callback(self._sweeper.close)
        VirtualClock.make(folder / "clock")
        self.clock = VirtualClock(self._clock_facts(), db.conninfo("owner"))
        self._stack.callback(self.clock.close)
        self._http = httpx.Client(
            base_url=self.sandbox.instagram,
            headers={"Authorization": f"Bearer {self.sandbox.token}"},
            trust_env=False,
            verify=False,
        )
        self._stack.callback(self._http.close)
        self._seen = 0

    def release(self) -> None:
        """Let go of the database, which is about to be replaced; the stage begins no more cases."""
        self._sweeper.close()
        self.db.engine.dispose()

    def close(self) -> None:
        """Let go of everything but the database."""
        self._stack.close()

    def begin(self, seed: int, *, personas: int = 1, account: LoginName | None = None) -> list[World]:
        """Sweep, set everything back, and make personas with an account each.

        Args:
            seed: of all that the sandbox draws.
            account: each account is connected by this login and goes through its adapter, under a token of
                its own; None: Instagram's, under the sandbox's bearer.
        """
        self._sweeper.sweep()
        self.clock.reset()
        self.entries()
        self._http.post("/_sandbox/seed", json={"seed": seed}).raise_for_status()
        first = make_world(self.db, self.folder, name="P1", login=account)
        worlds = [first]
        for number in range(2, personas + 1):
            other = replace(first)
            add_persona(other, f"P{number}", account)
            worlds.append(other)
        return worlds

    def behave(self, **changes: Any) -> None:
        """Change how the sandbox's Instagram behaves."""
        steer("behaviour", changes)

    def hostile(self, seed: int, share: float = hostile.SHARE, **behaviour: Any) -> None:
        """The default mix of R23."""
        self.behave(**{**hostile.BEHAVIOUR, **behaviour})
        self.mix(hostile.mixes(seed, share))

    def mix(self, mixes: list[dict[str, Any]]) -> None:
        """Draw faults of Instagram from these."""
        self._http.post("/_sandbox/mix", json=mixes).raise_for_status()

    def calm_down(self) -> None:
        """No more faults of Instagram."""
        self._http.delete("/_sandbox/faults").raise_for_status()

    def player(self, world: World, **options: Any) -> Player:
        """Publisher and reconciler of this process."""
        return Player(world, self.clock, **options)

    # Children

    def order(
        self, world: World, *, fresh: bool = False, seconds: float = LIMIT, **kill: Any
    ) -> dict[str, Any]:
        """Have a child process publish until nothing moves, or until it is killed as told."""
        order = json.dumps({"world": self.facts(world), "seconds": seconds, **kill})
        if fresh:
            return self._once(order)
        to_child, from_child = self._children.stdin, self._children.stdout
        assert to_child is not None and from_child is not None
        to_child.write(order + "\n")
        to_child.flush()
        answer: dict[str, Any] = json.loads(from_child.readline())
        return answer

    @cached_property
    def _children(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.faults_parts.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._stack.callback(_end, process)
        return process

    def _once(self, order: str) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile() as reached:
            command = [sys.executable, "-m", "benchmarks.faults_parts.child", "--once", order, reached.name]
            code = subprocess.run(command, cwd=ROOT, check=False).returncode
            return {
                "signal": max(-code, 0),
                "exit": code if code >= 0 else None,
                **told(Path(reached.name).read_text().split()),
            }

    def facts(self, world: World) -> dict[str, Any]:
        """What another process needs to know."""
        return {**world.facts(), **self._clock_facts()}

    def _clock_facts(self) -> dict[str, str]:
        return {
            "clock": str(self.folder / "clock"),
            "instagram": self.sandbox.instagram,
            "token": self.sandbox.token,
        }

    # The verdict

    def entries(self) -> list[dict[str, Any]]:
        """What the sandbox's Instagram noted since the last time it was asked."""
        answer = self._http.get("/_sandbox/ledger", params={"since": self._seen})
        found: list[dict[str, Any]] = answer.json()
        if found:
            self._seen = found[-1]["n"] + 1
        return found

    def verdict(self, entries: Sequence[dict[str, Any]] | None = None) -> Verdict:
        """Hold all posts of the database against the sandbox's notes of this case."""
        noted = self.entries() if entries is None else entries
        out: dict[str, list[str]] = {}
        for entry in noted:
            if entry["event"] == "published":
                out.setdefault(str(entry["caption"]), []).append(entry["media_id"])
        verdict = Verdict(ledger=_hash(noted))
        events = Counter(entry["event"] for entry in noted)
        verdict.containers, verdict.sent = events["container_created"], events["publish_called"]
        verdict.faults = events["fault"]
        with self.db.session_scope() as session:
            rows = session.execute(_POSTS).all()
        for row in rows:
            items = out.get(full_caption(row.caption, row.hashtags), [])
            _judge(verdict, row.state, row.media_id, items)
            if row.state == "published":
                verdict.late.append(float(row.late))
            if row.settled is not None:
                verdict.settled.append(float(row.settled))
        verdict.late.sort()
        verdict.settled.sort()
        return verdict


_POSTS = text(
    "SELECT caption, hashtags, state, media_id, extract(epoch FROM published_at - scheduled_at) AS late,"
    " extract(epoch FROM (SELECT min(at) FROM audit_events WHERE subject = 'scheduling_posts:' || p.id"
    "  AND action IN ('post.publish', 'post.ask')) - scheduled_at) AS settled"
    " FROM scheduling_posts p ORDER BY id"
)


def _judge(verdict: Verdict, state: str, media_id: str | None, items: list[str]) -> None:
    verdict.posts += 1
    verdict.published += bool(items)
    verdict.doubled += max(len(items) - 1, 0)
    verdict.unresolved += state == "needs_human"
    verdict.ends[state] = verdict.ends.get(state, 0) + 1
    if state == "published":
        verdict.wrong += media_id not in items
    elif state in {*OPEN_STATES, "draft", "ready", "cancelled", "failed"}:
        verdict.lost += 1


def _hash(entries: Sequence[dict[str, Any]]) -> str:
    told = [
        [entry["event"], entry.get("call"), entry.get("kind"), entry.get("caption")]
        for entry in entries
        if entry["event"] != "received"
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        process.communicate(timeout=10)


@contextmanager
def open_stage() -> Iterator[Stage]:
    """A stage of its own, for a benchmark."""
    with throwaway_database() as db, tempfile.TemporaryDirectory(prefix="persona-faults-") as name:
        stage = Stage(db, Path(name))
        try:
            yield stage
        finally:
            stage.close()
