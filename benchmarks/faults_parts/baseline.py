"""The two usual designs, as small as they can be: `python -m benchmarks.faults_parts.baseline`.

- `job_store`: one APScheduler job for each post in a store in SQLite, defaults otherwise.
- `retry`: a table of posts in SQLite; each is tried three times with a new container, then marked.

Reads one order from the command line and ends itself by SIGKILL at the step that the order names.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

TRIES = 3
APART = 0.15
"""Seconds between two jobs of the job store."""
_order: dict[str, Any] = {}
_client = httpx.Client(trust_env=False, verify=False, timeout=2.0)
_steps = 0
_lock = threading.Lock()


def step() -> None:
    """A moment at which the process may end: before and after each call and each commit."""
    global _steps
    with _lock:
        _steps += 1
        if _steps == _order["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)


def call(method: str, path: str, **options: Any) -> dict[str, Any]:
    """One call of the Graph API; anything but 200 with JSON raises."""
    step()
    headers = {"Authorization": f"Bearer {_order['token']}"}
    answer = _client.request(method, f"{_order['instagram']}/v26.0/{path}", headers=headers, **options)
    step()
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def publish(number: int) -> None:
    """Container, wait until it is finished, publish."""
    account, caption = _order["account"], f"{_order['name']} {number}"
    form = {"image_url": _order["picture"], "caption": caption, "is_ai_generated": "true"}
    container = call("POST", f"{account}/media", data=form)["id"]
    for _ in range(20):
        if call("GET", container, params={"fields": "status_code"})["status_code"] == "FINISHED":
            break
        time.sleep(0.02)
    call("POST", f"{account}/media_publish", data={"creation_id": container})


def retry(posts: int) -> None:
    """Each post that is not marked is tried three times."""
    store = sqlite3.connect(_order["store"], isolation_level=None)
    store.execute("CREATE TABLE IF NOT EXISTS posts (n INTEGER PRIMARY KEY, done INTEGER)")
    for number in range(posts):
        store.execute("INSERT OR IGNORE INTO posts VALUES (?, 0)", (number,))
    for (number,) in store.execute("SELECT n FROM posts WHERE done = 0 ORDER BY n").fetchall():
        for _ in range(TRIES):
            try:
                publish(number)
                break
            except (httpx.HTTPError, ValueError, KeyError):
                continue
        step()
        store.execute("UPDATE posts SET done = 1 WHERE n = ?", (number,))
        step()


def job_store(posts: int) -> None:
    """Jobs are added at the first start; each later start goes on with those in the store."""
    scheduler = BackgroundScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{_order['store']}")}, timezone=UTC
    )
    if _order["first"]:
        began = datetime.now(UTC) + timedelta(seconds=1)
        for number in range(posts):
            moment = began + timedelta(seconds=APART * number)
            scheduler.add_job(publish, "date", run_date=moment, args=[number], id=str(number))
    scheduler.start()
    while scheduler.get_jobs():
        time.sleep(0.05)
    scheduler.shutdown(wait=True)


if __name__ == "__main__":
    import benchmarks.faults_parts.baseline as here  # jobs are stored by the module's name

    here._order = json.loads(sys.argv[1])
    {"retry": here.retry, "job_store": here.job_store}[here._order["design"]](here._order["posts"])
