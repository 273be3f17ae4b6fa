"""A process that tries to lead and tells of each try: `python -m benchmarks.faults_parts.leading`.

Reads the settings' environment; prints one JSON object for each beat, until its standard input closes.
"""

from __future__ import annotations

import json
import sys
import threading
import time

import psycopg

from persona_tui.database.engine import leader_lock_key, open_database
from persona_tui.runtime import BEAT_SECONDS
from persona_tui.services.leadership import Leadership
from persona_tui.settings import load_settings


def main() -> None:
    """Beat until nobody listens any more."""
    settings = load_settings()
    database = open_database(settings, start=False)
    leadership = Leadership(database.conninfo(), leader_lock_key(database.schema), "scheduler")
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.is_set():
        problem = ""
        try:
            leadership.beat()
        except psycopg.Error as error:
            problem = type(error).__name__
        told = {"leads": leadership.leads, "epoch": leadership.epoch, "problem": problem, "at": time.time()}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        over.wait(BEAT_SECONDS)


if __name__ == "__main__":
    main()
