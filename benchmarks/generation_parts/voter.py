"""An operator who votes: a process of its own on the same database, two votes a second, until its stdin ends.

Run as `python voter.py DATA_DIR`; prints how many votes it cast.
"""

from __future__ import annotations

import random
import select
import sys
import uuid
from pathlib import Path

from sqlalchemy import text

from persona_tui.database.engine import open_database
from persona_tui.services.voting import contest
from persona_tui.settings import Settings

PAUSE_SECONDS = 0.5
_PAIR = """
SELECT m.contest_id, array_agg(m.id) AS members FROM (
  SELECT contest_id, id FROM contest_members WHERE contest_id = (
    SELECT contest_id FROM contest_members GROUP BY contest_id HAVING count(*) >= 2
    ORDER BY contest_id DESC LIMIT 1) ORDER BY random() LIMIT 2) m
GROUP BY m.contest_id
"""


def main() -> None:
    """Vote until stdin ends."""
    database = open_database(Settings(data_dir=Path(sys.argv[1]), environment="sandbox", database_url=None))
    sitting, cast = uuid.uuid4(), 0
    while not select.select([sys.stdin], [], [], PAUSE_SECONDS)[0]:
        with database.session_scope() as session:
            pair = session.execute(text(_PAIR)).one_or_none()
            if pair is not None:
                chosen = random.choice(pair.members)
                contest.cast(session, pair.contest_id, pair.members, chosen, sitting=sitting)
                cast += 1
    database.dispose()
    print(cast, flush=True)


if __name__ == "__main__":
    main()
