"""How long the Dashboard's data takes to read: at most 50 ms (median) and 12 statements.

An embedded database of its own holds 5 personas with 10 pillars each, 50 clusters, 10,000 photos and 2,000
posts, besides ideas, runs with candidates, and votes. Each persona's Dashboard is read in turn, in a session
of its own as the screen does it; the baseline is a transaction that asks SELECT 1, in the same run.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import event, text

from persona_tui.database.engine import Database, open_database
from persona_tui.database.migrate import upgrade
from persona_tui.services.planning.overview import dashboard
from persona_tui.settings import Settings
from report import Figure, Report, wants_quick

PERSONAS = 5
ROWS = Path(__file__).with_suffix(".sql")
EXPECTED = {
    "personas": PERSONAS,
    "content_pillars": 50,
    "clusters": 50,
    "photos": 10_000,
    "cluster_candidates": 10_000,
    "scheduling_posts": 2_000,
    "post_items": 2_000,
    "image_candidates": 960,
}


@contextmanager
def loaded_database() -> Iterator[Database]:
    """A database in a temporary folder with all the rows."""
    with tempfile.TemporaryDirectory(prefix="persona-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        database = open_database(Settings(data_dir=folder / "data", environment="sandbox", database_url=None))
        try:
            upgrade(database, backup_dir=None, keep=1)
            load(database)
            yield database
        finally:
            database.dispose()


def load(database: Database) -> None:
    """Insert everything, and let the planner know what is there, as autovacuum would."""
    with database.connect("owner", autocommit=True) as connection:
        connection.execute(ROWS.read_bytes())
        for table, rows in EXPECTED.items():
            found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            if found != (rows,):
                raise SystemExit(f"{table} holds {found} rows, not {rows}.")
        connection.execute("VACUUM ANALYZE")


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def read_dashboard(database: Database, persona_id: int) -> None:
    """What the screen does in its thread."""
    with database.session_scope() as session:
        now = session.execute(text("SELECT persona_now()")).scalar_one()
        view = dashboard(session, persona_id, now)
    if not (view.pillars and view.runs and view.upcoming.posts and len(view.actions) == 3):
        raise SystemExit("The Dashboard is not what was loaded.")


def ask_one(database: Database) -> None:
    """A transaction that asks for nothing."""
    with database.session_scope() as session:
        session.execute(text("SELECT 1"))


def measure(database: Database, rounds: int) -> tuple[float, float, int]:
    """Median milliseconds of the Dashboard and of an empty transaction, and the most statements."""
    counted = [0]

    def count(*_: object) -> None:
        counted[0] += 1

    event.listen(database.engine, "before_cursor_execute", count)
    times: list[float] = []
    floors: list[float] = []
    most = 0
    for number in range(rounds + PERSONAS):
        counted[0] = 0
        took = milliseconds(lambda persona=1 + number % PERSONAS: read_dashboard(database, persona))
        most = max(most, counted[0])
        floor = milliseconds(lambda: ask_one(database))
        if number >= PERSONAS:
            times.append(took)
            floors.append(floor)
    return statistics.median(times), statistics.median(floors), most


def main() -> None:
    """Run and print."""
    quick = wants_quick(__doc__)
    with loaded_database() as database:
        median, floor, statements = measure(database, 50 if quick else 250)
    report = Report("dashboard", quick)
    report.add(Figure("read", median, "ms", "<=", 50.0, round(floor, 3)))
    report.add(Figure("statements", statements, "count", "<=", 12))
    report.add(Figure("empty_transaction", floor, "ms"))
    report.finish()


if __name__ == "__main__":
    main()
