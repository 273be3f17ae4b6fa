"""T13: the media host is down, shows something else, or shuts Instagram out; a second one, and carousels."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.faults_parts.bulk import lay
from benchmarks.faults_parts.play import Player
from benchmarks.faults_parts.sizes import Row, Run, Sizes
from benchmarks.faults_parts.stage import Stage
from tests.support.publishing import World

PICTURES, FAILING = 10, 4
"""Of the carousel, and the item of it that Instagram can't fetch."""
NOWHERE = "http://127.0.0.1:9"
ONE_HOST = ("down", "wrong_type", "forbidden", "slow")
IN_TIME = 120.0
"""Seconds after which all posts must be out where the second host works: three go through a pause of 30."""
POSTS = 4


def bad_host(stage: Stage, *, seed: int, kind: str) -> Row:
    """T13: one of these happens to the place from which Instagram fetches pictures.

    Args:
        kind: `down`, `wrong_type`, `forbidden` or `slow`: the only host, for a while. `second`: the first of
            two is down. `unfetched`: it shows everything to us and nothing to Instagram. `child`,
            `child_late`: of a carousel's ten pictures Instagram can't fetch one, which it says when the
            item's container is made, or by its state.
    """
    (world,) = stage.begin(seed)
    stage.behave(container_seconds=1)
    if kind in ONE_HOST:
        _with_one(stage, world, kind)
    elif kind == "second":
        lay(world, POSTS, world.now())
        _play(stage.player(_seen_at(world, NOWHERE), second_host=world.host))
    elif kind == "unfetched":
        lay(world, POSTS, world.now())
        with only_once(world.site.media_dir) as address:
            _play(stage.player(_seen_at(world, address), second_host=world.host))
    else:
        _carousel(stage, world, late=kind == "child_late")
    row = stage.verdict().as_row()
    hosts = Counter(name for (name,) in world.rows("SELECT host FROM media_objects"))
    pictures = 1 if kind not in {"child", "child_late"} else PICTURES + 1
    broken = row["containers"] > 2 * row["posts"] * pictures or row["published"] != row["posts"]
    if kind not in ONE_HOST:
        broken = broken or not hosts["second"] or row["late"][-1] > IN_TIME
    return row | {"hosts": dict(hosts), "broken": broken}


def _play(player: Player) -> None:
    asyncio.run(player.until_still(timedelta(hours=6)))


def _seen_at(world: World, address: str) -> World:
    return replace(world, site=replace(world.site, media=address))


def _with_one(stage: Stage, world: World, kind: str) -> None:
    lay(world, 3, world.now())
    here = _seen_at(world, NOWHERE) if kind == "down" else world
    if kind != "down":
        fault = {"wrong_type": ("garbage", {}), "forbidden": ("fail_before", {"status": 403, "body": "no"})}
        how, more = fault.get(kind, ("slow", {"seconds": 0.5}))
        stage.sandbox.plan("media", "media_get", how, times=4, **more)
    player = stage.player(here)
    asyncio.run(player.until_still(timedelta(minutes=10)))
    _play(stage.player(world) if kind == "down" else player)


def _carousel(stage: Stage, world: World, *, late: bool) -> None:
    """The first host refuses one picture to Instagram, which comes behind our own look at all ten."""
    stage.behave(refuse_late=late)
    world.carousel(PICTURES)
    stage.sandbox.plan(
        "media", "media_get", "fail_before", skip=PICTURES + FAILING - 1, status=403, body="no"
    )
    _play(stage.player(world, second_host=world.host))


@contextmanager
def only_once(folder: Path) -> Iterator[str]:
    """The address of a web server that shows each file to the first who asks and to nobody after."""
    asked: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = Path(self.path).name
            asked[name] += 1
            if asked[name] > 1:
                self.send_error(403)
                return
            content = (folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Nothing: the result says it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def plan_t13(run: Run, size: Sizes) -> None:
    """T13: the media host."""
    for kind in (*ONE_HOST, "second", "unfetched", "child", "child_late"):
        run("T13", seed=size.seed, kind=kind)


PLAYS: dict[str, Any] = {"T13": bad_host}
PLANS: dict[str, Any] = {"T13": plan_t13}
