"""A process that publishes and is killed on the way: `python -m tests.support.publishing_child`.

Serves `fork_server`'s orders: each child runs one round of the publisher, or with `"duty": "tokens"` one of
the token keeper, and kills itself where the order says.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from persona_tui import boundaries
from tests.support.fork_server import Killer, Order, database_of, serve
from tests.support.publishing import world_of


def _publish(order: Order, reached: Path) -> None:
    """One round; never returns."""
    code = 1
    try:
        database = database_of(order["world"])
        world = world_of(database, order["world"])
        with database.connect(autocommit=True) as eye, reached.open("a", buffering=1) as log:
            boundaries.observe(Killer(order, eye, log))
            keep = order.get("duty") == "tokens"
            asyncio.run(world.token_keeper().tick() if keep else world.publish())
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(_publish)
